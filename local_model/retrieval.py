"""Build embedding and rerank responses in Model Studio's formats from vectors of the local embedding model. No I/O.

Source of the formats: the vendor's references of the text embedding and text rerank APIs, in both protocols. The model
does not distinguish queries from documents and supports no instructions, so `text_type` and `instruct` have no effect.
An embedding request with a text over the model's limit is rejected; the reranker truncates, as the service does.

The reranker is not a cross-encoder: the score of a document is the highest cosine similarity of the query to the
document or one of its sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import uuid4

Vector: TypeAlias = Sequence[float]
T = TypeVar("T")

EMBED = "/api/v1/services/embeddings/text-embedding/text-embedding"
RERANK = "/api/v1/services/rerank/text-rerank/text-rerank"
COMPATIBLE_RERANK = "/compatible-api/v1/reranks"
DIMENSIONS = 384
MAX_TOKENS = 512
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")


class InvalidRequest(ValueError):
    """The request is invalid or not supported. The message states the reason."""


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """Texts to embed, and a function from their unit vectors and token count to the response.

    `truncate` tells whether a text over the model's limit is truncated or rejected.
    """

    texts: Sequence[str]
    answer: Callable[[Sequence[Vector], int], T]
    truncate: bool = True


def task(path: str, body: Any) -> Task[dict[str, Any]] | None:
    """Return the task of a request, or None if `path` is not handled here. Raises InvalidRequest."""
    if path not in (EMBED, RERANK, COMPATIBLE_RERANK):
        return None
    if not isinstance(body, dict):
        raise InvalidRequest("the body is not a JSON object")
    if path == EMBED:
        return _embed(_object(body, "input"), _object(body, "parameters"))
    if path == RERANK:
        return _rerank(_object(body, "input"), _object(body, "parameters"), _native_ranking)
    return _rerank(body, body, lambda results, tokens: _compatible_ranking(body, results, tokens))


def check_compatible(body: Any) -> list[str]:
    """Return the texts of an OpenAI-compatible embedding request. Raises InvalidRequest for unsupported dimensions."""
    if not isinstance(body, dict):
        return []
    _check_dimensions(body.get("dimensions"))
    given = body.get("input")
    return [text for text in (given if isinstance(given, list) else [given]) if isinstance(text, str)]


def must_be_counted(text: str) -> bool:
    """Return True if a text may exceed the limit: a token has one character or more, except the first and the last."""
    return len(text) > MAX_TOKENS - 2


def fitted(text: str, tokens: list[int], *, truncate: bool) -> list[int]:
    """Return the tokens of a text. If they exceed the limit, truncate them, or raise InvalidRequest."""
    if len(tokens) <= MAX_TOKENS:
        return tokens
    if truncate:
        return [*tokens[: MAX_TOKENS - 1], tokens[-1]]
    raise InvalidRequest(
        f"the local embedding model accepts {MAX_TOKENS} tokens per text, and this one has {len(tokens)}: split "
        f"the text that begins with {text[:40]!r}"
    )


def failure(path: str, message: str) -> dict[str, Any]:
    """Return the JSON body of a 400 response, in the format of the path's protocol."""
    request_id = str(uuid4())
    if path.startswith("/api/"):
        return {"code": "InvalidParameter", "message": message, "request_id": request_id}
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_parameter_error"}
    return {"error": error, "request_id": request_id}


def _embed(given: Mapping[str, Any], parameters: Mapping[str, Any]) -> Task[dict[str, Any]]:
    _check_dimensions(parameters.get("dimension"))
    output = parameters.get("output_type", "dense")
    if output != "dense":
        raise InvalidRequest(f"the local embedding model supports dense vectors only, not output_type {output!r}")

    def answer(vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        items = [{"text_index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return {"output": {"embeddings": items}, "usage": {"total_tokens": tokens}, "request_id": str(uuid4())}

    return Task(_texts(given.get("texts"), "texts"), answer, truncate=False)


def _rerank(
    given: Mapping[str, Any],
    parameters: Mapping[str, Any],
    shape: Callable[[list[dict[str, Any]], int], dict[str, Any]],
) -> Task[dict[str, Any]]:
    [query] = _texts([given.get("query")], "query")
    parts = [_parts(document) for document in _texts(given.get("documents"), "documents")]
    top_n = parameters.get("top_n")
    if top_n is not None and (type(top_n) is not int or top_n < 1):
        raise InvalidRequest(f"top_n is {top_n!r}, not a positive integer")

    def answer(vectors: Sequence[Vector], tokens: int) -> dict[str, Any]:
        query_vector, *document_vectors = vectors
        remaining = iter(document_vectors)
        scores = [max(cosine(query_vector, next(remaining)) for _ in each) for each in parts]
        best = sorted(range(len(scores)), key=lambda at: -scores[at])[:top_n]
        return shape([{"index": at, "relevance_score": scores[at]} for at in best], tokens)

    return Task([query, *(part for each in parts for part in each)], answer)


def _parts(document: str) -> list[str]:
    """Return a document and, if it has several, its sentences."""
    sentences = [sentence for sentence in _SENTENCE_END.split(document.strip()) if sentence]
    return [document, *sentences] if len(sentences) > 1 else [document]


def _native_ranking(results: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    return {"output": {"results": results}, "usage": {"total_tokens": tokens}, "request_id": str(uuid4())}


def _compatible_ranking(body: Mapping[str, Any], results: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    usage = {"total_tokens": tokens}
    return {"object": "list", "results": results, "model": body.get("model"), "id": str(uuid4()), "usage": usage}


def cosine(one: Vector, other: Vector) -> float:
    """Return the cosine similarity of two unit vectors. Negative values become 0, because scores are 0 to 1."""
    return min(1.0, max(0.0, sum(x * y for x, y in zip(one, other, strict=True))))


def _check_dimensions(dimensions: Any) -> None:
    if dimensions not in (None, DIMENSIONS):
        raise InvalidRequest(
            f"the vectors of the local embedding model have {DIMENSIONS} dimensions, not {dimensions!r}"
        )


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name, {})
    if not isinstance(value, dict):
        raise InvalidRequest(f"{name} is not a JSON object but {value!r:.100}")
    return value


def _texts(values: Any, name: str) -> list[str]:
    """Return the texts in a list of strings or {"text": ...}. Raises InvalidRequest for anything else."""
    if not isinstance(values, list) or not values:
        raise InvalidRequest(f"{name} is not a list of texts but {values!r:.100}")
    found = []
    for value in values:
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str) or not text:
            raise InvalidRequest(f"{name} contains {value!r:.100}, but the local embedding model supports text only")
        found.append(text)
    return found
