"""The page on reliability shows the table of faults as it is."""

from __future__ import annotations

from pathlib import Path

from tests.faults.__main__ import lines

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def test_the_page_has_the_table() -> None:
    """`python -m tests.faults` prints what stands in docs/reliability.md."""
    assert PAGE.read_text(encoding="utf-8").endswith("\n".join(lines()) + "\n")
