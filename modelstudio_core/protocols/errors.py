"""Parse error responses. Either protocol may return the error format of the other (vendor's error-code page).

Compatible: {"error": {"message", "type", "param", "code"}, "request_id"}, where the error may be a bare string. Native:
{"code", "message", "request_id"}. Gateways may return HTML or an empty body, nest errors, or use other field names; the
resulting error quotes what the body contains.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from pydantic_core import from_json

from modelstudio_core.errors import APIStatusError, ErrorResponse, ProtocolError, status_error
from modelstudio_core.protocols.codec import as_integer, as_string, excerpt, read_json
from modelstudio_core.protocols.sse import EventDecoder, ServerSentEvent
from modelstudio_core.redaction import is_credential
from modelstudio_core.types import ResponseHead

# FastAPI and other servers use different field names
_OWN_MESSAGES = ("message", "Message", "msg", "error_msg")
_DETAILS = ("detail", "errors")
_MESSAGES = (*_OWN_MESSAGES, *_DETAILS)
_CODES = ("code", "Code", "error_code")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ERROR = 400  # lowest HTTP error status
_MAX_NESTING = 4  # maximum nesting of errors to unwrap
_SUCCESS = re.compile(r"\s*(?:0*[0-3]?\d{1,2}(?:\s+ok)?|success|succeeded|successful|ok)\s*", re.ASCII | re.IGNORECASE)
_STATUS_IN_MESSAGE = re.compile(r"(?:\w+: )?<([45]\d\d)>")  # "server_error: <429> ...", from recorded probes
# the code of an error in a Responses stream may be a status in words, or OpenAI's name for it
_STATUS_BY_CODE = {status.phrase.lower(): status.value for status in HTTPStatus if status >= _ERROR}
_STATUS_BY_CODE |= {"server_error": 500, "rate_limit_exceeded": 429}
_XML_NAMES = {"Code": "code", "Message": "message", "RequestId": "request_id"}
_XML_FIELD = re.compile(r"<(Code|Message|RequestId)>([^<]*)</")


def error_of_response(head: ResponseHead, body: bytes) -> APIStatusError:
    """Return the typed error for a response whose status is not 2xx."""
    response = ErrorResponse(head.status, safe_headers(head), body.decode("utf-8", "replace"))
    events = [ServerSentEvent(*event) for event in EventDecoder().feed(body + b"\n\n")]  # the body may be an event
    objects = [found for data in (body, *(event.data for event in events)) if (found := _object_in(data))]
    if (value := next(filter(_has_code_or_message, objects), None)) is not None:
        return error_of_object(value, head.status, head, response)
    if xml := _xml_error(response.text):
        return error_of_object(xml, head.status, head, response)
    for event in events:
        if event.name == "error" and event.data.strip():
            return error_of_event(event._replace(status=head.status), head, response)
    if objects:
        return error_of_object(objects[0], head.status, head, response)
    if head.status in _REDIRECTS:
        target = head.headers.get("location", "nowhere")
        message = f"the server redirects to {target}; redirects are not followed, so set base_url to the final URL"
    else:
        kind = head.headers.get("content-type", "no content type")
        message = f"HTTP status {head.status} without an error object ({kind}); the body begins with {excerpt(body)}"
    return status_error(
        head.status,
        code=None,
        message=message,
        request_id=request_id_of(head, {}),
        retry_after=_retry_after(head),
        body=response.text,
        response=response,
    )


def _xml_error(text: str) -> dict[str, str]:
    """Return the error in the XML of an object store (OSS, "Error responses"), or an empty dict if it is none."""
    if not text.lstrip("\ufeff \r\n").startswith(("<?xml", "<Error>")):
        return {}
    found = {name: html.unescape(value) for name, value in _XML_FIELD.findall(text)}
    return {_XML_NAMES[name]: value for name, value in found.items()} if "Message" in found else {}


def error_of_object(
    value: Mapping[str, Any], status: int | None, head: ResponseHead, response: ErrorResponse | None = None
) -> APIStatusError:
    """Return the typed error for a decoded error object. `status` is that of the response or event.

    Without an error status there, the status is in the code or at the start of the message, if anywhere.
    """
    inner = _innermost(value)
    code = _code_in(inner)
    if status is None or status < _ERROR:
        status = _status_in(code, _message_in(inner)) or status
    return status_error(
        status,
        code=as_string(code),
        kind=str(inner.get("type") or ""),
        message=_message_of(inner, status),
        request_id=as_string(value.get("request_id")) or request_id_of(head, inner),
        retry_after=_retry_after(head),
        body=dict(value),
        response=response,
    )


def _status_in(code: Any, message: str) -> int | None:
    """Return the HTTP status that an error object names, or None."""
    if isinstance(code, int) and _ERROR <= code < 600:
        return code
    named = _STATUS_IN_MESSAGE.match(message)
    return int(named[1]) if named else _STATUS_BY_CODE.get(str(code).lower())


def error_of_event(event: ServerSentEvent, head: ResponseHead, response: ErrorResponse | None = None) -> APIStatusError:
    """Return the typed error for an event that is named `error` or has an error status.

    Its data may be an error object, another JSON value, text, or empty.
    """
    text = event.data.decode("utf-8", "replace").strip()
    try:
        value = read_json(event.data)
    except ProtocolError:
        value = text
    if value and isinstance(value, dict):
        return error_of_object(value, event.status, head, response)
    message = value if isinstance(value, str) else text if value else ""
    return status_error(
        event.status,
        code=None,
        message=message or "the service sent an error event without a message",
        request_id=request_id_of(head, {}),
        retry_after=_retry_after(head),
        body=message or None,
        response=response,
    )


def _object_in(data: bytes) -> dict[str, Any] | None:
    """Return the object in an error body, or the first object of a list.

    A body that is truncated or invalid UTF-8 is parsed as far as possible, and used if it has a code or a message.
    """
    try:
        return _first_object(read_json(data))
    except ProtocolError:
        text = data.decode("utf-8", "replace").strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        value = _first_object(from_json(text, allow_partial="trailing-strings"))
    except ValueError:
        return None
    return value if value and _has_code_or_message(value) else None


def _first_object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, list):
        value = next((item for item in value if isinstance(item, dict)), None)
    return value if isinstance(value, dict) else None


def _has_code_or_message(value: Mapping[str, Any]) -> bool:
    """Return True if an object has a code or a message."""
    inner = _innermost(value)
    return _code_in(inner) is not None or bool(_message_in(inner))


def _innermost(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object with the code and message: `value` or an error nested in it.

    A nested error without a message or code, such as a bare string, inherits those of the object around it.
    """
    for _ in range(_MAX_NESTING):  # each round goes one level deeper
        error, beside = value.get("error"), _message_in(value)
        if not error or (isinstance(error, Mapping) and not any(error.values())):  # missing or empty
            error, beside = _details_of(value), ""
        if not error:
            break
        if not isinstance(error, Mapping):  # a text, or True
            messages = (str(error) if error is not True else "", beside)
            return {**value, "message": ": ".join(dict.fromkeys(filter(None, messages)))}
        inherited = {"message": beside} if beside and not _message_in(error) else {}
        code = _code_in(value)
        if code is not None and _code_in(error) is None and not _is_success_code(code):
            inherited["code"] = code
        value = {**error, **inherited}
    return value


