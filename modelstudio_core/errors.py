"""Define the error classes. Messages say what to do, partial results are kept, and keys are redacted. The tree::

    ModelStudioError
    +-- ConfigurationError              invalid arguments; nothing was sent
    +-- APIConnectionError              no connection, or it was lost
    |   +-- APITimeoutError             no data for longer than `timeout`
    +-- APIStatusError                  the service answered with an error
    |   +-- AuthenticationError         401: wrong key, or a key for another region
    |   +-- PermissionDeniedError       403: model, workspace or feature not available to this account
    |   +-- BadRequestError             400 and other 4xx: the request is wrong
    |   |   +-- ContextLengthError      the input exceeds the model's limit
    |   |   +-- ContentFilterError      the service's moderation stopped input or output
    |   |   +-- FileError               the service rejects a file, or cannot read it
    |   +-- NotFoundError               404: no such model, workspace or path
    |   +-- RateLimitError              429: throttled; a later retry can succeed
    |   +-- QuotaError                  unpaid, not purchased, or free tier exhausted; retries do not help
    |   +-- ServerError                 5xx
    +-- RefusalError                    the model refused to produce the requested output
    +-- ProtocolError                   the response violates the protocol
        +-- StreamTruncatedError        the response ended without a finish reason

Codes and statuses follow the vendor's error-code page as of September 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from typing import Any, TypeVar

from modelstudio_core.redaction import Redactor
from modelstudio_core.types import ChatResult
from modelstudio_core.values import value_class

ErrorT = TypeVar("ErrorT", bound="ModelStudioError")
R = TypeVar("R")
T = TypeVar("T")

_MAX_BODY = 64 * 1024  # maximum length of `body` in characters


@value_class
class ErrorResponse:
    """HTTP response of an error, with the attributes that LangChain's tracer reads."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""

    def json(self) -> Any:
        """Parse the body as JSON. Raises ValueError if it is not JSON."""
        return json.loads(self.text)


class ModelStudioError(Exception):
    """Base class of all errors of this package.

    Attributes:
        message: what happened, and what to do.
        status_code: HTTP status of the response or error event, if any.
        code: error code of the service, such as "Throttling.RateQuota".
        request_id: id of the request, for the vendor's support.
        retry_after: seconds to wait before a retry, from the response headers.
        body: the decoded error object, or the text if it is not JSON.
        response: status, headers and text of the HTTP response.
        partial: `ChatResult` of the content received before the error, or None.
        url: URL of the request without its query, or None if nothing was sent.
        inputs: positions of the embedding or rerank inputs of the failed request, if there were several requests, or
            position of an invalid input.
        is_retryable: whether the same request may succeed later; for your own retries.
        is_resent: whether this package itself sends the request again, up to `max_retries` times, if the error is
            retryable and no part of an answer was received. False after a read timeout, and if the connection was lost
            after the response headers, because the service may bill both attempts.
    """

    is_retryable = False
    is_resent = True
    inputs: tuple[int, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: Any = None,
        response: ErrorResponse | None = None,
        partial: ChatResult | None = None,
        url: str | None = None,
        is_retryable: bool | None = None,
        is_resent: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body
        self.response = response
        self.partial = partial
        self.url = url
        if is_retryable is not None:
            self.is_retryable = is_retryable
        if is_resent is not None:
            self.is_resent = is_resent

    def __str__(self) -> str:
        url = None if self.url is not None and self.url in self.message else self.url
        known = (("status", self.status_code), ("code", self.code), ("request_id", self.request_id), ("url", url))
        facts = ", ".join(f"{name}={value}" for name, value in known if value is not None)
        return f"{self.message} ({facts})" if facts else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.__dict__.copy())

    def add_sentence(self, sentence: str) -> None:
        """Append a sentence to the message, which gets a full stop if it does not end with punctuation."""
        message = self.message.rstrip()
        stop = "" if message.endswith((".", "!", "?", ":", "。", "！", "？")) else "."
        self.message = f"{message}{stop} {sentence}"
        self.args = (self.message,)

    def redact(self, redactor: Redactor) -> None:
        """Redact credentials in the message, code, request id, body, response and causes, but not in `partial`."""
        self.message = redactor(self.message)
        self.args = (self.message,)
        self.code = redactor(self.code)
        self.request_id = redactor(self.request_id)
        try:
            self.body = redactor(self.body)
        except RecursionError:  # a deeply nested body, and a caller deep in the stack
            self.body = None
        if self.response is not None:
            headers, text = redactor(self.response.headers), redactor(self.response.text)
            self.response = replace(self.response, headers=headers, text=text)
        for cause in _causes(self):
            cause.args = tuple(map(redactor, cause.args))

    def without_frames(self: ErrorT) -> ErrorT:
        """Return this error without tracebacks and suppressed contexts, also in its causes."""
        links: list[BaseException] = [self, *_causes(self)]
        for link in links:
            link.__traceback__ = None
            if link.__suppress_context__:
                link.__context__ = None
        return self

    def recast(self, cls: type[ErrorT]) -> ErrorT:
        """Return this error as an instance of its subclass `cls`, with the same fields, cause and traceback."""
        error = _restore(cls, self.__dict__.copy())
        error.__cause__, error.__suppress_context__ = self.__cause__, True
        return error.with_traceback(self.__traceback__)


