"""The core's errors, under this package's name, and those that only structured answers can end with.

LlamaIndex has no errors of its own for a model's failures; it raises ValueError where a model should have called a tool
and did not, so the errors for that are ValueErrors too.
"""

from __future__ import annotations

from modelstudio_core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContentFilterError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.errors import RefusalError as CoreRefusalError

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
    "NoToolCallError",
    "NotFoundError",
    "PermissionDeniedError",
    "ProtocolError",
    "QuotaError",
    "RateLimitError",
    "RefusalError",
    "ServerError",
    "StreamTruncatedError",
    "StructuredOutputError",
]


class NoToolCallError(ModelStudioError, ValueError):
    """A call was required, and the answer has none that may run."""


class StructuredOutputError(ModelStudioError, ValueError):
    """The answer does not hold the object that was asked for."""


class RefusalError(CoreRefusalError, StructuredOutputError):
    """The model declined to produce the object, or the call, that was asked for."""
