"""Apply the policies on thinking, tool choice, JSON mode and streaming to a request, as one pure function.

Model capabilities come from `ModelInfo`. Besides contradictory or malformed arguments, only two combinations are
rejected, because the vendor documents that the service rejects them: disabling thinking on a thinking-only model, and
n > 1 with tools.

Sources: the vendor's Deep thinking, Visual reasoning, Structured output and Function calling pages and its error-code
page ("parameter.enable_thinking must be set to false for non-streaming calls", 'tool_choice is one of the strings that
should be ["none", "auto"]', "'messages' must contain the word 'json' in some form").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.tools import tool_name
from modelstudio_core.types import AudioPart, ChatRequest, ImagePart, Message, TextPart, VideoPart
from modelstudio_core.values import value_class

JSON_INSTRUCTION = "Answer with a JSON object."
_ASKS_FOR_STREAM = (
    "must be set to false for non-streaming calls",
    "enable_thinking only support stream call",
    "only support stream mode",
    "does not support http call",
)


@value_class
class Notice:
    """A decision to log: a warning if it overrides the caller, otherwise INFO."""

    text: str
    level: int = logging.INFO


@value_class
class Plan:
    """The request to send, whether it is sent with stream=true, and the decisions to log."""

    request: ChatRequest
    stream: bool
    notices: tuple[Notice, ...] = ()


def plan(request: ChatRequest, model: ModelInfo, *, stream: bool) -> Plan:
    """Return the request with all policies applied, whether to stream it, and the notices to log.

    Args:
        request: the caller's request, which is not changed.
        model: the capabilities of the model.
        stream: whether the caller asked for a stream.

    Raises:
        ConfigurationError: for a combination that the service is documented to reject.
    """
    _check_supported(request, model)
    notices: list[Notice] = []
    request = _normalized_thinking(request, model)
    request = _json_mode(request, model, notices)
    request = _tool_choice(request, model, notices)
    if request.messages[-1].partial and _can_disable_thinking(request, model):
        request = _without_thinking(request, model, notices)  # partial mode requires thinking off
    stream = uses_streaming(request, model, stream=stream)
    request = _with_thinking_switch(request, model)
    if stream and request.tools and model.needs_tool_stream:
        request = replace(request, parameters={"tool_stream": True} | dict(request.parameters))
    messages = _with_replayed_reasoning(request, model)
    if messages != request.messages or model.cumulative_stream != request.cumulative_stream:
        request = replace(request, messages=messages, cumulative_stream=model.cumulative_stream)
    return Plan(request, stream, tuple(notices))


def may_think(request: ChatRequest, model: ModelInfo) -> bool:
    """Return True if the model may think on this request. Unknown models may, as may those that think by default."""
    request = _normalized_thinking(request, model)
    if model.thinking_only:
        return True
    if request.enable_thinking is not None:
        return request.enable_thinking
    if model.thinking == "none" or request.reasoning_effort == "none":
        return False
    return model.may_think_by_default


def uses_streaming(request: ChatRequest, model: ModelInfo, *, stream: bool) -> bool:
    """Return True if the request is sent with stream=true: if the caller asked for a stream, or the model may think.

    `streaming=False` is respected, except on models that only support streaming.
    """
    if stream or model.streaming_only or request.streaming:
        return True
    return request.streaming is None and may_think(request, model)


def asks_for_stream(error: ModelStudioError) -> bool:
    """Return True if the service rejected a call only because it did not stream."""
    return error.status_code == 400 and any(words in error.message for words in _ASKS_FOR_STREAM)


def unsupported_input(request: ChatRequest, model: ModelInfo) -> str:
    """Return a sentence naming media in the request that the catalogue lists as not accepted, or ""."""
    sent = {
        type(part) for message in request.messages if isinstance(message.content, tuple) for part in message.content
    }
    listed = ((ImagePart, "images", model.input_image), (VideoPart, "video", model.input_video),
              (AudioPart, "audio", model.input_audio))  # fmt: skip
    rejected = [name for kind, name, accepted in listed if kind in sent and accepted is False]
    if not rejected:
        return ""
    return f"{request.model} is listed as not accepting {' or '.join(rejected)}: use a model that does."


# ---------------------------------------------------------------- policies


def _check_supported(request: ChatRequest, model: ModelInfo) -> None:
    if not isinstance(request.response_format, Mapping | None):
        raise ConfigurationError('response_format must be a mapping, such as {"type": "json_object"}')
    without_effort = _is_effort_none(request)
    if without_effort and request.enable_thinking:
        raise ConfigurationError(
            'enable_thinking=True and reasoning_effort="none" contradict each other: remove one of them'
        )
    if model.thinking_only and (
        request.enable_thinking is False or (without_effort and not _supports_effort_none(model))
    ):
        off = 'reasoning_effort="none"' if without_effort else "enable_thinking=False"
        raise ConfigurationError(
            f"{request.model} always thinks, and the service rejects {off}: remove it, or use a model that can disable "
            "thinking"
        )
    if request.tools and (request.n or 1) > 1:
        raise ConfigurationError(f"n={request.n} is not supported with tools: n must be 1")


def _is_effort_none(request: ChatRequest) -> bool:
    return request.reasoning_effort == "none"


def _supports_effort_none(model: ModelInfo) -> bool:
    """Return True if the model lists "none" as a reasoning effort or an alias of one."""
    effort = model.reasoning_effort
    return effort is not None and "none" in (*effort.values, *dict(effort.aliases))


def _normalized_thinking(request: ChatRequest, model: ModelInfo) -> ChatRequest:
    """Return the request with `enable_thinking` derived from equivalent parameters.

    These are `reasoning_effort="none"` if the model has no such level, and the object `thinking` if the model uses it
    to control thinking. For a model that never thinks, the effort is dropped.
    """
    if _is_effort_none(request) and not _supports_effort_none(model):
        if model.is_hybrid:
            return replace(request, enable_thinking=False, reasoning_effort=None)
        if model.thinking == "none":
            return replace(request, reasoning_effort=None)
    thinking = request.parameters.get("thinking")
    if model.thinking_switch != "thinking" or request.enable_thinking is not None or not isinstance(thinking, Mapping):
        return request
    return replace(request, enable_thinking=thinking.get("type") != "disabled")


def _json_mode(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    """Add the word "json", which JSON mode requires, and disable thinking unless the caller enabled it."""
    if (request.response_format or {}).get("type") != "json_object":
        return request
    if not any(_mentions_json(message) for message in request.messages if message.role in ("system", "user")):
        request = replace(request, messages=_with_json_instruction(request.messages))
    return _without_thinking(request, model, notices) if _can_disable_thinking(request, model) else request


def _mentions_json(message: Message) -> bool:
    if isinstance(message.content, str):
        return "json" in message.content.lower()
    return any("json" in part.text.lower() for part in message.content if isinstance(part, TextPart))


def _with_json_instruction(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    first = messages[0] if messages else None
    if first is None or first.role != "system":
        return (Message("system", JSON_INSTRUCTION), *messages)
    if isinstance(first.content, str):
        content: Any = f"{first.content}\n\n{JSON_INSTRUCTION}" if first.content else JSON_INSTRUCTION
    else:
        content = (*first.content, TextPart(JSON_INSTRUCTION))
    return (replace(first, content=content), *messages[1:])


def _tool_choice(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    """Convert a forced tool choice to one that the service accepts.

    It accepts auto, none and a named function, and "required" for some models. For the others, "required" names the
    tool if there is one, and becomes auto if there are several. A forced choice requires thinking to be off. Thinking
    is disabled for this request, unless the caller enabled it or the model cannot turn it off; then the choice becomes
    auto.
    """
    choice = request.tool_choice
    if choice == "any":
        choice = "required"
    if not request.tools or choice is None or choice in ("auto", "none"):
        choice = choice if request.tools else None
        return request if choice == request.tool_choice else replace(request, tool_choice=choice)
    if model.required_tool_choice and (choice == "required" or len(request.tools) == 1):
        return replace(request, tool_choice="required")
    if choice == "required":
        if len(request.tools) > 1:
            notices.append(
                Notice(
                    f'tool_choice "required" with {len(request.tools)} tools is sent as "auto": {request.model} '
                    "accepts only auto, none or the name of one tool. The answer may contain no call",
                    logging.WARNING,
                )
            )
            return replace(request, tool_choice="auto")
        choice = {"type": "function", "function": {"name": tool_name(request.tools[0])}}
    if _can_disable_thinking(request, model):
        return replace(_without_thinking(request, model, notices), tool_choice=choice)
    if may_think(request, model):
        notices.append(
            Notice(
                f'a forced tool_choice is sent as "auto", because {request.model} may think on this request, and the '
                "service then accepts only auto or none. Set enable_thinking=False if the model supports it",
                logging.WARNING,
            )
        )
        choice = "auto"
    return replace(request, tool_choice=choice)


def _can_disable_thinking(request: ChatRequest, model: ModelInfo) -> bool:
    """Return True if thinking can be turned off for this request without overriding the caller."""
    return model.is_hybrid and request.enable_thinking is None and request.reasoning_effort in (None, "none")


def _without_thinking(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    """Return the request with thinking disabled. Add a notice if the model would otherwise have thought."""
    if may_think(request, model):
        notices.append(
            Notice(
                f"thinking is disabled for this request to {request.model}: forced tool choices, JSON mode and partial "
                "mode require it. Set enable_thinking=True to keep thinking enabled"
            )
        )
    return replace(request, enable_thinking=False, thinking_budget=None, reasoning_effort=None)


def _with_thinking_switch(request: ChatRequest, model: ModelInfo) -> ChatRequest:
    """Move `enable_thinking` to the parameter that the model reads."""
    if request.enable_thinking is None:
        return request
    if model.thinking_only:
        return replace(request, enable_thinking=None)
    if model.thinking_switch == "thinking":
        thinking = {"type": "adaptive" if request.enable_thinking else "disabled"}
        return replace(request, enable_thinking=None, parameters={"thinking": thinking} | dict(request.parameters))
    return request


def _with_replayed_reasoning(request: ChatRequest, model: ModelInfo) -> tuple[Message, ...]:
    """Return the messages without the reasoning that is not sent.

    "never" removes all; "always" keeps all; "auto" keeps it after the last user message, and all of it if
    preserve_thinking, clear_thinking or the catalogue says so.
    """
    last_user = max((i for i, message in enumerate(request.messages) if message.role == "user"), default=-1)
    mode, include_earlier = request.reasoning_replay, request.preserve_thinking
    if include_earlier is None and isinstance(request.parameters.get("clear_thinking"), bool):
        include_earlier = not request.parameters["clear_thinking"]  # GLM's name for the inverse
    if include_earlier is None:
        include_earlier = model.preserve_thinking == "default-on" or model.replay_reasoning == "all"
    keep_all = mode == "always" or (mode == "auto" and include_earlier)
    return tuple(
        message
        if message.reasoning_content is None or keep_all or (mode != "never" and position > last_user)
        else replace(message, reasoning_content=None)
        for position, message in enumerate(request.messages)
    )
