"""Every policy on thinking, and on what thinking forbids, as one pure step: the caller's request in, the sent one out.

Nothing here changes the caller's request or knows a host. What a model can do comes from its `ModelInfo`, which never
forbids what the service might allow: only two things are refused, because the vendor's pages say so in words (thinking
off on a thinking-only model; n > 1 together with tools).

Sources: the vendor's Deep thinking, Visual reasoning, Structured output and Function calling pages and its error-code
page ("parameter.enable_thinking must be set to false for non-streaming calls", 'tool_choice is one of the strings that
should be ["none", "auto"]', "'messages' must contain the word 'json' in some form").
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.types import AudioPart, ChatRequest, ImagePart, Message, TextPart, VideoPart

JSON_INSTRUCTION = "Answer with a JSON object."
_ASKS_FOR_STREAM = (
    "must be set to false for non-streaming calls",
    "enable_thinking only support stream call",
    "only support stream mode",
    "does not support http call",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """A decision to log: as a warning where the caller asked for something else, otherwise at INFO."""

    text: str
    level: int = logging.INFO


@dataclass(frozen=True, slots=True)
class Plan:
    """The request as it is sent, whether the wire streams, and the decisions to log."""

    request: ChatRequest
    stream: bool
    notices: tuple[Notice, ...] = ()


def plan(request: ChatRequest, model: ModelInfo, *, stream: bool) -> Plan:
    """Apply every policy.

    Args:
        request: as the caller asked for it.
        model: what the model can do.
        stream: whether the caller consumes a stream.

    Raises:
        ConfigurationError: for what the service is documented to refuse.
    """
    _refuse(request, model)
    notices: list[Notice] = []
    request = _heard(request, model)
    request = _json_mode(request, model, notices)
    request = _tool_choice(request, model, notices)
    if request.messages[-1].partial and _can_be_quiet(request, model):
        request = _without_thinking(request, model, notices)  # partial mode is for answers without thought
    stream = wire_streams(request, model, stream=stream)
    request = _switch(request, model)
    if stream and request.tools and model.needs_tool_stream:
        request = replace(request, parameters={"tool_stream": True} | dict(request.parameters))
    request = replace(
        request,
        messages=_replayed(request, model),
        cumulative_stream=model.cumulative_stream,
    )
    return Plan(request, stream, tuple(notices))


def may_think(request: ChatRequest, model: ModelInfo) -> bool:
    """Return True if the model may think on this request, as unknown models and those that think by default may."""
    request = _heard(request, model)
    if model.thinking_only:
        return True
    if request.enable_thinking is not None:
        return request.enable_thinking
    if model.thinking == "none" or request.reasoning_effort == "none":
        return False
    return model.may_think_by_default


def wire_streams(request: ChatRequest, model: ModelInfo, *, stream: bool) -> bool:
    """Whether the wire streams: always for a caller who does; for a whole answer where the model may think.

    An explicit `streaming=False` is respected except on models that cannot do without.
    """
    if stream or model.streaming_only or request.streaming:
        return True
    return request.streaming is None and may_think(request, model)


def asks_for_stream(error: ModelStudioError) -> bool:
    """Whether the service refused a call only because it did not stream."""
    return error.status_code == 400 and any(words in error.message for words in _ASKS_FOR_STREAM)


def unlisted_input(request: ChatRequest, model: ModelInfo) -> str:
    """Return a sentence on media in the request that the model is listed as not taking; empty if there are none."""
    sent = {
        type(part) for message in request.messages if isinstance(message.content, tuple) for part in message.content
    }
    listed = ((ImagePart, "images", model.input_image), (VideoPart, "video", model.input_video),
              (AudioPart, "audio", model.input_audio))  # fmt: skip
    refused = [name for kind, name, taken in listed if kind in sent and taken is False]
    if not refused:
        return ""
    return f"{request.model} is listed as taking no {' and no '.join(refused)}: use a model that does."


# ---------------------------------------------------------------- the policies, one function each


def _refuse(request: ChatRequest, model: ModelInfo) -> None:
    if not isinstance(request.response_format, Mapping | None):
        raise ConfigurationError('response_format is an object, such as {"type": "json_object"}')
    without_effort = _says_none(request)
    if without_effort and request.enable_thinking:
        raise ConfigurationError(
            'enable_thinking=True and reasoning_effort="none" contradict each other: leave one of them out'
        )
    if model.thinking_only and (request.enable_thinking is False or (without_effort and not _lists_none(model))):
        off = 'reasoning_effort="none"' if without_effort else "enable_thinking=False"
        raise ConfigurationError(
            f"{request.model} always thinks: {off} is refused by the service. Leave it out, or choose a model that can "
            "switch thinking off"
        )
    if request.tools and (request.n or 1) > 1:
        raise ConfigurationError(f"n={request.n} together with tools is refused by the service: n must be 1 with tools")


def _says_none(request: ChatRequest) -> bool:
    return request.reasoning_effort == "none"


def _lists_none(model: ModelInfo) -> bool:
    """Return True if the model is listed for the effort "none", as a level or as an alias."""
    effort = model.reasoning_effort
    return effort is not None and "none" in (*effort.values, *dict(effort.aliases))


def _heard(request: ChatRequest, model: ModelInfo) -> ChatRequest:
    """Set `enable_thinking` where the caller asked for it in other words.

    These are `reasoning_effort="none"`, where the model has no such level, and the object `thinking`, where that is the
    model's switch. A model that never thinks needs no word for it.
    """
    if _says_none(request) and not _lists_none(model):
        if model.is_hybrid:
            return replace(request, enable_thinking=False, reasoning_effort=None)
        if model.thinking == "none":
            return replace(request, reasoning_effort=None)
    thinking = request.parameters.get("thinking")
    if model.thinking_switch != "thinking" or request.enable_thinking is not None or not isinstance(thinking, Mapping):
        return request
    return replace(request, enable_thinking=thinking.get("type") != "disabled")


def _json_mode(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    """JSON mode needs the word "json" in the messages, and thinking off where the caller did not ask for it."""
    if (request.response_format or {}).get("type") != "json_object":
        return request
    if not any(_says_json(message) for message in request.messages if message.role in ("system", "user")):
        request = replace(request, messages=_instructed(request.messages))
    return _without_thinking(request, model, notices) if _can_be_quiet(request, model) else request


def _says_json(message: Message) -> bool:
    if isinstance(message.content, str):
        return "json" in message.content.lower()
    return any("json" in part.text.lower() for part in message.content if isinstance(part, TextPart))


def _instructed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    first = messages[0] if messages else None
    if first is None or first.role != "system":
        return (Message("system", JSON_INSTRUCTION), *messages)
    if isinstance(first.content, str):
        content: Any = f"{first.content}\n\n{JSON_INSTRUCTION}" if first.content else JSON_INSTRUCTION
    else:
        content = (*first.content, TextPart(JSON_INSTRUCTION))
    return (replace(first, content=content), *messages[1:])


def _tool_choice(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    """A forced choice goes out only in a form, and at a time, that the service takes.

    Forms: auto, none and a named function; "required" only to a model known to take it. Time: not while thinking may
    be on, so thinking goes off for this request where that is possible and was not asked for; else the choice is auto.
    """
    choice = request.tool_choice
    if choice == "any":
        choice = "required"
    if not request.tools or choice is None or choice in ("auto", "none"):
        return replace(request, tool_choice=choice if request.tools else None)
    if model.required_tool_choice and (choice == "required" or len(request.tools) == 1):
        return replace(request, tool_choice="required")
    if choice == "required":
        if len(request.tools) > 1:
            notices.append(
                Notice(
                    f'tool_choice "required" among {len(request.tools)} tools is sent as "auto": {request.model} takes '
                    "auto, none or the name of one tool, so an answer without a call is possible",
                    logging.WARNING,
                )
            )
            return replace(request, tool_choice="auto")
        choice = {"type": "function", "function": {"name": _name(request.tools[0])}}
    if _can_be_quiet(request, model):
        return replace(_without_thinking(request, model, notices), tool_choice=choice)
    if may_think(request, model):
        notices.append(
            Notice(
                f'a forced tool_choice is sent as "auto", since {request.model} may think on this request and the '
                "service then takes only auto or none; enable_thinking=False makes the choice hold where the model "
                "allows it",
                logging.WARNING,
            )
        )
        choice = "auto"
    return replace(request, tool_choice=choice)


def _name(tool: Mapping[str, Any]) -> Any:
    return (tool.get("function") or {}).get("name")


def _can_be_quiet(request: ChatRequest, model: ModelInfo) -> bool:
    """Return True if thinking can be off for this request without overriding the caller."""
    return model.is_hybrid and request.enable_thinking is None and request.reasoning_effort in (None, "none")


def _without_thinking(request: ChatRequest, model: ModelInfo, notices: list[Notice]) -> ChatRequest:
    if may_think(request, model):
        notices.append(
            Notice(
                f"{request.model} does not think on this request: forced tool choices, JSON mode and partial mode need "
                "thinking off. enable_thinking=True asks for thinking all the same"
            )
        )
    return replace(request, enable_thinking=False, thinking_budget=None, reasoning_effort=None)


def _switch(request: ChatRequest, model: ModelInfo) -> ChatRequest:
    """Thinking on and off in the field that the model reads it from."""
    if request.enable_thinking is None:
        return request
    if model.thinking_only:
        return replace(request, enable_thinking=None)
    if model.thinking_switch == "thinking":
        thinking = {"type": "adaptive" if request.enable_thinking else "disabled"}
        return replace(request, enable_thinking=None, parameters={"thinking": thinking} | dict(request.parameters))
    return request


def _replayed(request: ChatRequest, model: ModelInfo) -> tuple[Message, ...]:
    """Reasoning of the turns after the last user message always goes back; that of earlier ones by policy."""
    last_user = max((i for i, message in enumerate(request.messages) if message.role == "user"), default=-1)
    policy, whole = request.reasoning_replay, request.preserve_thinking
    if whole is None and isinstance(request.parameters.get("clear_thinking"), bool):
        whole = not request.parameters["clear_thinking"]  # GLM's own word for it
    if whole is None:
        whole = model.preserve_thinking == "default-on" or model.replay_reasoning == "all"
    every = policy == "always" or (policy == "auto" and whole)
    return tuple(
        message
        if message.reasoning_content is None or every or (policy != "never" and position > last_user)
        else replace(message, reasoning_content=None)
        for position, message in enumerate(request.messages)
    )
