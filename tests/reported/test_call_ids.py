"""A complete call without an ID gets a generated one, because it could not be answered otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool

from tests.langchain.service import chat as langchain_chat
from tests.langchain.ways import ALL_WAYS, by, by_v3
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.wire import EVERY_WAY, Way, Wire, calls_of, every_stream, every_way, invalid_of
from tests.service import Answer, Call, sent

pytestmark = [
    pytest.mark.report(7),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),  # the agents of LlamaIndex
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]

GENERATED = re.compile("call_[a-z]{24}")
ROME = {"city": "Rome"}


def piece(name: Any = None, arguments: Any = None, **beside: Any) -> dict[str, Any]:
    """Return one fragment of a call."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **beside}


@dataclass(frozen=True)
class Case:
    """Fragments of calls, one per event, and the resulting IDs; None for a generated one."""

    name: str
    fragments: Sequence[Any]
    ids: Sequence[str | None]
    invalid: bool = False
    finish: str = "tool_calls"

    @property
    def wire(self) -> Wire:
        events = [{"tool_calls": it if isinstance(it, list) else [it]} for it in self.fragments]
        return Wire(events, {"content": "", "tool_calls": self._whole()}, finish=self.finish)

    def _whole(self) -> list[dict[str, Any]]:
        """Return the calls of the whole answer."""
        calls: dict[int, dict[str, Any]] = {}
        for fragment in (each for it in self.fragments for each in (it if isinstance(it, list) else [it])):
            call = calls.setdefault(fragment.get("index", 0), {"type": "function", "function": {}})
            if "id" in fragment:
                call["id"] = fragment["id"] or call.get("id", fragment["id"])
            for name, value in fragment["function"].items():
                call["function"][name] = (call["function"].get(name) or "") + (value or "")
        return list(calls.values())


TWO = [piece("weather", '{"city": "Rome"}', index=0), piece("weather", '{"city": "Oslo"}', index=1)]
CASES = [
    Case("no id", [piece("weather", '{"city": ', index=0), piece(None, '"Rome"}', index=0)], [None]),
    Case("an empty id", [piece("weather", "", index=0, id=""), piece("", '{"city": "Rome"}', index=0, id="")], [None]),
    Case("an id that is null", [piece("weather", '{"city": "Rome"}', index=0, id=None)], [None]),
    Case("an id that is an object", [piece("weather", '{"city": "Rome"}', index=0, id={"a": 1})], [None]),
    Case("no arguments", [piece("weather", "", index=0)], [None]),
    Case("no index", [piece("weather", '{"city": "Rome"}')], [None]),
    Case("two calls", TWO, [None, None]),
    Case("two calls in one event", [TWO], [None, None]),
    Case("one call of two", [TWO[0] | {"id": "call_1"}, TWO[1]], ["call_1", None]),
    Case("the other call of two", [TWO[0], TWO[1] | {"id": "call_2"}], [None, "call_2"]),
    Case("an id with the last fragment", [piece("weather", "{", index=0), piece("", "}", index=0, id="c")], ["c"]),
    Case("an id after the arguments", [piece("weather", "{}", index=0), piece("", "", index=0, id="c")], ["c"]),
    Case("an id that is a number", [piece("weather", "{}", index=0, id=7)], ["7"]),
    Case("arguments that are not JSON", [piece("weather", "{'city': 1}", index=0)], [None], invalid=True),
    Case("cut off", [piece("weather", '{"ci', index=0)], [None], invalid=True, finish="length"),
    Case("no name", [piece(None, "{}", index=0)], [None], invalid=True),
]


def check(ids: Sequence[str | None], case: Case) -> None:
    """Check IDs against those of a case. All are different."""
    assert len(ids) == len(case.ids)
    assert len(set(ids)) == len(ids)
    for found, expected in zip(ids, case.ids, strict=True):
        assert GENERATED.fullmatch(found or "") if expected is None else found == expected


@every_way
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.rotated
async def test_every_call_has_an_id(case: Case, way: Way) -> None:
    """Valid or not, whole or streamed. IDs of the service are kept, even if they arrive late."""
    with Loopback(case.wire) as server:
        answer = await way(server)
    found = [call["id"] for call in invalid_of(answer)] if case.invalid else [id for id, _, _ in calls_of(answer)]
    check(found, case)
    assert bool(calls_of(answer)) is not case.invalid


