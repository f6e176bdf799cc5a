"""Checks the log probabilities of tokens, which have the same form in both protocols.

The form is that of the vendor's references: `token` and `logprob`, and where they are given `bytes` and `top_logprobs`,
the alternatives. Whatever else an item says is its server's own and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelstudio_core.errors import ProtocolError


def check_logprobs(content: Sequence[Any], at: int = 0) -> None:
    """Raise ProtocolError, naming it, for an item that is not what it should be; the first is number `at`."""
    for number, item in enumerate(content, at):
        field = f"logprobs.content[{number}]"
        _check_token(item, field)
        alternatives = item.get("top_logprobs")
        if alternatives is None:
            continue
        if not isinstance(alternatives, list):
            raise _no(f"{field}.top_logprobs", "list", alternatives)
        for place, alternative in enumerate(alternatives):
            _check_token(alternative, f"{field}.top_logprobs[{place}]")


def _check_token(item: Any, field: str) -> None:
    if not isinstance(item, Mapping):
        raise _no(field, "object", item)
    if not isinstance(item.get("token"), str):
        raise _no(f"{field}.token", "text", item.get("token"))
    if not _is_number(item.get("logprob")):
        raise _no(f"{field}.logprob", "number", item.get("logprob"))
    given = item.get("bytes")
    if given is not None and not (isinstance(given, list) and all(_is_byte(value) for value in given)):
        raise _no(f"{field}.bytes", "list of bytes", given)


def _is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            float(value)
        except OverflowError:
            return False
        return True
    return isinstance(value, float)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _no(field: str, kind: str, value: Any) -> ProtocolError:
    return ProtocolError(f"{field} is no {kind} but {value!r:.100}")
