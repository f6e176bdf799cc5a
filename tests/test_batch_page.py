"""The snippets of docs/batch.md run and print an answer. Its figures match the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelstudio_core.batches import flow, lines
from modelstudio_core.config import BATCH_CHAT_HOST, BATCH_CHAT_TIMEOUT
from tests.snippets import ROOT, TEXT, run, snippets

PAGE = "docs/batch.md"
SNIPPETS = snippets(PAGE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its journal in the current directory."""
    monkeypatch.chdir(tmp_path)
    assert run(snippet, PAGE, monkeypatch)
    assert TEXT in capsys.readouterr().out


def test_the_figures_match_the_code() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert f"{lines.MAX_LINES:,} lines, {lines.MAX_FILE_BYTES // 1_000_000} MB" in text
    assert f"A line is limited to {lines.MAX_LINE_BYTES // 1_000_000} MB" in text
    assert f"after {flow.FIRST_POLL_DELAY:.0f} s" in text
    assert f"every {flow.MAX_POLL_DELAY:.0f} s" in text
    assert BATCH_CHAT_HOST in text
    assert f"{BATCH_CHAT_TIMEOUT:,.0f} s" in text
    for code in (*lines.UNPROCESSED, "batch_failed"):
        assert code in text or code == "batch_without_result"
