"""Answers of the native protocol with tool calls, as rows."""

from __future__ import annotations

from modelstudio_core.types import (
    ReasoningDelta,
)
from tests.core.dashscope_codec.wire import (
    END,
    FIRST,
    MORE,
    OMITTED,
    ONE_CALL,
    ONE_WHOLE,
    PAIR,
    WHOLE_CALL,
    A,
    Answer,
    F,
    G,
    calls,
    chunk,
)

TOOLS = [
    Answer(
        "the finish event carries a fragment",
        [FIRST, MORE, chunk("", "tool_calls", **calls((0, "", {"arguments": "}"})))],
        ONE_CALL,
        ONE_WHOLE,
    ),
    Answer(
        "function {} on the finish event",
        [FIRST, MORE, chunk("", **calls((0, "", {"arguments": "}"}))), chunk("", "tool_calls", **calls((0, "", {})))],
        ONE_CALL,
        ONE_WHOLE,
    ),
    Answer(
        "one event closes call 0 and opens call 1",
        [
            chunk([], reasoning_content="hm"),
            chunk([], **calls((0, "call_1", {"name": F, "arguments": '{"q": '}))),
            chunk([], **calls((0, "", {"arguments": '"x"}'}))),
            chunk([], **calls((0, "", {"arguments": ""}), (1, "call_2", {"name": G, "arguments": ""}))),
            chunk([], "tool_calls", **calls((1, "", {"arguments": "{}"}))),
        ],
        [ReasoningDelta("hm"), *PAIR],
        chunk(
            [],
            "tool_calls",
            reasoning_content="hm",
            **calls((0, "call_1", WHOLE_CALL), (1, "call_2", {"name": G, "arguments": "{}"})),
        ),
    ),
    Answer(
        "no indices: a fragment without an id goes on with the last call",
        [
            chunk("", **calls((OMITTED, "call_1", {"name": F, "arguments": '{"q": '}))),
            chunk("", **calls((OMITTED, "", {"arguments": '"x"}'}))),
            chunk("", **calls((OMITTED, "call_2", {"name": G}))),
            chunk("", "tool_calls", **calls((OMITTED, "", {"arguments": "{}"}))),
        ],
        PAIR,
        chunk(
            "",
            "tool_calls",
            **calls((OMITTED, "call_1", WHOLE_CALL), (OMITTED, "call_2", {"name": G, "arguments": "{}"})),
        ),
    ),
    Answer(
        "a forced call ends with `stop`",
        [FIRST, MORE, chunk("", "stop", **calls((0, "", {"arguments": "}"})))],
        [*ONE_CALL[:-1], END],
        chunk(OMITTED, "stop", **calls((0, "call_1", WHOLE_CALL))),
    ),
    Answer(
        "text, then a call",
        [chunk("A"), FIRST, MORE, chunk("", "tool_calls", **calls((0, "", {"arguments": "}"})))],
        [A, *ONE_CALL],
        chunk("A", "tool_calls", **calls((0, "call_1", WHOLE_CALL))),
    ),
]
