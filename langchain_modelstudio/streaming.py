"""Deltas as the events of LangChain's v3 streaming protocol, without the detour over message chunks.

langchain-core bridges chunks to these events where a model does not give them itself. The bridge takes the last id and
name of a tool call as the true ones, even empty, takes a call cut before its arguments began for one without arguments,
and puts all text into one block, whatever came between. Given here, events are right, in their order, and cheaper.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_protocol.protocol import MessagesData

from langchain_modelstudio.content_blocks import PROVIDER, audio_piece, citations, text_block, with_mime_type
from langchain_modelstudio.outputs import from_core_choice
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
    """Turns the deltas of one answer into events.

    Args:
        message_id: the id that the message gets.
    """

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._deltas: list[Delta] = []
        self._blocks = 0
        self._open = ""  # the kind of text that is being said, "text" or "reasoning"
        self._index = 0  # of its block
        self._pieces: list[str] = []
        self._calls: dict[int, int] = {}  # a call's index among the calls -> among the blocks
        self._cited: list[dict[str, Any]] = []  # the sources of a search, till a finished text has them
        self._audio: int | None = None  # the index of the spoken answer, which goes on beside the others
        self._refusal: int | None = None  # the index of the refusal, which the protocol has no delta for

    def of(self, delta: Delta) -> list[MessagesData]:
        """The events of one delta."""
        self._deltas.append(delta)
        if type(delta) is TextDelta and self._open == "text":  # nearly all of them
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
            return self._speech(delta)
        if isinstance(delta, RefusalDelta):
            return self._refuse()
        if isinstance(delta, ExtraDelta):
            self._cited = citations({delta.name: delta.value}) or self._cited
            return []
        return [self._start(delta)] if isinstance(delta, ResponseDelta) else []

    def end(self) -> list[MessagesData]:
        """The events that end the answer: each call in its finished form, and what is said once."""
        result = fold(self._deltas)
        choice = result.choices[0]
        events = self._close()
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
            content, self._cited = text_block(text, self._cited), []
        return [_event("content-block-finish", index=self._index, content=content)]

    def _tool_call(self, delta: ToolCallDelta) -> list[MessagesData]:
        events: list[MessagesData] = []
        index = self._calls.get(delta.index)
        if index is None:
            events = self._close()
            index = self._calls[delta.index] = self._next_block()
            began = {"type": "tool_call_chunk", "id": delta.id, "name": delta.name, "args": "", "index": delta.index}
            events.append(_event("content-block-start", index=index, content=began))
        if delta.arguments:
            said = {"type": "tool-call-delta", "args": delta.arguments}
            events.append(_event("content-block-delta", index=index, delta=said))
        return events

    def _speech(self, delta: AudioDelta) -> list[MessagesData]:
        """Its data; the transcript, for which the protocol has no delta, comes with the finished block."""
        events: list[MessagesData] = []
        if self._audio is None:
            self._audio = self._next_block()
            began = audio_piece({"id": delta.id})
            events.append(_event("content-block-start", index=self._audio, content=began))
        if delta.data:
            said = {"type": "data-delta", "data": delta.data, "encoding": "base64"}
            events.append(_event("content-block-delta", index=self._audio, delta=said))
        return events

    def _refuse(self) -> list[MessagesData]:
        if self._refusal is not None:
            return []
        events = self._close()
        self._refusal = self._next_block()
        return [*events, _event("content-block-start", index=self._refusal, content={"type": "refusal", "refusal": ""})]

    def _next_block(self) -> int:
        self._blocks += 1
        return self._blocks - 1


def _event(event: str, **fields: Any) -> MessagesData:
    return cast("MessagesData", {"event": event, **fields})


def _finished_calls(choice: Choice) -> dict[int, Any]:
    """Each call of the answer by its index, finished, or as what must not run."""
    calls: dict[int, Any] = {c.index: tool_call(name=c.name, args=c.args, id=c.id) for c in choice.tool_calls}
    for c in choice.invalid_tool_calls:
        calls[c.index] = invalid_tool_call(name=c.name, args=c.arguments, id=c.id, error=c.error)
    return calls
