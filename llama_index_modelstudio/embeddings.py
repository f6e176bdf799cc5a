"""Adapt the core's embeddings to LlamaIndex's `BaseEmbedding`.

The sync methods of `BaseEmbedding` send batches sequentially, the async ones all at once, and vectors are cached by
text alone. So they are overridden here, with the same events, cache format and rate limiter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import BaseNode
from pydantic import Field, model_validator
from typing_extensions import Self

from llama_index_modelstudio.embedding_run import EmbeddingRun
from llama_index_modelstudio.tracing import hide_headers, without_span
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http.retrieval import aembed_all, embed_all
from modelstudio_core.protocols.embeddings import SparseVector, TextType, Vector
from modelstudio_core.retrieval import embedding_model
from modelstudio_core.retrieval_settings import EmbeddingSettings


# LlamaIndex wraps them so that they cannot be pickled; these are plain functions
@hide_headers(
    "get_query_embedding", "aget_query_embedding", "get_text_embedding", "aget_text_embedding",
    "get_text_embedding_batch", "aget_text_embedding_batch",
)  # fmt: skip
class ModelStudioEmbedding(EmbeddingSettings, BaseEmbedding, defer_build=False):
    """Text embeddings of Alibaba Cloud Model Studio.

    Texts are sent in as few requests as the model's limits allow, with up to `max_concurrency` concurrent requests.
    Vectors are returned in the order of the texts. The async methods use no threads.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[llama-index]'
            export DASHSCOPE_API_KEY="sk-..."

    Key init args:
        model_name: model id (default "text-embedding-v4"); also accepted as `model`.
        dimensions: length of the vectors, if the model supports several; default: the model's.
        protocol: "openai" (default), or "dashscope" for the native protocol, which distinguishes queries from
            documents and supports `instruct` and sparse vectors.
        text_type: native protocol: embed every text as a "query" or a "document"; default: each as what it is.
        instruct: native protocol: task of queries, as an English sentence.
        embed_batch_size: texts per request; default and maximum: the model's limit.
        max_concurrency: maximum number of concurrent requests (default 16); `num_workers` sets it for async calls.
        embeddings_cache: a KVStore. Keys include the model, dimensions, text type and instruction, so that several
            models can share a store.
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

    Index:
        .. code-block:: python

            from llama_index.core import Document, VectorStoreIndex
            from llama_index_modelstudio import ModelStudioEmbedding

            embedding = ModelStudioEmbedding(model="text-embedding-v4", protocol="dashscope")
            documents = [Document(text="The sky is blue."), Document(text="Grass is green.")]
            index = VectorStoreIndex.from_documents(documents, embed_model=embedding)

    Async:
        .. code-block:: python

            vectors = await embedding.aget_text_embedding_batch(["The sky is blue.", "Grass is green."])

    Usage:
        .. code-block:: python

            counted = ModelStudioEmbedding(usage_callback=lambda model, tokens: print(model, tokens))
            vector = counted.get_query_embedding("What is green?")

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses (see `llama_index_modelstudio.errors`).
            An empty text, or one that certainly exceeds the model's limit, raises ConfigurationError with its position
            before anything is sent.
    """

    model_name: str = Field(default="text-embedding-v4", description="Model id; also accepted as `model`.")
    if TYPE_CHECKING:  # lets type checkers accept either name
        model: str = ""
    else:

        @property
        def model(self) -> str:
            """Return the model id, under the name used by the chat model."""
            return self.model_name

    @model_validator(mode="before")
    @classmethod
    def _fill_in_batches(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "model" in values:
            values = {"model_name": values["model"], **values}
            del values["model"]
        name = values.get("model_name", cls.model_fields["model_name"].default)
        return {"embed_batch_size": embedding_model(str(name), values.get("capabilities")).max_rows, **values}

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        return self._check_embedding_settings()

    @classmethod
    def class_name(cls) -> str:
        """Return the class name used in LlamaIndex serialization."""
        return "ModelStudioEmbedding"

    def to_payload(self) -> dict[str, Any]:
        """Return the description of this object in events. Older LlamaIndex releases lack this method."""
        names = ("model_name", "embed_batch_size", "dimensions", "protocol")
        return {"class_name": self.class_name(), **{name: getattr(self, name) for name in names}}

    # ---------------------------------------------------------------- dense vectors

    def get_query_embedding(self, query: str) -> Vector:
        """Return the vector of a query."""
        return self._embedded([query], "query")[0]

    async def aget_query_embedding(self, query: str) -> Vector:
        """Async version of `get_query_embedding`."""
        return (await self._aembedded([query], "query"))[0]

    def get_text_embedding(self, text: str) -> Vector:
        """Return the vector of a document's text."""
        return self._embedded([text], "document")[0]

    async def aget_text_embedding(self, text: str) -> Vector:
        """Async version of `get_text_embedding`."""
        return (await self._aembedded([text], "document"))[0]

    def get_text_embedding_batch(self, texts: list[str], show_progress: bool = False, **kwargs: Any) -> list[Vector]:
        """Return a vector for each text, in order."""
        return self._embedded(texts, "document", show_progress)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[Vector]:
        """Async version of `get_text_embedding_batch`."""
        return await self._aembedded(texts, "document", show_progress)

    # ---------------------------------------------------------------- nodes

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Set the vectors of nodes, as a step of a pipeline. An error for an invalid text names its document."""
        with _add_document_to_errors(nodes):
            return without_span(super().__call__)(nodes, **kwargs)

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Async version of `__call__`."""
        with _add_document_to_errors(nodes):
            return await super().acall(nodes, **kwargs)

    # ---------------------------------------------------------------- sparse vectors

    def embed_sparse(self, texts: list[str], *, text_type: TextType = "document") -> list[SparseVector]:
        """Return pairs of index and weight for each text, in order; native protocol only."""
        return self._embed_texts(texts, text_type, "sparse").sparse

    async def aembed_sparse(self, texts: list[str], *, text_type: TextType = "document") -> list[SparseVector]:
        """Async version of `embed_sparse`."""
        return (await self._aembed_texts(texts, text_type, "sparse")).sparse

    def embed_dense_and_sparse(
        self, texts: list[str], *, text_type: TextType = "document"
    ) -> list[tuple[Vector, SparseVector]]:
        """Return a vector, and pairs of index and weight, for each text, in order; native protocol only."""
        both = self._embed_texts(texts, text_type, "dense&sparse")
        return list(zip(both.dense, both.sparse, strict=True))

    async def aembed_dense_and_sparse(
        self, texts: list[str], *, text_type: TextType = "document"
    ) -> list[tuple[Vector, SparseVector]]:
        """Async version of `embed_dense_and_sparse`."""
        both = await self._aembed_texts(texts, text_type, "dense&sparse")
        return list(zip(both.dense, both.sparse, strict=True))

    # ---------------------------------------------------------------- abstract methods of BaseEmbedding

    def _get_query_embedding(self, query: str) -> Vector:
        return self._embed_texts([query], "query").dense[0]

    async def _aget_query_embedding(self, query: str) -> Vector:
        return (await self._aembed_texts([query], "query")).dense[0]

    def _get_text_embedding(self, text: str) -> Vector:
        return self._embed_texts([text], "document").dense[0]

    async def _aget_text_embedding(self, text: str) -> Vector:
        return (await self._aembed_texts([text], "document")).dense[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return self._embed_texts(texts, "document").dense

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Vector]:
        return (await self._aembed_texts(texts, "document")).dense

    # ---------------------------------------------------------------- helpers

    def _model_id(self) -> str:
        return self.model_name

    def _rows(self) -> int | None:
        return self.embed_batch_size

    def _embedded(self, texts: list[str], text_type: TextType, show_progress: bool = False) -> list[Vector]:
        """Return the vectors of `texts`, cached or new, with LlamaIndex's events."""
        cache, admit = self.embeddings_cache, self.rate_limiter and self.rate_limiter.acquire
        with self._run(texts, text_type, show_progress) as run:
            if cache is not None:
                run.use_cached([cache.get(key, collection="embeddings") for key in run.keys])
            try:
                embed_all(self._core_client(), run.requests(), self.max_concurrency, run.add_response, admit)
            finally:
                if cache is not None:
                    for key, value in run.new_entries():
                        cache.put(key, value, collection="embeddings")
            return run.result()

    async def _aembedded(self, texts: list[str], text_type: TextType, show_progress: bool = False) -> list[Vector]:
        """Async version of `_embedded`."""
        cache, admit = self.embeddings_cache, self.rate_limiter and self.rate_limiter.async_acquire
        with self._run(texts, text_type, show_progress) as run:
            if cache is not None:
                run.use_cached([await cache.aget(key, collection="embeddings") for key in run.keys])
            try:
                most = self.num_workers or self.max_concurrency
                await aembed_all(self._core_client(), run.requests(), most, run.add_response, admit)
            finally:
                if cache is not None:
                    for key, value in run.new_entries():
                        await cache.aput(key, value, collection="embeddings")
            return run.result()

    def _run(self, texts: list[str], text_type: TextType, show_progress: bool) -> EmbeddingRun:
        return EmbeddingRun(
            texts=texts,
            batches=self._batches(texts),
            request=lambda chosen, positions: self._text_request(chosen, text_type, positions=positions),
            namespace="" if self.embeddings_cache is None else self._cache_namespace(text_type),
            model=self.to_payload(),
            report=lambda tokens: self._report(self.model_name, tokens),
            callbacks=self.callback_manager,
            show_progress=show_progress,
        )


@contextmanager
def _add_document_to_errors(nodes: Sequence[BaseNode]) -> Iterator[None]:
    """Add the file or the ID of the document to an error for an invalid text, whose position the caller cannot know."""
    try:
        yield
    except ConfigurationError as error:
        for position in error.inputs:
            node = nodes[position]
            document = node.metadata.get("file_path") or node.ref_doc_id or node.node_id
            error.message = f"{error.message} (document {document})"
        error.args = (error.message,)
        raise
