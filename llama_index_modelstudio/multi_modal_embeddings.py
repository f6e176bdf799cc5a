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
        dimensions: length of the vectors, if the model supports several; default: the model's.
        instruct: task of queries, as an English sentence.
        text_type: an error; multimodal models have none.
        protocol: not used; requests always use the native protocol.
        embed_batch_size: contents per request; default and maximum: the model's limit.
        max_concurrency: maximum number of concurrent requests (default 16); `num_workers` sets it for async calls.
        usage_callback: called with the model id and the billed tokens of each response.
        extra_body: additional request parameters, sent unchanged.
        capabilities: model facts that override the known ones, such as {"max_rows": 25}.

    Key init args for connection:
        api_key: API key, or a sync or async function that returns it; default: DASHSCOPE_API_KEY.
        base_url: URL to use instead of a region's host; default: DASHSCOPE_BASE_URL.
        region: such as "singapore" (default), "beijing" or "frankfurt"; default: DASHSCOPE_REGION.
        workspace: workspace id, required in Frankfurt and Tokyo; default: DASHSCOPE_WORKSPACE.
        timeout: seconds without data (default 300; connecting at most 10), or an httpx.Timeout.
        max_retries: maximum number of retries (default 2).
        requests_per_minute: limit that all calls of the process share; default: none.
        tokens_per_minute: limit of tokens, also shared by all calls of the process; default: none.
        default_headers: HTTP headers to add to every request.
        allow_insecure: allow sending the key over plain HTTP to another machine.
        max_event_bytes: maximum size in bytes of a response (default 32 MiB).
        http_client: httpx.Client for sync calls; the caller closes it.
        http_async_client: httpx.AsyncClient for async calls; the caller closes it.

    Embed:
        .. code-block:: python

            from llama_index_modelstudio import ModelStudioMultiModalEmbedding

            embedding = ModelStudioMultiModalEmbedding(model="qwen3-vl-embedding")
            vectors = embedding.get_image_embedding_batch(["https://example.com/cat.png", "https://example.com/dog.png"])
            vector = embedding.embed_fused([{"text": "A cat."}, {"image": "https://example.com/cat.png"}])

    Async:
        .. code-block:: python

            vector = await embedding.aget_query_embedding("A cat.")
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
