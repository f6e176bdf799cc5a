"""A fake service of embeddings and rerank, with all endpoints of both protocols. Vectors are bags of words.

Results are in reverse order of the inputs, because the order of the service's results is only in their indexes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any
from zlib import crc32

from tests.loopback import Exchange, Received, Script, reply_json

DIMENSIONS = 256
EMBED = {"openai": "/compatible-mode/v1/embeddings",
         "dashscope": "/api/v1/services/embeddings/text-embedding/text-embedding"}  # fmt: skip
MULTIMODAL = "/api/v1/services/embeddings/multimodal-embedding/multimodal-embedding"
RERANK = {"compatible": "/compatible-api/v1/reranks", "native": "/api/v1/services/rerank/text-rerank/text-rerank"}
THROTTLED = {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded.", "request_id": "r-1"}


def words(text: str) -> list[str]:
    return [word.strip(".,?!").lower() for word in text.split()]


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """Return a bag of words of length 1, so that texts with common words are similar."""
    counts = [0.0] * dimensions
    for word in words(text):
        counts[crc32(word.encode()) % dimensions] += 1.0
    length = sqrt(sum(count * count for count in counts)) or 1.0
    return [count / length for count in counts]


def sparse(text: str) -> list[tuple[int, float]]:
    """Return index and weight of each word."""
    return [(crc32(word.encode()) % 1000, 0.5) for word in words(text)]


def relevance(query: Any, document: Any) -> float:
    """Return the fraction of the query's words that the document has."""
    asked, has = {*words(str(query))}, {*words(str(document))}
    return len(asked & has) / len(asked)


def inputs(request: Received) -> list[Any]:
    """Return the texts, contents or documents of a request."""
    body = request.json()
    if "documents" in body:
        return list(body["documents"])
    given = body["input"]
    if isinstance(given, list):
        return given
    found: list[Any] = given.get("texts") or given.get("contents") or given["documents"]
    return found


def answer(request: Received) -> dict[str, Any]:
    """Return the response body for a request."""
    body = request.json()
    if "rerank" in request.path:
        return _ranking(request, body)
    parameters = body.get("parameters", body)
    dimensions = parameters.get("dimension") or parameters.get("dimensions") or DIMENSIONS
    usage = {"total_tokens": sum(len(str(each).split()) for each in inputs(request))}
    if request.path == MULTIMODAL:
        contents = [" ".join(map(str, content.values())) for content in inputs(request)]
        if parameters.get("enable_fusion") or body["model"] == "qwen2.5-vl-embedding":
            contents = [" ".join(contents)]
        items = [{"index": at, "embedding": vector(each, dimensions)} for at, each in enumerate(contents)]
        return {"output": {"embeddings": items[::-1]}, "usage": usage, "request_id": "r-1"}
    native = request.path == EMBED["dashscope"]
    name = "text_index" if native else "index"
    output = parameters.get("output_type", "dense")
    items = []
    for at, text in enumerate(inputs(request)):
        item: dict[str, Any] = {name: at}
        if output != "sparse":
            item["embedding"] = vector(text, dimensions)
        if output != "dense":
            item["sparse_embedding"] = [{"index": index, "value": value, "token": "x"} for index, value in sparse(text)]
        items.append(item)
    if native:
        return {"output": {"embeddings": items[::-1]}, "usage": usage, "request_id": "r-1"}
    usage["prompt_tokens"] = usage["total_tokens"]
    return {"data": items[::-1], "object": "list", "model": body["model"], "usage": usage, "id": "1"}


def _ranking(request: Received, body: dict[str, Any]) -> dict[str, Any]:
    native = request.path == RERANK["native"]
    query = body["input"]["query"] if native else body["query"]
    top_n = body.get("parameters", body).get("top_n")
    results = [
        {"index": at, "relevance_score": relevance(query, document)} for at, document in enumerate(inputs(request))
    ]
    results = sorted(results, key=lambda each: -each["relevance_score"])[:top_n]
    usage = {"total_tokens": 10 * len(inputs(request))}
    if native:
        return {"output": {"results": results}, "usage": usage, "request_id": "r-1"}
    return {"object": "list", "results": results, "model": body["model"], "id": "1", "usage": usage}


def service(exchange: Exchange) -> None:
    """Answer any request like the service does. An unknown path is a 404."""
    known = {*EMBED.values(), MULTIMODAL, *RERANK.values()}
    if not any(exchange.request.path.endswith(path) for path in known):
        reply_json(404, {"code": "NotFound", "message": exchange.request.path})(exchange)
        return
    reply_json(200, answer(exchange.request), {"x-request-id": "r-1"})(exchange)


@dataclass
class Crowd:
    """The service, which answers only when `wanted` requests are in progress. `most` is the highest number so far."""

    wanted: int
    most: int = 0
    here: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, exchange: Exchange) -> None:
        with self.arrived:
            self.here += 1
            self.most = max(self.most, self.here)
            self.arrived.notify_all()
            self.arrived.wait_for(lambda: self.most >= self.wanted, timeout=5)
            self.here -= 1
        service(exchange)


def failing(which: Callable[[list[Any]], bool], script: Script, times: int = 1000) -> Script:
    """The service, which first answers requests with such inputs with `script`."""
    left = [times]

    def answered(exchange: Exchange) -> None:
        if which(inputs(exchange.request)) and left[0] > 0:
            left[0] -= 1
            script(exchange)
        else:
            service(exchange)

    return answered
