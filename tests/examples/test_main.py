"""Each example runs from the command line's point of view, and says what it shows."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

import examples
import local_model

pytestmark = pytest.mark.slow

FOLDER = Path(examples.__path__[0])
NAMES = {".".join(path.relative_to(FOLDER).with_suffix("").parts) for path in FOLDER.glob("**/*.py")}
PARTS = {"model", "place", "terminal", "llama_index.model", "llama_index.demo"}  # of the examples
ELSEWHERE = {"evaluation", "dask_workers"}  # run by test_rag, which reads its figures, and by `make test-dask`
EXAMPLES = sorted({name for name in NAMES if not name.endswith("__init__")} - PARTS - ELSEWHERE)
SHOWN = {
    "agent": ["streamed: ", "calls  ", "result It is", "streamed_v3: "],
    "batch": ["4 prompts: ", "The battery lasts two days. ", " a million"],
    "built_in_tools": [
        "calls  web_search, on the service",
        "source ",
        "ran    {'web_search': {'count': 1}}",
        "Noted: ",
    ],
    "chain": ["> What is a compass good for?", "tea: ", "silk: "],
    "cost": ["input tokens", "usage  {", "cost   0.000"],
    "demo": [
        "usage_metadata",
        "result It is",
        "additional_kwargs, one call",
        "LlamaIndex: the tool call",
        "[1] lighthouse.txt",
    ],
    "files": ["lighthouse.txt: ", "processed, file-fe-", "What is zeros.mp4? (8388620 bytes)"],
    "graph": ["ai: ", "thought: "],
    "rag": ["thinking", "[1] lighthouse.txt", "[3] "],
    "rag_agent": ["> Hello! My name is Ada.", "calls  search(", "result ["],
    "llama_index.agent": ["an_agent: ", "calls  ", "result It is", "a_workflow: "],
    "llama_index.chat_engine": ["> My name is Ada.", "> What is my name?"],
    "llama_index.cost": ["input tokens", "usage  {", "cost   0.000"],
    "llama_index.rag": ["thinking", "[1] lighthouse.txt", "[3] "],
    "summarize": ["Here is a summary of the conversation", "of 380 tokens"],
}


def test_each_example_is_tested() -> None:
    """None is there without saying here what it shows."""
    assert set(EXAMPLES) == set(SHOWN)


# LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    name: str,
    examples_model_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it does for a user without a key, except that the model on this machine is one that runs already."""
    running = SimpleNamespace(base_url=examples_model_url, version="the one of these tests")
    monkeypatch.setattr(local_model, "running", lambda **_: nullcontext(running))
    monkeypatch.setattr("examples.summarize.SMALL", {"max_input": 380})  # for the answers here are short
    assert not importlib.import_module(f"examples.{name}").main()
    printed = capsys.readouterr().out
    for text in SHOWN[name]:
        assert text in printed


@pytest.mark.parametrize("name", sorted({*EXAMPLES, *ELSEWHERE} - {"demo"}))
def test_an_example_is_short(name: str) -> None:
    """An example can be read top to bottom, and says how it is started."""
    text = (FOLDER / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 85
    assert f"python -m examples.{name}" in text