def _restore(cls: type[ErrorT], state: dict[str, Any]) -> ErrorT:
    error = cls.__new__(cls, state["message"])
    error.args = (state["message"],)
    error.__dict__.update(state)
    return error


def _causes(error: BaseException) -> list[BaseException]:
    """Return the causes and contexts of `error`, each once."""
    found: list[BaseException] = []
    links = [error.__cause__, error.__context__]
    while links:
        link = links.pop()
        if link is not None and link is not error and not any(link is known for known in found):
            found.append(link)
            links += (link.__cause__, link.__context__)
    return found


class ConfigurationError(ModelStudioError):
    """The arguments are invalid. Nothing was sent."""


def for_each(kind: str, inputs: Iterable[T], function: Callable[[str, T], R]) -> list[R]:
    """Return what `function` returns for the name, such as "text 0", and the value of each input.

    A ConfigurationError of `function` gets the position of the input.
    """
    results = []
    for position, value in enumerate(inputs):
        try:
            results.append(function(f"{kind} {position}", value))
        except ConfigurationError as error:
            error.inputs = (position,)
            raise
    return results


class APIConnectionError(ModelStudioError):
    """No connection could be made, or it was lost. Retried only before the end of the response headers."""

    is_retryable = True


class APITimeoutError(APIConnectionError):
    """The service sent no data for longer than `timeout`."""


class APIStatusError(ModelStudioError):
    """The service answered with an error."""


class AuthenticationError(APIStatusError):
    """401: the key is wrong, or belongs to another region or plan."""


class PermissionDeniedError(APIStatusError):
    """403: the model, workspace or feature is not available to this account."""


class BadRequestError(APIStatusError):
    """400 and other 4xx: the request is invalid, so a retry fails too."""


class ContextLengthError(BadRequestError):
    """The input exceeds the model's limit."""


class ContentFilterError(BadRequestError):
    """The service's moderation blocked the input or, during a stream, the output."""


class FileError(BadRequestError):
    """The service rejects a file, or cannot read it: too large, of an unknown format, empty, deleted, not parsed.

    Attributes:
        file: the name of the file, or its ID if the name is unknown; None if the service did not name it.
    """

    file: str | None = None


class NotFoundError(APIStatusError):
    """404: no such model, workspace or path."""


class RateLimitError(APIStatusError):
    """429: throttled by requests or tokens per minute. A later retry can succeed."""

    is_retryable = True


class QuotaError(APIStatusError):
    """Unpaid, not purchased, or free tier exhausted. Retries do not help."""


class ServerError(APIStatusError):
    """5xx: the service failed or is overloaded."""

    is_retryable = True


class RefusalError(ModelStudioError):
    """The model refused to produce the requested output. Retries are unlikely to help."""


class ProtocolError(ModelStudioError):
    """The response violates the protocol: not JSON, malformed, or over the size limit."""


class StreamTruncatedError(ProtocolError):
    """The response ended without a finish reason. `partial` holds the content received."""

    is_retryable = True
    is_resent = False


