"""Redact credentials from server messages: the API key, and headers whose names mark them as credentials.

Credentials are matched as whole words, plain or escaped for JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import SecretStr

T = TypeVar("T")

REDACTED = "[redacted]"
_MIN_LENGTH = 8  # shorter values are placeholders, such as "EMPTY" for a local server
_CREDENTIAL_NAME = re.compile(
    r"authorization|authenticate|cookie|secret|password|passwd|credential|(?:key|token|auth)$", re.IGNORECASE
)
_WITH_SCHEME = re.compile(r"(?:bearer|basic|token|apikey) +(\S+)", re.IGNORECASE)
# a word may start after an escape that ends with a letter or digit: "\n", "\u003d" or "%3d"
_WORD_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4})|(?<=%[0-9A-Fa-f]{2}))"
_WORD_END = r"(?![A-Za-z0-9])"


def is_credential(header: str) -> bool:
    """Return True if the name of a header marks its value as a credential."""
    return _CREDENTIAL_NAME.search(header) is not None


class Redactor:
    """Redact credentials in strings and containers of strings. The repr shows no credential.

    Args:
        credentials: values to redact, without the scheme of a value such as "Bearer ...".
    """

    __slots__ = ("_pattern",)

    def __init__(self, credentials: Iterable[SecretStr] = ()) -> None:
        forms = {_pattern_of(each.get_secret_value()) for each in credentials} - {""}
        longest_first = "|".join(sorted(forms, key=len, reverse=True))
        self._pattern = re.compile(f"{_WORD_START}(?:{longest_first}){_WORD_END}") if forms else None

    def __call__(self, value: T) -> T:
        """Return a string, bytes or JSON value with each credential in it replaced by "[redacted]"."""
        return value if self._pattern is None else self._redacted(value)

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._pattern.sub(REDACTED, value) if self._pattern else value
        if isinstance(value, bytes):
            return self._redacted(value.decode("latin-1")).encode("latin-1")
        if isinstance(value, Mapping):
            return {self._redacted(name): self._redacted(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._redacted(item) for item in value]
        return value


def _pattern_of(credential: str) -> str:
    """Return a pattern for a credential whose characters may be escaped for JSON; "" if it is too short."""
    scheme = _WITH_SCHEME.fullmatch(credential)
    plain = scheme[1] if scheme else credential
    if len(plain) < _MIN_LENGTH:
        return ""
    return "".join(rf"(?:\\?{re.escape(character)}|\\u(?i:{ord(character):04x}))" for character in plain)
