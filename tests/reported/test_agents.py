"""Invalid tool calls: an agent's model gets the error and tries again; nothing succeeds with an empty result."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.program.function_program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from workflows.errors import WorkflowRuntimeError

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import errors
from tests.langchain.service import chat as langchain_chat
from tests.langchain.ways import ALL_WAYS, by
from tests.llama_index.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.service import Answer, Call, sent

# LlamaIndex's workflows read everything that a pydantic class has, including what is deprecated
pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]

MALFORMED = {
    "trailing comma": '{"city": "Rome",}',
    "single quotes": "{'city': 'Rome'}",
    "list": '[{"city": "Rome"}]',
    "double-encoded": '"{\\"city\\": \\"Rome\\"}"',
    "truncated": '{"city": "Ro',
    "two objects": '{"city": "Rome"}{"city": "Oslo"}',
    "no JSON": "Rome",
    "null": "null",
}
GOOD = Answer(calls=[Call("call_2", "weather", ['{"city": "Rome"}'])])
FINAL = Answer(text=["It is ", "sunny."])
AGENTS = {  # pairwise: what runs the tools, whether it streams, and the protocol
    "FunctionAgent, stream, openai": (FunctionAgent, True, "openai"),
    "FunctionAgent, whole, dashscope": (FunctionAgent, False, "dashscope"),
    "AgentWorkflow, stream, dashscope": (AgentWorkflow, True, "dashscope"),
    "AgentWorkflow, whole, openai": (AgentWorkflow, False, "openai"),
}
each_agent = pytest.mark.parametrize("how", AGENTS)


def malformed(kind: str, *more: Call, **fields: Any) -> Answer:
    """Return an answer with an invalid call of `weather`."""
    finish = "length" if kind == "truncated" else None
    return Answer(calls=[Call("call_1", "weather", [MALFORMED[kind]]), *more], finish=finish, **fields)


class Weather:
    """A tool that accepts any arguments and records its runs."""

    def __init__(self) -> None:
        self.ran: list[dict[str, Any]] = []

    def tool(self) -> FunctionTool:
        def weather(**anything: Any) -> str:
            """Tell the weather in a city."""
            self.ran.append(anything)
            return "Sunny."

        return FunctionTool.from_defaults(weather)


def agent(how: str, server: Loopback, tool: FunctionTool) -> Any:
    cls, streaming, protocol = AGENTS[how]
    llm = chat(server, protocol=protocol)
    made = FunctionAgent(name="guide", description="Knows the weather.", tools=[tool], llm=llm, streaming=streaming)
    return made if cls is FunctionAgent else AgentWorkflow(agents=[made])


@pytest.mark.report(3)
@each_agent
@pytest.mark.parametrize("arguments", MALFORMED)
@pytest.mark.rotated
async def test_the_model_corrects_its_call(arguments: str, how: str) -> None:
    """The invalid call does not run, the model gets the reason, and its next call runs."""
    weather = Weather()
    with Loopback([malformed(arguments), GOOD, FINAL]) as server:
        handler = agent(how, server, weather.tool()).run("Weather in Rome?")
        results = [event async for event in handler.stream_events() if isinstance(event, ToolCallResult)]
        output = await handler
        assert len(server.requests) == 3
        _, turn, answer = sent(server, 1)["messages"]
    assert str(output) == "It is sunny."
    assert weather.ran == [{"city": "Rome"}]
    assert [(each["id"], each["function"]["name"]) for each in turn["tool_calls"]] == [("call_1", "weather")]
    assert (answer["role"], answer["tool_call_id"]) == ("tool", "call_1")
    assert "JSON" in answer["content"] or "truncated" in answer["content"]
    assert [result.tool_output.is_error for result in results] == [True, False]


@pytest.mark.report(3)
@each_agent
@pytest.mark.parametrize("text", [[], ["Let me look."]], ids=["no text", "text"])
async def test_a_valid_call_beside_an_invalid_one(text: list[str], how: str) -> None:
    """The valid call runs, and both are answered."""
    weather = Weather()
    beside = malformed("list", Call("call_2", "weather", ['{"city": "Oslo"}']), text=text)
    with Loopback([beside, FINAL]) as server:
        output = await agent(how, server, weather.tool()).run("Weather?")
        _, turn, *answers = sent(server)["messages"]
    assert str(output) == "It is sunny."
    assert weather.ran == [{"city": "Oslo"}]
    assert {each["id"] for each in turn["tool_calls"]} == {"call_1", "call_2"}
    said = {each["tool_call_id"]: each["content"] for each in answers}
    assert said["call_2"] == "Sunny."
    assert "not a JSON object" in said["call_1"]


@pytest.mark.report(3)
@each_agent
async def test_a_call_without_a_name(how: str) -> None:
    """It does not run, and is sent back with a placeholder name, which the service requires."""
    weather = Weather()
    with Loopback([Answer(calls=[Call("call_1", "", ['{"city": "Rome"}'])]), GOOD, FINAL]) as server:
        output = await agent(how, server, weather.tool()).run("Weather?")
        _, turn, answer = sent(server, 1)["messages"]
    assert str(output) == "It is sunny."
    assert weather.ran == [{"city": "Rome"}]
    assert [(each["id"], each["function"]["name"]) for each in turn["tool_calls"]] == [("call_1", "unknown")]
    assert "has no name" in answer["content"]


@pytest.mark.report(3)
@each_agent
async def test_an_agent_that_never_gets_a_valid_call(how: str) -> None:
    """It ends with an error at `max_iterations`, not with an empty answer."""
    weather = Weather()
    with Loopback(malformed("trailing comma")) as server:
        with pytest.raises(WorkflowRuntimeError, match="Max iterations"):
            await agent(how, server, weather.tool()).run("Weather?", max_iterations=3)
        assert len(server.requests) == 3
    assert weather.ran == []


async def predict(way: str, server: Loopback, weather: Weather, **options: Any) -> Any:
    """Return the result of `predict_and_call` or its async version."""
    method = getattr(chat(server), way)
    if way == "apredict_and_call":
        return await method([weather.tool()], "Weather?", **options)
    return method([weather.tool()], "Weather?", **options)


class City(BaseModel):
    """A city."""

    city: str


@pytest.mark.report(3)
@pytest.mark.parametrize("arguments", MALFORMED)
@pytest.mark.parametrize("required", [True, False], ids=["call required", "call not required"])
@pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
async def test_a_single_turn_raises(way: str, required: bool, arguments: str) -> None:
    """Without a further turn, a response with only invalid calls raises a typed error."""
    weather = Weather()
    with Loopback(malformed(arguments)) as server, pytest.raises(errors.NoToolCallError, match="weather"):
        await predict(way, server, weather, error_on_no_tool_call=required)
    assert weather.ran == []


@pytest.mark.report(3)
@pytest.mark.parametrize("way", ["predict_and_call", "apredict_and_call"])
async def test_a_single_turn_runs_its_valid_calls(way: str) -> None:
    """Invalid calls beside them do not run."""
    weather = Weather()
    beside = malformed("list", Call("call_2", "weather", ['{"city": "Oslo"}']))
    with Loopback(beside) as server:
        answer = await predict(way, server, weather, error_on_no_tool_call=False, allow_parallel_tool_calls=True)
    assert str(answer) == "Sunny."
    assert weather.ran == [{"city": "Oslo"}]


@pytest.mark.report(3)
@pytest.mark.parametrize("arguments", MALFORMED)
@pytest.mark.parametrize("way", ["__call__", "acall"])
async def test_a_program_raises(way: str, arguments: str) -> None:
    """LlamaIndex's FunctionCallingProgram raises the typed error as well."""
    bad = Answer(calls=[Call("call_1", "City", [MALFORMED[arguments]])])
    with Loopback(bad) as server:
        program = FunctionCallingProgram.from_defaults(City, "Which city?", llm=chat(server))
        with pytest.raises(errors.NoToolCallError, match="City"):
            program() if way == "__call__" else await program.acall()


