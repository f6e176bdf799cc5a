"""The error tree: classes for the service's errors, their fields, and redaction of the key."""

from __future__ import annotations

import copy
import json
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from modelstudio_core import errors
from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    ErrorResponse,
    FileError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    RefusalError,
    ServerError,
    StreamTruncatedError,
    status_error,
)
from modelstudio_core.redaction import Redactor, is_credential
from modelstudio_core.types import (
    Audio,
    ChatResult,
    Choice,
    InvalidToolCall,
    ResponseDelta,
    ToolCall,
    Usage,
)

TREE: list[tuple[type[ModelStudioError], type[Exception], bool]] = [
    # class, what it is a kind of, whether trying again may help
    (ModelStudioError, Exception, False),
    (ConfigurationError, ModelStudioError, False),
    (APIConnectionError, ModelStudioError, True),
    (APITimeoutError, APIConnectionError, True),
    (APIStatusError, ModelStudioError, False),
    (AuthenticationError, APIStatusError, False),
    (PermissionDeniedError, APIStatusError, False),
    (BadRequestError, APIStatusError, False),
    (ContextLengthError, BadRequestError, False),
    (ContentFilterError, BadRequestError, False),
    (FileError, BadRequestError, False),
    (NotFoundError, APIStatusError, False),
    (RateLimitError, APIStatusError, True),
    (QuotaError, APIStatusError, False),
    (ServerError, APIStatusError, True),
    (ProtocolError, ModelStudioError, False),
    (StreamTruncatedError, ProtocolError, True),
    (RefusalError, ModelStudioError, False),
]
CLASSES = [cls for cls, _, _ in TREE]


@pytest.mark.parametrize(("cls", "base", "retryable"), TREE)
def test_the_tree(cls: type[ModelStudioError], base: type[Exception], retryable: bool) -> None:
    """Each class has its parent and defaults. The docstring draws all of them."""
    assert cls.__bases__ == (base,)
    assert cls("x").is_retryable is retryable
    assert cls("x", is_retryable=not retryable).is_retryable is not retryable
    assert cls.is_retryable is retryable
    assert cls("x").is_resent is (cls is not StreamTruncatedError)
    assert not cls("x", is_resent=False).is_resent
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__


def test_the_tree_is_complete() -> None:
    """The table above has every class of the module."""
    defined = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, ModelStudioError)}
    assert defined == set(CLASSES)


# ---------------------------------------------------------------- what the service says -> class

