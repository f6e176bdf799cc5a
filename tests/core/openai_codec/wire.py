"""Helpers to write responses of the OpenAI-compatible protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelstudio_core.protocols.decoding import EventStreamDecoder
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import (
    ChatRequest,
    Delta,
    FinishDelta,
    Message,
    ResponseDelta,
    ResponseHead,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from tests.core.decoding import GENERATED

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
    """One event of a stream, with one choice, or without choices if there is no `delta`."""
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
    """A whole response with one choice."""
    return ID | {"choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}], "usage": usage}


def decoder(n: int | None = None, *, cumulative: bool = False) -> EventStreamDecoder:
    request = ChatRequest("qwen-plus", (USER,), n=n, cumulative_stream=cumulative)
    return CODEC.stream(request, HEAD, max_event_bytes=LIMIT)


@dataclass(frozen=True)
class Answer:
    """An answer as a stream, its deltas (after `ANSWERED`), and as a whole response if possible."""

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


def text(*pieces: str) -> list[Any]:
    return [chunk({"content": piece}) for piece in pieces]


def choices(*pieces: tuple[int, str]) -> list[Any]:
    """Two choices with alternating chunks, like with n=2."""
    roles = [chunk({"role": "assistant", "content": ""}, index=index) for index in (0, 1)]
    ends = [chunk({"content": ""}, "stop", index=index) for index in (1, 0)]
    return [*roles, *(chunk({"content": piece}, index=index) for index, piece in pieces), *ends]


def two_calls(*fragments: Any) -> list[Any]:
    return [ROLE, *fragments, CALLED]


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
BEGUN = event(ROLE) + event(text("A")[0])
LIMITED = {"error": {"message": "Slow down.", "type": "limit_requests", "param": None, "code": "limit_requests"}}
NATIVE = {"code": "Throttling.RateQuota", "message": "Too fast.", "request_id": "req-9"}
