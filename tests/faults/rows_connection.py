"""Rows of the table of faults: the connection."""

from __future__ import annotations

from modelstudio_core import errors
from tests.faults.dialects import PARTIAL, PIECES, TEXT
from tests.faults.fault import QUICK, Fault
from tests.faults.steps import (
    JSON,
    another_answer,
    begun,
    body,
    close,
    followed_by,
    good,
    head,
    hold,
    opened,
    pause,
    raw,
    reset,
    stall,
    streamed,
)

CONNECTION = (
    Fault("refused", (), error=errors.APIConnectionError, message="no connection", has_request_id=False, requests=0),
    Fault(
        "reset before the response headers", (reset,), error=errors.APIConnectionError, has_request_id=False, requests=3
    ),
    Fault(
        "closed before the response headers",
        (close,),
        error=errors.APIConnectionError,
        has_request_id=False,
        requests=3,
    ),
    Fault("closed once before the response headers", (close,), text=TEXT, requests=2, last_step=good, pooled=True),
    Fault(
        "closed inside the response headers",
        (raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), pause, close),
        error=errors.APIConnectionError,
        has_request_id=False,
        requests=3,
    ),
    Fault("reset after the response headers", (opened, pause, reset), error=errors.APIConnectionError, wire="stream"),
    Fault(
        "reset in mid-stream",
        (opened, body(begun), pause, reset),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "closed in mid-stream",
        (opened, body(begun), pause, close),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "closed inside an HTTP chunk",
        (opened, body(begun), raw(b"400\r\ndata: {"), pause, close),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an HTTP chunk without a size",
        (opened, body(begun), raw(b"no size\r\n"), hold),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "reset after the finish reason, before the end of the body",
        (opened, body(lambda it: begun(it) + it.said(*("", "")) + it.last(usage=False)), pause, reset),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "a JSON response truncated by a closed connection",
        (head(200, JSON, Content_Length="4000"), body(b'{"id": "x", '), pause, close),
        error=errors.APIConnectionError,
    ),
    Fault(
        "no data before the response headers",
        (stall,),
        error=errors.APITimeoutError,
        message="sent no data for 0.4 s",
        has_request_id=False,
        settings=QUICK,
    ),
    Fault(
        "no data after the response headers",
        (opened, stall),
        error=errors.APITimeoutError,
        message="sent no data for 0.4 s",
        settings=QUICK,
        wire="stream",
    ),
    Fault(
        "no data in mid-stream",
        (opened, body(begun), stall),
        error=errors.APITimeoutError,
        message="sent no data for 0.4 s",
        partial=PARTIAL,
        settings=QUICK,
        wire="stream",
    ),
    Fault(
        "no data inside a JSON response",
        (head(200, JSON, Content_Length="4000"), body(b'{"id": "x", '), stall),
        error=errors.APITimeoutError,
        message="sent no data for 0.4 s",
        settings=QUICK,
    ),
    Fault(
        "slow, but within the read timeout",
        streamed(lambda it: it.stream(), step=150, gap=0.07),
        text=TEXT,
        settings={"timeout": 0.5},
        pooled=True,
        wire="stream",
    ),
    Fault(
        "not HTTP",
        (raw(b"220 mail.example ESMTP\r\n\r\n"), hold),
        error=errors.ProtocolError,
        message="did not send an HTTP response",
        has_request_id=False,
    ),
    Fault(
        "response headers without an end",
        (raw(b"HTTP/1.1 200 OK\r\n" + b"x-padding: 0123456789\r\n" * 10_000), hold),
        error=errors.ProtocolError,
        has_request_id=False,
    ),
    Fault(
        "103 Early Hints first", (raw(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"), good), text=TEXT, pooled=True
    ),
    Fault(
        "a body without a length, ended by closing the connection",
        (head(chunked=False, Connection="close"), body(lambda it: it.stream()), close),
        text=TEXT,
        wire="stream",
    ),
    Fault(
        "a truncated body without a length",
        (head(chunked=False, Connection="close"), body(lambda it: begun(it) + it.stream()[:70]), close),
        error=errors.StreamTruncatedError,
        partial=PARTIAL,
        wire="stream",
    ),
    *(
        Fault(f"{what} after the response", (followed_by(extra),), text=TEXT)
        for what, extra in (
            ("another response", another_answer),
            ("a line end", b"\r\n"),
            ("garbage bytes", b"\0\xff junk"),
        )
    ),
    Fault(
        "connection left open after the end",
        (opened, body(lambda it: it.stream()), hold),
        text=TEXT,
        settings={"timeout": 60},
        wire="stream",
        protocols=("openai",),
    ),
    Fault(
        "connection left open after the finish reason",
        (opened, body(lambda it: it.said(*PIECES) + it.last()), hold),
        text=TEXT,
        settings=QUICK,
        wire="stream",
    ),
)
