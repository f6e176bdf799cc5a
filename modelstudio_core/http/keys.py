"""Ask the caller's `api_key` function for the key of one request."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any

from pydantic import SecretStr

from modelstudio_core.config import KeyProvider, checked_key
from modelstudio_core.errors import ConfigurationError, ModelStudioError

_NEEDS_ASYNC = (
    "api_key= is an async function, which a sync call cannot wait for: use the async methods, or give a sync function"
)


def provided_key(provider: KeyProvider) -> SecretStr:
    """Return the key of a sync call. Raises ConfigurationError, also for an async function and for one that raises."""
    if _is_async(provider):
        raise ConfigurationError(_NEEDS_ASYNC)
    try:
        key = provider()
    except Exception as error:
        raise _failed(error) from error
    if inspect.isawaitable(key):
        if isinstance(key, Coroutine):
            key.close()  # or Python warns that nobody awaited it
        raise ConfigurationError(_NEEDS_ASYNC)
    return _checked(key)


async def aprovided_key(provider: KeyProvider) -> SecretStr:
    """Return the key of an async call. A sync function runs in a thread, because it may wait for a network."""
    try:
        key = provider() if _is_async(provider) else await asyncio.to_thread(provider)
        if inspect.isawaitable(key):
            key = await key
    except Exception as error:
        raise _failed(error) from error
    return _checked(key)


def _is_async(provider: KeyProvider) -> bool:
    return inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(type(provider).__call__)


def _failed(error: Exception) -> ModelStudioError:
    if isinstance(error, ModelStudioError):
        return error
    return ConfigurationError(f"the api_key= function raised {type(error).__name__}: {error}")


def _checked(key: Any) -> SecretStr:
    if isinstance(key, SecretStr):
        key = key.get_secret_value()
    if not isinstance(key, str):
        raise ConfigurationError(f"the api_key= function returned {type(key).__name__}, not a str or SecretStr")
    return checked_key(key)
