"""Select which cells of a large table of cases and ways `make test` runs. `make test-all` runs all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

Cell = tuple[int, ...]
"""The place of each parameter's value in its list."""


def rotated(cells: Sequence[Cell]) -> set[Cell]:
    """Return the selected cells: two ways per case, which change from case to case until every way has occurred.

    The cases are the parameter with most values, the ways all combinations of the others. The second way of a case is
    half of the list away, so it differs in both the slowly varying (adapter) and the quickly varying parameter
    (protocol).
    """
    cases = max(range(len(cells[0])), key=lambda at: len({cell[at] for cell in cells}))
    by_case: dict[int, list[Cell]] = defaultdict(list)
    for cell in sorted(cells):
        by_case[cell[cases]].append(cell)
    chosen: set[Cell] = set()
    for number, ways in enumerate(by_case.values()):
        wanted = max(2, -(-len(ways) // len(by_case)))
        step = len(ways) // 2 + 1
        at = number
        mine: set[Cell] = set()
        while len(mine) < min(wanted, len(ways)):
            while ways[at % len(ways)] in mine:
                at += 1
            mine.add(ways[at % len(ways)])
            at += step
        chosen |= mine
    return chosen


def _cells(items: Sequence[Any]) -> list[Cell]:
    """Return the cell of each item of one test: the indexes of its parameter or fixture values."""
    marks = [mark.args[0] for mark in items[0].iter_markers("parametrize")]
    together = [[name.strip() for name in (names.split(",") if isinstance(names, str) else names)] for names in marks]
    known = {name for names in together for name in names}
    together += [[name] for name in items[0].callspec.params if name not in known]
    seen: list[dict[tuple[int, ...], int]] = [{} for _ in together]
    return [
        tuple(
            places.setdefault(tuple(id(item.callspec.params[name]) for name in names), len(places))
            for names, places in zip(together, seen, strict=True)
        )
        for item in items
    ]


def mark_rotated(items: Iterable[pytest.Item]) -> None:
    """Mark the cells of tests with the marker `rotated` that `make test` does not run as slow."""
    tests: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("rotated"):
            tests[item.nodeid.partition("[")[0]].append(item)
    for same in tests.values():
        cells = _cells(same)
        chosen = rotated(cells)
        for item, cell in zip(same, cells, strict=True):
            if cell not in chosen:
                item.add_marker(pytest.mark.slow)
