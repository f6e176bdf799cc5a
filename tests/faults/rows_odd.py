"""Rows of the table of faults: odd, but right."""

from __future__ import annotations

from tests.faults.dialects import TEXT, written
from tests.faults.fault import FOREIGN, Fault, _doubled, _other_choice, _right
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
    Fault("as it should be", (good,), text=TEXT, pooled=True),
    _right("a byte at a time", lambda it: it.stream(), step=1),
    _right("in pieces of 7 bytes", lambda it: it.stream(), step=7),
    _right("line ends CR LF", line_ends(b"\r\n")),
    _right("line ends CR LF, a byte at a time", line_ends(b"\r\n"), step=1),
    _right("line ends CR", line_ends(b"\r"), step=5),
    _right("a byte order mark", lambda it: b"\xef\xbb\xbf" + it.stream(), step=2),
    _right("comments and heartbeats", b": ping\n\n", begun, b":\n\ndata:\n\n: ping\n", rest),
    _right("blank lines first", b"\n\n\n\n", lambda it: it.stream()),
    _right("finish and usage twice", _doubled),
    _right(
        "no usage", lambda it: begun(it) + it.said("", " ", "because 光 scatters.") + it.last(usage=False) + it.done
    ),
    _right("a second choice that was not asked for", _other_choice),
    _right("more after the end", lambda it: it.stream() + it.said("no"), only=("openai",)),
    _right("no label", lambda it: it.stream(), headers={"x-request-id": JSON["x-request-id"]}),
    _right("labelled as JSON", lambda it: it.stream(), headers=JSON),
    _right("labelled as JSON, with a byte order mark", lambda it: b"\xef\xbb\xbf" + it.stream(), headers=JSON),
    _right("whole in place of events, after blanks", b"\n", lambda it: b"\r\n" + written(it.whole(TEXT))),
    _right(
        "whole in place of events, a byte order mark first", b"\xef", lambda it: b"\xbb\xbf" + written(it.whole(TEXT))
    ),
    _right("a field that nobody knows, first", lambda it: b"server: x\n\n" + it.stream(), step=3),
    Fault(
        "whole, labelled as events",
        (replied(200, lambda it: written(it.whole(TEXT)), {**JSON, "Content-Type": "text/event-stream"}),),
        text=TEXT,
        pooled=True,
    ),
    _right("foreign events", event_of(b'{"type": "ping"}'), begun, *map(event_of, FOREIGN), rest),
    Fault(
        "a code of success",
        (replied(200, lambda it: written(it.whole(TEXT) | {"code": 200, "message": "success"})),),
        text=TEXT,
        pooled=True,
    ),
    _right(
        "a code of success in each event",
        lambda it: it.stream().replace(b', "usage"', b', "code": 200, "message": "success", "usage"'),
    ),
)
