"""Relay llama.cpp's response as it is received, and cancel the generation if the client disconnects.

Closing the connection to llama.cpp cancels a streamed generation immediately. A non-streaming generation stops at
llama.cpp's next check, which happens after a second without other requests (xllamacpp 2026.10).
"""

from __future__ import annotations

import io
import selectors
import socket
from collections.abc import Generator
from http.client import HTTPResponse
from typing import Any, cast

Address = tuple[str, int]
Parts = Generator[bytes, None, None]
_CONNECT_SECONDS = 10.0


class ClientDisconnected(Exception):
    """The client closed its connection before the answer was complete."""


class RelayedResponse:
    """Parse a response from a server that closes the connection after it.

    `feed` returns the bytes to relay, and `complete` is True if the response is complete.
    """

    def __init__(self) -> None:
        self.started = False
        self._head = b""
        self._left: int | None = None  # remaining bytes of the body; None if it is chunked
        self._tail = b""

    @property
    def complete(self) -> bool:
        return self.started and (self._tail.endswith(b"0\r\n\r\n") if self._left is None else self._left == 0)

    def feed(self, data: bytes) -> bytes:
        """Return the bytes to relay: nothing until the head is complete, then everything but `Connection` headers."""
        if self.started:
            self._count(data)
            return data
        self._head += data
        head, mark, body = self._head.partition(b"\r\n\r\n")
        if not mark:
            return b""
        self.started = True
        kept = []
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                self._left = int(value)
            if name.lower() not in (b"connection", b"keep-alive"):
                kept.append(line)
        self._count(body)
        return b"\r\n".join(kept) + mark + body

    def _count(self, body: bytes) -> None:
        if self._left is not None:
            self._left -= len(body)
        self._tail = (self._tail + body[-5:])[-5:]


def exchange(address: Address, method: str, path: str, body: bytes, client: socket.socket) -> Parts:
    """Yield the HTTP response of the llama.cpp server at `address`, including the head.

    Raises ClientDisconnected as soon as `client` disconnects. Closing the iterator closes the connection to llama.cpp.
    """
    upstream = socket.create_connection(address, timeout=_CONNECT_SECONDS)
    with upstream:
        upstream.settimeout(None)
        upstream.sendall(_head(method, path, len(body)) + body)
        yield from _parts(upstream, client)


def parsed(parts: Parts) -> HTTPResponse:
    """Return the response in `parts`, which is read from them as they arrive."""
    response = HTTPResponse(cast(socket.socket, _Source(parts)), method="POST")
    response.begin()
    return response


class _Source(io.RawIOBase):
    """The bytes of `parts` as a stream."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._rest = parts, b""

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._rest = self._rest or next(self._parts, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _parts(upstream: socket.socket, client: socket.socket) -> Parts:
    with selectors.DefaultSelector() as ready:
        ready.register(upstream, selectors.EVENT_READ)
        ready.register(client, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                if key.fileobj is upstream:
                    part = upstream.recv(65536)
                    if not part:
                        return
                    yield part
                elif not client.recv(1, socket.MSG_PEEK):
                    raise ClientDisconnected
                else:
                    ready.unregister(client)  # the client has pipelined its next request, so it is still connected


def _head(method: str, path: str, length: int) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
