"""The steps of a call, which a flow gives and a driver performs, sync or async: see `modelstudio_core.http.client`."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from modelstudio_core.config import KeyProvider
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.types import Delta


@dataclass(frozen=True, slots=True)
class AskKey:
    """Ask the caller's function for the key; the answer is a SecretStr."""

    provider: KeyProvider


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request, with time limits of its own if given; the answer is the response's head."""

    url: str
    headers: SecretHeaders = field(repr=False)  # they hold the key; nowhere is it a local of its own
    body: bytes
    timeout: Timeouts | None = None


@dataclass(slots=True)  # not frozen: a stream has one for all its reads
class Read:
    """Hand `deltas` on, then read; the answer is the next bytes, or None at the end of the body.

    `settling`: the answer itself is whole, and what may follow is not waited for as long; `news`: the last read brought
    more than signs of life.
    """

    deltas: list[Delta]
    settling: bool = False
    news: bool = False


@dataclass(frozen=True, slots=True)
class ReadAll:
    """Read the whole body; the answer is its bytes. Of an `error`, what comes soon is enough."""

    limit: int
    error: bool = False


@dataclass(frozen=True, slots=True)
class Hand:
    """Hand `deltas` on; no answer."""

    deltas: list[Delta]


@dataclass(frozen=True, slots=True)
class Finish:
    """The protocol's end was seen: let the connection live on; no answer."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Close the response, if any, and sleep; no answer."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Fail:
    """Raise `error`; the last step. The frames of the flow hold what the service sent, which may repeat the key, so the
    error does not come out through them."""

    error: ModelStudioError


Step: TypeAlias = AskKey | Open | Read | ReadAll | Hand | Finish | Wait | Fail
Flow: TypeAlias = Generator[Step, Any, None]
