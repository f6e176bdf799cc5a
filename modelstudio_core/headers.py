"""Check request headers set by the caller, and keep their values out of traces, logs and dumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.redaction import REDACTED, is_credential

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, section 5.6.2
_VALUE = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")  # values that httpx can send; httpcore logs invalid ones


def checked_headers(given: Mapping[str, str], argument: str) -> dict[str, str]:
    """Return headers with their names in lower case.

    Raises:
        ConfigurationError: if the headers are not a mapping of str to str, cannot be sent, contain Authorization, or
            have redacted values. The message names the `argument`.
    """
    _check_mapping(given, argument)
    headers = {}
    for name, value in (given.reveal() if isinstance(given, SecretHeaders) else given).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(f"{argument}: the name and value of header {name!r} must be str")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(f"{argument}: {name!r:.80} is not a valid header name")
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"{argument}: the value of {name} must be ASCII without line breaks or surrounding spaces"
            )
        if value == REDACTED:
            raise ConfigurationError(f"{argument}: the value of {name} is redacted: pass the original value")
        headers[name.lower()] = value
    if "authorization" in headers:
        raise ConfigurationError(f"{argument} must not contain Authorization: pass the key as api_key=")
    return headers


def hidden_headers(given: Mapping[str, str]) -> SecretHeaders:
    """Return `extra_headers` of a call with hidden values. Raises ConfigurationError if it is not a mapping."""
    _check_mapping(given, "extra_headers")
    return SecretHeaders(given)


def _check_mapping(given: object, argument: str) -> None:
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{argument} must be a mapping of header names to values, not {type(given).__name__}")


class SecretHeaders(dict[str, str]):
    """Request headers whose values are hidden: as a dict, each value is "[redacted]". `reveal` returns the values.

    This is a dict so that frameworks can include it in traces and events.
    """

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(dict.fromkeys(headers, REDACTED))
        self._values = headers.reveal() if isinstance(headers, SecretHeaders) else dict(headers)

    def reveal(self) -> dict[str, str]:
        """Return the headers with their actual values."""
        return {name: self._values.get(name, value) if value == REDACTED else value for name, value in self.items()}

    def credentials(self) -> list[SecretStr]:
        """Return the values of the headers whose names mark them as credentials."""
        return [SecretStr(value) for name, value in self.reveal().items() if is_credential(name)]

    def __eq__(self, other: object) -> bool:
        return self.reveal() == (other.reveal() if isinstance(other, SecretHeaders) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # unhashable, like any dict

    def __copy__(self) -> SecretHeaders:
        return SecretHeaders(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretHeaders:
        return SecretHeaders(self)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if secret := sorted(filter(is_credential, self)):
            raise TypeError(f"extra_headers with {', '.join(secret)} cannot be pickled: pass them with each call")
        return SecretHeaders, (self.reveal(),)
