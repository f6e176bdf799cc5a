"""The compatible protocol, read: what comes out is what the service said, however it said it.

Answers are one table: each is read as a stream (whole, and torn into bytes and into sevens) and, where the service can
say it whole too, as one body; all must tell the same. The bytes are composed here; what they show was seen in traffic
of Model Studio (two dialects) or of the server named in the row.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from modelstudio_core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ModelStudioError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import read_json
from modelstudio_core.protocols.decoding import EventStreamDecoder
from modelstudio_core.protocols.openai import OpenAICodec, read_usage
from modelstudio_core.types import (
    AudioDelta,
    ChatRequest,
    Delta,
    FinishDelta,
    LogprobsDelta,
    Message,
    ReasoningDelta,
    ResponseDelta,
    ResponseHead,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from tests.core.decoding import GENERATED, check_form, read
from tests.ids import short

CODEC = OpenAICodec()
HEAD = ResponseHead(200, {"content-type": "text/event-stream;charset=UTF-8", "x-request-id": "req-1"})
USER = Message("user", "hello")
REQUEST = ChatRequest("qwen-plus", (USER,))
LIMIT = 64 * 1024


ID = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1_770_000_000, "model": "qwen-plus"}
ANSWERED = ResponseDelta("chatcmpl-7", "req-1", "qwen-plus", 1_770_000_000)
OMITTED = object()


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


DONE = event(b"[DONE]")


def chunk(delta: Any = OMITTED, finish: Any = OMITTED, *, index: Any = 0, usage: Any = None, **choice: Any) -> Any:
    """One event of a stream: with one choice, or without `delta` with none."""
    choice = {"delta": delta, "index": index, "finish_reason": finish, **choice}
    choices = [] if delta is OMITTED else [{name: value for name, value in choice.items() if value is not OMITTED}]
    return ID | {"choices": choices, "usage": usage}


def tool(arguments: Any = OMITTED, *, name: Any = OMITTED, finish: Any = OMITTED, **fragment: Any) -> Any:
    """One event with one tool fragment."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not OMITTED}
    return chunk({"content": None, "tool_calls": [fragment | {"type": "function", "function": function}]}, finish)


def body_of(chunks: Sequence[Any]) -> bytes:
    return b"".join(map(event, chunks)) + DONE


def whole(message: Any, finish: Any = "stop", usage: Any = None, **choice: Any) -> dict[str, Any]:
    """A whole answer of one choice."""
    return ID | {"choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}], "usage": usage}


def decoder(n: int | None = None, *, cumulative: bool = False) -> EventStreamDecoder:
    request = ChatRequest("qwen-plus", (USER,), n=n, cumulative_stream=cumulative)
    return CODEC.stream(request, HEAD, max_event_bytes=LIMIT)


@dataclass(frozen=True)
class Answer:
    """An answer as a stream, as the deltas it must give (after `ANSWERED`), and whole where it can be said whole."""

    name: str
    events: list[Any] | bytes
    deltas: list[Delta]
    whole: Any = None
    n: int | None = None
    cumulative: bool = False

    @property
    def stream(self) -> bytes:
        return self.events if isinstance(self.events, bytes) else body_of(self.events)


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({"content": "", "role": None}, "stop")
CALLED = chunk({}, "tool_calls")
USAGE = {"prompt_tokens": 13, "completion_tokens": 20, "total_tokens": 33}
USED = UsageDelta(Usage(13, 20, 33))
FIRST = tool("", index=0, id="call_1", name="f")
CALL = ToolCallDelta(0, "call_1", "f")
END = FinishDelta("stop")
CALL_END = FinishDelta("tool_calls")
IDENTIFIED = [ToolCallDelta(index, GENERATED) for index in (0, 1)]
LETTERS = [TextDelta("A"), TextDelta("B"), END]


def text(*pieces: str) -> list[Any]:
    return [chunk({"content": piece}) for piece in pieces]


DIALECT_1 = b"""\
data: {"choices":[{"delta":{"content":null,"role":"assistant","reasoning_content":""},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":null,"reasoning_content":"Seven"},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":null,"reasoning_content":" of nine"},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":"It is 7","reasoning_content":null},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"finish_reason":"stop","delta":{"content":"","reasoning_content":null},"index":0,"logprobs":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[],"object":"chat.completion.chunk","usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":0}},"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: [DONE]

"""  # noqa: E501 - as the service writes it, an event a line

DIALECT_2 = b"""\
data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"reasoning_content":"Seven","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"reasoning_content":" of nine","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"content":"It is 7","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"finish_reason":"stop","delta":{"content":"","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[],"created":1770000000,"object":"chat.completion.chunk","usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":0}}}

data: [DONE]

"""  # noqa: E501

SEVEN: list[Delta] = [
    ReasoningDelta("Seven"),
    ReasoningDelta(" of nine"),
    TextDelta("It is 7"),
    END,
    UsageDelta(Usage(9, 6, 15, reasoning_tokens=3, cached_tokens=0)),
]
SEVEN_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 6,
    "total_tokens": 15,
    "completion_tokens_details": {"reasoning_tokens": 3},
    "prompt_tokens_details": {"cached_tokens": 0},
}
SEVEN_WHOLE = {"role": "assistant", "content": "It is 7", "reasoning_content": "Seven of nine"}


def choices(*pieces: tuple[int, str]) -> list[Any]:
    """Two choices, chunk by chunk in turn, as n=2 arrives."""
    roles = [chunk({"role": "assistant", "content": ""}, index=index) for index in (0, 1)]
    ends = [chunk({"content": ""}, "stop", index=index) for index in (1, 0)]
    return [*roles, *(chunk({"content": piece}, index=index) for index, piece in pieces), *ends]


def two_calls(*fragments: Any) -> list[Any]:
    return [ROLE, *fragments, CALLED]


EVERY_DETAIL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "completion_tokens_details": {"reasoning_tokens": 30, "text_tokens": 15, "audio_tokens": 5},
    "prompt_tokens_details": {
        "cached_tokens": 64,
        "cache_creation_input_tokens": 8,
        "cache_type": "ephemeral",
        "text_tokens": 70,
        "image_tokens": 10,
        "video_tokens": 12,
        "audio_tokens": 8,
    },
}
EVERY_COUNT = Usage(100, 50, 150, 30, 64, 8, 70, 10, 12, 8, 15, 5)
LOGPROB = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}

