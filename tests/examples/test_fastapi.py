"""The FastAPI service: its events as they arrive, its page, and its errors."""

from __future__ import annotations

import json

import httpx
import pytest

from examples import fastapi_chat
from langchain_modelstudio import ChatModelStudio
from tests.loopback import Loopback, Script, reply_json
from tests.service import USAGE, Answer

ANSWER = Answer(reasoning=["Light ", "scatters."], text=["Blue", ",\nmostly."], usage=USAGE)
WRONG_KEY = reply_json(401, {"error": {"code": "invalid_api_key", "message": "no such key"}})


async def asked(script: Script, question: str, monkeypatch: pytest.MonkeyPatch) -> httpx.Response:
    with Loopback(script) as server:
        async with ChatModelStudio(model="qwen-plus", base_url=server.url, enable_thinking=True) as llm:
            monkeypatch.setattr(fastapi_chat.app.state, "llm", llm, raising=False)
            transport = httpx.ASGITransport(fastapi_chat.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://chat") as client:
                return await client.get("/chat", params={"question": question})


def events(response: httpx.Response) -> list[tuple[str, str]]:
    """Names and texts of the events."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.split("\n\n") if block
    ]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


async def test_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thinking, answer and tokens, in this order; line breaks survive."""
    response = await asked(ANSWER, "Why?", monkeypatch)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert events(response) == [
        ("thinking", "Light "),
        ("thinking", "scatters."),
        ("answer", "Blue"),
        ("answer", ",\nmostly."),
        ("end", "30 tokens"),
    ]


async def test_a_failure_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser is told what went wrong, after the status 200."""
    [(name, text)] = events(await asked(WRONG_KEY, "Why?", monkeypatch))
    assert (name, "AuthenticationError: no such key" in text) == ("failed", True)


async def test_an_empty_question_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await asked(ANSWER, "", monkeypatch)).status_code == 422


async def test_the_page() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fastapi_chat.app), base_url="http://chat") as client:
        response = await client.get("/")
    assert response.headers["content-type"].startswith("text/html")
    assert "EventSource" in response.text
