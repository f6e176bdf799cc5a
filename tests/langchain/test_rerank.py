"""ModelStudioRerank: the common cases of rerank, and LangChain's requirements."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.exceptions import ModelRateLimitError

from langchain_modelstudio import ModelStudioRerank, errors
from tests.loopback import Loopback, reply_json
from tests.rerank_cases import CASES, Adapter, Case, Run
from tests.retrieval import THROTTLED, service

KEY = "sk-marked-key-for-tests"


def documents(texts: list[str]) -> list[Document]:
    return [Document(text, id=str(at), metadata={"at": at}) for at, text in enumerate(texts)]


def scored(found: Any) -> list[tuple[str, float]]:
    return [(document.page_content, document.metadata["relevance_score"]) for document in found]


async def _arank(model: ModelStudioRerank, texts: list[str], query: str) -> list[tuple[str, float]]:
    return scored(await model.acompress_documents(documents(texts), query))


ADAPTER = Adapter(
    make=ModelStudioRerank,
    rank=lambda model, texts, query: scored(model.compress_documents(documents(texts), query)),
    arank=_arank,
)


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_of_all_rerankers(case: Case, way: str) -> None:
    """See `tests.rerank_cases`."""
    await case(Run(ADAPTER, way))


async def test_documents_are_not_changed() -> None:
    """Copies are returned, with the score."""
    given = [Document("dogs", id="1", metadata={"a": 1}), Document("cats", id="2", metadata={"relevance_score": 7})]
    before = [document.model_copy(deep=True) for document in given]
    with Loopback(service) as server:
        model = ModelStudioRerank(base_url=server.url)
        for best in (model.compress_documents(given, "cats"), await model.acompress_documents(given, "cats")):
            assert best == [
                Document("cats", id="2", metadata={"relevance_score": 1.0}),
                Document("dogs", id="1", metadata={"a": 1, "relevance_score": 0.0}),
            ]
    assert given == before
    assert isinstance(model, BaseDocumentCompressor)


async def test_async_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain's default runs the sync method in an executor; this one does not."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(service) as server:
        model = ModelStudioRerank(base_url=server.url)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        assert len(await model.acompress_documents(documents(["a", "b"]), "a")) == 2
        await model.aclose()


async def test_error_classes() -> None:
    """LangChain's and this package's."""
    with Loopback(reply_json(429, THROTTLED)) as server:
        model = ModelStudioRerank(base_url=server.url, max_retries=0)
        with pytest.raises(errors.RateLimitError) as caught:
            model.compress_documents(documents(["a"]), "a")
        assert isinstance(caught.value, ModelRateLimitError)
        with pytest.raises(errors.RateLimitError):
            await model.acompress_documents(documents(["a"]), "a")


def test_the_key_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle reads it from the environment."""
    model = ModelStudioRerank(api_key=KEY, top_n=3, usage_callback=lambda name, tokens: None)
    assert KEY not in repr(model) + str(model.model_dump()) + model.model_dump_json()
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    data = pickle.dumps(model)
    assert KEY.encode() not in data
    assert pickle.loads(data).model_dump() == model.model_dump()
