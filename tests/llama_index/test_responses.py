"""The Responses protocol in LlamaIndex: built-in tools, sources, and server memory."""

from __future__ import annotations

import pickle
from threading import Event
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import CitationBlock, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage
from pydantic import BaseModel

from llama_index_modelstudio import ModelStudio
from llama_index_modelstudio.errors import ConfigurationError
from tests.llama_index.service import WAYS, call, chat, tools, weather
from tests.loopback import Loopback, reply_json
from tests.responses import RESPONSE_ID, response, searching
from tests.service import USAGE, Answer, Call

# llama-index-workflows reads pydantic's deprecated attributes
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]
SOURCES = [{"type": "url", "url": "https://a.example"}, {"type": "url", "url": "https://b.example", "title": "B"}]
SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "sky", "sources": SOURCES},
}
FULL = Answer(reasoning=["Hm"], text=["It ", "is"], items=[SEARCHED], usage=USAGE)
SEARCH = {"type": "web_search"}
MCP = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": "https://mcp.example",
    "headers": {"Authorization": "Bearer mcp-token-never-shown"},
}


def model(server: Loopback, **settings: Any) -> ModelStudio:
    return chat(server, protocol="responses", **settings)


@pytest.mark.parametrize("way", WAYS)
async def test_built_in_tools(way: str) -> None:
    """Sources are citations, calls and results are in additional_kwargs, and no block is a call for an agent."""
    with Loopback(FULL) as server:
        answer = await call(model(server, built_in_tools=[SEARCH]), way)
        assert server.requests[0].json()["tools"] == [SEARCH]
    kinds = [type(block) for block in answer.message.blocks]
    assert kinds == [ThinkingBlock, TextBlock, CitationBlock, CitationBlock]
    cited = [(b.source, b.title) for b in answer.message.blocks if isinstance(b, CitationBlock)]
    assert cited == [("https://a.example", ""), ("https://b.example", "B")]
    ran = [{"id": "ws_1", "name": "web_search", "args": {"query": "sky"}, "status": "success", "output": SOURCES}]
    assert answer.additional_kwargs["server_tools"] == answer.message.additional_kwargs["server_tools"] == ran
    assert answer.message.additional_kwargs["response_id"] == RESPONSE_ID
    assert answer.message.content == "It is"


def test_a_tool_is_shown_while_it_runs() -> None:
    """A response without new text reports the start, and the next one the end."""
    shown, states = Event(), []
    with Loopback(searching(shown)) as server:
        for each in model(server).stream_chat([ChatMessage("hello")]):
            states.append((each.delta, [tool["status"] for tool in each.additional_kwargs["server_tools"]]))
            shown.set()
    assert states == [("", ["in_progress"]), ("", ["success"]), ("It", ["success"]), ("", ["success"])]


def test_a_stream_shows_a_tool_before_the_text() -> None:
    """The first response with text has the results of the tools."""
    with Loopback(FULL) as server:
        first = next(r for r in model(server).stream_chat([ChatMessage("hello")]) if r.delta)
    assert [tool["status"] for tool in first.additional_kwargs["server_tools"]] == ["success"]


async def test_an_agent_runs_its_own_tools_only() -> None:
    """Built-in tools and functions are sent together. A search is no call of the agent."""
    searched = Answer(items=[SEARCHED], calls=[Call("call_1", "weather", ['{"city": "Rome"}'])])
    with Loopback([searched, Answer(text=["sunny"])]) as server:
        agent = FunctionAgent(llm=model(server, built_in_tools=[SEARCH]), tools=[weather])
        assert str(await agent.run("hello")) == "sunny"
        first, second = (request.json() for request in server.requests)
    assert [tool.get("name", tool["type"]) for tool in first["tools"]] == ["weather", "web_search"]
    assert "parallel_tool_calls" not in first
    assert [item.get("type") for item in second["input"]][-2:] == ["function_call", "function_call_output"]


