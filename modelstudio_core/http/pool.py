"""Pool connections. The cost of a request does not depend on the number of concurrent requests.

httpcore's pool scans all connections at the start and end of each request, which is quadratic in concurrency. Here,
each connection has its own httpx transport (see `connection`). A request uses the most recently used idle connection to
its origin, or a new one. A connection is reused only if its response was read completely and no unread bytes remain. If
the server has closed an idle connection, all idle connections to that origin are closed, so that the retry opens a new
one.

Requests are sent with `handle_request` of httpx's own classes, which vcrpy patches.
Keys, timeouts and headers are never stored here; each request brings its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import queue
import socket
import time
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, WeakSet, ref

import httpx

from modelstudio_core.http.event_loop import running_loop
from modelstudio_core.http.framing import Reader

MAX_CONNECTIONS = 1000  # concurrent requests; others wait up to the pool timeout
MAX_IDLE = 100  # idle connections per origin
KEEPALIVE_SECONDS = 30.0  # a connection that was idle for longer is closed

_CONNECTION_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)

Origin = tuple[bytes, bytes, "int | None"]
T = TypeVar("T", httpx.HTTPTransport, httpx.AsyncHTTPTransport)


# ---------------------------------------------------------------- idle connections


@dataclass(slots=True, eq=False, repr=False)
class _Idle(Generic[T]):
    """An idle connection."""

    transport: T
    network_stream: Any  # httpcore's NetworkStream
    since: float


class _IdleConnections(Generic[T]):
    """Idle connections by origin, the most recently used last.

    No lock: a finalizer could run while its own thread holds it, and deadlock. Deque operations are atomic. The methods
    close nothing; the caller closes the connections that they return.
    """

    def __init__(self) -> None:
        self._by_origin: dict[Origin, deque[_Idle[T]]] = {}

    def pop(self, origin: Origin) -> tuple[T | None, list[T]]:
        """Remove and return the most recently used connection, if any, and those that were idle for too long."""
        stale: list[T] = []
        connections = self._by_origin.get(origin)
        oldest = time.monotonic() - KEEPALIVE_SECONDS
        while connections:
            try:
                idle = connections.pop()
            except IndexError:  # another thread took the last one
                break
            if idle.since >= oldest:
                return idle.transport, stale
            stale.append(idle.transport)
        return None, stale

    def push(self, origin: Origin, transport: T, network_stream: Any) -> list[T]:
        """Add a connection. Remove and return the excess and expired ones."""
        now = time.monotonic()
        self._by_origin.setdefault(origin, deque()).append(_Idle(transport, network_stream, now))
        excess: list[T] = []
        for connections in list(self._by_origin.values()):
            with contextlib.suppress(IndexError):
                while len(connections) > MAX_IDLE or connections[0].since < now - KEEPALIVE_SECONDS:
                    excess.append(connections.popleft().transport)
        return excess

    def clear(self, origin: Origin | None = None) -> list[_Idle[T]]:
        """Remove and return all idle connections, or those of one origin."""
        found: list[_Idle[T]] = []
        for known, connections in list(self._by_origin.items()):
            with contextlib.suppress(IndexError):
                while origin in (None, known):
                    found.append(connections.pop())
        return found


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port


def _prepare_reuse(transport: Any, network_stream: Any) -> bool:
    """Prepare a connection for the next request. Return False if it cannot be reused."""
    if network_stream is None:
        return False
    reader = transport if hasattr(transport, "prepare_reuse") else Reader.attach(network_stream)
    return reader is not None and reader.prepare_reuse()


def _pool_timeout(seconds: float | None) -> httpx.PoolTimeout:
    return httpx.PoolTimeout(f"{MAX_CONNECTIONS} requests were in progress for {seconds} s")


# ---------------------------------------------------------------- pools


class ConnectionPool(httpx.BaseTransport):
    """Pool for sync requests. Each request has a connection of its own. Thread-safe.

    Attributes:
        users: objects that use the pool; see `shared_pools`.
        closed: True after `close`; later responses close their connection.
    """

    def __init__(self) -> None:
        self.users: WeakSet[Any] = WeakSet()
        self.closed = False
        self._idle: _IdleConnections[httpx.HTTPTransport] = _IdleConnections()
        self._busy: set[httpx.HTTPTransport] = set()
        # a reentrant queue instead of a semaphore, because finalizers release slots
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(MAX_CONNECTIONS):
            self._slots.put(None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        from modelstudio_core.http import connection  # imports httpcore, which takes 20 ms

        timeout = request.extensions.get("timeout", {}).get("pool")
        try:
            self._slots.get(timeout=timeout)
        except queue.Empty:
            raise _pool_timeout(timeout) from None
        transport = reused = None
        origin = _origin(request.url)
        try:
            reused, stale = self._idle.pop(origin)
            if reused is not None and connection.avoids_patches(reused):  # it was opened before
                stale.append(reused)
                reused = None
            for other in stale:
                other.close()
            transport = reused or connection.new_transport(request.url)
            self._busy.add(transport)
            response = transport.handle_request(request)
        except BaseException as error:
            self._slots.put(None)
            if transport is not None:
                self._busy.discard(transport)
                transport.close()
            if reused is not None and isinstance(error, _CONNECTION_LOST):
                for idle in self._idle.clear(origin):
                    idle.transport.close()
            raise
        response.stream = _PooledBody(self, transport, origin, response)
        return response

    def release(self, transport: httpx.HTTPTransport, origin: Origin, network_stream: Any) -> None:
        """Return the connection to the idle list if it has no unread bytes, else close it."""
        self._busy.discard(transport)
        self._slots.put(None)
        if _prepare_reuse(transport, network_stream):
            for excess in self._idle.push(origin, transport, network_stream):
                excess.close()
        else:
            transport.close()
        if self.closed:  # close what was just added
            self.close()

    def close(self) -> None:
        """Close idle connections now, and connections in use when their response ends."""
        self.closed = True
        for idle in self._idle.clear():
            idle.transport.close()

    def close_all(self) -> None:
        """Close all connections, including those in use."""
        self.close()
        for transport in list(self._busy):
            transport.close()

    def discard(self) -> None:
        """Close the copies of the sockets in a forked child by dropping them: garbage collection closes the sockets.

        The parent's connections stay open.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.closed = True
            self._idle.clear()
            self._busy.clear()