B, Q, R, S = BadRequestError, QuotaError, RateLimitError, ServerError
P, N, AUTH = PermissionDeniedError, NotFoundError, AuthenticationError
SAID: list[tuple[int | None, str | None, str, type[APIStatusError]]] = [
    # the vendor's error-code page, row by row: status, code (native, compatible), typical message
    (400, "InvalidParameter", "parameter.enable_thinking must be set to false for non-streaming calls", B),
    (400, "invalid_parameter_error", "This model only support stream mode.", B),
    (400, "InvalidParameter.NotSupportEnableThinking", "The model x does not support enable_thinking", B),
    (400, "InvalidParameter", "Json mode response is not supported when enable_thinking is true", B),
    (400, "InvalidParameter", "Range of input length should be [1, 30720]", ContextLengthError),
    (400, "InternalError.Algo.InvalidParameter", "Range of input length should be [1, 30720]", ContextLengthError),
    (400, "InternalError.Algo.InvalidParameter", "Range of max_tokens should be [1, 8192]", B),
    (400, "invalid_request_error", "This model's maximum context length is 131072 tokens.", ContextLengthError),
    (400, "InvalidParameter", "url error, please check url!", B),
    (400, "InvalidParameter", "Download the media resource timed out", B),
    (400, "DataInspectionFailed", "Input data may contain inappropriate content.", ContentFilterError),
    (400, "data_inspection_failed", "Output data may contain inappropriate content.", ContentFilterError),
    (400, "<400> InternalError.Algo.DataInspectionFailed", "Output data is not fine.", ContentFilterError),
    (None, None, "Output data may contain inappropriate content.", ContentFilterError),
    (400, "Arrearage", "Access denied, please make sure your account is in good standing.", Q),
    (400, "BadRequest.EmptyInput", "Required body invalid", B),
    (400, None, "malformed body", B),
    (401, "InvalidApiKey", "Invalid API-key provided.", AUTH),
    (401, "invalid_api_key", "Incorrect API key provided.", AUTH),
    (401, "NOT AUTHORIZED", "Not authorized.", AUTH),
    (401, None, "invalid access token or token expired", AUTH),
    (403, "AccessDenied", "Access denied.", P),
    (403, "access_denied", "Access denied.", P),
    (403, "Model.AccessDenied", "Model access denied.", P),
    (403, "Workspace.AccessDenied", "Workspace access denied.", P),
    (403, "AccessDenied.Unpurchased", "Access to model denied. Please buy it.", Q),
    (403, "AllocationQuota.FreeTierOnly", "Only the free tier is open.", Q),
    (403, None, "The free tier of the model has been exhausted. If you wish to continue, pay.", Q),
    (404, "ModelNotFound", "Model can not be found.", N),
    (404, "model_not_found", "The model x does not exist or you do not have access to it.", N),
    (404, "model_not_supported", "Unsupported model x for OpenAI compatibility mode.", N),
    (404, "WorkSpaceNotFound", "WorkSpace can not be found.", N),
    (413, None, "", B),
    (422, None, "", B),
    (429, "Throttling", "Requests throttling triggered.", R),
    (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.", R),
    (429, "LimitRequests", "You exceeded your current requests list.", R),
    (429, "limit_requests", "You exceeded your current requests list.", R),
    (429, "Throttling.BurstRate", "Request rate increased too quickly.", R),
    (429, "limit_burst_rate", "Request rate increased too quickly.", R),
    (429, "Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit.", R),
    (429, "insufficient_quota", "You exceeded your current quota.", R),  # tokens a minute here, not money
    (429, "Throttling.AllocationQuota", "Free allocated quota exceeded.", Q),
    (429, "Throttling.Concurrency", "", R),
    (429, "CommodityNotPurchased", "Commodity has not purchased yet.", Q),
    (429, "PrepaidBillOverdue", "The prepaid bill is overdue.", Q),
    (429, "PostpaidBillOverdue", "The postpaid bill is overdue.", Q),
    (429, None, "", R),
    (429, None, "Input tokens exceed the limit of a minute.", R),
    (500, "InternalError", "An internal error has occured, please try again later.", S),
    (500, "internal_error", "An internal error has occured.", S),
    (500, "InternalError.Algo", "Expecting value.", S),
    (500, "SystemError", "An system error has occured.", S),
    (500, "ModelServiceFailed", "Failed to request model service.", S),
    (500, "RequestTimeOut", "Request timed out, please try again later.", S),
    (500, "ResponseTimeout", "Response timed out.", S),
    (500, "InternalError.Timeout", "", S),
    (
        503,
        "ModelServingError",
        "Too many requests. Your requests are being throttled due to system capacity limits.",
        S,
    ),
    (503, "ServiceUnavailable", "", S),
    (503, "ModelUnavailable", "Model is unavailable, please try again later.", S),
    (502, None, "", S),
    (599, None, "", S),
    # the code counts more than the status, and is all that an event may have
    (500, "InvalidParameter", "", B),
    (400, "Throttling.RateQuota", "", R),
    (503, "Arrearage", "", Q),
    (None, "Throttling.RateQuota", "", R),
    (None, "internal_error", "", S),
    (None, "InvalidApiKey", "", AUTH),
    # neither the code nor the message is known
    (402, None, "", Q),
    (418, "teapot", "", B),
    (None, "new_code", "", APIStatusError),
    (302, None, "", APIStatusError),
]


@pytest.mark.parametrize(("status", "code", "message", "cls"), SAID)
def test_the_class_of_an_error(status: int | None, code: str | None, message: str, cls: type[APIStatusError]) -> None:
    """Code and message determine it, then the status. The class determines whether it is retryable."""
    error = status_error(status, code=code, message=message)
    assert type(error) is cls
    assert (error.status_code, error.code) == (status, code)
    assert error.is_retryable is (cls in (RateLimitError, ServerError))
    assert error.message == message or not message


OF_FILES = [  # the vendor's error-code page
    ("Invalid file [id:file-fe-a].", "file-fe-a", False),
    ("File [id: file-fe-a] cannot be found.", "file-fe-a", False),
    ("File [id:file-fe-a] format is not supported.", "file-fe-a", False),
    ("File [id:file-fe-a] exceeds page limits (15000 pages).", "file-fe-a", False),
    ("Too many files provided.", None, False),
    ("File parsing in progress, please try again later.", None, True),
]


@pytest.mark.parametrize(("message", "file", "retryable"), OF_FILES)
def test_file_errors(message: str, file: str | None, retryable: bool) -> None:
    """They have the name if the service sends it. A file still being parsed is retryable."""
    error = status_error(400, code="invalid_parameter_error", message=message)
    assert isinstance(error, FileError)
    assert (error.file, error.is_retryable) == (file, retryable)
    assert pickle.loads(pickle.dumps(error)).file == file


SAYS_LITTLE = {"invalid_request_error", "BadRequest.EmptyInput", "teapot", "new_code"}  # the status has to say it
CODED = [(code, message, cls) for _, code, message, cls in SAID if code and code not in SAYS_LITTLE]


@pytest.mark.parametrize(("code", "message", "cls"), CODED)
def test_the_class_without_a_status(code: str, message: str, cls: type[APIStatusError]) -> None:
    """An event in mid-stream may have only a code."""
    assert type(status_error(None, code=code, message=message)) is cls


KINDS: list[tuple[int | None, str | None, str, type[APIStatusError]]] = [
    (None, None, "limit_requests", RateLimitError),
    (None, None, "data_inspection_failed", ContentFilterError),
    (401, None, "invalid_request_error", AuthenticationError),
    (None, "invalid_parameter_error", "invalid_request_error", BadRequestError),
]


@pytest.mark.parametrize(("status", "code", "kind", "cls"), KINDS)
def test_the_type_of_an_error(status: int | None, code: str | None, kind: str, cls: type[APIStatusError]) -> None:
    """If `code` is null, `type` may have the code."""
    error = status_error(status, code=code, message="m", kind=kind)
    assert type(error) is cls
    assert error.code == code


@pytest.mark.parametrize("status", [408, 409])
def test_408_and_409_are_retryable(status: int) -> None:
    """Unless their code is final."""
    error = status_error(status, code=None, message="")
    assert type(error) is APIStatusError
    assert error.is_retryable
    assert not status_error(status, code="InvalidParameter", message="").is_retryable


def test_an_error_without_a_message() -> None:
    """The message has the status."""
    assert "503" in status_error(503, code=None, message="").message


def test_large_bodies_are_truncated() -> None:
    """Text is kept up to 64 KiB, objects completely."""
    assert len(status_error(500, code=None, message="m", body="x" * 1_000_000).body) == 65_536
    body = {"message": "x" * 1_000_000}
    assert status_error(500, code=None, message="m", body=body).body == body


# ---------------------------------------------------------------- what an error shows and keeps

SHOWN: list[tuple[dict[str, Any], str]] = [
    ({}, "It failed."),
    ({"status_code": 429}, "It failed. (status=429)"),
    ({"code": "Throttling", "request_id": "r-1"}, "It failed. (code=Throttling, request_id=r-1)"),
    (
        {"status_code": 429, "code": "Throttling", "request_id": "r-1", "retry_after": 3.0, "body": {"a": 1}},
        "It failed. (status=429, code=Throttling, request_id=r-1)",
    ),
    ({"status_code": 429, "url": "https://host/v1/x"}, "It failed. (status=429, url=https://host/v1/x)"),
]


@pytest.mark.parametrize(("fields", "text"), SHOWN)
def test_str(fields: dict[str, Any], text: str) -> None:
    """Message, then status, code, request ID and URL if known."""
    assert str(RateLimitError("It failed.", **fields)) == text


@pytest.mark.parametrize(("message", "begins"), [("no", "no. "), ("no.\n", "no. "), ("no?", "no? "), ("无。", "无。 ")])
def test_a_sentence_can_be_added(message: str, begins: str) -> None:
    """The message ends with punctuation before it."""
    error = ModelStudioError(message)
    error.add_sentence("File: 'a'.")
    assert (error.message, error.args) == (f"{begins}File: 'a'.", (f"{begins}File: 'a'.",))


def test_str_shows_a_url_once() -> None:
    """Not again if the message has it."""
    assert str(ServerError("It failed at https://host/v1/x.", url="https://host/v1/x")).count("https://") == 1


PARTIAL = ChatResult(
    (
        Choice(
            0,
            "hm",
            "A",
            (ToolCall("call_1", "f", "{}", {}),),
            (InvalidToolCall("call_2", "g", "{", "not JSON"),),
            None,
            ({"token": "A"},),
            Audio("AAAA", "hello", "audio_1", 7),
        ),
    ),
    Usage(1, 2, 3, cached_tokens=0),
    ResponseDelta("chatcmpl-7", "r-1", "qwen-plus", 7),
)
FULL: dict[str, Any] = {
    "status_code": 429,
    "code": "Throttling",
    "request_id": "r-1",
    "retry_after": 1.5,
    "body": {"error": {"code": "Throttling", "list": [1, None]}},
    "response": ErrorResponse(429, {"x-request-id": "r-1"}, '{"error": {}}'),
    "partial": PARTIAL,
    "url": "https://host/v1/chat/completions",
    "is_retryable": True,
    "is_resent": False,
}


@pytest.mark.parametrize(
    "again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
@pytest.mark.parametrize("fields", [{}, FULL], ids=["bare", "full"])
@pytest.mark.parametrize("cls", CLASSES)
def test_errors_can_be_pickled(cls: type[ModelStudioError], fields: dict[str, Any], again: Any) -> None:
    """Every class, with every field including the partial answer."""
    error = cls("It failed.", **fields)
    back = again(error)
    assert type(back) is cls
    assert vars(back) == vars(error)
    assert (back.args, str(back), back.is_retryable) == (error.args, str(error), error.is_retryable)
    assert {name: getattr(back, name) for name in fields} == fields


def test_fields_default_to_none() -> None:
    """A bare error has every attribute."""
    error = ProtocolError("x")
    names = ["status_code", "code", "request_id", "retry_after", "body", "response", "partial", "url"]
    assert [getattr(error, name) for name in names] == [None] * 8


KEY = "sk-very-secret"


def redactor(*credentials: str) -> Redactor:
    """Return a redactor of `credentials`."""
    return Redactor(map(SecretStr, credentials))


def test_redact_all_fields() -> None:
    """Message, code, body, headers and text."""
    error = AuthenticationError(
        f"Incorrect API key provided: {KEY}.",
        status_code=401,
        code=f"invalid {KEY}",
        request_id="r-1",
        body={"error": {"message": f"bad {KEY}", KEY: ["x", {"deep": KEY}], "n": 1, "none": None}},
        response=ErrorResponse(401, {"x-echo": f"Bearer {KEY}", "x-request-id": "r-1"}, f"text {KEY}"),
    )
    error.redact(redactor(KEY))
    everything = (str(error), repr(error), error.args, error.message, error.code, error.body, error.response)
    assert KEY not in repr(everything)
    assert KEY.encode() not in pickle.dumps(error)
    assert error.message == "Incorrect API key provided: [redacted]."
    assert error.body["error"]["message"] == "bad [redacted]"
    assert (error.body["error"]["n"], error.body["error"]["none"]) == (1, None)
    assert error.response is not None
    assert error.response == ErrorResponse(
        401, {"x-echo": "Bearer [redacted]", "x-request-id": "r-1"}, "text [redacted]"
    )
    assert error.request_id == "r-1"


def test_redact_the_request_id() -> None:
    """A gateway may use the key as its request ID."""
    error = ServerError("It failed.", request_id=f"r-{KEY}")
    error.redact(redactor(KEY))
    assert error.request_id == "r-[redacted]"
    assert KEY not in str(error)


def chained(*links: tuple[Exception, bool]) -> ServerError:
    """An error with these errors in its chain, each as cause, or with False as context only."""
    error: Exception = ServerError("It failed.")
    last = error
    for link, is_cause in links:
        if is_cause:
            last.__cause__ = link
        else:
            last.__context__ = link
        last = link
    assert isinstance(error, ServerError)
    return error


CHAINS: list[tuple[str, list[tuple[Exception, bool]]]] = [
    ("a cause", [(ValueError(f"bad {KEY}"), True)]),
    ("a context", [(ValueError(f"bad {KEY}"), False)]),
    ("a cause of a cause", [(ValueError("x"), True), (RuntimeError(f"bad {KEY}", [KEY]), True)]),
    ("a context of a context", [(ValueError("x"), False), (KeyError({KEY: KEY}), False)]),
    ("a context of a cause", [(ValueError(1, KEY), True), (KeyError(f"bad {KEY}"), False)]),
]


@pytest.mark.parametrize("links", [case[1] for case in CHAINS], ids=[case[0] for case in CHAINS])
def test_redact_the_exception_chain(links: list[tuple[Exception, bool]]) -> None:
    """Errors of other libraries at any depth. Other text is kept."""
    error = chained(*links)
    error.redact(redactor(KEY))
    for link, _ in links:
        assert KEY not in repr(link.args)
        assert link.args == ("x",) or "[redacted]" in repr(link.args)
    assert KEY not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(("secret", "gone"), [("x", False), ("es", False), ("request", False), ("requests", True)])
def test_short_secrets_are_not_redacted(secret: str, gone: bool) -> None:
    """A placeholder key of less than 8 characters would garble the text."""
    said = "Two requests, an extra text."
    error = ServerError(said, code=said, request_id=said, body={"message": said}, response=ErrorResponse(500, {}, said))
    error.__cause__ = ValueError(said)
    error.redact(redactor(secret))
    kept = said.replace(secret, "[redacted]") if gone else said
    assert error.response is not None
    assert [error.message, error.code, error.request_id, error.response.text] == [kept] * 4
    assert (error.body, error.__cause__.args) == ({"message": kept}, (kept,))


def test_redact_changes_nothing_else() -> None:
    """Empty or absent secrets change nothing."""
    error = ServerError("It failed.", body=f"<html>{KEY}</html>")
    error.redact(redactor())
    error.redact(redactor("", "sk-other", "It"))  # a placeholder for a local server is no key
    assert error.body == f"<html>{KEY}</html>"
    assert error.message == "It failed."
    error.redact(redactor(KEY))
    assert error.body == "<html>[redacted]</html>"


# ---------------------------------------------------------------- how a credential is recognised

SECRET = 'sk-Mark/0f4.a17_c0ff+"ee=='


def everywhere(said: str) -> ServerError:
    """An error with `said` in every field."""
    error = ServerError(
        f"before {said} after",
        code=said,
        request_id=said,
        body={"a": [said], said: {"b": [said, 1]}},
        response=ErrorResponse(500, {"x-echo": f"Bearer {said}", f"x-{said}": "1"}, f'{{"key": "{said}"}}'),
    )
    error.__cause__ = ValueError(f"bad {said}", [said], said.encode(), 1)
    return error


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON with slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
    "JSON with signs escaped": lambda text: json.dumps(text)[1:-1].replace("=", r"\u003d").replace("+", r"\u002B"),
    "JSON with all escaped": lambda text: "".join(rf"\u{ord(character):04x}" for character in text),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
def test_redact_raw_and_json_escaped(form: Callable[[str], str]) -> None:
    """In message, code, request ID, body, response and cause."""
    error, expected = everywhere(form(SECRET)), everywhere("[redacted]")
    error.redact(redactor("another-credential", SECRET))
    assert vars(error) == vars(expected)
    assert error.__cause__ is not None
    assert expected.__cause__ is not None
    assert (error.args, error.__cause__.args) == (expected.args, expected.__cause__.args)


WORDS: list[tuple[str, str, str]] = [
    ("sk-abcdef12", "bad sk-abcdef12.", "bad [redacted]."),
    ("sk-abcdef12", "bad key:sk-abcdef12,next", "bad key:[redacted],next"),
    ("sk-abcdef12", "?key=sk-abcdef12&a=1", "?key=[redacted]&a=1"),
    ("sk-abcdef12", "?key%3Dsk-abcdef12", "?key%3D[redacted]"),
    ("sk-abcdef12", r'"bad:\nsk-abcdef12\n"', r'"bad:\n[redacted]\n"'),
    ("sk-abcdef12", r'"\u003csk-abcdef12\u003e"', r'"\u003c[redacted]\u003e"'),
    ("sk-abcdef12", "密钥sk-abcdef12无效", "密钥[redacted]无效"),
    ("sk-abcdef12", "sk-abcdef123", "sk-abcdef123"),
    ("sk-abcdef12", "xsk-abcdef12", "xsk-abcdef12"),
    ("sk-abcdef12", "sk-abcdef1", "sk-abcdef1"),
    ("sk-abcdef12", "SK-ABCDEF12", "SK-ABCDEF12"),
    ("Bearer gw-abcdef12", "bad Bearer gw-abcdef12", "bad Bearer [redacted]"),
    ("Bearer gw-abcdef12", "bad gw-abcdef12", "bad [redacted]"),
    ("Basic dXNlcjpwYXNz", "bad basic dXNlcjpwYXNz", "bad basic [redacted]"),
    ("session=abc; id=1", "bad session=abc; id=1", "bad [redacted]"),
    ("Bearer x", "Bearer x", "Bearer x"),
    ("EMPTY", "EMPTY", "EMPTY"),
]


@pytest.mark.parametrize(("credential", "said", "shown"), WORDS)
def test_redact_whole_words_only(credential: str, said: str, shown: str) -> None:
    """With or without the scheme, but not as part of another word."""
    assert redactor(credential)(said) == shown


CREDENTIALS = (
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "api-key", "X-API-Key", "x_api_key", "apikey",
    "X-Auth-Token", "access_token", "X-Client-Secret", "secret-id", "X-Password", "x-auth", "X-DashScope-EncryptionKey",
)  # fmt: skip
ORDINARY = (
    "X-Request-Id", "HTTP-Referer", "X-Title", "Accept", "Content-Type", "User-Agent", "X-DashScope-WorkSpace",
    "x-author", "x-tokens-used", "x-keyboard", "Location",
)  # fmt: skip


@pytest.mark.parametrize("name", [*CREDENTIALS, *ORDINARY])
def test_credential_headers(name: str) -> None:
    """Recognized by name, in any case."""
    for written in (name, name.lower(), name.upper()):
        assert is_credential(written) is (name in CREDENTIALS)


NEAR = {
    "nothing of it": "plain text, " * 80_000,
    "other escapes": r'{"a": "\u4f60\n\"x\" 100% &amp; more"}, ' * 25_000,
    "beginnings": SECRET[:-1] * 45_000,
    "beginnings in JSON": FORMS["JSON with all escaped"](SECRET[:11]) * 15_000,
    "backslashes": "\\" * 1_000_000,
    "its first character": "s" * 1_000_000,
}


@pytest.mark.parametrize("text", NEAR.values(), ids=list(NEAR))
def test_redact_is_fast(text: str) -> None:
    """A fraction of a second per megabyte."""
    began = time.process_time()
    assert redactor(SECRET)(text) == text
    assert time.process_time() - began < 1.5


def test_an_interrupted_redact_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack frame has the key, or a pattern of it, in a local variable."""

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(errors, "_causes", interrupt)
    error = ServerError("It failed.")
    with pytest.raises(KeyboardInterrupt) as raised:
        error.redact(redactor("sk-Mark-of-a-key"))
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    frame = next(frame for frame in shown.stack if frame.name == "redact")
    assert frame.locals
    assert "Mark" not in repr(frame.locals)


def test_redact_removes_deeply_nested_bodies() -> None:
    """They cannot be searched completely."""
    body: list[Any] = [KEY]
    for _ in range(5_000):
        body = [body]
    error = ServerError("It failed.", body=body)
    error.redact(redactor(KEY))
    assert error.body is None


def test_redact_does_not_change_the_partial_answer() -> None:
    """Output of the model is never rewritten."""
    error = ServerError("It failed.", partial=ChatResult((Choice(0, text=f"Use {KEY}"),)))
    error.redact(redactor(KEY))
    assert error.partial is not None
    assert error.partial.text == f"Use {KEY}"


class Both(RateLimitError, ValueError):
    """An error class like those of the adapters, which is also the framework's."""


def test_recast_keeps_cause_and_traceback() -> None:
    """And all fields, but adds no context."""
    try:
        try:
            raise ConnectionResetError("gone")
        except ConnectionResetError as cause:
            raise RateLimitError("It failed.", **FULL) from cause
    except RateLimitError as caught:
        error = caught
    back = error.recast(Both)
    assert type(back) is Both
    assert isinstance(back, ValueError)
    assert vars(back) == vars(error)
    assert (back.args, str(back)) == (error.args, str(error))
    assert back.__cause__ is error.__cause__
    assert isinstance(back.__cause__, ConnectionResetError)
    assert traceback.format_tb(back.__traceback__) == traceback.format_tb(error.__traceback__) != []
    assert back.__suppress_context__
    assert type(pickle.loads(pickle.dumps(back))) is Both


def test_the_response_of_an_error() -> None:
    """It has what LangChain's tracer reads: status, headers, `json()`."""
    response = ErrorResponse(400, {"a": "b"}, '{"c": 1}')
    assert (response.status_code, response.headers, response.json()) == (400, {"a": "b"}, {"c": 1})
    with pytest.raises(ValueError, match="Expecting value"):
        ErrorResponse(502, {}, "<html>").json()
