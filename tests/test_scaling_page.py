"""docs/scaling.md: its first snippet runs, and its numbers are those of the code. `make test-dask` runs the others."""

from __future__ import annotations

import pytest

from modelstudio_core.http import limiter, retry
from tests.snippets import ROOT, TEXT, run, snippets

PAGE = "docs/scaling.md"


def test_the_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Three prompts are answered, within the limits."""
    assert len(run(snippets(PAGE)[0], PAGE, monkeypatch)) == 3
    assert capsys.readouterr().out.strip() == repr([TEXT] * 3)


def test_the_numbers_are_those_of_the_code() -> None:
    """What is waited for at most, and what an answer is taken to have."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert limiter.MAX_PAUSE == 60
    assert "a minute at most" in text
    assert f"{retry.FIRST_DELAY} s if it says nothing" in text
    assert f"({limiter._INITIAL_OUTPUT_TOKENS} before" in text
