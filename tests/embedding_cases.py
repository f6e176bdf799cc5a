"""Test cases of embeddings, run by the tests of both adapters, sync and async, with both protocols.

Each case is a coroutine with a one-line docstring. An `Adapter` creates a model and embeds texts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from modelstudio_core import errors
from modelstudio_core.retrieval import embedding_model
from tests.loopback import Exchange, Loopback, reply_json
from tests.retrieval import THROTTLED, Crowd, failing, inputs, service, vector

WAYS = ("sync", "async")
PROTOCOLS = ("openai", "dashscope")
MODELS = ("text-embedding-v1", "text-embedding-v2", "text-embedding-v3", "text-embedding-v4",
          "qwen3.7-text-embedding", "qwen3.7-text-embedding-flash")  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """Creates a model, embeds documents (sync and async), and embeds a query."""

    make: Callable[..., Any]
    embed: Callable[[Any, list[str]], list[list[float]]]
    aembed: Callable[[Any, list[str]], Awaitable[list[list[float]]]]
    query: Callable[[Any, str], list[float]]
    aquery: Callable[[Any, str], Awaitable[list[float]]]


@dataclass(frozen=True)
class Run:
    """One adapter, way and protocol."""

    adapter: Adapter
    way: str
    protocol: str

    def make(self, server: Loopback, **settings: Any) -> Any:
        return self.adapter.make(base_url=server.url, **{"protocol": self.protocol, "max_retries": 0, **settings})

    async def embed(self, model: Any, texts: list[str]) -> list[list[float]]:
        return self.adapter.embed(model, texts) if self.way == "sync" else await self.adapter.aembed(model, texts)

    async def query(self, model: Any, text: str) -> list[float]:
        return self.adapter.query(model, text) if self.way == "sync" else await self.adapter.aquery(model, text)


Case = Callable[[Run], Awaitable[None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


def numbered(count: int) -> list[str]:
    return [f"text number {number}" for number in range(count)]


@case
async def every_text_has_its_vector_in_order(run: Run) -> None:
    """With as few requests as the row limit allows."""
    for name in MODELS:
        rows = embedding_model(name).max_rows
        texts = numbered(2 * rows + 3)
        with Loopback(service) as server:
            assert await run.embed(run.make(server, model=name), texts) == [*map(vector, texts)]
            sizes = sorted(len(inputs(request)) for request in server.requests)
        assert sizes == [3, rows, rows]


@case
async def vectors_are_lists_of_floats(run: Run) -> None:
    """Even if the service sends integers."""
    whole = reply_json(200, {"data": [{"index": 0, "embedding": [0, 1, -2]}],
                             "output": {"embeddings": [{"text_index": 0, "embedding": [0, 1, -2]}]}})  # fmt: skip
    with Loopback(whole) as server:
        [found] = await run.embed(run.make(server), ["a"])
    assert [(type(number), number) for number in found] == [(float, 0.0), (float, 1.0), (float, -2.0)]


@case
async def no_texts_are_no_request(run: Run) -> None:
    """An empty list returns an empty list."""
    with Loopback(service) as server:
        assert await run.embed(run.make(server), []) == []
        assert server.requests == []


@case
async def requests_are_sent_at_once_up_to_max_concurrency(run: Run) -> None:
    """Four of twelve at a time. The vectors are in order."""
    crowd, texts = Crowd(wanted=4), numbered(117)
    with Loopback(crowd) as server:
        assert await run.embed(run.make(server, max_concurrency=4), texts) == [*map(vector, texts)]
        assert len(server.requests) == 12
    assert crowd.most == 4


@case
async def sixteen_requests_at_once_by_default(run: Run) -> None:
    """If there are as many."""
    crowd = Crowd(wanted=16)
    with Loopback(crowd) as server:
        await run.embed(run.make(server), numbered(400))
    assert crowd.most == 16


@case
async def one_at_a_time(run: Run) -> None:
    """max_concurrency=1 sends them in order."""
    with Loopback(service) as server:
        await run.embed(run.make(server, max_concurrency=1), numbered(25))
        assert [inputs(request)[0] for request in server.requests] == [f"text number {at}" for at in (0, 10, 20)]
        assert server.connections == 1


@case
async def throttling_in_the_middle_repeats_that_request_alone(run: Run) -> None:
    """After a 429, no other request is sent twice."""
    texts = numbered(95)
    throttled = reply_json(429, THROTTLED, {"retry-after-ms": "1"})
    with Loopback(failing(lambda batch: "text number 40" in batch, throttled, times=2)) as server:
        assert await run.embed(run.make(server, max_retries=2), texts) == [*map(vector, texts)]
        sent = [tuple(inputs(request)) for request in server.requests]
    assert len(sent) == 12
    assert {batch for batch in sent if sent.count(batch) > 1} == {tuple(texts[40:50])}


@case
async def the_first_error_is_raised_and_stops_the_rest(run: Run) -> None:
    """It has the inputs of the request. No further requests are started."""
    refused = reply_json(400, {"code": "InvalidParameter", "message": "Bad text.", "request_id": "r-1"})
    with Loopback(failing(lambda batch: "text number 25" in batch, refused)) as server:
        with pytest.raises(errors.BadRequestError, match="inputs 20 to 29") as caught:
            await run.embed(run.make(server, max_concurrency=2), numbered(1000))
        assert len(server.requests) < 20
    assert caught.value.inputs == tuple(range(20, 30))
    assert (caught.value.code, caught.value.request_id) == ("InvalidParameter", "r-1")


@case
async def an_error_is_raised_while_others_still_wait(run: Run) -> None:
    """A hanging request does not delay it."""

    def script(exchange: Exchange) -> None:
        if "text number 15" in inputs(exchange.request):
            reply_json(401, {"code": "InvalidApiKey", "message": "Wrong key."})(exchange)
        else:
            exchange.wait(30)

    with Loopback(script) as server, pytest.raises(errors.AuthenticationError):
        await asyncio.wait_for(run.embed(run.make(server), numbered(50)), timeout=10)


BAD: dict[str, tuple[Any, str]] = {
    "empty": ("", "text 12 is empty"),
    "blank": (" \n\t\u3000", "text 12 is empty"),
    "token ids": ([101, 7592, 102], "text 12 is of type list, not str"),
    "half a surrogate pair": ("a \ud83d", "text 12 has a lone surrogate at character 2"),
    "None": (None, "text 12 is of type NoneType, not str"),
    "too long": ("word " * 9000, "text 12 has at least .* tokens, but text-embedding-v4 accepts 8192"),
}


@case
async def a_bad_text_is_named_before_anything_is_sent(run: Run) -> None:
    """With its position."""
    for bad, message in BAD.values():
        texts: list[Any] = numbered(30)
        texts[12] = bad
        with Loopback(service) as server:
            with pytest.raises(errors.ConfigurationError, match=message) as caught:
                await run.embed(run.make(server), texts)
            assert caught.value.inputs == (12,)
            assert server.requests == []


@case
async def a_single_str_is_no_list_of_texts(run: Run) -> None:
    """It is not embedded per character."""
    with Loopback(service) as server, pytest.raises(errors.ConfigurationError, match="list of texts"):
        await run.embed(run.make(server), "hello")  # type: ignore[arg-type]  # that is the test


@case
async def an_empty_query_is_refused(run: Run) -> None:
    """Like an empty document."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="is empty"):
            await run.query(run.make(server), " ")
        assert server.requests == []


