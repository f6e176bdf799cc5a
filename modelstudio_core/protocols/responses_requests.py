"""Write requests of the Responses protocol: input items, tools, and what continues an earlier response.

Sources: as in `modelstudio_core.protocols.responses`. The service ignores parameters that it does not know without an
error, so a parameter that is not listed here raises an error that names the protocol that has it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelstudio_core.built_in_tools import built_in_name, mcp_headers
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.chat_format import count_request
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
_OURS = {
    **dict.fromkeys(("model", "input", "stream"), "use the argument"),
    "instructions": "use a system message",
}
_SENT = frozenset({"temperature", "top_p", "ocr_options", "store", "conversation", "previous_response_id"})
_RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
# a hint that changes no answer, or the service's own default
_DROPPED = frozenset({"tool_stream", "parallel_tool_calls"})
_NATIVE = frozenset({"incremental_output", "vl_enable_image_hw_output"})
_POLICIES = frozenset({"tools", "tool_choice", "enable_thinking", "reasoning_effort"})
# echoed and ignored (recorded probes, September 2026), or unsupported (reference)
_IGNORED = {
    "text": 'use protocol="openai" with response_format, or function calling',
    "metadata": "keep it in your own records",
    "background": "call the service from a thread or task of your own",
}
_INSTEAD = {
    "enable_search": 'here web search is a tool: {"type": "web_search"}',
    "enable_code_interpreter": 'here it is a tool: {"type": "code_interpreter"}',
}
# flagships that run code only while they think (code interpreter page)
_THINKS_FOR_CODE = re.compile(r"qwen3(?:\.\d+)?-(?:max|flash)")
_INPUT_SHARE = 0.8  # of the window (reference)
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
    body = merge_extra_body(body, request.extra_body, _OURS)
    headers = request_headers(request, stream)
    if given.get("session_cache"):
        headers["x-dashscope-session-cache"] = "enable"
    secrets = tuple(secret for tool in request.tools for secret in mcp_headers(tool).credentials())
    return WireCall(_PATH, headers, write_json(body), secrets=secrets)


# ---------------------------------------------------------------- what is refused


def _check_parameters(request: ChatRequest, given: Mapping[str, Any]) -> None:
    values = {name: getattr(request, name) for name in POLICY_PARAMETERS if name not in _POLICIES}
    given = {**given, **{name: value for name, value in values.items() if value is not None}}
    if given.get("n") == 1:
        given = {name: value for name, value in given.items() if name != "n"}
    for name in sorted(_INSTEAD.keys() & given.keys()):
        if given[name]:
            raise ConfigurationError(f'{name} exists with protocol="openai" only: {_INSTEAD[name]}')
    reject_parameters(given, _NATIVE, "dashscope")
    known = _SENT | _RENAMED.keys() | _DROPPED | _NATIVE | _INSTEAD.keys() | RESPONSES_PARAMETERS
    if foreign := sorted(given.keys() - known):
        raise ConfigurationError(
            f"{', '.join(foreign)}: the Responses protocol has no such parameter, and the service would ignore it. Use "
            'protocol="openai", or leave it out'
        )
    ignored = sorted(_IGNORED.keys() & request.extra_body.keys())
    ignored += ["parallel_tool_calls"] if given.get("parallel_tool_calls") else []
    reasoning = request.extra_body.get("reasoning")
    ignored += ["reasoning.summary"] if isinstance(reasoning, Mapping) and "summary" in reasoning else []
    if ignored:
        advice = " ".join(f"{name}: {_IGNORED[name]}." for name in ignored if name in _IGNORED)
        raise ConfigurationError(
            f"{', '.join(ignored)}: the service accepts this with the Responses protocol, but ignores it. Leave it "
            f"out. {advice}".rstrip()
        )
    previous = given.get("previous_response_id") or given.get("use_previous_response_id")
    if previous and given.get("conversation"):
        raise ConfigurationError("previous_response_id and conversation exclude each other: give one of them")
    _check_tools(request)


def _check_tools(request: ChatRequest) -> None:
    """Raise ConfigurationError for tools that the service would reject, or ignore, as they are combined."""
    for tool in request.tools:  # those of extra_body were not checked before
        checked_tool(tool, built_in=True)
    kinds = [built_in_name(tool) or "function" for tool in request.tools]
    if "web_extractor" in kinds and "web_search" not in kinds:
        raise ConfigurationError('the tool web_extractor needs web_search beside it: add {"type": "web_search"}')
    if "code_interpreter" in kinds and request.enable_thinking is False and _THINKS_FOR_CODE.match(request.model):
        raise ConfigurationError(
            f"the tool code_interpreter needs thinking on {request.model}, which is off on this request: by "
            "enable_thinking=False, or because of a forced tool_choice"
        )
    if "omni" in request.model and (other := next((kind for kind in kinds if kind not in _OMNI_TOOLS), None)):
        raise ConfigurationError(f"the tool {other} is not for {request.model}, which takes web_search and functions")
    for kind, tool in zip(kinds, request.tools, strict=True):
        if kind == "file_search" and len(tool.get("vector_store_ids") or ()) != 1:
            raise ConfigurationError("the tool file_search needs vector_store_ids with exactly one id")
        if kind == "mcp" and (missing := [n for n in ("server_label", "server_url") if not tool.get(n)]):
            raise ConfigurationError(f"the tool mcp needs {' and '.join(missing)}")
        if kind == "function" and (tool.get("function") or {}).get("strict"):
            raise ConfigurationError(
                f"strict=True on the tool {tool_name(tool)}: the service does not enforce schemas with the Responses "
                "protocol. Leave it out, and validate the arguments"
            )


def silent_cut(request: ChatRequest, model: ModelInfo) -> Notice | None:
    """Return a warning if the input exceeds what the Responses protocol takes, which the service then cuts silently.

    It takes about 80 % of the window (reference). Tokens are only counted if there are as many characters.
    """
    window = int((model.context_window or model.max_input or 0) * _INPUT_SHARE)
    length = sum(len(part.text) for m in request.messages for part in _parts(m) if isinstance(part, TextPart))
    if not window or length < window:
        return None
    if (count := count_request(request, model)) <= window:
        return None
    return Notice(
        f"the input has about {count} tokens, more than 80 % of the window of {request.model}: with the Responses "
        "protocol the service leaves out its middle without an error. Send less, or use another protocol",
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
    """Return the id of the last response in the history, and the messages after it; None and all if there is none."""
    for position in range(len(messages) - 1, 0, -1):
        if id := messages[position - 1].response_id:
            return id, messages[position:]
    return None, messages


def continued_response(request: ChatRequest) -> str | None:
    """Return the id of the response in the history that a request continues, or None if it continues none.

    A response that the caller named is not one, since the history may not have what it held.
    """
    given = request.parameters
    if not given.get("use_previous_response_id") or given.get("previous_response_id"):
        return None
    return _continued(_instructions(request.messages)[1])[0]


def without_previous_response(request: ChatRequest) -> ChatRequest:
    """Return the request with the whole history in place of the response that it continues."""
    return replace(request, parameters={**request.parameters, "use_previous_response_id": False})


def _items(message: Message) -> list[dict[str, Any]]:
    """Return a message as input items: its reasoning, its text and its calls are items of their own."""
    if message.partial:
        raise ConfigurationError('partial mode exists with protocol="openai" and "dashscope" only')
    if message.role == "tool":
        if not message.tool_call_id:
            raise ConfigurationError("a tool message needs a tool_call_id")
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
        parts = content if isinstance(content, str) else [_part(part) for part in content]
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
        _part(part)  # which may say what is wrong with it
    raise ConfigurationError(f"a message of role {message.role} can only hold text with protocol='responses'")


def _part(part: Part) -> dict[str, Any]:
    """Return a content part. The protocol has no image `detail`."""
    if part.cache_control is not None:
        raise _only_chat("cache_control", "session_cache=True caches here")
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    for name in ("min_pixels", "max_pixels", "total_pixels", "max_frames"):
        if getattr(part, name, None) is not None:
            raise _only_chat(name)
    match part:
        case ImagePart():
            return {"type": "input_image", "image_url": url_of(part.url)}
        case VideoPart(source=source) if not isinstance(source, tuple):
            fps = {} if part.fps is None else {"fps": part.fps}
            return {"type": "input_video", "video_url": url_of(source), **fps}
        case AudioPart():
            url = url_of(part.url)
            place = "data" if url.startswith("data:") else "audio_url"
            return {"type": "input_audio", place: url, **({"format": part.format} if part.format else {})}
    raise _only_chat("a video of frames", "give its URL")


def _only_chat(what: str, instead: str = "leave it out") -> ConfigurationError:
    return ConfigurationError(f'{what} exists with protocol="openai" and "dashscope" only: {instead}')


# ---------------------------------------------------------------- thinking and tools


def _thinking(request: ChatRequest) -> dict[str, Any]:
    """Return the switches of thinking. The effort wins over `enable_thinking` (reference)."""
    switch = {} if request.enable_thinking is None else {"enable_thinking": request.enable_thinking}
    effort = {} if request.reasoning_effort is None else {"reasoning": {"effort": request.reasoning_effort}}
    return switch | effort


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool in the flat form of this protocol, or a built-in tool as it is."""
    if built_in_name(tool) is None:
        function = dict(inline_tool(tool)["function"])
        function.pop("strict", None)
        return {"type": "function", **function}
    if "headers" not in tool:
        return dict(tool)
    if not isinstance(tool["headers"], SecretHeaders):
        raise ConfigurationError(
            "the headers of the tool mcp would be traced as they are: give the tool by bind_tools or built_in_tools, "
            "which hide them, and not in extra_body"
        )
    headers = tool["headers"].reveal()
    if REDACTED in headers.values():
        raise ConfigurationError("the headers of the tool mcp were redacted where they were stored: give them again")
    return {**tool, "headers": headers}


def _tool_choice(choice: str | Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return the tool choice: "required" is for a single tool, and a named one is a list of allowed tools."""
    if isinstance(choice, str):
        return choice
    if choice.get("type") == "allowed_tools":  # in the service's own form
        return dict(choice)
    if len(tools) == 1:
        return "required"
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    chosen = [tool for tool in tools if tool_name(tool) == name]
    if not chosen:  # in the service's own form
        return dict(choice)
    allowed = [{"type": kind} if (kind := built_in_name(t)) else {"type": "function", "name": name} for t in chosen]
    return {"type": "allowed_tools", "mode": "required", "tools": allowed}
