"""Answers of the compatible protocol with tool calls, as rows."""

from __future__ import annotations

from modelstudio_core.types import (
    TextDelta,
    ToolCallDelta,
)
from tests.core.openai_codec.wire import (
    ARGUMENTS,
    AT_ONCE,
    CALL,
    CALL_END,
    CALLED,
    END,
    FILLED,
    FIRST,
    IDENTIFIED,
    ONE_CALL,
    ONE_WHOLE,
    PAIR,
    PAIR_WHOLE,
    ROLE,
    SECOND,
    STOP,
    TAIL,
    USAGE,
    USED,
    Answer,
    chunk,
    text,
    tool,
    two_calls,
    whole,
)

TOOLS = [
    Answer(
        "dialect 1: empty ids, arguments '' at the end",
        [ROLE, FIRST, *TAIL, tool("", index=0, id=""), CALLED],
        ONE_CALL,
        ONE_WHOLE,
    ),
    Answer(
        "dialect 2: the id again with an empty name",
        [ROLE, FIRST, tool('{"q": ', index=0, id="call_1", name=""), tool('"x"}', index=0, id=""), CALLED],
        ONE_CALL,
        ONE_WHOLE,
    ),
    Answer("arguments null at the end", [ROLE, FIRST, *TAIL, tool(None, index=0, id=""), CALLED], ONE_CALL, ONE_WHOLE),
    Answer(
        "function {} on the finish chunk", [ROLE, FIRST, *TAIL, tool(index=0, id="", finish="tool_calls")], ONE_CALL
    ),
    Answer(
        "function null, tool_calls null and []",
        [
            FIRST,
            *TAIL,
            chunk({"tool_calls": [{"index": 0, "function": None}]}),
            chunk({"tool_calls": None}),
            chunk({"tool_calls": []}, "tool_calls"),
        ],
        ONE_CALL,
    ),
    Answer(
        "later fragments without id, type, name (DeepSeek)",
        [
            FIRST,
            *(chunk({"tool_calls": [{"index": 0, "function": {"arguments": a}}]}) for a in ('{"q": ', '"x"}')),
            CALLED,
        ],
        ONE_CALL,
    ),
    Answer(
        "id and name null (Venice)",
        [FIRST, *(tool(a, index=0, id=None, name=None) for a in ('{"q": ', '"x"}')), CALLED],
        ONE_CALL,
    ),
    Answer(
        "the name on every fragment",
        [FIRST, *(tool(a, index=0, id="call_1", name="f") for a in ('{"q": ', '"x"}')), CALLED],
        ONE_CALL,
    ),
    Answer(
        "id, name and arguments one by one",
        [tool(index=0, id="call_1"), tool(index=0, name="f"), *TAIL, CALLED],
        [ToolCallDelta(0, "call_1"), ToolCallDelta(0, None, "f"), *ARGUMENTS, CALL_END],
        ONE_WHOLE,
    ),
    Answer(
        "the id after the name",
        [tool("", index=0, id="", name="f"), tool('{"q": ', index=0, id="call_1"), *TAIL[1:], CALLED],
        [ToolCallDelta(0, None, "f"), ToolCallDelta(0, "call_1", None, '{"q": '), ARGUMENTS[1], CALL_END],
    ),
    Answer(
        "index -1, the call in one piece, finish twice (Z.ai)",
        [
            ROLE,
            tool('{"q": "x"}', index=-1, id="call_1", name="f", finish="tool_calls"),
            chunk({"role": "assistant", "content": ""}, "tool_calls", usage=USAGE),
        ],
        [ToolCallDelta(0, "call_1", "f", '{"q": "x"}'), CALL_END, USED],
    ),
    Answer(
        "no index: fragments go on with the last call",
        [
            tool("", id="call_1", name="f"),
            *(tool(a, id="") for a in ('{"q": ', '"x"}')),
            tool("", id="call_2", name="g"),
            tool("{}"),
            CALLED,
        ],
        PAIR,
        PAIR_WHOLE,
    ),
    Answer(
        "index null, an id goes on with its call",
        [
            tool("", index=None, id="call_1", name="f"),
            tool("", index=None, id="call_2", name="g"),
            *(tool(a, index=None, id="call_1") for a in ('{"q": ', '"x"}')),
            tool("{}", index=None, id="call_2", name=""),
            CALLED,
        ],
        [CALL, SECOND, *ARGUMENTS, ToolCallDelta(1, arguments="{}"), CALL_END],
        PAIR_WHOLE,
    ),
    Answer(
        "two calls of one id, each with its index and its name",
        [tool("{}", index=0, id="call_1", name="f"), tool("{}", index=1, id="call_1", name="g"), CALLED],
        [ToolCallDelta(0, "call_1", "f", "{}"), ToolCallDelta(1, "call_1", "g", "{}"), CALL_END],
    ),
    Answer(
        "no index and no id: a name begins a call",
        [tool("{}", name="f"), tool("{}", name="g"), CALLED],
        [ToolCallDelta(0, None, "f", "{}"), ToolCallDelta(1, None, "g", "{}"), CALL_END, *IDENTIFIED],
    ),
    Answer(
        "parallel calls, one after the other",
        two_calls(FIRST, *TAIL, tool("", index=1, id="call_2", name="g"), tool("{}", index=1, id="")),
        PAIR,
        PAIR_WHOLE,
    ),
    Answer(
        "parallel calls, interleaved",
        two_calls(FIRST, tool("", index=1, id="call_2", name="g"), TAIL[0], tool("{}", index=1, id=""), TAIL[1]),
        [CALL, SECOND, ARGUMENTS[0], ToolCallDelta(1, arguments="{}"), ARGUMENTS[1], CALL_END],
        PAIR_WHOLE,
    ),
    Answer(
        "one chunk closes call 0 and opens call 1",
        two_calls(
            FIRST,
            *TAIL,
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "", "function": {"arguments": ""}},
                        {"index": 1, "id": "call_2", "function": {"name": "g", "arguments": "{}"}},
                    ]
                }
            ),
        ),
        [*PAIR[:3], ToolCallDelta(1, "call_2", "g", "{}"), CALL_END],
    ),
    Answer(
        "index 0 for every call, ids differ",
        two_calls(FIRST, *TAIL, tool("", index=0, id="call_2", name="g"), tool("{}", index=0, id="")),
        PAIR,
        PAIR_WHOLE,
    ),
    Answer(
        "index 0 for every call, whole calls",
        two_calls(tool('{"q": "x"}', index=0, id="call_1", name="f"), tool("{}", index=0, id="call_2", name="g")),
        AT_ONCE,
        PAIR_WHOLE,
    ),
    *(
        Answer(
            f"index 0 for every call, names differ, ids {ids!r}",
            two_calls(
                tool("", index=0, id=ids, name="f"),
                *(tool(a, index=0) for a in ('{"q": ', '"x"}')),
                tool("", index=0, id=ids, name="g"),
                tool("{}", index=0),
            ),
            [
                ToolCallDelta(0, None, "f"),
                *ARGUMENTS,
                ToolCallDelta(1, None, "g"),
                ToolCallDelta(1, arguments="{}"),
                CALL_END,
                *IDENTIFIED,
            ],
        )
        for ids in (None, "")
    ),
    Answer(
        "index 0 for two calls of one event, names differ, no ids",
        two_calls(
            chunk({"tool_calls": [{"index": 0, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]})
        ),
        [ToolCallDelta(0, None, "f", "{}"), ToolCallDelta(1, None, "g", "{}"), CALL_END, *IDENTIFIED],
    ),
    Answer(
        "index 0 for a name, then for another with an id",
        two_calls(tool("{}", index=0, name="f"), tool("{}", index=0, id="call_2", name="g"), tool("", index=0)),
        [ToolCallDelta(0, None, "f", "{}"), ToolCallDelta(1, "call_2", "g", "{}"), CALL_END, IDENTIFIED[0]],
    ),
    Answer(
        "one id, another name after the arguments began: the same call",
        [FIRST, TAIL[0], tool('"x"}', index=0, id="call_1", name="g"), CALLED],
        ONE_CALL,
    ),
    Answer(
        "index 0 for every call, then back by the id",
        two_calls(
            FIRST,
            tool("{}", index=0, id="call_2", name="g"),
            tool('{"q": ', index=0, id="call_1"),
            tool('"x"}', index=0, id="call_1", name=""),
        ),
        [CALL, ToolCallDelta(1, "call_2", "g", "{}"), *ARGUMENTS, CALL_END],
        PAIR_WHOLE,
    ),
    Answer(
        "index 0 twice, then a real 1: three calls",
        two_calls(FIRST, tool("{}", index=0, id="call_2", name="g"), tool("{}", index=1, id="call_3", name="h")),
        [CALL, ToolCallDelta(1, "call_2", "g", "{}"), ToolCallDelta(2, "call_3", "h", "{}"), CALL_END],
    ),
    Answer(
        "a known id with another index and no name",
        [FIRST, tool('{"q": ', index=1, id="call_1", name=""), tool('"x"}', index=1, id="call_1"), CALLED],
        ONE_CALL,
        ONE_WHOLE,
    ),
    Answer(
        "index begins at 1",
        [tool("", index=1, id="call_1", name="f"), tool("{}", index=1, id=""), CALLED],
        [ToolCallDelta(1, "call_1", "f"), ToolCallDelta(1, arguments="{}"), CALL_END],
    ),
    Answer(
        "arguments as an object",
        [tool({"城": 1}, index=0, id="call_1", name="f"), CALLED],
        [ToolCallDelta(0, "call_1", "f", '{"城": 1}'), CALL_END],
        whole({"tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": {"城": 1}}}]}, "tool_calls"),
    ),
    Answer(
        "text, then a call",
        [*text("A"), FIRST, *TAIL, CALLED],
        [TextDelta("A"), *ONE_CALL],
        whole({"content": "A", "tool_calls": [FILLED]}, "tool_calls"),
    ),
    Answer(
        "a call that ends with `stop` (a forced choice)",
        [FIRST, *TAIL, STOP],
        [*ONE_CALL[:-1], END],
        whole({"content": "", "tool_calls": [FILLED]}, "stop"),
    ),
]
