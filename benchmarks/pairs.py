"""Measure contenders in turn, because on a busy machine only adjacent measurements can be compared."""

from __future__ import annotations

import gc
import resource
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench

Work = Callable[[], object]
Sample = Callable[[], float]  # measures once; a `note` of it is shown with the figure
Samples = Mapping[str, Sample]  # by contender
_IN_EACH_ROUND = ("floor", "ours", "framework")


@dataclass(frozen=True)
class Figure:
    """A measurement, its smallest and largest repetition, and its unit ("F": multiple of the floor)."""

    value: float
    least: float
    most: float
    unit: str = "F"
    note: str = ""

    @classmethod
    def of(cls, values: list[float], unit: str = "F", note: str = "") -> Figure:
        """Return the median of repetitions."""
        return cls(statistics.median(values), min(values), max(values), unit, note)


Figures = Mapping[str, Figure]  # by contender


def cpu(work: Work) -> float:
    """Return the CPU seconds of all threads of this process, in user and in kernel mode."""
    began = _spent()
    work()
    return _spent() - began


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def in_turn(samples: Samples, rounds: int, warm: int = 1) -> dict[str, dict[int, float]]:
    """Return what each contender took, by round. The order is another one in each round.

    Peers, which take most of the time, are in every third round only.
    """
    found: dict[str, dict[int, float]] = {name: {} for name in samples}
    for number in range(-warm, rounds):
        names = [name for name in samples if name in _IN_EACH_ROUND or number % 3 == 0 or number < 0]
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            value = samples[name]()
            if number >= 0:
                found[name][number] = value
    return found


@dataclass(frozen=True)
class Ratios:
    """Compare each contender with the floor of the same round, and take the median of the ratios.

    Attributes:
        samples: makes the samples.
        few: rounds of a quick run.
        many: rounds of a full run.
        shown: a factor and its unit, in which the median of the absolute values is noted.
        warm: rounds before the first that counts.
    """

    samples: Callable[[Bench], Samples]
    few: int
    many: int
    shown: tuple[float, str] | None = None
    warm: int = 1

    def __call__(self, bench: Bench) -> Figures:
        samples = self.samples(bench)
        found = in_turn(samples, bench.rounds(self.few, self.many), self.warm)
        return {name: self._figure(samples[name], values, found["floor"]) for name, values in found.items()}

    def _figure(self, sample: Sample, values: Mapping[int, float], floor: Mapping[int, float]) -> Figure:
        notes = [str(getattr(sample, "note", ""))]
        if self.shown:
            factor, unit = self.shown
            notes.append(f"{_digits(statistics.median(values.values()) * factor)} {unit}")
        ratios = [value / floor[number] for number, value in values.items()]
        return Figure.of(ratios, "F", ", ".join(note for note in notes if note))


def _digits(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


@dataclass(frozen=True)
class Least:
    """Take the smallest of the repetitions, in an absolute unit: other processes can only add to a cost paid once.

    Attributes:
        samples: makes the samples.
        few: rounds of a quick run.
        many: rounds of a full run.
        factor: converts a sample to `unit`.
        unit: of the figure.
    """

    samples: Callable[[Bench], Samples]
    few: int
    many: int
    factor: float
    unit: str

    def __call__(self, bench: Bench) -> Figures:
        samples = self.samples(bench)
        found = in_turn(samples, bench.rounds(self.few, self.many), warm=0)
        return {name: self._figure(samples[name], values) for name, values in found.items()}

    def _figure(self, sample: Sample, values: Mapping[int, float]) -> Figure:
        scaled = [value * self.factor for value in values.values()]
        return Figure(min(scaled), min(scaled), max(scaled), self.unit, getattr(sample, "note", ""))
