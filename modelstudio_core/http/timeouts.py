"""Convert `timeout=` to four timeouts. This module does not import httpx, so that pure modules can import it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Protocol, TypeAlias

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.values import value_class


@value_class
class Timeouts:
    """Seconds to wait for a connection, for data, for a write, and for a free connection. None: no limit."""

    connect: float | None = 10.0
    read: float | None = 300.0
    write: float | None = 300.0
    pool: float | None = 300.0

    def as_dict(self) -> dict[str, float | None]:
        """Return the values by name. `dataclasses.asdict` takes ten times as long."""
        return {"connect": self.connect, "read": self.read, "write": self.write, "pool": self.pool}


class _HttpxTimeout(Protocol):
    def as_dict(self) -> dict[str, float | None]: ...


_NAMES = frozenset(field.name for field in fields(Timeouts))
TimeoutLike: TypeAlias = Timeouts | Mapping[str, float | None] | _HttpxTimeout


def timeouts(value: float | TimeoutLike | None) -> Timeouts:
    """Return the timeouts for a `timeout=` argument.

    A number sets all of them, but connect to at most 10 s. A mapping sets the names in it, which are fields of
    `Timeouts`; the others keep their defaults.

    Raises:
        ConfigurationError: if a value is not a positive number, or `value` is of another type.
    """
    if value is None or isinstance(value, Timeouts):
        return value or Timeouts()
    if isinstance(value, (int, float)):
        return _same(value)
    if not isinstance(value, Mapping):
        if not hasattr(value, "as_dict"):
            raise ConfigurationError(f"timeout= must be seconds or an httpx.Timeout, not {value!r:.80}")
        value = value.as_dict()
    if unknown := value.keys() - _NAMES:
        raise ConfigurationError(f"timeout= has unknown keys: {', '.join(map(repr, sorted(unknown)))}")
    return Timeouts(**{name: _limit(seconds) for name, seconds in value.items()})


@lru_cache(maxsize=64)  # each model object asks
def _same(seconds: float) -> Timeouts:
    limit = _limit(seconds)
    return Timeouts(_limit(min(10.0, seconds)), limit, limit, limit)


def _limit(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(f"timeout= must be a positive number of seconds, not {seconds!r:.80}")
    return None if math.isinf(seconds) else float(seconds)
