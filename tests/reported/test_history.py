"""Histories of agents are sent in the form that the service accepts. The messages in memory are not changed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import pytest
from langchain_core.messages import AIMessage, FunctionMessage, HumanMessage, SystemMessage
from llama_index.core.base.llms.types import ChatMessage, ThinkingBlock

from modelstudio_core.errors import ConfigurationError
from tests.ids import short
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.conversations import (
    OK,
    WAYS,
    Turn,
    brief,
    call,
    chat,
    every_adapter,
    every_way,
    fault_of,
    messages_of,
    result,
    said,
    strict,
    system,
    user,
    wire,
)

pytestmark = both_protocols
ARGS = {"city": "上海"}
GET = ("c1", "get", ARGS)
PUT = ("c2", "put", {})
HI = ("user", "hi")
NEXT = ("user", "next")
GOT = ("assistant", "", ("c1", ARGS))
TOLD = ("tool", "21", "c1")


def table(rows: dict[str, Any]) -> Any:
    """Parametrize a test by rows. The four methods take turns."""
    values = [(*row, way) for row, way in zip(rows.values(), cycle(WAYS))]
    return pytest.mark.parametrize(("turns", "expected", "way"), values, ids=rows)


# ---------------------------------------------------------------- 1: arguments that are not a JSON object

RAW: dict[str, Any] = {
    "cut off": '{"path": "a',
    "a trailing comma": '{"path": "a",}',
    "single quotes": "{'path': 'a'}",
    "a list": '["a"]',
    "a number": "5",
    "null": "null",
    "a string": '"a"',
    "encoded twice": '"{\\"path\\": \\"a\\"}"',
    "two objects": "{}{}",
    "NaN": '{"x": NaN}',
    "fenced": '```json\n{"path": "a"}\n```',
    "not ASCII": '{"城": "上',
    "only text": "write a",
}
OBJECTS: dict[str, Any] = {"none": ("", {}), "only spaces": (" \n", {}), "an object": ('{"a": 1}', {"a": 1})}


@pytest.mark.report(1)
@every_adapter
@pytest.mark.parametrize(("raw", "way"), list(zip(RAW.values(), cycle(WAYS))), ids=RAW)
@pytest.mark.rotated
async def test_broken_arguments_are_sent_as_an_object(adapter: str, raw: str, way: str) -> None:
    """The service requires a JSON object. The raw text is a value in it."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", raw)), result("c1", "bad json")], way)
    assert brief(messages) == [HI, ("assistant", "", ("c1", {"invalid_arguments": raw})), ("tool", "bad json", "c1")]


@pytest.mark.report(1)
@every_adapter
@pytest.mark.parametrize(("raw", "expected"), list(OBJECTS.values()), ids=OBJECTS)
async def test_valid_arguments_are_unchanged(adapter: str, raw: str, expected: Any) -> None:
    """Missing arguments are sent as an empty object."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", raw)), result("c1")])
    assert brief(messages)[1] == ("assistant", "", ("c1", expected))


@pytest.mark.report(1)
@every_adapter
@every_way
async def test_nan_in_arguments(adapter: str, way: str) -> None:
    """Python parses NaN, but the service rejects it, so the raw text is sent in an object."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", {"x": float("nan")})), result("c1")], way)
    assert brief(messages)[1] == ("assistant", "", ("c1", {"invalid_arguments": '{"x": NaN}'}))


@pytest.mark.report(1, 4)
@every_adapter
@every_way
async def test_unpaired_surrogates(adapter: str, way: str) -> None:
    """In arguments or results. UTF-8 cannot encode them."""
    half = [("c1", "write", {"x": "a\ud83d"}), ("c2", "write", '{"x": "a\ud83d')]
    turns = [user(), said("", *half), result("c1", "b\ud83d"), result("c2", ["b\ud83d"])]
    assert brief(await wire(adapter, turns, way)) == [
        HI,
        ("assistant", "", ("c1", {"x": "a\ufffd"}), ("c2", {"invalid_arguments": '{"x": "a\ufffd'})),
        ("tool", "b\ufffd", "c1"),
        ("tool", "b\ufffd", "c2"),
    ]


