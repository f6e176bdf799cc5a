"""Class, code and message of error bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ModelStudioError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.protocols.errors import error_of_response
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import ResponseHead
from tests.core.error_objects import FLAGGED

HEADERS = {"content-type": "application/json", "x-request-id": "of-header"}
NO_KEY = {"message": "You gave no API key.", "type": "invalid_request_error", "param": None, "code": None}
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
    """Class, message, code, request ID, and the body: decoded if it is an object, otherwise text."""
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
