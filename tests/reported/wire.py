"""Answers with arbitrary fields, and a way to request them through either adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from llama_index.core.base.llms.types import ToolCallBlock

from tests.langchain import service as langchain_service
from tests.llama_index import service as llama_index_service
from tests.loopback import Exchange, Loopback, reply_json, sse
from tests.native import frames, is_native
from tests.protocols import PROTOCOLS, spoken
from tests.service import CREATED, ID, REQUEST_ID

OMITTED: Any = object()
Message = Mapping[str, Any]


@dataclass(frozen=True)
class Wire:
    """A script that answers in the protocol and form, whole or streamed, of the request.

    Args:
        events: what each event of a stream adds to the message.
        whole: the whole message; not set: the texts of `events`, joined.
        finish: the finish reason.
        choice: further fields of the last choice, such as `logprobs`.
        usage: the usage object, the same in both protocols.
        top: further fields of the object itself, such as `created`.
    """

    events: Sequence[Message] = ({"content": "It "}, {"content": "is."})
    whole: Message | None = None
    finish: str = "stop"
    choice: Mapping[str, Any] = field(default_factory=dict)
    usage: Any = OMITTED
    top: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> None:
        headers = {"x-request-id": REQUEST_ID}
        native = is_native(exchange.request)
        body = exchange.request.json()
        if native and exchange.request.headers.get("x-dashscope-sse") == "enable":
            exchange.send_head(200, {"Content-Type": "text/event-stream;charset=UTF-8", **headers})
            exchange.send_chunk(b"".join(frames(self._native(event, last) for event, last in self._in_turn())))
            exchange.end()
        elif native:
            reply_json(200, self._native(self._whole(), True), headers)(exchange)
        elif body.get("stream"):
            sse(*(self._compatible("delta", event, last) for event, last in self._in_turn()), headers=headers)(exchange)
        else:
            reply_json(200, self._compatible("message", self._whole(), True), headers)(exchange)

    def _in_turn(self) -> list[tuple[Message, bool]]:
        return [*((event, False) for event in self.events), ({"content": ""}, True)]

    def _whole(self) -> Message:
        if self.whole is not None:
            return self.whole
        names = dict.fromkeys(name for event in self.events for name in event)
        return {name: "".join(event.get(name) or "" for event in self.events) for name in names}

    def _compatible(self, name: str, message: Message, last: bool) -> dict[str, Any]:
        choice = {"index": 0, name: dict(message), "finish_reason": self.finish if last else None}
        usage = {"usage": self.usage} if last and self.usage is not OMITTED else {}
        known = {"id": ID, "created": CREATED, "model": "qwen-plus", **self.top}
        return {**known, "choices": [choice | (self.choice if last else {})], **usage}

    def _native(self, message: Message, last: bool) -> dict[str, Any]:
        choice = {"message": dict(message), "finish_reason": self.finish if last else "null"}
        usage = {"usage": self.usage} if last and self.usage is not OMITTED else {}
        output = {"choices": [choice | (self.choice if last else {})]}
        return {"output": output, "request_id": REQUEST_ID, **self.top, **usage}


@dataclass(frozen=True)
class Way:
    """An adapter, a method and a protocol."""

    adapter: str
    method: str
    protocol: str

    @property
    def langchain(self) -> bool:
        return self.adapter == "langchain"

    @property
    def native(self) -> bool:
        return self.protocol == "dashscope"

    @property
    def streams(self) -> bool:
        return "stream" in self.method

    def model(self, server: Loopback, **settings: Any) -> Any:
        """Return a model object that talks to `server`."""
        make = (langchain_service if self.langchain else llama_index_service).chat
        token = spoken.set(self.protocol)
        try:
            return make(server, **settings)
        finally:
            spoken.reset(token)

    async def __call__(self, server: Loopback, **settings: Any) -> Any:
        """Ask once and return the message, or the last response."""
        ask: Any = langchain_service.call if self.langchain else llama_index_service.call
        return await ask(self.model(server, **settings), self.method)

    async def pieces(self, server: Loopback, **settings: Any) -> list[Any]:
        """Return all chunks, or responses, of a stream."""
        ask: Any = langchain_service.pieces_of if self.langchain else llama_index_service.responses_of
        return list(await ask(self.model(server, **settings), self.method))


_METHODS = {"langchain": langchain_service.WAYS, "llama_index": llama_index_service.WAYS}
EVERY_WAY = [
    Way(adapter, method, it) for adapter, methods in _METHODS.items() for method in methods for it in PROTOCOLS
]


def _named(way: Way) -> str:
    return f"{way.method}-{way.protocol}"


every_way = pytest.mark.parametrize("way", EVERY_WAY, ids=_named)
every_stream = pytest.mark.parametrize("way", [way for way in EVERY_WAY if way.streams], ids=_named)


def text_of(answer: Any) -> str:
    """Return the text of a message or a response."""
    return answer.text if isinstance(answer, AIMessage) else llama_index_service.said(answer)


def calls_of(answer: Any) -> list[tuple[str | None, str, Any]]:
    """Return id, name and arguments of each call of a message or a response."""
    if isinstance(answer, AIMessage):
        return [(call["id"], call["name"], call["args"]) for call in answer.tool_calls]
    return [
        (block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in answer.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def invalid_of(answer: Any) -> list[dict[str, Any]]:
    """Return the invalid calls of a message or a response."""
    found: Any = (
        answer.invalid_tool_calls
        if isinstance(answer, AIMessage)
        else answer.additional_kwargs.get("invalid_tool_calls", [])
    )
    return list(found)
