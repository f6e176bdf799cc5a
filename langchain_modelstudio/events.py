"""Events of `stream_events(version="v3")`: langchain-core's bridge makes them, and the core's rule finishes tool calls.

The bridge takes arguments that never began for `{}`, `NaN` for JSON, and fails on arguments that are a list; so what it
says of a finished call is replaced here. LangGraph takes this way for `invoke` too, where it streams messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models._compat_bridge import achunks_to_events, chunks_to_events
from langchain_core.messages import AIMessageChunk, ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_modelstudio.chunks import finished_calls


def events(chunks: Iterator[ChatGenerationChunk], message_id: str | None) -> Iterator[Any]:
    """The events of a stream of chunks."""
    calls = _Calls()
    for event in chunks_to_events(map(calls.note, chunks), message_id=message_id):
        yield calls.strict(event)


async def aevents(chunks: AsyncIterator[ChatGenerationChunk], message_id: str | None) -> AsyncIterator[Any]:
    """The async twin of `events`."""
    calls = _Calls()
    async for event in achunks_to_events((calls.note(chunk) async for chunk in chunks), message_id=message_id):
        yield calls.strict(event)


class _Calls:
    """The tool calls of one stream. Both they and the bridge's blocks are in the order in which they were first seen."""

    def __init__(self) -> None:
        self._fragments: dict[Any, list[ToolCallChunk]] = {}
        self._finish_reason: str | None = None
        self._finished: Iterator[Any] | None = None

    def note(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Remember what a chunk says of calls."""
        message = chunk.message
        if isinstance(message, AIMessageChunk):
            for fragment in message.tool_call_chunks:
                self._fragments.setdefault(fragment["index"], []).append(fragment)
            self._finish_reason = message.response_metadata.get("finish_reason", self._finish_reason)
        return chunk

    def strict(self, event: Any) -> Any:
        """The event, with the finished call that the core's rule makes of the fragments."""
        if event["event"] != "content-block-finish" or event["content"]["type"] not in (
            "tool_call",
            "invalid_tool_call",
        ):
            return event
        if self._finished is None:
            calls = [
                tool_call_chunk(
                    name=next((each["name"] for each in fragments if each["name"]), None),
                    args="".join(each["args"] or "" for each in fragments),
                    id=next((each["id"] for each in fragments if each["id"]), None),
                    index=None,
                )
                for fragments in self._fragments.values()
            ]
            self._finished = iter(finished_calls(calls, self._finish_reason))
        return {**event, "content": next(self._finished, event["content"])}
