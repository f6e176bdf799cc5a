"""Embeddings, in both protocols: true async, batches that the service takes, order, and errors that are raised."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode

from llama_index_modelstudio import ModelStudioEmbedding, errors
from tests.loopback import Exchange, Loopback, reply_json

WAYS = ("get_text_embedding_batch", "aget_text_embedding_batch")
PROTOCOLS = ("openai", "dashscope")
KEY = "sk-marked-key-for-tests"


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)))]


def service(exchange: Exchange) -> None:
    """Answers as the service does; not in the order of the texts, which is in the indices."""
    body = exchange.request.json()
    native = "texts" in body["input"] if isinstance(body["input"], dict) else False
    texts = body["input"]["texts"] if native else body["input"]
    index = "text_index" if native else "index"
    items = [{index: at, "embedding": vector(text)} for at, text in enumerate(texts)][::-1]
    said = {"output": {"embeddings": items}, "request_id": "r-1"} if native else {"data": items, "model": body["model"]}
    reply_json(200, {**said, "usage": {"total_tokens": 7}})(exchange)


def embedding(server: Loopback, **settings: Any) -> ModelStudioEmbedding:
    return ModelStudioEmbedding(base_url=server.url, **{"max_retries": 0, **settings})


async def vectors(model: ModelStudioEmbedding, way: str, texts: list[str]) -> list[list[float]]:
    found = getattr(model, way)(texts)
    result: list[list[float]] = await found if way.startswith("a") else found
    return result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("model", "sizes"),
    [("text-embedding-v4", [10, 10, 7]), ("text-embedding-v2", [25, 2]), ("no-such-model", [10, 10, 7])],
)
async def test_i36_batches_in_order(way: str, protocol: str, model: str, sizes: list[int]) -> None:
    """As many texts a request as the model takes; each text gets its own vector, whatever order they come in."""
    texts = ["x" * (number + 1) for number in range(27)]
    with Loopback(service) as server:
        assert await vectors(embedding(server, model=model, protocol=protocol), way, texts) == [*map(vector, texts)]
        bodies = [request.json() for request in server.requests]
    asked = [body["input"]["texts"] if protocol == "dashscope" else body["input"] for body in bodies]
    assert sorted(map(len, asked)) == sorted(sizes)  # batches are asked for at once


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_i36_more_texts_than_a_request_takes(protocol: str) -> None:
    """A larger `embed_batch_size` is split; a smaller one holds."""
    texts = ["x" * (number + 1) for number in range(12)]
    for size, requests in ((100, 2), (4, 3)):
        with Loopback(service) as server:
            model = embedding(server, protocol=protocol, embed_batch_size=size)
            assert model.get_text_embedding_batch(texts) == [*map(vector, texts)]
            assert len(server.requests) == requests


def test_what_is_sent() -> None:
    """The compatible request has `dimensions`; the native one `dimension`, and tells queries from documents."""
    with Loopback(service) as server:
        embedding(server, dimensions=512, extra_body={"new": 1}).get_query_embedding("hello")
        assert server.requests[-1].path == "/compatible-mode/v1/embeddings"
        assert server.requests[-1].json() == {
            "model": "text-embedding-v4", "input": ["hello"], "encoding_format": "float", "dimensions": 512, "new": 1,
        }  # fmt: skip
        native = embedding(server, protocol="dashscope", dimensions=512, instruct="Find facts.")
        native.get_query_embedding("hello")
        assert server.requests[-1].path == "/api/v1/services/embeddings/text-embedding/text-embedding"
        assert server.requests[-1].json()["parameters"] == {
            "dimension": 512, "text_type": "query", "instruct": "Find facts.",
        }  # fmt: skip
        native.get_text_embedding("hello")
        assert server.requests[-1].json()["parameters"] == {"dimension": 512, "text_type": "document"}
        with pytest.raises(errors.ConfigurationError, match="dashscope"):
            embedding(server, instruct="Find facts.").get_query_embedding("hello")


async def test_queries_and_documents_are_told_apart_in_async_too() -> None:
    """A query has its instruction, a document has none; the object's headers go with both."""
    with Loopback(service) as server:
        model = embedding(server, protocol="dashscope", instruct="Find facts.", default_headers={"x-gateway": "1"})
        await model.aget_query_embedding("hello")
        assert server.requests[-1].json()["parameters"] == {"text_type": "query", "instruct": "Find facts."}
        await model.aget_text_embedding("hello")
        assert server.requests[-1].json()["parameters"] == {"text_type": "document"}
        assert [request.headers["x-gateway"] for request in server.requests] == ["1", "1"]


BROKEN = {
    "too few": {"data": [{"index": 0, "embedding": [1.0]}]},
    "the same twice": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
    "an empty one": {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}]},
    "none": {"data": None},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_i36_a_missing_vector_is_an_error(way: str, body: Any) -> None:
    """Never None or an empty list in its place."""
    with Loopback(reply_json(200, body)) as server, pytest.raises(errors.ProtocolError):
        await vectors(embedding(server), way, ["a", "b"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_i36_errors_raise_and_are_retried(way: str, protocol: str) -> None:
    """A refusal is the typed error; throttling is waited for, as often as `max_retries` says."""
    throttled = reply_json(429, {"code": "Throttling", "message": "wait", "request_id": "r-1"}, {"retry-after-ms": "1"})
    with Loopback([throttled, service]) as server:
        with pytest.raises(errors.RateLimitError) as caught:
            await vectors(embedding(server, protocol=protocol), way, ["a"])
        error = caught.value
        assert (error.status_code, error.code, error.request_id) == (429, "Throttling", "r-1")
    with Loopback([throttled, service]) as server:
        model = embedding(server, protocol=protocol, max_retries=1)
        assert await vectors(model, way, ["a"]) == [vector("a")]


async def test_i36_native_async(monkeypatch: pytest.MonkeyPatch) -> None:
    """An async call hands nothing to a thread."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(service) as server:
        model = embedding(server)
        monkeypatch.setattr(asyncio, "to_thread", no_thread)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        assert await model.aget_query_embedding("a") == vector("a")
        assert await model.aget_text_embedding("a") == vector("a")
        await model.core_client().aclose()


def test_an_index_is_built_and_asked() -> None:
    """It is what an index takes as `embed_model`."""
    with Loopback(service) as server:
        index = VectorStoreIndex([TextNode(text=text) for text in ("a", "bb", "ccc")], embed_model=embedding(server))
        [found] = index.as_retriever(similarity_top_k=1).retrieve("ccc")
    assert found.text == "ccc"


def test_the_key_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is made again from its dump."""
    model = ModelStudioEmbedding(api_key=KEY, dimensions=64, default_headers={"x-secret": KEY})
    assert KEY not in model.to_json() + repr(model) + str(model.model_dump())
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert ModelStudioEmbedding.from_json(model.to_json()).to_dict() == model.to_dict()
    with pytest.raises(errors.ConfigurationError, match="dimensions"):
        ModelStudioEmbedding(api_key=KEY, dimension=64)  # type: ignore[call-arg]  # that is the test
