"""Test cases of rerank, run by the tests of both adapters, sync and async; see `tests.embedding_cases`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from modelstudio_core import errors
from tests.loopback import Exchange, Loopback, reply_json
from tests.retrieval import RERANK, THROTTLED, failing, inputs, relevance, service

Scores = list[tuple[str, float]]
QUERY = "What do big dogs do?"
TEXTS = ["cats purr", "dogs bark", "dogs do", "what birds do"]
BEST: Scores = [("dogs do", 2 / 4), ("what birds do", 2 / 4), ("dogs bark", 1 / 4), ("cats purr", 0.0)]


@dataclass(frozen=True)
class Adapter:
    """Creates a model and ranks texts, sync and async, as (text, score), the best first."""

    make: Callable[..., Any]
    rank: Callable[[Any, list[str], str], Scores]
    arank: Callable[[Any, list[str], str], Awaitable[Scores]]


@dataclass(frozen=True)
class Run:
    """An adapter and a way."""

    adapter: Adapter
    way: str

    def make(self, server: Loopback, **settings: Any) -> Any:
        return self.adapter.make(**{"base_url": server.url, "max_retries": 0, **settings})

    async def rank(self, model: Any, texts: list[str], query: str = QUERY) -> Scores:
        if self.way == "sync":
            return self.adapter.rank(model, texts, query)
        return await self.adapter.arank(model, texts, query)


Case = Callable[[Run], Awaitable[None]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    CASES.append(function)
    return function


ENDPOINTS = {
    "qwen3-rerank": "compatible",
    "qwen3.7-text-rerank": "native",
    "qwen3-vl-rerank": "native",
    "gte-rerank-v2": "native",
    "some-other-rerank": "native",
}


@case
async def every_model_at_the_endpoint_that_has_it(run: Run) -> None:
    """Regardless of the protocol and the path of base_url."""
    for model, endpoint in ENDPOINTS.items():
        for protocol in ("openai", "dashscope"):
            for path in ("", "/compatible-mode/v1", "/api/v1"):
                with Loopback(service) as server:
                    made = run.make(server, model=model, protocol=protocol, base_url=server.url + path)
                    assert await run.rank(made, TEXTS) == BEST
                    assert server.requests[0].path == RERANK[endpoint]


@case
async def a_gateway_s_prefix_stays(run: Run) -> None:
    """Only the known suffix is replaced."""
    with Loopback(service) as server:
        await run.rank(run.make(server, base_url=f"{server.url}/llm/compatible-mode/v1"), TEXTS)
        await run.rank(run.make(server, base_url=f"{server.url}/gateway"), TEXTS)
        assert [request.path for request in server.requests] == [
            "/llm/compatible-api/v1/reranks", "/gateway/compatible-api/v1/reranks",
        ]  # fmt: skip


@case
async def what_is_sent(run: Run) -> None:
    """Flat for the compatible endpoint, in `input` and `parameters` for the native one; only what was set."""
    asked = {"query": QUERY, "documents": TEXTS}
    with Loopback(service) as server:
        await run.rank(run.make(server), TEXTS)
        await run.rank(run.make(server, top_n=2, instruct="Find facts.", extra_body={"new": 1}), TEXTS)
        await run.rank(run.make(server, model="qwen3.7-text-rerank"), TEXTS)
        await run.rank(run.make(server, endpoint="native", top_n=2, instruct="Find facts."), TEXTS)
        assert [request.json() for request in server.requests] == [
            {"model": "qwen3-rerank", **asked},
            {"model": "qwen3-rerank", **asked, "top_n": 2, "instruct": "Find facts.", "new": 1},
            {"model": "qwen3.7-text-rerank", "input": asked},
            {"model": "qwen3-rerank", "input": asked, "parameters": {"top_n": 2, "instruct": "Find facts."}},
        ]


@case
async def top_n_is_how_many_come_back(run: Run) -> None:
    """Even if the service returns more. If it exceeds the number of documents, all are returned."""
    results = [{"index": at, "relevance_score": score} for at, score in enumerate((0.0, 0.25, 0.5, 0.5))]
    with Loopback(reply_json(200, {"results": results})) as server:
        for top_n, expected in ((1, BEST[:1]), (3, BEST[:3]), (9, BEST), (None, BEST)):
            assert await run.rank(run.make(server, top_n=top_n), TEXTS) == expected


@case
async def a_blank_model_id_is_refused(run: Run) -> None:
    """On creation."""
    with Loopback(service) as server, pytest.raises(errors.ConfigurationError, match="is not a model id"):
        run.make(server, model=" ")


@case
async def no_documents_are_no_request(run: Run) -> None:
    """An empty list returns an empty list."""
    with Loopback(service) as server:
        assert await run.rank(run.make(server), []) == []
        assert server.requests == []


@case
async def empty_documents_are_named(run: Run) -> None:
    """By position, before anything is sent; also an empty query."""
    with Loopback(service) as server:
        for empty in ("", "  \n"):
            with pytest.raises(errors.ConfigurationError, match="document 2 is empty") as caught:
                await run.rank(run.make(server), ["a", "b", empty, "d"])
            assert caught.value.inputs == (2,)
            with pytest.raises(errors.ConfigurationError, match="the query is empty") as caught:
                await run.rank(run.make(server), TEXTS, empty)
            assert caught.value.inputs == ()
        assert server.requests == []


@case
async def instruct_where_a_model_takes_none(run: Run) -> None:
    """It raises an error with its name."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="gte-rerank-v2 does not support instruct"):
            await run.rank(run.make(server, model="gte-rerank-v2", instruct="Find facts."), TEXTS)
        assert server.requests == []