@pytest.mark.report(1)
@pytest.mark.parametrize("value", [["a", 1], 5, None, True, 1.5, float("nan")], ids=short)
@pytest.mark.parametrize("old", [False, True], ids=["block", "additional_kwargs"])
async def test_arguments_of_another_type(old: bool, value: Any) -> None:
    """Values other than objects are sent as JSON text in an object."""
    turns = messages_of("llama_index", [user(), said("", ("c1", "write", value)), result("c1")])
    if old:
        function = {"name": "write", "arguments": value}
        turns[1] = ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"id": "c1", "function": function}]})
    text = {"['a', 1]": '["a", 1]', "5": "5", "True": "true", "1.5": "1.5", "nan": "NaN"}.get(repr(value))
    expected = {} if text is None else {"invalid_arguments": text}
    assert brief(await wire("llama_index", turns))[1] == ("assistant", "", ("c1", expected))


# ---------------------------------------------------------------- 2: calls without an answer

UNANSWERED: dict[str, tuple[Sequence[Turn], list[Any]]] = {
    "no answer, another turn": ([user(), said("", GET), user("next")], [HI, NEXT]),
    "its text stays": ([user(), said("wait", GET), user("next")], [HI, ("assistant", "wait"), NEXT]),
    "one of two": ([user(), said("", GET, PUT), result("c1"), user("next")], [HI, GOT, TOLD, NEXT]),
    "the second of two": ([user(), said("", PUT, GET), result("c1"), user("next")], [HI, GOT, TOLD, NEXT]),
    "an invalid one": ([user(), said("", GET, ("c2", "put", "{")), result("c1")], [HI, GOT, TOLD]),
    "an assistant follows": (
        [user(), said("", GET, PUT), result("c1"), said("21"), user("next")],
        [HI, GOT, TOLD, ("assistant", "21"), NEXT],
    ),
    "calls again": ([user(), said("", PUT), said("", GET), result("c1")], [HI, GOT, TOLD]),
    "at the end": ([user(), said("", GET)], [HI]),
    "at the end, with text": ([user(), said("wait", GET)], [HI, ("assistant", "wait")]),
    "at the end, one of two": ([user(), said("", GET, PUT), result("c1")], [HI, GOT, TOLD]),
    "at the end, to be continued": ([user(), said("def", GET, partial=True)], [HI, ("assistant", "def")]),
    "the answer comes too late": ([user(), said("", GET), user("next"), result("c1")], [HI, NEXT]),
    "a system turn between": ([user(), said("", GET), system("s"), result("c1")], [HI, ("system", "s")]),
    "an empty turn between": ([user(), said("", GET), system(""), said(), result("c1")], [HI, GOT, TOLD]),
    "an id that came before": (
        [user(), said("", GET), result("c1"), said("21"), user("next"), said("", GET), user("last")],
        [HI, GOT, TOLD, ("assistant", "21"), NEXT, ("user", "last")],
    ),
    "an id that comes again": (
        [user(), said("", GET), user("next"), said("", GET), result("c1")],
        [HI, NEXT, GOT, TOLD],
    ),
    "in another order": (
        [user(), said("", GET, PUT), result("c2", "put"), result("c1")],
        [HI, ("assistant", "", ("c1", ARGS), ("c2", {})), ("tool", "put", "c2"), TOLD],
    ),
    "answered twice": ([user(), said("", GET), result("c1", "no"), result("c1")], [HI, GOT, TOLD]),
    "two of one id": (
        [user(), said("", GET, GET), result("c1"), result("c1", "22")],
        [HI, ("assistant", "", ("c1", ARGS), ("c1", ARGS)), TOLD, ("tool", "22", "c1")],
    ),
    "trimmed from the beginning": ([result("c1"), said("21"), user("next")], [("assistant", "21"), NEXT]),
    "trimmed, the system turn kept": ([system("s"), result("c1"), user("next")], [("system", "s"), NEXT]),
    "trimmed after a summary": ([user(), result("c1"), said("21"), user("next")], [HI, ("assistant", "21"), NEXT]),
    "all is well": ([user(), said("", GET), result("c1"), user("next")], [HI, GOT, TOLD, NEXT]),
}


