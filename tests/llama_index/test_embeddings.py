"""ModelStudioEmbedding: the common cases of embeddings, and LlamaIndex's requirements."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.node_parser import SemanticSplitterNodeParser, SentenceSplitter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index_modelstudio import ModelStudioEmbedding, errors
from tests.embedding_cases import CASES, PROTOCOLS, WAYS, Adapter, Case, Run, numbered
from tests.loopback import Loopback, reply_json
from tests.retrieval import EMBED, Crowd, failing, inputs, service, sparse, vector

KEY = "sk-marked-key-for-tests"
ADAPTER = Adapter(
    make=ModelStudioEmbedding,
    embed=lambda model, texts: model.get_text_embedding_batch(texts),
    aembed=lambda model, texts: model.aget_text_embedding_batch(texts),
    query=lambda model, text: model.get_query_embedding(text),
    aquery=lambda model, text: model.aget_query_embedding(text),
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.rotated
async def test_of_all_embeddings(case: Case, way: str, protocol: str) -> None:
    """See `tests.embedding_cases`."""
    await case(Run(ADAPTER, way, protocol))


def made(server: Loopback, **settings: Any) -> ModelStudioEmbedding:
    return ModelStudioEmbedding(base_url=server.url, **{"max_retries": 0, **settings})


async def called(model: Any, way: str, name: str, *given: Any, **options: Any) -> Any:
    """Return the result of a method or its async version."""
    if way == "sync":
        return getattr(model, name)(*given, **options)
    return await getattr(model, f"a{name}")(*given, **options)


# ---------------------------------------------------------------- nodes


@pytest.mark.parametrize("way", WAYS)
async def test_an_invalid_node_is_named_by_its_document(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    """By its file, else by the document's ID or its own, because the position of a node in a pipeline is not known."""
    document = Document(text="", id_="document-1")
    [split] = SentenceSplitter(tokenizer=str.split).get_nodes_from_documents([Document(text="a", id_="document-2")])
    split.set_content("")
    hidden = TextNode(text="", metadata={"file_path": "notes/empty.txt"}, excluded_embed_metadata_keys=["file_path"])
    with Loopback(service) as server:
        model = made(server)
        for node, name in ((document, "document-1"), (split, "document-2"), (hidden, "notes/empty.txt")):
            nodes = [TextNode(text="a"), node]
            message = f"text 1 is empty: omit or replace it (document {name})"
            with pytest.raises(errors.ConfigurationError) as caught:
                await (model.acall(nodes) if way == "async" else asyncio.to_thread(model, nodes))
            assert (caught.value.message, caught.value.args, caught.value.inputs) == (message, (message,), (1,))
        nodes = [TextNode(text="a"), TextNode(text="b")]
        shown = {"show_progress": True}
        await (model.acall(nodes, **shown) if way == "async" else asyncio.to_thread(model, nodes, **shown))
        assert [node.embedding for node in nodes] == [vector("a"), vector("b")]
        assert "2/2" in capfd.readouterr().err


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_for_another_reason_names_no_document(way: str) -> None:
    """Such as an invalid key: the nodes are not at fault."""
    nodes = [TextNode(text=text) for text in numbered(30)]
    with Loopback(service) as server:
        model = made(server, api_key=lambda: "")
        with pytest.raises(errors.ConfigurationError) as caught:
            await (model.acall(nodes) if way == "async" else asyncio.to_thread(model, nodes))
    assert caught.value.message == "the API key is empty or contains invalid characters: check how it was copied"
    assert caught.value.inputs == ()


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("size", "requests"), [(100, 2), (10, 2), (4, 3)])
async def test_embed_batch_size(way: str, size: int, requests: int) -> None:
    """At most the limit of the model."""
    texts = numbered(12)
    with Loopback(service) as server:
        model = made(server, embed_batch_size=size)
        assert await called(model, way, "get_text_embedding_batch", texts) == [*map(vector, texts)]
        assert len(server.requests) == requests
    assert ModelStudioEmbedding(model="text-embedding-v2", api_key=KEY).embed_batch_size == 25


