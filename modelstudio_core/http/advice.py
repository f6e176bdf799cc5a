"""Add advice to error messages: where the request was sent, and which setting may help."""

from __future__ import annotations

from modelstudio_core.catalogue import ModelInfo, similar_model
from modelstudio_core.config import API_KEY_VARIABLE, REGIONS, Config
from modelstudio_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    FileError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.policies import unsupported_input
from modelstudio_core.types import ChatRequest

_ADVICE: dict[type[ModelStudioError], str] = {
    NotFoundError: "The request was sent to {where}. Model IDs are case-sensitive and differ by region; base_url= sets "
    "the URL.",
    PermissionDeniedError: "The request was sent to {where}. Access to models and workspaces is granted per account "
    "and key, in the console.",
    QuotaError: "Check billing and free quota in the console. Retrying does not help.",
    ContextLengthError: "Send fewer or shorter messages, or choose a model with a longer context.",
    RateLimitError: "Send fewer concurrent requests, or retry later; max_retries= sets the number of retries.",
    ServerError: "The request was sent to {where}. A later attempt may succeed.",
}
PLAN_PROTOCOL = 'Plan hosts are documented for protocol="openai" only.'
PLAN_KEYS = (
    "Keys of the coding plan and the token plan (sk-sp-...) work only on the hosts of their plan, and these hosts "
    "accept no other keys: set a matching base_url= or api_key="
)
_NOT_CAPABLE = "Agent capabilities are not enabled"  # recorded probes
_WRONG_ENDPOINT = "url error, please check url"  # vendor's error-code page


def advice(
    error: ModelStudioError,
    config: Config,
    url: str | None,
    headers: SecretHeaders | None,
    request: ChatRequest | None,
    model: ModelInfo | None,
) -> str:
    """Return the advice to append to the message of `error`, or "".

    Args:
        error: the error of a request.
        config: settings of the request.
        url: URL of the request; None if nothing was sent.
        headers: headers of the request.
        request: the chat request; None for other requests.
        model: facts of the model of `request`.
    """
    where = config.with_region(url or config.base_url)
    native = config.protocol == "dashscope"
    general = _ADVICE.get(type(error), "").format(where=where)
    if isinstance(error, AuthenticationError):
        return _key_advice(config, where, headers)
    if isinstance(error, NotFoundError) and config.protocol != "openai" and config.is_plan_host:
        return f"{general} {PLAN_PROTOCOL}"
    if isinstance(error, FileError) and error.is_retryable:
        return "llm.files.wait(id) waits until the service has parsed a file."
    if request is None:
        return general
    if isinstance(error, NotFoundError) and model is not None and model.retired_on:
        return f"{model.retirement}. {general}"
    if isinstance(error, NotFoundError) and (meant := similar_model(request.model)):
        return f"Did you mean {meant}? {general}"
    if native and _WRONG_ENDPOINT in error.message:
        from modelstudio_core.protocols.dashscope import MULTIMODAL, TEXT, endpoint_of  # loaded with the protocol

        asked = endpoint_of(request)
        other = MULTIMODAL if asked == TEXT else TEXT
        return f'{request.model} was requested at {asked}: native_endpoint="{other}" selects the other endpoint.'
    if config.protocol == "responses" and _NOT_CAPABLE in error.message:
        return f'{request.model} is not served with the Responses protocol: use protocol="openai" or "dashscope".'
    if model is not None and type(error) is BadRequestError:
        return unsupported_input(request, model)
    return general


def _key_advice(config: Config, where: str, headers: SecretHeaders | None) -> str:
    if headers is None or "authorization" not in headers:
        return f"No key was sent to {where}: pass api_key=, or set {API_KEY_VARIABLE}"
    if headers.reveal()["authorization"].startswith("Bearer sk-sp-") or config.is_plan_host:
        return f"The key was sent to {where}. {PLAN_KEYS}"
    here = (config.region or "").removesuffix("-batch")  # Batch Chat takes the keys of its region
    others = ", ".join(name for name in REGIONS if name != here and not name.endswith("-batch"))
    return (
        f"The key was sent to {where}. Keys are valid in one region: if the key belongs to another region ({others}), "
        "set region= or base_url="
    )
