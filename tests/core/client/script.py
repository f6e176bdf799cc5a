"""A transport that plays a script, and the four ways to make a call with it."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from modelstudio_core.catalogue import model_info
from modelstudio_core.config import Config
from modelstudio_core.errors import (
    APIConnectionError,
    ModelStudioError,
)
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.client import Client
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import ChatRequest, ChatResult, Message, ResponseHead

KEY = "sk-very-secret"
CONFIG = Config("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", SecretStr(KEY), region="singapore")
REQUEST = ChatRequest("qwen-max", (Message("user", "hello"),))  # a model that never thinks: whole is whole on the wire
SSE = {"content-type": "text/event-stream;charset=UTF-8"}
WHOLE = {"content-type": "application/json"}


@dataclass(frozen=True)
class Reply:
    """A response with its reads. A read may be an error, or None to block forever."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    reads: tuple[bytes | Exception | None, ...] = ()


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chunk(delta: Any, finish: str | None = None) -> bytes:
    return event({"id": "chatcmpl-7", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def error(status: int, code: str | None, message: str = "It failed.", **headers: str) -> Reply:
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Reply(status, WHOLE | {name.replace("_", "-"): value for name, value in headers.items()}, (body,))


ROLE = chunk({"role": "assistant", "content": ""})
A, B, STOP = chunk({"content": "A"}), chunk({"content": "B"}), chunk({}, "stop")
DONE = event(b"[DONE]")
COUNTS = {"prompt_tokens": 1, "completion_tokens": 2}
USED = event({"choices": [], "usage": COUNTS})
STREAMED = Reply(200, SSE, (ROLE + A, B[:10], B[10:] + STOP, USED + DONE))
CHOICE = {"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"}
SAID = {"id": "chatcmpl-7", "choices": [CHOICE], "usage": COUNTS}
ANSWERED = Reply(200, WHOLE, (json.dumps(SAID).encode(),))
OK = None  # in a script: `STREAMED` where a stream was asked for, else `ANSWERED`
LIMITED = error(429, "Throttling.RateQuota")
LIMITED_EVENT = event({"error": {"message": "Slow down.", "code": "limit_requests"}})


class FakeTransport:
    """Plays a script and logs the operations on it. Sync and async differ only in how they wait."""

    def __init__(self, *script: Reply | Exception | None) -> None:
        self.script = list(script)
        self.log: list[str] = []
        self.sent: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    def open(
        self, url: str, headers: SecretHeaders, body: bytes, timeout: Timeouts | None = None, *options: Any
    ) -> FakeResponse:
        self.log.append("open")
        self.sent.append((url, headers.reveal(), json.loads(body)))
        reply = self.script.pop(0)
        if isinstance(reply, Exception):
            raise copy.copy(reply)
        return FakeResponse(self.log, reply or (STREAMED if self.sent[-1][2].get("stream") else ANSWERED))

    async def aopen(
        self, url: str, headers: SecretHeaders, body: bytes, timeout: Timeouts | None = None, *options: Any
    ) -> FakeResponse:
        await asyncio.sleep(0)
        return self.open(url, headers, body, timeout)

    def sleep(self, seconds: float) -> None:
        self.log.append(f"sleep {seconds}")

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def close(self) -> None:
        self.log.append("close transport")

    async def aclose(self) -> None:
        self.log.append("aclose transport")

    @property
    def slept(self) -> list[float]:
        return [float(entry.split()[1]) for entry in self.log if entry.startswith("sleep")]


class FakeResponse:
    def __init__(self, log: list[str], reply: Reply) -> None:
        self.head = ResponseHead(reply.status, reply.headers)
        self.log = log
        self.reads = iter(reply.reads)
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.log.append("read")
        assert not self.closed
        data = next(self.reads)
        if isinstance(data, Exception):
            raise copy.copy(data)
        assert data is not None, "a sync read that never ends"
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.log.append("read")
        assert not self.closed
        await asyncio.sleep(0)
        data = next(self.reads, b"end")
        if data is None:
            await asyncio.Event().wait()
        if data == b"end":
            raise StopAsyncIteration
        if isinstance(data, Exception):
            raise copy.copy(data)
        return data

    def read_trailing(self, extend: bool = False) -> bytes | None:
        self.log.append("extend" if extend else "trailing")
        return next(self, None)

    async def aread_trailing(self, extend: bool = False) -> bytes | None:
        self.log.append("extend" if extend else "trailing")
        return await anext(self, None)

    def finish(self) -> None:
        self.log.append("finish")

    async def afinish(self) -> None:
        self.finish()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.log.append("close")

    async def aclose(self) -> None:
        self.close()


Outcome = tuple[ChatResult | None, ModelStudioError | None]


def complete(client: Client, request: ChatRequest) -> ChatResult:
    return client.complete(request, model_info(request.model))


def acomplete(client: Client, request: ChatRequest) -> ChatResult:
    return asyncio.run(client.acomplete(request, model_info(request.model)))


def stream(client: Client, request: ChatRequest) -> ChatResult:
    return fold(client.stream(request, model_info(request.model)))


def astream(client: Client, request: ChatRequest) -> ChatResult:
    async def collect() -> ChatResult:
        return fold([delta async for delta in client.astream(request, model_info(request.model))])

    return asyncio.run(collect())


WAYS = {"complete": complete, "acomplete": acomplete, "stream": stream, "astream": astream}
Way = Callable[[Client, ChatRequest], ChatResult]
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
streaming_ways = pytest.mark.parametrize("way", [stream, astream])


def run(way: Way, transport: FakeTransport, request: ChatRequest = REQUEST, config: Config = CONFIG) -> Outcome:
    try:
        return way(Client(config, transport), request), None
    except ModelStudioError as error:
        return None, error


LOST = APIConnectionError("lost in the answer", is_resent=False)
HTML = (b"<html>Welcome</html>",)
