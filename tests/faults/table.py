"""The table of faults, as data: what the server does, and what then holds in each of the ways of asking.

Each row runs in every way and through both protocols; one row in one way through one protocol is a cell. A row that is
about a stream streams on the wire under the ways that give a whole answer, too.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from modelstudio_core import errors
from tests.faults.dialects import DIALECTS, PARTIAL, PIECES, TEXT, Dialect, written
from tests.faults.steps import (
    EVENT_STREAM,
    HTML,
    JSON,
    KEY,
    PAGE,
    Step,
    another_answer,
    begun,
    body,
    close,
    end,
    error_event,
    event_of,
    followed_by,
    good,
    head,
    hold,
    line_ends,
    opened,
    pause,
    raw,
    refuses,
    replied,
    reset,
    rest,
    stall,
    streamed,
    zipped,
    zipped_in_part,
)
from tests.faults.ways import WAYS, Way

DEADLINE = 5.0
"""Seconds that a cell may take, waits between tries left out. Most take hundredths; the machine may be busy."""


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        name: what the server does.
        steps: how it answers each request of the faulty call.
        text: what the answer is, where there is one.
        error: the class of the error, where there is one.
        status, code, said: of the error; `code` by protocol, `said` is in its message.
        known: whether result or error has the request id.
        partial: the text that the error brings along.
        handed: whether that was handed on before the error, where pieces are.
        requests: how many were made.
        waits: seconds before each further one, where the server says them.
        pooled: whether the connection serves the next call.
        wire: "stream" if the wire has to stream in every way.
        settings: of the model.
        then: how the server answers the last of the requests, if otherwise.
        only: the protocols that have this fault at all.
    """

    name: str
    steps: Sequence[Step]
    text: str | None = None
    error: type[errors.ModelStudioError] | None = None
    status: int | None = None
    code: Mapping[str, str] | None = None
    said: str = ""
    known: bool = True
    partial: str | None = None
    handed: bool = True
    requests: int = 1
    waits: Sequence[float] | None = None
    pooled: bool = False
    wire: str = "any"
    settings: Mapping[str, Any] = field(default_factory=dict)
    then: Step | None = None
    only: Sequence[str] = tuple(DIALECTS)


QUICK = {"timeout": 0.4}
SMALL = {"max_event_bytes": 20_000}
BUSY = ("rate limit", "Requests rate limit exceeded, please try again later.")
ESCAPED_KEY = "".join(f"\\u{ord(character):04x}" for character in KEY).encode()
NO_DATE = f"Wed, 21 Oct 2026 07:28:00 +{'9' * 15}"
FILTERED = "Output data may contain inappropriate content."


def _codes(compatible: str, native: str) -> Mapping[str, str]:
    return {"openai": compatible, "dashscope": native}


def _status(
    name: str,
    status: int,
    compatible: str,
    native: str,
    message: str,
    error: type[errors.ModelStudioError],
    *,
    tries: int = 1,
    **more: Any,
) -> Fault:
    """A row for an error of the service, the same in both protocols."""
    return Fault(
        name,
        refuses(status, compatible, native, message),
        error=error,
        status=status,
        code=_codes(compatible, native),
        said=message,
        requests=tries,
        pooled=True,
        **more,
    )


# ---------------------------------------------------------------- the connection

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

# ---------------------------------------------------------------- what the service says


def _ended_by_error(dialect: Dialect) -> bytes:
    """An event whose choice has an error beside its finish reason."""
    value = dialect.chunk(finish="error")
    value.get("output", value)["choices"][0]["error"] = {"code": 502, "message": "The upstream is gone."}
    return dialect.event(written(value))


