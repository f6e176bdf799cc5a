"""ModelStudioEmbeddings: the common cases of embeddings, and LangChain's requirements."""

from __future__ import annotations

import asyncio
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.exceptions import ModelError, ModelRateLimitError
from langchain_core.load import dumps
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_modelstudio import ModelStudioEmbeddings, errors
from modelstudio_core import errors as core_errors
from tests.embedding_cases import CASES, PROTOCOLS, WAYS, Adapter, Case, Run, numbered
from tests.loopback import Loopback, reply_json
from tests.retrieval import MULTIMODAL, THROTTLED, Crowd, inputs, service, sparse, vector

KEY = "sk-marked-key-for-tests"
PNG = b"\x89PNG\r\n\x1a\n"
PNG_URI = "data:image/png;base64,iVBORw0KGgo="
ADAPTER = Adapter(
    make=ModelStudioEmbeddings,
    embed=lambda model, texts: model.embed_documents(texts),
    aembed=lambda model, texts: model.aembed_documents(texts),
    query=lambda model, text: model.embed_query(text),
    aquery=lambda model, text: model.aembed_query(text),
)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.rotated
async def test_of_all_embeddings(case: Case, way: str, protocol: str) -> None:
    """See `tests.embedding_cases`."""
    await case(Run(ADAPTER, way, protocol))


def made(server: Loopback, **settings: Any) -> ModelStudioEmbeddings:
    return ModelStudioEmbeddings(base_url=server.url, **{"max_retries": 0, **settings})


async def called(model: ModelStudioEmbeddings, way: str, name: str, *given: Any, **options: Any) -> Any:
    """Return the result of a method or its async version."""
    if way == "sync":
        return getattr(model, name)(*given, **options)
    return await getattr(model, f"a{name}")(*given, **options)


# ---------------------------------------------------------------- async


async def test_async_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain's default runs the sync method in an executor; this one does not."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(service) as server:
        model = made(server)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        assert await model.aembed_documents(numbered(25)) == [*map(vector, numbered(25))]
        assert await model.aembed_query("a") == vector("a")
        await model.aclose()


async def test_cancelling_cancels_all_requests() -> None:
    """The service is disconnected."""
    gone = []

    def script(exchange: Any) -> None:
        gone.append(exchange.client_gone(10))

    with Loopback(script) as server:
        task = asyncio.create_task(made(server, max_concurrency=4).aembed_documents(numbered(100)))
        assert await asyncio.to_thread(server.wait_until, lambda s: len(s.requests) == 4, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_until, lambda s: len(gone) == 4, 5)
        assert gone == [True] * 4
        assert len(server.requests) == 4


async def test_concurrent_calls() -> None:
    """Each has its own vectors and its own limit of requests."""
    crowd = Crowd(wanted=4)
    with Loopback(crowd) as server:
        model = made(server, max_concurrency=2)
        texts, others = numbered(40), [f"other {text}" for text in numbered(40)]
        assert await asyncio.gather(model.aembed_documents(texts), model.aembed_documents(others)) == [
            [*map(vector, texts)], [*map(vector, others)],
        ]  # fmt: skip
    assert crowd.most == 4


# ---------------------------------------------------------------- sparse


