"""Settings of embedding and rerank models as pydantic fields, inherited by both adapters, and their requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from modelstudio_core.connection_settings import ConnectionSettings
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http.local_files import Contents, read_contents
from modelstudio_core.http.retrieval import (
    AnyEmbeddingRequest,
    JoinedEmbeddings,
    aembed_all,
    arank_documents,
    embed_all,
    rank_documents,
)
from modelstudio_core.limits import (
    check_contents,
    check_dimensions,
    check_texts,
    content_batches,
    fuse_contents,
    text_batches,
)
from modelstudio_core.protocols.embeddings import (
    Content,
    EmbeddingRequest,
    Embeddings,
    MultimodalEmbeddingRequest,
    OutputType,
    TextType,
    check_protocol,
)
from modelstudio_core.protocols.rerank import Document, Ranked, RerankRequest
from modelstudio_core.retrieval import (
    EmbeddingModel,
    RerankEndpoint,
    RerankModel,
    embedding_model,
    multimodal_models,
    rerank_model,
)

UsageCallback = Callable[[str, int], Any]
Progress = Callable[[int], Any]
ALL_MODALITIES = ("text", "image", "video", "multi_images")


class RetrievalSettings(ConnectionSettings):
    """Settings shared by embedding and rerank models."""

    max_concurrency: int = Field(
        default=16, gt=0, description="Maximum number of concurrent requests of one call. Lower it if throttled."
    )
    usage_callback: SkipJsonSchema[UsageCallback | None] = Field(
        default=None,
        exclude=True,
        repr=False,
        description="Called with the model id and the billed tokens of each response, in the thread of the call. "
        "Excluded from dumps and pickles.",
    )
    extra_body: dict[str, Any] | None = Field(
        default=None, description="Additional request parameters, sent unchanged."
    )
    capabilities: dict[str, Any] | None = Field(
        default=None,
        description="Model facts that override the known ones, such as {'max_rows': 25}; keys are fields of the "
        "classes in `modelstudio_core.retrieval`.",
    )

    def __getstate__(self) -> dict[Any, Any]:
        if self.usage_callback is not None:
            return self.model_copy(update={"usage_callback": None}).__getstate__()
        return super().__getstate__()

    def _report(self, model: str, tokens: int | None) -> None:
        if self.usage_callback is not None and tokens is not None:
            self.usage_callback(model, tokens)


class EmbeddingSettings(RetrievalSettings):
    """Settings of embedding models."""

    dimensions: int | None = Field(
        default=None, gt=0, description="Length of the vectors, if the model supports several. Default: the model's."
    )
    text_type: TextType | None = Field(
        default=None,
        description="Native protocol: embed every text as a 'query' or as a 'document'. Default: queries as queries, "
        "documents as documents.",
    )
    instruct: str | None = Field(
        default=None,
        description="Native protocol: the task of queries, as an English sentence. Not sent with documents.",
    )

    def _model_id(self) -> str:
        raise NotImplementedError

    def _facts(self) -> EmbeddingModel:
        """Return the facts of the model, overridden by `capabilities`."""
        return embedding_model(self._model_id(), self.capabilities)

    def _check_embedding_settings(self) -> Self:
        """Raise ConfigurationError for invalid settings."""
        self._core_client()
        facts = self._facts()
        check_dimensions(self.dimensions, facts)
        if facts.multimodal and self.text_type is not None:
            raise ConfigurationError(f"text_type={self.text_type!r} is not supported by {facts.id}")
        if not facts.multimodal:
            check_protocol(self.protocol, {"text_type": self.text_type, "instruct": self.instruct})
        return self

    def _rows(self) -> int | None:
        """Return the caller's maximum number of inputs per request, if any."""
        return None

    def _cache_namespace(self, text_type: TextType) -> str:
        """Return a cache key prefix of the settings that affect vectors."""
        return json.dumps(asdict(self._text_request((), text_type)), sort_keys=True, default=repr)

    def _batches(self, texts: Sequence[str]) -> list[range]:
        """Check all texts, and return the range of texts of each request."""
        facts = self._facts()
        check_texts(texts, facts)
        check_dimensions(self.dimensions, facts)
        return text_batches(texts, facts, self._rows())

    def _text_request(
        self,
        texts: Sequence[str],
        text_type: TextType,
        output_type: OutputType | None = None,
        positions: Sequence[int] = (),
    ) -> AnyEmbeddingRequest:
        instruct = self.instruct if text_type == "query" else None
        facts = self._facts()
        if facts.multimodal:
            if output_type is not None:
                raise ConfigurationError(f"{facts.id} does not return sparse vectors, but text-embedding-v4 does")
            return self._content_request([{"text": text} for text in texts], instruct, positions)
        if output_type is not None and facts.sparse is False:
            raise ConfigurationError(f"{facts.id} does not return sparse vectors, but text-embedding-v4 does")
        return EmbeddingRequest(
            model=facts.id,
            texts=texts,
            dimensions=self.dimensions,
            text_type=self.text_type or (text_type if self.protocol == "dashscope" else None),
            instruct=instruct,
            output_type=output_type,
            extra_body=self.extra_body or {},
            positions=positions,
        )

    def _content_request(
        self, contents: Sequence[Content], instruct: str | None = None, positions: Sequence[int] = ()
    ) -> MultimodalEmbeddingRequest:
        return MultimodalEmbeddingRequest(
            model=self._model_id(),
            contents=contents,
            dimensions=self.dimensions,
            instruct=instruct,
            parameters=self.extra_body or {},
            positions=positions,
        )

    def _content_requests(self, contents: Contents) -> list[AnyEmbeddingRequest]:
        """Return the requests that embed each content separately. Reads local images."""
        facts = self._multimodal_facts()
        read = read_contents(contents)
        check_contents(read, facts)
        check_dimensions(self.dimensions, facts)
        batches = content_batches(read, facts, self._rows())
        return [
            self._content_request(read[batch.start : batch.stop], positions=batch if len(batches) > 1 else ())
            for batch in batches
        ]

    def _fused_requests(self, contents: Contents) -> list[AnyEmbeddingRequest]:
        """Return the request for one vector of all contents. Reads local images."""
        facts = self._multimodal_facts()
        parts = [{kind: value} for content in read_contents(contents) for kind, value in content.items()]
        check_contents(parts, facts)
        check_dimensions(self.dimensions, facts)
        together, parameters = fuse_contents(parts, facts)
        request = self._content_request(together)
        return [replace(request, one_vector=True, parameters={**parameters, **request.parameters})]

    def _multimodal_facts(self) -> EmbeddingModel:
        """Return the facts of a multimodal model. Unlisted models are assumed to be multimodal."""
        facts = self._facts()
        if facts.multimodal:
            return facts
        if facts.source:  # it is listed
            known = ", ".join(multimodal_models())
            raise ConfigurationError(f"{facts.id} embeds text only. Multimodal models: {known}")
        return replace(facts, modalities=ALL_MODALITIES)

    # ---------------------------------------------------------------- calls

    def _embed_texts(
        self,
        texts: Sequence[str],
        text_type: TextType,
        output_type: OutputType | None = None,
        progress: Progress | None = None,
    ) -> Embeddings:
        """Return the vectors of `texts`, in order. `progress` is called with the number of newly embedded texts."""
        return self._embed_all(self._text_requests(texts, text_type, output_type), progress)

    async def _aembed_texts(
        self,
        texts: Sequence[str],
        text_type: TextType,
        output_type: OutputType | None = None,
        progress: Progress | None = None,
    ) -> Embeddings:
        """Async version of `_embed_texts`."""
        return await self._aembed_all(self._text_requests(texts, text_type, output_type), progress)

    def _text_requests(
        self, texts: Sequence[str], text_type: TextType, output_type: OutputType | None
    ) -> list[AnyEmbeddingRequest]:
        batches = self._batches(texts)
        return [
            self._text_request(
                texts[batch.start : batch.stop], text_type, output_type, batch if len(batches) > 1 else ()
            )
            for batch in batches
        ]

    def _embed_all(self, requests: Sequence[AnyEmbeddingRequest], progress: Progress | None = None) -> Embeddings:
        joined = JoinedEmbeddings(len(requests))
        embed_all(self._core_client(), requests, self.max_concurrency, partial(self._add, joined, progress))
        return joined.result()

    async def _aembed_all(
        self, requests: Sequence[AnyEmbeddingRequest], progress: Progress | None = None
    ) -> Embeddings:
        """Async version of `_embed_all`."""
        joined = JoinedEmbeddings(len(requests))
        await aembed_all(self._core_client(), requests, self.max_concurrency, partial(self._add, joined, progress))
        return joined.result()

    def _add(self, joined: JoinedEmbeddings, progress: Progress | None, index: int, part: Embeddings) -> None:
        joined.add(index, part)
        self._report(self._model_id(), part.tokens)
        if progress is not None:
            progress(len(part.dense or part.sparse))