SERVICE = (
    _status(
        "400",
        400,
        "invalid_parameter_error",
        "InvalidParameter",
        "Range of top_p should be (0.0, 1.0]",
        errors.BadRequestError,
    ),
    _status(
        "400, context length",
        400,
        "invalid_parameter_error",
        "InternalError.Algo.InvalidParameter",
        "Range of input length should be [1, 129024]",
        errors.ContextLengthError,
    ),
    _status(
        "400, content filter",
        400,
        "data_inspection_failed",
        "DataInspectionFailed",
        "Input data may contain inappropriate content.",
        errors.ContentFilterError,
    ),
    _status(
        "400, arrearage",
        400,
        "Arrearage",
        "Arrearage",
        "Access denied, please make sure your account is in good standing.",
        errors.QuotaError,
    ),
    _status("401", 401, "invalid_api_key", "InvalidApiKey", "Incorrect API key provided.", errors.AuthenticationError),
    Fault(
        "401 that repeats the key",
        refuses(401, "invalid_api_key", "InvalidApiKey", f"Incorrect API key provided: {KEY}."),
        error=errors.AuthenticationError,
        status=401,
        code=_codes("invalid_api_key", "InvalidApiKey"),
        said="provided: [redacted].",
        pooled=True,
    ),
    Fault(
        "401 without a body",
        (replied(401, b"", {"x-request-id": JSON["x-request-id"]}),),
        error=errors.AuthenticationError,
        status=401,
        said="127.0.0.1",
        pooled=True,
    ),
    _status("403", 403, "access_denied", "Model.AccessDenied", "Model access denied.", errors.PermissionDeniedError),
    _status(
        "403, free tier spent",
        403,
        "AllocationQuota.FreeTierOnly",
        "AllocationQuota.FreeTierOnly",
        "The free tier of the model has been exhausted.",
        errors.QuotaError,
    ),
    _status(
        "404",
        404,
        "model_not_found",
        "ModelNotFound",
        "The model qwen-plus does not exist or you do not have access to it.",
        errors.NotFoundError,
    ),
    _status("408", 408, "request_timeout_error", "RequestTimedOut", "No request came.", errors.APIStatusError, tries=3),
    _status("409", 409, "conflict", "Conflict", "Try again.", errors.APIStatusError, tries=3),
    Fault(
        "413 of a proxy",
        (replied(413, b"<html>413 Request Entity Too Large</html>", HTML),),
        error=errors.BadRequestError,
        status=413,
        known=False,
        pooled=True,
    ),
    _status("429, requests", 429, "limit_requests", "Throttling.RateQuota", BUSY[1], errors.RateLimitError, tries=3),
    _status(
        "429, burst",
        429,
        "limit_burst_rate",
        "Throttling.BurstRate",
        "Request rate increased too quickly.",
        errors.RateLimitError,
        tries=3,
    ),
    _status(
        "429, tokens a minute",
        429,
        "insufficient_quota",
        "Throttling.AllocationQuota",
        "Allocated quota exceeded, please increase your quota limit.",
        errors.RateLimitError,
        tries=3,
    ),
    _status(
        "429, free quota spent",
        429,
        "insufficient_quota",
        "Throttling.AllocationQuota",
        "Free allocated quota exceeded.",
        errors.QuotaError,
    ),
    _status(
        "429, bill overdue",
        429,
        "PostpaidBillOverdue",
        "PostpaidBillOverdue",
        "The postpaid bill is overdue.",
        errors.QuotaError,
    ),
    _status(
        "429, not bought",
        429,
        "CommodityNotPurchased",
        "CommodityNotPurchased",
        "Commodity has not purchased yet.",
        errors.QuotaError,
    ),
    Fault(
        "429 with Retry-After",
        refuses(429, "limit_requests", "Throttling", BUSY[1], retry_after="3"),
        error=errors.RateLimitError,
        status=429,
        requests=3,
        waits=(3.0, 3.0),
        pooled=True,
    ),
    Fault(
        "429 with a Retry-After of an hour",
        refuses(429, "limit_requests", "Throttling", BUSY[1], retry_after="3600"),
        error=errors.RateLimitError,
        status=429,
        requests=3,
        waits=(8.0, 8.0),
        pooled=True,
    ),
    Fault(
        "429 once",
        refuses(429, "limit_requests", "Throttling", BUSY[1], retry_after_ms="20"),
        text=TEXT,
        requests=2,
        waits=(0.02,),
        then=good,
        pooled=True,
    ),
    Fault(
        "429, retries forbidden",
        refuses(429, "limit_requests", "Throttling", BUSY[1]),
        error=errors.RateLimitError,
        status=429,
        settings={"max_retries": 0},
        pooled=True,
    ),
    _status(
        "500", 500, "internal_error", "InternalError", "An internal error has occured.", errors.ServerError, tries=3
    ),
    Fault(
        "500 twice",
        refuses(500, "internal_error", "InternalError", "An internal error has occured."),
        text=TEXT,
        requests=3,
        then=good,
        pooled=True,
    ),
    Fault(
        "502 with a page",
        (replied(502, PAGE, HTML),),
        error=errors.ServerError,
        status=502,
        said="Bad Gateway",
        known=False,
        requests=3,
        pooled=True,
    ),
    _status(
        "503",
        503,
        "ModelUnavailable",
        "ModelUnavailable",
        "Model is unavailable, please try again later.",
        errors.ServerError,
        tries=3,
    ),
    Fault(
        "504 without a body",
        (replied(504, b"", {}),),
        error=errors.ServerError,
        status=504,
        known=False,
        requests=3,
        pooled=True,
    ),
    Fault(
        "an error whose body stalls",
        (head(400, JSON), body(b'{"error": '), stall),
        error=errors.BadRequestError,
        status=400,
        settings=QUICK,
    ),
    Fault(
        "an unpaid bill whose body does not end",
        (
            head(429, JSON),
            body(lambda it: written(it.error("Arrearage", "Please pay."))),
            stall,
        ),
        error=errors.QuotaError,
        status=429,
        code=_codes("Arrearage", "Arrearage"),
        said="Please pay.",
        settings=QUICK,
    ),
    Fault(
        "an unpaid bill whose body is cut",
        (head(429, JSON, Content_Length="4000"), body(lambda it: written(it.error("Arrearage", "Please pay."))), reset),
        error=errors.QuotaError,
        status=429,
        code=_codes("Arrearage", "Arrearage"),
        said="Please pay.",
    ),
    Fault(
        "an error with an endless body",
        (head(500, JSON), *(body(b"x" * 65536),) * 40, hold),
        error=errors.ServerError,
        status=500,
        settings={"max_retries": 0},
    ),
    Fault(
        "the request id in the body only",
        refuses(400, "invalid_parameter_error", "InvalidParameter", "No.", request_id=True),
        error=errors.BadRequestError,
        status=400,
        pooled=True,
    ),
    Fault(
        "an error in a 200",
        (replied(200, lambda it: written(it.error("invalid_parameter_error", "No."))),),
        error=errors.BadRequestError,
        said="No.",
        pooled=True,
    ),
    *(
        Fault(
            f"{status} to another host",
            (replied(status, b"", {**JSON, "Location": "http://localhost.invalid/v1"}),),
            error=errors.APIStatusError,
            status=status,
            said="localhost.invalid",
            pooled=True,
        )
        for status in (301, 302, 303, 307, 308)
    ),
    Fault(
        "moderation in mid-stream",
        streamed(begun, error_event(400, "data_inspection_failed", "DataInspectionFailed", FILTERED)),
        error=errors.ContentFilterError,
        code=_codes("data_inspection_failed", "DataInspectionFailed"),
        said=FILTERED,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "throttled in mid-stream",
        streamed(begun, error_event(429, "limit_requests", "Throttling.RateQuota", BUSY[1])),
        error=errors.RateLimitError,
        code=_codes("limit_requests", "Throttling.RateQuota"),
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "throttled by the first event",
        streamed(error_event(429, "limit_requests", "Throttling.RateQuota", BUSY[1])),
        error=errors.RateLimitError,
        code=_codes("limit_requests", "Throttling.RateQuota"),
        requests=3,
        wire="stream",
    ),
    Fault(
        "an error event that repeats the key",
        streamed(begun, error_event(401, "invalid_api_key", "InvalidApiKey", f"Expired: {KEY}")),
        error=errors.AuthenticationError,
        said="Expired: [redacted]",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "401 that repeats the key in escapes",
        (replied(401, written({"error": {"message": "x"}}).replace(b"x", b"Key: " + ESCAPED_KEY)),),
        error=errors.AuthenticationError,
        status=401,
        said="Key: [redacted]",
        pooled=True,
    ),
    Fault(
        "429 with a Retry-After of no zone",
        refuses(429, "limit_requests", "Throttling", BUSY[1], retry_after=NO_DATE, date=NO_DATE),
        error=errors.RateLimitError,
        status=429,
        requests=3,
        pooled=True,
    ),
    Fault(
        "an error event of plain text",
        streamed(begun, b"event: error\n:HTTP_STATUS/503\ndata: Overloaded, try later.\n\n"),
        error=errors.ServerError,
        status=503,
        said="Overloaded, try later.",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an error event without a word",
        streamed(begun, b"event: error\n\n"),
        error=errors.APIStatusError,
        said="an error event without a message",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an error in an error",
        (replied(400, b'{"error": {"error": {"message": "Range of input length should be [1, 9]"}}}'),),
        error=errors.ContextLengthError,
        status=400,
        said="Range of input length",
        pooled=True,
    ),
    Fault(
        "429 that is about money, in a form of its own",
        (replied(429, b'{"code": "Arrearage", "msg": "Pay your bill."}'),),
        error=errors.QuotaError,
        status=429,
        code=_codes("Arrearage", "Arrearage"),
        said="Pay your bill.",
        pooled=True,
    ),
    Fault(
        "an error whose body was cut off",
        (replied(400, b'{"error": {"code": "Arrearage", "message": "Your acc'),),
        error=errors.QuotaError,
        status=400,
        code=_codes("Arrearage", "Arrearage"),
        said="Your acc",
        pooled=True,
    ),
    Fault(
        "an error with bytes that are no UTF-8",
        (replied(400, b'{"code": "Arrearage", "message": "Pay \xff."}'),),
        error=errors.QuotaError,
        status=400,
        code=_codes("Arrearage", "Arrearage"),
        said="Pay \ufffd.",
        pooled=True,
    ),
    Fault(
        "a choice that ends with an error",
        streamed(begun, _ended_by_error, lambda it: it.done),
        error=errors.ServerError,
        code=_codes("502", "502"),
        said="The upstream is gone.",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an error in a bare line of a stream",
        streamed(begun, b'{"code": "Throttling", "message": "Too many requests."}\n\n'),
        error=errors.RateLimitError,
        code=_codes("Throttling", "Throttling"),
        said="Too many requests.",
        partial=PARTIAL,
        pooled=True,
        wire="stream",
    ),
    Fault(
        "a bare sentence in a stream",
        streamed(begun, b"The upstream is gone.\n\n"),
        error=errors.StreamTruncatedError,
        said="The upstream is gone.",
        partial=PARTIAL,
        pooled=True,
        wire="stream",
    ),
)

