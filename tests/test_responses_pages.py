"""The snippets of docs/protocols.md and docs/built-in-tools.md run, and print the stated output."""

from __future__ import annotations

from typing import Any

import pytest

from tests.responses import RESPONSE_ID
from tests.service import USAGE, Answer, Call
from tests.snippets import run, snippets

URL = "https://example.com/hangzhou"
SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "Hangzhou", "sources": [{"type": "url", "url": URL, "title": "Hangzhou"}]},
}
FOUND = Answer(text=["It is sunny."], items=[SEARCHED], usage=USAGE)
[MEMORY] = snippets("docs/protocols.md")
BLOCKS, AGENT, LLAMA_INDEX = snippets("docs/built-in-tools.md")


def ran(snippet: str, monkeypatch: pytest.MonkeyPatch, script: Any) -> list[dict[str, Any]]:
    return [request.json() for request in run(snippet, "docs", monkeypatch, script)]


def test_memory(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, second = ran(MEMORY, monkeypatch, Answer(text=["6300 km."]))
    assert (second["previous_response_id"], len(second["input"])) == (RESPONSE_ID, 1)
    assert "6300 km." in capsys.readouterr().out


@pytest.mark.parametrize("snippet", [BLOCKS, LLAMA_INDEX], ids=["langchain", "llama_index"])
def test_sources(snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    [request] = ran(snippet, monkeypatch, FOUND)
    printed = capsys.readouterr().out
    assert request["tools"] == [{"type": "web_search"}]
    assert f"source Hangzhou {URL}" in printed
    assert "It is sunny." in printed
    assert ("{'web_search': {'count': 1}}" if snippet is BLOCKS else "'status': 'success'") in printed


def test_an_agent_with_both_kinds_of_tools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The service searches, the function runs locally, and only its result is sent."""
    called = Answer(items=[SEARCHED], calls=[Call("call_1", "weather", ['{"city": "Hangzhou"}'])])
    _, second = ran(AGENT, monkeypatch, [called, Answer(text=["Sunny."])])
    printed = capsys.readouterr().out
    assert "Sunny." in printed
    assert f"source {URL}" in printed
    assert [item["output"] for item in second["input"]] == ["It is sunny in Hangzhou."]
