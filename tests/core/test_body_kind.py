"""The kind of a body is determined by its first bytes, then the content type, then the request."""

from __future__ import annotations

import pytest

from modelstudio_core.http.body_kind import body_kind
from modelstudio_core.types import ResponseHead

EVENTS, JSON, HTML = "text/event-stream;charset=UTF-8", "application/json", "text/html"
BLANK = b" \r\n\xef\xbb\xbf\n"


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("label", [EVENTS, JSON, HTML, None])
@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"data:", "events"),
        (b"event: result", "events"),
        (b"id:1", "events"),
        (b"retry: 5", "events"),
        (b": ping", "events"),
        (b"{", "whole"),
        (b"[", "whole"),
        (b"<html>", "whole"),
        (b"", None),
        (b"\r\n \n", None),
        (b"\xef\xbb", None),
        (b"dat", None),
        (b"upstream connect error", None),
    ],
)
def test_the_first_bytes_decide(start: bytes, kind: str | None, label: str | None, asked: bool) -> None:
    """Also after whitespace and a byte order mark."""
    head = ResponseHead(200, {} if label is None else {"content-type": label})
    assert body_kind(head, asked, start, ended=False) == kind
    if kind is not None:
        assert body_kind(head, asked, BLANK + start, ended=False) == kind
        assert body_kind(head, asked, start, ended=True) == kind


@pytest.mark.parametrize(
    ("status", "label", "asked", "kind"),
    [
        (200, EVENTS, False, "events"),
        (200, JSON, True, "whole"),
        (200, HTML, True, "whole"),
        (200, None, True, "events"),
        (200, None, False, "whole"),
        (200, "text/plain", True, "events"),
        (204, None, False, "events"),
    ],
)
@pytest.mark.parametrize(
    ("start", "ended"), [(b"", True), (b"dat", True), (b"server: x\n", False), (b"x\r", False), (b"x" * 5000, False)]
)
def test_the_content_type_and_then_the_request_decide(
    status: int, label: str | None, asked: bool, kind: str, start: bytes, ended: bool
) -> None:
    """If the first bytes are inconclusive."""
    head = ResponseHead(status, {} if label is None else {"content-type": label})
    assert body_kind(head, asked, start, ended=ended) == kind
