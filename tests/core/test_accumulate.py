"""Deltas are folded to the same result for streams and whole answers. Only a JSON object makes a valid call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelstudio_core.protocols.accumulate import Accumulator, fold, parse_arguments
from modelstudio_core.types import (
    Audio,
    AudioDelta,
    ChatResult,
    Choice,
    Delta,
    ExtraDelta,
    FinishDelta,
    InvalidToolCall,
    LogprobsDelta,
    ReasoningDelta,
    ResponseDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
)

CUT = "truncated"
ARGUMENTS: list[tuple[str, str, str | None, dict[str, Any] | str]] = [
    # an object makes a call, whatever the finish reason
    ("an object", '{"a": [1, {"b": null}]}', "tool_calls", {"a": [1, {"b": None}]}),
    ("an object with `stop`, a forced choice", '{"a": 1}', "stop", {"a": 1}),
    ("an object that was whole when the answer was cut", '{"a": 1}', "length", {"a": 1}),
    ("blanks around it", ' \n{"a": 1}\t', "tool_calls", {"a": 1}),
    ("an empty object", "{}", "tool_calls", {}),
    ("text of any language", '{"城市": "杭州 🚀"}', "tool_calls", {"城市": "杭州 🚀"}),
    ("half an emoji, escaped", r'{"a": "\ud83d"}', "tool_calls", {"a": "\ud83d"}),
    # no arguments at all
    ("none", "", "tool_calls", {}),
    ("none, with stop", "", "stop", {}),
    ("only blanks", " \n", "tool_calls", {}),
    ("none, and cut by length", "", "length", CUT),
    ("none, and no finish", "", None, CUT),
    ("only blanks, and cut", " ", "length", CUT),
    # anything else is none
    ("cut inside", '{"a": 1, "b": "x', "length", CUT),
    ("cut inside, no finish reason", '{"a": 1', None, CUT),
    ("cut inside, though the service says tool_calls", '{"a": 1', "tool_calls", "not JSON"),
    ("cut after a comma: no prefix is repaired", '{"a": 1,', "tool_calls", "not JSON"),
    ("one brace too many", '{"a": 1}}', "tool_calls", "not JSON"),
    ("two objects", '{"a": 1}{"a": 1}', "tool_calls", "not JSON"),
    ("a raw line end in a string", '{"a": "x\ny"}', "tool_calls", "not JSON"),
    ("single quotes", "{'a': 1}", "tool_calls", "not JSON"),
    ("a trailing comma", '{"a": 1,}', "tool_calls", "not JSON"),
    ("a comment", '{"a": 1} // one', "tool_calls", "not JSON"),
    ("NaN", '{"a": NaN}', "tool_calls", "not JSON"),
    ("infinity", '{"a": -Infinity}', "tool_calls", "not JSON"),
    ("plain words", "Hangzhou", "tool_calls", "not JSON"),
    ("a fence around it", '```json\n{"a": 1}\n```', "tool_calls", "not JSON"),
    ("nested 200,000 deep", '{"a": ' + "[" * 200_000, "tool_calls", "not JSON"),
    ("a list", "[1]", "tool_calls", "not a JSON object"),
    ("a string", '"{}"', "tool_calls", "not a JSON object"),
    ("a number", "7", "tool_calls", "not a JSON object"),
    ("null", "null", "tool_calls", "not a JSON object"),
]


@pytest.mark.parametrize(("arguments", "finish", "expected"), [c[1:] for c in ARGUMENTS], ids=[c[0] for c in ARGUMENTS])
def test_arguments_must_be_a_json_object(arguments: str, finish: str | None, expected: dict[str, Any] | str) -> None:
    """Otherwise the reason is returned, and the raw text is kept."""
    deltas: list[Delta] = [ToolCallDelta(0, "call_1", "f", arguments)]
    (choice,) = fold([*deltas, FinishDelta(finish)] if finish else deltas).choices
    parsed = parse_arguments(arguments, finish)
    if isinstance(expected, dict):
        assert parsed == expected
        assert choice.tool_calls == (ToolCall("call_1", "f", arguments, expected),)
        assert choice.invalid_tool_calls == ()
    else:
        assert isinstance(parsed, str)
        assert expected in parsed
        assert choice.tool_calls == ()
        assert choice.invalid_tool_calls == (InvalidToolCall("call_1", "f", arguments, parsed),)


@given(st.text(max_size=30), st.sampled_from(["stop", "length", "tool_calls", None]))
def test_any_text_as_arguments(arguments: str, finish: str | None) -> None:
    """Parsing returns an object or a reason, and never raises."""
    parsed = parse_arguments(arguments, finish)
    assert isinstance(parsed, dict) or parsed


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), min_size=1))
def test_truncated_arguments_are_no_call(arguments: dict[str, Any]) -> None:
    """Even if the prefix looks complete."""
    text = json.dumps(arguments, ensure_ascii=False)
    assert parse_arguments(text, "tool_calls") == arguments
    assert all(isinstance(parse_arguments(text[:end], "tool_calls"), str) for end in range(1, len(text)))


WHO = ResponseDelta("chatcmpl-7", "req-1", "qwen-plus", 7)
LOGPROBS = ({"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -0.2})
RESULTS: list[tuple[str, list[Delta], ChatResult]] = [
    ("nothing", [], ChatResult()),
    ("only who answers", [WHO], ChatResult((), None, WHO)),
    (
        "thought, text, finish, usage",
        [
            WHO,
            ReasoningDelta("h"),
            ReasoningDelta("m"),
            TextDelta("A"),
            TextDelta("B"),
            FinishDelta("stop"),
            UsageDelta(Usage(1, 2, 3)),
        ],
        ChatResult((Choice(0, "hm", "AB", finish_reason="stop"),), Usage(1, 2, 3), WHO),
    ),
    ("no finish: a partial result", [TextDelta("A")], ChatResult((Choice(text="A"),))),
    (
        "the last finish counts",
        [FinishDelta("stop"), FinishDelta("length")],
        ChatResult((Choice(finish_reason="length"),)),
    ),
    ("the last usage counts", [UsageDelta(Usage(1, 2, 3)), UsageDelta(Usage(4, 5, 9))], ChatResult((), Usage(4, 5, 9))),
    (
        "choices in the order of their indices",
        [TextDelta("B", 1), TextDelta("A", 0), FinishDelta("stop", 1), TextDelta("a", 0), FinishDelta("length", 0)],
        ChatResult((Choice(0, text="Aa", finish_reason="length"), Choice(1, text="B", finish_reason="stop"))),
    ),
    (
        "calls in the order of their indices, fragments apart",
        [
            ToolCallDelta(1, "call_2", "g", "{"),
            ToolCallDelta(0, "call_1", "f"),
            ToolCallDelta(1, arguments="}"),
            ToolCallDelta(0, arguments='{"a": '),
            ToolCallDelta(0, None, None, "1}"),
            FinishDelta("tool_calls"),
        ],
        ChatResult(
            (
                Choice(
                    tool_calls=(ToolCall("call_1", "f", '{"a": 1}', {"a": 1}), ToolCall("call_2", "g", "{}", {}, 1)),
                    finish_reason="tool_calls",
                ),
            )
        ),
    ),
    (
        "valid and invalid calls apart",
        [
            ToolCallDelta(0, "call_1", "f", "[]"),
            ToolCallDelta(1, "call_2", "g", "{}"),
            FinishDelta("tool_calls"),
        ],
        ChatResult(
            (
                Choice(
                    tool_calls=(ToolCall("call_2", "g", "{}", {}, 1),),
                    invalid_tool_calls=(InvalidToolCall("call_1", "f", "[]", "not a JSON object but list"),),
                    finish_reason="tool_calls",
                ),
            )
        ),
    ),
    (
        "a call without a name",
        [ToolCallDelta(0, "call_1", None, '{"a": 1}'), FinishDelta("tool_calls")],
        ChatResult(
            (
                Choice(
                    invalid_tool_calls=(InvalidToolCall("call_1", None, '{"a": 1}', "the call has no name"),),
                    finish_reason="tool_calls",
                ),
            )
        ),
    ),
    (
        "a call without an id is a call",
        [ToolCallDelta(0, None, "f", "{}"), FinishDelta("stop")],
        ChatResult((Choice(tool_calls=(ToolCall(None, "f", "{}", {}),), finish_reason="stop"),)),
    ),
    (
        "empty strings are no ids and no names",
        [ToolCallDelta(0, "call_1", "f", "{"), ToolCallDelta(0, "", "", "}"), FinishDelta("stop")],
        ChatResult((Choice(tool_calls=(ToolCall("call_1", "f", "{}", {}),), finish_reason="stop"),)),
    ),
    (
        "audio in pieces",
        [AudioDelta(transcript="Hel"), AudioDelta("AAAA", "", "audio_1", 7), AudioDelta("BB==", "lo")],
        ChatResult((Choice(audio=Audio("AAAABB==", "Hello", "audio_1", 7)),)),
    ),
    (
        "logprobs in pieces",
        [LogprobsDelta(LOGPROBS[:1]), LogprobsDelta(LOGPROBS[1:])],
        ChatResult((Choice(logprobs=LOGPROBS),)),
    ),
    (
        "what only the service has: the last of each name",
        [ExtraDelta("tool_info", [1]), ExtraDelta("search_info", {"a": 1}), ExtraDelta("search_info", {"a": 2})],
        ChatResult(extras={"tool_info": [1], "search_info": {"a": 2}}),
    ),
]


@pytest.mark.parametrize(("deltas", "expected"), [c[1:] for c in RESULTS], ids=[c[0] for c in RESULTS])
def test_deltas_fold_into_a_result(deltas: list[Delta], expected: ChatResult) -> None:
    """Each kind of delta has its field in the result."""
    assert fold(deltas) == expected


def test_intermediate_results() -> None:
    """Requesting one does not affect later deltas, and later deltas do not change it."""
    accumulator = Accumulator()
    accumulator.add(TextDelta("A"))
    accumulator.add(ToolCallDelta(0, "call_1", "f", "{"))
    first = accumulator.result()
    assert first == accumulator.result()
    accumulator.add(ToolCallDelta(0, arguments="}"))
    accumulator.add(TextDelta("B"))
    accumulator.add(FinishDelta("stop"))
    assert first.choices[0].text == "A"
    assert accumulator.result() == fold([TextDelta("AB"), ToolCallDelta(0, "call_1", "f", "{}"), FinishDelta("stop")])


def test_a_name_in_fragments() -> None:
    """Fragments of a call's name are joined. A fragment without a name is ignored."""
    pieces = (ToolCallDelta(0, "call_1", "get_"), ToolCallDelta(0), ToolCallDelta(0, None, "weather", "{}"))
    call = fold([*pieces, FinishDelta("tool_calls")]).choices[0].tool_calls[0]
    assert (call.id, call.name, call.arguments) == ("call_1", "get_weather", "{}")
