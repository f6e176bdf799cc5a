"""What every codec gives. Nothing here or in a codec does I/O: a request becomes bytes, bytes become deltas."""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Protocol

from pydantic_core import from_json

from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.types import ChatRequest, Delta, ResponseHead, WireCall

logger = logging.getLogger("modelstudio_core")

_MAX_DEPTH = 200  # the limit of pydantic's parser
_ESCAPE, _STRING, _NO_BRACKETS = re.compile(r"\\.", re.DOTALL), re.compile('"[^"]*"?'), re.compile(r"[^][{}]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_DIGITS = 18  # of a number that comes as text
_SHOWN = 200  # characters of a body that an error message shows


class StreamDecoder(Protocol):
    """Reads one streamed response.

    `failure` is set where the stream says an error, breaks the protocol or ends too early; the deltas that came
    before it, in the same read too, are returned first. `ended` is true once the protocol's own end was seen.
    """

    failure: ModelStudioError | None
    ended: bool

    @property
    def whole(self) -> bool:
        """Whether the answer itself is whole, though the stream has not ended."""

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes. Never raises; nothing more comes once `failure` or `ended` is set."""

    def finish(self) -> list[Delta]:
        """The last deltas, at the end of the body."""

    def rest(self) -> list[Delta]:
        """What is left to hand on where the body did not come to its end."""


class Codec(Protocol):
    """One protocol. Pure."""

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """The HTTP request. Raises ConfigurationError, naming it, for what this protocol cannot carry."""

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """A whole response as deltas. Raises the typed error that it says, ProtocolError or StreamTruncatedError."""

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> StreamDecoder:
        """A decoder for one streamed response."""

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """The typed error for a response whose status is not 200."""


def read_json(data: bytes) -> Any:
    """Parse `data` as JSON. Half of an escaped surrogate pair becomes U+FFFD. Raises ProtocolError."""
    try:
        return from_json(data)
    except ValueError:
        pass  # the standard library's parser also takes half of a surrogate pair
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")  # as `json.loads` does
        _check_depth(text)
        text = json.dumps(json.loads(text), ensure_ascii=False)
        return json.loads(encodable(text))
    except (ValueError, RecursionError):
        raise ProtocolError(f"the service sent what is not JSON: {shown(data)}") from None


def encodable(text: str) -> str:
    """Return text with U+FFFD for each half of a surrogate pair, which UTF-8 cannot hold."""
    return _SURROGATES.sub("\ufffd", text)


def _check_depth(text: str) -> None:
    """Raise ValueError for what nests deeper than copies, pickles and reprs can follow, as pydantic's parser does.

    It is looked for before the text is parsed: whatever runs at the bottom of a deep recursion, such as a finalizer,
    has no room left there. Each pattern reads on without ever going back.
    """
    depth = 0
    for bracket in _NO_BRACKETS.sub("", _STRING.sub("", _ESCAPE.sub("", text))):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")


def read_object(data: bytes) -> dict[str, Any]:
    """The object that `data` says, as JSON; see `read_json`. Raises ProtocolError."""
    value = read_json(data)
    if not isinstance(value, dict):
        raise no_object(data)
    return value


def no_object(data: bytes) -> ProtocolError:
    """The error for JSON that is not an object."""
    return ProtocolError(f"the service sent no JSON object: {shown(data)}")


def write_json(value: Any) -> bytes:
    """JSON in UTF-8, nothing escaped that need not be. Raises ConfigurationError for what JSON cannot say."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from None


def word_of(value: Any) -> str | None:
    """An id or a name; None where it is empty, or of a kind that is neither."""
    return (str(value) or None) if isinstance(value, str | int) and not isinstance(value, bool) else None


def whole_number(value: Any) -> int | None:
    """The whole number that `value` says, as text of digits or as a float too, for some servers write integers so."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS:
        return int(value)
    return None


def log_unreadable(field: str, value: Any) -> None:
    """Log that metadata cannot be read and is left out. The value itself is not logged: it might repeat a key."""
    logger.debug("Model Studio: %s cannot be read and is left out (%s)", field, type(value).__name__)


def index_of(value: Any, of: str) -> int:
    """The index of a call or a choice (`of`). Raises ProtocolError for what is none."""
    if (index := whole_number(value)) is None:
        raise ProtocolError(f"the index of a {of} is no number but {value!r:.100}")
    return index


def shown(data: bytes) -> str:
    """The beginning of `data`, for a message."""
    text = data[: 4 * _SHOWN].decode("utf-8", "replace").strip()
    return repr(text[:_SHOWN]) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
