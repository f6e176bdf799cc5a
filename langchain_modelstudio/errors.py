"""Define LangChain errors: each subclasses the core error of the same name and a `Model*Error` of langchain-core.

So `except modelstudio_core.errors.RateLimitError`, `except langchain_core.exceptions.ModelRateLimitError` and this
module's `RateLimitError` all catch the same thing. The tree is the core's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core import exceptions as lc
from langchain_core.messages import BaseMessage

from modelstudio_core import errors as core

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ContentFilterError",
    "ContextLengthError",
    "FileError",
    "ModelStudioError",
    "NotFoundError",
    "PermissionDeniedError",
    "ProtocolError",
    "QuotaError",
    "RateLimitError",
    "RefusalError",
    "ServerError",
    "StreamTruncatedError",
]


class ModelStudioError(core.ModelStudioError, lc.ModelError):
    """Base class of all errors of this package; see `modelstudio_core.errors.ModelStudioError` for its fields."""


class ConfigurationError(core.ConfigurationError, ModelStudioError, lc.ModelInvalidRequestError):
    """The arguments are invalid. Nothing was sent."""


class APIConnectionError(core.APIConnectionError, ModelStudioError, lc.ModelConnectionError):
    """No connection could be made, or it was lost."""


class APITimeoutError(core.APITimeoutError, APIConnectionError, lc.ModelTimeoutError):
    """The service sent no data for longer than `timeout`."""


class APIStatusError(core.APIStatusError, ModelStudioError):
    """The service answered with an error."""


class AuthenticationError(core.AuthenticationError, APIStatusError, lc.ModelAuthenticationError):
    """401: the key is wrong, or belongs to another region or plan."""


class PermissionDeniedError(core.PermissionDeniedError, APIStatusError, lc.ModelPermissionDeniedError):
    """403: the model, workspace or feature is not available to this account."""


class BadRequestError(core.BadRequestError, APIStatusError, lc.ModelInvalidRequestError):
    """400 and other 4xx: the request is invalid, so a retry fails too."""


class ContextLengthError(core.ContextLengthError, BadRequestError, lc.ContextOverflowError):
    """The input exceeds the model's limit."""


class ContentFilterError(core.ContentFilterError, BadRequestError, lc.ModelRefusalError):
    """The service's moderation blocked the input or, during a stream, the output."""

    raw_message: BaseMessage | None = None
    """None: the service answered with an error, not with a message."""


class FileError(core.FileError, BadRequestError):
    """The service rejects a file, or cannot read it. `file` is its name or ID."""


class NotFoundError(core.NotFoundError, APIStatusError, lc.ModelNotFoundError):
    """404: no such model, workspace or path."""


class RateLimitError(core.RateLimitError, APIStatusError, lc.ModelRateLimitError):
    """429: throttled by requests or tokens per minute. A later retry can succeed."""


class QuotaError(core.QuotaError, APIStatusError, lc.ModelPermissionDeniedError):
    """Unpaid, not purchased, or free tier exhausted. Retries do not help."""


class ServerError(core.ServerError, APIStatusError, lc.ModelAPIError):
    """5xx: the service failed or is overloaded."""


class ProtocolError(core.ProtocolError, ModelStudioError):
    """The response violates the protocol."""


class RefusalError(core.RefusalError, ModelStudioError, lc.ModelRefusalError):
    """The model refused to produce the requested output. `raw_message` is its reply."""

    raw_message: BaseMessage | None = None


class StreamTruncatedError(core.StreamTruncatedError, ProtocolError):
    """The response ended without a finish reason. `partial` holds the content received."""


_BY_CORE_CLASS: dict[type[core.ModelStudioError], type[core.ModelStudioError]] = {
    cls.__mro__[1]: cls for cls in map(globals().__getitem__, __all__)
}


def from_core_error(error: core.ModelStudioError) -> core.ModelStudioError:
    """Return a core error as its LangChain class, with the same fields, cause and traceback."""
    return error.recast(_BY_CORE_CLASS.get(type(error), type(error)))


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Re-raise core errors as the classes of this module."""
    try:
        yield
    except core.ModelStudioError as error:
        raise from_core_error(error) from error.__cause__
