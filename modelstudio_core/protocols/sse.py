"""Bytes in, server-sent events out, however the bytes were torn. Pure; owns no socket; looks at each byte once.

The rules are those of the WHATWG "Server-sent events" standard, section 9.2.6: lines end with LF, CRLF or CR and
nothing else (U+2028 is text), a leading byte order mark is dropped, one space after the colon is dropped, an event
without data is no event. One exception is made to the last: an event named `error`, or with the status of one, is one
without data, too, for a stream that failed without a word would look like one that goes on. Beyond the standard, the
native protocol's status of an event is read: the comment `:HTTP_STATUS/nnn`, or the field `status` that the vendor's
SDK knows; and the first line that is no field at all is kept, for it may tell why a stream failed. Data stays bytes:
an event may be torn inside a UTF-8 character, and only a whole one is decoded.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_EVENT_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_NATIVE = re.compile(rb"(?:id:[^\n]*\n)?event:result\n:HTTP_STATUS/200\ndata:(?! )([^\n]*)")
_ERROR = 400  # the least status of an error
_KEPT = 64 * 1024  # bytes of a line that is no field
_FIELDS = (b"data", b"event", b"id", b"retry", b"status")
_FIELD = re.compile(rb"(?:%b)(?::|\Z)" % b"|".join(_FIELDS))
_STATUS, _STATUS_FIELD = b":HTTP_STATUS/", b"status:"


class ServerSentEvent(NamedTuple):
    """One event: its data, its name ("" where none was given) and the status its comment names, if any."""

    data: bytes
    name: str = ""
    status: int | None = None


class EventDecoder:
    """Turns the reads of a response body into events.

    Args:
        max_event_bytes: what one event may hold, its unfinished line included. More sets `overflowed`; nothing is
            decoded from then on.
    """

    __slots__ = (
        "_data",
        "_held",
        "_line",
        "_name",
        "_skip_lf",
        "_status",
        "_within",
        "foreign",
        "max_event_bytes",
        "overflowed",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.overflowed = False
        self.foreign = b""  # the first line that is no field of an event, or its beginning
        self._held: bytes | None = b""  # the body's first bytes while they may be a byte order mark; then None
        self._skip_lf = False  # the last read ended with CR, so that an LF which comes next belongs to it
        self._line = bytearray()  # the line that has not ended yet; one object, however small the reads
        self._data: bytes | bytearray | None = None  # the data of the event that has not ended yet
        self._name = ""
        self._status: int | None = None
        self._within = False  # an event, or a line, has begun and not ended

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that `data` completes."""
        if self._held is not None:
            data = self._without_bom(self._held + data)
        if self._skip_lf or b"\r" in data:
            data = self._with_lf_only(data)
        if self.overflowed:
            return []
        small = len(data) <= self.max_event_bytes
        between = small and not self._within
        if between and data.endswith(b"\n\n") and (event := _usual_event(data[:-2])) is not None:
            return [event]  # most reads
        events: list[ServerSentEvent] = []
        *blocks, rest = data.split(b"\n\n")
        for block in blocks:
            if between and (event := _usual_event(block)) is not None:
                events.append(event)
            else:
                self._read_lines(block.split(b"\n"), events)
                self._blank_line(events)
                between = small and not self.overflowed
        self._within = bool(rest) or (self._within and not blocks)
        if rest:
            *lines, rest = rest.split(b"\n")
            self._read_lines(lines, events)
            self._line += rest
            self.overflowed |= len(self._line) + len(self._data or b"") > self.max_event_bytes
        return events

    def flush(self) -> ServerSentEvent | None:
        """At the end of the body: the event that no blank line ended, if any. The caller judges whether it is whole."""
        if self._line and not self.overflowed:
            if not any(field[:-1].startswith(self._line) for field in _FIELDS):  # the body ended inside its name
                self._read_line(bytes(self._line))
            self._line = bytearray()
        return self._take_event() if self._is_event() and not self.overflowed else None

    def _without_bom(self, data: bytes) -> bytes:
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._held = data
            return b""
        self._held = None
        return data.removeprefix(_BOM)

    def _with_lf_only(self, data: bytes) -> bytes:
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if data:
            self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_lines(self, lines: list[bytes], events: list[ServerSentEvent]) -> None:
        """Lines that have ended, the first of them perhaps begun before."""
        if self._line and lines:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line = bytearray()
        for line in lines:
            if self.overflowed:
                return
            if line:
                self._read_line(line)
            else:
                self._blank_line(events)

    def _blank_line(self, events: list[ServerSentEvent]) -> None:
        if self._is_event() and not self.overflowed:
            events.append(self._take_event())
        self._name, self._status = "", None

    def _is_event(self) -> bool:
        """Whether the lines since the last blank one are an event."""
        return self._data is not None or self._name == "error" or (self._status or 0) >= _ERROR

    def _read_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._add_data(line[6:] if line.startswith(b" ", 5) else line[5:])
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif line.startswith((_STATUS, _STATUS_FIELD)):
            status = line[len(_STATUS if line.startswith(_STATUS) else _STATUS_FIELD) :].strip()
            self._status = int(status) if len(status) == 3 and status.isdigit() else None
        elif line == b"data":  # a field without a colon is that field, empty
            self._add_data(b"")
        elif not self.foreign and not line.startswith(b":") and _FIELD.match(line) is None and not line.isspace():
            self.foreign = line[:_KEPT]

    def _add_data(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
        else:  # LF joins the data lines of an event
            if not isinstance(self._data, bytearray):
                self._data = bytearray(self._data)
            self._data += b"\n"
            self._data += value
        self.overflowed = len(self._data) > self.max_event_bytes

    def _take_event(self) -> ServerSentEvent:
        event = ServerSentEvent(bytes(self._data or b""), self._name, self._status)
        self._data, self._name, self._status = None, "", None
        return event


def _usual_event(block: bytes) -> ServerSentEvent | None:
    """The event that these lines are, where they have a form that the service gives them, as nearly all have."""
    if block.startswith(b"data: "):
        return _new_event(ServerSentEvent, (block[6:], "", None)) if b"\n" not in block else None
    native = _NATIVE.fullmatch(block)
    return _new_event(ServerSentEvent, (native[1], "result", 200)) if native is not None else None


_new_event = tuple.__new__  # a third of the cost
