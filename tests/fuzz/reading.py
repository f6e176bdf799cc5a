"""Decode any bytes as a response, like a client does: the outcome is a result or an error of this package.

The outcome does not depend on how the bytes are split.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from modelstudio_core.errors import ModelStudioError
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.registry import codec_for
from modelstudio_core.redaction import Redactor
from modelstudio_core.types import ChatRequest, Delta, Message, ResponseHead

REQUEST = ChatRequest("qwen-plus", (Message("user", "hello"),))
HEAD = ResponseHead(200, {"content-type": "text/event-stream", "x-request-id": "req-1"})
LIMIT = 64 * 1024
REDACTOR = Redactor([SecretStr("sk-marked-0f4a17c0ffee")])
GENERATED = re.compile("call_[a-z]{24}")  # the id of a call that has none, another one on each reading


@dataclass(frozen=True)
class Reading:
    """The outcome, as text, because NaN does not equal itself."""

    result: str
    error: str | None


def pieces(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Split `data` into chunks of these sizes, repeatedly; the last chunk has the rest."""
    found: list[bytes] = []
    at = 0
    for size in sizes:
        if at >= len(data):
            break
        found.append(data[at : at + max(size, 1)])
        at += max(size, 1)
    return [*found, data[at:]] if at < len(data) else found


def read_stream(protocol: str, parts: Sequence[bytes], request: ChatRequest = REQUEST) -> Reading:
    """Decode the bytes as a stream of events."""
    decoder = codec_for(protocol).stream(request, HEAD, max_event_bytes=LIMIT)
    deltas: list[Delta] = []
    for part in parts:
        deltas += decoder.feed(part)
        if decoder.failure is not None or decoder.ended:
            break
    else:
        deltas += decoder.finish()
    return _reading(deltas, decoder.failure)


def read_whole(protocol: str, data: bytes, request: ChatRequest = REQUEST) -> Reading:
    """Decode the bytes as a whole answer."""
    try:
        return _reading(codec_for(protocol).decode(request, HEAD, data), None)
    except ModelStudioError as error:
        return _reading([], error)


def read_error(protocol: str, data: bytes, status: int = 400) -> Reading:
    """Decode the bytes as an error body."""
    return _reading([], codec_for(protocol).error(ResponseHead(status, {"retry-after": "1"}), data))


def _reading(deltas: list[Delta], error: ModelStudioError | None) -> Reading:
    result = fold(deltas)
    pickle.loads(pickle.dumps(result))
    shown = GENERATED.sub("call_generated", repr(result))
    if error is None:
        return Reading(shown, None)
    error.redact(REDACTOR)
    assert isinstance(error.request_id, str | None)
    assert isinstance(error.code, str | None)
    assert isinstance(error.status_code, int | None)
    pickle.loads(pickle.dumps(error))
    return Reading(shown, f"{type(error).__name__}: {error}")


# ---------------------------------------------------------------- one input of the fuzzer

CORPUS = Path(__file__).parent / "corpus"
_PROTOCOLS = ("openai", "dashscope")


def one_input(data: bytes) -> None:
    """Decode all but the first byte, which determines the protocol, the kind of response, and the chunks."""
    if not data:
        return
    how, sent = data[0], data[1:]
    protocol = _PROTOCOLS[how & 1]
    match (how >> 1) & 3:
        case 0 | 1:
            torn = read_stream(protocol, pieces(sent, [1 + (how >> 3)] * (len(sent) + 1)))
            assert torn == read_stream(protocol, [sent] if sent else [])
        case 2:
            read_whole(protocol, sent)
        case _:
            read_error(protocol, sent, 300 + (how >> 3) * 7)
