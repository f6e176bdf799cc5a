"""How long to wait for what, in seconds, as one type whatever the caller gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from modelstudio_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for: a connection, the next bytes of the answer, a write, a free place. None waits for ever."""

    connect: float | None = 10.0
    read: float | None = 300.0
    write: float | None = 300.0
    pool: float | None = 300.0


class TimeoutLike(Protocol):
    """What `httpx.Timeout` and `Timeouts` have in common."""

    @property
    def connect(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...
    @property
    def write(self) -> float | None: ...
    @property
    def pool(self) -> float | None: ...


def timeouts(value: float | TimeoutLike | None) -> Timeouts:
    """The limits that a caller's `timeout=` means.

    A number is the silence allowed in reading, writing and waiting for a place; connecting gets at most 10 s of it.
    A mapping has some of the names of `Timeouts`. None is the default. Raises ConfigurationError for what is neither a
    positive number nor like `httpx.Timeout`.
    """
    if value is None or isinstance(value, Timeouts):
        return value or Timeouts()
    if isinstance(value, (int, float)):
        seconds = _limit(value)
        return Timeouts(min(10.0, value), seconds, seconds, seconds)
    if isinstance(value, Mapping):
        if unknown := value.keys() - asdict(Timeouts()).keys():
            raise ConfigurationError(f"timeout= knows no {', '.join(map(repr, sorted(unknown)))}")
        return Timeouts(**{name: _limit(seconds) for name, seconds in value.items()})
    try:
        return Timeouts(_limit(value.connect), _limit(value.read), _limit(value.write), _limit(value.pool))
    except AttributeError:
        raise ConfigurationError(f"timeout= takes seconds or an httpx.Timeout, not {value!r}") from None


def _limit(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(f"timeout= takes positive numbers of seconds, not {seconds!r}")
    return None if math.isinf(seconds) else float(seconds)
