"""Models in Dask workers: examples/dask_workers.py with a killed worker, and `client.map` with a model."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from dask.base import tokenize
from dask.distributed import Client
from distributed.protocol.pickle import dumps
from pydantic import BaseModel

import langchain_modelstudio as langchain
import llama_index_modelstudio as llama_index
import local_model
from benchmarks import limited
from examples import dask_workers
from langchain_modelstudio import ChatModelStudio
from modelstudio_core import config
from modelstudio_core.errors import AuthenticationError
from tests.loopback import Exchange, Loopback, reply_json

MUCH = 600_000  # requests a minute, more than these tests send


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def forget_key() -> None:
    """Remove the key from the environment of the process."""
    del os.environ["DASHSCOPE_API_KEY"]


def model(base_url: str = "http://127.0.0.1/v1", **settings: Any) -> ChatModelStudio:
    return ChatModelStudio(model="qwen-plus", base_url=base_url, **settings)


def test_2000_prompts_and_a_killed_worker(client: Client, key: str) -> None:
    """Every prompt has an answer, in order, within both limits, although a worker is killed.

    Only the calls in progress at that time are repeated.
    """
    prompts = [f"prompt {number}" for number in range(2000)]
    killed: list[int] = []

    def kill() -> None:
        while limited.counted(base_url)["tokens"] < 20 * 800:
            time.sleep(0.05)
        killed.append(next(iter(client.run(os.getpid).values())))
        os.kill(killed[0], signal.SIGKILL)

    with limited.running(MUCH) as base_url:
        killer = threading.Thread(target=kill)
        killer.start()
        began = time.monotonic()
        answers = dask_workers.ask_all(client, model(base_url), prompts)
        seconds = time.monotonic() - began
        killer.join()
        counts = limited.counted(base_url)
        pids = set(client.run(os.getpid).values())
    assert answers == prompts
    assert killed
    assert killed[0] not in pids
    assert set(counts["prompts"]) == set(prompts)
    assert counts["requests"] - 2000 <= 2 * dask_workers.IN_FLIGHT
    assert counts["most_in_flight"] <= dask_workers.IN_FLIGHT
    assert counts["tokens"] / seconds * 60 < 1.05 * dask_workers.TOKENS_PER_MINUTE


def test_equal_prompts(client: Client) -> None:
    """They are one call, unless pure=False."""
    for pure, calls in ((True, 1), (False, 2)):
        with limited.running(MUCH) as base_url:
            llm = model(base_url)
            found = client.gather(client.map(llm.invoke, ["one", "two", "one"], pure=pure))
            counts = limited.counted(base_url)
        assert [message.text for message in found] == ["one", "two", "one"]
        assert counts["prompts"] == {"one": calls, "two": 1}


def test_sync_and_async_calls_in_a_worker(client: Client) -> None:
    """Async calls run on the worker's event loop and sync ones in its threads, concurrently."""
    prompts = [f"prompt {number}" for number in range(100)]
    with limited.running(MUCH) as base_url:
        llm = model(base_url)
        tasks = [client.submit(call, prompt) for prompt in prompts for call in (llm.invoke, llm.ainvoke)]
        answers = [message.text for message in client.gather(tasks)]
        again = client.gather(client.map(llm.bind(temperature=0.5).ainvoke, prompts))
        counts = limited.counted(base_url)
    assert answers == [prompt for prompt in prompts for _ in range(2)]
    assert [message.text for message in again] == prompts
    assert counts["requests"] == 300
    assert counts["most_in_flight"] > 16
    assert len(set(client.run(os.getpid).values())) == dask_workers.WORKERS


def test_no_key_in_pickles_and_logs(client: Client, key: str) -> None:
    """Also for failed calls with logged arguments, at a server that echoes the key."""

    def refuse(exchange: Exchange) -> None:
        said = f"Incorrect API key: {exchange.request.headers['authorization']}"
        reply_json(401, {"error": {"code": "invalid_api_key", "message": said}})(exchange)

    with Loopback(refuse) as server:
        llm = model(server.url, api_key=key)
        future = client.submit(llm.invoke, "hello")
        error = future.exception()
        assert server.requests[0].headers["authorization"] == f"Bearer {key}"
    assert isinstance(error, AuthenticationError)
    logs = repr(client.get_worker_logs()) + repr(client.get_scheduler_logs())
    assert "Compute Failed" in logs
    shown = [logs, repr(error), repr(future.traceback()), repr(dumps((llm, llm.invoke, error))), tokenize(llm)]
    assert not [text for text in shown if key in text]


def test_a_worker_without_a_key(client: Client, key: str) -> None:
    """The key is that of the worker's environment."""
    client.run(forget_key)
    error = client.submit(model(api_key=key).invoke, "hello").exception()
    assert config.PICKLED_KEY_MISSING in str(error)


MADE: dict[str, Callable[[], Any]] = {
    "chat": model,
    "chat, with limits": lambda: model(requests_per_minute=60, tokens_per_minute=1000),
    "a call": lambda: model().invoke,
    "an async call": lambda: model().ainvoke,
    "bound": lambda: model().bind(temperature=0.5).invoke,
    "tools": lambda: model().bind_tools([weather]).invoke,
    "structured": lambda: model().with_structured_output(City).invoke,
    "embeddings": lambda: langchain.ModelStudioEmbeddings().embed_query,
    "rerank": lambda: langchain.ModelStudioRerank().compress_documents,
    "LlamaIndex": lambda: llama_index.ModelStudio(model="qwen-plus"),
    "LlamaIndex, a call": lambda: llama_index.ModelStudio(model="qwen-plus").complete,
    "LlamaIndex, structured": lambda: llama_index.ModelStudio(model="qwen-plus").as_structured_llm(City).complete,
    "LlamaIndex, embeddings": lambda: llama_index.ModelStudioEmbedding(),
    "LlamaIndex, an embedding": lambda: llama_index.ModelStudioEmbedding().get_text_embedding,
    "LlamaIndex, media, an embedding": lambda: llama_index.ModelStudioMultiModalEmbedding().get_query_embedding,
    "LlamaIndex, media": lambda: llama_index.ModelStudioMultiModalEmbedding(),
    "LlamaIndex, rerank": lambda: llama_index.ModelStudioRerank().postprocess_nodes,
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_equal_objects_have_equal_tokens(make: Callable[[], Any], key: str) -> None:
    """So that Dask recognizes equal calls."""
    assert tokenize(make(), ensure_deterministic=True) == tokenize(make(), ensure_deterministic=True)


@pytest.mark.parametrize("name", ["chat", "a call", "embeddings", "rerank", "LlamaIndex", "LlamaIndex, embeddings"])
def test_a_loaded_object_has_the_same_token(name: str, key: str) -> None:
    """So that a worker that calls `map` identifies the same tasks."""
    loaded = pickle.loads(pickle.dumps(MADE[name]()))
    assert tokenize(loaded, ensure_deterministic=True) == tokenize(MADE[name](), ensure_deterministic=True)


def test_other_settings_have_other_tokens(key: str) -> None:
    """A different temperature changes the token; a different key does not, because pickles have no key."""
    assert tokenize(model()) != tokenize(model(temperature=0.5))
    assert tokenize(model(api_key="sk-one-key")) == tokenize(model(api_key="sk-another-key"))


def test_the_example_on_the_local_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a key, as `python -m local_model -- python examples/dask_workers.py 3` runs it."""
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["dask_workers", "3"])
    with local_model.running() as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.base_url.removesuffix("/compatible-mode/v1"))
        dask_workers.main()
    assert capsys.readouterr().out.count("Prompt: Say a sentence about the number") == 3
