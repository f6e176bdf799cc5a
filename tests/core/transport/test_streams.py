"""The asyncio stream connects, encrypts, reads and writes like httpcore's, and keeps no more than it has to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpcore
import pytest

from modelstudio_core.http import asyncio_stream
from modelstudio_core.http.asyncio_stream import AsyncioStream, connect
from modelstudio_core.http.socket_stream import SocketStream
from modelstudio_core.http.socket_stream import connect as connect_socket
from tests.loopback import Exchange, Loopback, Script

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
Certificate = tuple[Path, ssl.SSLContext]
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


def trust(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate[0])


@contextlib.asynccontextmanager
async def opened(
    script: Script, certificate: Certificate | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[AsyncioStream, Loopback]]:
    """A connection whose server has received a request, and answers by `script`."""
    with Loopback(script, tls=certificate and certificate[1]) as server:
        stream = await connect(host, server.port, certificate and trust(certificate), 5)
        try:
            await stream.write(REQUEST, 5)
            yield stream, server
        finally:
            stream.close()
            await asyncio.sleep(0)


async def rest(stream: AsyncioStream) -> bytes:
    data = b""
    while piece := await stream.read(5):
        data += piece
    return data


async def rest_within(stream: AsyncioStream, seconds: float) -> bytes:
    """What is read until a read takes too long."""
    data = b""
    with contextlib.suppress(httpcore.ReadTimeout):
        while True:
            data += await stream.read(seconds)
    return data


def says(*pieces: bytes, pause: float = 0.02) -> Script:
    def script(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.send(piece)
            exchange.wait(pause)
        exchange.close()

    return script


def waits(exchange: Exchange) -> None:
    exchange.client_gone(5)
    exchange.close()


@TLS
async def test_reads_all_bytes_until_connection_ends(tls: bool, certificate: Certificate) -> None:
    async with opened(says(b"one", b"two"), certificate if tls else None) as (stream, _):
        assert await rest(stream) == b"onetwo"
        assert await stream.read(5) == b""
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x", 5)


@TLS
async def test_reset_is_read_error_after_received_bytes(tls: bool, certificate: Certificate) -> None:
    def resets(exchange: Exchange) -> None:
        exchange.send(b"one")
        exchange.wait(0.05)
        exchange.reset()

    async with opened(resets, certificate if tls else None) as (stream, _):
        assert await stream.read(5) == b"one"
        with pytest.raises(httpcore.ReadError) as caught:
            await stream.read(5)
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_event_loop_has_no_handshake_timeout(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be an OSError, and if it came first, a connect timeout would look like a refused connection."""
    running, limits = asyncio.get_running_loop(), []

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return getattr(running, name)

        async def start_tls(self, *args: Any, ssl_handshake_timeout: float, **options: Any) -> Any:
            limits.append(ssl_handshake_timeout)
            return await running.start_tls(*args, ssl_handshake_timeout=ssl_handshake_timeout, **options)

    class Stream(AsyncioStream):
        def __init__(self) -> None:
            super().__init__()
            self._loop = Loop()  # type: ignore[assignment]

    monkeypatch.setattr(asyncio_stream, "AsyncioStream", Stream)
    async with opened(says(b"one"), certificate) as (stream, _):
        assert await rest(stream) == b"one"
    assert min(limits) > 3600


@pytest.mark.parametrize("notified", [True, False], ids=["close_notify", "only the socket"])
async def test_half_closed_tls_is_end_of_connection(notified: bool, certificate: Certificate) -> None:
    def leaves(exchange: Exchange) -> None:
        tls: Any = exchange._connection
        exchange.send(b"one")
        if notified:
            tls.settimeout(0.1)
            with contextlib.suppress(OSError):
                tls.unwrap()
            exchange.wait(0.2)
        else:
            tls.shutdown(socket.SHUT_WR)
            exchange.wait(0.2)

    async with opened(leaves, certificate) as (stream, _):
        begun = time.monotonic()
        assert await rest(stream) == b"one"
        assert time.monotonic() - begun < 2


