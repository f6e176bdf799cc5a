"""Leaving early, many at once, event loops, forks and the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelstudio_core.errors import (
    APIConnectionError,
)
from modelstudio_core.http import pool, shared_pools
from modelstudio_core.http.response import AsyncResponse
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.http.transport import Transport
from tests.core.transport.wire import EVENTS, Answer, Wire, ask, endless, silent
from tests.loopback import Exchange, Loopback, Script, reply, reply_json, sse


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


pytestmark = pytest.mark.usefixtures("patient_drain")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts /proc/self/fd")

# ---------------------------------------------------------------- leaving early


def test_closing_stream_disconnects_immediately(wire: Wire) -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        answer = wire.open(server.url)
        assert answer.next() == b"data: 1\n\n"
        begun = time.monotonic()
        answer.close()
        answer.close()
        answer.finish()
        assert server.wait_until(lambda _: len(gone) == 1)
        assert gone[0] - begun < 0.5
        with pytest.raises(APIConnectionError, match="closed before its end"):
            answer.next()


def test_closed_response_returns_no_received_data(wire: Wire) -> None:
    sent = threading.Event()

    def one_after_another(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"1")
        exchange.wait(0.05)
        exchange.send_chunk(b"2")
        sent.set()
        exchange.client_gone(2)

    with Loopback(one_after_another) as server:
        answer = wire.open(server.url)
        assert answer.next() == b"1"
        assert sent.wait(2)
        wire.run(lambda: time.sleep(0.01), lambda: asyncio.sleep(0.01))
        answer.close()
        with pytest.raises(APIConnectionError, match="closed before its end"):
            answer.next()


def test_garbage_collected_response_is_closed_without_warning(wire: Wire) -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        for read_first in (False, True):
            answer: Answer | None = wire.open(server.url)
            if read_first and answer is not None:
                answer.next()
            answer = None
            gc.collect()
            if wire.loop is not None:
                wire.loop.run_until_complete(asyncio.sleep(0.05))
        assert server.wait_until(lambda _: len(gone) == 2)


def test_garbage_collected_response_releases_slot(make: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)
    wire = make(timeout=Timeouts(pool=0.5))
    with Loopback([endless([]), reply_json(200, {})]) as server:
        wire.open(server.url)
        gc.collect()
        assert wire.open(server.url).read() == b"{}"


def test_close_from_another_thread_ends_blocked_read() -> None:
    gone: list[float] = []
    with Loopback(endless(gone)) as server:
        response = Transport(timeout=30).open(server.url, {}, b"")
        next(response)
        threading.Timer(0.1, response.close).start()
        begun = time.monotonic()
        with pytest.raises(APIConnectionError, match="closed before"):
            next(response)
        assert time.monotonic() - begun < 1
        assert server.wait_until(lambda _: len(gone) == 1)


@pytest.mark.parametrize("script", [silent, endless([])], ids=["before the head", "in the body"])
async def test_cancelled_task_closes_connection_immediately(script: Script) -> None:
    transport = Transport()

    async def consume(url: str) -> None:
        response = await transport.aopen(url, {}, b"")
        try:
            async for _ in response:
                pass
        finally:
            await response.aclose()

    with Loopback(script) as server:
        task = asyncio.create_task(consume(server.url))
        await asyncio.to_thread(server.wait_until, lambda _: len(server.requests) == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


async def test_cancellation_while_finishing_closes_connection_and_propagates() -> None:
    with Loopback(endless([])) as server:
        response = await Transport().aopen(server.url, {}, b"")
        await anext(response)
        task = asyncio.create_task(response.afinish())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


async def test_asyncio_timeout_closes_stream() -> None:
    async def consume(url: str) -> None:
        async for _ in await Transport().aopen(url, {}, b""):
            pass

    with Loopback(endless([])) as server:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(consume(server.url), 0.2)
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


# ---------------------------------------------------------------- many at once


def test_32_threads_share_one_transport() -> None:
    transport = Transport()
    wrong: list[Any] = []

    def work(number: int, url: str) -> None:
        try:
            for turn in range(10):
                body = b'{"n": %d}' % (number * 1000 + turn)
                response = transport.open(url, {}, body)
                if (answer := b"".join(response)) != body:
                    wrong.append(answer)
        except Exception as error:
            wrong.append(error)

    def echo(exchange: Exchange) -> None:
        reply(200, exchange.request.body)(exchange)

    with Loopback(echo) as server:
        threads = [threading.Thread(target=work, args=(number, server.url)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert wrong == []
        assert len(server.requests) == 320
        assert server.connections <= 32


async def test_200_concurrent_streams_are_not_mixed_up() -> None:
    def script(exchange: Exchange) -> None:
        number = exchange.request.json()["n"]
        sse(*({"n": number, "part": part} for part in range(3)), delay=0.02)(exchange)

    async def consume(transport: Transport, url: str, number: int) -> bool:
        response = await transport.aopen(url, {}, b'{"n": %d}' % number)
        text = b"".join([chunk async for chunk in response])
        return text.count(b'{"n": %d,' % number) == 3 and text.endswith(b"[DONE]\n\n")

    with Loopback(script) as server:
        transport = Transport()
        assert all(await asyncio.gather(*(consume(transport, server.url, number) for number in range(200))))
        await transport.aclose()
        assert await asyncio.to_thread(server.wait_until, lambda _: server.open_connections == 0)


# ---------------------------------------------------------------- event loops, forks, the end


@needs_proc
@pytest.mark.parametrize("steps", ["read", "begin", "begin close", "close", "nothing"])
def test_successive_event_loops_leak_no_sockets(steps: str) -> None:
    transport = Transport()
    with Loopback(EVENTS) as server:
        kept = [asyncio.run(ask(transport, server.url, *steps.split()))]
        assert server.wait_until(lambda _: server.open_connections == 0)
        before = descriptors()
        for _ in range(5):
            kept.append(asyncio.run(ask(transport, server.url, *steps.split())))
        assert server.wait_until(lambda _: server.open_connections == 0)
        assert descriptors() <= before
        assert server.connections == 6
        kept.clear()
        gc.collect()


@needs_proc
def test_loops_closed_without_shutdown_of_generators_leak_no_sockets() -> None:
    transport = Transport()

    def run(url: str) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(ask(transport, url))
        loop.close()

    with Loopback(EVENTS) as server:
        run(server.url)
        before = descriptors()
        for _ in range(5):
            run(server.url)
        asyncio.run(ask(transport, server.url))  # forgets the last dead loop
        assert server.wait_until(lambda _: server.open_connections == 0)
        assert descriptors() <= before


def test_event_loops_in_threads_are_independent() -> None:
    transport = Transport()
    results: list[Any] = []

    async def many(url: str) -> int:
        return len([(await ask(transport, url)).head for _ in range(20)])

    with Loopback(EVENTS) as server:
        threads = [threading.Thread(target=lambda: results.append(asyncio.run(many(server.url)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert results == [20] * 4
        assert server.connections <= 4


async def test_runtime_error_in_same_loop_is_not_converted() -> None:
    """In another loop, it means that the response cannot be read there."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise RuntimeError("of something else")

    mock = httpx.MockTransport(lambda request: httpx.Response(200, content=broken()))
    async with httpx.AsyncClient(transport=mock) as client:
        response = await Transport(http_async_client=client).aopen("https://example.com/", {}, b"")
        assert await anext(response) == b"1"
        with pytest.raises(RuntimeError, match="of something else") as caught:
            await anext(response)
        assert type(caught.value) is RuntimeError


