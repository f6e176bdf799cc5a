"""Normalize per-call arguments for binding, tracing and caching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_modelstudio.errors import langchain_errors
from langchain_modelstudio.tools import response_format
from modelstudio_core.parameters import CALL_OPTIONS, hidden_arguments


def call_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with hidden `extra_headers`, and with a class as `response_format` converted to a dict.

    Raises:
        ConfigurationError: for secret settings of the model object, which are not per-call arguments.
    """
    with langchain_errors():
        arguments = hidden_arguments(given)
    if isinstance(schema := arguments.get("response_format"), type):
        arguments["response_format"] = response_format(schema, None)
    return arguments


def cache_key_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are part of a cache key, without headers and timeouts."""
    return {name: value for name, value in call_arguments(given).items() if name not in CALL_OPTIONS}
