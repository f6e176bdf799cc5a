"""Calls with the native protocol over a real connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelstudio_core.catalogue import model_info
from modelstudio_core.config import resolve
from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    BadRequestError,
    ModelStudioError,
    StreamTruncatedError,
)
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.types import ChatRequest, ChatResult, Delta, Message, TextDelta, Usage, UsageDelta
from tests.loopback import Exchange, Loopback, reply_json

USER = Message("user", "hello")
TEXT, MULTIMODAL = "text-generation", "multimodal-generation"
PARTS = {"role": "assistant", "content": [{"text": "hi"}]}
SAID = {"output": {"choices": [{"message": PARTS, "finish_reason": "stop"}]}, "request_id": "req-1"}
WRONG = {"code": "InvalidParameter", "message": "url error, please check url！", "request_id": "req-2"}
BEGUN = (
    'id:1\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"choices":[{"message":{"content":"A"},"finish_reason":"null"}'
    ']},"usage":{"input_tokens":3,"output_tokens":1,"total_tokens":4},"request_id":"req-1"}\n\n'
)
KIND = {"content-type": "text/event-stream;charset=UTF-8"}


def client_of(server: Loopback, protocol: Any = "dashscope") -> Client:
    config = resolve(base_url=server.url, protocol=protocol, max_retries=0, environ={})
    return Client(config, Transport(timeout=config.timeout))


def complete(client: Client, request: ChatRequest, way: str = "sync") -> ChatResult:
    model = model_info(request.model)
    if way == "sync":
        with_client = client.complete(request, model)
        client.close()
        return with_client

    async def run() -> ChatResult:
        try:
            return await client.acomplete(request, model)
        finally:
            await client.aclose()

    return asyncio.run(run())


PLACES: list[tuple[str, str | None, str]] = [
    # a model, what the caller says, and the service that is asked
    ("qwen-max", None, TEXT),
    ("qwen-vl-max", None, MULTIMODAL),
    ("qwen-vl-max", TEXT, TEXT),
    ("qwen-max", MULTIMODAL, MULTIMODAL),
    ("model-of-tomorrow", None, TEXT),
    ("model-of-tomorrow", MULTIMODAL, MULTIMODAL),
]


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(("model", "said", "asked"), PLACES)
def test_the_endpoint(model: str, said: Any, asked: str, way: str) -> None:
    """The argument overrides the catalogue, whose default is text-generation."""
    with Loopback(reply_json(200, SAID)) as server:
        request = ChatRequest(model, (USER,), native_endpoint=said, streaming=False)
        result = complete(client_of(server), request, way)
        assert server.requests[-1].path == f"/api/v1/services/aigc/{asked}/generation"
        assert result.choices[0].text == "hi"


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize(("said", "other"), [(None, MULTIMODAL), (TEXT, MULTIMODAL), (MULTIMODAL, TEXT)])
def test_the_wrong_endpoint(said: Any, other: str, way: str) -> None:
    """The service only says "url error". Our error names the setting and the other endpoint."""
    with Loopback(reply_json(400, WRONG)) as server, pytest.raises(BadRequestError) as caught:
        complete(client_of(server), ChatRequest("model-of-tomorrow", (USER,), native_endpoint=said), way)
    assert "url error" in caught.value.message
    assert f'native_endpoint="{other}"' in caught.value.message
    assert caught.value.code == "InvalidParameter"


def test_the_compatible_protocol_has_no_endpoints() -> None:
    """A "url error" is not changed there."""
    with Loopback(reply_json(400, {"error": WRONG})) as server, pytest.raises(BadRequestError) as caught:
        complete(client_of(server, "openai"), ChatRequest("qwen-max", (USER,)))
    assert "native_endpoint" not in caught.value.message


UNFINISHED: dict[str, dict[str, Any]] = {
    "dashscope": {"output": {"choices": [{"message": PARTS, "finish_reason": "null"}]}, "request_id": "req-1"},
    "openai": {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": None}], "request_id": "req-1"},
}


@pytest.mark.parametrize("protocol", UNFINISHED)
def test_a_truncated_answer_has_its_request_id(protocol: str) -> None:
    """The error has the request ID of the body, like that of a stream."""
    with Loopback(reply_json(200, UNFINISHED[protocol])) as server, pytest.raises(StreamTruncatedError) as caught:
        complete(client_of(server, protocol), ChatRequest("qwen-max", (USER,)))
    assert caught.value.request_id == "req-1"
    assert caught.value.partial is not None
    assert caught.value.partial.text == "hi"


def lost(exchange: Exchange) -> None:
    """Send half an answer, then close the connection."""
    exchange.send_head(200, KIND)
    exchange.send_chunk(BEGUN.encode())
    exchange.close()


@pytest.mark.parametrize("way", ["sync", "async"])
def test_usage_after_a_lost_connection(way: str) -> None:
    """Each event has the usage, so `partial` has usage and content."""
    with Loopback(lost) as server, pytest.raises(ModelStudioError) as caught:
        complete(client_of(server), ChatRequest("qwen-max", (USER,), streaming=True), way)
    assert isinstance(caught.value, APIConnectionError | APITimeoutError)
    partial = caught.value.partial
    assert partial is not None
    assert (partial.choices[0].text, partial.usage) == ("A", Usage(3, 1, 4))


@pytest.mark.parametrize("way", ["sync", "async"])
def test_usage_is_yielded_before_the_error(way: str) -> None:
    """To the consumer of the stream."""
    heard: list[Delta] = []
    request, model = ChatRequest("qwen-max", (USER,)), model_info("qwen-max")

    async def alisten(client: Client) -> None:
        async for delta in client.astream(request, model):
            heard.append(delta)

    def listen(client: Client) -> None:
        for delta in client.stream(request, model):
            heard.append(delta)

    with Loopback(lost) as server, pytest.raises(APIConnectionError):
        listen(client_of(server)) if way == "sync" else asyncio.run(alisten(client_of(server)))
    assert heard[1:] == [TextDelta("A"), UsageDelta(Usage(3, 1, 4))]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_the_connection_is_reused(way: str) -> None:
    """No event ends a native stream, so the body is read to its end."""
    body = BEGUN.replace('"null"', '"stop"').encode()

    def whole(exchange: Exchange) -> None:
        exchange.send_head(200, KIND)
        exchange.send_chunk(body)
        exchange.end()

    with Loopback(whole) as server:
        client, request = client_of(server), ChatRequest("qwen-max", (USER,))
        model = model_info("qwen-max")

        async def run() -> None:
            for _ in range(3):
                assert [d async for d in client.astream(request, model)]
            await client.aclose()

        if way == "async":
            asyncio.run(run())
        else:
            for _ in range(3):
                assert list(client.stream(request, model))
            client.close()
        assert (len(server.requests), server.connections) == (3, 1)
