"""One model object in threads, tasks, event loops, processes and copies: answers do not mix, and nothing leaks."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from llama_index.core.llms import ChatMessage

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http import shared_pools
from tests.faults.dialects import DIALECTS, PIECES, TEXT, Dialect
from tests.faults.steps import EVENT_STREAM, KEY, good, streamed
from tests.loopback import Exchange, Loopback
from tests.platforms import descriptors, needs_fork

pytestmark = pytest.mark.usefixtures("patient_drain")
every_protocol = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
MAKERS: dict[str, Any] = {"langchain": ChatModelStudio, "llama_index": ModelStudio}
every_adapter = pytest.mark.parametrize("adapter", MAKERS)
BIG = 20


def echo(dialect: Dialect) -> Callable[[Exchange], None]:
    """A server that streams the number in the question in many fragments."""

    def script(exchange: Exchange) -> None:
        number = re.search(rb"number (\d+)\.", exchange.request.body)
        assert number is not None
        said = number.group(1).decode()
        for step in streamed(*[lambda it: it.said(f"{said},")] * BIG, lambda it: it.last() + it.done):
            step(exchange, dialect)

    return script


def answer(number: int) -> str:
    return f"{number}," * BIG


def ask(llm: Any, number: int) -> str:
    """Return a streamed answer of either adapter."""
    prompt = f"number {number}."
    if isinstance(llm, ChatModelStudio):
        return "".join(chunk.text for chunk in llm.stream(prompt))
    return "".join(response.delta or "" for response in llm.stream_chat([ChatMessage(prompt)]))


async def aask(llm: Any, number: int) -> str:
    prompt = f"number {number}."
    if isinstance(llm, ChatModelStudio):
        return "".join([chunk.text async for chunk in llm.astream(prompt)])
    return "".join([response.delta or "" async for response in await llm.astream_chat([ChatMessage(prompt)])])


@pytest.fixture
def no_descriptor_leaks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check that a test leaves no open descriptors."""
    monkeypatch.setattr(shared_pools, "_pool", None)
    before = descriptors()
    yield
    deadline = time.monotonic() + 2
    while (left := descriptors()) > before and time.monotonic() < deadline:
        time.sleep(0.02)  # the server's threads may still be closing theirs
    assert left <= before


def model(adapter: str, server: Loopback, dialect: Dialect, **settings: Any) -> Any:
    return MAKERS[adapter](model="qwen-plus", base_url=server.url, protocol=dialect.name, timeout=60, **settings)


# ---------------------------------------------------------------- threads, tasks, loops


@every_protocol
@every_adapter
@pytest.mark.usefixtures("no_descriptor_leaks", "connections")
def test_64_threads(adapter: str, dialect: Dialect) -> None:
    """Each thread gets its own answers, with no more connections than threads."""
    with Loopback(echo(dialect)) as server:
        with model(adapter, server, dialect) as llm, ThreadPoolExecutor(64) as threads:
            assert list(threads.map(lambda number: ask(llm, number), range(256))) == [*map(answer, range(256))]
        assert server.connections <= 64
        assert server.wait_until(lambda it: it.open_connections == 0)


@every_adapter
@pytest.mark.usefixtures("no_descriptor_leaks", "connections")
async def test_500_concurrent_streams(adapter: str) -> None:
    """Each gets its own answer, and all connections close with the object."""
    dialect = DIALECTS["openai"]
    with Loopback(echo(dialect)) as server:
        async with model(adapter, server, dialect) as llm:
            found = await asyncio.gather(*(aask(llm, number) for number in range(500)))
        assert found == [*map(answer, range(500))]
        assert await asyncio.to_thread(server.wait_until, lambda it: it.open_connections == 0, 5)


@every_protocol
@every_adapter
@pytest.mark.usefixtures("no_descriptor_leaks", "connections")
def test_100_event_loops(adapter: str, dialect: Dialect) -> None:
    """One after another, half of them with an unfinished stream: no "Event loop is closed"."""

    async def one(number: int) -> str:
        if number % 2:
            async for _ in (
                llm.astream(f"number {number}.")
                if adapter == "langchain"
                else await llm.astream_chat([ChatMessage(f"number {number}.")])
            ):
                break
        return await aask(llm, number)

    with Loopback(echo(dialect)) as server:
        llm = model(adapter, server, dialect)
        assert [asyncio.run(one(number)) for number in range(100)] == [*map(answer, range(100))]
        assert server.wait_until(lambda it: it.open_connections == 0)
        llm.close()


@pytest.mark.usefixtures("no_descriptor_leaks", "connections")
def test_threads_with_own_event_loops() -> None:
    """Eight threads with an event loop each, beside sync calls."""
    dialect = DIALECTS["openai"]
    with Loopback(echo(dialect)) as server, model("langchain", server, dialect) as llm:

        def work(number: int) -> tuple[str, str]:
            return asyncio.run(aask(llm, number)), ask(llm, number)

        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(work, range(40)))
        assert found == [(answer(number), answer(number)) for number in range(40)]