@TLS
async def test_cancelled_read_loses_no_bytes(tls: bool, certificate: Certificate) -> None:
    async with opened(says(*[b"%d," % number for number in range(30)], pause=0.01), certificate if tls else None) as (
        stream, _,
    ):  # fmt: skip
        data = b""
        while len(data) < 60:
            task = asyncio.ensure_future(stream.read(5))
            await asyncio.sleep(0.004)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                data += await task
        assert data + await rest(stream) == b"".join(b"%d," % number for number in range(30))


@TLS
async def test_slow_reader_pauses_server(tls: bool, certificate: Certificate) -> None:
    sent = 0

    def floods(exchange: Exchange) -> None:
        nonlocal sent
        for _ in range(500):
            exchange.send(b"x" * 100_000)
            sent += 100_000
        exchange.close()

    async with opened(floods, certificate if tls else None) as (stream, _):
        await asyncio.sleep(0.3)
        assert sent < 20_000_000  # in the buffers of the system
        assert sum(map(len, stream._unread)) < 1_000_000
        size = 0
        while piece := await stream.read(5):
            size += len(piece)
            assert len(piece) < 1_000_000
        assert size == 50_000_000


async def test_bytes_received_with_end_are_read(certificate: Certificate) -> None:
    """In Python 3.10, TLS has then dropped the connection while reading is still paused."""

    def leaves(exchange: Exchange) -> None:
        tls: Any = exchange._connection
        exchange.send(b"x" * 300_000)
        tls.settimeout(0.2)
        with contextlib.suppress(OSError):
            tls.unwrap()
        exchange.close()

    async with opened(leaves, certificate) as (stream, _):
        time.sleep(0.1)  # noqa: ASYNC251 - the loop does not run
        await asyncio.sleep(0.1)
        assert await rest(stream) == b"x" * 300_000


@pytest.mark.parametrize("loop_of", ["asyncio", "uvloop"])
def test_unread_bytes_survive_end_of_tls(loop_of: str, certificate: Certificate) -> None:
    """Most servers close connections without close_notify of TLS. A slow reader then has much left to read."""
    run = asyncio.run if loop_of == "asyncio" else pytest.importorskip("uvloop").run

    def leaves(exchange: Exchange) -> None:
        for _ in range(4):
            exchange.send(b"x" * 100_000)
            exchange.wait(0.02)
        exchange.close()

    async def read_late() -> int:
        async with opened(leaves, certificate) as (stream, _):
            await asyncio.sleep(0.3)
            return len(await rest(stream))

    assert run(read_late()) == 400_000


