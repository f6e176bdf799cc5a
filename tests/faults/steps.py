"""Define the steps of a faulty server. A fault of the table is a tuple of steps."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tests.faults.dialects import PIECES, REQUEST_ID, Dialect, written
from tests.loopback import Exchange

Step: TypeAlias = Callable[[Exchange, Dialect], None]
Bytes: TypeAlias = "bytes | Callable[[Dialect], bytes]"

KEY = "sk-marked-0f4a17c0ffee0f4a17c0ffee"
"""The key of every model under test. No error and no log line may show it, whoever repeats it."""

EVENT_STREAM = {"Content-Type": "text/event-stream;charset=UTF-8", "x-request-id": REQUEST_ID}
JSON = {"Content-Type": "application/json", "x-request-id": REQUEST_ID}
HTML = {"Content-Type": "text/html"}
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def _bytes(data: Bytes, dialect: Dialect) -> bytes:
    return data if isinstance(data, bytes) else data(dialect)


# ---------------------------------------------------------------- single steps


def reset(exchange: Exchange, _: Dialect) -> None:
    exchange.reset()


def close(exchange: Exchange, _: Dialect) -> None:
    exchange.close()


def end(exchange: Exchange, _: Dialect) -> None:
    exchange.end()


def stall(exchange: Exchange, _: Dialect) -> None:
    """Send nothing until the client disconnects."""
    exchange.client_gone(20)


def hold(exchange: Exchange, _: Dialect) -> None:
    """Keep the connection open without sending anything."""
    exchange.client_gone(20)
    exchange.close()


def pause(exchange: Exchange, _: Dialect) -> None:
    """Wait until the client has read what was sent, so that a reset does not discard it."""
    exchange.wait(0.03)


def head(status: int = 200, headers: Mapping[str, str] = EVENT_STREAM, *, chunked: bool = True, **more: str) -> Step:
    lines = {**headers, **{name.replace("_", "-"): value for name, value in more.items()}}
    return lambda exchange, _: exchange.send_head(status, lines, chunked=chunked)


opened = head()


def raw(data: bytes) -> Step:
    """Send bytes without HTTP framing."""
    return lambda exchange, _: exchange.send(data)


def body(data: Bytes, *, step: int = 0, gap: float = 0.0) -> Step:
    """Send a part of the body, in HTTP chunks of `step` bytes with `gap` seconds before each."""

    def take(exchange: Exchange, dialect: Dialect) -> None:
        whole = _bytes(data, dialect)
        for at in range(0, len(whole), step or len(whole) or 1):
            if gap:
                exchange.wait(gap)
            exchange.send_chunk(whole[at : at + step] if step else whole)

    return take


def begun(dialect: Dialect) -> bytes:
    """Return the events before a fault in mid-stream."""
    return dialect.said(*PIECES[:2])


def rest(dialect: Dialect) -> bytes:
    return dialect.said(*PIECES[2:]) + dialect.last() + dialect.done


def streamed(
    *pieces: Bytes, step: int = 0, gap: float = 0.0, headers: Mapping[str, str] = EVENT_STREAM
) -> tuple[Step, ...]:
    """Send a complete stream with these text fragments."""
    return (head(200, headers), *(body(piece, step=step, gap=gap) for piece in pieces), end)


def replied(status: int, data: Bytes, headers: Mapping[str, str] = JSON) -> Step:
    """Send a whole response with a content-length."""

    def take(exchange: Exchange, dialect: Dialect) -> None:
        whole = _bytes(data, dialect)
        exchange.send_head(status, {**headers, "Content-Length": str(len(whole))})
        exchange.send(whole)
        exchange.end()

    return take


def refuses(
    status: int, compatible: str, native: str, message: str, *, request_id: bool = False, **headers: str
) -> tuple[Step, ...]:
    """An error of the service, with the code of each protocol, and the request ID in the header or only in the body."""
    lines = {"Content-Type": "application/json"} if request_id else JSON
    lines = lines | {name.replace("_", "-"): value for name, value in headers.items()}

    def said(dialect: Dialect) -> bytes:
        code = compatible if dialect.name == "openai" else native
        return written(dialect.error(code, message, request_id=REQUEST_ID if request_id else None))

    return (replied(status, said, lines),)


def error_event(status: int, compatible: str, native: str, message: str) -> Callable[[Dialect], bytes]:
    """Send the same error in a stream with HTTP status 200."""

    def said(dialect: Dialect) -> bytes:
        code = compatible if dialect.name == "openai" else native
        value: Any = dialect.error(code, message, request_id=REQUEST_ID)
        return dialect.event(written(value), status=status)

    return said


def event_of(data: bytes) -> Callable[[Dialect], bytes]:
    """An event with this data."""
    return lambda dialect: dialect.event(data)


def _wants_events(exchange: Exchange) -> bool:
    request = exchange.request
    return bool(json.loads(request.body).get("stream")) or request.headers.get("x-dashscope-sse") == "enable"


def good(exchange: Exchange, dialect: Dialect) -> None:
    """A correct answer, streamed or whole as requested."""
    if _wants_events(exchange):
        for step in streamed(Dialect.stream):
            step(exchange, dialect)
    else:
        replied(200, lambda it: written(it.whole("".join(PIECES))))(exchange, dialect)


def followed_by(extra: Bytes) -> Step:
    """A correct answer and, in the same write, unrequested bytes."""

    def take(exchange: Exchange, dialect: Dialect) -> None:
        wants_events = _wants_events(exchange)
        data = dialect.stream() if wants_events else written(dialect.whole("".join(PIECES)))
        kind = EVENT_STREAM if wants_events else JSON
        exchange.send(_http(data, kind) + _bytes(extra, dialect))
        exchange.client_gone(20)
        exchange.close()

    return take


def another_answer(dialect: Dialect) -> bytes:
    """A whole response to a request that was not sent."""
    return _http(dialect.stream("This is someone else's."), EVENT_STREAM)


def _http(data: bytes, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, "Content-Length": str(len(data))}.items())
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + data


def line_ends(ends: bytes) -> Callable[[Dialect], bytes]:
    return lambda dialect: dialect.stream().replace(b"\n", ends)


def zipped(dialect: Dialect) -> bytes:
    return gzip.compress(dialect.stream())


def zipped_in_part(dialect: Dialect) -> bytes:
    """The start of a gzip body with the content before a fault, and a truncated rest."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(begun(dialect)) + packer.flush(zlib.Z_SYNC_FLUSH) + b"\x05"