def test_complete_response_can_be_read_in_another_loop() -> None:
    transport = Transport()

    async def rest(response: AsyncResponse) -> list[bytes]:
        return [chunk async for chunk in response]

    with Loopback(EVENTS) as server:
        response = asyncio.run(ask(transport, server.url))
        assert asyncio.run(rest(response)) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_opens_own_connections() -> None:
    transport = Transport()
    go_on = threading.Event()

    def script(exchange: Exchange) -> None:
        exchange.send_head()
        exchange.send_chunk(b"data: 1\n\n")
        assert exchange.number != 0 or go_on.wait(20)
        exchange.send_chunk(b"data: 2\n\n")

    with Loopback(script) as server:
        streaming = transport.open(server.url, {}, b"")
        next(streaming)
        assert list(transport.open(server.url, {}, b""))
        assert server.connections == 2  # one busy, one idle
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                streaming.close()
                code = 0 if b"".join(transport.open(server.url, {}, b"")).endswith(b"2\n\n") else 2
            os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert server.connections == 3
        go_on.set()
        assert list(streaming) == [b"data: 2\n\n"]
        assert list(transport.open(server.url, {}, b""))
        assert server.connections == 3


def script_run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, timeout=30, check=False, cwd=Path(__file__).parents[3],
    )  # fmt: skip


