"""Stream over loopback in lockstep: each event is sent when the one before it has been received.

So each event is read alone, or all events of a burst at once, on any machine and at any speed, and what is counted of
the work is the same in each run. The server needs no CPU time of its own between two events.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.server import END, HEAD, events

LONE, BURST = 20, 100  # events sent alone, and then at once
Count = Callable[[str, int], None]  # told what begins and its number of events; "" when it ends


class Service:
    """Answer one request at a time with a stream whose events the caller sends."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ready = threading.Event()
        self._stream: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:  # closed
                return
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream: socket.socket) -> None:
        received = b""
        while data := stream.recv(65536):
            received += data
            head, found, body = received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            if found and len(body) >= length:
                received = b""
                self._stream = stream
                stream.sendall(HEAD + self.first)
        stream.close()

    def begin(self, first: bytes) -> None:
        """Set the first event of the next stream, which is sent with the head of the response."""
        self.first = first

    def send(self, data: bytes) -> None:
        """Send more of the stream."""
        assert self._stream is not None
        self._stream.sendall(data)

    def close(self) -> None:
        self._listener.close()


@dataclass
class Plan:
    """What is sent, and how much text has then been received."""

    first: bytes
    lone: list[bytes]
    burst: bytes
    rest: bytes

    @classmethod
    def of(cls, protocol: str) -> Plan:
        said = events(protocol, "burst", 1 + LONE + BURST)
        split = 1 + LONE
        rest = b"".join(said[split + BURST :]) + END
        return cls(said[0], said[1:split], b"".join(said[split : split + BURST]), rest)


def _length(begin: int, end: int) -> int:
    """Return the length of the text of some events."""
    return sum(len(f"word {number} ") for number in range(begin, end))


def _read(texts: Iterator[str], length: int) -> None:
    while length > 0:
        length -= len(next(texts))
    assert length == 0, "text came before its event was sent"


async def _aread(texts: AsyncIterator[str], length: int) -> None:
    while length > 0:
        length -= len(await texts.__anext__())
    assert length == 0, "text came before its event was sent"


def stream(side: Any, llm: Any, service: Service, protocol: str, count: Count) -> None:
    """Read a stream: one event, `LONE` events one by one, `BURST` at once, the rest. The middle two are counted."""
    plan = Plan.of(protocol)
    service.begin(plan.first)
    texts = side.texts(llm)
    _read(texts, _length(0, 1))
    count("each", LONE)
    for number, event in enumerate(plan.lone, 1):
        service.send(event)
        _read(texts, _length(number, number + 1))
    count("", 0)
    service.send(plan.burst)
    count("burst", BURST)
    _read(texts, _length(1 + LONE, 1 + LONE + BURST))
    count("", 0)
    service.send(plan.rest)
    for _ in texts:
        pass


async def astream(side: Any, llm: Any, service: Service, protocol: str, count: Count) -> None:
    """Async version of `stream`."""
    plan = Plan.of(protocol)
    service.begin(plan.first)
    texts = side.atexts(llm)
    await _aread(texts, _length(0, 1))
    count("aeach", LONE)
    for number, event in enumerate(plan.lone, 1):
        service.send(event)
        await _aread(texts, _length(number, number + 1))
    count("", 0)
    service.send(plan.burst)
    count("aburst", BURST)
    await _aread(texts, _length(1 + LONE, 1 + LONE + BURST))
    count("", 0)
    service.send(plan.rest)
    async for _ in texts:
        pass


def both(side: Any, make: Callable[[str], Any], protocol: str, count: Count, warm: Count) -> None:
    """Read two streams each, sync and async: the first with `warm` in place of `count`."""
    service = Service()
    llm = make(service.origin)
    for told in (warm, count):
        stream(side, llm, service, protocol, told)
    loop = asyncio.new_event_loop()
    for told in (warm, count):
        loop.run_until_complete(astream(side, llm, service, protocol, told))
    loop.close()
    service.close()