@both_protocols
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("name", ALL_WAYS)
@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("no id", "one call of two", "cut off")],
                         ids=lambda case: case.name)  # fmt: skip
@pytest.mark.rotated
async def test_langchain_has_one_id_in_every_view(case: Case, name: str, version: str | None) -> None:
    """Calls, chunks and content blocks have the same IDs."""
    with Loopback(case.wire) as server:
        message = await by(name, langchain_chat(server, output_version=version))
    calls = message.invalid_tool_calls if case.invalid else message.tool_calls
    ids = [call["id"] for call in calls]
    check(ids, case)
    blocks: Any = message.content_blocks
    assert [block["id"] for block in blocks] == ids
    assert [fragment["id"] for fragment in getattr(message, "tool_call_chunks", calls)] == ids


@both_protocols
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_v3_events_finish_a_call_with_its_id(way: str) -> None:
    """The events and the resulting message have the same ID."""
    with Loopback(CASES[0].wire) as server:
        events, message = await by_v3(langchain_chat(server), way)
    [finished] = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [finished["id"]] == [call["id"] for call in message.tool_calls]
    assert GENERATED.fullmatch(finished["id"])


@every_stream
async def test_a_stream_has_an_id_once(way: Way) -> None:
    """In one chunk, with the call's index. Earlier chunks are unchanged."""
    with Loopback(CASES[0].wire) as server:
        pieces = await way.pieces(server)
    if not way.langchain:
        assert [id for id, _, _ in calls_of(pieces[0])] == [None]
        assert len({id for piece in pieces for id, _, _ in calls_of(piece) if id}) == 1
        return
    fragments = [fragment for piece in pieces for fragment in piece.tool_call_chunks]
    said = [(it["index"], it["name"], it["args"], bool(it["id"])) for it in fragments]
    assert said == [(0, "weather", '{"city": ', False), (0, None, '"Rome"}', False), (0, None, "", True)]


@pytest.mark.parametrize(
    "way", [way for way in EVERY_WAY if not way.langchain], ids=lambda it: f"{it.method}-{it.protocol}"
)
async def test_llama_index_has_one_id_in_every_view(way: Way) -> None:
    """Blocks, `additional_kwargs["tool_calls"]` and tool selections have the same IDs."""
    with Loopback(CASES[6].wire) as server:
        response = await way(server)
        selections = way.model(server).get_tool_calls_from_response(response)
    ids = [id for id, _, _ in calls_of(response)]
    assert [call["id"] for call in response.message.additional_kwargs["tool_calls"]] == ids
    assert [selection.tool_id for selection in selections] == ids
    check(ids, CASES[6])


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


TURNS = [Answer(calls=[Call("", "weather", ['{"city": "Rome"}'])]), Answer(text=["Sunny."])]


def check_turns(server: Loopback) -> None:
    """Check that the tool's answer names the call it answers."""
    *_, asked, answered = sent(server)["messages"]
    assert answered["tool_call_id"] == asked["tool_calls"][0]["id"]
    assert GENERATED.fullmatch(answered["tool_call_id"])


@both_protocols
@pytest.mark.parametrize("streams", [False, True])
def test_a_langchain_agent_with_a_generated_id(streams: bool) -> None:
    """`create_agent` runs the tool and returns its result with that ID."""
    from langchain.agents import create_agent

    with Loopback(TURNS) as server:
        agent: Any = create_agent(langchain_chat(server), [weather])
        given = {"messages": [("user", "How is the weather in Rome?")]}
        if streams:
            *_, state = agent.stream(given, stream_mode="values")
        else:
            state = agent.invoke(given)
        assert isinstance(state["messages"][-1], AIMessage)
        assert state["messages"][-1].text == "Sunny."
        check_turns(server)


@both_protocols
async def test_a_llama_index_agent_with_a_generated_id() -> None:
    """`FunctionAgent` does the same."""
    with Loopback(TURNS) as server:
        agent = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=llama_index_chat(server))
        assert str(await agent.run("How is the weather in Rome?")) == "Sunny."
        check_turns(server)
