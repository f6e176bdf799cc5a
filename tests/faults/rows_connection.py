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
    Fault("refused", (), error=errors.APIConnectionError, said="no connection", known=False, requests=0),
    Fault("reset before the head", (reset,), error=errors.APIConnectionError, known=False, requests=3),
    Fault("closed before the head", (close,), error=errors.APIConnectionError, known=False, requests=3),
    Fault("closed once before the head", (close,), text=TEXT, requests=2, then=good, pooled=True),
    Fault(
        "closed inside the head",
        (raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), pause, close),
        error=errors.APIConnectionError,
        known=False,
        requests=3,
    ),
    Fault("reset after the head", (opened, pause, reset), error=errors.APIConnectionError, wire="stream"),
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
        "reset after the finish, before the end",
        (opened, body(lambda it: begun(it) + it.said(*("", "")) + it.last(usage=False)), pause, reset),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "a whole answer cut by its connection",
        (head(200, JSON, Content_Length="4000"), body(b'{"id": "x", '), pause, close),
        error=errors.APIConnectionError,
    ),
    Fault(
        "silence before the head",
        (stall,),
        error=errors.APITimeoutError,
        said="sent no data for 0.4 s",
        known=False,
        settings=QUICK,
    ),
    Fault(
        "silence after the head",
        (opened, stall),
        error=errors.APITimeoutError,
        said="sent no data for 0.4 s",
        settings=QUICK,
        wire="stream",
    ),
    Fault(
        "silence in mid-stream",
        (opened, body(begun), stall),
        error=errors.APITimeoutError,
        said="sent no data for 0.4 s",
        partial=PARTIAL,
        settings=QUICK,
        wire="stream",
    ),
    Fault(
        "silence inside a whole answer",
        (head(200, JSON, Content_Length="4000"), body(b'{"id": "x", '), stall),
        error=errors.APITimeoutError,
        said="sent no data for 0.4 s",
        settings=QUICK,
    ),
    Fault(
        "slow, but never silent for too long",
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
        said="did not send an HTTP response",
        known=False,
    ),
    Fault(
        "a head without an end",
        (raw(b"HTTP/1.1 200 OK\r\n" + b"x-padding: 0123456789\r\n" * 10_000), hold),
        error=errors.ProtocolError,
        known=False,
    ),
    Fault("early hints first", (raw(b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n"), good), text=TEXT, pooled=True),
    Fault(
        "a body that ends with its connection",
        (head(chunked=False, Connection="close"), body(lambda it: it.stream()), close),
        text=TEXT,
        wire="stream",
    ),
    Fault(
        "a cut body that ends with its connection",
        (head(chunked=False, Connection="close"), body(lambda it: begun(it) + it.stream()[:70]), close),
        error=errors.StreamTruncatedError,
        partial=PARTIAL,
        wire="stream",
    ),
    *(
        Fault(f"{what} right behind the answer", (followed_by(extra),), text=TEXT)
        for what, extra in (
            ("another answer", another_answer),
            ("a line end", b"\r\n"),
            ("what is not HTTP", b"\0\xff junk"),
        )
    ),
    Fault(
        "open for ever after the end",
        (opened, body(lambda it: it.stream()), hold),
        text=TEXT,
        settings={"timeout": 60},
        wire="stream",
        only=("openai",),
    ),
    Fault(
        "open for ever after the finish",
        (opened, body(lambda it: it.said(*PIECES) + it.last()), hold),
        text=TEXT,
        settings=QUICK,
        wire="stream",
    ),
)