# ---------------------------------------------------------------- answers that are none, or not whole


def _other_choice(dialect: Dialect) -> bytes:
    """Two answers, interleaved, where one was asked for."""
    events = []
    for number, text in enumerate(("The sky ", "is blue", " ", "because 光 scatters.")):
        events += [dialect.chunk(text, index=0), dialect.chunk(f"no {number}", index=1)]
    events.append(dialect.chunk(finish="stop", index=1))
    return b"".join(dialect.event(written(event)) for event in events) + dialect.last() + dialect.done


def _doubled(dialect: Dialect) -> bytes:
    return begun(dialect) + rest(dialect).removesuffix(dialect.done) + dialect.last() + dialect.done


def _deep(dialect: Dialect) -> bytes:
    return dialect.event(b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")


@cache
def _swollen(dialect: Dialect) -> bytes:
    """What has come when a fault strikes and 64 MB of one line, packed."""
    return gzip.compress(begun(dialect) + b"data: " + b" " * 64 * 1024 * 1024)


def _long(size: int) -> Any:
    """A stream in which one event is this long."""

    def stream(dialect: Dialect) -> bytes:
        return begun(dialect) + dialect.said("x" * size) + dialect.last() + dialect.done

    return stream


def _without_token(value: Any) -> Any:
    """Return the answer, or its event, with a log probability that names no token."""
    value.get("output", value)["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}]}
    return value


def _negative(body: bytes) -> bytes:
    return body.replace(b'"total_tokens": 12', b'"total_tokens": -1')


ANSWERS = (
    Fault(
        "a clean end without a finish",
        streamed(begun),
        error=errors.StreamTruncatedError,
        partial=PARTIAL,
        pooled=True,
        wire="stream",
    ),
    Fault(
        "[DONE] without a finish",
        streamed(begun, lambda it: it.done),
        error=errors.StreamTruncatedError,
        partial=PARTIAL,
        wire="stream",
        only=("openai",),
    ),
    Fault(
        "a whole answer without a finish",
        (replied(200, lambda it: written(it.whole(PARTIAL, finish=None))),),
        error=errors.StreamTruncatedError,
        partial=PARTIAL,
        handed=False,
        pooled=True,
    ),
    Fault(
        "a stream without an event",
        streamed(),
        error=errors.StreamTruncatedError,
        requests=3,
        wire="stream",
        pooled=True,
    ),
    Fault("no body", (replied(200, b"", JSON),), error=errors.ProtocolError, pooled=True),
    Fault(
        "204",
        (head(204, {"x-request-id": JSON["x-request-id"]}, chunked=False), end),
        error=errors.StreamTruncatedError,
        requests=3,
        wire="stream",
        pooled=True,
    ),
    Fault("a page", (replied(200, PAGE, HTML),), error=errors.ProtocolError, said="<html>", known=False, pooled=True),
    Fault("a page in place of events", streamed(PAGE), error=errors.ProtocolError, pooled=True, wire="stream"),
    *(
        Fault(
            f"a sentence in place of events, {step or 'all'} bytes at a time",
            streamed(b"upstream connect error", step=step),
            error=errors.ProtocolError,
            said="'upstream connect error'",
            pooled=True,
            wire="stream",
        )
        for step in (0, 3)
    ),
    Fault(
        "an error in place of events, after blanks",
        streamed(b"\n", b" \r\n", lambda it: written(it.error("invalid_parameter_error", "No."))),
        error=errors.BadRequestError,
        said="No.",
        pooled=True,
        wire="stream",
    ),
    Fault("no choices", (replied(200, b'{"object": "x"}'),), error=errors.ProtocolError, pooled=True),
    Fault("a list", (replied(200, b"[1, 2]"),), error=errors.ProtocolError, pooled=True),
    Fault(
        "an event that is no JSON",
        streamed(begun, event_of(b'{"choices": [{"del')),
        error=errors.ProtocolError,
        said="not JSON",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an event that is no UTF-8",
        streamed(begun, event_of(b'{"choices": "\xff\xfe"}')),
        error=errors.ProtocolError,
        said="not JSON",
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "an event of another shape",
        streamed(begun, event_of(b'{"choices": {"0": "x"}, "output": []}')),
        error=errors.ProtocolError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault("JSON 200,000 deep", streamed(begun, _deep), error=errors.ProtocolError, partial=PARTIAL, wire="stream"),
    Fault(
        "a line that never ends",
        (opened, body(begun), *(body(b"data: " + b"x" * 4096),) * 6, hold),
        error=errors.ProtocolError,
        said="max_event_bytes",
        partial=PARTIAL,
        settings=SMALL,
        wire="stream",
    ),
    Fault(
        "a comment that never ends",
        (opened, body(begun), *(body(b": " + b"x" * 4096),) * 6, hold),
        error=errors.ProtocolError,
        said="max_event_bytes",
        partial=PARTIAL,
        settings=SMALL,
        wire="stream",
    ),
    Fault(
        "an event over the limit",
        streamed(_long(21_000)),
        error=errors.ProtocolError,
        said="max_event_bytes",
        partial=PARTIAL,
        settings=SMALL,
        wire="stream",
    ),
    Fault(
        "an event of 8 MB",
        streamed(_long(8_000_000)),
        text=PARTIAL + "x" * 8_000_000,
        pooled=True,
        wire="stream",
    ),
    Fault(
        "a whole answer over the limit",
        (replied(200, lambda it: written(it.whole("x" * 21_000))),),
        error=errors.ProtocolError,
        settings=SMALL,
    ),
    *(
        Fault(
            name,
            streamed(data, headers={**EVENT_STREAM, "Content-Encoding": coding}, step=step),
            error=errors.ProtocolError,
            said=f"content-encoding {coding!r}",
            wire="stream",
        )
        for name, data, coding, step in (
            ("gzip", zipped, "gzip", 0),
            ("gzip, torn", zipped, "gzip", 3),
            ("gzip of two members", lambda it: gzip.compress(begun(it)) + gzip.compress(rest(it)), "gzip", 0),
            ("gzip cut off", zipped_in_part, "gzip", 0),
            ("a body that is not gzip, but said to be", Dialect.stream, "gzip", 0),
            ("packed, a line of 64 MB", _swollen, "gzip", 0),
            ("packed twice", lambda it: gzip.compress(zipped(it)), "gzip, gzip", 0),
            ("a content-encoding that is none", Dialect.stream, "utf-8", 0),
        )
    ),
    Fault(
        "packed, a whole answer of 64 MB",
        (replied(200, _swollen, {**JSON, "Content-Encoding": "gzip"}),),
        error=errors.ProtocolError,
        said="content-encoding 'gzip'",
    ),
    Fault(
        "packed, an error of 64 MB",
        (replied(400, _swollen, {**JSON, "Content-Encoding": "gzip"}),),
        error=errors.BadRequestError,
        status=400,
        said="content-encoding 'gzip'",
    ),
    Fault(
        "packed as was not asked for",
        (replied(200, b"\x0b\x02\x80", {**JSON, "Content-Encoding": "br"}),),
        error=errors.ProtocolError,
        said="content-encoding 'br'",
    ),
    Fault(
        "a foreign event, then the end",
        streamed(begun, event_of(b'{"detail": "boom"}')),
        error=errors.StreamTruncatedError,
        said="boom",
        partial=PARTIAL,
        pooled=True,
        wire="stream",
    ),
    Fault(
        "a foreign event, then a reset",
        (opened, body(begun), body(event_of(b'{"detail": "boom"}')), pause, reset),
        error=errors.APIConnectionError,
        partial=PARTIAL,
        wire="stream",
    ),
    Fault(
        "a foreign event, then silence",
        (opened, body(begun), body(event_of(b'{"detail": "boom"}')), stall),
        error=errors.APITimeoutError,
        said="sent no data for 0.4 s",
        partial=PARTIAL,
        settings=QUICK,
        wire="stream",
    ),
    Fault(
        "a log probability without its token",
        streamed(begun, lambda it: it.event(written(_without_token(it.chunk()))), rest),
        text=TEXT,
        pooled=True,
        wire="stream",
    ),
    Fault(
        "a whole answer with a log probability without its token",
        (replied(200, lambda it: written(_without_token(it.whole(TEXT)))),),
        text=TEXT,
        pooled=True,
    ),
    Fault(
        "a negative number of tokens",
        streamed(lambda it: _negative(it.stream())),
        text=TEXT,
        pooled=True,
        wire="stream",
        only=("openai",),
    ),
    Fault(
        "a whole answer with a negative number of tokens",
        (replied(200, lambda it: _negative(written(it.whole(TEXT)))),),
        text=TEXT,
        pooled=True,
    ),
)

# ---------------------------------------------------------------- odd, but right

FOREIGN = (b"null", b"{}", b'{"type": "ping"}', b'{"detail": "boom"}')


def _right(name: str, *pieces: Any, **more: Any) -> Fault:
    options = {key: more.pop(key) for key in ("step", "headers") if key in more}
    return Fault(name, streamed(*pieces, **options), text=TEXT, pooled=True, wire="stream", **more)


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

TABLE: Mapping[str, tuple[Fault, ...]] = {
    "the connection": CONNECTION,
    "what the service says": SERVICE,
    "answers that are none, or not whole": ANSWERS,
    "odd, but right": ODD,
}

Cell = tuple[Fault, Dialect, Way]


def cells(faults: Sequence[Fault]) -> list[Cell]:
    """Every fault in every way through every protocol that has it."""
    return [(fault, DIALECTS[protocol], way) for fault in faults for protocol in fault.only for way in WAYS]
