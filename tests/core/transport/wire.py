"""One transport, driven in sync or async style by the same calls, and what the servers of these tests do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

from modelstudio_core.http.response import AsyncResponse
from modelstudio_core.http.transport import Transport
from tests.loopback import Exchange, Script, sse

KEY = "sk-secret-0123456789"
OPTION = {"sync": "http_client", "async": "http_async_client"}
EVENTS = sse({"n": 1}, {"n": 2}, {"n": 3})


class Wire:
    """One transport, driven in sync or async style by the same calls."""

    def __init__(self, style: str, transport: Transport, loop: asyncio.AbstractEventLoop | None) -> None:
        self.style = style
        self.transport = transport
        self.loop = loop

    def run(self, sync: Callable[[], Any], async_: Callable[[], Any]) -> Any:
        return sync() if self.loop is None else self.loop.run_until_complete(async_())

    def open(self, url: str, headers: dict[str, str] | None = None, body: bytes = b"{}") -> Answer:
        sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        transport = self.transport
        return Answer(self, self.run(lambda: transport.open(url, sent, body), lambda: transport.aopen(url, sent, body)))

    def close(self) -> None:
        self.run(self.transport.close, self.transport.aclose)


class Answer:
    def __init__(self, wire: Wire, response: Any) -> None:
        self.wire = wire
        self.response = response
        self.head = response.head

    def next(self) -> bytes | None:
        async def one() -> bytes:
            return bytes(await anext(self.response))

        try:
            return bytes(self.wire.run(lambda: next(self.response), one))
        except (StopIteration, StopAsyncIteration):
            return None

    def rest(self) -> list[bytes]:
        return list(iter(self.next, None))

    def until_done(self) -> None:
        while b"[DONE]" not in (self.next() or b"[DONE]"):
            pass

    def read_trailing(self, extend: bool = False) -> bytes | None:
        ways = (lambda: self.response.read_trailing(extend), lambda: self.response.aread_trailing(extend))
        return cast("bytes | None", self.wire.run(*ways))

    def read(self) -> bytes:
        return b"".join(self.rest())

    def finish(self) -> None:
        self.wire.run(lambda: self.response.finish(), lambda: self.response.afinish())

    def close(self) -> None:
        self.wire.run(lambda: self.response.close(), lambda: self.response.aclose())


def silent(exchange: Exchange) -> None:
    exchange.client_gone(5)


def head_then(act: Callable[[Exchange], None]) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        exchange.wait(0.05)
        act(exchange)

    return script


def raw(data: bytes) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return script


def ends_later(exchange: Exchange) -> None:
    exchange.send_head()
    exchange.send_chunk(b"data: 1\n\n")
    exchange.send_chunk(b"data: [DONE]\n\n")
    exchange.wait(0.005)
    exchange.end()


BEHIND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"


def endless(gone: list[float]) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        if exchange.client_gone(5):
            gone.append(time.monotonic())
        exchange.close()

    return script


async def ask(transport: Transport, url: str, *steps: str) -> AsyncResponse:
    response = await transport.aopen(url, {}, b"{}")
    for step in steps or ["read"]:
        if step == "read":
            assert b"".join([chunk async for chunk in response]).endswith(b"[DONE]\n\n")
        elif step == "begin":
            await anext(response)
        elif step == "close":
            await response.aclose()
    return response
