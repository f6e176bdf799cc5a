"""The steps of a batch job, which a sync or an async driver performs (see `flow` and `job`)."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from modelstudio_core.types import ResponseHead, WireCall

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """Send a request; the result is what `decode` returns. With `once`, it is not retried."""

    url: str
    call: WireCall
    decode: Callable[[ResponseHead, bytes], Any]
    once: bool = False


@dataclass(frozen=True, slots=True)
class Upload:
    """Upload an input file; the result is its ID."""

    path: Path


@dataclass(frozen=True, slots=True)
class Find:
    """Search for an uploaded file of this name and size; the result is its ID, or None."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Download:
    """Download a file of the service to a path; no result."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Perform:
    """Call a function that does disk I/O; the result is its result."""

    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Report:
    """Report that the status may have changed; no result."""


@dataclass(frozen=True, slots=True)
class Sleep:
    """Sleep; no result."""

    seconds: float


Step: TypeAlias = Request | Upload | Find | Download | Perform | Report | Sleep
Flow: TypeAlias = Generator[Step, Any, T]