@case
async def a_long_text_within_the_limit_is_sent(run: Run) -> None:
    """It is not truncated or rejected."""
    text = "word " * 8000
    with Loopback(service) as server:
        await run.embed(run.make(server), [text])
        assert inputs(server.requests[0]) == [text]


@case
async def a_token_limit_per_request_splits(run: Run) -> None:
    """If the service has one. Texts are never truncated."""
    texts = ["word " * 40] * 5
    with Loopback(service) as server:
        model = run.make(server, capabilities={"max_request_tokens": 100}, max_concurrency=1)
        assert await run.embed(model, texts) == [*map(vector, texts)]
        assert [len(inputs(request)) for request in server.requests] == [2, 2, 1]


@case
async def usage_is_reported_for_each_request(run: Run) -> None:
    """To the callback with the model, in the calling thread."""
    told: list[tuple[str, int, int]] = []
    with Loopback(service) as server:
        model = run.make(server, usage_callback=lambda name, tokens: told.append((name, tokens, threading.get_ident())))
        await run.embed(model, numbered(25))
        await run.query(model, "hello")
    assert sorted(told) == sorted(("text-embedding-v4", tokens, threading.get_ident()) for tokens in (1, 15, 30, 30))


@case
async def a_query_is_told_from_a_document(run: Run) -> None:
    """With text_type in the native protocol. `instruct` is for queries. The compatible protocol has neither."""
    with Loopback(service) as server:
        native = run.protocol == "dashscope"
        model = run.make(server, dimensions=64, **({"instruct": "Find facts."} if native else {}))
        assert await run.embed(model, ["hello"]) == [vector("hello", 64)]
        assert await run.query(model, "hello") == vector("hello", 64)
        document, query = (request.json() for request in server.requests)
    if native:
        assert document["parameters"] == {"dimension": 64, "text_type": "document"}
        assert query["parameters"] == {"dimension": 64, "text_type": "query", "instruct": "Find facts."}
    else:
        plain = {"model": "text-embedding-v4", "input": ["hello"], "encoding_format": "float", "dimensions": 64}
        assert document == query == plain


