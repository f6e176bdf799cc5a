"""Keep connections on stacks, so that a request costs the same with ten or a thousand others under way.

httpcore's pool scans all its connections at each start and end of a request. Here every connection is an httpx
transport of its own, limited to one. A request takes the youngest idle one of its origin, or a new one, and returns it
when its response was read and nothing else has come (see `framing`). If an idle one is dead, the others of its origin
are closed too, so the next attempt gets a new one. Only httpx's public API is used, and `handle_request` is called on
httpx's own classes, which vcrpy patches.

One stack serves all sync requests of the process. Each event loop has one for its async requests, closed when the loop
ends. No key, time limit or header is kept: those come with each request.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import os
import queue
import socket
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, WeakSet, ref

import httpx

from modelstudio_core.http.environment import transport_options
from modelstudio_core.http.framing import AsyncReader, Reader

MAX_CONNECTIONS = 1000  # requests under way at once; more wait for as long as the pool timeout allows
MAX_IDLE = 100  # connections kept for each origin
KEEPALIVE_SECONDS = 30.0  # what lay idle for longer is not used again

_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)

Origin = tuple[bytes, bytes, "int | None"]
T = TypeVar("T", httpx.HTTPTransport, httpx.AsyncHTTPTransport)


# ---------------------------------------------------------------- idle connections


@dataclass(slots=True)
class _Idle(Generic[T]):
    transport: T
    network: Any  # httpcore's NetworkStream
    since: float


class _IdleConnections(Generic[T]):
    """Stacks of idle connections, one for each origin, the youngest on top.

    There is no lock: the deque's own operations are atomic, and a finaliser, which can run at any point, may return a
    connection. The caller closes whatever a method returns, but for the connection that it uses.
    """

    def __init__(self) -> None:
        self._stacks: dict[Origin, deque[_Idle[T]]] = {}

    def pop(self, origin: Origin) -> tuple[T | None, list[T]]:
        stale: list[T] = []
        stack = self._stacks.get(origin)
        oldest = time.monotonic() - KEEPALIVE_SECONDS
        while stack:
            try:
                idle = stack.pop()
            except IndexError:  # another thread was faster
                break
            if idle.since >= oldest:
                return idle.transport, stale
            stale.append(idle.transport)
        return None, stale

    def push(self, origin: Origin, transport: T, network: Any) -> list[T]:
        now = time.monotonic()
        self._stacks.setdefault(origin, deque()).append(_Idle(transport, network, now))
        surplus: list[T] = []
        for stack in list(self._stacks.values()):
            with contextlib.suppress(IndexError):
                while len(stack) > MAX_IDLE or stack[0].since < now - KEEPALIVE_SECONDS:
                    surplus.append(stack.popleft().transport)
        return surplus

    def clear(self, origin: Origin | None = None) -> list[_Idle[T]]:
        """Remove and return all idle connections, or those of one origin."""
        found: list[_Idle[T]] = []
        for known, stack in list(self._stacks.items()):
            with contextlib.suppress(IndexError):
                while origin in (None, known):
                    found.append(stack.pop())
        return found


def _origin(url: httpx.URL) -> Origin:
    return url.raw_scheme, url.raw_host, url.port


def _no_place(seconds: float | None) -> httpx.PoolTimeout:
    return httpx.PoolTimeout(f"{MAX_CONNECTIONS} requests were under way for {seconds} s")


# ---------------------------------------------------------------- the stacks


class ConnectionStack(httpx.BaseTransport):
    """Sends each request on a connection of its own. Thread-safe."""

    def __init__(self) -> None:
        self.users: WeakSet[Any] = WeakSet()
        self.closed = False
        self._idle: _IdleConnections[httpx.HTTPTransport] = _IdleConnections()
        self._busy: set[httpx.HTTPTransport] = set()
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()  # reentrant, unlike a semaphore
        for _ in range(MAX_CONNECTIONS):
            self._places.put(None)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        patience = request.extensions.get("timeout", {}).get("pool")
        try:
            self._places.get(timeout=patience)
        except queue.Empty:
            raise _no_place(patience) from None
        transport = reused = None
        origin = _origin(request.url)
        try:
            reused, stale = self._idle.pop(origin)
            for other in stale:
                other.close()
            transport = reused or httpx.HTTPTransport(**transport_options(request.url))
            self._busy.add(transport)
            response = transport.handle_request(request)
        except BaseException as error:
            self._places.put(None)
            if transport is not None:
                self._busy.discard(transport)
                transport.close()
            if reused is not None and isinstance(error, _LOST):
                for idle in self._idle.clear(origin):
                    idle.transport.close()
            raise
        response.stream = _Lease(self, transport, origin, response)
        return response

    def give_back(self, transport: httpx.HTTPTransport, origin: Origin, network: Any) -> None:
        self._busy.discard(transport)
        self._places.put(None)
        reader = Reader.of(network)
        if reader is not None and reader.is_clean():
            for surplus in self._idle.push(origin, transport, network):
                surplus.close()
        else:
            transport.close()
        if self.closed:
            self.close()

    def close(self) -> None:
        """Close idle connections. Those in use close at the end of their response."""
        self.closed = True
        for idle in self._idle.clear():
            idle.transport.close()

    def end(self) -> None:
        """Close everything."""
        self.close()
        for transport in list(self._busy):
            transport.close()

    def forget(self) -> None:
        """Free a forked child's copies of the sockets. The server does not notice."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.closed = True
            self._idle.clear()
            self._busy.clear()