@pytest.mark.report(3)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("arguments", MALFORMED)
async def test_invalid_calls_match_no_tool(arguments: str, way: str) -> None:
    """They are selected with a name that no tool has, or not at all if a call is required."""
    weather = Weather()
    with Loopback(malformed(arguments)) as server:
        llm = chat(server)
        response = await call(llm, f"{way}_with_tools", tools=[weather.tool()])
        [selected] = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        with pytest.raises(errors.NoToolCallError, match="weather"):
            llm.get_tool_calls_from_response(response)
        plain = await call(llm, way)
        assert llm.get_tool_calls_from_response(plain, error_on_no_tool_call=False) == []
    assert selected.tool_id == "call_1"
    assert selected.tool_name.startswith("weather (")
    assert selected.tool_kwargs == {"arguments": MALFORMED[arguments]}


@pytest.mark.report(3)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("arguments", ["trailing comma", "list", "truncated"])
async def test_langchain_logs_an_invalid_call(arguments: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """One warning per answer with the function, but without the arguments."""
    both = malformed(arguments, Call("call_2", "weather", ['{"city": "Oslo"}']))
    with Loopback(both) as server, caplog.at_level(logging.WARNING):
        llm: ChatModelStudio = langchain_chat(server)
        message = await by(way, llm)
    assert [each["id"] for each in message.invalid_tool_calls] == ["call_1"]
    [record] = [record for record in caplog.records if record.name == "langchain_modelstudio"]
    assert record.levelno == logging.WARNING
    assert "weather" in record.getMessage()
    assert "Ro" not in record.getMessage()


@pytest.mark.report(3)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_langchain_logs_no_valid_calls(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Valid calls and texts cause no warning."""
    with Loopback([GOOD, FINAL]) as server, caplog.at_level(logging.WARNING):
        llm: ChatModelStudio = langchain_chat(server)
        await by(way, llm)
        await by(way, llm)
    assert not caplog.records


# ---------------------------------------------------------------- calls in OpenAI's form

OLD_CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dict": ({"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
             {"city": "Rome"}),
    "object": (SimpleNamespace(id="call_1", type="function",
                               function=SimpleNamespace(name="weather", arguments='{"city": "Rome"}')),
               {"city": "Rome"}),
    "object of a dict": (SimpleNamespace(id="call_1", function={"name": "weather", "arguments": '{"city": "Rome"}'}),
                         {"city": "Rome"}),
    "arguments as an object": ({"id": "call_1", "function": {"name": "weather", "arguments": {"city": "Rome"}}},
                               {"city": "Rome"}),
    "no arguments": ({"id": "call_1", "function": {"name": "weather", "arguments": ""}}, {}),
    "null": ({"id": "call_1", "function": {"name": "weather", "arguments": None}}, {}),
    "unfinished": ({"id": "call_1", "function": {"name": "weather", "arguments": '{"city": "Ro'}}, {"city": "Ro"}),
}  # fmt: skip


@pytest.mark.report(22)
@pytest.mark.parametrize("required", [True, False], ids=["call required", "call not required"])
@pytest.mark.parametrize("form", OLD_CALLS)
def test_calls_that_are_not_blocks_are_selected(form: str, required: bool) -> None:
    """Responses of another class, or from a cache, have calls in `additional_kwargs`."""
    made, arguments = OLD_CALLS[form]
    second = {"id": "call_2", "function": {"name": "local_time", "arguments": "{}"}}
    message = ChatMessage(role=MessageRole.ASSISTANT, content="", additional_kwargs={"tool_calls": [made, second]})
    with Loopback(FINAL) as server:
        selected = chat(server).get_tool_calls_from_response(
            ChatResponse(message=message), error_on_no_tool_call=required
        )
    assert [(each.tool_id, each.tool_name, each.tool_kwargs) for each in selected] == [
        ("call_1", "weather", arguments),
        ("call_2", "local_time", {}),
    ]


@pytest.mark.report(22)
@pytest.mark.parametrize("calls", [None, [], [{"id": "", "function": {"name": None, "arguments": "{}"}}]])
def test_no_call_in_either_form(calls: Any) -> None:
    """Empty lists and fragments without a name are ignored."""
    message = ChatMessage(role=MessageRole.ASSISTANT, content="No.", additional_kwargs={"tool_calls": calls})
    with Loopback(FINAL) as server:
        llm = chat(server)
        assert llm.get_tool_calls_from_response(ChatResponse(message=message), error_on_no_tool_call=False) == []
        with pytest.raises(errors.NoToolCallError, match="No"):
            llm.get_tool_calls_from_response(ChatResponse(message=message))
