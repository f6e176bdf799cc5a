"""A response with an error status becomes the typed error, whatever its body is and whichever protocol it is of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelstudio_core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ModelStudioError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.protocols.errors import error_of_response, is_error_object
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import ResponseHead

HEADERS = {"content-type": "application/json", "x-request-id": "of-header"}
NO_KEY = {"message": "You gave no API key.", "type": "invalid_request_error", "param": None, "code": None}
MODERATED = "data_inspection_failed"
FLAGGED = {"message": "Not appropriate.", "type": MODERATED, "param": "None", "code": MODERATED}

BODIES: list[tuple[str, int, Any, type[ModelStudioError], str, str | None, str]] = [
    # name, status, body -> class, message begins with, code, request id
    (
        "compatible, code null, request id outside",
        401,
        {"error": NO_KEY, "request_id": "r-1"},
        AuthenticationError,
        "You gave no API key.",
        None,
        "r-1",
    ),
    (
        "compatible, with an id besides",
        400,
        {"error": FLAGGED, "id": "chatcmpl-7", "request_id": "r-1"},
        ContentFilterError,
        "Not appropriate.",
        "data_inspection_failed",
        "r-1",
    ),
    (
        "compatible, request id in the header only",
        400,
        {"error": FLAGGED},
        ContentFilterError,
        "Not appropriate.",
        "data_inspection_failed",
        "of-header",
    ),
    (
        "compatible, request id inside",
        400,
        {"error": {**FLAGGED, "request_id": "r-2"}},
        ContentFilterError,
        "Not appropriate.",
        "data_inspection_failed",
        "r-2",
    ),
    (
        "compatible, native code",
        429,
        {"error": {"message": "Slow.", "code": "Throttling.RateQuota"}},
        RateLimitError,
        "Slow.",
        "Throttling.RateQuota",
        "of-header",
    ),
    (
        "native",
        400,
        {"code": "InvalidParameter", "message": "Role?", "request_id": "r-1"},
        BadRequestError,
        "Role?",
        "InvalidParameter",
        "r-1",
    ),
    (
        "bare string",
        404,
        {"error": "Specified model not found: x"},
        NotFoundError,
        "Specified model not found: x",
        None,
        "of-header",
    ),
    ("a list as error", 400, {"error": [{"msg": "x"}]}, BadRequestError, "[{'msg': 'x'}]", None, "of-header"),
    ("code a number", 503, {"error": {"message": "Busy.", "code": 503}}, ServerError, "Busy.", "503", "of-header"),
    (
        "no message",
        503,
        {"error": {"code": "ModelUnavailable"}},
        ServerError,
        "the service answered with HTTP status 503",
        "ModelUnavailable",
        "of-header",
    ),
    (
        "empty error",
        500,
        {"error": {}},
        ServerError,
        "the service answered with HTTP status 500 and no message: {'error': {}}",
        None,
        "of-header",
    ),
    ("an empty object", 500, {}, ServerError, "HTTP status 500 without an error object", None, "of-header"),
    (
        "native, the message as msg",
        429,
        {"code": "Arrearage", "msg": "pay"},
        QuotaError,
        "pay",
        "Arrearage",
        "of-header",
    ),
    ("a code alone", 429, {"code": "Arrearage"}, QuotaError, "the service answered with", "Arrearage", "of-header"),
    ("a message alone", 429, {"message": "Slow."}, RateLimitError, "Slow.", None, "of-header"),
    (
        "a gateway's capitals",
        400,
        {"Code": "Arrearage", "Message": "Pay.", "request_id": "r-1"},
        QuotaError,
        "Pay.",
        "Arrearage",
        "r-1",
    ),
    (
        "error_code and error_msg",
        400,
        {"error_code": 17, "error_msg": "Daily limit."},
        BadRequestError,
        "Daily limit.",
        "17",
        "of-header",
    ),
    (
        "an answer's object under an error's status",
        503,
        {"code": "ServiceUnavailable", "message": "Later.", "output": {"text": "A"}},
        ServerError,
        "Later.",
        "ServiceUnavailable",
        "of-header",
    ),
    (
        "an object as detail",
        400,
        {"detail": {"code": "Arrearage", "message": "Pay."}},
        QuotaError,
        "Pay.",
        "Arrearage",
        "of-header",
    ),
    (
        "a list of objects as errors",
        400,
        {"errors": [{"code": "Arrearage", "message": "Pay."}, {"message": "Second."}], "request_id": "r-1"},
        QuotaError,
        "Pay.",
        "Arrearage",
        "r-1",
    ),
    (
        "an error in a detail",
        400,
        {"detail": {"error": {"code": "Arrearage", "message": "Pay."}}},
        QuotaError,
        "Pay.",
        "Arrearage",
        "of-header",
    ),
    (
        "details beside a message of its own",
        400,
        {"code": "InvalidParameter", "message": "Bad.", "errors": [{"message": "n"}]},
        BadRequestError,
        "Bad.",
        "InvalidParameter",
        "of-header",
    ),
    (
        "a list of errors",
        400,
        [1, {"error": {"code": "Arrearage", "message": "Pay."}}, {"message": "Second."}],
        QuotaError,
        "Pay.",
        "Arrearage",
        "of-header",
    ),
    (
        "bytes that are no UTF-8",
        400,
        b'{"code": "Arrearage", "message": "Pay \xff."}',
        QuotaError,
        "Pay \ufffd.",
        "Arrearage",
        "of-header",
    ),
    (
        "cut off in the message",
        400,
        b'{"error": {"code": "Arrearage", "message": "Your account',
        QuotaError,
        "Your account",
        "Arrearage",
        "of-header",
    ),
    (
        "cut off after the code",
        400,
        b'{"code": "Arrearage", "mess',
        QuotaError,
        "the service answered with HTTP status 400 and no message",
        "Arrearage",
        "of-header",
    ),
    (
        "cut off inside a character",
        400,
        '{"code": "Arrearage", "message": "好'.encode()[:-1],
        QuotaError,
        "",
        "Arrearage",
        "of-header",
    ),
    (
        "an error event of text",
        429,
        b"event:error\ndata:Too fast.\n\n",
        RateLimitError,
        "Too fast.",
        None,
        "of-header",
    ),
    (
        "an error event of text after another",
        429,
        b'data:{"choices":[]}\n\nevent:error\ndata:Too fast.\n\n',
        RateLimitError,
        "Too fast.",
        None,
        "of-header",
    ),
    (
        "an error event that says nothing",
        429,
        b"event:error\ndata:\n\n",
        RateLimitError,
        "HTTP status 429 without an error object",
        None,
        "of-header",
    ),
    (
        "an error in an error",
        400,
        {"error": {"error": {"message": "Not so.", "code": "invalid_parameter_error"}}, "request_id": "r-1"},
        BadRequestError,
        "Not so.",
        "invalid_parameter_error",
        "r-1",
    ),
    ("a string in an error", 400, {"error": {"error": "Not so."}}, BadRequestError, "Not so.", None, "of-header"),
    (
        "an error in an error, without an end",
        400,
        {"error": {"error": {"error": {"error": {"error": {"error": {"message": "Deep."}}}}}}},
        BadRequestError,
        "the service answered with HTTP status 400 and no message: {'error': ",
        None,
        "of-header",
    ),
    *(
        (f"the message as {name}", 400, {"error": {name: said}}, BadRequestError, text, None, "of-header")
        for name, said, text in (
            ("detail", "No such model.", "No such model."),
            ("detail", [{"loc": ["body"], "msg": "field required"}], "field required"),
            ("msg", "No such model.", "No such model."),
            ("error_msg", "No such model.", "No such model."),
            ("errors", ["One.", "Two."], "['One.', 'Two.']"),
            ("reason", "No such model.", "the service answered with HTTP status 400 and no message: {'reason': 'No su"),
        )
    ),
    (
        "a bare string with its message beside it",
        404,
        {"error": "Not Found", "message": "No such model.", "status": 404},
        NotFoundError,
        "Not Found: No such model.",
        None,
        "of-header",
    ),
    ("no more than that there is one", 500, {"error": True, "message": "No."}, ServerError, "No.", None, "of-header"),
    (
        "a message beside the error",
        500,
        {"error": {"code": "InternalError"}, "message": "No."},
        ServerError,
        "No.",
        "InternalError",
        "of-header",
    ),
    (
        "a bare string with its code beside it",
        429,
        {"error": "Too fast.", "code": "Throttling"},
        RateLimitError,
        "Too fast.",
        "Throttling",
        "of-header",
    ),
    (
        "a code of success under an error's status",
        429,
        {"code": 200, "message": "Too fast."},
        RateLimitError,
        "Too fast.",
        "200",
        "of-header",
    ),
    (
        "another object",
        422,
        {"detail": "no"},
        BadRequestError,
        "no",
        None,
        "of-header",
    ),
    (
        "a code that is no status",
        400,
        {"error": {"message": "No.", "code": 20035}},
        BadRequestError,
        "No.",
        "20035",
        "of-header",
    ),
    (
        "a code that is another status",
        400,
        {"error": {"message": "No.", "code": 503}},
        BadRequestError,
        "No.",
        "503",
        "of-header",
    ),
    (
        "type for code",
        400,
        {"error": {**FLAGGED, "code": None}},
        ContentFilterError,
        "Not appropriate.",
        None,
        "of-header",
    ),
    (
        "HTML, wrong request",
        400,
        b"<html>",
        BadRequestError,
        "HTTP status 400 without an error object",
        None,
        "of-header",
    ),
    ("a list", 500, [], ServerError, "HTTP status 500 without an error object", None, "of-header"),
    (
        "HTML",
        502,
        b"<html><h1>Bad gateway</h1></html>",
        ServerError,
        "HTTP status 502 without an error object",
        None,
        "of-header",
    ),
    ("nothing", 503, b"", ServerError, "HTTP status 503 without an error object", None, "of-header"),
    ("not UTF-8", 500, b"\xff\xfe", ServerError, "HTTP status 500 without an error object", None, "of-header"),
    (
        "half of JSON",
        429,
        b'{"error": {"mess',
        RateLimitError,
        "HTTP status 429 without an error object",
        None,
        "of-header",
    ),
    (
        "nested 200,000 deep",
        500,
        b"[" * 200_000,
        ServerError,
        "HTTP status 500 without an error object",
        None,
        "of-header",
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "cls", "message", "code", "request_id"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES]
)
def test_bodies(
    status: int, body: Any, cls: type[ModelStudioError], message: str, code: str | None, request_id: str
) -> None:
    """Class, message, code, request id, and the body: decoded where there is an object in it, else its text."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = error_of_response(ResponseHead(status, HEADERS), raw)
    assert type(error) is cls
    assert error.message.startswith(message)
    assert (error.status_code, error.code, error.request_id) == (status, code, request_id)
    assert error.response is not None
    assert (error.response.status_code, error.response.headers) == (status, HEADERS)
    assert error.response.text == raw.decode("utf-8", "replace")
    text = raw.decode("utf-8", "replace")[:65_536]
    if isinstance(body, list):
        body = next((item for item in body if isinstance(item, dict)), None)
    if isinstance(body, dict) and body:
        assert error.body == body
    else:
        assert isinstance(error.body, dict) or error.body in (text, error.message)
    assert str(OpenAICodec().error(ResponseHead(status, HEADERS), raw)) == str(error)


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
def test_an_error_body_may_come_as_an_event(
    frame: bytes, value: dict[str, Any], cls: type[ModelStudioError], code: str
) -> None:
    """To a call that streams, an error status may come with an event for its body: class, code and id are kept."""
    error = error_of_response(
        ResponseHead(400, {"content-type": "text/event-stream"}), frame % json.dumps(value).encode()
    )
    assert type(error) is cls
    assert (error.status_code, error.code, error.request_id) == (400, code, "r-1")
    assert error.body == value


