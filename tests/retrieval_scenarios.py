"""Scenarios of the cassettes of embeddings and rerank, all written from the vendor's documented wire format.

A scenario is data: an operation, the settings of the object, and the inputs. The expected result is read from the
cassette's bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelstudio_core.errors import BadRequestError, ModelStudioError
from tests.cassette_format import Interaction

Operation = Literal["documents", "query", "sparse", "dense_and_sparse", "contents", "fused", "rerank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalScenario:
    """One request, and the vendor's page on which its response is based."""

    page: str
    operation: Operation
    given: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    fails: type[ModelStudioError] | None = None


TEXTS = ["The wind was sharp.", "The sky was high."]
NATIVE = {"protocol": "dashscope", "model": "text-embedding-v4", "dimensions": 64}
CAT = "https://example.com/cat.png"
PASSAGES = ["Plants turn light into sugar.", "Trains run on rails.", "Leaves are green because of chlorophyll."]
QUESTION = "Why are leaves green?"
RANKED = {"query": QUESTION, "documents": PASSAGES}
TEXT_PAGE = "Text embedding synchronous API"
MULTIMODAL_PAGE = "Multimodal embedding API"
RERANK_PAGE = "Text rerank API"

SCENARIOS: dict[str, RetrievalScenario] = {
    "compatible_documents": RetrievalScenario(
        page="OpenAI compatible - Embedding", operation="documents", given=TEXTS,
        settings={"model": "text-embedding-v4", "dimensions": 64},
    ),
    "native_documents": RetrievalScenario(page=TEXT_PAGE, operation="documents", given=TEXTS, settings=NATIVE),
    "native_query": RetrievalScenario(
        page=TEXT_PAGE, operation="query", given="What was the sky like?",
        settings={**NATIVE, "instruct": "Given a question, retrieve passages that answer it."},
    ),
    "native_sparse": RetrievalScenario(page=TEXT_PAGE, operation="sparse", given=TEXTS, settings=NATIVE),
    "native_dense_and_sparse": RetrievalScenario(
        page=TEXT_PAGE, operation="dense_and_sparse", given=TEXTS, settings=NATIVE
    ),
    "native_batch_too_large": RetrievalScenario(
        page="Error messages", operation="documents", given=["one", "two", "three"], fails=BadRequestError,
        settings={**NATIVE, "dimensions": None},
    ),
    "multimodal_contents": RetrievalScenario(
        page=MULTIMODAL_PAGE, operation="contents", given=[{"text": "A cat."}, {"image": CAT}],
        settings={"model": "tongyi-embedding-vision-flash-2026-03-06", "dimensions": 64},
    ),
    "multimodal_fused": RetrievalScenario(
        page=MULTIMODAL_PAGE, operation="fused", given=[{"text": "A cat."}, {"image": CAT}],
        settings={"model": "qwen3-vl-embedding", "dimensions": 256},
    ),
    "multimodal_fused_object": RetrievalScenario(
        page=MULTIMODAL_PAGE, operation="fused", given=[{"text": "A cat."}, {"image": CAT}],
        settings={"model": "tongyi-embedding-vision-flash-2026-03-06", "dimensions": 64},
    ),
    "rerank_compatible": RetrievalScenario(
        page=RERANK_PAGE, operation="rerank", given=RANKED,
        settings={"model": "qwen3-rerank", "top_n": 2, "instruct": "Given a question, find passages that answer it."},
    ),
    "rerank_native": RetrievalScenario(
        page=RERANK_PAGE, operation="rerank", given=RANKED, settings={"model": "gte-rerank-v2"}
    ),
    "rerank_unknown_model": RetrievalScenario(
        page="Error messages", operation="rerank", given=RANKED, settings={"model": "gte-rerank"},
        fails=BadRequestError,
    ),
}  # fmt: skip


def expected(interaction: Interaction, operation: Operation) -> Any:
    """Return the content of a response, read independently of this package."""
    body = json.loads(interaction.body)
    output = body.get("output", body)
    if operation == "rerank":
        return [(PASSAGES[each["index"]], each["relevance_score"]) for each in output["results"]]
    items = output.get("embeddings") or output["data"]
    items = sorted(items, key=lambda each: each.get("text_index", each.get("index")))
    dense = [item.get("embedding") for item in items]
    sparse = [[(pair["index"], pair["value"]) for pair in item.get("sparse_embedding", ())] for item in items]
    if operation == "sparse":
        return sparse
    if operation == "dense_and_sparse":
        return list(zip(dense, sparse, strict=True))
    return dense[0] if operation in ("query", "fused") else dense


def tokens(interaction: Interaction) -> int:
    """Return the total usage of a response."""
    total: int = json.loads(interaction.body)["usage"]["total_tokens"]
    return total
