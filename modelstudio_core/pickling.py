"""What of a model object leaves the process in a pickle: all but the key, which is read again where it wakes.

A worker on another machine has its own environment. Whether its key is the same can be told from a salted hash, from
which no key can be found. Where there is none, that is an error at once, but in a worker of `multiprocessing`: an error
while a task is unpickled breaks its whole pool, or has it wait for ever. There the object wakes all the same, and each
call is the error.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sys
from typing import Any

from pydantic import SecretStr

from modelstudio_core.config import API_KEY, NO_KEY, NOT_FOUND
from modelstudio_core.errors import ConfigurationError

_log = logging.getLogger("modelstudio_core")
_MARK = "modelstudio_key"  # beside pydantic's own entries of the state
_SALT_BYTES = 16


def seal(state: dict[Any, Any]) -> dict[Any, Any]:
    """A pydantic state without the key and without what private attributes hold."""
    fields = dict(state["__dict__"])
    key = fields.get("api_key")
    fields["api_key"] = None
    private = dict.fromkeys(state.get("__pydantic_private__") or (), None)
    mark = _mark(key.get_secret_value().strip(), os.urandom(_SALT_BYTES)) if isinstance(key, SecretStr) else None
    return {**state, "__dict__": fields, "__pydantic_private__": private or None, _MARK: mark}


def unseal(state: dict[Any, Any], error: type[ConfigurationError] = ConfigurationError) -> dict[Any, Any]:
    """The state with the key of DASHSCOPE_API_KEY, where the object had a key; in a worker that has none, `NOT_FOUND`.

    Raises `error` where there is none elsewhere. Another key than the object had is a warning in the log.
    """
    state = dict(state)
    mark = state.pop(_MARK, None)
    if mark is None:
        return state
    key = os.environ.get(API_KEY, "").strip()
    if not key:
        if not _in_worker():
            raise error(NO_KEY)
        return {**state, "__dict__": {**state["__dict__"], "api_key": SecretStr(NOT_FOUND)}}
    if not hmac.compare_digest(mark, _mark(key, mark[:_SALT_BYTES])):
        _log.warning("Model Studio: %s is another key here than the pickled object had; it is used", API_KEY)
    return {**state, "__dict__": {**state["__dict__"], "api_key": SecretStr(key)}}


def _in_worker() -> bool:
    """Whether `multiprocessing`, or an executor upon it, started this process."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def _mark(key: str, salt: bytes) -> bytes:
    return salt + hashlib.blake2b(key.encode(), salt=salt, digest_size=16).digest()
