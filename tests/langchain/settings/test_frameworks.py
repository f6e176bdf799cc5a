"""LangChain features around a model: caches, configurable fields, retries, rate limits."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import RateLimitError
from modelstudio_core.http import pool, shared_pools
from tests.langchain.service import WAYS, call, chat, pieces_of
from tests.langchain.settings.models import HELLO, KEY, several
from tests.loopback import Loopback, reply_json
from tests.service import sent

BUSY = reply_json(429, {"error": {"message": "slow down", "code": "Throttling.RateQuota"}})


async def test_cache_keys() -> None:
    """They include every setting that affects the answer."""
    cache = InMemoryCache()
    different: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"model": "qwen-max"}, {}),
        ({}, {"model": "qwen-max"}),
        ({"enable_thinking": True}, {}),
        ({"enable_thinking": False}, {}),
        ({}, {"enable_thinking": True}),
        ({"temperature": 0}, {}),
        ({"stop": ["x"]}, {}),
        ({}, {"stop": ["y"]}),
        ({"extra_body": {"a": 1}}, {}),
        ({"capabilities": {"thinking": "none"}}, {}),
        ({"reasoning_replay": "never"}, {}),
        ({"response_format": {"type": "json_object"}}, {}),
    ]
    with Loopback(HELLO) as server:
        for count, (settings, options) in enumerate(different, start=1):
            for way in ("invoke", "ainvoke"):
                message = await call(chat(server, cache=cache, **settings), way, **options)
                assert message.text == "hello"
            assert len(server.requests) == count
        # how a call is made, and with which key, changes no answer; yet the key is part of what is serialised by name
        await call(chat(server, cache=cache), "invoke")
        assert len(server.requests) == len(different)


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("sync")
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("async")
        return True


@pytest.mark.parametrize("way", WAYS)
async def test_the_rate_limiter(way: str) -> None:
    """LangChain's rate limiter is called once per call."""
    limiter = Limiter()
    with Loopback(HELLO) as server:
        await call(chat(server, rate_limiter=limiter), way)
    assert limiter.asked == ["async" if way.startswith("a") else "sync"]


@pytest.mark.parametrize("way", WAYS)
async def test_with_retry(way: str) -> None:
    """`with_retry` matches our errors by LangChain's classes. It does not retry streams."""
    with Loopback([BUSY, HELLO]) as server:
        llm = chat(server).with_retry(
            retry_if_exception_type=(RateLimitError,), wait_exponential_jitter=False, stop_after_attempt=2
        )
        if "stream" in way:
            with pytest.raises(RateLimitError):
                await call(llm, way)
        assert (await call(llm, way)).text == "hello"
        assert len(server.requests) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_with_fallbacks(way: str) -> None:
    """`with_fallbacks` continues with the next model."""
    with Loopback(BUSY) as busy, Loopback(HELLO) as server:
        llm = chat(busy).with_fallbacks([chat(server)])
        assert (await call(llm, way)).text == "hello"
        assert (len(busy.requests), len(server.requests)) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_configurable_fields(way: str) -> None:
    """Configured fields are sent, and `stream()` still streams: LangChain creates a new object with all fields set."""
    with Loopback(HELLO) as server:
        fields = {name: ConfigurableField(id=name) for name in ("temperature", "model", "enable_thinking")}
        llm = chat(server, top_p=0.5).configurable_fields(**fields)
        configured = llm.with_config(configurable={"temperature": 0.25, "model": "qwen-max"})
        await call(configured, way)
        assert (sent(server)["temperature"], sent(server)["top_p"], sent(server)["model"]) == (0.25, 0.5, "qwen-max")
        assert bool(sent(server).get("stream")) == ("stream" in way)
        await call(llm, way)
        assert ("temperature" in sent(server), sent(server)["model"]) == (False, "qwen-plus")
        if "stream" in way:
            assert len(await pieces_of(configured, way)) == 3


@pytest.mark.parametrize("way", WAYS)
async def test_configurable_alternatives(way: str) -> None:
    """A model is selected by configuration."""
    with Loopback(HELLO) as server:
        llm = chat(server).configurable_alternatives(ConfigurableField(id="which"), big=chat(server, model="qwen-max"))
        await call(llm.with_config(configurable={"which": "big"}), way)
        assert sent(server)["model"] == "qwen-max"


