"""Adapt the core's multimodal embeddings to LlamaIndex's `MultiModalEmbedding`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageType
from pydantic import Field

from llama_index_modelstudio.embedding_run import progress_bar
from llama_index_modelstudio.embeddings import ModelStudioEmbedding
from modelstudio_core.http.event_loop import in_thread
from modelstudio_core.http.local_files import Contents
from modelstudio_core.http.retrieval import AnyEmbeddingRequest
from modelstudio_core.protocols.embeddings import Vector
from modelstudio_core.retrieval import EmbeddingModel
from modelstudio_core.retrieval_settings import ALL_MODALITIES, Progress


class ModelStudioMultiModalEmbedding(ModelStudioEmbedding, MultiModalEmbedding):
    """Embeddings of texts, images and video by one model, of Alibaba Cloud Model Studio.

    Requests always use the native protocol. Most models are in the Beijing region;
    "tongyi-embedding-vision-plus" and "-flash" are in Singapore. Images are URLs, data URIs, paths, bytes or binary
    files; local ones are sent as data URIs. Videos are URLs.

    Key init args:
        model_name: model id (default "qwen3-vl-embedding"); also accepted as `model`.
        dimensions: length of the vectors, if the model supports several.
        instruct: task of queries, as an English sentence.
        others: see `ModelStudioEmbedding`.

    Embed:
        embedding = ModelStudioMultiModalEmbedding(model="qwen3-vl-embedding", region="beijing")
        vectors = embedding.get_image_embedding_batch(["cat.png", "https://example.com/dog.png"])
        vector = embedding.embed_fused([{"text": "A cat."}, {"image": "cat.png"}])
    """

    model_name: str = Field(default="qwen3-vl-embedding", description="Model id; also accepted as `model`.")

    @classmethod
    def class_name(cls) -> str:
        """Return the class name used in LlamaIndex serialization."""
        return "ModelStudioMultiModalEmbedding"

    def _facts(self) -> EmbeddingModel:
        """Return the facts of the model. Unlisted models are assumed to be multimodal."""
        facts = super()._facts()
        return facts if facts.source else replace(facts, modalities=ALL_MODALITIES)

    def embed_contents(self, contents: Contents) -> list[Vector]:
        """Return a vector for each content, in order: texts, or {"text": ...}, {"image": ...} or {"video": URL}."""
        return self._embed_all(self._content_requests(contents)).dense

    async def aembed_contents(self, contents: Contents) -> list[Vector]:
        """Async version of `embed_contents`. Local images are read in a thread."""
        return (await self._aembed_all(await in_thread(self._content_requests, contents))).dense

    def embed_fused(self, contents: Contents) -> Vector:
        """Return one vector for all contents, if the model supports it; see `embed_contents`."""
        return self._embed_all(self._fused_requests(contents)).dense[0]

    async def aembed_fused(self, contents: Contents) -> Vector:
        """Async version of `embed_fused`. Local images are read in a thread."""
        return (await self._aembed_all(await in_thread(self._fused_requests, contents))).dense[0]

    def get_image_embedding_batch(self, img_file_paths: list[ImageType], show_progress: bool = False) -> list[Vector]:
        """Return a vector for each image, in order."""
        with self._event(img_file_paths, show_progress) as (progress, end):
            return end(self._embed_all(self._image_requests(img_file_paths), progress).dense)

    async def aget_image_embedding_batch(
        self, img_file_paths: list[ImageType], show_progress: bool = False
    ) -> list[Vector]:
        """Async version of `get_image_embedding_batch`. Local images are read in a thread."""
        with self._event(img_file_paths, show_progress) as (progress, end):
            requests = await in_thread(self._image_requests, img_file_paths)
            return end((await self._aembed_all(requests, progress)).dense)

    def _get_image_embedding(self, img_file_path: ImageType) -> Vector:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Vector:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    def _get_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Vector]:
        return self._embed_all(self._image_requests(img_file_paths)).dense

    async def _aget_image_embeddings(self, img_file_paths: list[ImageType]) -> list[Vector]:
        requests = await in_thread(self._image_requests, img_file_paths)
        return (await self._aembed_all(requests)).dense

    def _image_requests(self, images: list[ImageType]) -> list[AnyEmbeddingRequest]:
        return self._content_requests([{"image": image} for image in images])

    @contextmanager
    def _event(
        self, images: list[ImageType], show_progress: bool
    ) -> Iterator[tuple[Progress | None, Callable[[list[Vector]], list[Vector]]]]:
        """Yield a progress callback, and a function that ends LlamaIndex's event and returns its vectors."""
        payload: dict[str, Any] = {EventPayload.SERIALIZED: self.to_payload()}
        bar = progress_bar(len(images), "Generating image embeddings") if show_progress else None
        with self.callback_manager.event(CBEventType.EMBEDDING, payload=payload) as event:

            def end(vectors: list[Vector]) -> list[Vector]:
                event.on_end(payload={EventPayload.CHUNKS: images, EventPayload.EMBEDDINGS: vectors})
                return vectors

            try:
                yield (None if bar is None else bar.update), end
            finally:
                if bar is not None:
                    bar.close()
