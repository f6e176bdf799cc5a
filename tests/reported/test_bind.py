"""Bound settings reach the service however the model is wrapped."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.load import dumpd, dumps, load
from langchain_core.runnables import Runnable, RunnableBinding
from pydantic import BaseModel

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import ConfigurationError as CoreConfigurationError
from tests.langchain.service import WAYS, call, chat
from tests.llama_index import service as llama_index
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

HELLO = Answer(text=["Hello"])
BOUND = {"enable_thinking": False, "seed": 7}


class City(BaseModel):
    """A city."""

    name: str


CITY = Answer(text=['{"name": "Hangzhou"}'], calls=[Call("call_1", "City", ['{"name": "Hangzhou"}'])])


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def local_time(city: str) -> str:
    """Tell the time in a city."""
    return f"It is noon in {city}."


def agent(llm: Any, **options: Any) -> Runnable[Any, Any]:
    made: Any = create_agent(model=llm, **options)
    return (lambda text: {"messages": [("user", text)]}) | made


def tools_of(body: dict[str, Any]) -> list[str]:
    """Return the names of the tools that a request offers."""
    return [tool["function"]["name"] for tool in body.get("tools") or []]


# ---------------------------------------------------------------- what was bound is sent

USES: dict[str, Callable[[Any], Any]] = {
    "bind_tools": lambda llm: llm.bind_tools([weather]),
    "bind_tools, forced": lambda llm: llm.bind_tools([weather], tool_choice="any"),
    "bind_tools twice": lambda llm: llm.bind_tools([weather]).bind_tools([local_time]),
    "structured, by a call": lambda llm: llm.with_structured_output(City, method="function_calling"),
    "structured, by json_schema": lambda llm: llm.with_structured_output(City, method="json_schema"),
    "structured, by JSON mode": lambda llm: llm.with_structured_output(method="json_mode"),
    "structured, raw too": lambda llm: llm.with_structured_output(City, include_raw=True),
    "structured, by default": lambda llm: llm.with_structured_output(City),
    "bind": lambda llm: llm.bind(temperature=0.5).bind_tools([weather]),
    "with_config": lambda llm: llm.with_config(tags=["a"]).bind_tools([weather]),
    "with_listeners": lambda llm: llm.with_listeners().bind_tools([weather]),
    "with_alisteners": lambda llm: llm.with_alisteners().bind_tools([weather]),
    "with_types": lambda llm: llm.with_types(output_type=None).bind_tools([weather]),
    "with_retry": lambda llm: llm.with_retry().bind_tools([weather]),
    "with_retry, structured": lambda llm: llm.with_retry().with_structured_output(City),
    "with_fallbacks": lambda llm: llm.with_fallbacks([llm]).bind_tools([weather]),
    "with_fallbacks, structured": lambda llm: llm.with_fallbacks([llm]).with_structured_output(City),
    "an agent": lambda llm: agent(llm),
    "an agent with tools": lambda llm: agent(llm, tools=[weather]),
    "an agent with a response format": lambda llm: agent(llm, tools=[weather], response_format=City),
    "nothing": lambda llm: llm,
}
FIRST: dict[str, Callable[[Any], Any]] = {
    "bind": lambda llm: llm.bind(**BOUND),
    "bind twice": lambda llm: llm.bind(seed=7).bind(enable_thinking=False),
    "with_config, then bind": lambda llm: llm.with_config(tags=["a"]).bind(**BOUND),
    "with_listeners, then bind": lambda llm: llm.with_listeners().bind(**BOUND),
    "with_alisteners, then bind": lambda llm: llm.with_alisteners().bind(**BOUND),
    "with_types, then bind": lambda llm: llm.with_types().bind(**BOUND),
    "bind_tools with a parameter": lambda llm: llm.bind_tools([local_time], **BOUND),
}
PAIRS = [("bind", use) for use in USES]
PAIRS += [(first, use) for first in FIRST for use in ("bind_tools", "an agent with tools") if first != "bind"]


@pytest.mark.report(25)
@both_protocols
@pytest.mark.parametrize(("first", "use"), PAIRS, ids=[" / ".join(pair) for pair in PAIRS])
async def test_bound_parameters_are_sent(first: str, use: str) -> None:
    """With every wrapper and method."""
    for way in WAYS:
        with Loopback(CITY if "structured" in use or "format" in use else HELLO) as server:
            await call(USES[use](FIRST[first](chat(server, model="qwen3-32b"))), way)
            assert {name: sent(server, 0).get(name) for name in BOUND} == BOUND


@pytest.mark.report(25)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_bound_tools_and_structured_output(method: str) -> None:
    """Both are sent. A tool with the name of the schema is sent once."""
    with Loopback(CITY) as server:
        for bound in (chat(server).bind(tools=[weather, City]), chat(server).bind_tools([weather, City])):
            bound.with_structured_output(City, method=method, include_raw=True).invoke("hello")
            assert tools_of(sent(server)) == ["weather", "City"]
            if method == "function_calling":
                assert sent(server)["tool_choice"] == {"type": "function", "function": {"name": "City"}}


PRECEDENCE: list[tuple[str, Callable[[Any], Any], dict[str, Any]]] = [
    ("the later bind", lambda llm: llm.bind(seed=7).bind(seed=8), {"seed": 8}),
    ("bind over the object", lambda llm: llm.bind(temperature=0.5).bind_tools([weather]), {"temperature": 0.5}),
    ("an argument over a bound one", lambda llm: llm.bind(seed=7).bind_tools([weather], seed=8), {"seed": 8}),
    (
        "an argument of structured output over a bound one",
        lambda llm: llm.bind(seed=7).with_structured_output(City, include_raw=True, seed=8),
        {"seed": 8},
    ),
    (
        "the tools of the later bind_tools",
        lambda llm: llm.bind_tools([weather], tool_choice="weather").bind_tools([local_time]),
        {"tools": ["local_time"], "tool_choice": None},
    ),
    (
        "a bound choice",
        lambda llm: llm.bind(tool_choice="none").bind_tools([weather]),
        {"tools": ["weather"], "tool_choice": "none"},
    ),
    (
        "a bound choice that the later tools have",
        lambda llm: llm.bind_tools([weather], tool_choice="weather").bind_tools([local_time, weather]),
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
    ),
    (
        "a choice over a bound one",
        lambda llm: llm.bind_tools([weather], tool_choice="none").bind_tools([weather], tool_choice="auto"),
        {"tool_choice": "auto"},
    ),
    (
        "no choice over a bound one",
        lambda llm: llm.bind_tools([weather], tool_choice="none").bind_tools([weather], tool_choice=False),
        {"tool_choice": None},
    ),
    (
        "bound parallel calls",
        lambda llm: llm.bind(parallel_tool_calls=True).bind_tools([weather]),
        {"parallel_tool_calls": True},
    ),
    (
        "parallel calls over bound ones",
        lambda llm: llm.bind(parallel_tool_calls=True).bind_tools([weather], parallel_tool_calls=False),
        {"parallel_tool_calls": False},
    ),
    (
        "a bound response format",
        lambda llm: llm.bind(response_format={"type": "text"}).bind_tools([weather]),
        {"response_format": {"type": "text"}},
    ),
    (
        "a schema over a bound response format",
        lambda llm: llm.bind(response_format={"type": "text"}).with_structured_output(method="json_mode"),
        {"response_format": {"type": "json_object"}},
    ),
    ("the bound model's method", lambda llm: llm.bind(model="qwen3.7-max").with_structured_output(City), {"tools": []}),
    ("the argument's model's method", lambda llm: llm.with_structured_output(City, model="qwen3.7-max"), {"tools": []}),
    ("a parameter taken back", lambda llm: llm.bind(seed=7).bind(seed=None).bind_tools([weather]), {"seed": None}),
]


@pytest.mark.report(25)
@pytest.mark.parametrize(("make", "expected"), [case[1:] for case in PRECEDENCE], ids=[case[0] for case in PRECEDENCE])
async def test_precedence(make: Callable[[Any], Any], expected: dict[str, Any]) -> None:
    """Later values override earlier ones, and arguments override bound values."""
    with Loopback(CITY) as server:
        make(chat(server, temperature=1.0)).invoke("hello")
        body = sent(server) | {"tools": tools_of(sent(server))}
        assert {name: body.get(name) for name in expected} == expected


# ---------------------------------------------------------------- what a binding is


@pytest.mark.report(25)
def test_a_binding_is_a_runnable_binding() -> None:
    """A flat RunnableBinding of the bare model. Binding again does not change it."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-1")
    bound = llm.bind(**BOUND)
    more = bound.bind_tools([weather])
    for each in (bound, more, bound.bind(n=1), bound.with_config(tags=["a"]), llm.with_config(tags=["a"])):
        assert isinstance(each, RunnableBinding)
        assert each.bound is llm
        assert type(each) is type(bound)
    assert dict(bound.kwargs) == BOUND
    assert bound.with_config(tags=["a"]).bind_tools([weather]).config["tags"] == ["a"]
    assert len(bound.with_alisteners().with_listeners().bind_tools([weather]).config_factories) == 2
    assert bound.model_name == "qwen-plus"