# ---------------------------------------------------------------- the service's codes
# To add a code, put a part of it, in lower case, in the row of its class. The first row with a matching part wins.
# Codes of both protocols share a row. InvalidParameter precedes InternalError for InternalError.Algo.InvalidParameter.

_BY_CODE: tuple[tuple[type[APIStatusError], tuple[str, ...]], ...] = (
    (
        QuotaError,
        ("arrearage", "commoditynotpurchased", "billoverdue", "freetieronly", "unpurchased"),
    ),
    (ContentFilterError, ("datainspectionfailed", "data_inspection_failed")),
    (ContextLengthError, ("context_length", "contextlength", "context_window", "contextwindow", "context_size")),
    (BadRequestError, ("invalidparameter", "invalid_parameter")),
    (AuthenticationError, ("invalidapikey", "invalid_api_key", "not authorized")),
    (NotFoundError, ("modelnotfound", "model_not_found", "model_not_supported", "workspacenotfound")),
    (PermissionDeniedError, ("accessdenied", "access_denied")),
    # insufficient_quota means tokens per minute at this service, not billing
    (RateLimitError, ("throttling", "limitrequests", "limit_requests", "limit_burst_rate", "insufficient_quota")),
    (
        ServerError,
        (
            "internalerror", "internal_error", "systemerror", "modelservicefailed", "modelservingerror",
            "serviceunavailable", "modelunavailable", "requesttimeout", "responsetimeout",
        ),
    ),
)  # fmt: skip
# A pattern of `re` that is compiled at its first use, because few programs need it.
# Messages of Qwen, Kimi ("exceeded model token limit"), GLM, vLLM, SGLang, llama.cpp and LiteLLM
_INPUT_TOO_LONG = (
    r"range of input length should be|maximum (?:context|model|input|prompt) length|message token length exceed"
    r"|context_length_exceeded|contextwindowexceeded|(?:prompt|input)(?: text)?(?: is|'s)? too long"
    r"|prompt exceeds max(?:imum)? length|input (?:length|tokens?) exceed|exceed\w* model(?:'s)? token limit"
    r"|exceed\w* (?:[\w']+ ){0,4}context (?:length|window|size|limit)"
    r"|context (?:length|window|size|limit) (?:is |was |has been |limit )?exceed"
    r"|longer than (?:[\w']+ ){0,3}(?:context|model) length"
)
_NOT_PARSED = "file parsing in progress"
_FILE_ID = r"\[id:\s*([^\]\s]+)"
_BY_MESSAGE: tuple[tuple[type[APIStatusError], tuple[str, ...]], ...] = (
    (QuotaError, ("free allocated quota exceeded", "free tier of the model has been exhausted")),
    (ContentFilterError, ("may contain inappropriate content",)),
    (FileError, ("file [id:", _NOT_PARSED, "too many files provided")),
)
_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: APIStatusError,
    409: APIStatusError,
    429: RateLimitError,
}


def status_error(
    status: int | None,
    *,
    code: str | None,
    message: str,
    kind: str = "",
    request_id: str | None = None,
    retry_after: float | None = None,
    body: Any = None,
    response: ErrorResponse | None = None,
) -> APIStatusError:
    """Return the typed error for an error response of the service.

    `status` is None for an error event without one; `kind` is the error type of the compatible protocol.
    """
    cls = _error_class(status, f"{code} {kind}".lower(), message.lower())
    error = cls(
        message or f"the service answered with HTTP status {status} and no message",
        status_code=status,
        code=code,
        request_id=request_id,
        retry_after=retry_after,
        body=body[:_MAX_BODY] if isinstance(body, str) else body,
        response=response,
        is_retryable=True if status in (408, 409) and cls is APIStatusError else None,
    )
    if isinstance(error, FileError):
        found = re.search(_FILE_ID, message)
        error.file = found and found[1]
        error.is_retryable = _NOT_PARSED in message.lower()
    return error


def _error_class(status: int | None, code: str, message: str) -> type[APIStatusError]:
    if status != 429 and re.search(_INPUT_TOO_LONG, message):  # with 429 it means tokens per minute
        return ContextLengthError
    for table, text in ((_BY_MESSAGE, message), (_BY_CODE, code)):
        for cls, words in table:
            if any(word in text for word in words):
                return cls
    if status is None or status < 400:
        return APIStatusError
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequestError)
