"""Say what to do about an error: where the request went, and which setting may help."""

from __future__ import annotations

from modelstudio_core.catalogue import ModelInfo, similar_model
from modelstudio_core.config import API_KEY, REGIONS, Config
from modelstudio_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.policies import unlisted_input
from modelstudio_core.protocols.dashscope import MULTIMODAL, TEXT, endpoint_of
from modelstudio_core.types import ChatRequest

_ADVICE: dict[type[ModelStudioError], str] = {
    NotFoundError: "The request went to {where}. Model IDs are case-sensitive and differ by region; base_url= sets the "
    "address.",
    PermissionDeniedError: "The request went to {where}. The console grants accounts and keys access to models and "
    "workspaces.",
    QuotaError: "The console shows what is unpaid or used up. Retrying does not help.",
    ContextLengthError: "Send fewer or shorter messages, or choose a model with a longer context.",
    RateLimitError: "Send fewer requests at once, or retry later; max_retries= sets how often this package retries.",
    ServerError: "The request went to {where}. A later attempt may succeed.",
}
_PLAN_PROTOCOL = 'Plan hosts are documented for protocol="openai" only.'
_PLAN_KEYS = (
    "Keys of the coding plan and the token plan (sk-sp-...) work on the hosts of their own plan only, and these hosts "
    "take no other key: set base_url= or api_key= so that they belong together"
)
_WRONG_ENDPOINT = "url error, please check url"  # vendor's error-code page


def advice(
    error: ModelStudioError,
    config: Config,
    url: str | None,
    headers: SecretHeaders | None,
    request: ChatRequest | None,
    model: ModelInfo | None,
) -> str:
    """Return what to add to the message of `error`; "" if there is nothing to add.

    Args:
        error: the error of a request.
        config: the settings it was sent with.
        url: where it went; None if it was not sent.
        headers: what was sent with it.
        request: what it asked for; None for embeddings.
        model: what the model of `request` can do.
    """
    where = config.with_region(url or config.base_url)
    native = config.protocol == "dashscope"
    general = _ADVICE.get(type(error), "").format(where=where)
    if isinstance(error, AuthenticationError):
        return _about_the_key(config, where, headers)
    if isinstance(error, NotFoundError) and native and config.is_plan_host:
        return f"{general} {_PLAN_PROTOCOL}"
    if request is None:
        return general
    if isinstance(error, NotFoundError) and (meant := similar_model(request.model)):
        return f"Did you mean {meant}? {general}"
    if native and _WRONG_ENDPOINT in error.message:
        asked = endpoint_of(request)
        other = MULTIMODAL if asked == TEXT else TEXT
        return f'{request.model} was requested at {asked}: native_endpoint="{other}" selects the other one.'
    if model is not None and type(error) is BadRequestError:
        return unlisted_input(request, model)
    return general


def _about_the_key(config: Config, where: str, headers: SecretHeaders | None) -> str:
    if headers is None or "authorization" not in headers:
        return f"No key was sent to {where}: give api_key=, or set {API_KEY}"
    if headers.reveal()["authorization"].startswith("Bearer sk-sp-") or config.is_plan_host:
        return f"The key was sent to {where}. {_PLAN_KEYS}"
    others = ", ".join(name for name in REGIONS if name != config.region)
    return (
        f"The key was sent to {where}. A key works in its own region only: if it is from another ({others}), set "
        "region= or base_url= to that one"
    )
