"""Read a caller's `timeout=` as four limits. Free of httpx, so that pure modules can import it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol, TypeAlias

from modelstudio_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a connection, the next bytes, a write, and a place in the pool. None waits forever."""

    connect: float | None = 10.0
    read: float | None = 300.0
    write: float | None = 300.0
    pool: float | None = 300.0


class _HttpxTimeout(Protocol):
    def as_dict(self) -> dict[str, float | None]: ...


TimeoutLike: TypeAlias = Timeouts | Mapping[str, float | None] | _HttpxTimeout


def timeouts(value: float | TimeoutLike | None) -> Timeouts:
    """Return the limits that a caller's `timeout=` means.

    A number limits reading, writing and waiting for a place; connecting gets at most 10 s of it. A mapping has some of
    the names of `Timeouts`, the rest keep their defaults. Raises ConfigurationError for what is neither positive
    numbers nor an `httpx.Timeout`.
    """
    if value is None or isinstance(value, Timeouts):
        return value or Timeouts()
    if isinstance(value, (int, float)):
        value = {"connect": min(10.0, value), "read": value, "write": value, "pool": value}
    elif not isinstance(value, Mapping):
        if not hasattr(value, "as_dict"):
            raise ConfigurationError(f"timeout= takes seconds or an httpx.Timeout, not {value!r}")
        value = value.as_dict()
    if unknown := value.keys() - asdict(Timeouts()).keys():
        raise ConfigurationError(f"timeout= has no limit {', '.join(map(repr, sorted(unknown)))}")
    return Timeouts(**{name: _limit(seconds) for name, seconds in value.items()})


def _limit(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(f"timeout= takes positive numbers of seconds, not {seconds!r}")
    return None if math.isinf(seconds) else float(seconds)
