"""Parsing of server-sent events: the rules of the WHATWG standard, and one of the service."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelstudio_core.protocols.sse import MAX_EVENT_BYTES, EventDecoder, ServerSentEvent

Events = list[ServerSentEvent]


def events_of(reads: list[bytes]) -> Events:
    """Return the events of a body that arrives in these reads."""
    decoder = EventDecoder()
    events = [ServerSentEvent(*fields) for read in reads for fields in decoder.feed(read)]
    last = decoder.flush()
    return [*events, last] if last is not None else events


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def check(body: bytes, expected: Events) -> None:
    """Feed `body` whole, per byte, and in chunks of 2, 3 and 7, with empty reads and a following event."""
    for size in (max(len(body), 1), 1, 2, 3, 7):
        reads = cut(body, size)
        assert events_of(reads) == expected, size
        assert events_of([each for read in reads for each in (b"", read, b"")]) == expected, size
    for size in (max(len(body), 1), 1, 5):
        more = b"\n\ndata: trailing\n\n"
        assert events_of(cut(body + more, size)) == [*expected, event("trailing")], size


def event(data: str | bytes, name: str = "", status: int | None = None) -> ServerSentEvent:
    return ServerSentEvent(data.encode() if isinstance(data, str) else data, name, status)


CASES: list[tuple[str, bytes, Events]] = [
    ("nothing", b"", []),
    ("only line ends", b"\n\r\n\r\n\n\r\r", []),
    # line ends (standard 9.2.6)
    ("LF", b"data: a\n\ndata: b\n\n", [event("a"), event("b")]),
    ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", [event("a"), event("b")]),
    ("CR", b"data: a\r\rdata: b\r\r", [event("a"), event("b")]),
    ("LF then CRLF", b"data: a\n\r\ndata: b\n\r\n", [event("a"), event("b")]),
    ("CRLF then LF", b"data: a\r\n\ndata: b\r\n\n", [event("a"), event("b")]),
    ("CR then LF is one end, so CRLF LF is two", b"data: a\r\n\ndata: b\r\r\n", [event("a"), event("b")]),
    ("CRLF is not two ends", b"data: a\r\ndata: b\r\n\r\n", [event("a\nb")]),
    ("CR between data lines", b"data: a\rdata: b\r\r", [event("a\nb")]),
    ("body begins with CRLF (doubleword does)", b"\r\n\r\n\ndata: a\r\n\r\n", [event("a")]),
    # byte order mark
    ("mark before the first line", b"\xef\xbb\xbfdata: a\n\n", [event("a")]),
    ("only the first mark is dropped", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [event("b")]),
    ("mark inside data is text", b"data: \xef\xbb\xbfa\n\n", [event("\ufeffa")]),
    ("mark alone", b"\xef\xbb\xbf", []),
    ("half a mark, then nothing of it", b"\xef\xbbdata: a\n\ndata: b\n\n", [event("b")]),
    # fields
    ("data without the space (native)", b'data:{"a":1}\n\ndata:[DONE]\n\n', [event('{"a":1}'), event("[DONE]")]),
    ("only one space is dropped", b"data:   a\n\n", [event("  a")]),
    ("a tab is not a space", b"data:\ta\n\n", [event("\ta")]),
    ("space at the end stays", b"data: a \n\n", [event("a ")]),
    ("a colon in the data", b"data: a: b\n\n", [event("a: b")]),
    ("data of several lines", b"data: a\ndata:b\ndata: c\n\n", [event("a\nb\nc")]),
    ("empty data is data, as in the standard's example", b"data:\n\n", [event("")]),
    ("an empty line among the data", b"data: a\ndata:\ndata: b\n\n", [event("a\n\nb")]),
    ("empty data among the data, by the name alone", b"data: a\ndata\ndata: b\n\n", [event("a\n\nb")]),
    ("other fields are skipped", b"id: 7\nretry: 100\nfoo: bar\ndatax: no\n data: no\ndata: a\n\n", [event("a")]),
    # comments
    ("comment (OpenRouter)", b": OPENROUTER PROCESSING\n\ndata: a\n\n", [event("a")]),
    ("comment between data lines", b"data: a\n: still here\ndata: b\n\n", [event("a\nb")]),
    ("a lone colon", b":\n:\n\ndata: a\n\n", [event("a")]),
    # no data, no event
    ("name without data", b"event: ping\n\ndata: a\n\n", [event("a")]),
    ("many blank lines", b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [event("a"), event("b")]),
    # names
    ("name", b"event: error\ndata: a\n\n", [event("a", "error")]),
    ("name without the space (native)", b"event:result\ndata:a\n\n", [event("a", "result")]),
    ("name after the data", b"data: a\nevent: error\n\n", [event("a", "error")]),
    ("the last name counts", b"event: x\nevent: error\ndata: a\n\n", [event("a", "error")]),
    ("a name is for one event", b"event: error\ndata: a\n\ndata: b\n\n", [event("a", "error"), event("b")]),
    ("a name without data is forgotten", b"event: ping\n\ndata: a\n\n", [event("a")]),
    # an error without data is one
    ("an error without data", b"event: error\n\ndata: a\n\n", [event("", "error"), event("a")]),
    ("an error with empty data", b"event: error\ndata:\n\ndata: a\n\n", [event("", "error"), event("a")]),
    ("an error that only names a status", b"event:error\n:HTTP_STATUS/429\n\n", [event("", "error", 429)]),
    ("the last name counts, also without data", b"event: error\nevent: x\n\ndata: a\n\n", [event("a")]),
    # the status comment of the native protocol
    (
        "frame of the native protocol",
        b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"X"}\n\n',
        [event('{"code":"X"}', "error", 400)],
    ),
    ("status 200", b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:a\n\n", [event("a", "result", 200)]),
    ("status as a field", b"event:error\nstatus:429\ndata:a\n\n", [event("a", "error", 429)]),
    ("a status is for one event", b":HTTP_STATUS/429\ndata:a\n\ndata:b\n\n", [event("a", "", 429), event("b")]),
    ("a status without data is forgotten", b":HTTP_STATUS/200\n\ndata:a\n\n", [event("a")]),
    ("the status of an error is an event", b":HTTP_STATUS/429\n\ndata:a\n\n", [event("", "", 429), event("a")]),
    ("a status that is none", b":HTTP_STATUS/abc\ndata:a\n\n:HTTP_STATUS/\ndata:b\n\n", [event("a"), event("b")]),
    ("a status with more digits is none", b":HTTP_STATUS/40000\ndata:a\n\n", [event("a")]),
    # text is text
    ("UTF-8, torn by the cuts", "data: 你好🚀é\n\n".encode(), [event("你好🚀é")]),
    ("U+2028 and U+2029 end no line", "data: a\u2028b\u2029c\n\n".encode(), [event("a\u2028b\u2029c")]),
    ("U+0085, VT and FF end no line", "data: a\u0085b\x0bc\x0cd\x1ce\n\n".encode(), [event("a\u0085b\x0bc\x0cd\x1ce")]),
    ("not UTF-8 is the reader's business", b"data: \xff\xfe\n\n", [event(b"\xff\xfe")]),
    ("NUL", b"data: a\x00b\n\n", [event("a\x00b")]),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_framing(body: bytes, expected: Events) -> None:
    """Each rule holds for every split of the bytes, and the next event is not affected."""
    check(body, expected)


UNENDED: list[tuple[str, bytes, Events]] = [
    ("no line end at all", b"data: a", [event("a")]),
    ("no blank line", b"data: a\n", [event("a")]),
    ("CR ends the last line", b"data: a\r", [event("a")]),
    ("with its name and status", b"event:error\n:HTTP_STATUS/500\ndata:a", [event("a", "error", 500)]),
    ("several lines, the last one open", b"data: a\ndata: b", [event("a\nb")]),
    ("after a whole one", b"data: a\n\ndata: b", [event("a"), event("b")]),
    ("half a field is no data", b"data: a\n\ndat", [event("a")]),
    ("a comment is no data", b"data: a\n\n: bye", [event("a")]),
    ("a name is no data", b"event: ping", []),
    ("an error without data", b"data: a\n\nevent: error", [event("a"), event("", "error")]),
    ("half a byte order mark", b"\xef\xbb", []),
]


@pytest.mark.parametrize(("body", "expected"), [c[1:] for c in UNENDED], ids=[c[0] for c in UNENDED])
def test_an_event_without_a_blank_line(body: bytes, expected: Events) -> None:
    """At the end of the body, `flush` returns it once."""
    for size in (len(body), 1, 2, 3, 7):
        assert events_of(cut(body, size)) == expected, size
    decoder = EventDecoder()
    decoder.feed(body)
    decoder.flush()
    assert decoder.flush() is None


def test_an_event_is_returned_at_its_blank_line() -> None:
    """With the same read, even if CR might be the start of CRLF."""
    decoder = EventDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b\n\ndata: c") == [event("a"), event("b")]
    assert decoder.feed(b"\r\r") == [event("c")]
    assert decoder.feed(b"\ndata: d\r\n\r") == [event("d")]
    assert decoder.feed(b"\n") == []
    assert decoder.flush() is None


LIMIT = 1000
OVER: list[tuple[str, bytes]] = [
    ("one data line that ends", b"data: " + b"x" * (LIMIT + 1) + b"\n\n"),
    ("one data line that never ends", b"data: " + b"x" * (LIMIT + 1)),
    ("a line without any field", b"x" * (LIMIT + 1)),
    ("an endless comment", b": " + b"x" * (LIMIT + 1)),
    ("many data lines", b"data: 123456789\n" * 101),
    ("many empty data lines", b"data:\n" * (LIMIT + 2)),
    ("many bare data lines", b"data\n" * (LIMIT + 2)),
    ("data lines and an open line", b"data: 123456789\n" * 60 + b"data: " + b"x" * 700),
]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000_000])
@pytest.mark.parametrize("body", [c[1] for c in OVER], ids=[c[0] for c in OVER])
def test_an_event_over_the_limit(body: bytes, size: int) -> None:
    """It sets `overflowed`. Earlier events are kept, later ones ignored."""
    decoder = EventDecoder(max_event_bytes=LIMIT)
    events = [e for read in cut(b"data: before\n\n" + body, size) for e in decoder.feed(read)]
    if size == 10_000_000 and body.startswith((b": ", b"xx")):  # nothing of an event, and read in one go
        pass
    assert decoder.overflowed
    assert events == [event("before")]
    assert decoder.feed(b"\n\ndata: after\n\n") == []
    assert decoder.flush() is None


@pytest.mark.parametrize("size", [1, 7, 10_000_000])
def test_an_event_at_the_limit_is_read(size: int) -> None:
    """Each event has the whole limit."""
    body = (b"data: " + b"x" * (LIMIT - 6) + b"\n\n") * 3 + b"data: 12345\n" * 160 + b"\n"
    decoder = EventDecoder(max_event_bytes=LIMIT)
    events = [e for read in cut(body, size) for e in decoder.feed(read)]
    assert not decoder.overflowed
    assert events == [event("x" * (LIMIT - 6))] * 3 + [event("\n".join(["12345"] * 160))]


FOREIGN_LINES: list[tuple[str, bytes, bytes]] = [
    ("none", b": ping\nid: 1\nevent: x\nretry: 3\nstatus: 200\ndata: a\n\nevent\nid\nretry\ndata\n\n", b""),
    ("blank", b"   \n\t\n\n", b""),
    ("a sentence", b": ping\n\nupstream is gone\n\n", b"upstream is gone"),
    ("an unknown field", b"Error: gone\n\n", b"Error: gone"),
    ("JSON", b'{"code": "C"}\r\n', b'{"code": "C"}'),
    ("the first of them", b"data: a\n\none\ntwo\n\n", b"one"),
    ("within an event", b"data: a\none\ndata: b\n\n", b"one"),
    ("without its end", b"data: a\n\nupstream is gone", b"upstream is gone"),
    ("half of a field's name", b"data: a\n\neven", b""),
    ("a field's name goes on", b"database is gone\n\n", b"database is gone"),
]


@pytest.mark.parametrize("size", [None, 1, 7])
@pytest.mark.parametrize(("body", "line"), [c[1:] for c in FOREIGN_LINES], ids=[c[0] for c in FOREIGN_LINES])
def test_the_first_unknown_line_is_kept(body: bytes, line: bytes, size: int | None) -> None:
    """It is no event, but may explain a failure."""
    decoder = EventDecoder()
    for read in cut(body, size or len(body)):
        decoder.feed(read)
    decoder.flush()
    assert decoder.unknown_line == line


def test_long_unknown_lines_are_truncated() -> None:
    """To 64 KiB, whatever the limit of an event."""
    decoder = EventDecoder()
    decoder.feed(b"x" * 200_000 + b"\n\n")
    assert decoder.unknown_line == b"x" * 65_536


def test_the_default_limit() -> None:
    """One event is at most 32 MiB."""
    assert MAX_EVENT_BYTES == EventDecoder().max_event_bytes == 32 * 1024 * 1024


def test_a_long_event_in_small_reads() -> None:
    """An event of 3 MB, such as an image, in reads of 1 KB."""
    data = bytes(range(32, 127)) * 33_000
    events = events_of(cut(b"data: " + data + b"\r\n\r\ndata: b\r\n\r\n", 1024))
    assert [len(e.data) for e in events] == [len(data), 1]
    assert events[0].data == data


ALPHABET = [b"data:", b"data: ", b"data", b"event:", b":HTTP_STATUS/400", b"a", b"\n", b"\r", b"\r\n", b" ", b":"]
ALPHABET += [b"\xef\xbb\xbf", b"\xe2\x80\xa8", "é".encode()]
BODIES = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(ALPHABET), max_size=40).map(b"".join))


@given(body=BODIES, cuts=st.lists(st.integers(0, 60), max_size=12))
@example(body=b"\xef\xbb\xbfdata:a\r\n\rdata:b\r\r\n", cuts=[1, 2, 10, 11, 12, 20, 21])
def test_any_bytes_in_any_reads(body: bytes, cuts: list[int]) -> None:
    """The events equal those of the whole body."""
    edges = [0, *sorted(min(at, len(body)) for at in cuts), len(body)]
    assert events_of([body[a:b] for a, b in pairwise(edges)]) == events_of([body])


TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)
TEXTS = st.lists(st.tuples(TEXT, st.sampled_from(["\n", "\r\n", "\r"])), max_size=8)


@given(TEXTS)
def test_round_trip(events: list[tuple[str, str]]) -> None:
    """Any text without CR and LF, with any line ending."""
    body = "".join(f"data: {text}{end}{end}" for text, end in events).encode()
    expected = [event(text) for text, _ in events]
    assert events_of(cut(body, 3)) == expected


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b"\n",
        b"data: a\n",
        b"data: a",
        b"event: error\n",
        b":HTTP_STATUS/400\n",
        b"id:1\r",
        b"\r",
        b"\xef",
        b"x" * 70,
    ],
)
@pytest.mark.parametrize(
    "read",
    [
        b"data: b\n\n",
        b"data: \n\n",
        b"data: b\r\n\n",
        b"data: b\n\ndata: c\n\n",
        b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:b\n\n",
        b"event:result\n:HTTP_STATUS/200\ndata: b\n\n",
        b"event:error\n:HTTP_STATUS/400\ndata:b\n\n",
        b"id:1\revent:result\n:HTTP_STATUS/200\ndata:b\n\n",
    ],
)
def test_a_read_of_one_complete_event(before: bytes, read: bytes) -> None:
    """Incomplete data before it, and the limit, count as in other reads."""
    for begun in (b"", b": opened\n\n"):
        alone, torn = EventDecoder(60), EventDecoder(60)
        events = [event for part in (begun, before, read, read) for event in alone.feed(part)]
        body = begun + before + read + read
        assert events == [event for at in range(len(body)) for event in torn.feed(body[at : at + 1])]
        assert alone.overflowed == torn.overflowed
