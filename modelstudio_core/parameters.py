"""List the request parameters that the service documents, and build requests from them.

Source: the vendor's "OpenAI compatible - Chat" reference and the Deep thinking page. Both adapters have a typed field
for each, accept each per call, and build requests here, so that misspelled names are errors in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modelstudio_core.built_in_tools import hidden_tools
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import SecretHeaders, checked_headers, hidden_headers
from modelstudio_core.http.timeouts import timeouts
from modelstudio_core.tools import tool_list
from modelstudio_core.types import CallOptions, ChatRequest, Message

# fields of ChatRequest, because the policies read them
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
# of the Responses protocol only
RESPONSES_PARAMETERS = frozenset(
    {"store", "conversation", "previous_response_id", "use_previous_response_id", "session_cache"}
)
# sent unchanged, as `ChatRequest.parameters`
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
    *sorted(RESPONSES_PARAMETERS),
)
# parameters that a codec rejects for one protocol (for search_options: some keys); in `extra_body` they are sent anyway
_OF_ONE_PROTOCOL = frozenset({"modalities", "audio", "vl_enable_image_hw_output", "search_options"})
# not sent: these control how this package builds and sends the request
LOCAL_PARAMETERS = ("streaming", "reasoning_replay", "native_endpoint", "extra_body")
CALL_OPTIONS = ("extra_headers", "timeout", "include_response_headers", "upload")
# names of other integrations, which are no parameters of the service (docs/migrating.md)
_HINTS = {
    **dict.fromkeys(("dashscope_api_key", "openai_api_key"), "did you mean api_key?"),
    **dict.fromkeys(("api_base", "openai_api_base"), "did you mean base_url?"),
    **dict.fromkeys(("request_timeout", "stream_chunk_timeout"), "did you mean timeout?"),
    **dict.fromkeys(
        ("client", "async_client", "root_client", "root_async_client", "http_socket_options", "openai_proxy"),
        "did you mean http_client or http_async_client?",
    ),
    **dict.fromkeys(("model_kwargs", "additional_kwargs"), "pass its entries as arguments, others in extra_body="),
    **dict.fromkeys(
        ("api_version", "default_query", "disabled_params", "is_chat_model", "openai_organization", "organization",
         "result_format", "return_documents", "reuse_client", "should_use_structured_outputs", "stream_usage",
         "tiktoken_model_name", "tokenizer"),
        "remove it, because it is not needed here",
    ),
    "extra_headers": "did you mean default_headers?",
}  # fmt: skip
# the same of chat models; embeddings and rerank have none of these arguments
_CHAT_HINTS = _HINTS | {
    **dict.fromkeys(("num_output", "num_outputs"), "did you mean max_tokens?"),
    **dict.fromkeys(
        ("model_kwargs", "additional_kwargs"),
        "pass its entries as arguments (temperature=, ...), others in extra_body=",
    ),
    "audio_config": "did you mean audio?",
    "image_documents": "put an ImageBlock into the message",
    "prefix_messages": "put these messages before the others",
    "prompt_cache_options": 'put "cache_control": {"type": "ephemeral"} into a content block',
    "reasoning": "did you mean reasoning_effort?",
    "stop_sequences": "did you mean stop?",
    "strict": "pass it with the tools: bind_tools(..., strict=True) or chat_with_tools(..., strict=True)",
    "use_responses_api": 'did you mean protocol="responses"?',
}
_KNOWN = frozenset(POLICY_PARAMETERS + PLAIN_PARAMETERS + LOCAL_PARAMETERS + CALL_OPTIONS)
_LIFTED = tuple(name for name in POLICY_PARAMETERS + PLAIN_PARAMETERS if name not in _OF_ONE_PROTOCOL)
_REQUEST_FIELDS = POLICY_PARAMETERS + LOCAL_PARAMETERS
_PER_CALL = {"default_headers": "extra_headers"}
_SECRET_SETTINGS = ("api_key", "default_headers", "dashscope_api_key", "openai_api_key")


def chat_request(
    model: str, messages: Sequence[Message], values: Mapping[str, Any], *, of_object: Collection[str] = ()
) -> ChatRequest:
    """Return the request for `messages` with the parameters in `values`. None and empty lists are not sent.

    Known parameters in `extra_body` are treated like named ones, so that the policies apply to them. Parameters that
    one protocol does not support stay in `extra_body`, and are sent unchecked.

    Args:
        model: the model id.
        messages: the conversation.
        values: parameters by name.
        of_object: names of the settings of the model object, for the error message.

    Raises:
        ConfigurationError: for an unknown parameter. The message suggests a name, or `extra_body`.
    """
    if not messages:
        raise ConfigurationError("there is no message to send: at least one is required")
    unknown = values.keys() - _KNOWN
    if unknown:
        raise ConfigurationError(" ".join(_unknown(name, of_object) for name in sorted(unknown)))
    body = dict(values.get("extra_body") or {})
    lifted = {name: body.pop(name) for name in _LIFTED if name in body} if body else {}
    values = {**values, **lifted, "extra_body": body}
    given = {name: value for name, value in values.items() if value is not None and value != []}
    plain = {name: given[name] for name in PLAIN_PARAMETERS if name in given}
    known = {name: given[name] for name in _REQUEST_FIELDS if name in given}
    if "tools" in known:
        known["tools"] = tuple(tool_list(known["tools"]))
    if not known.get("tools"):
        plain.pop("parallel_tool_calls", None)
    options = call_options({name: given[name] for name in CALL_OPTIONS if name in given})
    return ChatRequest(model=model, messages=tuple(messages), parameters=plain, options=options, **known)


def hidden_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call for tracing, with the values of `extra_headers` and of tools' headers hidden.

    Raises:
        ConfigurationError: for secret settings, which are not per-call arguments and would appear in the trace.
    """
    for name in _SECRET_SETTINGS:
        if given.get(name) is not None:
            raise ConfigurationError(_unknown(name, ("api_key",)))
    tools = {name: hidden_tools(given[name]) for name in ("tools", "built_in_tools") if given.get(name)}
    headers = given.get("extra_headers")
    return {**given, **tools, **({} if headers is None else {"extra_headers": hidden_headers(headers)})}


