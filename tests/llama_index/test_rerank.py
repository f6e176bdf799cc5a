"""ModelStudioRerank: the common cases of rerank, and LlamaIndex's requirements."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode

from llama_index_modelstudio import ModelStudioEmbedding, ModelStudioRerank, errors
from tests.loopback import Loopback
from tests.rerank_cases import CASES, Adapter, Case, Run
from tests.retrieval import inputs, service

KEY = "sk-marked-key-for-tests"
PNG_URI = "data:image/png;base64,iVBORw0KGgo="


def nodes(texts: list[str]) -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text, id_=str(at)), score=at / 7) for at, text in enumerate(texts)]


def scored(found: list[NodeWithScore]) -> list[tuple[str, float]]:
    return [(node.text, node.score or 0.0) for node in found]


async def _arank(model: ModelStudioRerank, texts: list[str], query: str) -> list[tuple[str, float]]:
    return scored(await model.apostprocess_nodes(nodes(texts), query_str=query))


ADAPTER = Adapter(
    make=ModelStudioRerank,
    rank=lambda model, texts, query: scored(model.postprocess_nodes(nodes(texts), QueryBundle(query))),
    arank=_arank,
)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_of_all_rerankers(case: Case, way: str) -> None:
    """See `tests.rerank_cases`."""
    await case(Run(ADAPTER, way))


async def postprocessed(model: ModelStudioRerank, way: str, given: list[NodeWithScore], query: str) -> Any:
    if way == "sync":
        return model.postprocess_nodes(given, query_str=query)
    return await model.apostprocess_nodes(given, query_str=query)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_nodes_are_not_changed(way: str) -> None:
    """New NodeWithScores with the same nodes are returned."""
    given = nodes(["dogs", "cats"])
    before = [node.model_copy(deep=True) for node in given]
    with Loopback(service) as server:
        best = await postprocessed(ModelStudioRerank(base_url=server.url), way, given, "cats")
    assert [(node.node.node_id, node.score) for node in best] == [("1", 1.0), ("0", 0.0)]
    assert best[0].node is given[1].node
    assert given == before


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_metadata_is_ranked(way: str) -> None:
    """Unless it is excluded for embeddings. A node may have no other text."""
    given = [
        NodeWithScore(node=TextNode(text="dogs", metadata={"title": "Cats"})),
        NodeWithScore(node=TextNode(text="", metadata={"title": "Birds"})),
    ]
    with Loopback(service) as server:
        await postprocessed(ModelStudioRerank(base_url=server.url), way, given, "cats")
        assert inputs(server.requests[0]) == ["title: Cats\n\ndogs", "title: Birds"]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_image_nodes(way: str, tmp_path: Path) -> None:
    """They are ranked by image if the model supports that. Otherwise an empty text raises an error."""
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    images = [
        ImageNode(image_url="https://x/y.png"), ImageNode(image_path=str(path)),
        ImageNode(image="iVBORw0KGgo=", image_mimetype="image/png"), ImageNode(text="cats", image_url="https://x/y"),
    ]  # fmt: skip
    given = [NodeWithScore(node=node) for node in images]
    with Loopback(service) as server:
        await postprocessed(ModelStudioRerank(base_url=server.url, model="qwen3-vl-rerank"), way, given, "cats")
        assert inputs(server.requests[0]) == [
            {"image": "https://x/y.png"}, {"image": PNG_URI}, {"image": PNG_URI}, "cats",
        ]  # fmt: skip
        with pytest.raises(errors.ConfigurationError, match="document 0 is empty"):
            await postprocessed(ModelStudioRerank(base_url=server.url), way, given, "cats")


async def test_without_a_query() -> None:
    """The error says what to pass."""
    with Loopback(service) as server:
        model = ModelStudioRerank(base_url=server.url)
        with pytest.raises(errors.ConfigurationError, match="query_str"):
            model.postprocess_nodes(nodes(["a"]))
        with pytest.raises(errors.ConfigurationError, match="query_str"):
            await model.apostprocess_nodes(nodes(["a"]))


async def test_async_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """LlamaIndex's default runs the sync method in a thread; this one does not."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(service) as server:
        model = ModelStudioRerank(base_url=server.url)
        monkeypatch.setattr(asyncio, "to_thread", no_thread)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        assert len(await model.apostprocess_nodes(nodes(["a", "b"]), query_str="a")) == 2
        await model.aclose()


class Events(BaseEventHandler):
    """Stores all rerank events."""

    seen: list[Any] = []  # noqa: RUF012  # a pydantic field

    def handle(self, event: Any, **kwargs: Any) -> None:
        if isinstance(event, ReRankStartEvent | ReRankEndEvent):
            self.seen.append(event)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_events(way: str) -> None:
    """Like those of other postprocessors, also for a callback manager."""
    handler, dispatcher, debug = Events(seen=[]), get_dispatcher(), LlamaDebugHandler(print_trace_on_end=False)
    dispatcher.add_event_handler(handler)
    try:
        with Loopback(service) as server:
            model = ModelStudioRerank(base_url=server.url, top_n=1, callback_manager=CallbackManager([debug]))
            best = await postprocessed(model, way, nodes(["dogs", "cats"]), "cats")
    finally:
        dispatcher.event_handlers.remove(handler)
    start, end = handler.seen
    assert (start.model_name, start.top_n, len(start.nodes), end.nodes) == ("qwen3-rerank", 1, 2, best)
    assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 1


def test_a_retriever_s_nodes_are_reranked() -> None:
    """In a query engine."""
    texts = ["cats purr", "dogs bark", "birds sing", "dogs bark at cats"]
    with Loopback(service) as server:
        embedding = ModelStudioEmbedding(base_url=server.url)
        index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=embedding)
        engine = RetrieverQueryEngine.from_args(
            index.as_retriever(similarity_top_k=4), llm=MockLLM(),
            node_postprocessors=[ModelStudioRerank(base_url=server.url, top_n=2)],
        )  # fmt: skip
        found = engine.query("do dogs bark").source_nodes
    assert [(node.text, node.score) for node in found] == [("dogs bark", 2 / 3), ("dogs bark at cats", 2 / 3)]


def test_the_key_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object can be loaded from a dump or a pickle."""
    model = ModelStudioRerank(api_key=KEY, top_n=3, usage_callback=lambda name, tokens: None)
    assert KEY not in model.to_json() + repr(model) + str(model.model_dump())
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert ModelStudioRerank.from_json(model.to_json()).to_dict() == model.to_dict()
    data = pickle.dumps(model)
    assert KEY.encode() not in data
    assert pickle.loads(data).to_dict() == model.to_dict()
    assert model.usage_callback is not None
    assert isinstance(model, BaseNodePostprocessor)
