"""A row of the table of faults, and what several rows share."""

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


def _ended_by_error(dialect: Dialect) -> bytes:
    """An event whose choice has an error beside its finish reason."""
    value = dialect.chunk(finish="error")
    value.get("output", value)["choices"][0]["error"] = {"code": 502, "message": "The upstream is gone."}
    return dialect.event(written(value))


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


FOREIGN = (b"null", b"{}", b'{"type": "ping"}', b'{"detail": "boom"}')


def _right(name: str, *pieces: Any, **more: Any) -> Fault:
    options = {key: more.pop(key) for key in ("step", "headers") if key in more}
    return Fault(name, streamed(*pieces, **options), text=TEXT, pooled=True, wire="stream", **more)