def numbered(count: int) -> list[str]:
    """Return documents of which numbers 100 to 104 are the most relevant."""
    good = {100: "what do dogs do", 101: "do dogs what", 102: "dogs do it", 103: "dogs bark", 104: "dogs do"}
    return [f"{good.get(number, 'cats')} n{number}" for number in range(count)]


@case
async def more_documents_than_fit_are_an_error(run: Run) -> None:
    """It has the limit, and how to rank them."""
    for model, limit in (("qwen3-rerank", 500), ("gte-rerank-v2", 500), ("qwen3-vl-rerank", 100)):
        with Loopback(service) as server:
            with pytest.raises(errors.ConfigurationError, match=f"{limit} documents.*split=True"):
                await run.rank(run.make(server, model=model), numbered(limit + 1))
            assert server.requests == []
            await run.rank(run.make(server, model=model), numbered(limit))


@case
async def more_tokens_than_fit_are_an_error(run: Run) -> None:
    """If that is certain: query tokens times documents, plus those of the documents."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="30000 tokens"):
            await run.rank(run.make(server, model="gte-rerank-v2"), ["word " * 1000] * 31)
        with pytest.raises(errors.ConfigurationError, match="30000 tokens"):
            await run.rank(run.make(server, model="gte-rerank-v2"), ["word"] * 400, "word " * 100)
        assert server.requests == []
        await run.rank(run.make(server, model="gte-rerank-v2"), ["word " * 9000])  # the service reads 4,000


@case
async def a_tournament(run: Run) -> None:
    """The best of each request are ranked again, until one request has all. Its scores are returned."""
    texts = numbered(1200)
    with Loopback(service) as server:
        best = await run.rank(run.make(server, split=True, top_n=4), texts)
        sizes = [len(inputs(request)) for request in server.requests]
    assert sorted(sizes[:3]) == [200, 500, 500]
    assert sizes[3:] == [12]
    assert best == [(texts[at], relevance(QUERY, texts[at])) for at in (100, 101, 102, 104)]


@case
async def a_tournament_of_several_rounds(run: Run) -> None:
    """If the best do not fit into one request."""
    texts = numbered(105)
    with Loopback(service) as server:
        best = await run.rank(run.make(server, split=True, top_n=2, capabilities={"max_documents": 5}), texts)
        sizes = [len(inputs(request)) for request in server.requests]
    # of the 42 winners of the first round, the last two are a group that all go on from, so it is not asked about
    rounds = [sizes[:21], sizes[21:29], sizes[29:33], sizes[33:35], sizes[35:]]
    assert [*map(sorted, rounds)] == [[5] * 21, [5] * 8, [3, 5, 5, 5], [3, 5], [4]]
    assert best == [(texts[at], 0.75) for at in (100, 101)]


@case
async def split_changes_nothing_where_all_fit(run: Run) -> None:
    """All documents are in one request."""
    with Loopback(service) as server:
        assert await run.rank(run.make(server, split=True), TEXTS) == BEST
        assert len(server.requests) == 1


@case
async def a_tournament_needs_a_small_top_n(run: Run) -> None:
    """Otherwise an error is raised before anything is sent."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="split=True needs top_n"):
            await run.rank(run.make(server, split=True), numbered(501))
        with pytest.raises(errors.ConfigurationError, match="top_n=499 is too large"):
            await run.rank(run.make(server, split=True, top_n=499), numbered(2000))
        with pytest.raises(errors.ConfigurationError, match="top_n=600 is too large"):
            await run.rank(run.make(server, split=True, top_n=600), numbered(2000))
        assert server.requests == []


