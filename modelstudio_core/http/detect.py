"""Whether an answer is events or a whole: by what it begins with, since labels and wishes may both be wrong."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from modelstudio_core.http.steps import Read, Step
from modelstudio_core.types import ResponseHead

BEGINS_EVENTS = (b"data:", b"event:", b"id:", b"retry:", b":")
BEGINS_WHOLE = (b"{", b"[", b"<")
_TELLS = BEGINS_EVENTS + BEGINS_WHOLE
_BOM = b"\xef\xbb\xbf"
_MOST_BEFORE = 4096  # bytes of blanks, or of a line, that are looked at for what they begin


def until_it_tells() -> Generator[Step, Any, bytes | None]:
    """Reads on until the first bytes tell what they begin. No event is kept back: none ends before a line does."""
    data: bytes | None = yield Read([])
    while data is not None:
        begins = beginning(data)
        if begins.startswith(_TELLS) or any(end in begins for end in b"\r\n") or len(data) > _MOST_BEFORE:
            break
        more: bytes | None = yield Read([])
        if more is None:
            break
        data += more
    return data


def beginning(data: bytes) -> bytes:
    """`data` without the blanks and the byte order mark that it begins with; nothing where it is no more than these."""
    begins = data.lstrip()
    return b"" if _BOM.startswith(begins) else begins.removeprefix(_BOM).lstrip()


def is_stream(head: ResponseHead, asked: bool) -> bool:
    """Return True if the body is to be read as events.

    The content type decides, since a gateway may answer a stream whole, and a whole request with a stream. What was
    `asked` for counts only where the content type does not tell. 204 is a stream without events: an empty answer.
    """
    kind = head.headers.get("content-type", "").lower()
    is_whole = any(name in kind for name in ("json", "html"))
    return "event-stream" in kind or head.status == 204 or (asked and not is_whole)