async def test_an_injected_client_is_used_and_not_closed() -> None:
    """`http_client` and `http_async_client` are not part of dumps."""
    with Loopback(HELLO) as server, httpx.Client(headers={"x-client": "sync"}) as client:
        async with httpx.AsyncClient(headers={"x-client": "async"}) as aclient:
            llm = chat(server, http_client=client, http_async_client=aclient)
            for way in WAYS:
                assert (await call(llm, way)).text == "hello"
            assert [request.headers["x-client"] for request in server.requests] == ["sync", "async"] * 2
            llm.close()
            await llm.aclose()
            assert not client.is_closed
            assert not aclient.is_closed
            assert "http_client" not in dumps(llm) + str(llm.model_dump()) + repr(llm)


async def test_context_managers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They close the object's connections. It opens new ones if used again."""
    with Loopback(HELLO) as server:
        own = pool.ConnectionPool()  # else idle connections of other tests' objects keep the shared one open
        monkeypatch.setattr(shared_pools, "_pool", own)
        monkeypatch.setattr(shared_pools, "_pool_by_loop", weakref.WeakKeyDictionary())
        with chat(server) as llm:
            assert llm.invoke("hello").text == "hello"
            assert server.open_connections == 1
        assert await asyncio.to_thread(server.wait_until, nobody)
        async with chat(server) as llm:
            assert (await llm.ainvoke("hello")).text == "hello"
        assert await asyncio.to_thread(server.wait_until, nobody)
        assert llm.invoke("hello").text == "hello"
        assert (await llm.ainvoke("hello")).text == "hello"
        llm.close()
        await llm.aclose()
        assert await asyncio.to_thread(server.wait_until, nobody)


def nobody(server: Loopback) -> bool:
    return server.open_connections == 0


def test_versions_in_traces() -> None:
    """LangSmith gets the version of this package."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY)
    assert llm.metadata is not None
    assert llm.metadata["lc_versions"].keys() >= {"modelstudio-integrations"}
    assert llm._llm_type == "modelstudio-chat"


@pytest.mark.parametrize("way", WAYS)
async def test_langsmith_options_are_not_sent(way: str) -> None:
    """Options starting with ls_ are for traces only."""
    with Loopback(HELLO) as server:
        await call(chat(server), way, ls_structured_output_format={"kwargs": {}, "schema": None}, ls_other=1)
        assert not [name for name in sent(server) if name.startswith("ls_")]


def test_identifying_params() -> None:
    """Callbacks get model, URL and settings under the service's names."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY, region="beijing", temperature=0.5, enable_thinking=False)
    told = {"model": "qwen-plus", "base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1"}
    assert llm._identifying_params.items() >= {**told, "temperature": 0.5, "enable_thinking": False}.items()


def test_model_overrides_model_name() -> None:
    """If both are passed."""
    assert ChatModelStudio(model="a", model_name="b", api_key=KEY).model == "a"  # type: ignore[call-arg]
    assert ChatModelStudio(model_name="b", api_key=KEY).model == "b"  # type: ignore[call-arg]


async def test_a_changed_http_client() -> None:
    """It is used from then on."""
    with Loopback(HELLO) as server:
        llm = chat(server)
        llm.invoke("x")
        with httpx.Client(headers={"x-client": "injected"}) as client:
            llm.http_client = client
            llm.invoke("x")
        assert [request.headers.get("x-client") for request in server.requests] == [None, "injected"]


class Watcher(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """A handler that LangGraph attaches to receive v3 events of an invoke."""


@pytest.mark.parametrize("answers", [1, 2])
async def test_several_answers_are_not_streamed_as_events(answers: int) -> None:
    """Other invokes with such a handler are."""
    with Loopback(several) as server:
        llm = chat(server, n=answers)
        result = llm.generate([[HumanMessage("x")]], callbacks=[Watcher()])
        assert len(result.generations[0]) == answers
        assert sent(server).get("stream", False) is (answers == 1)
        result = await llm.agenerate([[HumanMessage("x")]], callbacks=[Watcher()])
        assert len(result.generations[0]) == answers
        assert sent(server).get("stream", False) is (answers == 1)
