"""The snippets of docs/rag-llama-index.md run."""

from __future__ import annotations

import pytest

from tests.snippets import run, snippets

PAGE = "docs/rag-llama-index.md"
SNIPPETS = snippets(PAGE)
PRINTED = ["Dogs bark at strangers.", "Dogs bark at strangers.", "100 nodes, 500 tokens in 10 requests", "0.5",
           "2 256 256"]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints its result."""
    assert run(SNIPPETS[number], PAGE, monkeypatch)
    assert PRINTED[number] in capsys.readouterr().out