@pytest.mark.report(25)
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_a_serialized_binding() -> None:
    """A loaded binding has the bound parameters, and no key."""
    with Loopback(HELLO) as server:
        bound = chat(server, api_key="sk-0123456789").bind(**BOUND).bind_tools([weather])
        assert "sk-0123456789" not in dumps(bound)
        loaded = load(
            json.loads(json.dumps(dumpd(bound))),
            allowed_objects="all",
            valid_namespaces=["langchain_modelstudio"],
            secrets_map={"DASHSCOPE_API_KEY": "sk-0123456789"},
        )
        loaded.bind_tools([local_time]).invoke("hello")
        assert {name: sent(server).get(name) for name in BOUND} == BOUND
        assert tools_of(sent(server)) == ["local_time"]


@pytest.mark.report(25)
@both_protocols
async def test_batches_and_events_of_a_binding() -> None:
    """They send the bound parameters."""
    with Loopback(HELLO) as server:
        bound = chat(server, model="qwen3-32b").bind(**BOUND).bind_tools([weather])
        bound.batch(["a"])
        await bound.abatch(["a"])
        list(bound.stream_events("a", version="v3"))
        [event async for event in await bound.astream_events("a", version="v3")]
        [event async for event in bound.astream_events("a", version="v2")]
        assert len(server.requests) == 5
        for at in range(5):
            assert {name: sent(server, at).get(name) for name in BOUND} == BOUND
            assert tools_of(sent(server, at)) == ["weather"]


