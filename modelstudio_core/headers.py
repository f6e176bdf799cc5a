"""Check the headers that a caller gives, and keep their values out of traces, logs and dumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.redaction import REDACTED, is_credential

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, section 5.6.2
_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")  # what httpx can send: others httpcore would write into its log


def checked_headers(given: Mapping[str, str], argument: str) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises ConfigurationError, which names the `argument`, for headers that are no mapping of str to str, cannot be
    sent, hold Authorization, or were read back from a place where their values were redacted.
    """
    _check_mapping(given, argument)
    headers = {}
    for name, value in (given.reveal() if isinstance(given, SecretHeaders) else given).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"{argument}: the name and value of header {name!r} must be str")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{argument}: {name!r} is no name of a header")
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{argument}: the value of {name} begins or ends with a blank, or holds a line end or a character "
                "beyond ASCII"
            )
        if value == REDACTED:
            raise ConfigurationError(f"{argument}: the value of {name} was redacted where it was stored: give it again")
        headers[name.lower()] = value
    if "authorization" in headers:
        raise ConfigurationError(f"{argument} may not hold Authorization: give the key as api_key")
    return headers


def hidden_headers(given: Mapping[str, str]) -> SecretHeaders:
    """Return `extra_headers` of a call with their values hidden. Raises ConfigurationError if they are no mapping."""
    _check_mapping(given, "extra_headers")
    return SecretHeaders(given)


def _check_mapping(given: object, argument: str) -> None:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{argument} takes a mapping of header names to values, not {type(given).__name__}")


class SecretHeaders(dict[str, str]):
    """Request headers whose values only `reveal` returns: everything else that prints or stores them gets "[redacted]".

    A dict, so that frameworks can write it into their traces and events as they write other arguments.
    """

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(dict.fromkeys(headers, REDACTED))
        self._values = headers.reveal() if isinstance(headers, SecretHeaders) else dict(headers)

    def reveal(self) -> dict[str, str]:
        """Return the headers with their values."""
        return {name: self._values.get(name, value) if value == REDACTED else value for name, value in self.items()}

    def credentials(self) -> list[SecretStr]:
        """Return the values of the headers whose names mark them as credentials."""
        return [SecretStr(value) for name, value in self.reveal().items() if is_credential(name)]

    def __eq__(self, other: object) -> bool:
        return self.reveal() == (other.reveal() if isinstance(other, SecretHeaders) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as of any dict

    def __copy__(self) -> SecretHeaders:
        return SecretHeaders(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretHeaders:
        return SecretHeaders(self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if secret := sorted(filter(is_credential, self)):
            raise TypeError(f"extra_headers with {', '.join(secret)} cannot be pickled: give them to each call instead")
        return SecretHeaders, (self.reveal(),)
