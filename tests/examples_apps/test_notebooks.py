"""The notebooks run from top to bottom, and are stored without their outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent.parent / "examples"
SHOWN = {
    "langchain": ["The sky appears blue", "output_tokens", "City(name=", "'name': 'weather'", "Tool Message"],
    "llama_index": ["The sky appears blue", "completion_tokens", "City(name=", "Dogs bark at strangers."],
    "token_chart": ["input_tokens", "cached input", "image/png"],
}


def test_each_notebook_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_no_output_is_stored(name: str) -> None:
    """A diff shows what a person has changed."""
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        assert cell.cell_type == "markdown" or (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs(name: str, address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each cell, on the local model; the outputs show what the text promises."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", address)
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))
    notebook: Any = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = str([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    for text in SHOWN[name]:
        assert text in printed
    assert "Traceback" not in printed