async def test_num_workers_bounds_async_calls() -> None:
    """As in LlamaIndex's own classes."""
    crowd = Crowd(wanted=3)
    with Loopback(crowd) as server:
        await made(server, num_workers=3).aget_text_embedding_batch(numbered(90))
    assert crowd.most == 3


@pytest.mark.parametrize("way", WAYS)
async def test_the_methods_of_a_subclass(way: str) -> None:
    """The private methods of BaseEmbedding work, too."""
    with Loopback(service) as server:
        model = made(server, protocol="dashscope")
        assert await called(model, way, "get_text_embedding", "a b") == vector("a b")
        prefix = "_" if way == "sync" else "_a"
        for name, given, expected in (
            ("get_query_embedding", "a", vector("a")),
            ("get_text_embedding", "a", vector("a")),
            ("get_text_embeddings", ["a", "b"], [vector("a"), vector("b")]),
        ):
            found = getattr(model, prefix + name)(given)
            assert (found if way == "sync" else await found) == expected
        types = [request.json()["parameters"]["text_type"] for request in server.requests]
    assert types == ["document", "query", "document", "document"]


async def test_async_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Async calls use no threads."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(service) as server:
        model = made(server)
        monkeypatch.setattr(asyncio, "to_thread", no_thread)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        assert await model.aget_query_embedding("a") == vector("a")
        assert await model.aget_text_embedding("a") == vector("a")
        assert await model.aget_text_embedding_batch(numbered(25)) == [*map(vector, numbered(25))]
        await model.aclose()


@pytest.mark.parametrize("way", WAYS)
async def test_sparse_vectors(way: str) -> None:
    """Pairs of index and weight, in order; native protocol only."""
    texts = numbered(23)
    with Loopback(service) as server:
        model = made(server, protocol="dashscope")
        assert await called(model, way, "embed_sparse", texts) == [*map(sparse, texts)]
        both = await called(model, way, "embed_dense_and_sparse", texts, text_type="query")
        assert both == [(vector(text), sparse(text)) for text in texts]
        assert server.requests[-1].json()["parameters"] == {"text_type": "query", "output_type": "dense&sparse"}
        with pytest.raises(errors.ConfigurationError, match="dashscope"):
            await called(made(server), way, "embed_sparse", texts)


class Limiter:
    """Counts its calls."""

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1

    async def async_acquire(self, num_tokens: int = 0) -> None:
        self.asked += 1


@pytest.mark.parametrize("way", WAYS)
async def test_the_rate_limiter_is_called_per_request(way: str) -> None:
    """Not for cached texts."""
    limiter = Limiter()
    with Loopback(service) as server:
        model = made(server, rate_limiter=limiter, embeddings_cache=SimpleKVStore())
        for _ in range(2):
            await called(model, way, "get_text_embedding_batch", numbered(25))
        await called(model, way, "get_query_embedding", "a")
        assert limiter.asked == len(server.requests) == 4


class LockedLimiter(Limiter):
    """A rate limiter that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("it has a lock")


def test_pickling_does_not_change_the_object(caplog: pytest.LogCaptureFixture) -> None:
    """LlamaIndex's own method would delete unpicklable attributes."""
    limiter = LockedLimiter()
    with Loopback(service) as server:
        model = made(server, rate_limiter=limiter)
        again = pickle.loads(pickle.dumps(model))
        assert again.get_text_embedding("a") == model.get_text_embedding("a")
    assert (again.rate_limiter, model.rate_limiter, limiter.asked) == (None, limiter, 1)


# ---------------------------------------------------------------- the cache


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_cached_texts_are_not_sent(way: str, protocol: str) -> None:
    """Queries and documents. Of a batch, only new texts are sent."""
    cache, texts = SimpleKVStore(), numbered(25)
    with Loopback(service) as server:
        model = made(server, protocol=protocol, embeddings_cache=cache, max_concurrency=1)
        await called(model, way, "get_text_embedding_batch", texts[:5] + texts[12:14])
        assert await called(model, way, "get_text_embedding_batch", texts) == [*map(vector, texts)]
        sent = [inputs(request) for request in server.requests[1:]]
        assert sent == [texts[5:10], texts[10:12] + texts[14:20], texts[20:]]
        for _ in range(2):
            assert await called(model, way, "get_text_embedding_batch", texts) == [*map(vector, texts)]
            assert await called(model, way, "get_text_embedding", texts[7]) == vector(texts[7])
            assert await called(model, way, "get_query_embedding", "query") == vector("query")
        assert len(server.requests) == 5


