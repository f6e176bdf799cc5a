"""Closing a stream early disconnects from the server within a second, without warnings."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from llama_index.core.agent.workflow import FunctionAgent

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import ConfigurationError
from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.steps import EVENT_STREAM, good
from tests.faults.ways import PROMPT, QUESTION
from tests.loopback import Exchange, Loopback
from tests.platforms import streams_async_agents

every_protocol = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))


def endless(dialect: Dialect) -> Callable[[Exchange], None]:
    """A server that sends events until the client disconnects."""

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, EVENT_STREAM)
        while not exchange.client_gone(0.01):
            exchange.send_chunk(dialect.said("more "))

    return script


def mute(dialect: Dialect) -> Callable[[Exchange], None]:
    """A server that sends a few events, and then nothing."""

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, EVENT_STREAM)
        exchange.send_chunk(dialect.said("more "))
        exchange.client_gone(20)
        exchange.close()

    return script


SERVERS = pytest.mark.parametrize("serves", [endless, mute], ids=["talking", "mute"])


def gone(server: Loopback) -> bool:
    """Return True if all connections are closed within a second."""
    return server.wait_until(lambda it: len(it.requests) > 0 and it.open_connections == 0)


async def agone(server: Loopback) -> bool:
    return await asyncio.to_thread(gone, server)


def model(cls: type, server: Loopback, dialect: Dialect) -> Any:
    return cls(model="qwen-plus", base_url=server.url, protocol=dialect.name, streaming=True)


# ---------------------------------------------------------------- sync

SYNC: dict[str, Callable[[Any], Any]] = {
    "langchain": lambda llm: llm.stream(PROMPT),
    "llama_index": lambda llm: llm.stream_chat(QUESTION),
}
MAKERS = {"langchain": ChatModelStudio, "llama_index": ModelStudio}
ADAPTERS = pytest.mark.parametrize("adapter", MAKERS)


class Enough(Exception):
    """The exception of a consumer."""


def by_break(stream: Any) -> None:
    for _ in stream:
        break


def by_close(stream: Any) -> None:
    next(stream)
    stream.close()


def by_dropping(stream: Any) -> None:
    next(stream)


def by_exception(stream: Any) -> None:
    def consume() -> None:
        for _ in stream:
            raise Enough

    with contextlib.suppress(Enough):
        consume()


@every_protocol
@ADAPTERS
@SERVERS
@pytest.mark.parametrize("leave", [by_break, by_close, by_dropping, by_exception])
@pytest.mark.rotated
@pytest.mark.usefixtures("rotated_connections")
def test_closing_stream_early(
    leave: Callable[[Any], None], serves: Callable[[Dialect], Any], adapter: str, dialect: Dialect
) -> None:
    """By break, close(), deleting the stream, or an exception in the consumer."""
    with Loopback(serves(dialect)) as server:
        llm = model(MAKERS[adapter], server, dialect)
        leave(SYNC[adapter](llm))
        assert gone(server)
        gc.collect()


class Watcher(BaseCallbackHandler):
    """A callback that fails at the first token."""

    raise_error = True

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        raise Enough


@every_protocol
def test_stream_with_failing_callback(dialect: Dialect) -> None:
    """An exception in a callback ends an invoke that streams."""
    with Loopback(endless(dialect)) as server:
        llm = model(ChatModelStudio, server, dialect)
        with pytest.raises(Enough):
            llm.invoke(PROMPT, {"callbacks": [Watcher()]})
        assert gone(server)


# ---------------------------------------------------------------- async

ASYNC: dict[str, Callable[[Any], Awaitable[Any]]] = {}


async def _langchain(llm: Any) -> Any:
    return llm.astream(PROMPT)


async def _llama_index(llm: Any) -> Any:
    return await llm.astream_chat(QUESTION)


ASYNC.update(langchain=_langchain, llama_index=_llama_index)


async def aby_break(stream: Any) -> None:
    async for _ in stream:
        break


async def aby_aclose(stream: Any) -> None:
    await anext(stream)
    await stream.aclose()


async def aby_exception(stream: Any) -> None:
    async def consume() -> None:
        async for _ in stream:
            raise Enough

    with contextlib.suppress(Enough):
        await consume()


async def consume(stream: Any) -> None:
    async for _ in stream:
        pass


async def aby_cancelling(stream: Any) -> None:
    task = asyncio.create_task(consume(stream))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def within(seconds: float, stream: Any) -> None:
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):
            await consume(stream)
    else:
        await asyncio.wait_for(consume(stream), seconds)


async def aby_timeout(stream: Any) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await within(0.1, stream)


@every_protocol
@ADAPTERS
@SERVERS
@pytest.mark.parametrize("leave", [aby_break, aby_aclose, aby_exception, aby_cancelling, aby_timeout])
@pytest.mark.rotated
@pytest.mark.usefixtures("rotated_connections")
async def test_closing_async_stream_early(
    leave: Callable[[Any], Awaitable[None]], serves: Callable[[Dialect], Any], adapter: str, dialect: Dialect
) -> None:
    """By break, aclose(), an exception in the consumer, a cancelled task, or asyncio.timeout."""
    with Loopback(serves(dialect)) as server:
        llm = model(MAKERS[adapter], server, dialect)
        await leave(await ASYNC[adapter](llm))
        assert await agone(server)
        gc.collect()


WHOLE: dict[str, Callable[[Any], Any]] = {
    "langchain": lambda llm: llm.ainvoke(PROMPT),
    "llama_index": lambda llm: llm.achat(QUESTION),
}


@every_protocol
@ADAPTERS
@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
async def test_cancelling_non_streaming_call(streaming: bool, adapter: str, dialect: Dialect) -> None:
    """Cancelling a call that waits for its complete answer."""
    with Loopback(mute(dialect)) as server:
        llm = MAKERS[adapter](model="qwen-plus", base_url=server.url, protocol=dialect.name, streaming=streaming)  # type: ignore[operator]
        task = asyncio.create_task(WHOLE[adapter](llm))
        assert await asyncio.to_thread(server.wait_until, lambda it: len(it.requests) == 1)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await agone(server)


@every_protocol
@ADAPTERS
def test_stream_read_in_another_event_loop(adapter: str, dialect: Dialect) -> None:
    """It raises an error, and the connection is closed."""

    async def begin(llm: Any) -> Any:
        stream = await ASYNC[adapter](llm)
        await anext(stream)
        return stream

    with Loopback(mute(dialect)) as server:
        begun, other = asyncio.new_event_loop(), asyncio.new_event_loop()
        stream = begun.run_until_complete(begin(model(MAKERS[adapter], server, dialect)))
        with pytest.raises(ConfigurationError, match="another event loop"):
            other.run_until_complete(asyncio.wait_for(anext(stream), 5))
        assert gone(server)
        for loop in (other, begun):
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        del stream
        gc.collect()


@every_protocol
@ADAPTERS
@pytest.mark.usefixtures("connections")
async def test_call_cancelled_at_any_moment_does_not_affect_others(adapter: str, dialect: Dialect) -> None:
    """At any point, including the return of its connection to the pool. A call of another object succeeds."""
    with Loopback(lambda exchange: good(exchange, dialect)) as server:
        make = partial(MAKERS[adapter], model="qwen-plus", base_url=server.url, protocol=dialect.name, timeout=5)
        mine, other = make(), make(max_retries=0)
        await WHOLE[adapter](mine)
        for steps in range(40):
            task = asyncio.ensure_future(WHOLE[adapter](mine))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.wait_for(WHOLE[adapter](other), 2)
        gc.collect()
        await mine.aclose()
        await other.aclose()
        assert await agone(server)


# ---------------------------------------------------------------- agents


@streams_async_agents
@every_protocol
async def test_langgraph_agent_stopped_in_mid_stream(dialect: Dialect) -> None:
    """Closing an agent's stream closes that of the model."""
    with Loopback(endless(dialect)) as server:
        agent = create_agent(model(ChatModelStudio, server, dialect))
        asked = {"messages": [{"role": "user", "content": PROMPT}]}
        stream = agent.astream(asked, stream_mode="messages")
        async for _ in stream:
            break
        await stream.aclose()
        assert await agone(server)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LlamaIndex's own workflows