@pytest.mark.parametrize("read", ["list(response)", "next(response)", "None"])
def test_exit_with_open_responses_warns_nothing(read: str) -> None:
    code = f"""
import asyncio, logging, sys
from modelstudio_core.http.transport import Transport
logging.getLogger("asyncio").setLevel(logging.ERROR)  # development mode warns of callbacks that a busy machine delays
transport = Transport()
response = transport.open(sys.argv[1], {{}}, b"")
{read}
async def leave():
    global aresponse
    aresponse = await transport.aopen(sys.argv[1], {{}}, b"")
    return await anext(aresponse)
async def read():
    return [chunk async for chunk in await transport.aopen(sys.argv[1], {{}}, b"")]
asyncio.run(leave())
loop = asyncio.new_event_loop()
loop.run_until_complete(read())
loop.close()
print("done")
"""
    with Loopback(EVENTS) as server:
        ended = script_run(code, server.url)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_creating_transport_loads_no_certificates() -> None:
    code = """
import ssl
def refuse(*args, **kwargs): raise AssertionError("a context was made")
ssl.create_default_context = refuse
from modelstudio_core.http.transport import Transport
Transport()
"""
    ended = script_run(code)
    assert ended.returncode == 0, ended.stderr


# ---------------------------------------------------------------- closing


def test_last_transport_closes_idle_connections(make: Callable[..., Wire]) -> None:
    first, second = make(), make()
    with Loopback(reply_json(200, {})) as server:
        first.open(server.url).read()
        second.open(server.url).read()
        assert server.connections == 1
        first.close()
        first.close()
        second.open(server.url).read()
        assert server.connections == 1
        second.close()
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_close_lets_running_requests_finish(wire: Wire) -> None:
    with Loopback(sse({"n": 1}, {"n": 2}, delay=0.05)) as server:
        answer = wire.open(server.url)
        answer.next()
        wire.close()
        assert len(answer.rest()) == 2
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_closed_transport_can_be_used_again(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        for number in range(3):
            wire.open(server.url).read()
            wire.open(server.url).read()
            assert server.connections == number + 1
            wire.close()
            assert server.wait_until(lambda _: server.open_connections == 0)


def test_closing_unused_transport_closes_no_connections(make: Callable[..., Wire]) -> None:
    used, unused = make(), make()
    with Loopback(reply_json(200, {})) as server:
        used.open(server.url).read()
        unused.close()
        used.open(server.url).read()
        assert server.connections == 1


def test_connections_close_at_exit(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        shared_pools._at_exit()
        assert server.wait_until(lambda _: server.open_connections == 0)


def test_transport_can_be_copied_and_pickled(wire: Wire) -> None:
    with Loopback(reply_json(200, {})) as server:
        wire.open(server.url).read()
        for other in (copy.deepcopy(wire.transport), pickle.loads(pickle.dumps(wire.transport))):
            assert other._timeouts == wire.transport._timeouts
            with contextlib.closing(other.open(server.url, {}, b"")) as response:
                assert b"".join(response) == b"{}"