class _PooledBody(httpx.SyncByteStream):
    """Body of a response. Releases the connection when it is closed or garbage-collected."""

    def __init__(
        self, pool: ConnectionPool, transport: httpx.HTTPTransport, origin: Origin, response: httpx.Response
    ) -> None:
        self._pool = pool
        self._transport: httpx.HTTPTransport | None = transport
        self._origin = origin
        self._stream: Any = response.stream
        self._network_stream = response.extensions.get("network_stream")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            network_stream = None  # not reused if closing is interrupted
            try:
                self._stream.close()
                network_stream = self._network_stream
            finally:
                self._pool.release(transport, self._origin, network_stream)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class AsyncConnectionPool(httpx.AsyncBaseTransport):
    """Async version of `ConnectionPool`. Belongs to the event loop in which it is created."""

    def __init__(self) -> None:
        import anyio

        self.users: WeakSet[Any] = WeakSet()
        self.closed = False
        self._idle: _IdleConnections[httpx.AsyncHTTPTransport] = _IdleConnections()
        self._busy: set[httpx.AsyncHTTPTransport] = set()
        self._slots = anyio.Semaphore(MAX_CONNECTIONS)
        self._loop: ReferenceType[Any] = ref(running_loop())
        self._closer: AsyncGenerator[None, None] | None = None  # closes the pool with its loop; see `start`
        self._close_tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Register the pool to be closed when its event loop ends: `asyncio.run` closes its async generators."""
        self._closer = _close_with_loop(self)
        await anext(self._closer)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        from modelstudio_core.http import connection

        await self._acquire_slot(request.extensions.get("timeout", {}).get("pool"))
        transport = reused = None
        origin = _origin(request.url)
        try:
            reused, stale = self._idle.pop(origin)
            if reused is not None and connection.avoids_patches(reused):  # it was opened before
                stale.append(reused)
                reused = None
            for other in stale:
                await other.aclose()
            transport = reused or connection.new_async_transport(request.url)
            self._busy.add(transport)
            response = await transport.handle_async_request(request)
        except BaseException as error:
            self._slots.release()
            if transport is not None:
                self._busy.discard(transport)
                await transport.aclose()
            if reused is not None and isinstance(error, _CONNECTION_LOST):
                for idle in self._idle.clear(origin):
                    await idle.transport.aclose()
            raise
        response.stream = _AsyncPooledBody(self, transport, origin, response)
        return response

    async def _acquire_slot(self, timeout: float | None) -> None:
        import anyio

        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(timeout):
                    await self._slots.acquire()
            except TimeoutError:
                raise _pool_timeout(timeout) from None

    async def release(self, transport: httpx.AsyncHTTPTransport, origin: Origin, network_stream: Any) -> None:
        """Async version of `ConnectionPool.release`."""
        self._busy.discard(transport)
        self._slots.release()
        if _prepare_reuse(transport, network_stream):
            for excess in self._idle.push(origin, transport, network_stream):
                await excess.aclose()
        else:
            await transport.aclose()
        if self.closed:  # close what was just added
            await self.aclose()

    async def aclose(self) -> None:
        """Close idle connections now, and connections in use when their response ends."""
        self.closed = True
        for idle in self._idle.clear():
            await idle.transport.aclose()
        if not self._busy and self._closer is not None:  # nothing is left for the end of the loop
            closer, self._closer = self._closer, None
            await closer.aclose()

    async def aclose_all(self) -> None:
        """Close all connections, including those in use."""
        self._closer = None  # it may be the caller
        await self.aclose()
        for transport in list(self._busy):
            await transport.aclose()

    def discard(self) -> None:
        """Close the sockets of a loop that was closed without closing its async generators.

        Without a running loop, asyncio closes a socket only when it is garbage-collected, with a ResourceWarning.
        """
        self.closed = True
        idle = self._idle.clear()
        if idle or self._busy:
            self._busy.clear()
            while idle:
                shut_down(idle.pop().network_stream)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    def close_from_finalizer(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Close the connection of a response that was garbage-collected before it was closed. Thread-safe."""
        loop = self._loop()
        if isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed():
            loop.call_soon_threadsafe(self._start_closing, loop, transport)

    def _start_closing(self, loop: asyncio.AbstractEventLoop, transport: httpx.AsyncHTTPTransport) -> None:
        """Release the slot, and close the connection in a task of the loop."""
        self._slots.release()
        task = loop.create_task(transport.aclose())
        self._close_tasks.add(task)
        task.add_done_callback(self._close_tasks.discard)
        task.add_done_callback(lambda _: self._busy.discard(transport))