def test_only_new_messages_are_sent() -> None:
    """The message has the ID of the last response."""
    with Loopback(FULL) as server:
        llm = model(server, use_previous_response_id=True)
        said = llm.chat([ChatMessage("hello")]).message
        llm.chat([ChatMessage("hello"), said, ChatMessage("and now?")])
        body = server.requests[-1].json()
    assert body["previous_response_id"] == RESPONSE_ID
    assert body["input"] == [{"role": "user", "content": "and now?"}]


def test_tools_of_a_call_replace_those_of_the_object() -> None:
    with Loopback(Answer(text=["It"])) as server:
        llm = model(server, built_in_tools=[SEARCH])
        llm.chat_with_tools(tools(weather), "hello", built_in_tools=[{"type": "image_search"}])
        llm.complete("hello")
        sent = [request.json()["tools"] for request in server.requests]
    assert [[tool.get("name", tool["type"]) for tool in each] for each in sent] == [
        ["weather", "image_search"],
        ["web_search"],
    ]


def test_parallel_tool_calls_is_rejected() -> None:
    """But not LlamaIndex's argument, which is passed to every call."""
    with Loopback(Answer(text=["It"])) as server:
        model(server).chat_with_tools(tools(weather), "hello", allow_parallel_tool_calls=True)
        with pytest.raises(ConfigurationError, match="parallel_tool_calls"):
            model(server, parallel_tool_calls=True).chat_with_tools(tools(weather), "hello")
        assert len(server.requests) == 1


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_other_protocols_have_no_built_in_tools(protocol: Any) -> None:
    with Loopback(Answer()) as server, pytest.raises(ConfigurationError, match="responses"):
        chat(server, protocol=protocol, built_in_tools=[SEARCH]).complete("hello")


def test_mcp_headers_are_hidden() -> None:
    """In reprs and dumps. The service receives them."""
    with Loopback(FULL) as server:
        llm = model(server, built_in_tools=[MCP])
        llm.complete("hello")
        assert server.requests[0].json()["tools"] == [MCP]
        llm.built_in_tools = [MCP]  # which is not validated
        with pytest.raises(ConfigurationError) as raised:
            llm.complete("hello", built_in_tools=[{"type": "mcp_server", "headers": MCP["headers"]}])
    shown = f"{llm!r}{llm}{llm.model_dump()}{llm.to_json()}{llm.to_dict()}{raised.value!r}"
    assert "server_label" in shown
    assert "never-shown" not in shown


def test_a_token_is_not_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error is raised instead of losing the tools. Tools without a token are pickled."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-some-key")
    with Loopback(FULL) as server:
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(model(server, built_in_tools=[MCP]))
        pickle.loads(pickle.dumps(model(server, built_in_tools=[SEARCH]))).complete("hello")
        assert server.requests[0].json()["tools"] == [SEARCH]


def test_the_runs_of_tools_are_in_the_usage() -> None:
    counted = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "x_tools": {"web_search": {"count": 1}}}
    with Loopback(reply_json(200, response(usage=counted))) as server:
        raw: Any = model(server).complete("hello").raw
    assert raw["usage"]["x_tools"] == {"web_search": {"count": 1}}
    assert raw["usage"]["prompt_tokens"] == 1


class City(BaseModel):
    """A city."""

    name: str


def test_structured_output_is_a_call() -> None:
    """Even if the model is listed for JSON schemas, which this protocol does not enforce."""
    with Loopback(Answer(calls=[Call("call_1", "City", ['{"name": "Rome"}'])])) as server:
        llm = model(server, model="qwen3.7-plus")
        assert llm.as_structured_llm(City).complete("hello").raw == City(name="Rome")
        assert server.requests[0].json()["tool_choice"] == "required"


def test_no_call_block_for_tools_of_the_service() -> None:
    with Loopback(FULL) as server:
        blocks = model(server).chat([ChatMessage("hello")]).message.blocks
    assert not [block for block in blocks if isinstance(block, ToolCallBlock)]
