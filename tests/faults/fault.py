"""A row of the table of faults, and helpers shared by rows."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from modelstudio_core import errors
from tests.faults.dialects import DIALECTS, TEXT, Dialect, written
from tests.faults.steps import (
    KEY,
    Step,
    begun,
    refuses,
    rest,
    streamed,
)


@dataclass(frozen=True)
class Fault:
    """A row.

    Attributes:
        name: what the server does.
        steps: how it answers each request of the faulty call.
        text: the text of the answer, if the call succeeds.
        error: the class of the error, if the call fails.
        status, code, message: of the error; `code` by protocol, `message` is a part of its message.
        has_request_id: whether the result or error has the request id.
        partial: the text of the error's partial result.
        delivered: whether streaming methods return that text before the error.
        requests: number of requests sent.
        waits: seconds before each retry, if the server sets them.
        pooled: whether the connection is reused for the next call.
        wire: "stream" if all methods use a streaming request.
        settings: arguments of the model object.
        last_step: how the server answers the last request, if differently.
        protocols: the protocols in which this fault exists.
    """

    name: str
    steps: Sequence[Step]
    text: str | None = None
    error: type[errors.ModelStudioError] | None = None
    status: int | None = None
    code: Mapping[str, str] | None = None
    message: str = ""
    has_request_id: bool = True
    partial: str | None = None
    delivered: bool = True
    requests: int = 1
    waits: Sequence[float] | None = None
    pooled: bool = False
    wire: str = "any"
    settings: Mapping[str, Any] = field(default_factory=dict)
    last_step: Step | None = None
    protocols: Sequence[str] = tuple(DIALECTS)


QUICK = {"timeout": 0.4}
SMALL = {"max_event_bytes": 20_000}
BUSY = ("rate limit", "Requests rate limit exceeded, please try again later.")
ESCAPED_KEY = "".join(f"\\u{ord(character):04x}" for character in KEY).encode()
NO_DATE = f"Wed, 21 Oct 2026 07:28:00 +{'9' * 15}"
FILTERED = "Output data may contain inappropriate content."


def codes(compatible: str, native: str) -> Mapping[str, str]:
    return {"openai": compatible, "dashscope": native}


def service_error(
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
    """Return a row for an error of the service, the same in both protocols."""
    return Fault(
        name,
        refuses(status, compatible, native, message),
        error=error,
        status=status,
        code=codes(compatible, native),
        message=message,
        requests=tries,
        pooled=True,
        **more,
    )


def ended_by_error(dialect: Dialect) -> bytes:
    """Return an event whose choice has an error beside its finish reason."""
    value = dialect.chunk(finish="error")
    value.get("output", value)["choices"][0]["error"] = {"code": 502, "message": "The upstream is gone."}
    return dialect.event(written(value))


def other_choice(dialect: Dialect) -> bytes:
    """Return two interleaved choices, although one was requested."""
    events = []
    for number, text in enumerate(("The sky ", "is blue", " ", "because 光 scatters.")):
        events += [dialect.chunk(text, index=0), dialect.chunk(f"no {number}", index=1)]
    events.append(dialect.chunk(finish="stop", index=1))
    return b"".join(dialect.event(written(event)) for event in events) + dialect.last() + dialect.done


def doubled(dialect: Dialect) -> bytes:
    return begun(dialect) + rest(dialect).removesuffix(dialect.done) + dialect.last() + dialect.done


def deep(dialect: Dialect) -> bytes:
    return dialect.event(b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")


@cache
def swollen(dialect: Dialect) -> bytes:
    """Return the beginning of a stream and a line of 64 MB, compressed."""
    return gzip.compress(begun(dialect) + b"data: " + b" " * 64 * 1024 * 1024)


def long(size: int) -> Any:
    """Return a stream with an event of this size."""

    def stream(dialect: Dialect) -> bytes:
        return begun(dialect) + dialect.said("x" * size) + dialect.last() + dialect.done

    return stream


def without_token(value: Any) -> Any:
    """Return the response, or its event, with a log probability without a token."""
    value.get("output", value)["choices"][0]["logprobs"] = {"content": [{"logprob": -0.5}]}
    return value


def negative(body: bytes) -> bytes:
    return body.replace(b'"total_tokens": 12', b'"total_tokens": -1')


FOREIGN = (b"null", b"{}", b'{"type": "ping"}', b'{"detail": "boom"}')


def right(name: str, *pieces: Any, **more: Any) -> Fault:
    options = {key: more.pop(key) for key in ("step", "headers") if key in more}
    return Fault(name, streamed(*pieces, **options), text=TEXT, pooled=True, wire="stream", **more)