def call_options(given: Mapping[str, Any]) -> CallOptions:
    """Return the options in `given`. Raises ConfigurationError if the headers or the timeout are invalid."""
    headers = given.get("extra_headers")
    return CallOptions(
        headers=SecretHeaders(checked_headers(headers, "extra_headers")) if headers is not None else None,
        timeout=timeouts(given["timeout"]) if "timeout" in given else None,
        response_headers=bool(given.get("include_response_headers")),
        upload=given.get("upload", "auto"),
    )


def checked_model(model: object) -> str:
    """Return the model id. Raises ConfigurationError if it is not a string or is blank."""
    if not isinstance(model, str) or not model.strip():
        raise ConfigurationError(f'model={model!r:.80} is not a model id, such as "qwen-plus"')
    return model


def _unknown(name: str, of_object: Collection[str]) -> str:
    if name in _PER_CALL:
        return f"{name} is a setting of the model object: for one call, use {_PER_CALL[name]}."
    if name in of_object:
        return f"{name} is a setting of the model object, not of a call: create another object with it."
    return unknown_argument(name, _KNOWN)


def unknown_argument(name: str, known: Collection[str]) -> str:
    """Return an error message for the unknown argument `name`, with a suggestion."""
    hints = _CHAT_HINTS if "temperature" in known else _HINTS
    if name in hints:
        return f"unknown argument {name}: {hints[name]}"
    from difflib import get_close_matches  # imported at first use

    close = get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f"did you mean {close[0]}? If not, use" if close else "to send it to the service unchanged, use"
    return f'unknown argument {name}: {hint} extra_body={{"{name}": ...}}.'