class RerankSettings(RetrievalSettings):
    """Settings of rerank models."""

    model: str = Field(default="qwen3-rerank", description="Model id; case-sensitive.")
    top_n: int | None = Field(default=None, gt=0, description="Number of best documents to return; default: all.")
    instruct: str | None = Field(
        default=None,
        description="Ranking criterion, as an English sentence; default: the service's, for web search queries.",
    )
    split: bool = Field(
        default=False,
        description="If the documents do not fit into one request, rank them as a tournament: the `top_n` best of each "
        "request are ranked again, until all fit into one request, whose scores are returned. If False, raise an "
        "error with the limit.",
    )
    endpoint: RerankEndpoint | None = Field(
        default=None,
        description="Endpoint of the model: 'compatible' (/compatible-api/v1/reranks) or 'native' (text-rerank). "
        "Default: the one known to support the model.",
    )

    def _facts(self) -> RerankModel:
        """Return the facts of the model, overridden by `capabilities`."""
        facts = rerank_model(self.model, self.capabilities)
        return facts if self.endpoint is None else replace(facts, endpoint=self.endpoint)

    def _check_rerank_settings(self) -> Self:
        """Raise ConfigurationError for invalid settings."""
        self._core_client()
        self._facts()
        return self

    def _rank(self, query: Document, documents: Sequence[Document]) -> list[Ranked]:
        """Return the best documents, best first; `index` is a document's position in `documents`."""
        return rank_documents(
            self._core_client(),
            self._rerank_request(query, documents),
            self._facts(),
            tournament=self.split,
            max_concurrency=self.max_concurrency,
            report=partial(self._report, self.model),
        )

    async def _arank(self, query: Document, documents: Sequence[Document]) -> list[Ranked]:
        """Async version of `_rank`."""
        return await arank_documents(
            self._core_client(),
            self._rerank_request(query, documents),
            self._facts(),
            tournament=self.split,
            max_concurrency=self.max_concurrency,
            report=partial(self._report, self.model),
        )

    def _rerank_request(self, query: Document, documents: Sequence[Document]) -> RerankRequest:
        return RerankRequest(self.model, query, documents, self.top_n, self.instruct, self.extra_body or {})