class _AsyncPooledBody(httpx.AsyncByteStream):
    """Async version of `_PooledBody`."""

    def __init__(
        self, pool: AsyncConnectionPool, transport: httpx.AsyncHTTPTransport, origin: Origin, response: httpx.Response
    ) -> None:
        self._pool = pool
        self._transport: httpx.AsyncHTTPTransport | None = transport
        self._origin = origin
        self._stream: Any = response.stream
        self._network_stream = response.extensions.get("network_stream")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            network_stream = None
            try:
                await self._stream.aclose()
                network_stream = self._network_stream
            finally:
                await self._pool.release(transport, self._origin, network_stream)

    def __del__(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(Exception):
                self._pool.close_from_finalizer(self._transport)


async def _close_with_loop(pool: AsyncConnectionPool) -> AsyncGenerator[None, None]:
    """Close the pool when this generator is closed, which asyncio does at the end of the event loop."""
    try:
        yield
    finally:
        await pool.aclose_all()


def shut_down(network_stream: Any) -> None:
    """Shut down the TCP connection of a network stream, even while another thread is reading from it.

    Closing the socket would not interrupt a thread in recv(), and a forked child may have a copy of the socket.
    """
    with contextlib.suppress(Exception):
        connection = network_stream.get_extra_info("socket")
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except TypeError:  # uvloop 0.23: its objects in place of sockets have no shutdown()
            with socket.fromfd(connection.fileno(), connection.family, connection.type) as same:
                same.shutdown(socket.SHUT_RDWR)
