"""Exchange requests and responses on one connection with h11, which tells exactly where a response ends.

A connection is used instead of httpcore's pool in an httpx transport. Requests pass through `handle_request` of httpx's
own classes, which vcrpy and others patch. Compared with httpcore's pool and connection, an async call takes about three
quarters of the CPU time, and a chunk of its stream two thirds.

The sync and async code have the same structure; change both together.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import h11
import httpcore
import httpx

from modelstudio_core.http import asyncio_stream, socket_stream
from modelstudio_core.http.environment import transport_options
from modelstudio_core.http.private_names import set_pool

_HEAD_RECEIVED = "http11.receive_response_headers.complete"  # httpcore's name of the event
_WRITE_SIZE = 64 * 1024  # bytes of a request that are collected for one write
_MAX_HEAD = 100 * 1024  # bytes of a response head, as in httpcore


class _Exchange:
    """The protocol state of one connection, without I/O."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)
        self.receive = self._h11.receive_data

    def encode(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> bytes:
        """Return the bytes of an event. Raises httpcore.LocalProtocolError."""
        try:
            return self._h11.send(event) or b""
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(error) from error

    def encode_head(self, request: httpcore.Request) -> bytes:
        """Return the bytes of the request line and the headers. Raises httpcore.LocalProtocolError."""
        try:
            head = h11.Request(method=request.method, target=request.url.target, headers=request.headers)
        except h11.LocalProtocolError as error:
            raise httpcore.LocalProtocolError(error) from error
        return self.encode(head)

    def head(self) -> h11.Response | None:
        """Return the head of the response if it has been received. Raises httpcore.RemoteProtocolError."""
        while not isinstance(event := self._next_event(), h11.Response):
            if event is h11.NEED_DATA:
                return None
        return event

    def content(self) -> tuple[bytes, bool | httpcore.RemoteProtocolError]:
        """Return the received part of the body, and True if it is the last one, or the error that follows it."""
        pieces: list[bytes] = []
        while True:
            try:
                event = self._next_event()
            except httpcore.RemoteProtocolError as error:
                return b"".join(pieces), error
            if type(event) is h11.Data:
                pieces.append(event.data)
            else:
                return b"".join(pieces), event is not h11.NEED_DATA

    def _next_event(self) -> Any:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise httpcore.RemoteProtocolError(error) from error

    def lost(self) -> httpcore.RemoteProtocolError | None:
        """Return the error if the connection ended before the head of a response."""
        if self._h11.their_state is h11.SEND_RESPONSE:
            return httpcore.RemoteProtocolError("Server disconnected without sending a response.")
        return None

    def begin_next(self) -> bool:
        """Prepare for the next request. Return False if the connection cannot be reused."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE or self._h11.trailing_data[0]:
            return False
        self._h11.start_next_cycle()
        return True


class Connection:
    """A connection to the host of its first request, used instead of httpcore's pool in an httpx transport.

    Args:
        context: TLS context for https.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._stream: socket_stream.SocketStream | None = None

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request, and return the response when its head has been received.

        Raises:
            httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError: if the request fails.
        """
        timeouts = request.extensions["timeout"]
        if self._stream is None or not self._stream.is_clean():
            self.close()
            self._stream = socket_stream.connect(*_target(request, self._context), timeouts["connect"])
            self._exchange = _Exchange()
        try:
            with contextlib.suppress(httpcore.WriteError):  # the server may have responded before the request's end
                self._send(request, self._stream, timeouts["write"])
            while (head := self._exchange.head()) is None:
                data = self._stream.read(timeouts["read"])
                if not data and (lost := self._exchange.lost()):
                    raise lost
                self._exchange.receive(data)
        except BaseException:
            self.close()
            raise
        request.extensions["trace"](_HEAD_RECEIVED, {})
        return _response(head, _Body(self._exchange, self._stream, timeouts["read"]), self._stream)

    def _send(self, request: httpcore.Request, stream: socket_stream.SocketStream, seconds: float | None) -> None:
        data = self._exchange.encode_head(request)
        for part in request.stream:  # type: ignore[union-attr]
            data += self._exchange.encode(h11.Data(data=part))
            if len(data) >= _WRITE_SIZE:
                stream.write(data, seconds)
                data = b""
        data += self._exchange.encode(h11.EndOfMessage())
        stream.write(data, seconds)

    def prepare_reuse(self) -> bool:
        """Prepare for the next request. Return False if the connection cannot be reused.

        That is, if the response was not read to its end, or other bytes were received.
        """
        return self._stream is not None and self._exchange.begin_next() and self._stream.is_clean()

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()


class AsyncConnection:
    """Async version of `Connection`, for asyncio."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._stream: asyncio_stream.AsyncioStream | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        """Async version of `Connection.handle_request`."""
        timeouts = request.extensions["timeout"]
        if self._stream is None or not self._stream.is_clean():
            await self.aclose()
            self._stream = await asyncio_stream.connect(*_target(request, self._context), timeouts["connect"])
            self._exchange = _Exchange()
        try:
            with contextlib.suppress(httpcore.WriteError):
                await self._send(request, self._stream, timeouts["write"])
            while (head := self._exchange.head()) is None:
                data = await self._stream.read(timeouts["read"])
                if not data and (lost := self._exchange.lost()):
                    raise lost
                self._exchange.receive(data)
        except BaseException:
            await self.aclose()
            raise
        await request.extensions["trace"](_HEAD_RECEIVED, {})
        return _response(head, _AsyncBody(self._exchange, self._stream, timeouts["read"]), self._stream)

    async def _send(
        self, request: httpcore.Request, stream: asyncio_stream.AsyncioStream, seconds: float | None
    ) -> None:
        data = self._exchange.encode_head(request)
        async for part in request.stream:  # type: ignore[union-attr]
            data += self._exchange.encode(h11.Data(data=part))
            if len(data) >= _WRITE_SIZE:
                await stream.write(data, seconds)
                data = b""
        data += self._exchange.encode(h11.EndOfMessage())
        await stream.write(data, seconds)

    def prepare_reuse(self) -> bool:
        """See `Connection.prepare_reuse`."""
        return self._stream is not None and self._exchange.begin_next() and self._stream.is_clean()

    async def aclose(self) -> None:
        """Async version of `Connection.close`."""
        if self._stream is not None:
            self._stream.close()


class _Body:
    """The body of a response. `pool` closes its connection."""

    def __init__(self, exchange: _Exchange, stream: socket_stream.SocketStream, seconds: float | None) -> None:
        self._exchange = exchange
        self._stream = stream
        self._timeout = seconds

    def __iter__(self) -> Iterator[bytes]:
        content, receive, read = self._exchange.content, self._exchange.receive, self._stream.read
        while True:
            data, end = content()
            if data:
                yield data
            if end is False:
                receive(read(self._timeout))
            elif end is True:
                return
            else:
                raise end


class _AsyncBody:
    """Async version of `_Body`."""

    def __init__(self, exchange: _Exchange, stream: asyncio_stream.AsyncioStream, seconds: float | None) -> None:
        self._exchange = exchange
        self._stream = stream
        self._timeout = seconds

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content, receive, read = self._exchange.content, self._exchange.receive, self._stream.read
        while True:
            data, end = content()
            if data:
                yield data
            if end is False:
                receive(await read(self._timeout))
            elif end is True:
                return
            else:
                raise end


def _target(request: httpcore.Request, context: ssl.SSLContext) -> tuple[str, int, ssl.SSLContext | None]:
    """Return the host and port to connect to, and the TLS context if the scheme is https."""
    origin = request.url.origin
    return origin.host.decode("ascii"), origin.port, context if origin.scheme == b"https" else None


def _response(head: h11.Response, body: Any, stream: Any) -> httpcore.Response:
    extensions = {"http_version": b"HTTP/" + head.http_version, "reason_phrase": head.reason, "network_stream": stream}
    return httpcore.Response(head.status_code, headers=head.headers.raw_items(), content=body, extensions=extensions)


# ---------------------------------------------------------------- httpx transports


class DirectTransport(httpx.HTTPTransport):
    """A transport of httpx with one connection of our own.

    Args:
        options: as for `httpx.HTTPTransport`, without a proxy.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connection = Connection(options["verify"])
        set_pool(self, self._connection)

    def prepare_reuse(self) -> bool:
        """See `Connection.prepare_reuse`."""
        return self._connection.prepare_reuse()


class AsyncDirectTransport(httpx.AsyncHTTPTransport):
    """Async version of `DirectTransport`, for asyncio."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connection = AsyncConnection(options["verify"])
        set_pool(self, self._connection)

    def prepare_reuse(self) -> bool:
        """See `Connection.prepare_reuse`."""
        return self._connection.prepare_reuse()


def new_transport(url: httpx.URL) -> httpx.HTTPTransport:
    """Return a transport for one connection to `url`, which is httpcore's if it needs a proxy."""
    options = transport_options(url)
    is_direct = "proxy" not in options and not is_httpcore_patched()
    return DirectTransport(**options) if is_direct else httpx.HTTPTransport(**options)


def new_async_transport(url: httpx.URL) -> httpx.AsyncHTTPTransport:
    """Async version of `new_transport`."""
    options = transport_options(url)
    is_direct = "proxy" not in options and not is_httpcore_patched()
    return AsyncDirectTransport(**options) if is_direct else httpx.AsyncHTTPTransport(**options)


def avoids_patches(transport: Any) -> bool:
    """Return True if httpcore's pools are patched, but requests of this transport do not pass through them."""
    return isinstance(transport, (DirectTransport, AsyncDirectTransport)) and is_httpcore_patched()


def is_httpcore_patched() -> bool:
    """Return True if httpcore's pools are patched, as respx does. Requests then have to pass through them."""
    methods = httpcore.ConnectionPool.handle_request, httpcore.AsyncConnectionPool.handle_async_request
    originals = httpcore.ConnectionPool.close, httpcore.AsyncConnectionPool.aclose
    return any(_file(method) != _file(other) for method, other in zip(methods, originals, strict=True))


def _file(function: Any) -> str | None:
    code = getattr(function, "__code__", None)
    return code and str(code.co_filename)