def test_what_a_body_begins_with_is_shown_and_no_more() -> None:
    """A page of HTML shows its beginning and its content type in the message, not all of itself."""
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
def test_a_redirect_is_an_error_that_names_its_target(status: int) -> None:
    """Redirects are not followed with a key; the message says where to and what to set."""
    error = error_of_response(ResponseHead(status, {"location": "https://elsewhere/v1"}), b"")
    assert type(error) is APIStatusError
    assert "https://elsewhere/v1" in error.message
    assert "base_url" in error.message
    assert not error.is_retryable
    assert "nowhere" in error_of_response(ResponseHead(status, {}), b"").message


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
def test_what_leads_nowhere_is_no_redirect(status: int) -> None:
    """Its message shows what there is, and does not speak of another address."""
    error = error_of_response(ResponseHead(status, {}), b"")
    assert type(error) is APIStatusError
    assert error.message.startswith(f"HTTP status {status} without an error object")
    assert "base_url" not in error.message


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_body_cut_anywhere_never_says_what_was_not_there(cut: int) -> None:
    """What is read of half an object is a beginning of what it says."""
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
    """Every form of the header is read, for errors with and without an object; what makes no sense is nothing."""
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
def test_no_header_raises(headers: dict[str, str], status: int) -> None:
    """Whatever the headers are, there is an error, and the wait it names is none or a number of seconds."""
    for body in (b"", b'{"code":"Throttling","message":"m"}'):
        seconds = error_of_response(ResponseHead(status, headers), body).retry_after
        assert seconds is None or 0 <= seconds < float("inf")


def test_headers_that_may_hold_a_secret_are_not_kept() -> None:
    """Cookies and what authorises do not get into an error."""
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
    """An `error` that says something, or a code with a message and no answer; an answer with a code besides is none."""
    assert is_error_object(value) is is_error
