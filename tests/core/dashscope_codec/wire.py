"""Helpers to write responses of the native protocol."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelstudio_core.protocols.dashscope import DashScopeCodec
from modelstudio_core.protocols.decoding import EventStreamDecoder
from modelstudio_core.types import (
    ChatRequest,
    Delta,
    ExtraDelta,
    FinishDelta,
    Message,
    ResponseDelta,
    ResponseHead,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)

CODEC = DashScopeCodec()
HEAD = ResponseHead(200, {"content-type": "text/event-stream;charset=UTF-8", "x-request-id": "req-of-head"})
USER = Message("user", "hello")
REQUEST = ChatRequest("qwen-plus", (USER,))
LIMIT = 64 * 1024
ANSWERED = ResponseDelta(None, "req-1", "qwen-plus")
OMITTED = object()
NULL = "null"


def frame(data: Any, number: int = 1, name: str = "result", status: int = 200) -> bytes:
    """One event as the service frames it: no space after the colon, the status in a comment."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"id:{number}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:{text}\n\n".encode()


def given(items: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in items.items() if item is not OMITTED}


def value(output: Any, usage: Any = OMITTED) -> dict[str, Any]:
    """The object of one event, or of a whole answer."""
    return given({"output": output, "usage": usage, "request_id": "req-1"})


def chunk(content: Any = "", finish: Any = NULL, *, usage: Any = OMITTED, index: Any = OMITTED, **said: Any) -> Any:
    """An event with one choice. Fields beside the choices or the message are keyword arguments."""
    beside = {name: said.pop(name) for name in ("search_info", "tool_info", "model_name") if name in said}
    around = {name: said.pop(name) for name in ("logprobs",) if name in said}
    message = given({"content": content, "role": "assistant", **said})
    choice = given({"message": message, "index": index, "finish_reason": finish, **around})
    return value({"choices": [choice], **beside}, usage)


def body_of(events: Sequence[Any]) -> bytes:
    return b"".join(frame(event, number + 1) for number, event in enumerate(events))


def decoder(n: int | None = None, **request: Any) -> EventStreamDecoder:
    return CODEC.stream(ChatRequest("qwen-plus", (USER,), n=n, **request), HEAD, max_event_bytes=LIMIT)


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

    @property
    def request(self) -> ChatRequest:
        parameters = {"incremental_output": False} if self.cumulative else {}
        return ChatRequest("qwen-plus", (USER,), n=self.n, parameters=parameters)


def calls(*fragments: Any) -> dict[str, Any]:
    """`tool_calls` of a message: each fragment is (index, id, function)."""
    keys = ("index", "id", "function")
    named = [dict(zip(keys, fragment, strict=True)) | {"type": "function"} for fragment in fragments]
    return {"tool_calls": [given(fragment) for fragment in named]}


USAGE = {"total_tokens": 33, "output_tokens": 20, "input_tokens": 13}
USED = UsageDelta(Usage(13, 20, 33))
END, CALL_END = FinishDelta("stop"), FinishDelta("tool_calls")
A, B = TextDelta("A"), TextDelta("B")
LETTERS: list[Delta] = [A, B, END]
STOP = chunk("", "stop")
F, G = "get_weather", "get_time"
FIRST = chunk("", **calls((0, "call_1", {"name": F, "arguments": '{"q": '})))
ONE_CALL: list[Delta] = [
    ToolCallDelta(0, "call_1", F, '{"q": '),
    ToolCallDelta(0, arguments='"x"'),
    ToolCallDelta(0, arguments="}"),
    CALL_END,
]
WHOLE_CALL = {"name": F, "arguments": '{"q": "x"}'}
ONE_WHOLE = chunk("", "tool_calls", **calls((0, "call_1", WHOLE_CALL)))
MORE = chunk("", **calls((0, "", {"arguments": '"x"'})))
PAIR: list[Delta] = [
    ToolCallDelta(0, "call_1", F, '{"q": '),
    ToolCallDelta(0, arguments='"x"}'),
    ToolCallDelta(1, "call_2", G),
    ToolCallDelta(1, arguments="{}"),
    CALL_END,
]
ROWS = [{"site_name": "Example", "index": 1, "title": "Weather", "url": "https://example.com/w", "icon": ""}]
NO_ROWS = {"extra_tool_info": [], "search_results": []}
SOURCES = ExtraDelta("search_info", {"search_results": ROWS})
CODE = [{"type": "code_interpreter", "code_interpreter": {"code": "123**21"}}]
WORDS = {"words_info": [{"text": "DAY", "location": [0, 0, 9, 0, 9, 9, 0, 9]}]}
SEARCHED = {"search": {"count": 1, "strategy": "standard"}}


def two(*pieces: tuple[int, str, str]) -> list[Any]:
    return [chunk(text, finish, index=index) for index, text, finish in pieces]
