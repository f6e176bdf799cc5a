"""The first snippet of docs/scaling.md runs, and its numbers match the code. `make test-dask` runs the others."""

from __future__ import annotations

import pytest

from modelstudio_core.http import limiter, retry
from tests.snippets import ROOT, TEXT, run, snippets

PAGE = "docs/scaling.md"


def test_the_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Three prompts are answered."""
    assert len(run(snippets(PAGE)[0], PAGE, monkeypatch)) == 3
    assert capsys.readouterr().out.strip() == repr([TEXT] * 3)


def test_the_numbers_match_the_code() -> None:
    """The longest pause, and the initial estimate of output tokens."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert limiter.MAX_PAUSE == 60
    assert "a minute at most" in text
    assert f"{retry.FIRST_DELAY} s without the header" in text
    assert f"({limiter._INITIAL_OUTPUT_TOKENS} before" in text
