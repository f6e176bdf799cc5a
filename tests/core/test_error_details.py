"""Errors in events, Retry-After, headers, and the detection of error objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelstudio_core.errors import (
    APIStatusError,
    BadRequestError,
    ContentFilterError,
    ModelStudioError,
)
from modelstudio_core.protocols.errors import error_of_response, is_error_object
from modelstudio_core.types import ResponseHead
from tests.core.error_objects import FLAGGED, MODERATED

FRAMED: list[tuple[str, bytes]] = [
    ("one event", b"data: %b\n\n"),
    ("no blank", b"data:%b\n\n"),
    ("not ended", b"data: %b"),
    ("with its name and id", b"id:1\nevent:error\n:HTTP_STATUS/400\ndata:%b\n\n"),
    ("line ends of Windows", b"event: error\r\ndata: %b\r\n\r\n"),
    ("then the end", b"data: %b\n\ndata: [DONE]\n\n"),
    ("after a heartbeat", b": ping\n\ndata: {}\n\ndata: %b\n\n"),
]
ERRORS: list[tuple[dict[str, Any], type[ModelStudioError], str]] = [
    ({"error": FLAGGED, "request_id": "r-1"}, ContentFilterError, MODERATED),
    ({"code": "InvalidParameter", "message": "Role?", "request_id": "r-1"}, BadRequestError, "InvalidParameter"),
]


@pytest.mark.parametrize(("value", "cls", "code"), ERRORS, ids=["compatible", "native"])
@pytest.mark.parametrize("frame", [case[1] for case in FRAMED], ids=[case[0] for case in FRAMED])
def test_an_error_body_as_an_event(frame: bytes, value: dict[str, Any], cls: type[ModelStudioError], code: str) -> None:
    """Class, code and ID are the same."""
    error = error_of_response(
        ResponseHead(400, {"content-type": "text/event-stream"}), frame % json.dumps(value).encode()
    )
    assert type(error) is cls
    assert (error.status_code, error.code, error.request_id) == (400, code, "r-1")
    assert error.body == value


def test_a_body_excerpt_in_the_message() -> None:
    """Of an HTML page, the message has the start and the content type."""
    head = ResponseHead(502, {"content-type": "text/html"})
    error = error_of_response(head, b"<html>Bad gateway" + b"x" * 5000)
    assert "text/html" in error.message
    assert "'<html>Bad gateway" in error.message
    assert len(error.message) < 400
    assert error_of_response(ResponseHead(502, {}), b" short\n").message.endswith(
        "(no content type); the body begins with 'short'"
    )
    assert error.request_id is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_errors(status: int) -> None:
    """They are not followed with a key. The message has the target and the setting."""
    error = error_of_response(ResponseHead(status, {"location": "https://elsewhere/v1"}), b"")
    assert type(error) is APIStatusError
    assert "https://elsewhere/v1" in error.message
    assert "base_url" in error.message
    assert not error.is_retryable
    assert "nowhere" in error_of_response(ResponseHead(status, {}), b"").message


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_a_redirect_without_a_target(status: int) -> None:
    """The message quotes the body, and mentions no other URL."""
    error = error_of_response(ResponseHead(status, {}), b"")
    assert type(error) is APIStatusError
    assert error.message.startswith(f"HTTP status {status} without an error object")
    assert "base_url" not in error.message


@pytest.mark.parametrize("cut", range(1, 60))
def test_truncated_bodies(cut: int) -> None:
    """Values read from a truncated object are prefixes of the real ones."""
    whole = b'{"error":{"code":"Arrearage","message":"Please pay first."}}'
    error = error_of_response(ResponseHead(400, {}), whole[:cut])
    assert "Arrearage".startswith(error.code or "")
    assert "Please pay first.".startswith(error.message) or "HTTP status 400" in error.message


DATE = "Sun, 22 Nov 2026 07:00:00 GMT"
RETRY_AFTER: list[tuple[str, dict[str, str], float | None]] = [
    ("seconds", {"retry-after": "3"}, 3.0),
    ("parts of a second", {"retry-after": "0.5"}, 0.5),
    ("zero", {"retry-after": "0"}, 0.0),
    ("milliseconds", {"retry-after-ms": "1500"}, 1.5),
    ("milliseconds before seconds", {"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
    ("milliseconds that are none", {"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    ("a date, by the server's clock", {"retry-after": "Sun, 22 Nov 2026 07:00:05 GMT", "date": DATE}, 5.0),
    ("a date in the past", {"retry-after": "Sun, 22 Nov 2026 06:00:00 GMT", "date": DATE}, 0.0),
    ("a date without the server's clock", {"retry-after": DATE}, None),
    ("a date in two kinds of clock", {"retry-after": "Sun, 22 Nov 2026 07:00:05 -0000", "date": DATE}, None),
    ("negative", {"retry-after": "-0.5"}, None),
    ("not a number", {"retry-after": "nan"}, None),
    ("endless", {"retry-after": "inf"}, None),
    ("words", {"retry-after": "soon", "date": DATE}, None),
    *(
        (
            f"a zone of {len(zone)} digits in {name}",
            {"retry-after": DATE, "date": DATE, name: f"{DATE[:-3]}+{zone}"},
            None,
        )
        for name in ("retry-after", "date")
        for zone in ("9" * 5, "9" * 11, "9" * 15, "9" * 30, "9" * 400, "9" * 5000)
    ),
    ("a year of many digits", {"retry-after": "Sun, 22 Nov 99999999999999999999 07:00:00 GMT", "date": DATE}, None),
    ("empty", {"retry-after": ""}, None),
    ("none", {}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), [c[1:] for c in RETRY_AFTER], ids=[c[0] for c in RETRY_AFTER])
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Every form of the header, with or without an error object. Invalid values are ignored."""
    head = ResponseHead(429, headers)
    assert error_of_response(head, b"").retry_after == seconds
    assert error_of_response(head, b'{"code":"Throttling","message":"m"}').retry_after == seconds


