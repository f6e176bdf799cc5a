"""Every Python snippet of the README runs unchanged against a simulated service."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.snippets import CITY, TEXT, run, snippets

PAGE = "README.md"
SNIPPETS = snippets(PAGE, marked=False)  # tests/optional runs the others


def test_what_is_shown() -> None:
    """There is a snippet for each task, in few lines."""
    text = "".join(snippets(PAGE))
    for task in ("enable_thinking", "bind_tools", "create_agent", "StateGraph", "with_structured_output", '"image"',
                 "web_search", "ModelStudioEmbeddings", "batch_job", "StreamingResponse", "stream_chat",
                 "FunctionAgent", "as_query_engine"):  # fmt: skip
        assert task in text, task
    assert max(len(snippet.splitlines()) for snippet in SNIPPETS) < 25


# LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(
    snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It calls the service, and prints the output in its comments."""
    monkeypatch.chdir(tmp_path)
    Path("birds.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    Path("report.pdf").write_bytes(b"%PDF-1.7")
    assert run(snippet, PAGE, monkeypatch)
    printed = capsys.readouterr().out
    assert TEXT in printed or CITY in printed