@pytest.mark.usefixtures("no_descriptor_leaks", "connections")
def test_close_does_not_affect_streams_of_other_objects() -> None:
    """Closing one object does not affect the streams of others. It opens new connections when used again."""
    dialect = DIALECTS["openai"]
    with Loopback(echo(dialect)) as server:
        first, second = (model("langchain", server, dialect) for _ in range(2))
        stream = second.stream("number 7.")
        next(stream)
        first.close()
        second.close()
        assert "".join(chunk.text for chunk in stream) == answer(7)[2:]
        assert ask(first, 8) == answer(8)
        first.close()
        second.close()
        assert server.wait_until(lambda it: it.open_connections == 0)


# ---------------------------------------------------------------- fork


@needs_fork
@pytest.mark.parametrize(("adapter", "protocol"), [("langchain", "openai"), ("llama_index", "dashscope")])
def test_fork_during_stream(adapter: str, protocol: str) -> None:
    """The child cannot continue the stream, but makes its own call. The parent's stream is complete."""
    dialect = DIALECTS[protocol]
    with Loopback(slowly(dialect)) as server:
        script = f"""
        import os, sys, warnings
        from llama_index.core.llms import ChatMessage
        from modelstudio_core.errors import ConfigurationError
        from tests.faults.test_sharing import MAKERS, ask, answer
        llm = MAKERS[{adapter!r}](model="qwen-plus", base_url={server.url!r}, protocol={dialect.name!r})
        assert ask(llm, 1) == answer(1)
        if {adapter!r} == "langchain":
            texts = (chunk.text for chunk in llm.stream("number 2."))
        else:
            texts = (response.delta or "" for response in llm.stream_chat([ChatMessage("number 2.")]))
        begun = next(texts)
        child = os.fork()
        if not child:
            try:
                ok = "".join(texts) and False
            except ConfigurationError as error:
                ok = "started in another process" in str(error) and ask(llm, 3) == answer(3)
            del texts
            llm.close()
            sys.exit(0 if ok else 7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status
        assert begun + "".join(texts) == answer(2)
        assert ask(llm, 4) == answer(4)
        """
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
            capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")


def slowly(dialect: Dialect) -> Callable[[Exchange], None]:
    """Like `echo`, with a delay before the last fragments."""

    def script(exchange: Exchange) -> None:
        number = re.search(rb"number (\d+)\.", exchange.request.body)
        assert number is not None
        exchange.send_head(200, EVENT_STREAM)
        for at in range(BIG):
            exchange.send_chunk(dialect.said(f"{number.group(1).decode()},"))
            if at == 2:
                exchange.wait(0.2)
        exchange.send_chunk(dialect.last() + dialect.done)
        exchange.end()

    return script


# ---------------------------------------------------------------- copies


def healthy(dialect: Dialect) -> Callable[[Exchange], None]:
    return lambda exchange: good(exchange, dialect)


@every_adapter
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(deep=True)])
def test_copy_of_used_model(duplicate: Callable[[Any], Any], adapter: str) -> None:
    """Copies have the same key, and share the connections."""
    dialect = DIALECTS["openai"]
    with Loopback(healthy(dialect)) as server, model(adapter, server, dialect, api_key=KEY) as llm:
        assert ask(llm, 1) == TEXT
        again = duplicate(llm)
        assert ask(again, 1) == TEXT
        assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
        assert server.connections == 1


@every_adapter
def test_copy_shares_injected_client(adapter: str) -> None:
    """Also a deep copy, because the client belongs to the caller."""
    dialect = DIALECTS["openai"]
    with Loopback(healthy(dialect)) as server, httpx.Client() as client:
        llm = model(adapter, server, dialect, http_client=client)
        again = copy.deepcopy(llm)
        assert again.http_client is client
        assert ask(again, 1) == TEXT
        with pytest.raises(TypeError, match="http_client"):
            pickle.dumps(llm)


# ---------------------------------------------------------------- pickles


def pickled(adapter: str, server: Loopback, monkeypatch: pytest.MonkeyPatch, *, by_environment: bool) -> bytes:
    """A pickle of a used model whose key was an argument or from the environment."""
    if by_environment:
        monkeypatch.setenv("DASHSCOPE_API_KEY", f"{KEY}\n")
    llm = model(adapter, server, DIALECTS["openai"], temperature=0.5, **({} if by_environment else {"api_key": KEY}))
    assert ask(llm, 1) == TEXT
    data = pickle.dumps(llm)
    assert KEY.encode() not in data
    assert KEY[8:].encode() not in data
    return data


