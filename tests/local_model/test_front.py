"""What llama.cpp sends if it fails, and what the client receives: never an answer that looks whole."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from local_model.front import ApiServer
from local_model.options import Options
from tests.loopback import Exchange, Loopback, Script, reply, reply_json

FORCED: dict[str, Any] = {
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
    "tool_choice": "required",
}
FAILURE = {"error": {"code": 500, "message": "out of memory", "type": "server_error"}}


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c-1", "created": 1, "model": "m", "choices": [choice]}


BEGUN = [chunk(role="assistant", content=None), chunk(reasoning_content="Hm.")]


@contextmanager
def front(*events: Any, done: bool = False, script: Script | None = None) -> Iterator[str]:
    """Run the front before a llama.cpp that streams `events`, whole chunk by whole chunk, and then closes."""

    def stream(exchange: Exchange) -> None:
        data = [f"data: {json.dumps(event)}\n\n".encode() for event in events] + [b"data: [DONE]\n\n"] * done
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in data) + b"0\r\n\r\n" * done
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.send(head + body)
        exchange.close()

    with Loopback(script or stream) as llama:
        server = ApiServer(Options(port=0))
        address = ("127.0.0.1", int(llama.url.split(":")[2].split("/")[0]))
        server.open({"chat": address, "embeddings": address})
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join(5)
            server.server_close()


def post(url: str, path: str, **body: Any) -> httpx.Response:
    return httpx.post(url + path, json={"model": "m", "enable_thinking": True, "stream": True, **body}, timeout=10)


PATHS: list[tuple[str, dict[str, Any]]] = [
    ("/chat/completions", {"messages": [{"role": "user", "content": "?"}]}),
    ("/chat/completions", {"messages": [{"role": "user", "content": "?"}], **FORCED}),
    ("/responses", {"input": "?"}),
    ("/responses", {"input": "?", "stream": False}),
]


@pytest.mark.parametrize(("path", "body"), PATHS, ids=["chat", "forced call", "responses", "whole response"])
@pytest.mark.parametrize("events", [BEGUN, []], ids=["begun", "empty"])
def test_a_stream_without_its_end_is_cut(path: str, body: dict[str, Any], events: list[Any]) -> None:
    with front(*events) as url, pytest.raises(httpx.RemoteProtocolError):
        post(url, path, **body)


@pytest.mark.parametrize(("path", "body"), PATHS, ids=["chat", "forced call", "responses", "whole response"])
def test_an_error_in_a_stream_is_passed_on(path: str, body: dict[str, Any]) -> None:
    with front(*BEGUN, FAILURE, done=True) as url:
        response = post(url, path, **body)
    assert "out of memory" in response.text
    assert "[DONE]" not in response.text
    assert "response.completed" not in response.text


def test_a_whole_stream_has_its_end() -> None:
    with front(*BEGUN, chunk(content="Yes."), chunk("stop"), done=True) as url:
        response = post(url, *PATHS[0][:1], **PATHS[0][1])
    assert response.text.endswith("data: [DONE]\n\n")


def test_a_text_that_llama_cpp_refuses_to_count() -> None:
    """The refusal is passed on."""
    with front(script=reply_json(503, FAILURE)) as url:
        response = httpx.post(f"{url}/embeddings", json={"model": "m", "input": "a" * 600}, timeout=10)
    assert (response.status_code, response.json()) == (503, FAILURE)


def test_an_answer_that_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """The client sees it, and the front prints no traceback."""
    cut = reply(200, b'{"choices": [', {"Content-Length": "100"})

    def script(exchange: Exchange) -> None:
        cut(exchange)
        exchange.close()

    with front(script=script) as url, pytest.raises(httpx.RemoteProtocolError):
        post(url, *PATHS[0][:1], **PATHS[0][1], stream=False)
    assert "Traceback" not in capsys.readouterr().err
