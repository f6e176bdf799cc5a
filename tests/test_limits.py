"""`requests_per_minute` and `tokens_per_minute` of both adapters."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.rate_limiters import BaseRateLimiter as LangChainRateLimiter
from llama_index.core.rate_limiter import BaseRateLimiter as LlamaIndexRateLimiter

import langchain_modelstudio
import llama_index_modelstudio
from benchmarks import limited
from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import ConfigurationError
from tests.langchain import service as langchain
from tests.llama_index import service as llama_index
from tests.loopback import Exchange, Loopback, reply_json
from tests.service import USAGE, Answer

ADAPTERS = {"langchain": langchain, "llama_index": llama_index}
EVERY_CLASS = [
    getattr(module, name)
    for module in (langchain_modelstudio, llama_index_modelstudio)
    for name in module.__all__
    if name != "__version__"
]
HELLO = Answer(text=["hi"], usage=USAGE)  # 30 tokens
LIMIT = {"requests_per_minute": 1200}  # one in 50 ms


class Timed:
    """Answers, and records the time of each request."""

    def __init__(self, answer: Any = HELLO) -> None:
        self.answer = answer
        self.times: list[float] = []

    def __call__(self, exchange: Exchange) -> None:
        self.times.append(time.monotonic())
        self.answer(exchange)

    @property
    def gaps(self) -> Iterator[float]:
        """Seconds between successive requests."""
        return (later - earlier for earlier, later in pairwise(self.times))


def test_all_ways_share_a_limit() -> None:
    """Both adapters, sync and async, whole and streamed, each in its own thread."""
    timed = Timed()
    with Loopback(timed) as server:

        def call(adapter: Any, way: str) -> None:
            asyncio.run(adapter.call(adapter.chat(server, requests_per_minute=600), way))

        pairs = [(adapter, way) for adapter in ADAPTERS.values() for way in adapter.WAYS]
        threads = [threading.Thread(target=call, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(timed.times) == 8
    assert timed.times[-1] - timed.times[0] > 7 * 0.1 - 0.3  # the first may take a while to come


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
async def test_the_usage_counts(adapter: Any) -> None:
    """At 6,000 tokens per minute, a call of 30 tokens takes 0.3 s, although max_tokens is 1,000."""
    timed = Timed()
    with Loopback(timed) as server:
        llm = adapter.chat(server, tokens_per_minute=6000, max_tokens=1000)
        for _ in range(2):
            await adapter.call(llm, adapter.WAYS[1])
    assert 0.1 < next(timed.gaps) < 4


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
async def test_retry_after_pauses_all_calls(adapter: Any) -> None:
    """The rejected call and the waiting ones."""
    refusal = {"error": {"code": "limit_requests", "message": "wait"}}
    throttled = reply_json(429, refusal, {"retry-after-ms": "400"})
    timed = Timed(lambda exchange: (HELLO if exchange.number else throttled)(exchange))
    with Loopback(timed) as server:
        llm = adapter.chat(server, max_retries=1, **LIMIT)
        await asyncio.gather(*(adapter.call(llm, adapter.WAYS[1]) for _ in range(2)))
    # the second call may have been on its way
    assert len(timed.times) == 3
    assert timed.times[-1] - timed.times[0] > 0.4


@pytest.mark.parametrize(
    "cls", [cls for cls in EVERY_CLASS if "mbedding" in cls.__name__], ids=lambda cls: cls.__name__
)
def test_embeddings_are_limited(cls: Any) -> None:
    """By the same limits."""
    vectors = {
        "data": [{"index": 0, "embedding": [0.5]}],
        "output": {"embeddings": [{"text_index": 0, "index": 0, "embedding": [0.5]}]},
    }
    timed = Timed(reply_json(200, vectors))
    with Loopback(timed) as server:
        model = cls(base_url=server.url, max_retries=0, requests_per_minute=600)
        embed = model.embed_query if hasattr(model, "embed_query") else model.get_text_embedding
        for _ in range(2):
            embed("hello")
    assert next(timed.gaps) > 0.03


@pytest.mark.parametrize("cls", EVERY_CLASS, ids=lambda cls: f"{cls.__module__.split('_')[0]}-{cls.__name__}")
def test_the_fields(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class has them. They are pickled, and 0 raises an error."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-some-key")
    model = {} if "model" not in cls.model_fields or "Rerank" in cls.__name__ else {"model": "qwen-plus"}
    made = pickle.loads(pickle.dumps(cls(**model, requests_per_minute=60, tokens_per_minute=100_000)))
    assert (made.requests_per_minute, made.tokens_per_minute) == (60, 100_000)
    for name in ("requests_per_minute", "tokens_per_minute"):
        for value in (0, -1, float("nan"), "many"):
            with pytest.raises(ValueError, match=name):
                cls(**model, **{name: value})


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
async def test_limits_cannot_be_set_per_call(adapter: Any) -> None:
    """They are settings of the object."""
    with Loopback(HELLO) as server, pytest.raises(ConfigurationError, match="is a setting of the model object"):
        await adapter.call(adapter.chat(server), adapter.WAYS[0], requests_per_minute=5)


class Counting(LangChainRateLimiter, LlamaIndexRateLimiter):
    """A rate limiter of either framework that counts its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked += 1
        return True

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
async def test_the_frameworks_rate_limiter(adapter: Any) -> None:
    """It is called once per call, in addition to the limits."""
    limiter, timed = Counting(), Timed()
    with Loopback(timed) as server:
        llm = adapter.chat(server, rate_limiter=limiter, **LIMIT)
        for way in adapter.WAYS:
            await adapter.call(llm, way)
    assert limiter.asked == len(adapter.WAYS) == len(timed.times)
    assert timed.times[-1] - timed.times[0] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("cls", [ChatModelStudio, ModelStudio])
async def test_300_prompts_at_60_per_second(cls: Any) -> None:
    """All succeed in about the ideal time, with abatch and with tasks."""
    prompts = [f"prompt {number}" for number in range(300)]
    with limited.running(3600) as base_url:
        llm = cls(model="qwen-plus", base_url=base_url, requests_per_minute=3600)
        began = time.monotonic()
        if cls is ChatModelStudio:
            answers = [answer.text for answer in await llm.abatch(prompts)]
        else:
            answers = [answer.text for answer in await asyncio.gather(*map(llm.acomplete, prompts))]
        seconds = time.monotonic() - began
        counts = limited.counted(base_url)
    assert answers == prompts
    assert 300 / 60 < seconds < 1.1 * 300 / 60 + 3  # to begin, on a busy machine
    assert counts["requests"] - counts["refused"] == 300
