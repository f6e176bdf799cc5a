"""The Responses protocol in LangChain: built-in tools as standard blocks, server memory, structured output."""

from __future__ import annotations

import json
from threading import Event
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError, StreamTruncatedError
from tests.langchain.service import chat
from tests.langchain.ways import ALL_WAYS, by, by_v3
from tests.loopback import Exchange, Loopback, reply_json
from tests.responses import RESPONSE_ID, frames, response, searching
from tests.service import USAGE, Answer, Call

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

SOURCE = {"type": "url", "url": "https://a.example", "title": "A"}
SEARCHED = {
    "id": "ws_1",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "sky", "sources": [SOURCE]},
}
RAN = {"id": "ci_1", "type": "code_interpreter_call", "code": "1+1", "outputs": [{"type": "logs", "logs": "2"}]}
FULL = Answer(reasoning=["Let", " me"], text=["It ", "is"], items=[SEARCHED, RAN], usage=USAGE)
BLOCKS = [
    {"type": "reasoning", "reasoning": "Let me"},
    {"type": "server_tool_call", "id": "ws_1", "name": "web_search", "args": {"query": "sky"}},
    {"type": "server_tool_result", "tool_call_id": "ws_1", "status": "success", "output": [SOURCE]},
    {"type": "server_tool_call", "id": "ci_1", "name": "code_interpreter", "args": {"code": "1+1"}},
    {"type": "server_tool_result", "tool_call_id": "ci_1", "status": "success", "output": RAN["outputs"]},
    {
        "type": "text",
        "text": "It is",
        "annotations": [{"type": "citation", "url": "https://a.example", "title": "A"}],
    },
]
MCP = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": "https://mcp.example",
    "headers": {"Authorization": "Bearer mcp-token-never-shown"},
}


class get_weather(BaseModel):
    """Return the weather in a city."""

    city: str


def model(server: Loopback, **settings: Any) -> ChatModelStudio:
    return chat(server, protocol="responses", **settings)


def known(blocks: Any) -> list[dict[str, Any]]:
    """Return blocks without the indexes of langchain-core."""
    return [{name: value for name, value in block.items() if name != "index"} for block in blocks]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_built_in_tools_are_standard_blocks(way: str, version: str | None) -> None:
    """Calls, results and sources are LangChain's blocks, with every method."""
    with Loopback(FULL) as server:
        message = await by(way, model(server, output_version=version))
    assert known(message.content_blocks) == BLOCKS
    assert (message.text, message.tool_calls) == ("It is", [])
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["response_id"] == RESPONSE_ID
    assert message.usage_metadata is not None
    tools = message.response_metadata["server_tools"]
    assert [(tool["name"], tool["status"]) for tool in tools] == [
        ("web_search", "success"),
        ("code_interpreter", "success"),
    ]


@pytest.mark.parametrize("version", [None, "v1"])
async def test_a_stream_shows_tools_before_the_text(version: str | None) -> None:
    """Results while they arrive; with v1 content also the start."""
    with Loopback(FULL) as server:
        chunks = list(model(server, output_version=version).stream("hello"))
    kinds = [block["type"] for chunk in chunks for block in chunk.content_blocks]
    first_text = kinds.index("text")
    assert kinds[:first_text].count("server_tool_result") == 2
    if version == "v1":
        assert kinds.index("server_tool_call_chunk") < kinds.index("server_tool_result")
        assert kinds[:first_text].count("server_tool_call_chunk") == 4  # each begins and ends


@pytest.mark.parametrize("way", ["v1", "v3"])
def test_a_tool_is_shown_while_it_runs(way: str) -> None:
    """Even before any part of the answer."""
    shown = Event()
    with Loopback(searching(shown)) as server:
        llm = model(server, output_version="v1")
        stream: Any = llm.stream("hello") if way == "v1" else llm.stream_events("hello", version="v3")
        text = ""
        for each in stream:
            said = str(each)
            if "web_search" in said:
                shown.set()
            text += said
    assert "'It'" in text