@pytest.mark.report(25)
@pytest.mark.filterwarnings("ignore::langgraph.warnings.LangGraphDeprecatedSinceV10")
def test_langgraph_s_agent() -> None:
    """`create_react_agent` accepts a binding, with or without tools."""
    from langgraph.prebuilt import create_react_agent

    with Loopback(HELLO) as server:
        for bound in (chat(server).bind(**BOUND), chat(server).bind(**BOUND).bind_tools([weather])):
            made: Any = create_react_agent
            made(bound, [weather]).invoke({"messages": [("user", "hello")]})
            assert {name: sent(server).get(name) for name in BOUND} == BOUND
            assert tools_of(sent(server)) == ["weather"]


# ---------------------------------------------------------------- reasoning_effort="none"

NO_EFFORT = {"reasoning_effort": "none"}
EFFORTS: list[tuple[str, dict[str, Any]]] = [
    # model, and what is sent of the two
    ("qwen-plus", {"enable_thinking": False}),
    ("qwen3.7-max", {"enable_thinking": False}),
    ("qwen3-32b", {"enable_thinking": False}),
    ("glm-5.2", {"enable_thinking": False}),  # its levels have no "none"
    ("qwen3.8-max", NO_EFFORT),  # listed for it
    ("MiniMax/MiniMax-M3", {"thinking": {"type": "disabled"}}),  # its own switch
    ("qwen-max", {}),  # never thinks
    ("made-up", NO_EFFORT),  # the service knows
]


@pytest.mark.report(24)
@both_protocols
@pytest.mark.parametrize(("model", "expected"), EFFORTS, ids=[case[0] for case in EFFORTS])
async def test_reasoning_effort_none(model: str, expected: dict[str, Any]) -> None:
    """It disables thinking in the field that the model supports."""
    with Loopback(HELLO) as server:
        for way in WAYS:
            await call(chat(server, model=model, **NO_EFFORT), way)
            await call(chat(server, model=model).bind(**NO_EFFORT), way)
            await call(chat(server, model=model), way, **NO_EFFORT)
            await call(chat(server, model=model, extra_body=NO_EFFORT), way)
            await call(chat(server, model=model, enable_thinking=True), way, **NO_EFFORT)
        for way in llama_index.WAYS:
            await llama_index.call(llama_index.chat(server, model=model, **NO_EFFORT), way)
            await llama_index.call(llama_index.chat(server, model=model), way, **NO_EFFORT)
        for at in range(len(server.requests)):
            body = sent(server, at)
            names = ("enable_thinking", "reasoning_effort", "thinking")
            assert {name: body[name] for name in names if name in body} == expected
        assert not sent(server, 0).get("stream")


@pytest.mark.report(24)
@pytest.mark.parametrize("model", ["qwq-plus", "glm-5.3", "kimi/kimi-k3"])
async def test_reasoning_effort_none_of_a_model_that_always_thinks(model: str) -> None:
    """It raises an error, like `enable_thinking=False`."""
    with Loopback(HELLO) as server:
        for way in WAYS:
            with pytest.raises(ConfigurationError, match=f'{model} always thinks.*reasoning_effort="none"'):
                await call(chat(server, model=model), way, **NO_EFFORT)
        for way in llama_index.WAYS:
            with pytest.raises(CoreConfigurationError, match=f'{model} always thinks.*reasoning_effort="none"'):
                await llama_index.call(llama_index.chat(server, model=model, **NO_EFFORT), way)
        assert server.requests == []


@pytest.mark.report(24)
@pytest.mark.parametrize("adapter", [ChatModelStudio, ModelStudio])
def test_reasoning_effort_none_and_enable_thinking(adapter: Any) -> None:
    """They contradict each other. A call overrides the object."""
    with Loopback(HELLO) as server:
        ask = (
            (lambda llm, **call: llm.invoke("hi", **call))
            if adapter is ChatModelStudio
            else (lambda llm, **call: llm.complete("hi", **call))
        )
        made = {"model": "qwen-plus", "base_url": server.url}
        with pytest.raises(
            CoreConfigurationError, match=r"enable_thinking=True and reasoning_effort=.none. contradict"
        ):
            ask(adapter(**made, enable_thinking=True, **NO_EFFORT))
        with pytest.raises(CoreConfigurationError, match="contradict"):
            ask(adapter(**made), enable_thinking=True, **NO_EFFORT)
        assert server.requests == []
        ask(adapter(**made, **NO_EFFORT), enable_thinking=True)
        assert sent(server)["enable_thinking"] is True
        assert "reasoning_effort" not in sent(server)