TEXTS = [
    Answer("dialect 1: nulls on every chunk", DIALECT_1, SEVEN, whole(SEVEN_WHOLE, usage=SEVEN_USAGE)),
    Answer("dialect 2: keys absent, role null", DIALECT_2, SEVEN, whole(SEVEN_WHOLE, usage=SEVEN_USAGE)),
    Answer("DeepSeek gateway: `data:` without the space", DIALECT_2.replace(b"data: ", b"data:"), SEVEN),
    Answer("CRLF", DIALECT_2.replace(b"\n", b"\r\n"), SEVEN),
    Answer("escaped as \\u, paired", [*text("好🚀"), STOP], [TextDelta("好🚀"), END], whole({"content": "好🚀"})),
    Answer(
        "UTF-8 as it is",
        event(json.dumps(chunk({"content": "好🚀\u2028"}, "stop"), ensure_ascii=False).encode()) + DONE,
        [TextDelta("好🚀\u2028"), END],
    ),
    Answer(
        "a comment between the events (OpenRouter)",
        event(ROLE) + b": PROCESSING\n\n" + body_of([*text("A", "B"), STOP]),
        LETTERS,
    ),
    Answer(
        "an empty delta beside the whole message: the delta counts",
        [
            *text("A", "B"),
            {"choices": [{"index": 0, "delta": {}, "message": {"content": "AB"}, "finish_reason": "stop"}]},
        ],
        LETTERS,
    ),
    Answer("the finish chunk carries text", [*text("A"), chunk({"content": "B"}, "stop")], LETTERS),
    Answer(
        "finish sent twice, the second with usage (OpenRouter)",
        [*text("A", "B"), STOP, chunk({"content": ""}, "stop", usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer(
        "a finish that is corrected",
        [*text("A"), STOP, chunk({}, "length")],
        [TextDelta("A"), END, FinishDelta("length")],
    ),
    Answer(
        'finish_reason "" and "null" go on',
        [chunk({"content": "A"}, ""), chunk({"content": "B"}, "null"), STOP],
        LETTERS,
    ),
    Answer(
        "length",
        [*text("A"), chunk({"content": ""}, "length")],
        [TextDelta("A"), FinishDelta("length")],
        whole({"content": "A"}, "length"),
    ),
    Answer(
        "`reasoning` for reasoning_content (vLLM)",
        [chunk({"reasoning": "hm"}), *text("A", "B"), STOP],
        [ReasoningDelta("hm"), *LETTERS],
        whole({"reasoning": "hm", "content": "AB"}),
    ),
    Answer(
        "both names: said once",
        [chunk({"reasoning": "hm", "reasoning_content": "hm"}), STOP],
        [ReasoningDelta("hm"), END],
        whole({"reasoning": "hm", "reasoning_content": "hm"}),
    ),
    Answer(
        "an empty reasoning_content beside `reasoning`",
        [chunk({"reasoning": "hm", "reasoning_content": ""}), STOP],
        [ReasoningDelta("hm"), END],
    ),
    Answer(
        "thought and text in one chunk",
        [chunk({"content": "A", "reasoning_content": "hm"}), chunk({"content": "B"}, "stop")],
        [ReasoningDelta("hm"), *LETTERS],
    ),
    Answer(
        "text, then thought (vLLM)",
        [*text("A"), chunk({"reasoning_content": "hm"}), *text("B"), STOP],
        [TextDelta("A"), ReasoningDelta("hm"), TextDelta("B"), END],
    ),
    Answer(
        "thought and no text",
        [chunk({"reasoning_content": "hm"}), chunk({}, "length")],
        [ReasoningDelta("hm"), FinishDelta("length")],
        whole({"content": "", "reasoning_content": "hm"}, "length"),
    ),
    Answer(
        "content as a list of parts",
        [
            chunk({"content": [{"text": "A"}]}),
            chunk({"content": []}),
            chunk({"content": [{"type": "text", "text": "B"}, {"image": "x"}]}),
            STOP,
        ],
        LETTERS,
        whole({"content": [{"text": "A"}, {"text": "B"}]}),
    ),
    Answer("no text at all", [ROLE, STOP], [END], whole({"role": "assistant", "content": None})),
    Answer("delta null, then absent", [chunk(None), chunk({"content": "A"}), chunk({"content": "B"}, "stop")], LETTERS),
    Answer(
        "no index on the choice",
        [chunk({"content": "A"}, index=OMITTED), chunk({"content": "B"}, "stop", index=None)],
        LETTERS,
    ),
    Answer(
        "role on every chunk (Z.ai)",
        [chunk({"role": "assistant", "content": "A"}), chunk({"role": "assistant", "content": "B"}, "stop")],
        LETTERS,
    ),
    Answer(
        "logprobs",
        [
            chunk({"content": "A"}, logprobs={"content": [LOGPROB]}),
            chunk({"content": ""}, logprobs={"content": []}),
            chunk({"content": "B"}, "stop", logprobs={"content": None}),
        ],
        [TextDelta("A"), LogprobsDelta((LOGPROB,)), TextDelta("B"), END],
        whole({"content": "AB"}, logprobs={"content": [LOGPROB]}),
    ),
    Answer(
        "audio (Omni)",
        [
            chunk({"audio": {"transcript": "Hel"}}),
            chunk({"audio": {"data": "AAAA", "id": "audio_1", "expires_at": 7}}),
            chunk({"audio": {"data": "", "transcript": None, "expires_at": "soon"}}),
            chunk({"audio": {"transcript": "lo", "data": "BB=="}}),
            STOP,
        ],
        [AudioDelta(transcript="Hel"), AudioDelta("AAAA", "", "audio_1", 7), AudioDelta("BB==", "lo"), END],
        whole({"content": "", "audio": {"data": "AAAABB==", "transcript": "Hello", "id": "audio_1", "expires_at": 7}}),
    ),
]

ARGUMENTS = [ToolCallDelta(0, arguments='{"q": '), ToolCallDelta(0, arguments='"x"}')]
ONE_CALL: list[Delta] = [CALL, *ARGUMENTS, CALL_END]
TAIL = [tool('{"q": ', index=0, id=""), tool('"x"}', index=0, id="")]
FILLED = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"q": "x"}'}}
ONE_WHOLE = whole({"content": "", "tool_calls": [FILLED | {"index": 0}]}, "tool_calls")
SECOND = ToolCallDelta(1, "call_2", "g")
OTHER = {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
PAIR_WHOLE = whole({"content": None, "tool_calls": [FILLED, OTHER]}, "tool_calls")
PAIR: list[Delta] = [CALL, *ARGUMENTS, SECOND, ToolCallDelta(1, arguments="{}"), CALL_END]
AT_ONCE: list[Delta] = [
    ToolCallDelta(0, "call_1", "f", '{"q": "x"}'),
    ToolCallDelta(1, "call_2", "g", "{}"),
    CALL_END,
]

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

TWO = [(0, "A"), (1, "C"), (0, "B"), (1, "D")]
USAGES = [
    Answer(
        "usage after the finish, choices []",
        [*text("A", "B"), STOP, chunk(usage=USAGE)],
        [*LETTERS, USED],
        whole({"content": "AB"}, usage=USAGE),
    ),
    Answer(
        "usage on the finish chunk (DeepSeek)",
        [*text("A"), chunk({"content": "B"}, "stop", usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer("usage before the text", [chunk(usage=USAGE), *text("A", "B"), STOP], [*LETTERS, USED]),
    Answer(
        "usage twice is not summed (Groq)",
        [*text("A"), chunk({"content": "B"}, "stop", usage=USAGE), chunk(usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer(
        "growing usage on every chunk: the last one (Novita)",
        [
            chunk({"content": "A"}, usage={"prompt_tokens": 13, "completion_tokens": 1}),
            chunk({"content": "B"}, "stop", usage=USAGE),
        ],
        [*LETTERS, USED],
    ),
    Answer(
        "null and {} do not take usage back",
        [chunk(usage=USAGE), *text("A"), chunk({"content": "B"}, "stop", usage={})],
        [*LETTERS, USED],
    ),
    Answer(
        "no total: the sum",
        [*text("A", "B"), STOP, chunk(usage={"prompt_tokens": 13, "completion_tokens": 20})],
        [*LETTERS, USED],
        whole({"content": "AB"}, usage={"prompt_tokens": 13, "completion_tokens": 20, "total_tokens": None}),
    ),
    Answer(
        "a count that is null",
        [*text("A", "B"), STOP, chunk(usage={"prompt_tokens": None, "completion_tokens": 20})],
        [*LETTERS, UsageDelta(Usage(None, 20, 20))],
        whole({"content": "AB"}, usage={"prompt_tokens": None, "completion_tokens": 20}),
    ),
    Answer(
        "details null or {}",
        [*text("A", "B"), STOP, chunk(usage=USAGE | {"prompt_tokens_details": None, "completion_tokens_details": {}})],
        [*LETTERS, USED],
    ),
    Answer(
        "every detail",
        [*text("A", "B"), STOP, chunk(usage=EVERY_DETAIL)],
        [*LETTERS, UsageDelta(EVERY_COUNT)],
        whole({"content": "AB"}, usage=EVERY_DETAIL),
    ),
    Answer("only usage, no choices key", [*text("A", "B"), STOP, ID | {"usage": USAGE}], [*LETTERS, USED]),
    Answer("never", [*text("A", "B"), STOP], LETTERS, whole({"content": "AB"})),
    Answer(
        "n=2, interleaved",
        [*choices(*TWO), chunk(usage=USAGE)],
        [TextDelta("A"), TextDelta("C", 1), TextDelta("B"), TextDelta("D", 1), FinishDelta("stop", 1), END, USED],
        ID
        | {
            "choices": [
                {"index": i, "message": {"content": t}, "finish_reason": "stop"} for i, t in ((1, "CD"), (0, "AB"))
            ],
            "usage": USAGE,
        },
        n=2,
    ),
    Answer(
        "a second choice that was not asked for",
        choices(*TWO),
        LETTERS,
        ID
        | {
            "choices": [
                {"index": i, "message": {"content": t}, "finish_reason": "stop"} for i, t in ((0, "AB"), (1, "CD"))
            ]
        },
    ),
    Answer("it need not finish either", [*text("A", "B"), chunk({"content": "C"}, index=1), STOP], LETTERS),
    Answer(
        "n=2 with calls",
        [
            FIRST,
            chunk(
                {"tool_calls": [{"index": 0, "id": "call_2", "function": {"name": "g", "arguments": "{}"}}]},
                "tool_calls",
                index=1,
            ),
            *TAIL,
            CALLED,
        ],
        [CALL, ToolCallDelta(0, "call_2", "g", "{}", 1), FinishDelta("tool_calls", 1), *ARGUMENTS, CALL_END],
        n=2,
    ),
]


def grown(content: Any = OMITTED, finish: Any = OMITTED, **delta: Any) -> Any:
    return chunk(delta if content is OMITTED else {"content": content, **delta}, finish)


CUMULATIVE = [
    Answer(
        "qwen-mt: each event repeats the text so far",
        [grown(""), grown("A"), grown("A"), grown("AB"), grown("AB", "stop")],
        LETTERS,
        whole({"content": "AB"}),
        cumulative=True,
    ),
    Answer(
        "by position, not by search: the text repeats itself",
        [grown("ha"), grown("haha"), grown("hahaha", "stop")],
        [TextDelta("ha"), TextDelta("ha"), TextDelta("ha"), END],
        whole({"content": "hahaha"}),
        cumulative=True,
    ),
    Answer(
        "a shorter or empty last one takes nothing back",
        [grown("A"), grown("AB"), grown("A"), grown("", "stop")],
        LETTERS,
        cumulative=True,
    ),
    Answer(
        "thought too, on its own",
        [
            grown(reasoning_content="h"),
            grown(reasoning_content="hm"),
            grown("A", reasoning_content="hm"),
            grown("AB", "stop"),
        ],
        [ReasoningDelta("h"), ReasoningDelta("m"), *LETTERS],
        cumulative=True,
    ),
    Answer(
        "each choice on its own",
        [
            chunk({"content": "A"}),
            chunk({"content": "A"}, index=1),
            chunk({"content": "AB"}, "stop"),
            chunk({"content": "AC"}, "stop", index=1),
        ],
        [TextDelta("A"), TextDelta("A", 1), TextDelta("B"), END, TextDelta("C", 1), FinishDelta("stop", 1)],
        n=2,
        cumulative=True,
    ),
]

ENDINGS = [
    Answer("[DONE] without the space", body_of([*text("A", "B"), STOP]).replace(DONE, b"data:[DONE]\n\n"), LETTERS),
    Answer("[DONE] that no blank line ends", body_of([*text("A", "B"), STOP]).rstrip(b"\n"), LETTERS),
    Answer(
        "no [DONE] after a finish",
        body_of([*text("A", "B"), STOP, chunk(usage=USAGE)]).replace(DONE, b""),
        [*LETTERS, USED],
    ),
    Answer(
        "no [DONE] and no blank line",
        body_of([*text("A", "B"), STOP, chunk(usage=USAGE)]).replace(DONE, b"").rstrip(b"\n"),
        [*LETTERS, USED],
    ),
    Answer(
        "cut inside the usage, after the finish: whole, but for the usage",
        body_of([*text("A", "B"), STOP]).replace(DONE, b'data: {"choices":[],"usa'),
        LETTERS,
    ),
    Answer("cut inside [DONE]", body_of([*text("A", "B"), STOP]).replace(DONE, b"data: [DO"), LETTERS),
    Answer(
        "what comes after [DONE] is not read",
        body_of([*text("A", "B"), STOP]) + event(chunk({"content": "C"})) + b"data: no JSON\n\n",
        LETTERS,
    ),
    Answer(
        "an error after [DONE] is not read, ended or not",
        body_of([*text("A", "B"), STOP]) + b'data: {"error":"late"}\n\ndata: {"error":"later"}',
        LETTERS,
    ),
]

ANSWERS = [*TEXTS, *TOOLS, *USAGES, *CUMULATIVE, *ENDINGS]
assert len({answer.name for answer in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: a.name)
def test_a_stream_is_read_however_it_is_torn(answer: Answer, size: int | None) -> None:
    """The stream gives exactly these deltas, ends well, and says nothing after its end."""
    reader = decoder(answer.n, cumulative=answer.cumulative)
    deltas = read(reader, answer.stream, size)
    check_form(deltas)
    assert deltas == [ANSWERED, *answer.deltas]
    assert reader.failure is None
    assert reader.ended
    assert reader.finish() == []
    assert reader.feed(event(chunk({"content": "more"}))) == []
    assert reader.finish() == []
    assert reader.failure is None


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a.whole], ids=lambda a: a.name)
def test_a_whole_answer_is_the_same_as_its_stream(answer: Answer) -> None:
    """The answer as one body, whether it was to be cumulative or not, folds into the result of its stream."""
    request = ChatRequest("qwen-plus", (USER,), n=answer.n, cumulative_stream=answer.cumulative)
    deltas = CODEC.decode(request, HEAD, b"\n  \n" + json.dumps(answer.whole).encode())
    check_form(deltas)
    assert fold(deltas) == fold([ANSWERED, *answer.deltas])


def test_each_call_of_a_whole_answer_is_a_call() -> None:
    """In a whole message the calls are told apart by their place, be their ids and indices the same or missing."""
    same = whole({"tool_calls": [FILLED | {"index": 0}, FILLED | {"index": 0}]}, "tool_calls")
    deltas = CODEC.decode(REQUEST, HEAD, json.dumps(same).encode())
    assert [call.arguments for call in fold(deltas).choices[0].tool_calls] == ['{"q": "x"}'] * 2


def test_usage_counts_have_no_invented_zeros() -> None:
    """A detail that the service did not give is None, one that it gave as 0 is 0."""
    usage = read_usage({"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}})
    assert usage == Usage(1, 2, 3, cached_tokens=0)
    assert usage.reasoning_tokens is None


IDENTITIES: list[tuple[str, dict[str, Any], dict[str, str], ResponseDelta]] = [
    ("the body's request id first", {"id": "c", "request_id": "r"}, {"x-request-id": "h"}, ResponseDelta("c", "r")),
    ("else the header's", {"id": "c"}, {"x-request-id": "h"}, ResponseDelta("c", "h")),
    ("none at all", {}, {}, ResponseDelta()),
    ("empty strings are absence", {"id": "", "model": "", "system_fingerprint": ""}, {}, ResponseDelta()),
    (
        "everything",
        {"id": "c", "model": "qwen-plus", "created": 7, "system_fingerprint": "fp"},
        {},
        ResponseDelta("c", None, "qwen-plus", 7, "fp"),
    ),
]


@pytest.mark.parametrize(("said", "headers", "expected"), [c[1:] for c in IDENTITIES], ids=[c[0] for c in IDENTITIES])
def test_who_answered(said: dict[str, Any], headers: dict[str, str], expected: ResponseDelta) -> None:
    """Id, request id, model, time and fingerprint are those of the first event, or of the body."""
    head = ResponseHead(200, headers)
    choice = {"index": 0, "delta": {"content": "A"}, "message": {"content": "A"}, "finish_reason": "stop"}
    value = {**said, "choices": [choice]}
    reader = CODEC.stream(REQUEST, head, max_event_bytes=LIMIT)
    assert reader.feed(event(value) + event({**value, "id": "other", "model": "other"}))[0] == expected
    assert CODEC.decode(REQUEST, head, json.dumps(value).encode())[0] == expected


# ================================================================ failures


@dataclass(frozen=True)
class Failure:
    """A stream that fails: the deltas that come out before (after `ANSWERED`, if any), then what the error shows."""

    name: str
    stream: bytes
    error: type[ModelStudioError]
    deltas: list[Delta] | None = None
    says: str = ""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retryable: bool = False


BEGUN = event(ROLE) + event(text("A")[0])
LIMITED = {"error": {"message": "Slow down.", "type": "limit_requests", "param": None, "code": "limit_requests"}}
MODERATED = {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"}
NATIVE = {"code": "Throttling.RateQuota", "message": "Too fast.", "request_id": "req-9"}
A: list[Delta] = [TextDelta("A")]

ERROR_EVENTS = [
    Failure(
        "compatible shape", event(LIMITED), RateLimitError, None, "Slow down", None, "limit_requests", "req-1", True
    ),
    Failure(
        "compatible shape, after deltas",
        BEGUN + event({"error": MODERATED, "request_id": "req-9"}),
        ContentFilterError,
        A,
        "inappropriate",
        None,
        "data_inspection_failed",
        "req-9",
    ),
    Failure(
        "request id inside the error",
        BEGUN + event({"error": MODERATED | {"request_id": "req-8"}}),
        ContentFilterError,
        A,
        "",
        None,
        "data_inspection_failed",
        "req-8",
    ),
    Failure(
        "code null",
        BEGUN + event({"error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}}),
        APIStatusError,
        A,
        "No.",
        None,
        None,
        "req-1",
    ),
    Failure(
        "code null, its type says it",
        BEGUN + event({"error": {"message": "Slow.", "type": "limit_requests", "code": None}}),
        RateLimitError,
        A,
        "Slow",
        None,
        None,
        "req-1",
        True,
    ),
    *(
        Failure(
            f"code {code} is no status",
            event({"error": {"message": "No.", "code": code}}),
            APIStatusError,
            None,
            "No",
            None,
            str(code),
            "req-1",
        )
        for code in (399, 600, 20035)
    ),
    Failure(
        "the status of its event, not its code",
        b"event:error\n:HTTP_STATUS/429\n" + event({"code": 500, "message": "Busy."}),
        RateLimitError,
        None,
        "Busy",
        429,
        "500",
        "req-1",
        True,
    ),
    Failure(
        "code 599",
        event({"error": {"message": "Busy.", "code": 599}}),
        ServerError,
        None,
        "Busy",
        599,
        "599",
        "req-1",
        True,
    ),
    Failure(
        "code 400",
        event({"error": {"message": "No.", "code": 400}}),
        BadRequestError,
        None,
        "No",
        400,
        "400",
        "req-1",
    ),
    Failure(
        "code a number is the status",
        BEGUN + event({"error": {"message": "Busy.", "code": 503}}),
        ServerError,
        A,
        "Busy",
        503,
        "503",
        "req-1",
        True,
    ),
    Failure(
        "a bare string (Venice)",
        event({"error": "Specified model not found: x"}),
        APIStatusError,
        None,
        "Specified model not found: x",
        None,
        None,
        "req-1",
    ),
    Failure(
        "bare code and message",
        BEGUN + event(NATIVE),
        RateLimitError,
        A,
        "Too fast",
        None,
        "Throttling.RateQuota",
        "req-9",
        True,
    ),
    Failure(
        "native frame with its status",
        b"id:1\nevent:error\n:HTTP_STATUS/400\n"
        + event({"code": "InvalidParameter", "message": "Role?", "request_id": "req-9"}),
        BadRequestError,
        None,
        "Role",
        400,
        "InvalidParameter",
        "req-9",
    ),
    Failure(
        "native frame in mid-stream",
        BEGUN + b"event:error\n:HTTP_STATUS/500\n" + event({"code": "InternalError", "message": "Oops"}),
        ServerError,
        A,
        "Oops",
        500,
        "InternalError",
        "req-1",
        True,
    ),
    Failure(
        "compatible shape with a status comment",
        BEGUN + b":HTTP_STATUS/401\n" + event({"error": {"message": "Key?", "code": "invalid_api_key"}}),
        AuthenticationError,
        A,
        "Key",
        401,
        "invalid_api_key",
        "req-1",
    ),
    Failure(
        "an event named error that says nothing else",
        b"event: error\n" + event({"detail": "?"}),
        APIStatusError,
        None,
        "",
        None,
        None,
        "req-1",
    ),
    Failure(
        "no blank line after the error",
        BEGUN + event(LIMITED).rstrip(b"\n"),
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "the first error counts",
        BEGUN + event(LIMITED) + event({"error": "second"}) + b'data: {"error": "third, not ended"}',
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "an error after the finish",
        BEGUN + event(STOP) + event(LIMITED),
        RateLimitError,
        [*A, END],
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
    Failure(
        "error beside empty choices",
        BEGUN + event(LIMITED | {"choices": []}),
        RateLimitError,
        A,
        "Slow",
        None,
        "limit_requests",
        "req-1",
        True,
    ),
]

BAD_CHUNKS: list[tuple[str, Any]] = [
    ("not JSON", b"Internal Server Error"),
    ("half of JSON", b'{"choices":[{"delta"'),
    ("two objects", b"{} {}"),
    ("not UTF-8", b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}'),
    ("a JSON list", []),
    ("a JSON string", "text"),
    ("choices no list", {"choices": {}}),
    ("a choice that is no object", {"choices": ["A"]}),
    ("a choice that is null", {"choices": [None]}),
    ("a delta that is no object", chunk("A")),
    ("an index that is no number", chunk({"content": "A"}, index="x")),
    ("content a number", chunk({"content": 7})),
    ("content an object", chunk({"content": {"text": "A"}})),
    ("content a list of strings", chunk({"content": ["A"]})),
    ("reasoning a number", chunk({"reasoning_content": 7})),
    ("tool_calls no list", chunk({"tool_calls": {"index": 0}})),
    ("a tool call that is no object", chunk({"tool_calls": ["f"]})),
    ("a function that is no object", chunk({"tool_calls": [{"index": 0, "function": "f"}]})),
    ("a name that is no text", tool("", index=0, id="call_1", name=7)),
    ("arguments that are a number", tool(7, index=0, id="call_1", name="f")),
    ("a finish reason that is no text", chunk({}, {"a": 1})),
    ("audio no object", chunk({"audio": "AAAA"})),
    ("nested 200,000 deep", b'{"choices":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
]


FAILURES = [
    *ERROR_EVENTS,
    *(Failure(name, BEGUN + event(bad) + event(STOP) + DONE, ProtocolError, A) for name, bad in BAD_CHUNKS),
    Failure("no event at all", b"", StreamTruncatedError, None, "finish reason"),
    Failure("only comments", b": ping\n\n: ping\n\n", StreamTruncatedError, None, "finish reason"),
    Failure("only [DONE]", DONE, StreamTruncatedError, None, "finish reason"),
    Failure("only usage", event(chunk(usage=USAGE)) + DONE, StreamTruncatedError, [USED], "finish reason"),
    Failure("no finish, then the end", BEGUN, StreamTruncatedError, A, "finish reason"),
    Failure("no finish, then [DONE]", BEGUN + DONE, StreamTruncatedError, A, "finish reason"),
    Failure(
        "no finish, but usage",
        BEGUN + event(chunk(usage=USAGE)) + DONE,
        StreamTruncatedError,
        [*A, USED],
        "finish reason",
    ),
    Failure("the end inside an event", BEGUN + event(STOP)[:-20], StreamTruncatedError, A, "finish reason"),
    Failure(
        "the end inside a character",
        BEGUN + 'data: {"choices":[{"delta":{"content":"好'.encode()[:-1],
        StreamTruncatedError,
        A,
        "finish reason",
    ),
    Failure("the end inside a field's name", BEGUN + b"dat", StreamTruncatedError, A, "finish reason"),
    Failure(
        "a call that was cut off",
        event(FIRST) + event(TAIL[0]),
        StreamTruncatedError,
        [CALL, ARGUMENTS[0]],
        "finish reason",
    ),
]


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case.name)
def test_a_failing_stream_hands_on_what_came_before(case: Failure, size: int | None) -> None:
    """Deltas first, also those of the same read; then the typed error; then nothing more."""
    if len(case.stream) > LIMIT and size == 1:
        size = 1021  # the same, in less time
    reader = CODEC.stream(REQUEST, HEAD, max_event_bytes=10_000_000)
    deltas = read(reader, case.stream, size)
    check_form(deltas)
    assert [d for d in deltas if not isinstance(d, ResponseDelta)] == (case.deltas or [])
    error = reader.failure
    assert type(error) is case.error
    assert (error.status_code, error.code, error.is_retryable and error.is_resent) == (
        case.status,
        case.code,
        case.retryable,
    )
    assert error.request_id == case.request_id
    assert case.says in error.message
    assert reader.feed(event(chunk({"content": "more"}))) == []
    assert reader.finish() == []
    assert reader.failure is error


def test_deltas_and_error_of_the_same_read() -> None:
    """One read with text and an error event gives the text, and sets `failure`; it does not raise."""
    reader = decoder()
    assert reader.feed(BEGUN + event(LIMITED)) == [ANSWERED, TextDelta("A")]
    assert isinstance(reader.failure, RateLimitError)
    assert not reader.ended


@pytest.mark.parametrize("size", [None, 7])
def test_an_event_over_the_limit_is_a_protocol_error(size: int | None) -> None:
    """What came before it is handed on; the error names the limit."""
    reader = decoder()
    deltas = read(reader, BEGUN + b"data: " + b"x" * (LIMIT + 1), size)
    assert deltas == [ANSWERED, TextDelta("A")]
    assert type(reader.failure) is ProtocolError
    assert str(LIMIT) in reader.failure.message


NO_COUNTS: list[Any] = ["", "n/a", "-5", "5.0", "\u00b2", "9" * 5000, 1.5, {"n": 1}, [3], True, float("inf"), -1, -3.0]
COUNT_NAMES = [
    ("prompt_tokens", None),
    ("completion_tokens", None),
    ("total_tokens", None),
    ("reasoning_tokens", "completion_tokens_details"),
    ("text_tokens", "completion_tokens_details"),
    ("audio_tokens", "completion_tokens_details"),
    ("cached_tokens", "prompt_tokens_details"),
    ("cache_creation_input_tokens", "prompt_tokens_details"),
    ("text_tokens", "prompt_tokens_details"),
    ("image_tokens", "prompt_tokens_details"),
    ("video_tokens", "prompt_tokens_details"),
    ("audio_tokens", "prompt_tokens_details"),
]


def counted(name: str, holder: str | None, value: Any) -> dict[str, Any]:
    """A usage that says `value` for this count."""
    return USAGE | ({holder: {name: value}} if holder else {name: value})


@pytest.mark.parametrize("value", NO_COUNTS, ids=short)
@pytest.mark.parametrize(("name", "holder"), COUNT_NAMES)
def test_a_count_that_cannot_be_read(
    name: str, holder: str | None, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as missing, with a debug line that names it; the answer and the other counts stand."""
    caplog.set_level("DEBUG", "modelstudio_core")
    usage = counted(name, holder, value)
    expected = UsageDelta(read_usage(counted(name, holder, None)))
    reader = decoder()
    deltas = read(reader, body_of([*text("A"), STOP, chunk(usage=usage)]))
    assert reader.failure is None
    assert [delta for delta in deltas if isinstance(delta, TextDelta | UsageDelta)] == [TextDelta("A"), expected]
    assert [f"usage.{name} is unreadable" in line for line in caplog.messages] == [True]
    assert expected in CODEC.decode(REQUEST, HEAD, json.dumps(whole({"content": "A"}, usage=usage)).encode())


@pytest.mark.parametrize(("name", "holder"), COUNT_NAMES)
def test_a_whole_float_is_a_count(name: str, holder: str | None) -> None:
    """3.0 and "3", as some servers write integers, are 3, and an int; null is not given."""
    for value in (3.0, "3"):
        assert read_usage(counted(name, holder, value)) == read_usage(counted(name, holder, 3))
        assert repr(value) not in repr(read_usage(counted(name, holder, value)))
    unsaid = read_usage({key: value for key, value in USAGE.items() if key != name})
    assert read_usage(counted(name, holder, None)) == unsaid


WHOLE_EVENTS: list[tuple[str, list[Any], list[Delta]]] = [
    (
        "text, all in one event",
        [ID | {"choices": [{"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"}]}],
        [TextDelta("AB"), FinishDelta("stop")],
    ),
    (
        "reasoning and text, the end by a delta",
        [ID | {"choices": [{"index": 0, "message": {"content": "A", "reasoning_content": "hm"}}]}, STOP],
        [ReasoningDelta("hm"), TextDelta("A"), FinishDelta("stop")],
    ),
    (
        "tool calls, without indices of their own",
        [
            ID
            | {
                "choices": [
                    {
                        "index": 0,
                        "message": {
                            "content": "",
                            "tool_calls": [
                                {"id": f"call_{n}", "type": "function", "function": {"name": n, "arguments": "{}"}}
                                for n in "fg"
                            ],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            }
        ],
        [ToolCallDelta(0, "call_f", "f", "{}"), ToolCallDelta(1, "call_g", "g", "{}"), FinishDelta("tool_calls")],
    ),
]


@pytest.mark.parametrize(("events", "expected"), [c[1:] for c in WHOLE_EVENTS], ids=[c[0] for c in WHOLE_EVENTS])
def test_a_streamed_choice_may_hold_a_message(events: list[Any], expected: list[Delta]) -> None:
    """Some servers stream a whole `message` where a `delta` should be: its text and its calls are read."""
    reader = decoder()
    assert read(reader, body_of(events)) == [ANSWERED, *expected]
    assert reader.failure is None


def test_each_call_of_a_streamed_message_is_a_call() -> None:
    """Calls of a message are whole, so two of them without an id or index are two, not one in pieces."""
    calls = [{"type": "function", "function": {"arguments": arguments}} for arguments in ('{"a": 1}', '{"a": 2}')]
    message = {"content": "", "tool_calls": calls}
    reader = decoder()
    deltas = read(reader, body_of([ID | {"choices": [{"message": message, "finish_reason": "tool_calls"}]}]))
    found = [(delta.index, delta.arguments) for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert found == [(0, '{"a": 1}'), (1, '{"a": 2}'), (0, ""), (1, "")]  # the last two hold the generated ids


HEARTBEATS = [b"data:\n\n", b"data: \n\n", b"data:   \n\n", b"data: \t \n\n", b"event: ping\ndata:\n\n", b": ping\n\n"]


@pytest.mark.parametrize("size", [None, 1], ids=["whole", "by 1"])
@pytest.mark.parametrize("beat", HEARTBEATS, ids=short)
def test_a_heartbeat_is_skipped(beat: bytes, size: int | None) -> None:
    """An event without content says nothing, wherever it stands."""
    reader = decoder()
    body = beat + event(text("A")[0]) + beat + b"".join(map(event, [*text("A")[1:], STOP])) + beat + DONE
    assert [d for d in read(reader, body, size) if isinstance(d, TextDelta | FinishDelta)] == [
        TextDelta("A"),
        FinishDelta("stop"),
    ]
    assert reader.failure is None


@pytest.mark.parametrize("done", [b"data:[DONE]", b"data: [DONE]", b"data:  [DONE]", b"data: \t[DONE] "], ids=short)
def test_done_may_have_blanks_around(done: bytes) -> None:
    """The end of the stream is its word, whatever blanks stand around it."""
    reader = decoder()
    read(reader, b"".join(map(event, [*text("A"), STOP])) + done + b"\n\n")
    assert reader.ended
    assert reader.failure is None


@pytest.mark.parametrize("places", [(None, None), (OMITTED, OMITTED), (-1, -1)], ids=["null", "omitted", "-1"])
def test_choices_without_indices_are_counted(places: tuple[Any, Any]) -> None:
    """A whole answer of n=2 that numbers nothing gives two choices, in their order."""
    choices = [
        {"index": place, "message": {"content": said}, "finish_reason": "stop"}
        for place, said in zip(places, "AB", strict=True)
    ]
    body = ID | {"choices": [{k: v for k, v in choice.items() if v is not OMITTED} for choice in choices]}
    result = fold(CODEC.decode(ChatRequest("qwen-plus", (USER,), n=2), HEAD, json.dumps(body).encode()))
    assert [(choice.text, choice.finish_reason) for choice in result.choices] == [("A", "stop"), ("B", "stop")]


def test_too_much_after_done_is_no_failure() -> None:
    """What follows [DONE] in the same read cannot spoil the answer."""
    reader = decoder()
    reader.feed(body_of([*text("A"), STOP]) + b"x" * (2 * LIMIT))
    assert reader.ended
    assert reader.failure is None


def test_too_much_after_an_error_does_not_hide_it() -> None:
    """What follows an error event in the same read does not take its place."""
    reader = decoder()
    reader.feed(BEGUN + event(LIMITED) + b"x" * (2 * LIMIT))
    assert type(reader.failure) is RateLimitError


def test_half_of_a_surrogate_pair() -> None:
    """Half of an escaped pair becomes U+FFFD, and nothing else is lost; the text can be written as UTF-8."""
    for half in (rb"\ud83d", rb"\ude80"):
        data = b'{"choices":[{"index":0,"delta":{"content":"a%sb"},"finish_reason":"stop"}]}' % half
        (_, delta, _) = decoder().feed(event(data))
        assert isinstance(delta, TextDelta)
        assert delta.text == "a\ufffdb"
    data = json.dumps(whole({"content": "x \ud83d y \U0001f680 \udc00"})).encode()
    assert TextDelta("x \ufffd y \U0001f680 \ufffd") in CODEC.decode(REQUEST, HEAD, data)


@pytest.mark.parametrize("half", [b"", b'"\\ud83d", '], ids=["fast", "with half an emoji"])
@pytest.mark.parametrize("depth", [150, 250])
def test_deep_nesting(depth: int, half: bytes) -> None:
    """What nests 150 deep is read, and what nests 250 deep is not, whichever parser reads it: what is made of it must
    be fit for copies and pickles."""
    data = b'{"choices":[{"index":0,"delta":{"content":"A","x":[%s%s]},"finish_reason":"stop"}]}' % (
        half, b"[" * depth + b"]" * depth
    )  # fmt: skip
    reader = decoder()
    assert (TextDelta("A") in reader.feed(event(data))) == (depth < 200)
    assert (reader.failure is None) == (depth < 200)


DEEP = [
    ("lists", b"[" * 100_000 + b"]" * 100_000),
    ("lists without an end", b"[" * 100_000),
    ("objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ("after text with brackets", rb'["]]]]", "\"]", "\\", ' * 50_000 + b"1" + b"]" * 50_000),
    ("after half a character", rb'["\ud83d", ' + b"[" * 100_000 + b"]" * 100_001),
    ("in UTF-16", ("[" * 100_000 + "]" * 100_000).encode("utf-16")),
]


@pytest.mark.parametrize("data", [case[1] for case in DEEP], ids=[case[0] for case in DEEP])
def test_what_nests_too_deep_is_not_parsed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is seen before: a finalizer that a garbage collection runs at the bottom of a deep recursion would fail."""
    monkeypatch.setattr("modelstudio_core.protocols.codec.json.loads", lambda _: pytest.fail("it was parsed"))
    with pytest.raises(ProtocolError, match="not JSON"):
        read_json(data)


FLAT = [
    ("a text without an end", b'"' + b"x" * 1_000_000),
    ("a text of backslashes without an end", b'"' + b"\\" * 1_000_001),
    ("texts, and no end", b'"a",' * 250_000 + b'"'),
    ("quotes", b'"' * 1_000_001),
    ("lists in a row", b"[" + b"[]," * 100_000),
    ("ends", b"]" * 1_000_000),
]


@pytest.mark.parametrize("data", [case[1] for case in FLAT], ids=[case[0] for case in FLAT])
def test_what_is_no_json_is_refused_soon(data: bytes) -> None:
    """A megabyte takes a part of a second, whatever is wrong with it."""
    began = time.process_time()
    with pytest.raises(ProtocolError, match="not JSON"):
        read_json(data)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("text", ["[" * 300, '"]{[' * 100, "\\" * 301 + "[" * 300, '\\"[' * 300])
def test_brackets_in_a_text_are_no_depth(text: str, mark: bytes) -> None:
    """Whatever quotes and backslashes are before them; also after a byte order mark, which the usual parser refuses."""
    data = json.dumps([text, "\ud83d"]).encode()
    assert read_json(mark + data) == [text, "\ufffd"]


WHOLE_FAILURES: list[tuple[str, bytes, type[ModelStudioError], str | None]] = [
    ("compatible error with HTTP 200", json.dumps(LIMITED).encode(), RateLimitError, "limit_requests"),
    ("native error with HTTP 200", json.dumps(NATIVE).encode(), RateLimitError, "Throttling.RateQuota"),
    ("a bare string", b'{"error": "Specified model not found: x"}', APIStatusError, None),
    ("HTML", b"<html><body>Welcome</body></html>", ProtocolError, None),
    ("nothing", b"", ProtocolError, None),
    ("a list", b"[]", ProtocolError, None),
    ("no choices", b'{"id": "chatcmpl-7"}', ProtocolError, None),
    ("a message that is no object", json.dumps(whole("A")).encode(), ProtocolError, None),
    ("nested 200,000 deep", b"[" * 200_000, ProtocolError, None),
    ("choices []", json.dumps(ID | {"choices": [], "usage": USAGE}).encode(), StreamTruncatedError, None),
    (
        "no finish reason: cut after 300 s",
        json.dumps(whole({"content": "A"}, None)).encode(),
        StreamTruncatedError,
        None,
    ),
    ('finish reason "null"', json.dumps(whole({"content": "A"}, "null")).encode(), StreamTruncatedError, None),
]


@pytest.mark.parametrize(("body", "cls", "code"), [c[1:] for c in WHOLE_FAILURES], ids=[c[0] for c in WHOLE_FAILURES])
def test_a_whole_answer_that_fails(body: bytes, cls: type[ModelStudioError], code: str | None) -> None:
    """A body that is an error, no answer, or half an answer raises the typed error; HTTP's 200 is not its status."""
    with pytest.raises(ModelStudioError) as caught:
        CODEC.decode(REQUEST, HEAD, body)
    assert type(caught.value) is cls
    assert (caught.value.code, caught.value.status_code) == (code, None)


def test_a_protocol_error_shows_what_came() -> None:
    """The message says what was wrong and shows the beginning of it, 200 characters at most, without blank edges."""
    with pytest.raises(ProtocolError, match=r"not JSON: '<html>'$"):
        CODEC.decode(REQUEST, HEAD, b"\n <html> \n")
    with pytest.raises(ProtocolError, match=r"not JSON: 'x{200}'\.\.\.$"):
        CODEC.decode(REQUEST, HEAD, b"x" * 1000)
    with pytest.raises(ProtocolError, match=r"not JSON: 'x{200}'$"):
        CODEC.decode(REQUEST, HEAD, b"x" * 200)
    with pytest.raises(ProtocolError, match=r"not an object: '\[1\]'"):
        CODEC.decode(REQUEST, HEAD, b"[1]")


def test_a_cut_whole_answer_carries_what_had_arrived() -> None:
    """The service cuts an answer that takes longer than 300 s and says no error: text and usage are in `partial`."""
    body = json.dumps(whole({"content": "A", "reasoning_content": "hm", "tool_calls": [FILLED]}, None, USAGE)).encode()
    with pytest.raises(StreamTruncatedError) as caught:
        CODEC.decode(REQUEST, HEAD, body)
    partial = caught.value.partial
    assert partial is not None
    (choice,) = partial.choices
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("A", "hm", None)
    assert [call.name for call in choice.tool_calls] == ["f"]
    assert partial.usage == Usage(13, 20, 33)
    assert partial.response == ANSWERED


def test_one_of_two_choices_cut() -> None:
    """With n=2 an answer is whole only if both choices finished."""
    reader = decoder(2)
    read(reader, body_of([*text("A"), chunk({"content": "C"}, index=1), STOP]))
    assert type(reader.failure) is StreamTruncatedError
