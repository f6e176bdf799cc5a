"""Tools in every form of LangChain, and tool choices with thinking.

L and C numbers are rows of test_peer_matrix.py.
"""

from __future__ import annotations

import copy
import logging
from typing import Annotated, Any

import pytest
from langchain_core.tools import StructuredTool, tool
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from langchain_modelstudio.errors import BadRequestError, ConfigurationError
from tests.ids import short
from tests.langchain.service import WAYS, call, chat, tool_calls
from tests.loopback import Loopback, reply_json
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

pytestmark = both_protocols

# ---------------------------------------------------------------- forms of a tool

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Which."}},
    "required": ["city"],
}


class Pydantic(BaseModel):
    """Look it up."""

    city: str = Field(description="Which.")


class OldPydantic(BaseModelV1):
    """Look it up."""

    city: str


class Typed(TypedDict):
    """Look it up."""

    city: Annotated[str, ..., "Which."]


def function(city: str) -> str:
    """Look it up."""
    return city


@tool
def decorated(city: str) -> str:
    """Look it up."""
    return city


@tool
async def asynchronous(city: str) -> str:
    """Look it up."""
    return city


STRUCTURED = StructuredTool.from_function(function, name="structured", args_schema=Pydantic)
OPENAI = {"type": "function", "function": {"name": "openai", "description": "Look it up.", "parameters": PARAMETERS}}
BARE = {"name": "bare", "description": "Look it up.", "parameters": PARAMETERS}
SCHEMA = {"title": "schema", "description": "Look it up.", **PARAMETERS}
ANTHROPIC = {"name": "anthropic", "description": "Look it up.", "input_schema": PARAMETERS}
NO_PARAMETERS = {"type": "function", "function": {"name": "none"}}

FORMS: list[tuple[str, Any, str]] = [
    ("a pydantic class", Pydantic, "Pydantic"),
    ("a pydantic v1 class", OldPydantic, "OldPydantic"),
    ("a TypedDict", Typed, "Typed"),
    ("a function", function, "function"),
    ("a decorated function", decorated, "decorated"),
    ("an async one", asynchronous, "asynchronous"),
    ("a structured tool", STRUCTURED, "structured"),
    ("an OpenAI tool", OPENAI, "openai"),
    ("an OpenAI function", BARE, "bare"),
    ("a JSON schema", SCHEMA, "schema"),
    ("an Anthropic tool", ANTHROPIC, "anthropic"),
]


@pytest.mark.parametrize("strict", [None, True, False])
@pytest.mark.parametrize(("form", "name"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
@pytest.mark.rotated
async def test_every_form_of_a_tool(form: Any, name: str, strict: bool | None) -> None:
    """It is sent as a function, with `strict` in it if set (L12)."""
    before = copy.deepcopy(form) if isinstance(form, dict) else form
    with Loopback(Answer()) as server:
        await call(chat(server).bind_tools([form], strict=strict), "invoke")
        body = sent(server)
    [wired] = body["tools"]
    assert form == before
    assert wired["type"] == "function"
    assert (wired["function"]["name"], wired["function"]["description"]) == (name, "Look it up.")
    assert wired["function"]["parameters"]["properties"]["city"]["type"] == "string"
    assert wired["function"]["parameters"]["required"] == ["city"]
    assert wired["function"].get("strict") == strict
    assert "strict" not in body
    assert "strict" not in wired


async def test_an_openai_tool_is_sent_unchanged() -> None:
    """Even without parameters."""
    with Loopback(Answer()) as server:
        await call(chat(server).bind_tools([OPENAI, NO_PARAMETERS]), "invoke")
        assert sent(server)["tools"] == [OPENAI, NO_PARAMETERS]


NO_FUNCTIONS: list[tuple[str, Any]] = [
    ("OpenAI's web search", {"type": "web_search_preview"}),
    ("a tool of the Responses API (C33)", {"type": "function", "name": "x", "parameters": PARAMETERS}),
    ("a function without a name", {"type": "function", "function": {"parameters": PARAMETERS}}),
    ("another kind of tool", {"type": "custom", "custom": {"name": "x"}}),
]


@pytest.mark.parametrize("form", [case[1] for case in NO_FUNCTIONS], ids=[case[0] for case in NO_FUNCTIONS])
def test_tools_that_are_not_functions(form: Any) -> None:
    """Binding raises an error with the type and the alternative."""
    with Loopback(Answer()) as server, pytest.raises((ConfigurationError, ValueError)) as raised:
        chat(server).bind_tools([form])
    assert str(form)[:20] in str(raised.value)
    if isinstance(raised.value, ConfigurationError):
        assert "enable_search" in str(raised.value)


@pytest.mark.parametrize("way", WAYS)
async def test_empty_tools_are_omitted(way: str) -> None:
    """With all related parameters (C34)."""
    with Loopback(Answer()) as server:
        llm = chat(server).bind_tools([], tool_choice="any", parallel_tool_calls=True)
        await call(llm, way)
        assert not {"tools", "tool_choice", "parallel_tool_calls"} & sent(server).keys()


@pytest.mark.parametrize("value", [None, True, False])
async def test_parallel_tool_calls(value: bool | None) -> None:
    """The value is sent, including False (L13)."""
    with Loopback(Answer()) as server:
        await call(chat(server).bind_tools([OPENAI], parallel_tool_calls=value), "invoke")
        assert sent(server).get("parallel_tool_calls") is value


@pytest.mark.parametrize("way", WAYS)
async def test_other_parameters_are_bound(way: str) -> None:
    """As parameters of the call. The model object is not changed."""
    with Loopback(Answer()) as server:
        llm = chat(server)
        before = llm.model_dump()
        await call(llm.bind_tools([OPENAI], temperature=0.5, enable_thinking=True), way)
        assert (sent(server)["temperature"], sent(server)["enable_thinking"]) == (0.5, True)
        assert llm.model_dump() == before


async def test_tools_beside_a_response_format() -> None:
    """An agent may bind tools and a schema for its last answer."""
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS}}
    with Loopback(Answer()) as server:
        await call(chat(server).bind_tools([OPENAI], response_format=form), "invoke")
        assert (sent(server)["tools"], sent(server)["response_format"]) == ([OPENAI], form)
        await call(chat(server).bind_tools([OPENAI], response_format=Pydantic, strict=True), "invoke")
        schema = sent(server)["response_format"]
    assert (schema["type"], schema["json_schema"]["name"]) == ("json_schema", "Pydantic")
    assert schema["json_schema"]["strict"] is True


