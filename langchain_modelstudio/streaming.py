"""Convert deltas directly to the events of LangChain's v3 streaming protocol.

By default, langchain-core derives these events from message chunks. That conversion uses the last id and name of a tool
call even if they are empty, treats a call truncated before its arguments as one without arguments, and merges all text
into one block. Direct events are correct, in order and cheaper.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_protocol.protocol import MessagesData

from langchain_modelstudio import server_tools
from langchain_modelstudio.content_blocks import PROVIDER, audio_piece, citations, text_block, with_mime_type
from langchain_modelstudio.outputs import from_core_choice
from langchain_modelstudio.server_tools import ServerTools
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import (
    AudioDelta,
    Choice,
    Delta,
    ExtraDelta,
    ReasoningDelta,
    RefusalDelta,
    ResponseDelta,
    TextDelta,
    ToolCallDelta,
)


class EventWriter:
    """Convert the deltas of one answer to events.

    Args:
        message_id: id of the message.
    """

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._deltas: list[Delta] = []
        self._blocks = 0
        self._open = ""  # kind of the open text block, "text" or "reasoning"
        self._index = 0  # index of the open block
        self._pieces: list[str] = []
        self._calls: dict[int, int] = {}  # call index -> block index
        self._citations: list[dict[str, Any]] = []  # search sources not yet attached to a finished text
        self._audio: int | None = None  # block index of the audio, which overlaps other blocks
        self._tools = ServerTools()
        self._tool_blocks: dict[str, int] = {}  # id of a built-in tool -> block index
        self._refusal: int | None = None  # block index of the refusal, for which there is no delta event

    def convert(self, delta: Delta) -> list[MessagesData]:
        """Return the events of one delta."""
        self._deltas.append(delta)
        if type(delta) is TextDelta and self._open == "text":  # the most frequent case
            text = delta.text
            self._pieces.append(text)
            return [
                {"event": "content-block-delta", "index": self._index, "delta": {"type": "text-delta", "text": text}}
            ]
        if isinstance(delta, TextDelta):
            return self._text("text", delta.text)
        if isinstance(delta, ReasoningDelta):
            return self._text("reasoning", delta.text)
        if isinstance(delta, ToolCallDelta):
            return self._tool_call(delta)
        if isinstance(delta, AudioDelta):
            return self._audio_delta(delta)
        if isinstance(delta, RefusalDelta):
            return self._start_refusal()
        if isinstance(delta, ExtraDelta):
            self._citations = citations({delta.name: delta.value}) or self._citations
            return self._ran(delta.value) if delta.name == server_tools.NAME else []
        return [self._start(delta)] if isinstance(delta, ResponseDelta) else []

    def end(self) -> list[MessagesData]:
        """Return the final events: the finished calls and the metadata."""
        result = fold(self._deltas)
        choice = result.choices[0]
        events = self._close()
        for tool in result.extras.get(server_tools.NAME, ()):
            if not server_tools.ended(tool):
                block = server_tools.call_block(tool)
                events.append(_event("content-block-finish", index=self._tool_blocks[tool["id"]], content=block))
        finished = _finished_calls(choice)
        for position, index in sorted(self._calls.items()):
            events.append(_event("content-block-finish", index=index, content=finished.pop(position)))
        message = from_core_choice(choice, result)
        if self._audio is not None:
            audio = with_mime_type(audio_piece(message.additional_kwargs["audio"]))
            events.append(_event("content-block-finish", index=self._audio, content=audio))
        if self._refusal is not None:
            refusal = {"type": "refusal", "refusal": choice.refusal}
            events.append(_event("content-block-finish", index=self._refusal, content=refusal))
        last: dict[str, Any] = {"metadata": message.response_metadata}
        if message.usage_metadata:
            last["usage"] = message.usage_metadata
        if message.additional_kwargs:
            last["additional_kwargs"] = message.additional_kwargs
        return [*events, _event("message-finish", **last)]

    def _start(self, response: ResponseDelta) -> MessagesData:
        metadata = {"provider": PROVIDER} | ({"model": response.model} if response.model else {})
        return _event("message-start", role="ai", id=self._message_id, metadata=metadata)

    def _text(self, kind: str, text: str) -> list[MessagesData]:
        events: list[MessagesData] = []
        if self._open != kind:
            events = self._close()
            self._open, self._index = kind, self._next_block()
            events.append(_event("content-block-start", index=self._index, content={"type": kind, kind: ""}))
        self._pieces.append(text)
        events.append(_event("content-block-delta", index=self._index, delta={"type": f"{kind}-delta", kind: text}))
        return events

    def _close(self) -> list[MessagesData]:
        if not self._open:
            return []
        text, kind = "".join(self._pieces), self._open
        self._pieces, self._open = [], ""
        content: Any = {"type": kind, kind: text}
        if kind == "text":
            content, self._citations = text_block(text, self._citations), []
        return [_event("content-block-finish", index=self._index, content=content)]

    def _tool_call(self, delta: ToolCallDelta) -> list[MessagesData]:
        events: list[MessagesData] = []
        index = self._calls.get(delta.index)
        if index is None:
            events = self._close()
            index = self._calls[delta.index] = self._next_block()
            initial = {"type": "tool_call_chunk", "id": delta.id, "name": delta.name, "args": "", "index": delta.index}
            events.append(_event("content-block-start", index=index, content=initial))
        if delta.arguments:
            content_delta = {"type": "tool-call-delta", "args": delta.arguments}
            events.append(_event("content-block-delta", index=index, delta=content_delta))
        return events

    def _audio_delta(self, delta: AudioDelta) -> list[MessagesData]:
        """Return the events of audio data. The transcript, which has no delta event, is in the finished block."""
        events: list[MessagesData] = []
        if self._audio is None:
            self._audio = self._next_block()
            initial = audio_piece({"id": delta.id})
            events.append(_event("content-block-start", index=self._audio, content=initial))
        if delta.data:
            content_delta = {"type": "data-delta", "data": delta.data, "encoding": "base64"}
            events.append(_event("content-block-delta", index=self._audio, delta=content_delta))
        return events

    def _start_refusal(self) -> list[MessagesData]:
        if self._refusal is not None:
            return []
        events = self._close()
        self._refusal = self._next_block()
        return [*events, _event("content-block-start", index=self._refusal, content={"type": "refusal", "refusal": ""})]

    def _ran(self, tools: Any) -> list[MessagesData]:
        """Return the events of built-in tools that began or ended."""
        events = self._close()
        for _, tool, new in self._tools.changed(tools):
            if new:
                self._tool_blocks[tool["id"]] = self._next_block()
                began = {"type": "server_tool_call_chunk", "id": tool["id"], "name": tool["name"], "args": ""}
                events.append(_event("content-block-start", index=self._tool_blocks[tool["id"]], content=began))
            if server_tools.ended(tool):
                index, result = self._next_block(), server_tools.result_block(tool)
                call = server_tools.call_block(tool)
                events.append(_event("content-block-finish", index=self._tool_blocks[tool["id"]], content=call))
                events.append(_event("content-block-start", index=index, content=result))
                events.append(_event("content-block-finish", index=index, content=result))
        return events

    def _next_block(self) -> int:
        self._blocks += 1
        return self._blocks - 1


def _event(event: str, **fields: Any) -> MessagesData:
    return cast("MessagesData", {"event": event, **fields})


def _finished_calls(choice: Choice) -> dict[int, Any]:
    """Return the finished or invalid calls of the answer by index."""
    calls: dict[int, Any] = {c.index: tool_call(name=c.name, args=c.args, id=c.id) for c in choice.tool_calls}
    for c in choice.invalid_tool_calls:
        calls[c.index] = invalid_tool_call(name=c.name, args=c.arguments, id=c.id, error=c.error)
    return calls
