"""The snippets of docs/structured-output.md run, and its claims hold."""

from __future__ import annotations

import pytest
from langchain.agents import create_agent

from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, Call
from tests.snippets import CITY, run, snippets

PAGE = "docs/structured-output.md"
LANGCHAIN, LLAMA_INDEX, AGENT = snippets(PAGE)


@pytest.mark.parametrize("snippet", [LANGCHAIN, LLAMA_INDEX], ids=["langchain", "llama_index"])
def test_a_snippet_prints_the_object(
    snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its class."""
    [request] = run(snippet, PAGE, monkeypatch)
    assert f"name='{CITY}'" in capsys.readouterr().out
    assert ("tools" in request.json()) == (snippet is LANGCHAIN)


def test_an_agent_with_tool_strategy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its requests have tools and no response_format. The object is the last call."""
    script = [
        Answer(calls=[Call("call_1", "weather", ['{"city": "Hangzhou"}'])]),
        Answer(calls=[Call("call_2", "Report", ['{"city": "Hangzhou", "weather": "sunny"}'])]),
    ]
    first, second = (request.json() for request in run(AGENT, PAGE, monkeypatch, script))
    assert "city='Hangzhou' weather='sunny'" in capsys.readouterr().out
    assert [tool["function"]["name"] for tool in first["tools"]] == ["weather", "Report"]
    assert (first["tool_choice"], second["tool_choice"]) == ("auto", "auto")
    assert "response_format" not in first
    assert second["messages"][-1]["content"] == "It is sunny in Hangzhou."


@pytest.mark.parametrize(("model", "listed"), [("qwen3.7-max", True), ("qwen-plus", False)])
def test_an_agent_with_the_profile(model: str, listed: bool) -> None:
    """Without a strategy, create_agent sends json_schema with the tools if the profile allows it."""
    schema = {"title": "Report", "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    object_text = '{"city": "Rome"}'
    reply = Answer(text=[object_text]) if listed else Answer(calls=[Call("call_1", "Report", [object_text])])
    with Loopback(reply) as server:
        llm: ChatModelStudio = chat(server, model=model, enable_thinking=False)
        assert bool((llm.profile or {}).get("structured_output")) is listed
        result = create_agent(llm, [weather], response_format=schema).invoke({"messages": [("user", "hello")]})
        body = server.requests[0].json()
    assert result["structured_response"] == {"city": "Rome"}
    assert ("response_format" in body) is listed
    assert len(body["tools"]) == (1 if listed else 2)


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return city
