"""The snippets of docs/rag-langchain.md run, and its tables match the code."""

from __future__ import annotations

import pytest

from modelstudio_core.retrieval import embedding_model, rerank_model
from tests.snippets import ROOT, run, snippets

PAGE = "docs/rag-langchain.md"
SNIPPETS = snippets(PAGE)
PRINTED = ["Dogs bark at strangers.", "Dogs bark at strangers.", "Dogs bark.", "[1] a.txt", "0.5", "2 256 256",
           "200 tokens in 10 requests"]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints its result."""
    assert run(SNIPPETS[number], PAGE, monkeypatch)
    assert PRINTED[number] in capsys.readouterr().out


def test_the_tables_match_the_code() -> None:
    """Each row has the facts of its model."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    seen = 0
    for first, *cells in rows:
        for name in first.split("`")[1::2]:
            seen += 1
            numbers = [cell.replace(",", "") for cell in cells]
            if "rerank" in name:
                reranker = rerank_model(name)
                assert numbers[0] == reranker.endpoint
                assert numbers[1].split()[0] == str(reranker.max_documents)
                assert numbers[2:] == [str(n or "") for n in (reranker.max_item_tokens, reranker.max_request_tokens)]
            else:
                model = embedding_model(name)
                assert cells[0] == ", ".join(map(str, model.dimensions or ()))
                assert numbers[1:3] == [str(model.max_rows), str(model.max_tokens)]
                assert cells[3] == {True: "yes", False: "no", None: ""}[model.sparse]
    assert seen == 10