@case
async def one_text_type_for_all(run: Run) -> None:
    """For tasks without queries, such as clustering."""
    with Loopback(service) as server:
        if run.protocol == "openai":
            with pytest.raises(errors.ConfigurationError, match=r'text_type.*protocol="dashscope"'):
                run.make(server, text_type="document")
            with pytest.raises(errors.ConfigurationError, match=r'instruct.*protocol="dashscope"'):
                run.make(server, instruct="Find facts.")
            return
        model = run.make(server, text_type="document")
        await run.query(model, "hello")
        assert server.requests[0].json()["parameters"] == {"text_type": "document"}


@case
async def dimensions_that_the_model_does_not_have(run: Run) -> None:
    """They raise an error on creation, with the valid ones."""
    with Loopback(service) as server:
        for name, size in (("text-embedding-v4", 100), ("text-embedding-v2", 512), ("text-embedding-v3", 2048)):
            with pytest.raises(errors.ConfigurationError, match=f"dimensions={size}: {name} has"):
                run.make(server, model=name, dimensions=size)
        run.make(server, model="some-other-model", dimensions=100)


@case
async def an_error_code_in_a_200(run: Run) -> None:
    """It raises that error, also beside vectors."""
    body = {"code": "Throttling", "message": "Busy.", "data": [{"index": 0, "embedding": [1.0]}],
            "output": {"embeddings": [{"text_index": 0, "embedding": [1.0]}]}}  # fmt: skip
    with Loopback(reply_json(200, body)) as server, pytest.raises(errors.RateLimitError, match="Busy"):
        await run.embed(run.make(server), ["a"])


@case
async def vectors_of_different_requests_have_one_length(run: Run) -> None:
    """Otherwise an error is raised, because they cannot be compared."""

    def script(exchange: Exchange) -> None:
        size = 3 if "text number 0" in inputs(exchange.request) else 2
        items = [{"index": at, "text_index": at, "embedding": [1.0] * size} for at in range(10)]
        reply_json(200, {"data": items, "output": {"embeddings": items}})(exchange)

    with Loopback(script) as server, pytest.raises(errors.ProtocolError, match="lengths: 2, 3"):
        await run.embed(run.make(server), numbered(20))


@case
async def an_unknown_setting_is_named(run: Run) -> None:
    """Unknown facts as well."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="dimension: did you mean dimensions"):
            run.make(server, dimension=64)
        with pytest.raises(errors.ConfigurationError, match="is not a model id"):
            run.make(server, model=" ")
        with pytest.raises(errors.ConfigurationError, match="'rows' is unknown"):
            await run.embed(run.make(server, capabilities={"rows": 3}), ["a"])
        await run.embed(run.make(server, capabilities={"max_rows": 3}, max_concurrency=1), numbered(7))
        assert [len(inputs(request)) for request in server.requests] == [3, 3, 1]


@case
async def a_misspelt_model(run: Run) -> None:
    """A 404 suggests a listed ID that is similar, and otherwise has the general advice only. Other errors do not."""
    rows = (
        ("text-embeding-v4", "text-embedding-v4"),
        ("Qwen3-VL-Embedding", "qwen3-vl-embedding"),
        ("my-own-model", None),
        ("text-embedding-3-small", None),  # another vendor's, not a misspelt text-embedding-v3
        ("text-embedding-v4", None),
    )
    refusal = reply_json(404, {"code": "ModelNotFound", "message": "The model does not exist."})
    with Loopback(refusal) as server:
        for asked, meant in rows:
            with pytest.raises(errors.NotFoundError, match="case-sensitive") as caught:
                await run.embed(run.make(server, model=asked), ["a"])
            assert caught.value.args == (caught.value.message,)
            assert ("Did you mean" in caught.value.message) == (meant is not None)
            assert meant is None or f"Did you mean {meant}?" in caught.value.message
    with Loopback(reply_json(400, {"code": "InvalidParameter", "message": "The request is invalid."})) as server:
        with pytest.raises(errors.BadRequestError) as other:
            await run.embed(run.make(server, model="text-embeding-v4"), ["a"])
        assert "Did you mean" not in other.value.message


@case
async def a_refusal_has_the_positions_in_a_sentence(run: Run) -> None:
    """Also after a message of the service without a full stop."""
    with Loopback(reply_json(400, {"code": "InvalidParameter", "message": "the input is invalid"})) as server:
        with pytest.raises(errors.BadRequestError) as caught:
            await run.embed(run.make(server, model="text-embedding-v4"), numbered(30))
        first, last = caught.value.inputs[0], caught.value.inputs[-1]
    assert caught.value.message == f"the input is invalid. The request contained inputs {first} to {last}."
    assert caught.value.args == (caught.value.message,)
