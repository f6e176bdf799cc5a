"""A conversation goes out as the service takes it, whatever an agent left in it, and stays as it was in memory."""

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
    """Parametrise a test by rows, each with the next of the four ways."""
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
async def test_broken_arguments_go_back_as_an_object(adapter: str, raw: str, way: str) -> None:
    """The service gets a JSON object, in which the model sees what it wrote."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", raw)), result("c1", "bad json")], way)
    assert brief(messages) == [HI, ("assistant", "", ("c1", {"invalid_arguments": raw})), ("tool", "bad json", "c1")]


@pytest.mark.report(1)
@every_adapter
@pytest.mark.parametrize(("raw", "expected"), list(OBJECTS.values()), ids=OBJECTS)
async def test_text_that_is_an_object_stays(adapter: str, raw: str, expected: Any) -> None:
    """No arguments are an empty object."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", raw)), result("c1")])
    assert brief(messages)[1] == ("assistant", "", ("c1", expected))


@pytest.mark.report(1)
@every_adapter
@every_way
async def test_nan_goes_back_as_it_was_written(adapter: str, way: str) -> None:
    """Python reads NaN as JSON, so another provider's class may have made a call of it; the service does not."""
    messages = await wire(adapter, [user(), said("", ("c1", "write", {"x": float("nan")})), result("c1")], way)
    assert brief(messages)[1] == ("assistant", "", ("c1", {"invalid_arguments": '{"x": NaN}'}))


@pytest.mark.report(1, 4)
@every_adapter
@every_way
async def test_half_a_surrogate_pair(adapter: str, way: str) -> None:
    """A model may escape half an emoji in its arguments, and a tool may return one. UTF-8 cannot hold it."""
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
    """What a ToolCallBlock, or a call in OpenAI's form, holds instead of an object goes as its JSON text within one."""
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
async def test_a_call_goes_out_only_with_its_answer(
    adapter: str, turns: Sequence[Turn], expected: list[Any], way: str
) -> None:
    """Calls and results that do not belong together are left out, so that the service takes the history."""
    messages = await wire(adapter, turns, way)
    assert brief(messages) == expected
    assert fault_of(messages) is None


@pytest.mark.report(2)
@every_adapter
@every_way
async def test_a_call_that_is_left_out_is_logged(adapter: str, way: str, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, with its name and id, in every way to call the model; not its arguments, which may be confidential."""
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
    """They and their answers belong together by their order, and go out with an id of ours."""
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
    """A call of an earlier turn is over."""
    turns = messages_of("langchain", [user(), said("", ("old", "get", {})), user("next"), said("", GET)])
    messages = await wire("langchain", [*turns, FunctionMessage("21", name="get")])
    assert brief(messages) == [HI, NEXT, GOT, TOLD]


@pytest.mark.report(2, 6)
@every_adapter
async def test_nothing_is_left(adapter: str) -> None:
    """A history of nothing that can be sent is an error, and no request is made."""
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
async def test_a_turn_without_content_is_left_out(
    adapter: str, turns: Sequence[Turn], expected: list[Any], way: str
) -> None:
    """System and assistant turns; the service takes none whose content is empty."""
    assert brief(await wire(adapter, turns, way)) == expected


@pytest.mark.report(6)
@every_adapter
async def test_a_turn_of_only_reasoning_is_left_out(adapter: str) -> None:
    """Its content is empty, as where an answer was cut off while the model thought."""
    only: Any = AIMessage("", additional_kwargs={"reasoning_content": "hm"})
    if adapter == "llama_index":
        only = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm")])
    first, last = messages_of(adapter, [user(), user("next")])
    assert brief(await wire(adapter, [first, only, last], preserve_thinking=True)) == [HI, NEXT]


@pytest.mark.report(6)
async def test_an_empty_system_turn_and_json_mode() -> None:
    """The instruction that JSON mode adds does not depend on a system turn that is not sent."""
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
    """In every role: qwen-long refuses a list, and GLM drops it. Only a result's texts are lines."""
    assert brief(await wire(adapter, turns, way, model="qwen-long")) == expected


@pytest.mark.report(23)
@every_adapter
@pytest.mark.parametrize("content", ["hi", ["hi"]], ids=["string", "list"])
async def test_the_multimodal_endpoint_takes_lists(adapter: str, content: Any, each_protocol: str) -> None:
    """The native endpoint for media has content as a list, of text too."""
    with Loopback(OK) as server:
        llm = chat(adapter, server, model="qwen3-vl-plus", protocol="dashscope")
        await call(adapter, llm, "whole", messages_of(adapter, [system(content), user(content)]))
        messages = server.requests[0].json()["input"]["messages"]
    assert [message["content"] for message in messages] == [[{"text": "hi"}]] * 2


@pytest.mark.report(23)
@every_adapter
async def test_text_beside_an_image_stays_a_part(adapter: str) -> None:
    """Only parts that are all text become a string."""
    [message] = await wire(adapter, [user(["a", {"image": "https://example.com/a.png"}, "b"])], model="qwen3-vl-plus")
    assert len(message["content"]) == 3


# ---------------------------------------------------------------- all at once


@pytest.mark.report(1, 2, 6, 23)
@every_adapter
@every_way
async def test_a_thread_that_went_wrong_goes_on(adapter: str, way: str) -> None:
    """A service that refuses what the real one refuses answers the whole history, and again on the next turn."""
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


def test_tokens_of_what_is_sent_are_counted() -> None:
    """Turns and calls that are left out cost nothing."""
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