class _Lease(httpx.SyncByteStream):
    """The body of a response; returns the connection when it is closed or garbage-collected."""

    def __init__(
        self, stack: ConnectionStack, transport: httpx.HTTPTransport, origin: Origin, response: httpx.Response
    ) -> None:
        self._stack = stack
        self._transport: httpx.HTTPTransport | None = transport
        self._origin = origin
        self._stream: Any = response.stream
        self._network = response.extensions.get("network_stream")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            network = None  # the connection is not reused if closing is interrupted
            try:
                self._stream.close()
                network = self._network
            finally:
                self._stack.give_back(transport, self._origin, network)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


class AsyncConnectionStack(httpx.AsyncBaseTransport):
    """The async twin of `ConnectionStack`. Belongs to the event loop it is made in."""

    def __init__(self) -> None:
        import anyio

        self.users: WeakSet[Any] = WeakSet()
        self.closed = False
        self._idle: _IdleConnections[httpx.AsyncHTTPTransport] = _IdleConnections()
        self._busy: set[httpx.AsyncHTTPTransport] = set()
        self._places = anyio.Semaphore(MAX_CONNECTIONS)
        self._loop: ReferenceType[Any] = ref(running_loop())
        self._keeper: AsyncGenerator[None, None] | None = None
        self._strays: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Close with the loop: `asyncio.run`, like all that end a loop properly, closes its async generators."""
        self._keeper = _until_loop_ends(self)
        await anext(self._keeper)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._wait_for_place(request.extensions.get("timeout", {}).get("pool"))
        transport = reused = None
        origin = _origin(request.url)
        try:
            reused, stale = self._idle.pop(origin)
            for other in stale:
                await other.aclose()
            transport = reused or httpx.AsyncHTTPTransport(**transport_options(request.url))
            self._busy.add(transport)
            response = await transport.handle_async_request(request)
        except BaseException as error:
            self._places.release()
            if transport is not None:
                self._busy.discard(transport)
                await transport.aclose()
            if reused is not None and isinstance(error, _LOST):
                for idle in self._idle.clear(origin):
                    await idle.transport.aclose()
            raise
        response.stream = _AsyncLease(self, transport, origin, response)
        return response

    async def _wait_for_place(self, patience: float | None) -> None:
        import anyio

        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            try:
                with anyio.fail_after(patience):
                    await self._places.acquire()
            except TimeoutError:
                raise _no_place(patience) from None

    async def give_back(self, transport: httpx.AsyncHTTPTransport, origin: Origin, network: Any) -> None:
        self._busy.discard(transport)
        self._places.release()
        reader = AsyncReader.of(network)
        if reader is not None and reader.is_clean():
            for surplus in self._idle.push(origin, transport, network):
                await surplus.aclose()
        else:
            await transport.aclose()
        if self.closed:
            await self.aclose()

    async def aclose(self) -> None:
        """Close idle connections. Those in use close at the end of their response."""
        self.closed = True
        for idle in self._idle.clear():
            await idle.transport.aclose()
        if not self._busy and self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            await keeper.aclose()

    async def aend(self) -> None:
        """Close everything."""
        self._keeper = None
        await self.aclose()
        for transport in list(self._busy):
            await transport.aclose()

    def forget(self) -> None:
        """Free the sockets of a loop that was closed without ending its generators.

        asyncio closes a socket without its loop only in garbage collection, and then warns.
        """
        self.closed = True
        left = self._idle.clear()
        if left or self._busy:
            self._busy.clear()
            while left:
                hang_up(left.pop().network)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)
                gc.collect()

    def adopt(self, transport: httpx.AsyncHTTPTransport) -> None:
        """Close the connection of a response that was garbage-collected unclosed. Any thread may call this."""
        loop = self._loop()
        if isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed():
            loop.call_soon_threadsafe(self._close_stray, loop, transport)

    def _close_stray(self, loop: asyncio.AbstractEventLoop, transport: httpx.AsyncHTTPTransport) -> None:
        self._places.release()
        task = loop.create_task(transport.aclose())
        self._strays.add(task)
        task.add_done_callback(self._strays.discard)
        task.add_done_callback(lambda _: self._busy.discard(transport))


class _AsyncLease(httpx.AsyncByteStream):
    """The async twin of `_Lease`."""

    def __init__(
        self, stack: AsyncConnectionStack, transport: httpx.AsyncHTTPTransport, origin: Origin, response: httpx.Response
    ) -> None:
        self._stack = stack
        self._transport: httpx.AsyncHTTPTransport | None = transport
        self._origin = origin
        self._stream: Any = response.stream
        self._network = response.extensions.get("network_stream")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            network = None
            try:
                await self._stream.aclose()
                network = self._network
            finally:
                await self._stack.give_back(transport, self._origin, network)

    def __del__(self) -> None:
        if self._transport is not None:
            with contextlib.suppress(Exception):
                self._stack.adopt(self._transport)


async def _until_loop_ends(stack: AsyncConnectionStack) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await stack.aend()


def hang_up(network: Any) -> None:
    """End the TCP connection of a network stream, even while another thread waits for its next bytes.

    Closing is not enough: it does not wake a thread in recv(), and a forked child may hold a copy.
    """
    with contextlib.suppress(Exception):
        network.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- shared by the process

_lock = threading.Lock()
_stack: ConnectionStack | None = None
_by_loop: WeakKeyDictionary[Any, AsyncConnectionStack] = WeakKeyDictionary()
_inherited: list[Any] = []
forks = 0
"""How many forks lie between this process and the one that imported this; cheaper to read than the process id."""


def shared(user: object) -> ConnectionStack:
    """Return the stack for sync requests, which stays open for `user`."""
    global _stack
    stack = _stack
    if stack is None or stack.closed:
        with _lock:
            if _stack is None or _stack.closed:
                _stack = ConnectionStack()
            stack = _stack
    if user not in stack.users:
        stack.users.add(user)
    return stack


def leave(user: object) -> None:
    """Close the sync connections if no other user than `user` is left."""
    stack = _stack
    if stack is not None:
        stack.users.discard(user)
        if not stack.users:
            stack.close()


async def ashared(user: object) -> AsyncConnectionStack:
    """Return the stack of the running event loop, which stays open for `user`."""
    loop = running_loop()
    stack = _by_loop.get(loop)
    if stack is None or stack.closed:
        _forget_dead_loops()
        stack = AsyncConnectionStack()
        with _lock:
            _by_loop[loop] = stack
        await stack.start()
    if user not in stack.users:
        stack.users.add(user)
    return stack


async def aleave(user: object) -> None:
    """Close the connections of the running event loop if no other user than `user` is left."""
    stack = _by_loop.get(running_loop())
    if stack is not None:
        stack.users.discard(user)
        if not stack.users:
            await stack.aclose()


def running_loop() -> Any:
    """Return what identifies the running event loop of asyncio or trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        if "trio" not in sys.modules:
            raise
        return sys.modules["trio"].lowlevel.current_trio_token()


def _forget_dead_loops() -> None:
    with _lock:
        dead = [loop for loop in _by_loop if isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()]
        stacks = [_by_loop.pop(loop) for loop in dead]
    for stack in stacks:
        stack.forget()


@atexit.register
def _at_exit() -> None:
    if _stack is not None:
        _stack.end()
    for stack in list(_by_loop.values()):
        stack.forget()


def _in_forked_child() -> None:
    """Forget the parent's connections. Those of a loop are kept as they are: closing would change its selector."""
    global _lock, _stack, _by_loop, forks
    forks += 1
    _lock = threading.Lock()
    if _stack is not None:
        _stack.forget()
        _stack = None
    _inherited.append(list(_by_loop.items()))
    _by_loop = WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
