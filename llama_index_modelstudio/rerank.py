"""Adapt the core's rerank to LlamaIndex's node postprocessor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index_instrumentation import get_dispatcher
from pydantic import model_validator
from typing_extensions import Self

from llama_index_modelstudio.errors import ConfigurationError
from modelstudio_core.http.event_loop import in_thread
from modelstudio_core.http.local_files import image_address
from modelstudio_core.media import data_uri
from modelstudio_core.protocols.rerank import Document, Ranked
from modelstudio_core.retrieval_settings import RerankSettings

_dispatcher = get_dispatcher(__name__)


class ModelStudioRerank(RerankSettings, BaseNodePostprocessor, defer_build=False):
    """Rerank models of Alibaba Cloud Model Studio: order nodes by relevance to a query.

    Returns new `NodeWithScore`s, best first, with the relevance, 0 to 1, as `score`. Scores are comparable within one
    call only. Nodes are ranked by their embedding text, including metadata; image nodes without text by their image, if
    the model supports images.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[llama-index]'
            export DASHSCOPE_API_KEY="sk-..."

    Key init args:
        model: model id: "qwen3-rerank" (default), "qwen3.7-text-rerank", "qwen3-vl-rerank" or "gte-rerank-v2".
        top_n: how many of the best nodes to return; default: all.
        instruct: ranking criterion, as an English sentence.
        split: rank more nodes than a request takes as a tournament, which needs `top_n`; default: an error.
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

            from llama_index.core.schema import NodeWithScore, TextNode
            from llama_index_modelstudio import ModelStudioRerank

            rerank = ModelStudioRerank(top_n=1)  # as_query_engine(similarity_top_k=20, node_postprocessors=[rerank])
            nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("The sky is blue.", "Grass is green.")]
            best = rerank.postprocess_nodes(nodes, query_str="What is green?")
            print(best[0].text, best[0].score)

    Async:
        .. code-block:: python

            best = await rerank.apostprocess_nodes(nodes, query_str="What is green?")

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses (see `llama_index_modelstudio.errors`).
            An empty query or node, or more nodes than fit into one request, raise ConfigurationError before anything is
            sent.
    """

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        return self._check_rerank_settings()

    @classmethod
    def class_name(cls) -> str:
        """Return the class name used in LlamaIndex serialization."""
        return "ModelStudioRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._event(nodes, query_bundle) as (query, best):
            best += _scored(nodes, self._rank(query, self._documents(nodes)))
        return best

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        with self._event(nodes, query_bundle) as (query, best):
            best += _scored(nodes, await self._arank(query, await self._adocuments(nodes)))
        return best

    def _documents(self, nodes: list[NodeWithScore]) -> list[Document]:
        accepts_images = "image" in self._facts().modalities
        return [_document(scored.node, accepts_images) for scored in nodes]

    async def _adocuments(self, nodes: list[NodeWithScore]) -> list[Document]:
        """Async version of `_documents`: files are read in a thread."""
        if any(isinstance(scored.node, ImageNode) for scored in nodes):
            return await in_thread(self._documents, nodes)
        return self._documents(nodes)

    @contextmanager
    def _event(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None
    ) -> Iterator[tuple[str, list[NodeWithScore]]]:
        """Yield the query and a list to fill with the best nodes, between LlamaIndex's events."""
        if query_bundle is None:
            raise ConfigurationError("no query to rank by: pass query_bundle= or query_str=")
        query, top_n = query_bundle.query_str, self.top_n or len(nodes)
        best: list[NodeWithScore] = []
        _dispatcher.event(ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=top_n, model_name=self.model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query,
            EventPayload.TOP_K: top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            yield query, best
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))


def _document(node: BaseNode, accepts_images: bool) -> Document:
    if accepts_images and isinstance(node, ImageNode) and not node.text:
        if node.image is not None:
            return {"image": data_uri(node.image_mimetype or "image/jpeg", node.image)}
        if node.image_url is not None or node.image_path is not None:
            return {"image": node.image_url or image_address(node.image_path)}
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def _scored(nodes: list[NodeWithScore], ranked: Iterable[Ranked]) -> list[NodeWithScore]:
    return [NodeWithScore(node=nodes[each.index].node, score=each.score) for each in ranked]
