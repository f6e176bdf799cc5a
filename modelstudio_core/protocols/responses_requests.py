"""Encode requests of the Responses protocol: input items, tools, and the continuation of earlier responses.

Sources: as in `modelstudio_core.protocols.responses`. The service ignores unknown parameters without an error, so
parameters not listed here raise a ConfigurationError.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelstudio_core.built_in_tools import built_in_name, mcp_headers
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.parameters import POLICY_PARAMETERS, RESPONSES_PARAMETERS
from modelstudio_core.policies import Notice
from modelstudio_core.protocols.codec import write_json
from modelstudio_core.protocols.requests import (
    joined_text,
    merge_extra_body,
    reject_parameters,
    request_headers,
    url_of,
)
from modelstudio_core.redaction import REDACTED
from modelstudio_core.tools import checked_tool, inline_tool, tool_name
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    ImagePart,
    Message,
    Part,
    TextPart,
    VideoPart,
    WireCall,
)

_PATH = "/responses"
_RESERVED = {
    **dict.fromkeys(("model", "input", "stream"), "use the argument"),
    "instructions": "use a system message",
}
_SENT = frozenset({"temperature", "top_p", "ocr_options", "store", "conversation", "previous_response_id"})
_RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
# not sent: without effect on the answer, or the default (parallel_tool_calls=False; True raises an error)
_DROPPED = frozenset({"tool_stream", "parallel_tool_calls", "incremental_output"})
_NATIVE = frozenset({"vl_enable_image_hw_output"})
_POLICIES = frozenset({"tools", "tool_choice", "enable_thinking", "reasoning_effort"})
# echoed and ignored (recorded probes, September 2026), or unsupported (reference)
_IGNORED = {
    "text": 'use protocol="openai" with response_format, or function calling',
    "metadata": "keep it in your own records",
    "background": "call the service from a thread or task of your own",
}
_REPLACED_BY_TOOL = {
    "enable_search": 'here web search is a tool: {"type": "web_search"}',
    "enable_code_interpreter": 'here it is a tool: {"type": "code_interpreter"}',
}
# flagship models whose code interpreter requires thinking (vendor's code interpreter page)
_CODE_NEEDS_THINKING = re.compile(r"qwen3(?:\.\d+)?-(?:max|flash)")
_INPUT_SHARE = 0.8  # of the context window (reference)
_OMNI_TOOLS = ("function", "web_search")


def encode(request: ChatRequest, *, stream: bool) -> WireCall:
    """Return the HTTP request. Raises ConfigurationError for what this protocol lacks or silently ignores."""
    given = {name: value for name, value in request.parameters.items() if value is not None}
    _check_parameters(request, given)
    instructions, messages = _instructions(request.messages)
    if given.get("use_previous_response_id") and not given.keys() & {"previous_response_id", "conversation"}:
        previous, messages = _continued(messages)
        given["previous_response_id"] = previous
    body: dict[str, Any] = {"model": request.model, "input": [item for each in messages for item in _items(each)]}
    if instructions:
        body["instructions"] = instructions
    if stream:
        body["stream"] = True
    body |= {_RENAMED.get(name, name): given[name] for name in (*_SENT, *_RENAMED) if given.get(name) is not None}
    body |= _thinking(request)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice, request.tools)
    body = merge_extra_body(body, request.extra_body, _RESERVED)
    headers = request_headers(request, stream)
    if given.get("session_cache"):
        headers["x-dashscope-session-cache"] = "enable"
    secrets = tuple(secret for tool in request.tools for secret in mcp_headers(tool).credentials())
    return WireCall(_PATH, headers, write_json(body), secrets=secrets)


# ---------------------------------------------------------------- checks


def _check_parameters(request: ChatRequest, given: Mapping[str, Any]) -> None:
    values = {name: getattr(request, name) for name in POLICY_PARAMETERS if name not in _POLICIES}
    given = {**given, **{name: value for name, value in values.items() if value is not None}}
    if given.get("n") == 1:
        given = {name: value for name, value in given.items() if name != "n"}
    for name in sorted(_REPLACED_BY_TOOL.keys() & given.keys()):
        if given[name]:
            raise ConfigurationError(f'{name} requires protocol="openai": {_REPLACED_BY_TOOL[name]}')
    reject_parameters(given, _NATIVE, "dashscope")
    known = _SENT | _RENAMED.keys() | _DROPPED | _NATIVE | _REPLACED_BY_TOOL.keys() | RESPONSES_PARAMETERS
    if foreign := sorted(given.keys() - known):
        raise ConfigurationError(
            f"{', '.join(foreign)}: the Responses protocol has no such parameter, and the service would ignore it. Use "
            'protocol="openai", or remove it'
        )
    ignored = sorted(_IGNORED.keys() & request.extra_body.keys())
    ignored += ["parallel_tool_calls"] if given.get("parallel_tool_calls") else []
    reasoning = request.extra_body.get("reasoning")
    ignored += ["reasoning.summary"] if isinstance(reasoning, Mapping) and "summary" in reasoning else []
    if ignored:
        advice = " ".join(f"{name}: {_IGNORED[name]}." for name in ignored if name in _IGNORED)
        raise ConfigurationError(
            f"{', '.join(ignored)}: ignored by the service with the Responses protocol. Remove it. {advice}".rstrip()
        )
    previous = given.get("previous_response_id") or given.get("use_previous_response_id")
    if previous and given.get("conversation"):
        raise ConfigurationError("previous_response_id and conversation cannot be combined: pass one of them")
    _check_tools(request)


def _check_tools(request: ChatRequest) -> None:
    """Raise ConfigurationError for tools or combinations that the service would reject or ignore."""
    for tool in request.tools:  # tools in extra_body were not checked before
        checked_tool(tool, built_in=True)
    kinds = [built_in_name(tool) or "function" for tool in request.tools]
    if "web_extractor" in kinds and "web_search" not in kinds:
        raise ConfigurationError('the tool web_extractor requires web_search: add {"type": "web_search"}')
    if "code_interpreter" in kinds and request.enable_thinking is False and _CODE_NEEDS_THINKING.match(request.model):
        raise ConfigurationError(
            f"the tool code_interpreter of {request.model} requires thinking, which enable_thinking=False or a forced "
            "tool_choice disables"
        )
    if "omni" in request.model and (other := next((kind for kind in kinds if kind not in _OMNI_TOOLS), None)):
        raise ConfigurationError(f"{request.model} does not support the tool {other}, only web_search and functions")
    for kind, tool in zip(kinds, request.tools, strict=True):
        if kind == "file_search" and len(tool.get("vector_store_ids") or ()) != 1:
            raise ConfigurationError("the tool file_search requires exactly one ID in vector_store_ids")
        if kind == "mcp" and (missing := [n for n in ("server_label", "server_url") if not tool.get(n)]):
            raise ConfigurationError(f"the tool mcp requires {' and '.join(missing)}")
        if kind == "function" and (tool.get("function") or {}).get("strict"):
            raise ConfigurationError(
                f"strict=True of the tool {tool_name(tool)}: with the Responses protocol, the service does not enforce "
                "schemas. Remove it, and validate the arguments"
            )


def truncation_warning(request: ChatRequest, model: ModelInfo) -> Notice | None:
    """Return a warning if the service would truncate the input, which it does above 80 % of the context window.

    Tokens are only counted if the input has at least as many characters.
    """
    window = int((model.context_window or model.max_input or 0) * _INPUT_SHARE)
    length = sum(len(part.text) for m in request.messages for part in _parts(m) if isinstance(part, TextPart))
    if not window or length < window:
        return None
    from modelstudio_core.chat_format import count_request  # imported at first use

    if (count := count_request(request, model)) <= window:
        return None
    return Notice(
        f"the input has about {count} tokens, more than 80 % of the context window of {request.model}: with the "
        "Responses protocol, the service removes its middle without an error. Send less, or use another protocol",
        logging.WARNING,
    )


def _parts(message: Message) -> tuple[Part, ...]:
    return (TextPart(message.content),) if isinstance(message.content, str) else message.content


# ---------------------------------------------------------------- messages


def _instructions(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """Return the text of the system messages at the start, and the other messages."""
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    if leading == len(messages):  # there must be input
        return "", messages
    texts = [_text(message) for message in messages[:leading]]
    return "\n\n".join(texts), messages[leading:]


def _continued(messages: Sequence[Message]) -> tuple[str | None, Sequence[Message]]:
    """Return the ID of the last response in the history and the messages after it, or None and all messages."""
    for position in range(len(messages) - 1, 0, -1):
        if id := messages[position - 1].response_id:
            return id, messages[position:]
    return None, messages


def continued_response(request: ChatRequest) -> str | None:
    """Return the ID of the response in the history that a request continues, or None.

    None for a response passed by the caller, because the history may not contain it.
    """
    given = request.parameters
    if not given.get("use_previous_response_id") or given.get("previous_response_id"):
        return None
    return _continued(_instructions(request.messages)[1])[0]


def without_previous_response(request: ChatRequest) -> ChatRequest:
    """Return the request with the whole history instead of the response that it continues."""
    return replace(request, parameters={**request.parameters, "use_previous_response_id": False})


def _items(message: Message) -> list[dict[str, Any]]:
    """Return a message as input items, with separate items for reasoning, text and calls."""
    if message.partial:
        raise ConfigurationError('partial mode requires protocol="openai" or "dashscope"')
    if message.role == "tool":
        if not message.tool_call_id:
            raise ConfigurationError("a tool message requires a tool_call_id")
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": _text(message)}]
    items: list[dict[str, Any]] = []
    if message.reasoning_content:
        summary = {"type": "summary_text", "text": message.reasoning_content}
        items.append({"type": "reasoning", "summary": [summary]})
    if message.role == "assistant":
        if text := _text(message):
            items.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})
    else:
        content = joined_text(message)
        parts = content if isinstance(content, str) else [_encode_part(part) for part in content]
        items.append({"role": message.role, "content": parts})
    for call in message.tool_calls:
        function = {"name": call.name or "unknown", "arguments": call.arguments}
        items.append({"type": "function_call", "call_id": call.id or "", **function})
    return items


def _text(message: Message) -> str:
    content = joined_text(message)
    if isinstance(content, str):
        return content
    for part in content:
        _encode_part(part)  # may raise a more specific error
    raise ConfigurationError(f"with protocol='responses', messages of role {message.role} can only have text")


def _encode_part(part: Part) -> dict[str, Any]:
    """Return a content part. The protocol has no image `detail`."""
    if part.cache_control is not None:
        raise _unsupported("cache_control", "use session_cache=True")
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    for name in ("min_pixels", "max_pixels", "total_pixels", "max_frames"):
        if getattr(part, name, None) is not None:
            raise _unsupported(name)
    match part:
        case ImagePart():
            return {"type": "input_image", "image_url": url_of(part.url)}
        case VideoPart(source=source) if not isinstance(source, tuple):
            fps = {} if part.fps is None else {"fps": part.fps}
            return {"type": "input_video", "video_url": url_of(source), **fps}
        case AudioPart():
            url = url_of(part.url)
            key = "data" if url.startswith("data:") else "audio_url"
            return {"type": "input_audio", key: url, **({"format": part.format} if part.format else {})}
    raise _unsupported("a video as frames", "pass its URL")


def _unsupported(what: str, instead: str = "remove it") -> ConfigurationError:
    return ConfigurationError(
        f'{what} requires protocol="openai" or "dashscope"; with the Responses protocol, {instead}'
    )


# ---------------------------------------------------------------- thinking and tools


def _thinking(request: ChatRequest) -> dict[str, Any]:
    """Return the thinking parameters. `effort` overrides `enable_thinking` (reference)."""
    switch = {} if request.enable_thinking is None else {"enable_thinking": request.enable_thinking}
    effort = {} if request.reasoning_effort is None else {"reasoning": {"effort": request.reasoning_effort}}
    return switch | effort


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function in the flat format of this protocol. Built-in tools are unchanged."""
    if built_in_name(tool) is None:
        function = dict(inline_tool(tool)["function"])
        function.pop("strict", None)
        return {"type": "function", **function}
    if "headers" not in tool:
        return dict(tool)
    if not isinstance(tool["headers"], SecretHeaders):
        raise ConfigurationError(
            "the headers of the tool mcp would appear in traces: pass the tool with bind_tools or built_in_tools, "
            "which hide them, not in extra_body"
        )
    headers = tool["headers"].reveal()
    if REDACTED in headers.values():
        raise ConfigurationError("the headers of the tool mcp were redacted when it was serialized: pass them again")
    return {**tool, "headers": headers}


def _tool_choice(choice: str | Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return the tool choice: "required" for a single tool, otherwise a list of allowed tools."""
    if isinstance(choice, str):
        return choice
    if choice.get("type") == "allowed_tools":  # already in the wire format
        return dict(choice)
    if len(tools) == 1:
        return "required"
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    chosen = [tool for tool in tools if tool_name(tool) == name]
    if not chosen:  # already in the wire format
        return dict(choice)
    allowed = [{"type": kind} if (kind := built_in_name(t)) else {"type": "function", "name": name} for t in chosen]
    return {"type": "allowed_tools", "mode": "required", "tools": allowed}
