"""Parse server-sent events from bytes split at any position. No I/O; each byte is examined once.

Follows the WHATWG "Server-sent events" standard, section 9.2.6: lines end with LF, CRLF or CR only (U+2028 is text), a
leading byte order mark and one space after the colon are dropped, and an event without data is ignored. Exception: an
event named `error`, or with an error status, counts even without data, so that the failure is not missed.
Extensions:
- the status of an event is read from the native protocol's comment `:HTTP_STATUS/nnn`, or from a field `status`, which
  the vendor's SDK accepts;
- the first line that is not a field is kept, because it may explain a failure.
Data stays bytes, because reads may end inside a UTF-8 character.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

MAX_EVENT_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_NATIVE = re.compile(rb"(?:id:[^\n]*\n)?event:(result|response\.[a-z._]+)\n:HTTP_STATUS/200\ndata:(?! )")
_ERROR = 400  # lowest HTTP error status
_MAX_UNKNOWN_LINE = 64 * 1024  # bytes kept of a line that is not a field
_FIELDS = (b"data", b"event", b"id", b"retry", b"status")
_FIELD = re.compile(rb"(?:%b)(?::|\Z)" % b"|".join(_FIELDS))
_STATUS, _STATUS_FIELD = b":HTTP_STATUS/", b"status:"


class ServerSentEvent(NamedTuple):
    """One event: its data, its name ("" if it has none) and its HTTP status, if given."""

    data: bytes
    name: str = ""
    status: int | None = None


EventFields: TypeAlias = tuple[bytes, str, int | None]
"""The fields of a `ServerSentEvent`. Creating a plain tuple takes a third of the time."""


class EventDecoder:
    """Decode the reads of a response body into events.

    Args:
        max_event_bytes: maximum size of one event, including an unfinished line. A larger event sets `overflowed` and
            stops decoding.
    """

    __slots__ = (
        "_data",
        "_first_bytes",
        "_is_unfinished",
        "_line",
        "_name",
        "_skip_lf",
        "_status",
        "max_event_bytes",
        "overflowed",
        "unknown_line",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.max_event_bytes = max_event_bytes
        self.overflowed = False
        self.unknown_line = b""  # first line that is not a field, possibly cut
        self._first_bytes: bytes | None = b""  # first bytes, while they may be a byte order mark; then None
        self._skip_lf = False  # the last read ended with CR, so a following LF is part of that line end
        self._line = bytearray()  # unfinished line; a bytearray keeps small reads linear
        self._data: bytes | bytearray | None = None  # data of the unfinished event
        self._name = ""
        self._status: int | None = None
        self._is_unfinished = False  # an event or a line is unfinished

    def feed(self, data: bytes) -> list[EventFields]:
        """Return the events completed by `data`."""
        if self._first_bytes is not None:
            data = self._strip_bom(self._first_bytes + data)
        if self._skip_lf or b"\r" in data:
            data = self._normalize_line_ends(data)
        if self.overflowed:
            return []
        small = len(data) <= self.max_event_bytes
        starts_event = small and not self._is_unfinished  # nothing is left from earlier reads
        events: list[EventFields] = []
        *blocks, rest = data.split(b"\n\n")
        for block in blocks:
            if starts_event and block.startswith(b"data: ") and b"\n" not in block:  # most events
                events.append((block[6:], "", None))
            elif starts_event and (event := _native_event(block)) is not None:
                events.append(event)
            else:
                self._read_lines(block.split(b"\n"), events)
                self._blank_line(events)
                starts_event = small and not self.overflowed
        self._is_unfinished = bool(rest) or (self._is_unfinished and not blocks)  # a block ends what was unfinished
        if rest:
            *lines, rest = rest.split(b"\n")
            self._read_lines(lines, events)
            self._line += rest
            self.overflowed |= len(self._line) + len(self._data or b"") > self.max_event_bytes
        return events

    def flush(self) -> ServerSentEvent | None:
        """Return the event without a closing blank line at the end of the body, if any. It may be incomplete."""
        if self._line and not self.overflowed:
            if not any(field[:-1].startswith(self._line) for field in _FIELDS):  # a truncated field name
                self._read_line(bytes(self._line))
            self._line = bytearray()
        return self._take_event() if self._is_event() and not self.overflowed else None

    def _strip_bom(self, data: bytes) -> bytes:
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._first_bytes = data
            return b""
        self._first_bytes = None
        return data.removeprefix(_BOM)

    def _normalize_line_ends(self, data: bytes) -> bytes:
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        if data:
            self._skip_lf = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read_lines(self, lines: list[bytes], events: list[EventFields]) -> None:
        """Process complete lines. The first may have begun in an earlier read."""
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

    def _blank_line(self, events: list[EventFields]) -> None:
        if self._is_event() and not self.overflowed:
            events.append(self._take_event())
        self._name, self._status = "", None

    def _is_event(self) -> bool:
        """Return True if the lines since the last blank line form an event."""
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
        elif not self.unknown_line and not line.startswith(b":") and _FIELD.match(line) is None and not line.isspace():
            self.unknown_line = line[:_MAX_UNKNOWN_LINE]

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


def _native_event(block: bytes) -> EventFields | None:
    """Return the event of a block in the usual format of the native and the Responses protocol, or None."""
    start = _NATIVE.match(block)
    if start is None or block.find(b"\n", start.end()) >= 0:
        return None
    return block[start.end() :], start[1].decode(), 200
