"""List the request parameters that the service documents, and build requests from them.

Source: the vendor's "OpenAI compatible - Chat" reference and the Deep thinking page. Both adapters have a typed field
for each, accept each per call, and build requests here, so that misspelled names are errors in both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import SecretHeaders, checked_headers, hidden_headers
from modelstudio_core.http.timeouts import timeouts
from modelstudio_core.tools import tool_list
from modelstudio_core.types import CallOptions, ChatRequest, Message

# read by the policies, so fields of ChatRequest
POLICY_PARAMETERS = (
    "tools",
    "tool_choice",
    "response_format",
    "enable_thinking",
    "thinking_budget",
    "preserve_thinking",
    "reasoning_effort",
    "n",
)
# sent as they are
PLAIN_PARAMETERS = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "repetition_penalty",
    "max_tokens",
    "max_completion_tokens",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "clear_thinking",
    "thinking",
    "parallel_tool_calls",
    "tool_stream",
    "enable_search",
    "search_options",
    "enable_code_interpreter",
    "modalities",
    "audio",
    "vl_high_resolution_images",
    "vl_enable_image_hw_output",
    "translation_options",
    "ocr_options",
    "skill",
    "incremental_output",
)
# of one protocol only, the last in some of its fields; through `extra_body` they go out with either, as they are
_OF_ONE_PROTOCOL = frozenset({"modalities", "audio", "vl_enable_image_hw_output", "search_options"})
# not on the wire: how this package makes the request, and how it sends it
LOCAL_PARAMETERS = ("streaming", "reasoning_replay", "native_endpoint", "extra_body")
CALL_OPTIONS = ("extra_headers", "timeout", "include_response_headers")
# what other integrations call it
_ELSEWHERE = {
    "dashscope_api_key": "api_key",
    "openai_api_key": "api_key",
    "api_base": "base_url",
    "openai_api_base": "base_url",
    "request_timeout": "timeout",
    "model_kwargs": "extra_body",
    "additional_kwargs": "extra_body",
    "stop_sequences": "stop",
    "openai_proxy": "http_client",
    "extra_headers": "default_headers",
}
_KNOWN = frozenset(POLICY_PARAMETERS + PLAIN_PARAMETERS + LOCAL_PARAMETERS + CALL_OPTIONS)
_PER_CALL = {"default_headers": "extra_headers"}
_SECRETS_OF_OBJECT = ("api_key", "default_headers", "dashscope_api_key", "openai_api_key")


def chat_request(
    model: str, messages: Sequence[Message], values: Mapping[str, Any], *, of_object: Collection[str] = ()
) -> ChatRequest:
    """Return the request for `messages` with the parameters in `values`. None and empty lists are not sent.

    A parameter that has a name here counts as such in `extra_body` too, so that the policies see it; but what only one
    protocol is known to carry stays there, and so gets past the other's refusal.

    Raises ConfigurationError for a name the service does not document, saying which was meant, if any, that
    `extra_body` carries what this package does not know yet, or that it is a setting `of_object` and not of a call.
    """
    if not messages:
        raise ConfigurationError("there is no message to send: give at least one")
    unknown = values.keys() - _KNOWN
    if unknown:
        raise ConfigurationError(" ".join(_unknown(name, of_object) for name in sorted(unknown)))
    body = dict(values.get("extra_body") or {})
    lifted = {
        name: body.pop(name)
        for name in (*POLICY_PARAMETERS, *PLAIN_PARAMETERS)
        if name in body and name not in _OF_ONE_PROTOCOL
    }
    values = {**values, **lifted, "extra_body": body}
    given = {name: value for name, value in values.items() if value is not None and value != []}
    plain = {name: given[name] for name in PLAIN_PARAMETERS if name in given}
    known = {name: given[name] for name in POLICY_PARAMETERS + LOCAL_PARAMETERS if name in given}
    if "tools" in known:
        known["tools"] = tuple(tool_list(known["tools"]))
    if not known.get("tools"):
        plain.pop("parallel_tool_calls", None)
    options = call_options({name: given[name] for name in CALL_OPTIONS if name in given})
    return ChatRequest(model=model, messages=tuple(messages), parameters=plain, options=options, **known)


def hidden_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call for a framework to trace: the values of `extra_headers` are hidden.

    Raises ConfigurationError for secrets that no call takes, which would be traced before the call refuses them.
    """
    for name in _SECRETS_OF_OBJECT:
        if given.get(name) is not None:
            raise ConfigurationError(_unknown(name, ("api_key",)))
    headers = given.get("extra_headers")
    return dict(given) if headers is None else {**given, "extra_headers": hidden_headers(headers)}


def call_options(given: Mapping[str, Any]) -> CallOptions:
    """Return how a call is sent. Raises ConfigurationError for headers or a timeout that cannot be used."""
    headers = given.get("extra_headers")
    return CallOptions(
        headers=SecretHeaders(checked_headers(headers, "extra_headers")) if headers is not None else None,
        timeout=timeouts(given["timeout"]) if "timeout" in given else None,
        response_headers=bool(given.get("include_response_headers")),
    )


def checked_model(model: object) -> str:
    """Return the model id. Raises ConfigurationError for what is no text, or blank."""
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f'model={model!r} is no model id: give one, such as "qwen-plus"')
    return model


def _unknown(name: str, of_object: Collection[str]) -> str:
    if name in _PER_CALL:
        return f"{name} is set on the model object: {_PER_CALL[name]} is for one call."
    if name in of_object:
        return f"{name} is set on the model object, not per call: make another object with it."
    return unknown_argument(name, _KNOWN)


def unknown_argument(name: str, known: Iterable[str]) -> str:
    """Return an error message for the unknown argument `name`, with a suggestion."""
    if name in _ELSEWHERE:
        return f"unknown argument {name}: did you mean {_ELSEWHERE[name]}?"
    close = get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]}? If not," if close else "no parameter of the service that has a name here;"
    return f'unknown argument {name}: {hint} extra_body={{"{name}": ...}} sends it as it is.'