HEADER_TEXTS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["Sun", ",", " ", "22", "Nov", "2026", "99999", "07:00:00", "7.00", ":", "GMT", "+", "-", "0000", "EST",
             "99999999999", "(", ")", "\\", '"', "1e9", "e", "nan", "inf", "\x00", "Z", "9" * 20]
        )
    ).map("".join),
)  # fmt: skip
HEADER_NAMES = ("retry-after", "retry-after-ms", "date", "x-request-id", "content-type", "location")


@settings(deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER_TEXTS), st.sampled_from([301, 400, 429, 503]))
@example({"retry-after": f"{DATE[:-3]}+{'9' * 15}", "date": DATE}, 429)
def test_any_headers(headers: dict[str, str], status: int) -> None:
    """The result is an error whose delay is None or a number of seconds."""
    for body in (b"", b'{"code":"Throttling","message":"m"}'):
        seconds = error_of_response(ResponseHead(status, headers), body).retry_after
        assert seconds is None or 0 <= seconds < float("inf")


def test_secret_headers_are_removed() -> None:
    """Errors contain no cookies or credentials."""
    secret = {"set-cookie": "a=b", "authorization": "Bearer x", "proxy-authorization": "y", "www-authenticate": "z"}
    error = error_of_response(ResponseHead(401, secret | {"x-request-id": "r-1"}), b"")
    assert error.response is not None
    assert error.response.headers == {"x-request-id": "r-1"}


SUCCESS = (0, 1, 20, 200, 200.0, 201, 204, 399, "0", "00", "20", "200", "0200", "399", "success", "Success", "OK",
           " ok ", "200 OK", "200 ok", "succeeded", "Successful")  # fmt: skip
NO_SUCCESS = (
    -1,
    400,
    429,
    503,
    20035,
    10**30,
    "400",
    "1000",
    "-1",
    "9" * 5000,
    "\u0662\u0660",
    "no",
    "ok then",
    1.5,
    429.0,
    float("inf"),
    "400 OK",
    "unsuccessful",
    "200 no",
    [1],
)
NO_ANSWERS: tuple[dict[str, Any], ...] = ({}, {"choices": []}, {"output": {}, "usage": {}})
OBJECTS: list[tuple[dict[str, Any], bool]] = [
    ({"error": {"message": "m"}}, True),
    ({"error": "m"}, True),
    ({"code": "C", "message": "m"}, True),
    ({"code": "C", "message": "", "request_id": "r"}, True),
    ({"error": None, "choices": []}, False),
    ({"error": {}, "choices": []}, False),
    ({"error": ""}, False),
    ({"error": {"code": None, "message": ""}}, False),
    ({"error": {"code": 0, "message": ""}, "choices": [{}]}, False),
    ({"error": {"code": 200, "message": "ok"}}, False),
    ({"error": {"code": "Success", "message": "m"}}, False),
    ({"error": {"code": None, "message": "m"}}, True),
    ({"error": {"code": 500}}, True),
    ({"error": {"code": 1, "message": "m"}}, True),
    ({"error": {"code": "200 OK", "message": "m"}}, False),
    ({"error": [{}]}, True),
    ({"error": {"code": 0}, "code": "C", "message": "m"}, True),
    ({"code": "", "message": "", "output": {"text": "A"}}, False),
    ({"code": "200", "message": "ok", "output": {"text": "A"}}, False),
    ({"code": "200", "message": "ok", "choices": [{}]}, False),
    *(({"code": code, "message": "m", **empty}, False) for code in SUCCESS for empty in NO_ANSWERS),
    *(({"code": code, "message": "m", **empty}, True) for code in NO_SUCCESS for empty in NO_ANSWERS),
    ({"code": 200, "error": {"message": "m"}}, True),
    ({"code": "C"}, False),
    ({"message": "m"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("value", "is_error"), OBJECTS, ids=lambda case: repr(case)[:60])
def test_which_objects_are_errors(value: dict[str, Any], is_error: bool) -> None:
    """A non-empty `error`, or a code with a message but no answer."""
    assert is_error_object(value) is is_error
