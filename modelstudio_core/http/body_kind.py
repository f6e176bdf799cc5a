"""Detect whether a response is an event stream or a document, from its first bytes."""

from __future__ import annotations

from typing import Literal

from modelstudio_core.types import ResponseHead

SSE_PREFIXES = (b"data:", b"event:", b"id:", b"retry:", b":")
_BOM = b"\xef\xbb\xbf"
_DOCUMENT_PREFIXES = (b"{", b"[", b"<")
_MAX_PEEK = 4096  # maximum number of bytes to read before deciding the kind


def body_kind(
    head: ResponseHead, requested_stream: bool, start: bytes, *, ended: bool
) -> Literal["events", "whole"] | None:
    """Detect whether a body is an event stream or a whole response. Return None if more bytes are needed.

    The first bytes decide, because gateways may send either kind in place of the other, with either content type. If
    they are inconclusive, the content type decides, and then the request. Status 204 is an empty stream.

    Args:
        head: the head of the response.
        requested_stream: whether a stream was requested.
        start: the first bytes of the body.
        ended: whether `start` is the complete body.
    """
    text = strip_bom(start)
    if text.startswith(SSE_PREFIXES):
        return "events"
    if text.startswith(_DOCUMENT_PREFIXES):
        return "whole"
    # no event can be complete before the first line break, so waiting for it delays no event
    if not ended and len(start) <= _MAX_PEEK and b"\n" not in text and b"\r" not in text:
        return None
    content_type = head.headers.get("content-type", "").lower()
    is_document = "json" in content_type or "html" in content_type
    is_stream = "event-stream" in content_type or head.status == 204 or (requested_stream and not is_document)
    return "events" if is_stream else "whole"


def strip_bom(data: bytes) -> bytes:
    """Return `data` without leading whitespace and byte order mark, or b"" if only part of a BOM has arrived."""
    stripped = data.lstrip()
    return b"" if _BOM.startswith(stripped) else stripped.removeprefix(_BOM).lstrip()