@every_protocol
async def test_llama_index_agent_stopped_in_mid_stream(dialect: Dialect) -> None:
    """Cancelling a FunctionAgent closes the model's stream."""
    with Loopback(endless(dialect)) as server:
        agent = FunctionAgent(llm=model(ModelStudio, server, dialect), streaming=True)
        handler = agent.run(PROMPT)
        async for event in handler.stream_events():
            if getattr(event, "delta", ""):
                break
        await handler.cancel_run()
        assert await agone(server)
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await handler


# ---------------------------------------------------------------- the end of the process

ENDS = {
    "a stream left, and the end": "for _ in llm.stream('hi'): break",
    "a stream half read, and the end": "stream = llm.stream('hi'); next(stream)",
    "an async stream left, and the end of the loop": """
        async def main():
            async for _ in llm.astream('hi'):
                break
        asyncio.run(main())
    """,
    "an async stream half read at the end of the loop": """
        async def main():
            global stream
            stream = llm.astream('hi')
            await anext(stream)
        asyncio.run(main())
    """,
    "a task cancelled by the end of the loop": """
        async def read(begun):
            async for _ in llm.astream('hi'):
                begun.set()
        async def main():
            begun = asyncio.Event()
            task = asyncio.create_task(read(begun))
            await begun.wait()
        asyncio.run(main())
    """,
    "a hundred loops": """
        async def main():
            async for _ in llm.astream('hi'):
                break
        for _ in range(100):
            asyncio.run(main())
    """,
    "a thread that still reads": """
        begun = threading.Event()
        def read():
            for _ in llm.stream('hi'):
                begun.set()
        threading.Thread(target=read, daemon=True).start()
        begun.wait()
    """,
}


@pytest.mark.parametrize(
    "code",
    [pytest.param(code, id=name, marks=() if "half" in name else (pytest.mark.slow,)) for name, code in ENDS.items()],
)
def test_process_exit_warns_nothing(code: str) -> None:
    """With any way to close streams: no warning, no "Event loop is closed", and the server is disconnected."""
    dialect = DIALECTS["openai"]
    with Loopback(endless(dialect)) as server:
        head = f"""
        import asyncio, threading
        from langchain_modelstudio import ChatModelStudio
        llm = ChatModelStudio(model="qwen-plus", base_url={server.url!r})
        """
        script = textwrap.dedent(head) + textwrap.dedent(code)
        ran = subprocess.run(
            [sys.executable, "-W", "always::ResourceWarning", "-W", "always::RuntimeWarning", "-c", script],
            capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")
        assert gone(server)