@pytest.mark.parametrize("way", WAYS)
async def test_tools_per_call(way: str) -> None:
    """In the service's format, with a choice."""
    with Loopback(Answer()) as server:
        await call(chat(server), way, tools=[OPENAI], tool_choice="none")
        assert (sent(server)["tools"], sent(server)["tool_choice"]) == ([OPENAI], "none")


@pytest.mark.parametrize("way", WAYS)
async def test_any_tools_per_call(way: str) -> None:
    """In any form, and the choice may be a name of its own or bound tools."""
    named = {"type": "function", "function": {"name": "function"}}
    with Loopback(Answer()) as server:
        llm = chat(server, model="qwen-max")
        await call(llm, way, tools=[function, decorated], tool_choice="function")
        first = sent(server)
        await call(llm.bind_tools([function, decorated]), way, tool_choice="function")
        second = sent(server)
        with pytest.raises(ConfigurationError, match="does not name one of the tools"):
            await call(llm.bind_tools([function]), way, tool_choice="missing")
        await call(llm, way, tool_choice="function")  # without tools there is nothing to choose
        assert "tool_choice" not in sent(server)
    assert first["tools"] == second["tools"]
    assert first["tool_choice"] == second["tool_choice"] == named


# ---------------------------------------------------------------- the choice among them

ONE, TWO = [OPENAI], [OPENAI, BARE]
NAMED = {"type": "function", "function": {"name": "openai"}}
FORCED: list[Any] = ["any", "required", True, "openai", NAMED, {"type": "tool", "name": "openai"}]
Choice = dict[str, Any] | str | bool | None


async def chosen(
    choice: Choice, tools: list[Any], way: str = "invoke", **settings: Any
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the sent choice, whether thinking was enabled or disabled with it, and the body."""
    with Loopback(Answer(calls=[Call("call_1", "openai")])) as server:
        llm = chat(server, **settings)
        before = llm.model_dump()
        message = await call(llm.bind_tools(tools, tool_choice=choice), way)
        assert llm.model_dump() == before
        assert tool_calls(message) == [("call_1", "openai", {})]
        body = sent(server)
    return body.get("tool_choice"), body.get("enable_thinking"), body


# (settings, a forced choice among one tool, what then says enable_thinking, whether it is said in the log)
FORCED_WITH_ONE: list[tuple[str, dict[str, Any], Any, Any, bool]] = [
    ("a model that never thinks", {"model": "qwen-max"}, NAMED, None, False),
    ("thinking switched off", {"model": "qwen3.7-max", "enable_thinking": False}, NAMED, False, False),
    ("hybrid, thinking by default", {"model": "qwen3.7-max"}, NAMED, False, False),
    ("hybrid, not thinking by default", {"model": "qwen-plus"}, NAMED, False, False),
    ("thinking asked for", {"model": "qwen-plus", "enable_thinking": True}, "auto", True, True),
    ("thinking asked for with a budget", {"model": "qwen3.7-max", "enable_thinking": True}, "auto", True, True),
    ("thinking only", {"model": "qwq-32b"}, "auto", None, True),
    ("thinking only, which takes required", {"model": "kimi/kimi-k3"}, "required", None, False),
    ("an unknown model may think", {"model": "made-up"}, "auto", None, True),
    ("an unknown model that is told not to", {"model": "made-up", "enable_thinking": False}, NAMED, False, False),
    (
        "one that the caller knows",
        {"model": "made-up", "capabilities": {"thinking": "hybrid-default-on"}},
        NAMED,
        False,
        False,
    ),
]


@pytest.mark.parametrize("choice", FORCED, ids=short)
@pytest.mark.parametrize(
    ("settings", "expected", "thinking", "warned"),
    [case[1:] for case in FORCED_WITH_ONE],
    ids=[case[0] for case in FORCED_WITH_ONE],
)
@pytest.mark.rotated
async def test_a_forced_choice_of_one_tool(
    settings: dict[str, Any],
    expected: Any,
    thinking: Any,
    warned: bool,
    choice: Choice,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is sent as the tool's name with thinking disabled, or as auto with a log entry if the model must think.

    The service rejects a forced choice with thinking (L10, L11).
    """
    with caplog.at_level(logging.WARNING, "modelstudio_core"):
        wired, switch, _ = await chosen(choice, ONE, **settings)
    assert (wired, switch) == (expected, thinking)
    assert bool(caplog.records) == warned
    assert all('"auto"' in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("choice", ["any", "required", True])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "qwen-max"}, "auto"),
        ({"model": "qwen-plus", "enable_thinking": False}, "auto"),
        ({"model": "qwen3.7-max"}, "auto"),
        ({"model": "qwq-plus"}, "auto"),
        ({"model": "made-up"}, "auto"),
        ({"model": "kimi/kimi-k3"}, "required"),
        ({"model": "made-up", "capabilities": {"required_tool_choice": True}}, "required"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["model"],
)
@pytest.mark.rotated
async def test_any_of_several_tools(
    settings: dict[str, Any], expected: Any, choice: Choice, caplog: pytest.LogCaptureFixture
) -> None:
    """ "required" is sent only to models that support it, otherwise auto, with a log entry."""
    with caplog.at_level(logging.WARNING, "modelstudio_core"):
        wired, _, _ = await chosen(choice, TWO, **settings)
    assert wired == expected
    assert bool(caplog.records) == (expected == "auto")


