"""The snippets that need FastAPI, openinference and Langfuse run as printed, except for the addresses of services."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.loopback import Exchange, Loopback, reply
from tests.service import USAGE, Answer
from tests.snippets import snippets

ANSWER = Answer(reasoning=["Light scatters."], text=["Scattered ", "light."], usage=USAGE)
FAILED = Answer(text=["Scattered "], failure={"error": {"code": "internal_error", "message": "Broken."}})


def containing(page: str, text: str) -> str:
    """Return the snippet of a page that contains a text."""
    [found] = [code for code in snippets(page) if text in code]
    return found


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Yield the answers to come, at the address that the environment names."""
    answers: list[Any] = []
    with Loopback(lambda exchange: answers.pop(0)(exchange)) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-for-the-snippets")
        yield answers


def events(page: str) -> list[str]:
    """Run the service of a page, ask it, and return the blocks of its response."""
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(containing(page, "FastAPI()"), page, "exec"), names)
    app: FastAPI = names["app"]
    # the annotations of `ask` are those of the snippet
    response = TestClient(app).get("/ask", params={"question": "Why is the sky blue?"})
    assert response.headers["content-type"].startswith("text/event-stream")
    return response.text.strip().split("\n\n")


def test_the_readme_streams_chunks(service: list[Any]) -> None:
    service.append(ANSWER)
    chunks = [json.loads(block.removeprefix("data: ")) for block in events("README.md")]
    assert "".join(chunk["content"] for chunk in chunks) == "Scattered light."


def test_thinking_and_answer_are_streamed(service: list[Any]) -> None:
    service.append(ANSWER)
    parts = [json.loads(block.removeprefix("data: ")) for block in events("docs/deploying.md")]
    assert "".join(part["thinking"] for part in parts) == "Light scatters."
    assert "".join(part["answer"] for part in parts) == "Scattered light."


def test_a_failure_in_mid_stream_is_an_event(service: list[Any]) -> None:
    service.append(FAILED)
    *_, last = events("docs/deploying.md")
    assert last.startswith("event: failed\ndata: ")
    assert json.loads(last.partition("data: ")[2])["error"] == "ServerError"


def test_spans_are_exported(service: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The collector gets the tokens of the call."""
    service.append(ANSWER)
    with Loopback(reply(200, b"")) as collector:
        code = containing("docs/tracing.md", "OTLPSpanExporter").replace("http://127.0.0.1:6006", collector.url)
        names: dict[str, Any] = {"__name__": "snippet"}
        exec(compile(code, "docs/tracing.md", "exec"), names)
        names["provider"].force_flush()
        names["provider"].shutdown()
        names["LangChainInstrumentor"]().uninstrument()
        assert b"llm.token_count.total" in b"".join(request.body for request in collector.requests)
    assert "Scattered light." in capsys.readouterr().out


def test_langfuse_gets_the_call(
    service: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The handler sends the span with its usage to the address of Langfuse."""
    service.append(ANSWER)

    def received(exchange: Exchange) -> None:
        reply(200, b"{}", {"content-type": "application/json"})(exchange)

    with Loopback(received) as langfuse:
        monkeypatch.setenv("LANGFUSE_HOST", langfuse.url)
        monkeypatch.setenv("LANGFUSE_BASE_URL", langfuse.url)
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-test")
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-test")
        exec(compile(containing("docs/tracing.md", "langfuse"), "docs/tracing.md", "exec"), {"__name__": "snippet"})
        from langfuse import get_client

        get_client().flush()
        get_client().shutdown()
        sent = [request for request in langfuse.requests if request.headers.get("content-encoding") == "gzip"]
        assert b"qwen-plus" in b"".join(gzip.decompress(request.body) for request in sent)
    assert "Scattered light." in capsys.readouterr().out
