"""Reads the error bodies of both protocols, since either may come from either (vendor's error-code page).

Compatible: {"error": {"message", "type", "param", "code"}, "request_id"}, the error sometimes a bare string. Native:
{"code", "message", "request_id"}. A gateway may answer with HTML or with nothing; that becomes an error too.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from modelstudio_core.errors import APIStatusError, ErrorResponse, ProtocolError, status_error
from modelstudio_core.sse import EventDecoder
from modelstudio_core.types import ResponseHead
from modelstudio_core.wire.codec import read_json, shown, word_of

_UNSAFE_HEADERS = frozenset({"set-cookie", "authorization", "proxy-authorization", "www-authenticate"})


def error_of_response(head: ResponseHead, body: bytes) -> APIStatusError:
    """The typed error for a response whose status is not 2xx."""
    response = ErrorResponse(head.status, safe_headers(head), body.decode("utf-8", "replace"))
    for data in (body, *(event.data for event in EventDecoder().feed(body + b"\n\n"))):  # it may come as an event
        try:
            value = read_json(data)
        except ProtocolError:
            continue
        if isinstance(value, dict) and says_error(value):
            return error_of_object(value, head.status, head, response)
    if 300 <= head.status < 400:
        target = head.headers.get("location", "nowhere")
        message = f"the server redirects to {target}; redirects are not followed, so set base_url to the right address"
    else:
        kind = head.headers.get("content-type", "no content type")
        message = f"HTTP status {head.status} without an error object of the service ({kind}); it begins {shown(body)}"
    return status_error(
        head.status,
        code=None,
        message=message,
        request_id=request_id_of(head, {}),
        retry_after=_retry_after(head),
        body=response.text,
        response=response,
    )


def error_of_object(
    value: Mapping[str, Any], status: int | None, head: ResponseHead, response: ErrorResponse | None = None
) -> APIStatusError:
    """The typed error for a decoded error object, whose HTTP status, or the status of its event, is `status`."""
    inner = value.get("error") or value
    if not isinstance(inner, Mapping):
        inner = {"message": str(inner)}
    code = inner.get("code")
    if status is None and isinstance(inner.get("code"), int) and 400 <= inner["code"] < 600:
        status = inner["code"]
    return status_error(
        status,
        code=word_of(code),
        kind=str(inner.get("type") or ""),
        message=str(inner.get("message") or ""),
        request_id=word_of(value.get("request_id")) or request_id_of(head, inner),
        retry_after=_retry_after(head),
        body=dict(value),
        response=response,
    )


def says_error(value: Mapping[str, Any]) -> bool:
    """Whether a decoded object is an error: an `error`, or a bare code and message without an answer."""
    if value.get("error"):
        return True
    return bool(value.get("code")) and "message" in value and not value.get("choices") and not value.get("output")


def request_id_of(head: ResponseHead, value: Mapping[str, Any]) -> str | None:
    """The request id: the body's, else the header's."""
    return word_of(value.get("request_id")) or head.headers.get("x-request-id") or None


def safe_headers(head: ResponseHead) -> dict[str, str]:
    """The response's headers without those that may hold a secret."""
    return {name: value for name, value in head.headers.items() if name not in _UNSAFE_HEADERS}


def _retry_after(head: ResponseHead) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `retry-after` in seconds or as a date against the response's own."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(head.headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        now, then = (parsedate_to_datetime(head.headers[name]) for name in ("date", "retry-after"))
        return max(0.0, (then - now).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None
