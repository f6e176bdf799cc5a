"""The core's errors as LangChain knows them: each is its core namesake and the `Model*Error` of langchain-core.

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
    """The root of all errors of this package; see `modelstudio_core.errors.ModelStudioError` for its fields."""


class ConfigurationError(core.ConfigurationError, ModelStudioError, lc.ModelInvalidRequestError):
    """The call cannot be made as it was asked for. Nothing was sent."""


class APIConnectionError(core.APIConnectionError, ModelStudioError, lc.ModelConnectionError):
    """No connection could be made, or it was lost."""


class APITimeoutError(core.APITimeoutError, APIConnectionError, lc.ModelTimeoutError):
    """The service was silent for longer than `timeout` allows."""


class APIStatusError(core.APIStatusError, ModelStudioError):
    """The service answered with an error."""


class AuthenticationError(core.AuthenticationError, APIStatusError, lc.ModelAuthenticationError):
    """401: the key is wrong, or belongs to another region or plan."""


class PermissionDeniedError(core.PermissionDeniedError, APIStatusError, lc.ModelPermissionDeniedError):
    """403: the model, workspace or feature is not open to this account."""


class BadRequestError(core.BadRequestError, APIStatusError, lc.ModelInvalidRequestError):
    """400 and other 4xx: the request is wrong, and would be wrong again."""


class ContextLengthError(core.ContextLengthError, BadRequestError, lc.ContextOverflowError):
    """The input is longer than the model takes."""


class ContentFilterError(core.ContentFilterError, BadRequestError, lc.ModelRefusalError):
    """The service's moderation stopped the input or, in mid-stream, the output."""

    raw_message: BaseMessage | None = None
    """None: the service answered with an error, not with a message."""


class NotFoundError(core.NotFoundError, APIStatusError, lc.ModelNotFoundError):
    """404: no such model, workspace or path."""


class RateLimitError(core.RateLimitError, APIStatusError, lc.ModelRateLimitError):
    """429: throttled by requests or tokens a minute. Trying later helps."""


class QuotaError(core.QuotaError, APIStatusError, lc.ModelPermissionDeniedError):
    """Unpaid, not bought, or free tier spent. Trying later does not help, paying does."""


class ServerError(core.ServerError, APIStatusError, lc.ModelAPIError):
    """5xx: the service failed or is overloaded."""


class ProtocolError(core.ProtocolError, ModelStudioError):
    """The answer does not follow the protocol."""


class RefusalError(core.RefusalError, ModelStudioError, lc.ModelRefusalError):
    """The model declined to produce the output that was asked for. `raw_message` is what it said instead."""

    raw_message: BaseMessage | None = None


class StreamTruncatedError(core.StreamTruncatedError, ProtocolError):
    """The answer ended before it was finished. What had arrived is `partial`."""


_BY_CORE_CLASS: dict[type[core.ModelStudioError], type[core.ModelStudioError]] = {
    cls.__mro__[1]: cls for cls in map(globals().__getitem__, __all__)
}


def from_core_error(error: core.ModelStudioError) -> core.ModelStudioError:
    """The LangChain class of a core error, with its fields, cause and traceback."""
    return error.recast(_BY_CORE_CLASS.get(type(error), type(error)))


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Core errors raised inside come out as this module's."""
    try:
        yield
    except core.ModelStudioError as error:
        raise from_core_error(error) from error.__cause__