@case
async def throttling_repeats_that_request_alone(run: Run) -> None:
    """Also in a tournament."""
    throttled = reply_json(429, THROTTLED, {"retry-after-ms": "1"})
    texts = numbered(1200)
    with Loopback(failing(lambda batch: texts[700] in batch, throttled, times=1)) as server:
        best = await run.rank(run.make(server, split=True, top_n=4, max_retries=1), texts)
        assert [text for text, _ in best] == [texts[at] for at in (100, 101, 102, 104)]
        assert len(server.requests) == 5


@case
async def usage_is_reported_for_each_request(run: Run) -> None:
    """To the callback, with the model."""
    told: list[tuple[str, int]] = []
    with Loopback(service) as server:
        model = run.make(server, split=True, top_n=4, usage_callback=lambda name, tokens: told.append((name, tokens)))
        await run.rank(model, numbered(600))
    assert sorted(told) == [("qwen3-rerank", 80), ("qwen3-rerank", 1000), ("qwen3-rerank", 5000)]


BROKEN = {
    "too few": {"results": [{"index": 0, "relevance_score": 0.5}]},
    "the same twice": {"results": [{"index": 0, "relevance_score": 0.5}] * 4},
    "an index that was not sent": {"results": [{"index": at, "relevance_score": 0.5} for at in (0, 1, 2, 7)]},
    "no score": {"results": [{"index": at} for at in range(4)]},
    "a score that is none": {"results": [{"index": at, "relevance_score": "high"} for at in range(4)]},
    "no results": {"results": None},
    "nothing": {},
}


@case
async def a_missing_score_is_an_error(run: Run) -> None:
    """Documents are never left out."""
    for body in BROKEN.values():
        for model in ("qwen3-rerank", "gte-rerank-v2"):
            answer = reply_json(200, {**body, "output": body})
            with Loopback(answer) as server, pytest.raises(errors.ProtocolError):
                await run.rank(run.make(server, model=model), TEXTS)


@case
async def an_error_code_in_a_200(run: Run) -> None:
    """It raises that error, also beside results."""
    results = [{"index": at, "relevance_score": 0.5} for at in range(4)]
    for model in ("qwen3-rerank", "gte-rerank-v2"):
        body = {**THROTTLED, "results": results, "output": {"results": results}}
        with Loopback(reply_json(200, body)) as server, pytest.raises(errors.RateLimitError, match="rate limit"):
            await run.rank(run.make(server, model=model), TEXTS)


@case
async def refusals_are_typed(run: Run) -> None:
    """By code and status."""
    said = {"code": "InvalidParameter", "message": "Model not exist.", "request_id": "r-1"}

    def script(exchange: Exchange) -> None:
        reply_json(400, said)(exchange)

    with Loopback(script) as server, pytest.raises(errors.BadRequestError, match="Model not exist") as caught:
        await run.rank(run.make(server, model="gte-rerank-v2"), TEXTS)
    assert (caught.value.status_code, caught.value.request_id) == (400, "r-1")


@case
async def a_misspelt_model(run: Run) -> None:
    """A 404 suggests a listed ID that is similar, and otherwise has the general advice only. Other errors do not."""
    rows = (
        ("qwen3-rerankk", "qwen3-rerank"),
        ("GTE-Rerank-V2", "gte-rerank-v2"),
        ("my-own-model", None),
        ("qwen3-rerank", None),
    )
    refusal = reply_json(404, {"code": "ModelNotFound", "message": "The model does not exist."})
    with Loopback(refusal) as server:
        for asked, meant in rows:
            with pytest.raises(errors.NotFoundError, match="case-sensitive") as caught:
                await run.rank(run.make(server, model=asked), TEXTS)
            assert caught.value.args == (caught.value.message,)
            assert ("Did you mean" in caught.value.message) == (meant is not None)
            assert meant is None or f"Did you mean {meant}?" in caught.value.message
    with Loopback(reply_json(400, {"code": "InvalidParameter", "message": "The request is invalid."})) as server:
        with pytest.raises(errors.BadRequestError) as other:
            await run.rank(run.make(server, model="qwen3-rerankk"), TEXTS)
        assert "Did you mean" not in other.value.message
