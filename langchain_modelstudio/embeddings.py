"""Adapt the core's embeddings to LangChain's `Embeddings`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from langchain_core.embeddings import Embeddings
from pydantic import Field, model_validator
from typing_extensions import Self

from langchain_modelstudio.errors import ConfigurationError, langchain_errors
from modelstudio_core import errors as core_errors
from modelstudio_core.http.event_loop import in_thread
from modelstudio_core.http.local_files import Contents, Image
from modelstudio_core.protocols.embeddings import SparseVector, TextType, Vector
from modelstudio_core.retrieval_settings import EmbeddingSettings, Progress


class ModelStudioEmbeddings(EmbeddingSettings, Embeddings, defer_build=False):
    """Embeddings of Alibaba Cloud Model Studio, of texts and, by some models, of images and video.

    Texts are sent in as few requests as the model's limits allow, with up to `max_concurrency` concurrent requests.
    Vectors are returned in the order of the texts. The async methods use no threads.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[langchain]'
            export DASHSCOPE_API_KEY="sk-..."

    Key init args:
        model: model id, such as "text-embedding-v4" (default) or "qwen3-vl-embedding".
        dimensions: length of the vectors, if the model supports several; default: the model's.
        protocol: "openai" (default), or "dashscope" for the native protocol, which distinguishes queries from
            documents and supports `instruct` and sparse vectors.
        text_type: native protocol: embed every text as a "query" or a "document"; default: each as what it is.
        instruct: native protocol: task of queries, as an English sentence.
        batch_size: texts per request; default: as many as the model takes.
        max_concurrency: maximum number of concurrent requests (default 16).
        show_progress_bar: show a progress bar, with the package tqdm.
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

            from langchain_modelstudio import ModelStudioEmbeddings

            embeddings = ModelStudioEmbeddings(model="text-embedding-v4", protocol="dashscope")
            vectors = embeddings.embed_documents(["The sky is blue.", "Grass is green."])
            vector = embeddings.embed_query("What is green?")

    Async:
        .. code-block:: python

            vectors = await embeddings.aembed_documents(["The sky is blue.", "Grass is green."])

    Image:
        .. code-block:: python

            multimodal = ModelStudioEmbeddings(model="qwen3-vl-embedding")
            vectors = multimodal.embed_images(["https://example.com/sky.jpg"])

    Usage:
        .. code-block:: python

            counted = ModelStudioEmbeddings(usage_callback=lambda model, tokens: print(model, tokens))
            vector = counted.embed_query("What is green?")

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses and, at once, those of
            `langchain_core.exceptions` (see `langchain_modelstudio.errors`). A text that is empty, or certainly longer
            than the model takes, is a ConfigurationError that names its position, before anything is sent.
    """

    model: str = Field(default="text-embedding-v4", description="Model id; case-sensitive.")
    batch_size: int | None = Field(
        default=None, gt=0, description="Texts per request; default, and at most: as many as the model takes."
    )
    show_progress_bar: bool = Field(default=False, description="Show a progress bar, with the package tqdm.")

    configuration_error: ClassVar[type[core_errors.ConfigurationError]] = ConfigurationError

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        with langchain_errors():
            return self._check_embedding_settings()

    # ---------------------------------------------------------------- texts

    def embed_documents(self, texts: list[str]) -> list[Vector]:
        """Return a vector for each text, in order."""
        with langchain_errors(), self._progress_bar(len(texts)) as progress:
            return self._embed_texts(texts, "document", progress=progress).dense

    async def aembed_documents(self, texts: list[str]) -> list[Vector]:
        """Async version of `embed_documents`."""
        with langchain_errors(), self._progress_bar(len(texts)) as progress:
            return (await self._aembed_texts(texts, "document", progress=progress)).dense

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query."""
        with langchain_errors():
            return self._embed_texts([text], "query").dense[0]

    async def aembed_query(self, text: str) -> Vector:
        """Async version of `embed_query`."""
        with langchain_errors():
            return (await self._aembed_texts([text], "query")).dense[0]

    def embed_sparse(self, texts: Sequence[str], *, text_type: TextType = "document") -> list[SparseVector]:
        """Return pairs of index and weight for each text, in order; native protocol only."""
        with langchain_errors():
            return self._embed_texts(texts, text_type, "sparse").sparse

    async def aembed_sparse(self, texts: Sequence[str], *, text_type: TextType = "document") -> list[SparseVector]:
        """Async version of `embed_sparse`."""
        with langchain_errors():
            return (await self._aembed_texts(texts, text_type, "sparse")).sparse

    def embed_dense_and_sparse(
        self, texts: Sequence[str], *, text_type: TextType = "document"
    ) -> list[tuple[Vector, SparseVector]]:
        """Return a vector, and pairs of index and weight, for each text, in order; native protocol only."""
        with langchain_errors():
            both = self._embed_texts(texts, text_type, "dense&sparse")
            return list(zip(both.dense, both.sparse, strict=True))

    async def aembed_dense_and_sparse(
        self, texts: Sequence[str], *, text_type: TextType = "document"
    ) -> list[tuple[Vector, SparseVector]]:
        """Async version of `embed_dense_and_sparse`."""
        with langchain_errors():
            both = await self._aembed_texts(texts, text_type, "dense&sparse")
            return list(zip(both.dense, both.sparse, strict=True))

    # ---------------------------------------------------------------- images and video

    def embed_images(self, images: Sequence[Image]) -> list[Vector]:
        """Return a vector for each image, in order. An image is a URL, a data URI, a path, bytes or a binary file."""
        return self.embed_contents([{"image": image} for image in images])

    async def aembed_images(self, images: Sequence[Image]) -> list[Vector]:
        """Async version of `embed_images`."""
        return await self.aembed_contents([{"image": image} for image in images])

    def embed_contents(self, contents: Contents) -> list[Vector]:
        """Return a vector for each content, in order, by a multimodal model.

        Args:
            contents: texts, or {"text": ...}, {"image": see `embed_images`} or {"video": URL}.
        """
        with langchain_errors():
            return self._embed_all(self._content_requests(contents)).dense

    async def aembed_contents(self, contents: Contents) -> list[Vector]:
        """Async version of `embed_contents`. Local images are read in a thread."""
        with langchain_errors():
            return (await self._aembed_all(await in_thread(self._content_requests, contents))).dense

    def embed_fused(self, contents: Contents) -> Vector:
        """Return one vector for all contents together, by a multimodal model that fuses; see `embed_contents`."""
        with langchain_errors():
            return self._embed_all(self._fused_requests(contents)).dense[0]

    async def aembed_fused(self, contents: Contents) -> Vector:
        """Async version of `embed_fused`. Local images are read in a thread."""
        with langchain_errors():
            return (await self._aembed_all(await in_thread(self._fused_requests, contents))).dense[0]

    # ---------------------------------------------------------------- helpers

    def _model_id(self) -> str:
        return self.model

    def _rows(self) -> int | None:
        return self.batch_size

    @contextmanager
    def _progress_bar(self, total: int) -> Iterator[Progress | None]:
        if not self.show_progress_bar:
            yield None
            return
        try:
            from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it has no types
        except ImportError:
            raise ConfigurationError(
                "show_progress_bar=True needs tqdm: pip install 'modelstudio-integrations[progress]' "
                "(in a clone: pip install '.[progress]')"
            ) from None
        with tqdm(total=total, desc="Embedding", unit="text") as bar:
            yield bar.update