@every_adapter
@pytest.mark.parametrize("by_environment", [True, False], ids=["found", "given"])
def test_unpickling_reads_key_from_environment(
    by_environment: bool, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It contains no key, and reads DASHSCOPE_API_KEY when loaded."""
    with Loopback(healthy(DIALECTS["openai"])) as server:
        data = pickled(adapter, server, monkeypatch, by_environment=by_environment)
        for key in (KEY, "sk-another-key-0123456789"):
            monkeypatch.setenv("DASHSCOPE_API_KEY", f"{key}\n")  # as files of secrets often end
            again = pickle.loads(data)
            assert ask(again, 1) == TEXT
            assert server.requests[-1].headers["authorization"] == f"Bearer {key}"
            assert again.temperature == 0.5


@every_adapter
def test_unpickling_without_key_raises(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading it raises an error."""
    with Loopback(healthy(DIALECTS["openai"])) as server:
        data = pickled(adapter, server, monkeypatch, by_environment=False)
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY") as raised:
        pickle.loads(data)
    assert type(raised.value) is MAKERS[adapter].configuration_error


def in_worker(llm: Any) -> str:
    """Return the answer or error of a task in a worker."""
    try:
        return ask(llm, 1)
    except ConfigurationError as error:
        return f"{type(error).__name__}: {error}"


@every_adapter
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_worker_without_key(adapter: str, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error during unpickling would break the pool, so the call raises it, and the worker survives."""
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    with Loopback(healthy(DIALECTS["openai"])) as server:
        asleep = model(adapter, server, DIALECTS["openai"], api_key=KEY)
        awake = model(adapter, server, DIALECTS["openai"])
        with ProcessPoolExecutor(1, multiprocessing.get_context(start)) as pool:
            said = pool.submit(in_worker, asleep).result(60)
            assert said.startswith("ConfigurationError: pickled models do not contain the API key")
            assert pool.submit(in_worker, awake).result(60) == TEXT
        assert len(server.requests) == 1


@every_adapter
def test_pickle_of_model_without_key(adapter: str) -> None:
    """On loopback no key is needed."""
    with Loopback(healthy(DIALECTS["openai"])) as server:
        llm = model(adapter, server, DIALECTS["openai"])
        assert ask(pickle.loads(pickle.dumps(llm)), 1) == TEXT


def test_pickle_of_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules apply."""
    data = pickle.dumps(ModelStudioEmbedding(model="text-embedding-v4", dimensions=64, api_key=KEY))
    assert KEY.encode() not in data
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        pickle.loads(data)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-another-key-0123456789")
    assert pickle.loads(data).dimensions == 64


@every_adapter
def test_pickles_are_deterministic(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask identifies objects by their pickles."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    with Loopback(healthy(DIALECTS["openai"])) as server:
        llm = model(adapter, server, DIALECTS["openai"], api_key=KEY, temperature=0.5, default_headers={"x-a": "b"})
        before = pickle.dumps(llm)
        assert before == pickle.dumps(llm) == pickle.dumps(copy.deepcopy(llm))
        assert ask(llm, 1) == TEXT
        if adapter == "langchain":  # LlamaIndex's callback manager remembers its last trace
            assert pickle.dumps(llm) == before
        assert pickle.dumps(llm) == pickle.dumps(llm)
        loaded = pickle.loads(pickle.dumps(llm))
        assert pickle.dumps(loaded) == pickle.dumps(llm)
        assert loaded.model_fields_set == llm.model_fields_set


def key_of_this_module() -> str:
    """A key function that can be pickled by name."""
    return KEY


@every_adapter
def test_pickle_of_model_with_key_function(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key function at module level is pickled by name, and needs no environment. Other functions raise an error."""
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    with Loopback(healthy(DIALECTS["openai"])) as server:
        data = pickle.dumps(model(adapter, server, DIALECTS["openai"], api_key=key_of_this_module))
        assert KEY.encode() not in data
        assert ask(pickle.loads(data), 1) == TEXT
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        for provider in (lambda: KEY, partial(str, KEY)):
            with pytest.raises(TypeError, match="api_key"):
                pickle.dumps(model(adapter, server, DIALECTS["openai"], api_key=provider))


def test_pickle_of_chains_and_bindings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains and bindings contain no key."""
    bound = ChatModelStudio(model="qwen-plus", api_key=KEY).bind(stop=["."]).with_retry()
    assert KEY.encode() not in pickle.dumps(bound)


def test_close_wakes_waiting_threads() -> None:
    """Closing a stream from another thread ends it at once, with an error instead of a truncated answer."""
    dialect = DIALECTS["openai"]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, EVENT_STREAM)
        exchange.send_chunk(dialect.said(*PIECES[:2]))
        exchange.client_gone(20)
        exchange.close()

    with Loopback(script) as server, model("langchain", server, dialect) as llm:
        client = llm._core_client()
        opened: list[Any] = []
        original = client.transport.open

        def remember(*args: Any) -> Any:
            opened.append(original(*args))
            return opened[-1]

        client.transport.open = remember
        found: list[Any] = []

        def read() -> None:
            try:
                found.append(ask(llm, 1))
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        assert server.wait_until(lambda _: bool(opened))
        time.sleep(0.05)
        opened[0].close()
        thread.join(2)
        assert not thread.is_alive()
        assert isinstance(found[0], Exception)
        assert found[0].partial.choices[0].text == "".join(PIECES[:2])  # type: ignore[attr-defined]
