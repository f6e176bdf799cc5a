"""An `api_key` that is a function, called for each request."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from langchain_core.load import dumpd
from pydantic import SecretStr

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.errors import AuthenticationError, ConfigurationError
from tests.faults.ways import WAYS, Way
from tests.loopback import Exchange, Loopback, reply_json
from tests.native import is_native
from tests.reported.calls import answers, each, every_protocol, model

every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


class Keys:
    """A key function that returns a new key each time."""

    def __init__(self) -> None:
        self.asked = 0

    def next(self) -> str:
        self.asked += 1
        return f"sk-rotating-{self.asked}"

    async def anext(self) -> str:
        return self.next()

    def secret(self) -> SecretStr:
        return SecretStr(self.next())

    def awaitable(self) -> Any:
        return self.anext()

    def __call__(self) -> str:
        return self.next()


class AsyncKeys(Keys):
    async def __call__(self) -> str:  # type: ignore[override]
        return self.next()


def throttled(exchange: Exchange) -> None:
    said = {"code": "Throttling", "message": "Slow down."}
    body = said if is_native(exchange.request) else {"error": said}
    reply_json(429, body, {"retry-after": "0"})(exchange)


def sent_keys(server: Loopback) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


SYNC_PROVIDERS: dict[str, Callable[[Keys], Any]] = {
    "method": lambda keys: keys.next,
    "object": lambda keys: keys,
    "partial": lambda keys: partial(Keys.next, keys),
    "SecretStr": lambda keys: keys.secret,
    "lambda": lambda keys: lambda: f" {keys.next()}\n",
}
ASYNC_PROVIDERS: dict[str, Callable[[Keys], Any]] = {
    "method": lambda keys: keys.anext,
    "partial": lambda keys: partial(Keys.anext, keys),
    "lambda": lambda keys: lambda: keys.anext(),
    "awaitable": lambda keys: keys.awaitable,
}
ASYNC_WAYS = [way for way in WAYS if way.name.startswith("a")]
SYNC_WAYS = [way for way in WAYS if not way.name.startswith("a")]


@pytest.mark.report(20)
@every_protocol
@every_way
@pytest.mark.parametrize("provider", SYNC_PROVIDERS.values(), ids=list(SYNC_PROVIDERS))
@pytest.mark.rotated
async def test_a_key_function_is_called_per_request(provider: Callable[[Keys], Any], way: Way, protocol: str) -> None:
    """Including retries."""
    keys = Keys()
    with Loopback([throttled, answers]) as server:
        llm = model(way.make, server, api_key=provider(keys), protocol=protocol, max_retries=1)
        assert keys.asked == 0
        for _ in range(2):
            assert (await way(llm)).error is None
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2", "sk-rotating-3"]


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(
    "provider", [*ASYNC_PROVIDERS.values(), lambda keys: AsyncKeys()], ids=[*ASYNC_PROVIDERS, "object"]
)
@pytest.mark.rotated
async def test_an_async_function_is_awaited(provider: Callable[[Keys], Any], way: Way, protocol: str) -> None:
    """In the caller's event loop."""
    with Loopback([throttled, answers]) as server:
        llm = model(way.make, server, api_key=provider(Keys()), protocol=protocol, max_retries=1)
        assert (await way(llm)).error is None
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2"]


@pytest.mark.report(20)
@pytest.mark.parametrize("way", SYNC_WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(
    "provider", [*ASYNC_PROVIDERS.values(), lambda keys: AsyncKeys()], ids=[*ASYNC_PROVIDERS, "object"]
)
async def test_an_async_function_in_a_sync_call(provider: Callable[[Keys], Any], way: Way) -> None:
    """It raises an error, because a sync call cannot await it."""
    with Loopback(answers) as server:
        error = (await way(model(way.make, server, api_key=provider(Keys())))).error
        assert isinstance(error, ConfigurationError)
        assert "use the async methods" in error.message
        assert not server.requests
    gc.collect()  # a coroutine that nobody awaited would warn here


def raises() -> str:
    raise RuntimeError("the vault is closed")


BAD_KEYS: list[tuple[str, Any, str]] = [
    ("raises", raises, "RuntimeError: the vault is closed"),
    ("none", lambda: None, "returned NoneType"),
    ("a number", lambda: 7, "returned int"),
    ("empty", lambda: "", "the API key is empty"),
    ("a line end inside", lambda: "sk-a\nb", "invalid characters"),
]


@pytest.mark.report(20)
@every_way
@pytest.mark.parametrize(("provider", "says"), [row[1:] for row in BAD_KEYS], ids=[row[0] for row in BAD_KEYS])
@pytest.mark.rotated
async def test_a_key_function_without_a_result(provider: Any, says: str, way: Way) -> None:
    """The error describes the result, and nothing is sent."""
    with Loopback(answers) as server:
        error = (await way(model(way.make, server, api_key=provider, max_retries=2))).error
        assert isinstance(error, ConfigurationError)
        assert says in error.message
        assert not server.requests


@pytest.mark.report(20)
@every_protocol
@every_way
async def test_the_key_of_an_attempt_is_redacted(way: Way, protocol: str) -> None:
    """Errors contain no key of this or an earlier attempt."""

    def echo(exchange: Exchange) -> None:
        said = {"code": "InvalidApiKey", "message": f"No: {exchange.request.headers['authorization']}"}
        reply_json(401, said if is_native(exchange.request) else {"error": said})(exchange)

    with Loopback([throttled, echo]) as server:
        error = (await way(model(way.make, server, api_key=Keys(), protocol=protocol, max_retries=1))).error
    assert isinstance(error, AuthenticationError)
    assert "Bearer [redacted]" in error.message
    assert "rotating" not in repr(vars(error)) + str(error)


@pytest.mark.report(20)
@pytest.mark.parametrize("name", ["get_text_embedding", "aget_text_embedding"])
async def test_embeddings_call_the_key_function(name: str) -> None:
    """For each request."""

    def embeds(exchange: Exchange) -> None:
        reply_json(200, {"data": [{"index": 0, "embedding": [1.0]}]})(exchange)

    with Loopback([throttled, embeds]) as server:
        embedding = ModelStudioEmbedding(  # type: ignore[call-arg]
            model="text-embedding-v4", base_url=server.url, api_key=Keys(), max_retries=1
        )
        assert await each(getattr(embedding, name)("a")) == [1.0]
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2"]


@pytest.mark.report(20)
@pytest.mark.parametrize("make", [ChatModelStudio, ModelStudio, ModelStudioEmbedding])
def test_a_key_function_is_treated_like_a_key(make: Any) -> None:
    """Copies share it, serialized forms omit it, and plain http is rejected."""
    keys = Keys()
    llm = make(model="qwen-plus", api_key=keys, base_url="http://127.0.0.1:9")
    assert copy.deepcopy(llm).api_key is keys
    assert llm.model_copy().api_key is keys
    assert "Keys" not in repr(llm) + str(llm.model_dump())
    if make is ChatModelStudio:
        assert dumpd(llm)["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["DASHSCOPE_API_KEY"]}
    if make is not ChatModelStudio:  # a field of langchain-core has no schema
        assert "api_key" in make.model_json_schema()["properties"]
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        make(model="qwen-plus", api_key=keys, base_url="http://10.0.0.1/v1")
    assert keys.asked == 0
