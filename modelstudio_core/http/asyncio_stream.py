"""Connect with asyncio alone, and read and write the connection.

httpcore's anyio stream opens a cancel scope for each read. Here, a read waits for one future, and one timer per
connection enforces the timeouts of all reads and writes.

Errors and timeouts are raised as httpcore's, which httpx converts. A cancelled read loses no bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import chain, zip_longest
from socket import AF_INET6, SOCK_STREAM
from typing import Any

import anyio
import httpcore

from modelstudio_core.http import shared_pools
from modelstudio_core.http.pool import shut_down
from modelstudio_core.http.socket_stream import has_unread

_MAX_UNREAD = 256 * 1024  # bytes from which on the socket is not read until these are taken
_WRITE_SIZE = 64 * 1024  # bytes that are encrypted and sent at once
_NO_LIMIT = 24 * 60 * 60.0  # seconds in place of asyncio's 60 for a TLS handshake
_ATTEMPT_DELAY = 0.25  # RFC 8305: seconds before the next address is tried in parallel


class AsyncioStream(asyncio.Protocol):
    """A TCP or TLS connection of the running event loop.

    Attributes:
        closed: True if nothing can be sent any more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._fork_count = shared_pools.fork_count
        self._transport: Any = None
        self._tcp_transport: Any = None  # below TLS if there is TLS
        self._unread: list[bytes] = []
        self._unread_size = 0
        self._reading_paused = False
        self._writing_paused = False
        self._ended = False  # nothing more will be received
        self._error: Exception | None = None
        self.closed = False
        self._waiter: asyncio.Future[bool] | None = None
        self._deadline: float | None = None  # of the waiter, in the loop's time
        self._timer: asyncio.TimerHandle | None = None
        self._limit: float | None = None

    # ---------------------------------------------------------------- callbacks of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._tcp_transport = self._tcp_transport or transport
        # A write has ended when the system has taken the bytes. The high limit is 1, because with 0, TLS pauses with an
        # empty buffer and resumes only when data is received.
        self._transport.set_write_buffer_limits(1, 0)

    def data_received(self, data: bytes) -> None:
        self._unread.append(data)
        self._unread_size += len(data)
        if self._unread_size >= _MAX_UNREAD and not self._reading_paused:
            self._reading_paused = True
            # not TLS's: uvloop drops what its TLS has not passed on at the end of the connection
            self._tcp_transport.pause_reading()
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(False)

    def eof_received(self) -> None:  # the loop then closes the transport
        self._ended = self.closed = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self.closed = True
        self._error = exc
        self._stop_timer()
        self._wake()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake()

    # ---------------------------------------------------------------- reading and writing

    async def read(self, seconds: float | None) -> bytes:
        """Return all bytes received, waiting for the first; b"" at the end of the connection.

        Raises:
            httpcore.ReadTimeout, httpcore.ReadError: no bytes within `seconds`; the connection was lost.
        """
        while not self._unread:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._ended:
                return b""
            await self._wait(seconds, httpcore.ReadTimeout)
        data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread.clear()
        self._unread_size = 0
        if self._reading_paused:
            self._reading_paused = False
            if not self._tcp_transport.is_closing():
                self._tcp_transport.resume_reading()
        return data

    async def write(self, data: bytes, seconds: float | None) -> None:
        """Send `data`, and return when the system has taken it: with TLS, all but the last `_WRITE_SIZE` bytes.

        Raises:
            httpcore.WriteTimeout, httpcore.WriteError: nothing could be sent within `seconds`; the connection was lost.
        """
        rest = memoryview(data)
        while rest and not self.closed:
            self._transport.write(rest[:_WRITE_SIZE])
            rest = rest[_WRITE_SIZE:]
            while self._writing_paused and not self.closed:
                await self._wait(seconds, httpcore.WriteTimeout)
        if self.closed:
            raise httpcore.WriteError(str(self._error or "the connection is closed")) from self._error

    def close(self) -> None:
        """Close the connection. The server sees it at once, and not only when the event loop runs again."""
        is_own = self._fork_count == shared_pools.fork_count  # else it is the parent's, like the selector of its loop
        if is_own and not self.closed:
            shut_down(self)
        self._ended = self.closed = True
        self._stop_timer()
        if is_own:
            self._transport.abort()

    @contextlib.contextmanager
    def until(self, seconds: float) -> Iterator[None]:
        """Limit all reads together to `seconds` from now."""
        self._limit = self._loop.time() + seconds
        try:
            yield
        finally:
            self._limit = None

    def is_clean(self) -> bool:
        """Return True if the connection is open, and the server has sent nothing that is unread."""
        return not self.closed and not self._unread and not has_unread(self._transport.get_extra_info("socket"))

    def get_extra_info(self, name: str) -> Any:
        """Return the "socket" or "ssl_object" of the connection, like httpcore's streams."""
        return self._transport.get_extra_info(name)

    # ---------------------------------------------------------------- waiting

    async def _wait(self, seconds: float | None, error: type[Exception]) -> None:
        """Wait for a callback of the loop. Raise `error` after `seconds`.

        The connection has one timer, which is set only if it is not set or would fire too late. A timer that fires too
        early is set again, in `_on_timer`. So most waits set none.
        """
        limit = self._limit
        if seconds is not None:
            deadline = self._loop.time() + seconds
            limit = deadline if limit is None else min(limit, deadline)
        self._deadline = limit
        if limit is not None and (self._timer is None or self._timer.when() > limit):
            self._stop_timer()
            self._timer = self._loop.call_at(limit, self._on_timer)
        waiter = self._waiter = self._loop.create_future()
        try:
            if await waiter:  # True: set by the timer
                raise error
        finally:
            self._waiter = None

    def _on_timer(self) -> None:
        """End the wait with a timeout if its deadline has passed, otherwise set the timer again."""
        self._timer = None
        if self._waiter is None or self._deadline is None:
            return
        if self._deadline > self._loop.time():
            self._timer = self._loop.call_at(self._deadline, self._on_timer)
        elif not self._waiter.done():
            self._waiter.set_result(True)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    # ---------------------------------------------------------------- TLS

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt the connection. Raises OSError, of which ssl.SSLError is a subclass.

        The caller limits the time: a timeout of the event loop would be an OSError too, if it came first.
        """
        if self._ended:
            raise ConnectionResetError("the server closed the connection before the TLS handshake")
        if self._unread:  # they would be read as if they had been encrypted
            raise ConnectionAbortedError("the server sent bytes before the TLS handshake")
        transport = await self._loop.start_tls(
            self._transport, self, context, server_hostname=host, ssl_handshake_timeout=_NO_LIMIT
        )
        if transport is None:
            raise ConnectionResetError("the server closed the connection during the TLS handshake")
        self.connection_made(transport)


# ---------------------------------------------------------------- connecting


async def connect(host: str, port: int, context: ssl.SSLContext | None, seconds: float | None) -> AsyncioStream:
    """Return a connection to `host`, encrypted if there is a TLS `context`.

    Raises:
        httpcore.ConnectTimeout, httpcore.ConnectError: if no address can be connected to, or TLS fails.
    """
    try:
        with anyio.fail_after(seconds):
            stream = await _connect(await _addresses(host, port), port)
            if context is not None:
                try:
                    await stream.start_tls(context, host)
                except BaseException:
                    stream.close()
                    raise
            return stream
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


async def _addresses(host: str, port: int) -> list[str]:
    """Return the IP addresses of `host` in the order in which they are tried: IPv6 and IPv4 in turn."""
    try:
        return [str(ip_address(host))]
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
    families: list[list[str]] = [[], []]
    for family, *_, address in found:
        families[family != AF_INET6].append(_text(address))
    return list(dict.fromkeys(filter(None, chain(*zip_longest(*families)))))


def _text(address: tuple[Any, ...]) -> str:
    """Return the IP address of a socket address, with the interface of a link-local one (RFC 4007)."""
    host = str(address[0])
    return f"{host.partition('%')[0]}%{address[3]}" if len(address) == 4 and address[3] else host


async def _connect(addresses: list[str], port: int) -> AsyncioStream:
    """Return a connection to the first address that accepts one (RFC 8305). Raises OSError."""
    loop = asyncio.get_running_loop()
    if len(addresses) == 1:
        _, stream = await loop.create_connection(AsyncioStream, addresses[0], port)
        return stream
    winner: AsyncioStream | None = None
    errors: list[OSError] = []

    async def attempt(address: str, ended: anyio.Event) -> None:
        nonlocal winner
        try:
            _, stream = await loop.create_connection(AsyncioStream, address, port)
            if winner is None:
                winner = stream
                group.cancel_scope.cancel()
            else:
                stream.close()
        except OSError as error:
            errors.append(error)
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                ended = anyio.Event()
                group.start_soon(attempt, address, ended)
                with anyio.move_on_after(_ATTEMPT_DELAY):
                    await ended.wait()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    if winner is None:
        raise OSError(f"all {len(addresses)} addresses failed: {errors[0]}") from errors[0]
    return winner
