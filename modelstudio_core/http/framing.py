"""Notice bytes behind a response, so that they are never taken for the next one.

A server, or a broken proxy, may send more than the response that was requested. What comes in the same read lies in a
buffer of h11, TLS or anyio, and would become the beginning of the next answer, which may be someone else's. Here h11
gets no byte behind a blank line (CRLF CRLF) in the same read: a head and a chunked body end with one, and the length of
any other body is known. The rest is kept until the next read. A connection is used again only if nothing is left, here
or below. A response that is framed in any other way (bare LF, trailers that end otherwise) costs a new connection.

The readers replace the documented `read` of one `httpcore.NetworkStream`, from the moment that httpcore's documented
`trace` extension tells of it. No private name of httpx, httpcore or h11 is used, and two of anyio: see `_queue_of`.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from typing import Any, TypeVar
from weakref import ref

import httpx

_BLANK_LINE = b"\r\n\r\n"
ReaderT = TypeVar("ReaderT", bound="_Reader")


class _Reader:
    """What both readers share.

    Args:
        network: an `httpcore.NetworkStream`, or its async twin. It is not kept alive.
    """

    def __init__(self, network: Any) -> None:
        self._network = ref(network)
        self._read = type(network).read
        self._held = b""  # was read and not handed on
        self._tail = b""  # the last three bytes that were handed on
        self._at_blank_line = False  # the last of them ends one
        self._size = 0  # bytes handed on since the head
        self._length: int | None = None  # of the body; None: it ends with a blank line
        self._known = False  # the framing of the response is known
        self._deadline: float | None = None

    @classmethod
    def of(cls: type[ReaderT], network: Any) -> ReaderT | None:
        """Return the reader of a connection, a new one if it has none; None for what is no network stream."""
        reader = getattr(getattr(network, "read", None), "__self__", None)
        if isinstance(reader, cls):
            return reader
        try:
            reader = cls(network)
            network.read = reader.read  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return None
        return reader

    def begin_body(self, response: httpx.Response) -> None:
        """Note how the body of `response` is framed, whose head has just been read."""
        headers = response.headers
        self._known = self._at_blank_line and response.http_version == "HTTP/1.1"
        self._size = 0
        self._length = None
        if response.status_code in (204, 304):
            self._length = 0
        elif "transfer-encoding" not in headers:
            length = headers.get("content-length", "")
            self._length = int(length) if length.isascii() and length.isdigit() else -1  # else: up to the close

    def is_clean(self) -> bool:
        """Return True if the response was read to its end, and nothing else has come. Then the next may begin."""
        ended = self._at_blank_line if self._length is None else self._size == self._length
        clean, self._known = self._known and ended and not self._held, False
        network = self._network()
        return clean and network is not None and not _has_more(network)

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[None]:
        """Bound all reads by one deadline, of the monotonic clock.

        httpcore fixed the read timeout when the body began, and only a read can tell whether the end of the body is
        in its buffer.
        """
        self._deadline = deadline
        try:
            yield
        finally:
            self._deadline = None

    def _left(self, timeout: float | None) -> float | None:
        if self._deadline is None:
            return timeout
        left = max(self._deadline - time.monotonic(), 0.001)
        return left if timeout is None else min(left, timeout)

    def _hand_on(self, data: bytes) -> bytes:
        """Return `data` up to the end of its first blank line, and keep the rest."""
        seen = self._tail + data
        end = seen.find(_BLANK_LINE)
        self._at_blank_line = end >= 0
        if end >= 0:
            end += len(_BLANK_LINE)
            self._held = seen[end:]
            data = data[: len(data) - len(self._held)]
            seen = seen[:end]
        else:
            self._held = b""
        self._tail = seen[-3:]
        self._size += len(data)
        return data


class Reader(_Reader):
    """The reader of a sync connection."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._held or self._read(self._network(), max_bytes, self._left(timeout))
        return self._hand_on(data)


class AsyncReader(_Reader):
    """The reader of an async connection."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._held or await self._read(self._network(), max_bytes, self._left(timeout))
        return self._hand_on(data)


class Trace:
    """httpcore's `trace` extension of one request.

    Attributes:
        answered: whether the head of the response has come.
    """

    def __init__(self) -> None:
        self.answered = False

    def note(self, event: str, details: Any) -> None:
        """Take an event of a sync request."""
        self._note(event, details, Reader)

    async def anote(self, event: str, details: Any) -> None:
        """Take an event of an async request."""
        self._note(event, details, AsyncReader)

    def _note(self, event: str, details: Any, kind: type[Reader] | type[AsyncReader]) -> None:
        _, _, event = event.partition(".")
        if event == "receive_response_headers.complete":
            self.answered = True
        elif event in ("connect_tcp.complete", "start_tls.complete"):
            self.answered = False  # a head that came before was a proxy's, for CONNECT
            network = details.get("return_value")
            if not _is_http2(network):
                kind.of(network)


def _is_http2(network: Any) -> bool:
    tls = network.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def _has_more(network: Any) -> bool:
    """Return True if a connection has bytes that nobody has read, or is closed."""
    return bool(
        network.get_extra_info("is_readable")
        or _has_decrypted(network.get_extra_info("ssl_object"))
        or _queue_of(network)
    )


def _has_decrypted(tls: Any) -> bool:
    """Return True if TLS has bytes that the socket has no more. Between responses nothing but them can be read."""
    if not isinstance(tls, ssl.SSLObject):  # of a socket, which keeps what is not decrypted yet
        return tls is not None and bool(tls.pending())
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.read(1)  # from memory: without waiting
        return True
    return False


def _queue_of(network: Any) -> Any:
    """Return what anyio has taken from an asyncio transport and nobody from anyio; empty for all other streams."""
    stream: Any = getattr(network, "_stream", None)
    while hasattr(stream, "transport_stream"):  # TLS
        stream = stream.transport_stream
    return getattr(getattr(stream, "_protocol", None), "read_queue", ())
