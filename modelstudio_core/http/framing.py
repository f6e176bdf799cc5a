"""Detect bytes after the end of a response, so that they are never parsed as part of the next response.

A server or a broken proxy may send extra bytes after the response. If these bytes arrive in the same read, they
remain in a buffer of h11, TLS or anyio, and would start the next response on the connection, possibly another user's.

To prevent this, a read returns at most the bytes up to the first blank line (CRLF CRLF), and keeps the rest for the
next read. Header sections and chunked bodies end with a blank line, and other bodies have a known length. A connection
is reused only if no bytes remain here or in the layers below. It is not reused after a response with another framing,
such as lines that end with a bare LF.

The readers replace the public method `read` of one `httpcore.NetworkStream`, which httpcore's public `trace` extension
provides. They are for the connections of httpcore: of injected clients, and through proxies. Our own
connections (see `connection`) know where a response ends.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator
from typing import Any
from weakref import ref

import httpx

from modelstudio_core.http.private_names import anyio_queue

_BLANK_LINE = b"\r\n\r\n"


class _Reader:
    """State of a connection; base class of the sync and the async reader.

    Args:
        network: an `httpcore.NetworkStream` or `AsyncNetworkStream`, stored as a weak reference.
    """

    def __init__(self, network: Any) -> None:
        self._network = ref(network)
        self._read = type(network).read
        self._buffer = b""  # read, but not returned yet
        self._tail = b""  # the last three bytes returned
        self._at_blank_line = False  # the last byte returned ends a blank line
        self._body_size = 0  # body bytes returned
        self._body_length: int | None = None  # None: the body is chunked, and ends with a blank line
        self._framing_known = False  # the head was read, in HTTP/1.1
        self._deadline: float | None = None

    @classmethod
    def attach(cls, network: Any) -> _Reader | None:
        """Return the connection's reader, attaching one if it has none. Return None if `network` is not a stream."""
        reader = getattr(getattr(network, "read", None), "__self__", None)
        if isinstance(reader, _Reader):
            return reader
        try:
            reader = cls(network)
            network.read = reader.read  # type: ignore[attr-defined]
        except (AttributeError, TypeError):
            return None
        return reader

    def begin_body(self, response: httpx.Response) -> None:
        """Set the framing of the body of `response`, whose head has just been read."""
        headers = response.headers
        self._framing_known = self._at_blank_line and response.http_version == "HTTP/1.1"
        self._body_size = 0
        self._body_length = None
        if response.status_code in (204, 304):
            self._body_length = 0
        elif "transfer-encoding" not in headers:
            length = headers.get("content-length", "")
            self._body_length = (
                int(length) if length.isascii() and length.isdigit() else -1
            )  # -1: until the connection closes

    def prepare_reuse(self) -> bool:
        """Prepare for the next response. Return False if the connection cannot be reused.

        That is, if the response was not read to its end, or other bytes were received. A second call returns False.
        """
        ended = self._at_blank_line if self._body_length is None else self._body_size == self._body_length
        clean, self._framing_known = self._framing_known and ended and not self._buffer, False
        network = self._network()
        return clean and network is not None and not _has_unread_bytes(network)

    @contextlib.contextmanager
    def until(self, seconds: float) -> Iterator[None]:
        """Limit all reads together to `seconds` from now.

        This is necessary because httpcore fixes the read timeout when the body starts.
        """
        self._deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline = None

    def _remaining(self, timeout: float | None) -> float | None:
        if self._deadline is None:
            return timeout
        remaining = max(self._deadline - time.monotonic(), 0.001)
        return remaining if timeout is None else min(remaining, timeout)

    def _split_at_blank_line(self, data: bytes) -> bytes:
        """Return `data` up to the end of its first blank line, and buffer the rest."""
        seen = self._tail + data
        end = seen.find(_BLANK_LINE)
        self._at_blank_line = end >= 0
        if end >= 0:
            end += len(_BLANK_LINE)
            self._buffer = seen[end:]
            data = data[: len(data) - len(self._buffer)]
            seen = seen[:end]
        else:
            self._buffer = b""
        self._tail = seen[-3:]
        self._body_size += len(data)
        return data


class Reader(_Reader):
    """The reader of a sync connection."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._buffer or self._read(self._network(), max_bytes, self._remaining(timeout))
        return self._split_at_blank_line(data)


class AsyncReader(_Reader):
    """The reader of an async connection."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._buffer or await self._read(self._network(), max_bytes, self._remaining(timeout))
        return self._split_at_blank_line(data)


def body_reader(kind: type[Reader] | type[AsyncReader], network: Any, response: httpx.Response) -> Any:
    """Return the object whose `until` limits the reads of a body, which begins now. None if `network` is not a stream.

    It is the connection's reader, or the stream itself if it is one of our own.
    """
    if hasattr(network, "until"):
        return network
    reader = kind.attach(network)
    if reader is not None:
        reader.begin_body(response)
    return reader


class Trace:
    """Callbacks for httpcore's `trace` extension of one request. It attaches a reader to each new connection.

    Attributes:
        head_received: whether the head of the response has been received.
    """

    def __init__(self) -> None:
        self.head_received = False

    def on_event(self, event: str, details: Any) -> None:
        """Handle an event of a sync request."""
        self._on_event(event, details, Reader)

    async def aon_event(self, event: str, details: Any) -> None:
        """Handle an event of an async request."""
        self._on_event(event, details, AsyncReader)

    def _on_event(self, event: str, details: Any, kind: type[Reader] | type[AsyncReader]) -> None:
        _, _, event = event.partition(".")
        if event == "receive_response_headers.complete":
            self.head_received = True
        elif event in ("connect_tcp.complete", "start_tls.complete"):
            self.head_received = False  # a previous head was the proxy's response to CONNECT
            network = details.get("return_value")
            if not _is_http2(network):
                kind.attach(network)


def _is_http2(network: Any) -> bool:
    tls = network.get_extra_info("ssl_object")
    return tls is not None and tls.selected_alpn_protocol() == "h2"


def _has_unread_bytes(network: Any) -> bool:
    """Return True if a connection has unread bytes or is closed. It must then be closed; see `_probe_decrypted`."""
    return bool(
        network.get_extra_info("is_readable")
        or _probe_decrypted(network.get_extra_info("ssl_object"))
        or anyio_queue(network)
    )


def _probe_decrypted(tls: Any) -> bool:
    """Return True if the TLS layer has bytes that were already read from the socket.

    It then consumes one of them, so the connection must be closed.
    """
    if not isinstance(tls, ssl.SSLObject):  # an SSLSocket, whose undecrypted bytes are still in the socket
        return tls is not None and bool(tls.pending())
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.read(1)  # reads from memory, so it does not block
        return True
    return False