async def test_reads_share_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not moved for each read, and fires when the last read has timed out."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    original = loop.call_at

    def call_at(when: float, *args: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return original(when, *args, **more)

    monkeypatch.setattr(loop, "call_at", call_at)

    def talks(exchange: Exchange) -> None:
        for _ in range(40):
            exchange.send(b"x")
            exchange.wait(0.01)
        exchange.client_gone(5)

    async with opened(talks) as (stream, _):
        begun = time.monotonic()
        timers.clear()
        assert await rest_within(stream, 0.3) == b"x" * 40
        assert 0.6 < time.monotonic() - begun < 2
        assert len(timers) < 8
        begun = time.monotonic()
        with pytest.raises(httpcore.ReadTimeout), stream.until(0.05):
            await stream.read(60)
        assert 0.04 < time.monotonic() - begun < 0.5


async def test_unread_bytes_or_end_make_connection_unclean() -> None:
    """Even if the event loop has not noticed them."""
    async with opened(waits) as (stream, _):
        assert stream.is_clean()
    for script in (says(b"one", pause=1), Exchange.close):
        async with opened(script) as (stream, _):
            time.sleep(0.05)  # noqa: ASYNC251 - the loop does not run
            assert not stream.is_clean()
            await asyncio.sleep(0.02)
            assert not stream.is_clean()


@TLS
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_close_in_forked_child_keeps_parents_connection(tls: bool, certificate: Certificate) -> None:
    """Parent and child share the selector of the event loop."""
    async with opened(says(b"one", b"two", pause=0.3), certificate if tls else None) as (stream, _):
        assert await stream.read(5) == b"one"
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                stream.close()
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222
        assert await rest(stream) == b"two"


@TLS
async def test_write_waits_for_server_and_can_be_cancelled(tls: bool, certificate: Certificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:

        def greets() -> None:
            with contextlib.suppress(OSError):
                deaf_ends.append(certificate[1].wrap_socket(deaf.accept()[0], server_side=True))

        deaf_ends: list[ssl.SSLSocket] = []
        if tls:
            threading.Thread(target=greets, daemon=True).start()
        stream = await connect("127.0.0.1", deaf.getsockname()[1], trust(certificate) if tls else None, 5)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(b"x" * 20_000_000, 0.1)
        task = asyncio.ensure_future(stream.write(b"x", None))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stream.close()
        with pytest.raises(httpcore.WriteError):
            await stream.write(b"x", 5)
        for end in deaf_ends:
            end.close()


@TLS
@pytest.mark.parametrize("size", [0, 100, 1_000_000])
async def test_write_does_not_wait_for_response(size: int, tls: bool, certificate: Certificate) -> None:
    """A server may read a large form, and think for long, before it sends anything."""
    thought = threading.Event()

    def thinks(exchange: Exchange) -> None:
        thought.wait(5)
        exchange.send(b"%d" % len(exchange.request.body))
        exchange.close()

    with Loopback(thinks, tls=certificate[1] if tls else None) as server:
        certificate[1].maximum_version = ssl.TLSVersion.TLSv1_2  # sends nothing of its own after the handshake
        try:
            stream = await connect("127.0.0.1", server.port, trust(certificate) if tls else None, 5)
        finally:
            certificate[1].maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        await stream.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size, 1)
        for start in range(0, size, 50_000):
            await stream.write(b"x" * min(50_000, size - start), 1)
        thought.set()
        assert await rest(stream) == b"%d" % size
        stream.close()


# ---------------------------------------------------------------- connecting


@pytest.mark.parametrize("cancel", [False, True], ids=["timeout", "cancelled"])
async def test_stalled_handshake_times_out_and_closes_connection(cancel: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        connecting = connect("127.0.0.1", mute.getsockname()[1], ssl.create_default_context(), 0.1)
        if cancel:
            task = asyncio.ensure_future(connecting)
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(httpcore.ConnectTimeout):
                await connecting
        await asyncio.sleep(0.01)
        with mute.accept()[0] as accepted:
            accepted.settimeout(1)
            while accepted.recv(65536):  # the end follows the hello
                pass


async def test_tls_sends_and_verifies_host_name(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    addressed(monkeypatch, "127.0.0.1")
    names: list[str | None] = []
    certificate[1].sni_callback = lambda _, name, __: names.append(name)
    async with opened(says(b"one"), certificate, "service.invalid") as (stream, _):
        assert await rest(stream) == b"one"
        assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
    with pytest.raises(httpcore.ConnectError, match="certificate"):
        async with opened(says(b"one"), certificate, "other.invalid"):
            pass
    assert names == ["service.invalid", "other.invalid"]


async def test_handshake_is_limited_by_connect_timeout_only(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio has a limit of its own, of 60 s."""
    monkeypatch.setattr("asyncio.constants.SSL_HANDSHAKE_TIMEOUT", 0.05)

    def greets() -> None:
        with listener.accept()[0] as accepted:
            time.sleep(0.2)
            with contextlib.suppress(OSError), certificate[1].wrap_socket(accepted, server_side=True) as encrypted:
                encrypted.recv(1)

    for seconds in (5, None):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=greets, daemon=True)
            thread.start()
            stream = await connect("127.0.0.1", listener.getsockname()[1], trust(certificate), seconds)
            assert stream.get_extra_info("ssl_object").version() == "TLSv1.3"
            stream.close()
            await asyncio.sleep(0)
            thread.join(2)


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\n\r\ninjected", b""], ids=["plain text", "end"])
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]], ids=["one address", "two"])
async def test_bytes_before_tls_are_not_read_as_response(
    addresses: list[str], sent: bytes, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone on the way could send a response before the handshake, which the real host then completes."""
    addressed(monkeypatch, *addresses)

    def intrudes() -> None:
        with listener.accept()[0] as accepted, contextlib.suppress(OSError):
            if not sent:
                return
            accepted.sendall(sent)
            with certificate[1].wrap_socket(accepted, server_side=True) as encrypted:
                encrypted.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=intrudes, daemon=True)
        thread.start()
        with pytest.raises(httpcore.ConnectError):
            await connect("service.invalid", listener.getsockname()[1], trust(certificate), 2)
        thread.join(2)
    await asyncio.sleep(0)


def addressed(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses."""
    found = [
        (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in addresses
    ]
    resolved(monkeypatch, found)


def resolved(monkeypatch: pytest.MonkeyPatch, found: list[Any]) -> None:
    """Every name resolves to these results of getaddrinfo, also on uvloop, which does not call Python's."""

    async def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        return found

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


Attempt = Callable[..., Awaitable[Any]]


def reached(monkeypatch: pytest.MonkeyPatch, **outcomes: str) -> list[str]:
    """Return the addresses tried, in order. Some of them are refused, or hang."""
    tried: list[str] = []
    original = type(asyncio.get_running_loop()).create_connection

    async def create_connection(loop: Any, factory: Any, host: str, port: int) -> Any:
        tried.append(host)
        outcome = outcomes.get({"192.0.2.1": "four", "2001:db8::1": "six"}.get(host, host))
        if outcome == "hangs":
            await asyncio.sleep(60)
        if outcome == "refuses":
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        return await original(loop, factory, host, port)

    monkeypatch.setattr(type(asyncio.get_running_loop()), "create_connection", create_connection)
    return tried


async def test_next_address_is_tried_after_refused_or_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6 and IPv4 take turns; a refusal is followed at once, silence after 0.25 s."""
    monkeypatch.setattr(asyncio_stream, "_ATTEMPT_DELAY", 0.1)
    addressed(monkeypatch, "192.0.2.1", "127.0.0.1", "2001:db8::1")
    tried = reached(monkeypatch, six="refuses", four="hangs")
    begun = time.monotonic()
    async with opened(says(b"one"), host="service.invalid") as (stream, server):
        assert 0.09 < time.monotonic() - begun < 1
        assert await rest(stream) == b"one"
        assert server.connections == 1
    assert tried == ["2001:db8::1", "192.0.2.1", "127.0.0.1"]


async def test_link_local_address_keeps_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 0, 0, 3))]
    resolved(monkeypatch, found)
    tried = reached(monkeypatch, **{"fe80::1%3": "refuses"})
    with pytest.raises(httpcore.ConnectError, match="refused"):
        await connect("service.local", 443, None, 5)
    assert tried == ["fe80::1%3"]


async def test_error_has_reason_of_first_address(monkeypatch: pytest.MonkeyPatch) -> None:
    addressed(monkeypatch, "192.0.2.1", "2001:db8::1")
    reached(monkeypatch, six="refuses", four="refuses")
    with pytest.raises(httpcore.ConnectError, match=r"all 2 addresses failed: .*refused"):
        await connect("service.invalid", 443, None, 5)


async def test_connect_timeout_limits_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    addressed(monkeypatch, "192.0.2.1", "2001:db8::1")
    reached(monkeypatch, six="hangs", four="hangs")
    with pytest.raises(httpcore.ConnectTimeout):
        await connect("service.invalid", 443, None, 0.4)
    assert not [task for task in asyncio.all_tasks() if "<locals>.attempt" in repr(task)]


# ---------------------------------------------------------------- the sync stream


def test_socket_timeout_is_set_only_if_changed() -> None:
    timeouts: list[float | None] = []

    class Socket:
        def settimeout(self, seconds: float | None) -> None:
            timeouts.append(seconds)

        def recv(self, size: int) -> bytes:
            return b"x"

    stream = SocketStream(Socket())
    for seconds in (5, 5, 5, None, None):
        stream.read(seconds)
    with stream.until(0.0):
        stream.read(5)
    assert timeouts == [None, 5, None, 0.001]


def test_sync_stream_has_same_errors() -> None:
    def resets(exchange: Exchange) -> None:
        exchange.send(b"one")
        exchange.wait(0.2)
        exchange.reset()

    with Loopback(resets) as server:
        stream = connect_socket("127.0.0.1", server.port, None, 5)
        assert stream.is_clean()
        stream.write(REQUEST, 5)
        assert stream.read(5) == b"one"
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(0.05)
        with pytest.raises(httpcore.ReadError):
            stream.read(5)
        assert not stream.is_clean()
        stream.close()
        with pytest.raises(httpcore.WriteError):
            stream.write(b"x", 5)
        assert not stream.is_clean()