def _details_of(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the object (or first object of a list) that `value` has in place of a message, if any."""
    if _message_in(value, _OWN_MESSAGES):
        return None
    found = (value.get(name) for name in _DETAILS)
    return next((each for item in found if (each := _first_object(item))), None)


def _message_in(value: Mapping[str, Any], names: Iterable[str] = _MESSAGES) -> str:
    return next((str(value[name]) for name in names if value.get(name)), "")


def _code_in(value: Mapping[str, Any]) -> Any:
    return next((value[name] for name in _CODES if value.get(name) not in (None, "")), None)


def _message_of(value: Mapping[str, Any], status: int | None) -> str:
    """Return the message of an error object, or a generic message that quotes the object."""
    known = "sent an error without a" if status is None else f"answered with HTTP status {status} and no"
    return _message_in(value) or f"the service {known} message: {value!r:.200}"


def is_error_object(value: Mapping[str, Any]) -> bool:
    """Return True if a decoded object is an error: it has an `error`, or a bare code and message without an answer.

    A code below 400, or such as "success", is not an error.
    """
    if _is_error(value.get("error")):
        return True
    return _is_bare_error(value) and not _is_success_code(value["code"])


def reports_failure(value: Mapping[str, Any]) -> bool:
    """Return True if a decoded response reports an error, even beside results.

    A partly failed rerank or embedding response has status 200, a code and some of the results. Chat responses can have
    a code and still be complete: see `is_error_object`.
    """
    code = _code_in(value)
    return is_error_object(value) or (code is not None and not _is_success_code(code))


def _is_error(error: Any) -> bool:
    """Return True if the value of `error` is an error: not empty, and without a success code.

    Of the numbers, only 0 and 200 to 299 are success codes here. Others may be a server's own error codes.
    """
    if not isinstance(error, Mapping):
        return bool(error)
    number = as_integer(code := error.get("code"))
    success = _is_success_code(code) and (number is None or number == 0 or 200 <= number < 300)
    return any(error.values()) and not success


def check_finish_reason(reason: Any, choice: Mapping[str, Any], value: Mapping[str, Any], head: ResponseHead) -> None:
    """Raise the typed error if a finished choice of `value` ended with an error."""
    if not reason or reason == "null":
        return
    error = choice.get("error")
    if reason == "error" or _is_error(error):
        fields = {"finish_reason": reason, "error": error, "request_id": value.get("request_id")}
        raise error_of_object({name: item for name, item in fields.items() if item}, None, head)


def _is_success_code(code: Any) -> bool:
    if isinstance(code, int) or (isinstance(code, float) and code.is_integer()):
        return 0 <= code < 400
    return isinstance(code, str) and _SUCCESS.fullmatch(code) is not None


def _is_bare_error(value: Mapping[str, Any]) -> bool:
    if not value.get("code") or "message" not in value:
        return False
    answer = [value.get("choices"), value.get("output")]
    return not any(answer) or (bool(value["message"]) and not _has_content(answer))


def _has_content(answer: Any) -> bool:
    """Return True if an answer has any content."""
    if isinstance(answer, Mapping):
        return any(_has_content(item) for name, item in answer.items() if name not in ("index", "role"))
    if isinstance(answer, list):
        return any(map(_has_content, answer))
    return bool(answer) and answer != "null"


def request_id_of(head: ResponseHead, value: Mapping[str, Any]) -> str | None:
    """Return the request id from the body, or from the headers."""
    return as_string(value.get("request_id")) or head.headers.get("x-request-id") or None


def safe_headers(head: ResponseHead) -> dict[str, str]:
    """Return the response's headers without those whose names mark them as credentials."""
    return {name: value for name, value in head.headers.items() if not is_credential(name)}


def _retry_after(head: ResponseHead) -> float | None:
    """Return seconds to wait, from `retry-after-ms`, or `retry-after` in seconds or as a date relative to `date`."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(head.headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        now, then = (parsedate_to_datetime(head.headers[name]) for name in ("date", "retry-after"))
        return max(0.0, (then - now).total_seconds())
    except (LookupError, ValueError, TypeError, ArithmeticError):  # an absurd time zone overflows
        return None
