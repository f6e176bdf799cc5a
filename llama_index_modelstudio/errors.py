"""Re-export the core's errors, and define those of tool calls and structured output.

LlamaIndex has no error classes for model failures. It raises ValueError if a required tool call is missing, so these
errors are ValueErrors too.
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
    FileError,
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
    "FileError",
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
    """A tool call was required, but the answer has no valid one."""


class StructuredOutputError(ModelStudioError, ValueError):
    """The answer does not contain the requested object."""


class RefusalError(CoreRefusalError, StructuredOutputError):
    """The model refused to produce the requested object or tool call."""