@pytest.mark.parametrize("way", WAYS)
async def test_sparse_vectors(way: str) -> None:
    """Pairs of index and weight, in order."""
    texts = numbered(23)
    with Loopback(service) as server:
        model = made(server, protocol="dashscope")
        assert await called(model, way, "embed_sparse", texts) == [*map(sparse, texts)]
        assert server.requests[0].json()["parameters"] == {"text_type": "document", "output_type": "sparse"}
        assert await called(model, way, "embed_sparse", ["a"], text_type="query") == [sparse("a")]
        assert server.requests[-1].json()["parameters"]["text_type"] == "query"
        both = await called(model, way, "embed_dense_and_sparse", texts)
        assert server.requests[-1].json()["parameters"]["output_type"] == "dense&sparse"
    assert both == [(vector(text), sparse(text)) for text in texts]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, 'output_type.*protocol="dashscope"'),
        ({"protocol": "dashscope", "model": "text-embedding-v2"}, "does not return sparse vectors"),
        ({"protocol": "dashscope", "model": "qwen3-vl-embedding"}, "does not return sparse vectors"),
    ],
)
async def test_sparse_vectors_of_other_models(way: str, settings: Any, message: str) -> None:
    """The error names a model that has them."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match=message):
            await called(made(server, **settings), way, "embed_sparse", ["a"])
        assert server.requests == []


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("way", WAYS)
async def test_images(way: str, tmp_path: Path) -> None:
    """URLs are sent unchanged; paths, bytes and files as data URIs; within the limit per request."""
    (tmp_path / "a.png").write_bytes(PNG)
    images: list[Any] = [tmp_path / "a.png", str(tmp_path / "a.png"), PNG, io.BytesIO(PNG), "https://x/y.png", PNG_URI]
    with Loopback(service) as server:
        model = made(server, model="qwen3-vl-embedding", dimensions=512, max_concurrency=1)
        vectors = await called(model, way, "embed_images", images * 3)
        assert [request.path for request in server.requests] == [MULTIMODAL] * 2
        sent = [content for request in server.requests for content in inputs(request)]
        assert [len(inputs(request)) for request in server.requests] == [10, 8]
    assert sent == [{"image": PNG_URI}, {"image": PNG_URI}, {"image": PNG_URI}, {"image": PNG_URI},
                    {"image": "https://x/y.png"}, {"image": PNG_URI}] * 3  # fmt: skip
    assert vectors == [vector(content["image"], 512) for content in sent]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_multimodal_model(way: str, protocol: str) -> None:
    """It embeds texts, content of each kind, and several as one, at its own endpoint with any protocol."""
    with Loopback(service) as server:
        model = made(server, model="qwen3-vl-embedding", instruct="Find cats.", protocol=protocol)
        assert await called(model, way, "embed_documents", ["a", "b"]) == [vector("a"), vector("b")]
        assert await called(model, way, "embed_query", "a") == vector("a")
        contents: list[Any] = ["a", {"image": "https://x/y"}, {"video": "https://x/z"}]
        assert len(await called(model, way, "embed_contents", contents)) == 3
        fused = await called(model, way, "embed_fused", contents)
        assert fused == await called(model, way, "embed_fused", {"text": "a", "image": "https://x/y",
                                                                 "video": "https://x/z"})  # fmt: skip
        assert {request.path for request in server.requests} == {MULTIMODAL}
        parameters = [request.json().get("parameters") for request in server.requests]
    assert parameters == [None, {"instruct": "Find cats."}, None, {"enable_fusion": True}, {"enable_fusion": True}]


@pytest.mark.parametrize("way", WAYS)
async def test_a_text_model_embeds_no_images(way: str) -> None:
    """The error names models that do."""
    with Loopback(service) as server, pytest.raises(errors.ConfigurationError, match="qwen3-vl-embedding"):
        await called(made(server), way, "embed_images", ["https://x/y"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["embed_images", "embed_contents", "embed_fused"])
async def test_invalid_images(way: str, name: str) -> None:
    """The error has the position. Nothing is sent."""
    image: Any = "/no/such/file.png"
    given = [PNG, image] if name == "embed_images" else [{"image": PNG}, {"image": image}]
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match="content 1 cannot be read"):
            await called(made(server, model="qwen3-vl-embedding"), way, name, given)
        assert server.requests == []


# ---------------------------------------------------------------- LangChain


@pytest.mark.parametrize("way", WAYS)
async def test_error_classes(way: str) -> None:
    """LangChain's, this package's, and the core's."""
    with Loopback(reply_json(429, THROTTLED)) as server:
        for name, given in (("embed_documents", ["a"]), ("embed_query", "a")):
            with pytest.raises(errors.RateLimitError) as caught:
                await called(made(server), way, name, given)
            assert isinstance(caught.value, ModelRateLimitError | core_errors.RateLimitError)
        with pytest.raises(ModelError):
            await called(made(server), way, "embed_documents", [""])


def test_the_key_is_in_no_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle reads it from the environment. Callbacks are not dumped either."""
    model = ModelStudioEmbeddings(api_key=KEY, dimensions=64, usage_callback=lambda name, tokens: None)
    for shown in (repr(model), str(model.model_dump()), model.model_dump_json(), dumps(model)):
        assert KEY not in shown
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    data = pickle.dumps(model)
    assert KEY.encode() not in data
    again = pickle.loads(data)
    assert again.model_dump() == model.model_dump()
    assert again.usage_callback is None
    assert model.usage_callback is not None
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    with pytest.raises(errors.ConfigurationError, match="no API key"):
        ModelStudioEmbeddings()


def test_a_progress_bar(capfd: pytest.CaptureFixture[str]) -> None:
    """It counts texts."""
    with Loopback(service) as server:
        made(server).embed_documents(numbered(3))
        assert capfd.readouterr().err == ""
        made(server, show_progress_bar=True).embed_documents(numbered(25))
        assert "25/25" in capfd.readouterr().err


def test_batch_size() -> None:
    """At most the limit of the model."""
    with Loopback(service) as server:
        made(server, batch_size=4, max_concurrency=1).embed_documents(numbered(9))
        made(server, batch_size=100, max_concurrency=1).embed_documents(numbered(12))
        assert [len(inputs(request)) for request in server.requests] == [4, 4, 1, 10, 2]


async def test_a_vector_store() -> None:
    """It can be the embedding of a vector store, sync and async."""
    with Loopback(service) as server:
        store = InMemoryVectorStore(made(server))
        store.add_texts(["Cats purr.", "Dogs bark.", "Birds sing."])
        assert [found.page_content for found in store.similarity_search("What do dogs say?", k=1)] == ["Dogs bark."]
        await store.aadd_texts(["Fish swim."])
        assert [found.page_content for found in await store.asimilarity_search("fish", k=1)] == ["Fish swim."]


class TestStandardUnit(EmbeddingsUnitTests):
    """langchain-tests' own unit suite, unmodified."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ModelStudioEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "text-embedding-v4", "api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return {"DASHSCOPE_API_KEY": KEY}, {"model": "text-embedding-v4"}, {"api_key": KEY}


class TestStandardIntegration(EmbeddingsIntegrationTests):
    """langchain-tests' own integration suite, unmodified, against the loopback service."""

    server: Loopback

    @pytest.fixture(autouse=True)
    def _service(self) -> Any:
        with Loopback(service) as self.server:
            yield

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return ModelStudioEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "text-embedding-v4", "base_url": self.server.url}
