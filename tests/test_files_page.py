"""The snippets of docs/files.md run, and upload the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelstudio_core.http import temporary
from tests.snippets import TEXT, run, snippets

PAGE = "docs/files.md"
SNIPPETS = snippets(PAGE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["langchain", "llama_index", "document"])
def test_a_snippet_runs(
    snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A large video is uploaded before the question; a document is uploaded, used and deleted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(temporary, "INLINE_BYTES", 1)
    Path("birds.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    Path("report.pdf").write_bytes(b"%PDF-1.7")
    requests = run(snippet, PAGE, monkeypatch)
    assert TEXT in capsys.readouterr().out
    paths = [(request.method, request.path.partition("?")[0].rpartition("/")[2]) for request in requests]
    if "report.pdf" in snippet:
        assert [method for method, _ in paths] == ["POST", "POST", "DELETE"]
        assert [message["role"] for message in requests[1].json()["messages"]] == ["system", "system", "user"]
        assert requests[1].json()["messages"][1]["content"].startswith("fileid://file-fe-")
    else:
        assert paths == [("GET", "uploads"), ("POST", "oss"), ("POST", "completions")]
        assert b'"oss://' in requests[-1].body
