"""Answers that both the vendor's SDK and the core decode, in the format of recorded traffic."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.native import framed, frames

Json = dict[str, Any]
Mode = Literal["whole", "stream", "cumulative"]
TEXT, PARTS = "qwen-plus", "qwen3-vl-plus"


@dataclass(frozen=True)
class Answer:
    """One answer of the service.

    `mode`: a whole answer, an incremental stream, which the SDK merges, or a cumulative stream.
    `differs`: the rows of `differences.ANSWERS` that apply. `client`: those of the SDK's newer `Client` only.
    `step`: bytes per write, 0 for one write.
    """

    name: str
    body: bytes
    mode: Mode = "stream"
    differs: tuple[str, ...] = ()
    client: tuple[str, ...] = ()
    status: int = 200
    model: str = TEXT
    n: int = 1
    kind: str = ""
    step: int = 0

    @property
    def content_type(self) -> str:
        """Return the content type for the mode, unless `kind` overrides it."""
        return self.kind or ("application/json" if self.mode == "whole" else "text/event-stream;charset=UTF-8")


ANSWERS: list[Answer] = []
SEEN: Json = {"model": PARTS, "differs": ("zero usage",)}
USAGE = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
DETAILS = {
    "input_tokens": 10,
    "output_tokens": 9,
    "total_tokens": 19,
    "output_tokens_details": {"reasoning_tokens": 5, "text_tokens": 4},
    "prompt_tokens_details": {"cached_tokens": 8, "cache_creation_input_tokens": 1},
    "input_tokens_details": {"text_tokens": 6, "image_tokens": 4},
}
SITES = {"search_results": [{"index": 1, "title": "Rome", "url": "https://example.com/rome", "site_name": "Example"}]}
PROBS = {"content": [{"token": "Hi", "bytes": [72, 105], "logprob": -0.1, "top_logprobs": []}]}


def message(content: Any = "", **more: Any) -> Json:
    return {"role": "assistant", "content": content, **more}


def choice(content: Any = "", finish: str | None = "null", *, index: int | None = None, **more: Any) -> Json:
    logprobs = more.pop("logprobs", None)
    said: Json = {"message": message(content, **more), "finish_reason": finish}
    said |= {} if index is None else {"index": index}
    return said | ({} if logprobs is None else {"logprobs": logprobs})


def event(*choices: Json, usage: Mapping[str, Any] | None = USAGE, **output: Any) -> Json:
    said: Json = {"output": {"choices": list(choices), **output}, "request_id": "req-1"}
    return said if usage is None else {**said, "usage": dict(usage)}


def tool(index: int, arguments: Any, *, id: str | None = "", name: str | None = None) -> Json:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    call = {"index": index, "type": "function", "function": function}
    return call if id is None else {**call, "id": id}


def whole(name: str, said: Any, *differs: str, **more: Any) -> None:
    body = said if isinstance(said, bytes) else json.dumps(said, ensure_ascii=False).encode()
    ANSWERS.append(Answer(name, body, "whole", **{"differs": differs, **more}))


def stream(name: str, events: bytes | Iterable[Mapping[str, Any]], *differs: str, **more: Any) -> None:
    body = events if isinstance(events, bytes) else b"".join(frames(events))
    ANSWERS.append(Answer(name, body, **{"mode": "stream", "differs": differs, **more}))


# ---------------------------------------------------------------- whole

ROME = '{"city": "Rome"}'
CALL = tool(0, ROME, id="call_1", name="weather")
whole("text", event(choice("Hello.", "stop")))
whole("reasoning", event(choice("4", "stop", reasoning_content="2 and 2.")))
whole("empty reasoning", event(choice("4", "stop", reasoning_content="")))
whole("a tool call", event(choice("", "tool_calls", tool_calls=[CALL])))
TWO_CALLS = [CALL, tool(1, "{}", id="call_2", name="clock")]
whole("two tool calls", event(choice("I look.", "tool_calls", tool_calls=TWO_CALLS)))
whole("a call without arguments", event(choice("", "tool_calls", tool_calls=[tool(0, "", id="call_1", name="clock")])))
BROKEN = [tool(0, '{"city": "Ro', id="call_1", name="weather")]
whole("broken arguments", event(choice("", "tool_calls", tool_calls=BROKEN)), "invalid call")
NAMELESS = [tool(0, ROME, id="", name="weather")]
whole("a call without an id", event(choice("", "tool_calls", tool_calls=NAMELESS)), "generated id")
whole("two answers", event(choice("A", "stop", index=0), choice("B", "stop", index=1)), n=2)
whole("search", event(choice("Rome.", "stop"), search_info=SITES))
whole("usage details", event(choice("4", "stop", reasoning_content="2 and 2."), usage=DETAILS))
whole("no usage", event(choice("4", "stop"), usage=None), "zero usage")
whole("log probabilities", event(choice("Hi", "stop", logprobs=PROBS)))
whole("an answer that was too long", event(choice("Hello", "length")))
whole("null content", event(choice(None, "tool_calls", tool_calls=[CALL])))
whole("an empty answer", event(choice("", "stop")))
CHINESE = "北京😀\u2028\u0085é"
whole("text that is not ASCII", event(choice(CHINESE, "stop")))
whole("a field of tomorrow", event(choice("4", "stop", mood="calm"), weather="sunny"))
TEXT_FORMAT = {"output": {"text": "4", "finish_reason": "stop"}, "usage": USAGE, "request_id": "req-1"}
whole("format text", TEXT_FORMAT)
whole("parts", event(choice([{"text": "A cat."}], "stop")), **SEEN)
whole("two parts", event(choice([{"text": "A "}, {"text": "cat."}], "stop")), **SEEN)
whole("no parts", event(choice([], "tool_calls", tool_calls=[CALL])), **SEEN)
OCR = {"words_info": [{"text": "STOP", "rotate_rect": [1, 2, 3, 4, 90]}]}
whole(
    "words in an image", event(choice([{"text": "STOP", "ocr_result": OCR}], "stop")), client=("image results",), **SEEN
)
whole("no finish reason", event(choice("4", "null")), "cut")

# ---------------------------------------------------------------- failures


CLASSES = {"InvalidParameter": ("other classes",), "InternalError.Algo": ("other classes",)}


def failure(code: str, text: str) -> Json:
    return {"code": code, "message": text, "request_id": "req-1"}


for number, code, text in (
    (400, "InvalidParameter", "Range of input length should be [1, 30720]"),
    (400, "DataInspectionFailed", "Output data may contain inappropriate content."),
    (401, "InvalidApiKey", "Invalid API-key provided."),
    (404, "ModelNotFound", "Model can not be found."),
    (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    (500, "InternalError.Algo", "An error in model serving occurred."),
):
    whole(f"{number} {code}", failure(code, text), "typed error", status=number, client=CLASSES.get(code, ()))
whole(
    "a page of a proxy",
    b"<h1>502 Bad Gateway</h1>",
    "typed error",
    "proxy page",
    client=("other classes",),
    status=502,
    kind="text/html",
)
whole("an error with status 200", failure("InternalError", "Failed."), "error in 200")

# ---------------------------------------------------------------- streams

HELLO = [event(choice("Hel")), event(choice("lo")), event(choice("", "stop"))]
stream("text", HELLO)
stream("byte by byte", HELLO, step=1)
stream("the reason beside the last text", [event(choice("Hel")), event(choice("lo", "stop"))])
THOUGHT = [
    event(choice("", reasoning_content="2 and")),
    event(choice("", reasoning_content=" 2.")),
    event(choice("4", reasoning_content="")),
    event(choice("", "stop", reasoning_content=""), usage=DETAILS),
]
stream("thinking", THOUGHT)
FRAGMENTS = [
    event(choice("", tool_calls=[tool(0, '{"city"', id="call_1", name="weather")])),
    event(choice("", tool_calls=[tool(0, ': "Rome"}')])),
    event(choice("", "tool_calls", tool_calls=[tool(0, "")])),
]
stream("a tool call", FRAGMENTS)
PARALLEL = [
    *FRAGMENTS[:2],
    event(choice("", tool_calls=[tool(1, "", id="call_2", name="clock")])),
    event(choice("", "tool_calls", tool_calls=[tool(1, "{}")])),
]
stream("two tool calls", PARALLEL)
BOTH = [
    FRAGMENTS[0],
    event(choice("", tool_calls=[tool(0, ': "Rome"}'), tool(1, "{}", id="call_2", name="clock")])),
    event(choice("", "tool_calls")),
]
stream("two tool calls in one event", BOTH)
EMPTY_NAME = [FRAGMENTS[0], event(choice("", "tool_calls", tool_calls=[tool(0, ': "Rome"}', name="")]))]
stream("an empty name in a later fragment", EMPTY_NAME)
NO_ARGUMENTS = [*FRAGMENTS[:2], event(choice("", "tool_calls", tool_calls=[tool(0, None)]))]
stream("null arguments in a later fragment", NO_ARGUMENTS, "null arguments")
SAME_ID = [FRAGMENTS[0], event(choice("", "tool_calls", tool_calls=[tool(0, ': "Rome"}', id="call_1")]))]
stream("the id in each fragment", SAME_ID)
stream("a call that was cut off", [FRAGMENTS[0], event(choice("", "length"))], "invalid call")
stream("text and a call", [event(choice("I look.")), *FRAGMENTS])
INTERLEAVED = [
    event(choice("A", index=0), usage={**USAGE, "output_tokens": 1, "total_tokens": 11}),
    event(choice("B", index=1), usage={**USAGE, "output_tokens": 1, "total_tokens": 11}),
    event(choice("a", "stop", index=0)),
    event(choice("b", "stop", index=1)),
]
stream("two answers", INTERLEAVED, n=2, client=("usage of two answers",))
FOUND = [event(choice("Ro"), search_info=SITES), event(choice("me."), search_info={}), event(choice("", "stop"))]
stream("search", FOUND, client=("search",))
NO_SITES = [FOUND[0], *(event(choice(*more), search_info={"search_results": []}) for more in (("me.",), ("", "stop")))]
stream("search, then no results", NO_SITES, "search")
GROWING = [
    event(choice(text, finish), usage={**USAGE, "output_tokens": count, "total_tokens": 10 + count})
    for count, text, finish in ((1, "a", "null"), (2, "b", "null"), (3, "", "stop"))
]
stream("growing usage", GROWING)
stream("usage after the end", [*HELLO, event(usage=DETAILS)], "usage after the end")
stream("log probabilities", [event(choice("Hi", logprobs=PROBS)), event(choice("", "stop"))], "log probabilities")
PIECES = [event(choice([{"text": "A "}])), event(choice([{"text": "cat."}])), event(choice([], "stop"))]
stream("parts", PIECES, **SEEN)
stream("parts with reasoning", [event(choice([], reasoning_content="Fur.")), *PIECES], **SEEN)
TEXTS = [{**TEXT_FORMAT, "output": {"text": t, "finish_reason": f}} for t, f in (("Hel", "null"), ("lo", "stop"))]
stream("format text", TEXTS)
stream("text that is not ASCII", [event(choice(CHINESE)), event(choice(CHINESE, "stop"))])

# ---------------------------------------------------------------- framing

PLAIN = b"".join(frames(HELLO))
stream("carriage returns", PLAIN.replace(b"\n", b"\r\n"))
stream("a space after the colon", PLAIN.replace(b"data:", b"data: "))
stream("heartbeats", PLAIN.replace(b"id:2", b": heartbeat\n\n:\n\nid:2"))
stream("only data", b"".join(b"data:" + json.dumps(each).encode() + b"\n\n" for each in HELLO))
stream("an event without data", PLAIN.replace(b"id:2", b"id:9\nevent:result\n\nid:2"))
stream("an end mark", PLAIN + b"data:[DONE]\n\n", "end mark")
stream("a byte-order mark", b"\xef\xbb\xbf" + PLAIN)
LINES = "\n".join("data:" + line for line in json.dumps(event(choice("Hello.", "stop")), indent=1).split("\n"))
stream("an event of several lines", LINES.encode() + b"\n\n", "lines of data")
stream("an event that is not JSON", PLAIN.replace(b'{"output"', b"{output", 1), "not JSON")

# ---------------------------------------------------------------- broken streams

LATE = ("status of the head", "part before an error")
THROTTLED = framed(3, "error", 429, failure("Throttling", "Requests throttled."))
FILTERED = framed(3, "error", 400, failure("DataInspectionFailed", "Output data may contain inappropriate content."))
stream("an error in mid-stream", b"".join(frames(HELLO[:2])) + FILTERED, "typed error", client=LATE)
stream(
    "throttled in mid-stream", b"".join(frames(HELLO[:2])) + THROTTLED, "typed error", "status of events", client=LATE
)
stream("an error first", THROTTLED, "typed error", "status of events", client=("status of the head",))
stream("cut after an event", HELLO[:2], "cut")
stream("cut inside an event", PLAIN[:-40], "cut inside")
stream("cut inside a call", FRAGMENTS[:1], "cut", "invalid call")
stream("nothing", b"", "cut")
WHOLE = json.dumps(event(choice("Hello.", "stop"))).encode()
stream("a whole answer", WHOLE, kind="application/json", client=("whole instead of a stream",))
stream(
    "a rejected stream",
    json.dumps(failure("InvalidParameter", "No.")).encode(),
    "typed error",
    status=400,
    kind="application/json",
)

# ---------------------------------------------------------------- cumulative streams


def cumulative(name: str, events: Iterable[Mapping[str, Any]], *differs: str, **more: Any) -> None:
    stream(name, events, *differs, mode="cumulative", **more)


cumulative("text", [event(choice("Hel")), event(choice("Hello")), event(choice("Hello.", "stop"))])
cumulative("repeating text", [event(choice("ha")), event(choice("haha")), event(choice("hahaha", "stop"))])
cumulative(
    "thinking",
    [
        event(choice("", reasoning_content="2")),
        event(choice("", reasoning_content="2 and 2.")),
        event(choice("4", "stop", reasoning_content="2 and 2."), usage=DETAILS),
    ],
)
cumulative(
    "a tool call",
    [
        event(choice("", tool_calls=[tool(0, '{"city"', id="call_1", name="weather")])),
        event(choice("", "tool_calls", tool_calls=[CALL])),
    ],
)
cumulative("parts", [event(choice([{"text": "A "}])), event(choice([{"text": "A cat."}], "stop"))], **SEEN)
cumulative("cut", [event(choice("Hel")), event(choice("Hello"))], "cut")
