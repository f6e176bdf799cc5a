"""Rows of the table of faults: unusual but valid."""

from __future__ import annotations

from tests.faults.dialects import TEXT, written
from tests.faults.fault import FOREIGN, Fault, doubled, other_choice, right
from tests.faults.steps import (
    JSON,
    begun,
    event_of,
    good,
    line_ends,
    replied,
    rest,
)

ODD = (
    Fault("a correct response", (good,), text=TEXT, pooled=True),
    right("one byte at a time", lambda it: it.stream(), step=1),
    right("in pieces of 7 bytes", lambda it: it.stream(), step=7),
    right("line ends CR LF", line_ends(b"\r\n")),
    right("line ends CR LF, a byte at a time", line_ends(b"\r\n"), step=1),
    right("line ends CR", line_ends(b"\r"), step=5),
    right("a byte order mark", lambda it: b"\xef\xbb\xbf" + it.stream(), step=2),
    right("comments and heartbeats", b": ping\n\n", begun, b":\n\ndata:\n\n: ping\n", rest),
    right("blank lines first", b"\n\n\n\n", lambda it: it.stream()),
    right("finish reason and usage twice", doubled),
    right("no usage", lambda it: begun(it) + it.said("", " ", "because 光 scatters.") + it.last(usage=False) + it.done),
    right("a second choice that was not requested", other_choice),
    right("events after [DONE]", lambda it: it.stream() + it.said("no"), protocols=("openai",)),
    right("no content-type", lambda it: it.stream(), headers={"x-request-id": JSON["x-request-id"]}),
    right("content-type JSON on a stream", lambda it: it.stream(), headers=JSON),
    right(
        "content-type JSON on a stream with a byte order mark", lambda it: b"\xef\xbb\xbf" + it.stream(), headers=JSON
    ),
    right("a JSON response instead of events, after blank lines", b"\n", lambda it: b"\r\n" + written(it.whole(TEXT))),
    right(
        "a JSON response instead of events, after a byte order mark",
        b"\xef",
        lambda it: b"\xbb\xbf" + written(it.whole(TEXT)),
    ),
    right("an unknown SSE field first", lambda it: b"server: x\n\n" + it.stream(), step=3),
    Fault(
        "content-type event-stream on a JSON response",
        (replied(200, lambda it: written(it.whole(TEXT)), {**JSON, "Content-Type": "text/event-stream"}),),
        text=TEXT,
        pooled=True,
    ),
    right("unrecognized events", event_of(b'{"type": "ping"}'), begun, *map(event_of, FOREIGN), rest),
    Fault(
        "a success code in the response",
        (replied(200, lambda it: written(it.whole(TEXT) | {"code": 200, "message": "success"})),),
        text=TEXT,
        pooled=True,
    ),
    right(
        "a success code in each event",
        lambda it: it.stream().replace(b', "usage"', b', "code": 200, "message": "success", "usage"'),
    ),
)
