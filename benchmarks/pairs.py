"""Measure in interleaved pairs, because on a busy machine only ratios of adjacent runs are reliable."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """Median, minimum and maximum of a measurement, and its unit ("F": multiple of the floor)."""

    median: float
    least: float
    most: float
    unit: str = "F"
    note: str = ""

    @classmethod
    def of(cls, values: list[float], unit: str = "F", note: str = "") -> Figure:
        return cls(statistics.median(values), min(values), max(values), unit, note)


def cpu(work: Work) -> float:
    """Return the CPU seconds of all threads of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def ratios(work: Mapping[str, Work], rounds: int, *, warm: int = 1) -> Mapping[str, Figure]:
    """Return the CPU time of each as a ratio to "floor" in the same round. The order changes between rounds."""
    names = list(work)
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm, rounds):
        gc.collect()
        turn = number % len(names)
        spent = {name: cpu(work[name]) for name in names[turn:] + names[:turn]}
        if number >= 0:
            for name in names:
                found[name].append(spent[name] / spent["floor"])
    return {name: Figure.of(values) for name, values in found.items()}