def test_a_search_is_not_run_twice() -> None:
    """A stream truncated after a search is not retried, because the search is part of the answer."""
    shown = Event()
    shown.set()
    with Loopback([searching(shown, ends=False), Answer(text=["It"])]) as server:
        with pytest.raises(StreamTruncatedError) as raised:
            list(model(server, max_retries=2).stream("hello"))
        assert len(server.requests) == 1
    assert raised.value.partial is not None
    assert raised.value.partial.extras["server_tools"][0]["status"] == "success"


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_v3_events_of_tools(way: str) -> None:
    """A block opens when a tool starts, and ends with its arguments before the result."""
    with Loopback(FULL) as server:
        events, _ = await by_v3(model(server), way)
    shown = [
        (event["event"].removeprefix("content-block-"), (event.get("content") or {}).get("type"), event["index"])
        for event in events
        if "tool" in str((event.get("content") or {}).get("type"))
    ]
    assert shown[:4] == [
        ("start", "server_tool_call_chunk", 1),
        ("finish", "server_tool_call", 1),
        ("start", "server_tool_result", 2),
        ("finish", "server_tool_result", 2),
    ]


async def test_v3_events_of_a_tool_that_did_not_end() -> None:
    """Its block is finished as well."""
    created = {"type": "response.created", "response": response(status="queued")}
    added = {"type": "response.output_item.added", "item": {"type": "web_search_call", "id": "ws_1"}}
    completed = {"type": "response.completed", "response": response()}

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        exchange.send_chunk(frames([created, added, completed]))
        exchange.end()

    with Loopback(script) as server:
        events, message = await by_v3(model(server), "stream")
    assert [event["event"] for event in events[1:-1]] == ["content-block-start", "content-block-finish"]
    call = {"type": "server_tool_call", "id": "ws_1", "name": "web_search", "args": {}}
    assert known([events[-2]["content"]]) == [call]
    assert known(message.content_blocks) == [call]


async def test_v2_events_of_tools() -> None:
    with Loopback(FULL) as server:
        events = [event async for event in model(server).astream_events("hello", version="v2")]
    chunks: Any = [e["data"]["chunk"] for e in events if e["event"] == "on_chat_model_stream"]
    names = [block.get("name") for chunk in chunks for block in chunk.content_blocks]
    assert [name for name in names if name] == ["web_search", "code_interpreter"]


async def test_built_in_and_own_tools_are_bound() -> None:
    """A built-in tool is a dict, as usual in LangChain."""
    with Loopback(Answer(calls=[Call("call_1", "get_weather", ['{"city": "Rome"}'])])) as server:
        built_in = [{"type": "web_search"}, {"type": "image_search"}]
        message = model(server).bind_tools([*built_in, get_weather]).invoke("hello")
        tools = server.requests[0].json()["tools"]
    assert tools[:2] == built_in
    assert (tools[2]["type"], tools[2]["name"]) == ("function", "get_weather")
    assert [call["name"] for call in message.tool_calls] == ["get_weather"]


@pytest.mark.parametrize("tool", [{"type": "computer"}, {"type": "web_searches"}, {"type": "image_generation"}])
def test_an_unknown_tool_is_refused(tool: dict[str, Any]) -> None:
    """Because the service would ignore it."""
    with Loopback(Answer()) as server, pytest.raises(ConfigurationError, match=tool["type"]):
        model(server).bind_tools([tool])


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_other_protocols_have_no_built_in_tools(protocol: Any) -> None:
    """The error names the right protocol, and contains no token."""
    with Loopback(Answer()) as server, pytest.raises(ConfigurationError, match="responses") as raised:
        chat(server, protocol=protocol).bind_tools([MCP])
    assert "never-shown" not in str(raised.value)


def test_the_token_of_an_mcp_server_is_not_traced() -> None:
    """Nor is it in the repr or dump of a binding. The service receives it."""
    traced = RunCollectorCallbackHandler()
    with Loopback(FULL) as server:
        bound = model(server).bind_tools([MCP])
        bound.invoke("hello", config={"callbacks": [traced]})
        model(server).invoke("hello", tools=[MCP], config={"callbacks": [traced]})
        sent = [request.json()["tools"] for request in server.requests]
    shown = f"{bound!r}{dumps(bound)}" + "".join(run.model_dump_json() for run in traced.traced_runs)
    assert "server_label" in shown
    assert "never-shown" not in shown
    assert sent == [[MCP], [MCP]]


@pytest.mark.parametrize("kind", ["mcp_server", None])
def test_the_token_of_a_misnamed_mcp_tool_is_not_shown(kind: str | None) -> None:
    """In the error that quotes the tool."""
    with Loopback(FULL) as server, pytest.raises(ConfigurationError, match="is not a function") as raised:
        model(server).invoke("hello", tools=[{"headers": MCP["headers"], "type": kind}])
    assert "never-shown" not in f"{raised.value!r}{raised.value.__cause__!r}"


