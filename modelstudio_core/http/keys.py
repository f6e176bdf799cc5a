"""Get the key of one request from the caller's `api_key` function."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any

from pydantic import SecretStr

from modelstudio_core.config import KeyProvider, checked_key
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.http.event_loop import in_thread

_NEEDS_ASYNC = (
    "api_key= is an async function, which sync calls do not support: use the async methods, or pass a sync function"
)


def provided_key(provider: KeyProvider) -> SecretStr:
    """Return the key for a sync call. Raises ConfigurationError if the function is async, fails or returns no key."""
    if _is_async(provider):
        raise ConfigurationError(_NEEDS_ASYNC)
    try:
        key = provider()
    except Exception as error:
        raise _key_error(error) from error
    if inspect.isawaitable(key):
        if isinstance(key, Coroutine):
            key.close()  # avoids a warning that it was never awaited
        raise ConfigurationError(_NEEDS_ASYNC)
    return _checked(key)


async def aprovided_key(provider: KeyProvider) -> SecretStr:
    """Return the key for an async call. A sync function runs in a thread, because it may block."""
    try:
        key = provider() if _is_async(provider) else await in_thread(provider)
        if inspect.isawaitable(key):
            key = await key
    except Exception as error:
        raise _key_error(error) from error
    return _checked(key)


def _is_async(provider: KeyProvider) -> bool:
    return inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(type(provider).__call__)


def _key_error(error: Exception) -> ModelStudioError:
    if isinstance(error, ModelStudioError):
        return error
    return ConfigurationError(f"the api_key= function raised {type(error).__name__}: {error}")


def _checked(key: Any) -> SecretStr:
    if isinstance(key, SecretStr):
        key = key.get_secret_value()
    if not isinstance(key, str):
        raise ConfigurationError(f"the api_key= function returned {type(key).__name__}, not a str or SecretStr")
    return checked_key(key)