@pytest.mark.report(2)
@every_adapter
@table(UNANSWERED)
@pytest.mark.rotated
async def test_calls_are_sent_only_with_their_results(
    adapter: str, turns: Sequence[Turn], expected: list[Any], way: str
) -> None:
    """Unmatched calls and results are omitted."""
    messages = await wire(adapter, turns, way)
    assert brief(messages) == expected
    assert fault_of(messages) is None


@pytest.mark.report(2)
@every_adapter
@every_way
async def test_omitted_calls_are_logged(adapter: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO with name and ID, but without arguments, which may be confidential."""
    with caplog.at_level(logging.INFO, "modelstudio_core"):
        messages = await wire(adapter, [user(), said("", GET, PUT), result("c1"), user("next")], way)
    assert brief(messages) == [HI, GOT, TOLD, NEXT]
    [record] = [record for record in caplog.records if "omitted" in record.getMessage()]
    assert record.levelno == logging.INFO
    assert all(word in record.getMessage() for word in ("put", "c2"))
    assert not any(word in record.getMessage() for word in ("c1", "get", "上海"))


@pytest.mark.report(2)
@every_adapter
@pytest.mark.parametrize("calls", [1, 2])
async def test_calls_without_an_id(adapter: str, calls: int) -> None:
    """They are matched with results by position, and get a generated ID."""
    made = [(None, "get", {"n": number}) for number in range(calls)]
    answers = [result(None, f"{number}") for number in range(calls)]
    messages = await wire(adapter, [user(), said("", *made), *answers])
    ids = [each["id"] for each in messages[1]["tool_calls"]]
    assert all(ids)
    assert len(set(ids)) == calls
    assert [(message["tool_call_id"], message["content"]) for message in messages[2:]] == [
        (id, str(number)) for number, id in enumerate(ids)
    ]


@pytest.mark.report(2)
async def test_a_function_message_answers_the_last_call_of_its_name() -> None:
    """But no call of an earlier turn."""
    turns = messages_of("langchain", [user(), said("", ("old", "get", {})), user("next"), said("", GET)])
    messages = await wire("langchain", [*turns, FunctionMessage("21", name="get")])
    assert brief(messages) == [HI, NEXT, GOT, TOLD]


@pytest.mark.report(2, 6)
@every_adapter
async def test_an_empty_history(adapter: str) -> None:
    """If nothing can be sent, an error is raised."""
    with Loopback(OK) as server:
        with pytest.raises(ConfigurationError, match="no message to send"):
            await call(adapter, chat(adapter, server), "whole", messages_of(adapter, [system(""), said("", GET)]))
        assert not server.requests


# ---------------------------------------------------------------- 6: turns without content

EMPTY: dict[str, tuple[Sequence[Turn], list[Any]]] = {
    "a system turn": ([system(""), user()], [HI]),
    "a system turn of no parts": ([system([]), user()], [HI]),
    "a system turn of empty parts": ([system(["", ""]), user()], [HI]),
    "a later system turn": ([user(), said("a"), system(""), user("next")], [HI, ("assistant", "a"), NEXT]),
    "an assistant's turn": ([user(), said(""), user("next")], [HI, NEXT]),
    "an assistant's turn of no parts": ([user(), said([]), user("next")], [HI, NEXT]),
    "an assistant's turn of empty parts": ([user(), said([""]), user("next")], [HI, NEXT]),
    "an assistant's last turn": ([user(), said("")], [HI]),
    "calls are content": ([user(), said("", GET), result("c1")], [HI, GOT, TOLD]),
    "spaces are content": ([system(" "), user()], [("system", " "), HI]),
    "a beginning to go on from": ([user(), said("", partial=True)], [HI, ("assistant", "")]),
    "an empty result": ([user(), said("", GET), result("c1", "")], [HI, GOT, ("tool", "", "c1")]),
    "an empty user turn is the caller's": ([user("")], [("user", "")]),
}


@pytest.mark.report(6)
@every_adapter
@table(EMPTY)
@pytest.mark.rotated
async def test_a_turn_without_content_is_omitted(
    adapter: str, turns: Sequence[Turn], expected: list[Any], way: str
) -> None:
    """System and assistant turns, because the service rejects empty content."""
    assert brief(await wire(adapter, turns, way)) == expected


@pytest.mark.report(6)
@every_adapter
async def test_a_turn_with_only_reasoning_is_omitted(adapter: str) -> None:
    """Such as an answer truncated while the model was thinking."""
    only: Any = AIMessage("", additional_kwargs={"reasoning_content": "hm"})
    if adapter == "llama_index":
        only = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm")])
    first, last = messages_of(adapter, [user(), user("next")])
    assert brief(await wire(adapter, [first, only, last], preserve_thinking=True)) == [HI, NEXT]


@pytest.mark.report(6)
async def test_an_empty_system_turn_and_json_mode() -> None:
    """The instruction of JSON mode does not depend on an omitted system turn."""
    messages = [SystemMessage(""), HumanMessage("hi")]
    for given in (messages, messages[1:]):
        assert brief(await wire("langchain", given, response_format={"type": "json_object"})) == [
            ("system", "Answer with a JSON object."),
            HI,
        ]


# ---------------------------------------------------------------- 23: parts that are all text

TEXTS: dict[str, tuple[Sequence[Turn], list[Any]]] = {
    "one": ([user(["hi"])], [HI]),
    "several": ([user(["h", "i"])], [HI]),
    "system": ([system(["s", "t"]), user()], [("system", "st"), HI]),
    "assistant": ([user(), said(["a", "b"]), user("next")], [HI, ("assistant", "ab"), NEXT]),
    "lines of a result": ([user(), said("", GET), result("c1", ["2", "1"])], [HI, GOT, ("tool", "2\n1", "c1")]),
    "the text of calls": ([user(), said(["a", "b"], GET), result("c1")], [HI, ("assistant", "ab", ("c1", ARGS)), TOLD]),
}


@pytest.mark.report(23)
@every_adapter
@table(TEXTS)
async def test_texts_are_one_string(adapter: str, turns: Sequence[Turn], expected: list[Any], way: str) -> None:
    """qwen-long rejects a list, and GLM ignores it. In tool results, texts are joined by newlines."""
    assert brief(await wire(adapter, turns, way, model="qwen-long")) == expected


@pytest.mark.report(23)
@every_adapter
@pytest.mark.parametrize("content", ["hi", ["hi"]], ids=["string", "list"])
async def test_the_multimodal_endpoint_uses_lists(adapter: str, content: Any, each_protocol: str) -> None:
    """The native endpoint for media requires a list, also for text."""
    with Loopback(OK) as server:
        llm = chat(adapter, server, model="qwen3-vl-plus", protocol="dashscope")
        await call(adapter, llm, "whole", messages_of(adapter, [system(content), user(content)]))
        messages = server.requests[0].json()["input"]["messages"]
    assert [message["content"] for message in messages] == [[{"text": "hi"}]] * 2


@pytest.mark.report(23)
@every_adapter
async def test_text_beside_an_image_stays_a_part(adapter: str) -> None:
    """Only content with nothing but text is joined to a string."""
    [message] = await wire(adapter, [user(["a", {"image": "https://example.com/a.png"}, "b"])], model="qwen3-vl-plus")
    assert len(message["content"]) == 3


# ---------------------------------------------------------------- all at once


@pytest.mark.report(1, 2, 6, 23)
@every_adapter
@every_way
async def test_a_broken_thread_continues(adapter: str, way: str) -> None:
    """A strict service accepts the whole history, also on the next turn."""
    turns = [
        system(""),
        user(["h", "i"]),
        said("", ("c1", "get", '{"city": "上'), PUT),
        result("c1", "bad json"),
        said(""),
        user("next"),
        said("", GET),
    ]
    with Loopback(strict(OK, OK)) as server:
        llm = chat(adapter, server)
        for more in ([], [said("ok"), user("last")]):
            await call(adapter, llm, way, messages_of(adapter, [*turns, *more]))


def test_omitted_turns_are_not_counted() -> None:
    """Nor omitted calls."""
    with Loopback(OK) as server:
        llm = chat("langchain", server)
        sent = [HumanMessage("hi"), HumanMessage("next")]
        given = [
            SystemMessage(""),
            sent[0],
            AIMessage("", tool_calls=[{"id": "c", "name": "get", "args": ARGS}]),
            sent[1],
        ]
        assert llm.get_num_tokens_from_messages(given) == llm.get_num_tokens_from_messages(sent)
