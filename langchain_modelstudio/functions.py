"""Convert LangChain's legacy function calls and messages to tool calls and tool messages.

A `FunctionMessage` has no id, so it is matched with the first open call of its name, in the latest message with such a
call. A call in the legacy `additional_kwargs["function_call"]` has no id either, and gets one for this request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, FunctionMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call

from modelstudio_core.protocols.accumulate import parse_arguments


def with_tool_messages(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the conversation with function messages as tool messages, except those without a matching call."""
    if not any(isinstance(message, FunctionMessage) for message in messages):
        return messages
    waiting: list[tuple[str | None, str | None]] = []  # name and id of each open call, this turn's first
    given: list[BaseMessage] = []
    for position, message in enumerate(messages):
        if isinstance(message, AIMessage):
            message = _with_tool_call(message, f"function_call_{position}")
            made = (*message.tool_calls, *message.invalid_tool_calls)
            waiting = [*((call["name"], call["id"]) for call in made), *waiting]
        elif isinstance(message, ToolMessage):
            waiting = [call for call in waiting if call[1] != message.tool_call_id]
        elif isinstance(message, FunctionMessage):
            answered = next((call for call in waiting if call[0] == message.name), None)
            if answered is not None:
                waiting.remove(answered)
                message = ToolMessage(message.content, tool_call_id=answered[1])
        given.append(message)
    return given


def _with_tool_call(message: AIMessage, id: str) -> AIMessage:
    call = message.additional_kwargs.get("function_call")
    if message.tool_calls or message.invalid_tool_calls or not isinstance(call, Mapping):
        return message
    name, text = call.get("name") or "", call.get("arguments") or ""
    args = parse_arguments(text, None if text else "stop")
    made: dict[str, Any] = (
        {"invalid_tool_calls": [invalid_tool_call(name=name, args=text, id=id, error=args)]}
        if isinstance(args, str)
        else {"tool_calls": [tool_call(name=name, args=args, id=id)]}
    )
    return message.model_copy(update=made)