def test_the_runs_of_tools_are_in_the_usage() -> None:
    """As counted by the service."""
    counted = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "x_tools": {"web_search": {"count": 1}}}

    with Loopback(reply_json(200, response(usage=counted))) as server:
        message = model(server).invoke("hello")
    assert message.response_metadata["usage"]["x_tools"] == {"web_search": {"count": 1}}


# ---------------------------------------------------------------- history and memory


def test_an_answer_is_sent_as_items() -> None:
    """Text, calls and current reasoning, but not the results of built-in tools."""
    answer = Answer(reasoning=["Hm"], text=["It"], items=[SEARCHED], calls=[Call("call_1", "get_weather", ["{}"])])
    for version in (None, "v1"):
        with Loopback(answer) as server:
            llm = model(server, output_version=version).bind_tools([{"type": "web_search"}, get_weather])
            said = llm.invoke("hello")
            llm.invoke([SystemMessage("S"), HumanMessage("hello"), said, ToolMessage("sunny", tool_call_id="call_1")])
            body = server.requests[-1].json()
        kinds = [item.get("type", item.get("role")) for item in body["input"]]
        assert kinds == ["user", "reasoning", "message", "function_call", "function_call_output"]
        assert body["instructions"] == "S"


async def test_an_agent_with_a_checkpointer_sends_only_new_messages() -> None:
    """The state has the response ID, so only the question or the tool result is sent."""
    answers = [Answer(calls=[Call("call_1", "weather", ['{"city": "Rome"}'])]), *[Answer(text=["It"])] * 2]

    def weather(city: str) -> str:
        """Gives the weather."""
        return "sunny"

    with Loopback(answers) as server:
        llm = model(server, use_previous_response_id=True)
        agent = create_agent(llm, [weather, {"type": "web_search"}], checkpointer=InMemorySaver(), system_prompt="S")
        config: Any = {"configurable": {"thread_id": "1"}}
        agent.invoke({"messages": [HumanMessage("hello")]}, config)
        agent.invoke({"messages": [HumanMessage("and now?")]}, config)
        bodies = [request.json() for request in server.requests]
    assert [body.get("previous_response_id") for body in bodies] == [None, RESPONSE_ID, RESPONSE_ID]
    assert [[item.get("type", item.get("role")) for item in body["input"]] for body in bodies] == [
        ["user"],
        ["function_call_output"],
        ["user"],
    ]
    assert {body["instructions"] for body in bodies} == {"S"}


# ---------------------------------------------------------------- structured output

ROME = Answer(calls=[Call("call_1", "get_weather", ['{"city": "Rome"}'])])


def test_structured_output_is_a_call() -> None:
    """Even if the model is listed for JSON schemas, which this protocol does not enforce."""
    with Loopback(ROME) as server:
        llm = model(server, model="qwen3.7-plus")
        assert llm.with_structured_output(get_weather).invoke("hello") == get_weather(city="Rome")
        assert server.requests[0].json()["tool_choice"] == "required"
        assert not (llm.profile or {}).get("structured_output")
        with pytest.raises(ConfigurationError, match="response_format"):
            llm.with_structured_output(get_weather, method="json_schema").invoke("hello")


def test_structured_output_beside_built_in_tools() -> None:
    """Bound tools are sent with the forced function."""
    with Loopback(ROME) as server:
        llm = model(server).bind_tools([{"type": "web_search"}])
        assert llm.with_structured_output(get_weather).invoke("hello") == get_weather(city="Rome")
        body = server.requests[0].json()
    assert [tool["type"] for tool in body["tools"]] == ["web_search", "function"]
    assert body["tool_choice"]["tools"] == [{"type": "function", "name": "get_weather"}]


def test_an_agent_s_structured_answer_is_a_call() -> None:
    """create_agent chooses the tool strategy by the profile."""
    with Loopback(ROME) as server:
        agent = create_agent(model(server, model="qwen3.7-plus"), [], response_format=get_weather)
        found = agent.invoke({"messages": [HumanMessage("hello")]})["structured_response"]
        again = create_agent(model(server), [], response_format=ToolStrategy(get_weather))
        assert again.invoke({"messages": [HumanMessage("hello")]})["structured_response"] == found
    assert found == get_weather(city="Rome")
    assert "response_format" not in json.dumps([request.json() for request in server.requests])
