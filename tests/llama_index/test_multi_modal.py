"""ModelStudioMultiModalEmbedding: texts, images and video, separately and fused, sync and async."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices.utils import async_embed_image_nodes, embed_image_nodes
from llama_index.core.schema import ImageNode

from llama_index_modelstudio import ModelStudioMultiModalEmbedding, errors
from tests.loopback import Loopback
from tests.retrieval import MULTIMODAL, Crowd, inputs, service, vector

WAYS = ("sync", "async")
PNG = b"\x89PNG\r\n\x1a\n"
PNG_URI = "data:image/png;base64,iVBORw0KGgo="
URL = "https://x/y.png"


def made(server: Loopback, **settings: Any) -> ModelStudioMultiModalEmbedding:
    return ModelStudioMultiModalEmbedding(base_url=server.url, **{"max_retries": 0, **settings})


async def called(model: Any, way: str, name: str, *given: Any, **options: Any) -> Any:
    """Return the result of a method or its async version."""
    if way == "sync":
        return getattr(model, name)(*given, **options)
    return await getattr(model, f"a{name}")(*given, **options)


@pytest.mark.parametrize("way", WAYS)
async def test_images(way: str, tmp_path: Path) -> None:
    """URLs are sent unchanged; paths, bytes and files as data URIs; within the limit per request."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    images: list[Any] = [str(path), path, PNG, io.BytesIO(PNG), URL, PNG_URI]
    with Loopback(service) as server:
        model = made(server, max_concurrency=1)
        vectors = await called(model, way, "get_image_embedding_batch", images * 3)
        assert [len(inputs(request)) for request in server.requests] == [10, 8]
        sent = [content for request in server.requests for content in inputs(request)]
        assert await called(model, way, "get_image_embedding", str(path)) == vector(PNG_URI)
        assert {request.path for request in server.requests} == {MULTIMODAL}
    assert sent == [{"image": address} for address in (PNG_URI, PNG_URI, PNG_URI, PNG_URI, URL, PNG_URI)] * 3
    assert vectors == [vector(content["image"]) for content in sent]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
async def test_texts_and_images_share_a_space(way: str, protocol: str) -> None:
    """Queries, documents, content of each kind, and fused content, with any protocol."""
    with Loopback(service) as server:
        model = made(server, protocol=protocol, dimensions=512, instruct="Find cats.")
        assert await called(model, way, "get_query_embedding", "a") == vector("a", 512)
        assert await called(model, way, "get_text_embedding_batch", ["a", "b"]) == [vector("a", 512), vector("b", 512)]
        contents: list[Any] = ["a", {"image": URL}, {"video": "https://x/z"}]
        assert len(await called(model, way, "embed_contents", contents)) == 3
        assert len(await called(model, way, "embed_fused", contents)) == 512
        parameters = [request.json()["parameters"] for request in server.requests]
        assert {request.path for request in server.requests} == {MULTIMODAL}
    assert parameters == [
        {"dimension": 512, "instruct": "Find cats."}, {"dimension": 512}, {"dimension": 512},
        {"dimension": 512, "enable_fusion": True},
    ]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_images_are_sent_concurrently(way: str) -> None:
    """To a model that accepts one per request."""
    crowd, usage = Crowd(wanted=4), list[int]()
    with Loopback(crowd) as server:
        model = made(
            server, model="qwen2.5-vl-embedding", max_concurrency=4,
            usage_callback=lambda name, tokens: usage.append(tokens),
        )  # fmt: skip
        images = [f"https://x/{number}.png" for number in range(12)]
        assert await called(model, way, "get_image_embedding_batch", images) == [*map(vector, images)]
    assert (crowd.most, len(usage)) == (4, 12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("get_image_embedding_batch", [URL, "no-such-file.png"], "content 1 cannot be read"),
        ("get_image_embedding_batch", [URL, b"text"], "content 1 has an unknown image format"),
        ("embed_contents", [URL, {"video": "film.mp4"}], "content 1 is a video"),
        ("embed_contents", [URL, {"sound": URL}], "content 1 is sound"),
        ("embed_fused", [], "contents is empty"),
        ("get_text_embedding_batch", ["a", ""], "text 1 is empty"),
    ],
)
async def test_invalid_contents(way: str, method: str, given: Any, message: str) -> None:
    """The error has the position. Nothing is sent."""
    with Loopback(service) as server:
        with pytest.raises(errors.ConfigurationError, match=message) as caught:
            await called(made(server), way, method, given)
        assert server.requests == []
    assert caught.value.inputs == ((1,) if given else ())


async def test_image_nodes(tmp_path: Path) -> None:
    """Nodes of a multimodal index, with a path or the image itself."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    nodes = [ImageNode(image_path=str(path), id_="1"), ImageNode(image="iVBORw0KGgo=", id_="2")]
    with Loopback(service) as server:
        model: MultiModalEmbedding = made(server)
        expected = {"1": vector(PNG_URI), "2": vector(PNG_URI)}
        assert embed_image_nodes(nodes, model) == expected
        assert await async_embed_image_nodes(nodes, model) == expected


@pytest.mark.parametrize("way", WAYS)
async def test_events_and_progress(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A callback manager gets one event per batch of images."""
    debug = LlamaDebugHandler(print_trace_on_end=False)
    with Loopback(service) as server:
        model = made(server, callback_manager=CallbackManager([debug]))
        await called(model, way, "get_image_embedding_batch", [URL] * 25, show_progress=True)
    [(_, end)] = debug.get_event_pairs(CBEventType.EMBEDDING)
    assert len((end.payload or {})["embeddings"]) == 25
    assert "25/25" in capfd.readouterr().err


def test_serialization() -> None:
    """A dump has the class, and can be loaded."""
    with Loopback(service) as server:
        model = made(server, dimensions=512)
        assert model.to_dict()["class_name"] == "ModelStudioMultiModalEmbedding"
        assert ModelStudioMultiModalEmbedding.from_dict(model.to_dict()).to_dict() == model.to_dict()


def test_unlisted_models_and_text_models() -> None:
    """The former are assumed to be multimodal; the latter reject images."""
    with Loopback(service) as server:
        made(server, model="new-model").get_text_embedding("a")
        made(server, model="new-model").get_image_embedding(URL)
        assert [request.path for request in server.requests] == [MULTIMODAL] * 2
        with pytest.raises(errors.ConfigurationError, match="embeds text only"):
            made(server, model="text-embedding-v4").get_image_embedding(URL)
