"""Pickle a model object without its key, which is read from DASHSCOPE_API_KEY where the pickle is loaded.

If that is not set, loading raises an error, except in a `multiprocessing` worker, where an error while unpickling a
task breaks the pool or blocks it forever. There, the object loads and each call raises the error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Container
from types import FunctionType
from typing import Any

from pydantic import SecretStr

from modelstudio_core.config import API_KEY_VARIABLE, PICKLED_KEY, PICKLED_KEY_MISSING
from modelstudio_core.errors import ConfigurationError


def check_pickled_key(key: object) -> None:
    """Raise TypeError for an `api_key` function that is not importable by name, since it may contain the key."""
    if callable(key) and not _is_importable(key):
        raise TypeError(
            f"a model with api_key={key!r:.80} cannot be pickled: use a function at the top level of a module"
        )


def without_key(state: dict[Any, Any], fields: Container[str]) -> dict[Any, Any]:
    """Return a pydantic state without the key, unless a function provides it.

    Attributes that are not fields are omitted, and the names of fields that were set are sorted, so that equal objects
    have equal pickles before and after use, and after pickling.
    """
    values = {name: value for name, value in state["__dict__"].items() if name in fields}
    # those of `values`: a pickle tells equal names from identical ones
    fields_set = sorted(name for name in values if name in state["__pydantic_fields_set__"])
    if isinstance(values.get("api_key"), SecretStr):
        values["api_key"] = SecretStr(PICKLED_KEY)
    return {
        **state,
        "__dict__": values,
        "__pydantic_fields_set__": fields_set,
        "__pydantic_private__": dict.fromkeys(state.get("__pydantic_private__") or (), None) or None,
    }


def with_key(state: dict[Any, Any], error: type[ConfigurationError] = ConfigurationError) -> dict[Any, Any]:
    """Return a pickled state with the key in DASHSCOPE_API_KEY, if the object had a key.

    Raises `error` if there is none, except in a worker.
    """
    state = {**state, "__pydantic_fields_set__": set(state["__pydantic_fields_set__"])}
    if not isinstance(state["__dict__"].get("api_key"), SecretStr):
        return state
    found = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not found and not _in_worker():
        raise error(PICKLED_KEY_MISSING)
    return {**state, "__dict__": {**state["__dict__"], "api_key": SecretStr(found or PICKLED_KEY)}}


def _is_importable(function: object) -> bool:
    return isinstance(function, FunctionType) and function is getattr(
        sys.modules.get(function.__module__), function.__qualname__, None
    )


def _in_worker() -> bool:
    """Return True in a process started by `multiprocessing`, or by an executor built on it."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None
