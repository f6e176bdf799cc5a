"""Answer the requests of both sides on loopback, and run the core like the SDK."""

from __future__ import annotations

from functools import partial
from typing import Any

from modelstudio_core.catalogue import model_info
from modelstudio_core.config import resolve
from modelstudio_core.http.client import Client
from modelstudio_core.http.retrieval import embed, rank_documents
from modelstudio_core.http.transport import Transport
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.rerank import RerankRequest
from modelstudio_core.retrieval import rerank_model
from modelstudio_core.types import ChatRequest, ChatResult
from tests.loopback import Exchange, Loopback, reply, reply_json, sse
from tests.native import frames
from tests.witness.calls import KEY, Request


def answer(exchange: Exchange) -> None:
    """Send a valid answer to any request of `calls`."""
    request = exchange.request
    path = request.path.partition("?")[0]
    if path == "/api/v1/uploads":
        reply_json(200, {"request_id": "r", "data": _policy(exchange._server.url)})(exchange)
    elif path == "/store":
        reply(200, b"")(exchange)
    elif "embedding" in path:
        body = request.json()
        given = body["input"].get("texts") or body["input"]["contents"]
        wanted = given[:1] if body.get("parameters", {}).get("enable_fusion") else given
        item = {"embedding": [0.5], "sparse_embedding": [{"index": 1, "value": 0.5, "token": "a"}]}
        items = [{**item, "index": at, "text_index": at} for at in range(len(wanted))]
        reply_json(200, {"output": {"embeddings": items}, "usage": {"total_tokens": 1}, "request_id": "r"})(exchange)
    elif "rerank" in path:
        ranked = [{"index": at, "relevance_score": 0.5} for at in range(2)]
        reply_json(200, {"output": {"results": ranked}, "results": ranked, "request_id": "r"})(exchange)
    elif path.endswith("/chat/completions"):
        body = request.json()
        said = [{"index": at, "finish_reason": "stop"} for at in range(body.get("n", 1))]
        key, send = ("delta", sse) if body.get("stream") else ("message", partial(reply_json, 200))
        send({"choices": [{**each, key: {"role": "assistant", "content": "hi"}} for each in said]})(exchange)
    else:
        message = {"role": "assistant", "content": "hi"}
        n = request.json()["parameters"].get("n", 1)
        choices = [{"index": at, "message": message, "finish_reason": "stop"} for at in range(n)]
        event = {"output": {"choices": choices}, "usage": {"input_tokens": 1, "output_tokens": 1}, "request_id": "r"}
        if request.headers.get("x-dashscope-sse") == "enable":
            reply(200, b"".join(frames([event])), {"content-type": "text/event-stream;charset=UTF-8"})(exchange)
        else:
            reply_json(200, event)(exchange)


def _policy(url: str) -> dict[str, Any]:
    return {
        "policy": "p",
        "signature": "s",
        "upload_dir": "dashscope-instant/1",
        "upload_host": f"{url}/store",
        "oss_access_key_id": "id",
        "x_oss_object_acl": "private",
        "x_oss_forbid_overwrite": "true",
        "max_file_size_mb": 100,
        "expire_in_seconds": 300,
    }


def run_ours(server: Loopback, request: Request, *, stream: bool = False, **settings: Any) -> ChatResult | None:
    """Send a request with the core, and return the answer of a chat. Default: native protocol, no retries."""
    settings = {"protocol": "dashscope", "max_retries": 0, **settings}
    config = resolve(base_url=server.url, api_key=KEY, environ={}, **settings)
    client = Client(config, Transport(timeout=config.timeout))
    try:
        if isinstance(request, ChatRequest):
            model = model_info(request.model)
            return fold([*client.stream(request, model)]) if stream else client.complete(request, model)
        if isinstance(request, RerankRequest):
            facts = rerank_model(request.model)
            rank_documents(client, request, facts, tournament=False, max_concurrency=1, report=lambda tokens: None)
        else:
            embed(client, request)
        return None
    finally:
        client.close()
