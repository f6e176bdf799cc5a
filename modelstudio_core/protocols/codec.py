"""Define the codec interfaces and helper functions for JSON. Codecs do no I/O."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pydantic_core import from_json

from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.types import ChatRequest, Delta, ResponseHead, WireCall

logger = logging.getLogger("modelstudio_core")

_MAX_DEPTH = 200  # pydantic's JSON parser has the same limit
_ESCAPE, _STRING, _NO_BRACKETS = re.compile(r"\\.", re.DOTALL), re.compile('"[^"]*"?'), re.compile(r"[^][{}]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_MAX_DIGITS = 18  # of an integer sent as a string
_EXCERPT_LENGTH = 200  # characters of a body quoted in an error message


class StreamDecoder(Protocol):
    """Decode one streamed response.

    `failure`: the error that ends the stream (an error event, a violation of the protocol or a truncated answer); raise
    it after the returned deltas. `ended` is True once the protocol's end marker has been read.
    """

    failure: ModelStudioError | None
    ended: bool

    @property
    def complete(self) -> bool:
        """Return True if the answer is complete, even if the stream has not ended."""

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas of the events completed by `data`.

        Never raises. Returns nothing once `failure` or `ended` is set.
        """

    def finish(self) -> list[Delta]:
        """Return the remaining deltas at the end of the body."""

    def abort(self) -> list[Delta]:
        """Return the remaining deltas if the body did not reach its end."""


class Codec(Protocol):
    """Encode requests and decode responses of one protocol, without I/O."""

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Return the HTTP request. Raises ConfigurationError for a parameter that this protocol does not support."""

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """Return the deltas of a non-streaming response.

        Raises the typed error that the response reports, or ProtocolError or StreamTruncatedError if it is malformed or
        truncated.
        """

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> StreamDecoder:
        """Return a decoder for one streamed response."""

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """Return the typed error for a response whose status is not 2xx."""


def read_json(data: bytes) -> Any:
    """Parse `data` as JSON. Lone surrogates become U+FFFD. Raises ProtocolError if it is not JSON."""
    try:
        return from_json(data)
    except ValueError:
        pass  # json.loads accepts lone surrogates
    try:
        text = data.decode(json.detect_encoding(data), "surrogatepass")  # as `json.loads` does
        _check_depth(text)
        text = json.dumps(json.loads(text), ensure_ascii=False)
        return json.loads(without_surrogates(text))
    except (ValueError, RecursionError):
        raise ProtocolError(f"the service sent data that is not JSON: {excerpt(data)}") from None


def without_surrogates(text: str) -> str:
    """Return text with U+FFFD for each lone surrogate, which UTF-8 cannot encode."""
    return _SURROGATES.sub("\ufffd", text)


def _check_depth(text: str) -> None:
    """Raise ValueError if `text` is nested deeper than 200 levels, the limit of pydantic's parser.

    Deeper values cannot be copied, pickled or printed. This is checked before parsing, because code that runs deep in
    the recursion, such as a finalizer, could overflow the stack. The patterns do not backtrack.
    """
    depth = 0
    for bracket in _NO_BRACKETS.sub("", _STRING.sub("", _ESCAPE.sub("", text))):
        depth += 1 if bracket in "[{" else -1
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")


def read_object(data: bytes) -> dict[str, Any]:
    """Parse `data` as a JSON object; see `read_json`. Raises ProtocolError if it is not one."""
    value = read_json(data)
    if not isinstance(value, dict):
        raise not_an_object(data)
    return value


def not_an_object(data: bytes) -> ProtocolError:
    """Return the error for JSON that is not an object."""
    return ProtocolError(f"the service sent JSON that is not an object: {excerpt(data)}")


def write_json(value: Any) -> bytes:
    """Return compact JSON in UTF-8. Raises ConfigurationError if `value` is not serializable."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from None


def as_string(value: Any) -> str | None:
    """Return an id or name as a string, or None if it is empty or neither a string nor an integer."""
    return (str(value) or None) if isinstance(value, str | int) and not isinstance(value, bool) else None


def as_integer(value: Any) -> int | None:
    """Return an integer given as int, integral float or digit string, because some servers send floats or strings.

    Other values are None.
    """
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return None


def log_unreadable(field: str, value: Any) -> None:
    """Log that unreadable metadata is omitted. The value is not logged, as it might contain a key."""
    logger.debug("Model Studio: %s is unreadable and omitted (%s)", field, type(value).__name__)


def read_index(value: Any, owner: str) -> int:
    """Return the index of a tool call or choice (`owner`). Raises ProtocolError if it is not an integer."""
    if (index := as_integer(value)) is None:
        raise ProtocolError(f"the index of a {owner} is not an integer: {value!r:.100}")
    return index


def read_text(value: Any, field: str) -> str:
    """Return text given as a string or a list of parts; "" for None. Raises ProtocolError if it is anything else."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return "".join(_texts(value, field))
    raise ProtocolError(f"{field} is not text but {value!r:.100}")


def read_refusal(content: Any) -> str:
    """Return the refusals among the parts of a content."""
    parts = content if isinstance(content, list) else ()
    return "".join(read_text(part.get("refusal"), "refusal") for part in parts if isinstance(part, Mapping))


def _texts(parts: Iterable[Mapping[str, Any]], field: str) -> Iterable[str]:
    for part in parts:
        text = part.get("text")
        if isinstance(text, str):
            yield text
        elif text is not None:
            raise ProtocolError(f"the text of a part of {field} is not text but {text!r:.100}")


def excerpt(data: bytes) -> str:
    """Return the beginning of `data`, quoted for an error message."""
    text = data[: 4 * _EXCERPT_LENGTH].decode("utf-8", "replace").strip()
    return repr(text[:_EXCERPT_LENGTH]) if len(text) <= _EXCERPT_LENGTH else f"{text[:_EXCERPT_LENGTH]!r}..."
