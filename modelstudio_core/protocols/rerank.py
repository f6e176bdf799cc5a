"""Encode rerank requests and decode relevance scores, for the service's two rerank endpoints.

Source: the vendor's text rerank reference. The compatible endpoint takes a flat body; the native one takes `input` and
`parameters`, and `fps` for videos. Scores are comparable within one request only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeAlias

from modelstudio_core.errors import ProtocolError
from modelstudio_core.protocols.codec import read_object, write_json
from modelstudio_core.protocols.embeddings import tokens_of
from modelstudio_core.protocols.errors import error_of_object, reports_failure
from modelstudio_core.retrieval import RerankEndpoint
from modelstudio_core.types import ResponseHead, WireCall

COMPATIBLE = "/compatible-api/v1/reranks"
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
_HEADERS = {"content-type": "application/json", "accept": "application/json"}

Document: TypeAlias = "str | Mapping[str, Any]"


@dataclass(frozen=True, slots=True)
class RerankRequest:
    """A query and the documents to score against it. Parameters that are None are not sent.

    A document is a text or, for multimodal models, {"text": ...}, {"image": URL or data URI} or {"video": URL}.
    `top_n`: number of best documents to return; None for all. `positions` are the indices of the documents in the
    caller's list.
    """

    model: str
    query: Document
    documents: Sequence[Document]
    top_n: int | None = None
    instruct: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    positions: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """Index of a document in the request, and its relevance, 0 to 1."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents of one response, best first. `tokens` are the billed tokens, or None if not reported."""

    documents: list[Ranked]
    tokens: int | None


def encode(request: RerankRequest, endpoint: RerankEndpoint) -> WireCall:
    """Return the HTTP request. Its path is relative to the origin, not to the base URL of chat."""
    named = {"top_n": request.top_n, "instruct": request.instruct}
    parameters = {**{name: value for name, value in named.items() if value is not None}, **request.extra_body}
    fields = {"query": request.query, "documents": list(request.documents)}
    if endpoint == "compatible":
        return WireCall(COMPATIBLE, _HEADERS, write_json({"model": request.model, **fields, **parameters}))
    body: dict[str, Any] = {"model": request.model, "input": fields}
    return WireCall(NATIVE, _HEADERS, write_json(body | ({"parameters": parameters} if parameters else {})))


def decode(request: RerankRequest, endpoint: RerankEndpoint, head: ResponseHead, body: bytes) -> Ranking:
    """Return the scores, best first.

    Raises the typed error that the body reports, even beside results, or ProtocolError if a score is missing.
    """
    value = read_object(body)
    if reports_failure(value):
        raise error_of_object(value, None, head)
    output = value if endpoint == "compatible" else value.get("output")
    items = output.get("results") if isinstance(output, dict) else None
    ranked = [_ranked(item) for item in items] if isinstance(items, list) else []
    sent = len(request.documents)
    wanted = sent if request.top_n is None else min(request.top_n, sent)
    known = {each.index for each in ranked}
    if len(known) != len(ranked) or len(ranked) < wanted or not known <= {*range(sent)}:
        which = f" (documents {', '.join(str(each.index) for each in ranked[:20])})" if ranked else ""
        raise ProtocolError(f"expected scores for {wanted} of the {sent} documents, got {len(ranked)}{which}")
    ranked.sort(key=lambda each: -each.score)
    return Ranking(ranked[:wanted], tokens_of(value))


def _ranked(item: Any) -> Ranked:
    if isinstance(item, dict) and type(item.get("index")) is int and type(item.get("relevance_score")) in (int, float):
        with suppress(OverflowError):
            if isfinite(score := float(item["relevance_score"])):
                return Ranked(item["index"], score)
    raise ProtocolError(f"the service sent a result without index and relevance score: {item!r:.100}")
