"""Convert message dicts whose tool calls langchain-core does not parse correctly.

langchain-core raises an error if the arguments of a call in OpenAI's format are not JSON, and drops the invalid calls
of a dumped message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, ToolCall, convert_to_messages
from langchain_core.messages.tool import invalid_tool_call, tool_call

from modelstudio_core.protocols.accumulate import parse_arguments
from modelstudio_core.protocols.codec import as_string
from modelstudio_core.tools import arguments_text


def with_parsed_calls(given: LanguageModelInput) -> LanguageModelInput:
    """Return a model's input with dicts that have calls in OpenAI's format, or invalid calls, as AIMessages.

    A call whose arguments are not a JSON object is invalid. Missing arguments are an empty object.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        return given
    return [_parse_calls(message) if isinstance(message, Mapping) else message for message in given]


def _parse_calls(message: Mapping[str, Any]) -> Any:
    calls, dumped = message.get("tool_calls") or [], message.get("invalid_tool_calls") or []
    if not isinstance(calls, list) or not isinstance(dumped, list):
        return message
    openai_calls = [call for call in calls if isinstance(_function(call), Mapping)]
    if not openai_calls and not dumped:
        return message
    valid: list[ToolCall] = []
    invalid = [
        invalid_tool_call(**{name: call.get(name) for name in ("name", "args", "id", "error")}) for call in dumped
    ]
    for call in openai_calls:
        name, given = _function(call).get("name") or "", _function(call).get("arguments")
        text = given if isinstance(given, str) else "" if given is None else arguments_text(name, given)
        args = parse_arguments(text, "stop")
        if isinstance(args, str):
            invalid.append(invalid_tool_call(name=name, args=text, id=as_string(call.get("id")), error=args))
        else:
            valid.append(tool_call(name=name, args=args, id=as_string(call.get("id"))))
    others = [call for call in calls if call not in openai_calls]
    rest = {name: value for name, value in message.items() if name not in ("tool_calls", "invalid_tool_calls")}
    [read] = convert_to_messages([{"content": "", **rest, "tool_calls": others}])
    if not isinstance(read, AIMessage):
        return message
    return read.model_copy(update={"tool_calls": [*read.tool_calls, *valid], "invalid_tool_calls": invalid})


def _function(call: Any) -> Any:
    return call.get("function") if isinstance(call, Mapping) else None