@pytest.mark.parametrize("choice", ["openai", NAMED, {"name": "openai"}], ids=short)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"model": "qwen-max"}, NAMED),
        ({"model": "qwen3.7-max"}, NAMED),
        ({"model": "qwen-plus", "enable_thinking": True}, "auto"),
        ({"model": "qwq-plus"}, "auto"),
        ({"model": "kimi/kimi-k3"}, "auto"),
    ],
    ids=lambda value: "auto" if value == "auto" else str(value.get("model", "named")),
)
async def test_one_of_several_tools(settings: dict[str, Any], expected: Any, choice: Choice) -> None:
    """A named tool is sent by name if the model does not think."""
    wired, _, body = await chosen(choice, TWO, **settings)
    assert wired == expected
    assert len(body["tools"]) == 2


@pytest.mark.parametrize("model", ["qwen-max", "qwen3.7-max", "qwq-plus", "kimi/kimi-k3", "made-up"])
@pytest.mark.parametrize(("choice", "expected"), [("auto", "auto"), ("none", "none"), (None, None), (False, None)])
@pytest.mark.rotated
async def test_a_choice_that_forces_nothing(model: str, choice: Choice, expected: Any) -> None:
    """It changes neither choice nor thinking."""
    wired, thinking, _ = await chosen(choice, ONE, model=model)
    assert (wired, thinking) == (expected, None)


@pytest.mark.parametrize("way", WAYS)
async def test_a_forced_choice_is_the_same_in_all_ways(way: str) -> None:
    """With every method."""
    wired, thinking, body = await chosen("any", ONE, way, model="qwen3.7-max", thinking_budget=9)
    assert (wired, thinking) == (NAMED, False)
    assert "thinking_budget" not in body
    assert bool(body.get("stream")) == ("stream" in way)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("missing", ("'missing'", "does not name one of the tools", "openai, bare")),
        ({"type": "function", "function": {"name": "missing"}}, ("'missing'", "openai, bare")),
        ({"type": "function"}, ("None", "openai, bare")),
        (7, ("tool_choice=7",)),
    ],
)
def test_a_choice_of_an_unknown_tool(choice: Any, words: tuple[str, ...]) -> None:
    """The error lists the tools."""
    with Loopback(Answer()) as server, pytest.raises(ConfigurationError) as raised:
        chat(server).bind_tools(TWO, tool_choice=choice)
    assert all(word in str(raised.value) for word in words)


async def test_several_answers_with_tools() -> None:
    """The vendor excludes n > 1 with tools, so an error is raised."""
    with Loopback(Answer()) as server:
        with pytest.raises(ConfigurationError, match="n=2 is not supported with tools"):
            chat(server, n=2).bind_tools(ONE).invoke("hello")
        assert server.requests == []


async def test_the_service_rejects_a_choice() -> None:
    """Its message is in the error."""
    message = 'tool_choice is one of the strings that should be ["none", "auto"]'
    refused = reply_json(400, {"error": {"message": message, "type": "invalid_request_error", "code": None}})
    with Loopback(refused) as server:
        with pytest.raises(BadRequestError, match="should be"):
            await chat(server, model="qwen-max").bind_tools(ONE, tool_choice="any").ainvoke("hello")
        assert len(server.requests) == 1
