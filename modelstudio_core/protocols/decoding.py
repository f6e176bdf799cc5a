"""Decode chat responses of each protocol, streamed or not. Deltas received before an error are returned first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic_core import from_json

from modelstudio_core.errors import ModelStudioError, ProtocolError, StreamTruncatedError
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.assembler import DeltaWriter
from modelstudio_core.protocols.codec import excerpt, not_an_object, read_json, read_object
from modelstudio_core.protocols.errors import error_of_event, error_of_object, is_error_object
from modelstudio_core.protocols.sse import EventDecoder, EventFields, ServerSentEvent
from modelstudio_core.types import Delta, ResponseHead

# the service ends requests that do not stream after 300 s
_STREAMING_HINT = "or set streaming=True if a non-streaming answer takes longer than 300 s"
_FIRST_ERROR_STATUS = 400
JsonObject: TypeAlias = dict[str, Any]
ReadObject: TypeAlias = Callable[[DeltaWriter, JsonObject, ResponseHead], None]


class NotAnAnswer(Exception):
    """Raised by `read` for an object that is not part of an answer. The message describes the object.

    For a non-streaming response this becomes a ProtocolError. In a stream it may be a heartbeat or the description of a
    failure, which is decided at the end of the stream.
    """


def decode_response(writer: DeltaWriter, body: bytes, head: ResponseHead, read: ReadObject) -> list[Delta]:
    """Return the deltas of a whole response, as written by `read`. Raises what `decode_value` raises."""
    return decode_value(writer, read_object(body), head, read)


def decode_value(writer: DeltaWriter, value: JsonObject, head: ResponseHead, read: ReadObject) -> list[Delta]:
    """Return the deltas of a whole response that is decoded from JSON, as written by `read`.

    Raises:
        APIStatusError: if the body reports an error.
        ProtocolError: if the body is malformed; `partial` holds the content decoded so far.
        StreamTruncatedError: if a choice has no finish reason; `partial` holds the content.
    """
    if is_error_object(value):
        raise error_of_object(value, None, head)
    failure: ModelStudioError | None = None
    try:
        read(writer, value, head)
    except NotAnAnswer as error:
        failure = ProtocolError(str(error))
    except ModelStudioError as error:
        failure = error
    failure = failure or writer.end()
    if isinstance(failure, StreamTruncatedError):
        failure = StreamTruncatedError(f"{failure.message}, {_STREAMING_HINT}")
    deltas = writer.pop_deltas()
    if failure is not None:
        failure.partial = fold(deltas)
        failure.request_id = failure.request_id or failure.partial.response.request_id
        raise failure
    return deltas


class EventStreamDecoder:
    """Decode a stream of events with `read`, the protocol's function for one event.

    See `modelstudio_core.protocols.codec.StreamDecoder`. The stream ends at `[DONE]`, which the native protocol does
    not send, or at the end of the body. An event that is not part of an answer is ignored, but quoted in the error if
    the answer is then truncated.
    """

    __slots__ = ("_events", "_head", "_read", "_unrecognized", "_writer", "ended", "failure")

    def __init__(self, writer: DeltaWriter, head: ResponseHead, max_event_bytes: int, read: ReadObject) -> None:
        self.failure: ModelStudioError | None = None
        self.ended = False
        self._writer = writer
        self._head = head
        self._read = read
        self._events = EventDecoder(max_event_bytes)
        self._unrecognized = ""  # describes the last event that is not part of an answer

    @property
    def complete(self) -> bool:
        """Return True if every requested choice has its finish reason. Usage may still follow."""
        return self._writer.finished >= self._writer.n

    def feed(self, data: bytes) -> list[Delta]:
        """Return the deltas completed by `data`."""
        if self.failure is not None or self.ended:
            return []
        for event in self._events.feed(data):
            self._event(event)
            if self.failure is not None or self.ended:
                break
        else:
            if self._events.overflowed:
                limit = self._events.max_event_bytes
                self.failure = ProtocolError(f"the service sent an event of more than {limit} bytes (max_event_bytes)")
        return self._writer.pop_deltas()

    def finish(self) -> list[Delta]:
        """Return the remaining deltas at the end of the body."""
        if self.failure is None and not self.ended and (event := self._events.flush()):
            self._event(event)
            if isinstance(self.failure, ProtocolError):  # the body ended inside the event
                self.failure = None
        if self.failure is None and not self.ended:
            self._end()
        return self._writer.pop_deltas()

    def abort(self) -> list[Delta]:
        """Return the remaining deltas after a lost connection, including the last known usage."""
        self._writer.flush_usage()
        return self._writer.pop_deltas()

    def _event(self, event: EventFields) -> None:
        data, name, status = event
        if name == "error" or (status is not None and status >= _FIRST_ERROR_STATUS):
            self._fail(error_of_event(ServerSentEvent(*event), self._head))
            return
        if not data.startswith(b"{"):
            if data.strip().startswith(b"[DONE]"):
                self._end()
                return
            if not data or data.isspace():  # a heartbeat
                return
        try:
            try:
                value = from_json(data)
            except ValueError:  # invalid, or with lone surrogates, which read_json accepts
                value = read_json(data)
            if not isinstance(value, dict):
                if value is None:  # also a heartbeat
                    return
                raise not_an_object(data)
            if ("error" in value or "code" in value) and is_error_object(value):
                raise error_of_object(value, status, self._head)
            self._read(self._writer, value, self._head)
        except NotAnAnswer as error:
            if value:  # {} is a heartbeat
                self._unrecognized = str(error)
        except ModelStudioError as failure:
            self._fail(failure)

    def _fail(self, failure: ModelStudioError) -> None:
        self.failure = failure
        self._writer.flush_usage()

    def _end(self) -> None:
        self.ended = True
        failure = self._writer.end()
        self.failure = self._explained(failure) if isinstance(failure, StreamTruncatedError) else failure

    def _explained(self, failure: StreamTruncatedError) -> ModelStudioError:
        """Return the error for a truncated answer, quoting the unrecognized data that may explain it."""
        line = self._events.unknown_line
        if (error := _error_in_line(line, self._head)) is not None:
            return error
        if self._unrecognized and not self._writer.has_response:
            return ProtocolError(self._unrecognized)
        reason = self._unrecognized or (
            f"the service sent a line that is not part of an SSE event: {excerpt(line)}" if line else ""
        )
        return StreamTruncatedError(f"{failure.message}. The last unrecognized data: {reason}") if reason else failure


def _error_in_line(line: bytes, head: ResponseHead) -> ModelStudioError | None:
    """Return the typed error that a line outside any event reports, if any."""
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = read_object(line)
    except ProtocolError:
        return None
    return error_of_object(value, None, head) if is_error_object(value) else None
