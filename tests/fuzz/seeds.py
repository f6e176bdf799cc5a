"""Write the initial corpus for fuzzing: `python -m tests.fuzz.seeds`. Each file is one response."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.faults.dialects import DIALECTS, PIECES, Dialect, written
from tests.fuzz.reading import CORPUS

STREAM, WHOLE, ERROR = 0, 4, 6


def seeds(dialect: Dialect) -> Iterator[tuple[str, int, bytes]]:
    """Yield a name, the kind of response, and the bytes."""
    begun, done = dialect.said(*PIECES[:2]), dialect.last() + dialect.done
    yield "stream", STREAM, dialect.stream()
    yield "stream-torn", STREAM | 3 << 3, dialect.stream()
    yield "stream-crlf", STREAM, dialect.stream().replace(b"\n", b"\r\n")
    yield "stream-cr-bom", STREAM, b"\xef\xbb\xbf" + dialect.stream().replace(b"\n", b"\r")
    yield "comments", STREAM, b": ping\n\n" + begun + b"data:\n\ndata\n\nretry: 5\n" + done
    yield "cut", STREAM, begun + dialect.stream()[:40]
    yield "error-event", STREAM, begun + dialect.event(written(dialect.error("Throttling", "Busy.")), status=429)
    yield "not-json", STREAM, begun + dialect.event(b'{"choices": [')
    yield "half-an-emoji", STREAM, dialect.said(r"X").replace(b"X", rb"\ud83d") + dialect.said("Y") + done
    yield "deep", STREAM, dialect.event(b'{"choices": ' + b"[" * 300 + b"]" * 300 + b"}")
    yield "calls", STREAM, calls(dialect) + done
    yield "two-choices", STREAM, dialect.event(written(dialect.chunk("a", index=1))) + done
    yield "whole", WHOLE, written(dialect.whole("hello"))
    yield "whole-unfinished", WHOLE, written(dialect.whole("hello", finish=None))
    yield "page", WHOLE, b"<html>Log in</html>"
    yield "error", ERROR, written(dialect.error("InvalidApiKey", "No.", request_id="r"))
    yield "error-as-event", ERROR, dialect.event(written(dialect.error("x", "No.")), status=400)
    yield "error-string", ERROR, b'{"error": "no"}'


def calls(dialect: Dialect) -> bytes:
    """Return fragments of two unusual tool calls."""
    fragments = [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "id": "call_1", "function": {"name": "", "arguments": '{"a": '}},
        {"index": 1, "id": "call_2", "function": {"name": "g", "arguments": "{}"}},
        {"index": 0, "id": "", "function": {"arguments": "1}"}},
        {"index": -1, "id": None, "function": {}},
    ]
    found = b""
    for fragment in fragments:
        event = json.loads(written(dialect.chunk()))
        choice = (event.get("output") or event)["choices"][0]
        (choice.get("delta") or choice.get("message")).update(tool_calls=[fragment])
        found += dialect.event(written(event))
    return found


def main() -> None:
    """Write all seeds, by protocol."""
    CORPUS.mkdir(exist_ok=True)
    for at, (protocol, dialect) in enumerate(DIALECTS.items()):
        for name, how, data in seeds(dialect):
            (CORPUS / f"{protocol}-{name}").write_bytes(bytes([how | at]) + data)


if __name__ == "__main__":
    main()