OTHERS: dict[str, dict[str, Any]] = {
    "another model": {"model": "text-embedding-v3"},
    "other dimensions": {"dimensions": 64},
    "an instruction": {"instruct": "Find facts."},
    "another protocol": {"protocol": "openai"},
    "a text type": {"text_type": "document"},
    "other parameters": {"extra_body": {"new": 1}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("other", OTHERS)
async def test_one_cache_for_several_models(other: str, way: str) -> None:
    """A vector is used only if the same request would be sent."""
    cache = SimpleKVStore()
    with Loopback(service) as server:
        model = made(server, protocol="dashscope", embeddings_cache=cache)
        differs = made(server, **{"protocol": "dashscope", "embeddings_cache": cache, **OTHERS[other]})
        await called(model, way, "get_query_embedding", "hello")
        assert await called(model, way, "get_text_embedding", "hello") == vector("hello")
        assert len(server.requests) == 2  # a document is no query
        found = await called(differs, way, "get_query_embedding", "hello")
        if other != "a text type":
            assert len(server.requests) == 3
            assert server.requests[2].body != server.requests[0].body
        assert found == vector("hello", OTHERS[other].get("dimensions", len(vector(""))))


@pytest.mark.parametrize("way", WAYS)
async def test_the_cache_after_an_error(way: str) -> None:
    """It has the vectors received so far. The next call sends the rest."""
    refused = reply_json(500, {"code": "InternalError", "message": "Failed."})
    texts = numbered(40)
    with Loopback(failing(lambda batch: texts[30] in batch, refused, times=1)) as server:
        model = made(server, embeddings_cache=SimpleKVStore(), max_concurrency=1)
        with pytest.raises(errors.ServerError, match="inputs 30 to 39"):
            await called(model, way, "get_text_embedding_batch", texts)
        assert await called(model, way, "get_text_embedding_batch", texts) == [*map(vector, texts)]
        assert len(server.requests) == 5


# ---------------------------------------------------------------- events


class Events(BaseEventHandler):
    """Stores all embedding events."""

    seen: list[Any] = []  # noqa: RUF012  # a pydantic field

    def handle(self, event: Any, **kwargs: Any) -> None:
        if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent):
            self.seen.append(event)


@pytest.fixture
def events() -> Any:
    """The events of the test."""
    handler, dispatcher = Events(seen=[]), get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield handler.seen
    dispatcher.event_handlers.remove(handler)


@pytest.mark.parametrize("way", WAYS)
async def test_instrumentation(events: list[Any], way: str) -> None:
    """Each request has events. The last one has texts, vectors, and tokens in its tags."""
    texts = numbered(25)
    with Loopback(service) as server:
        await called(made(server), way, "get_text_embedding_batch", texts)
        await called(made(server), way, "get_query_embedding", "a query")
    starts = [event for event in events if isinstance(event, EmbeddingStartEvent)]
    ends = [event for event in events if isinstance(event, EmbeddingEndEvent)]
    assert len(starts) == len(ends) == 4
    assert starts[0].model_dict["model_name"] == "text-embedding-v4"
    assert sorted(text for event in ends[:3] for text in event.chunks) == sorted(texts)
    for event in ends:
        assert event.embeddings == [*map(vector, event.chunks)]
        tokens = sum(len(text.split()) for text in event.chunks)
        assert event.tags == {"model": "text-embedding-v4", "total_tokens": tokens}


@pytest.mark.parametrize("way", WAYS)
async def test_older_callbacks(way: str) -> None:
    """Handlers of a callback manager get the same. An error ends their events."""
    debug, counter = LlamaDebugHandler(print_trace_on_end=False), TokenCountingHandler(lambda text: text.split())
    refused = reply_json(500, {"code": "InternalError", "message": "Failed."})
    with Loopback(failing(lambda batch: "text number 30" in batch, refused)) as server:
        model = made(server, callback_manager=CallbackManager([debug, counter]))
        await called(model, way, "get_text_embedding_batch", numbered(25))
        await called(model, way, "get_query_embedding", "a query")
        assert counter.total_embedding_token_count == 25 * 3 + 2
        with pytest.raises(errors.ServerError):
            await called(model, way, "get_text_embedding_batch", numbered(40))
    pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert len(pairs) == 8
    assert all(len(pair) == 2 for pair in pairs)


@pytest.mark.parametrize("way", WAYS)
async def test_a_progress_bar(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    """It counts texts."""
    with Loopback(service) as server:
        await called(made(server), way, "get_text_embedding_batch", numbered(25))
        assert capfd.readouterr().err == ""
        await called(made(server), way, "get_text_embedding_batch", numbered(25), show_progress=True)
        assert "25/25" in capfd.readouterr().err


# ---------------------------------------------------------------- LlamaIndex


def test_an_index() -> None:
    """It can be the `embed_model` of an index."""
    with Loopback(service) as server:
        index = VectorStoreIndex([TextNode(text=text) for text in ("a", "bb", "ccc")], embed_model=made(server))
        [found] = index.as_retriever(similarity_top_k=1).retrieve("ccc")
    assert found.text == "ccc"


@pytest.mark.slow
async def test_an_ingestion_pipeline() -> None:
    """With worker processes, and async."""
    documents = [Document(text=text) for text in ("Cats purr.", "Dogs bark.", "Birds sing.", "Fish swim.")]
    with Loopback(service) as server:
        # a splitter's default tokenizer is loaded anew, from the internet, in each worker
        splitter = SentenceSplitter(tokenizer=str.split)
        embedding = made(server, usage_callback=lambda model, tokens: None)
        pipeline = IngestionPipeline(transformations=[splitter, embedding])
        for nodes in (pipeline.run(documents=documents, num_workers=2), await pipeline.arun(documents=documents)):
            assert {node.get_content(): node.embedding for node in nodes} == {
                document.text: vector(document.text) for document in documents
            }


def test_a_semantic_splitter() -> None:
    """It splits between different words."""
    text = "Cats purr. Cats purr. Cats purr. Dogs bark. Dogs bark. Dogs bark."
    with Loopback(service) as server:
        splitter = SemanticSplitterNodeParser(embed_model=made(server), buffer_size=1)
        nodes = splitter.get_nodes_from_documents([Document(text=text)])
    assert "".join(node.get_content() for node in nodes).replace(" ", "") == text.replace(" ", "")
    assert len(nodes) > 1


def test_the_key_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object can be loaded from a dump or a pickle, without its callback."""
    model = ModelStudioEmbedding(api_key=KEY, dimensions=64, usage_callback=lambda name, tokens: None)
    assert KEY not in model.to_json() + repr(model) + str(model.model_dump()) + str(model.to_payload())
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert ModelStudioEmbedding.from_json(model.to_json()).to_dict() == model.to_dict()
    data = pickle.dumps(model)
    assert KEY.encode() not in data
    assert pickle.loads(data).to_dict() == model.to_dict()
    assert model.usage_callback is not None
    with pytest.raises(errors.ConfigurationError, match="dimensions"):
        ModelStudioEmbedding(api_key=KEY, dimension=64)  # type: ignore[call-arg]  # that is the test
    assert isinstance(model, BaseEmbedding)


def test_urls() -> None:
    """Text embeddings follow base_url."""
    with Loopback(service) as server:
        for protocol, path in EMBED.items():
            made(server, protocol=protocol).get_text_embedding("a")
            assert server.requests[-1].path == path
        ModelStudioEmbedding(base_url=f"{server.url}/gateway/compatible-mode/v1").get_text_embedding("a")
        assert server.requests[-1].path == f"/gateway{EMBED['openai']}"
