"""Adapt the core's rerank to LangChain's document compressor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import model_validator
from typing_extensions import Self

from langchain_modelstudio.errors import ConfigurationError, langchain_errors
from modelstudio_core import errors as core_errors
from modelstudio_core.protocols.rerank import Ranked
from modelstudio_core.retrieval_settings import RerankSettings

SCORE = "relevance_score"


class ModelStudioRerank(RerankSettings, BaseDocumentCompressor, defer_build=False):
    """Rerank models of Alibaba Cloud Model Studio: documents ordered by how well they answer a query.

    Returns copies of the documents, best first, with the score, 0 to 1, as `metadata["relevance_score"]`. Scores are
    comparable within one call only.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[langchain]'
            export DASHSCOPE_API_KEY="sk-..."

    Key init args:
        model: model id: "qwen3-rerank" (default), "qwen3.7-text-rerank", "qwen3-vl-rerank" or "gte-rerank-v2".
        top_n: how many of the best documents to return; default: all.
        instruct: ranking criterion, as an English sentence.
        split: rank more documents than a request takes as a tournament, which needs `top_n`; default: an error.
        endpoint: "compatible" or "native"; default: the one that is known to have the model.
        protocol: not used; `endpoint` is.
        max_concurrency: maximum number of concurrent requests of a tournament (default 16).
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

    Rerank:
        .. code-block:: python

            from langchain_core.documents import Document
            from langchain_modelstudio import ModelStudioRerank

            rerank = ModelStudioRerank(top_n=1, instruct="Given a question, find passages that answer it.")
            documents = [Document("The sky is blue."), Document("Grass is green.")]
            best = rerank.compress_documents(documents, "What is green?")
            print(best[0].page_content, best[0].metadata["relevance_score"])

    Async:
        .. code-block:: python

            best = await rerank.acompress_documents(documents, "What is green?")

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses and, at once, those of
            `langchain_core.exceptions` (see `langchain_modelstudio.errors`). An empty query, an empty document, by its
            position, or more documents than fit into one request are a ConfigurationError, before anything is sent.
    """

    configuration_error: ClassVar[type[core_errors.ConfigurationError]] = ConfigurationError

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        with langchain_errors():
            return self._check_rerank_settings()

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return copies of the `top_n` best documents for `query`, best first, with their `relevance_score`."""
        with langchain_errors():
            return _scored(documents, self._rank(query, [document.page_content for document in documents]))

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Async version of `compress_documents`."""
        with langchain_errors():
            return _scored(documents, await self._arank(query, [document.page_content for document in documents]))


def _scored(documents: Sequence[Document], ranked: Iterable[Ranked]) -> list[Document]:
    return [
        documents[each.index].model_copy(update={"metadata": {**documents[each.index].metadata, SCORE: each.score}})
        for each in ranked
    ]
