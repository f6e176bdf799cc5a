"""Each example runs from the command line."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "examples"
FILES = sorted(path for path in FOLDER.glob("*.py") if path.name != "__init__.py")
ELSEWHERE = {"dask_workers", "fastapi_chat"}  # run by `make test-dask`, and by test_fastapi
SHOWN = {
    "agent": ["An agent, streamed as messages", "Call: ", "Result: It is", "streamed as events"],
    "approval": ["The agent wants to call send_email(", "What happened", "tool: Sent to "],
    "assistant": ["Question: My name is Ada.", "Call: weather(", "Result: It is sunny", "of them for thinking"],
    "batch": ["4 prompts: ", "The battery lasts two days. ", " a million"],
    "built_in_tools": ["Call, on the service: web_search", "Source: ", "{'web_search': {'count': 1}}", "Result: Noted"],
    "chain": ["Question: What is a compass good for?", "tea: ", "silk: "],
    "cost": ["input tokens", "Usage: {", "Cost: 0.000"],
    "demo": ["LangChain: Why is the sky blue?", "(cut at 48 tokens", "Result: It is sunny", "LlamaIndex, "],
    "evaluation": ["hit rate at 3", "without rerank", "Chart: "],
    "files": ["lighthouse.txt: ", "processed, file-fe-", "What is zeros.mp4? (8388620 bytes)"],
    "graph": ["ai: ", "thought: "],
    "rag": ["\033[2m", "[1] lighthouse.txt", "[3] "],
    "rag_agent": ["Question: Hello! My name is Ada.", "Call: search(", "Result: ["],
    "llama_index_agent": ["An agent\n", "Call: ", "Result: It is", "The same agent in a workflow"],
    "llama_index_chat_engine": ["Question: My name is Ada.", "Question: What is my name?"],
    "llama_index_cost": ["input tokens", "Usage: {", "Cost: 0.000"],
    "llama_index_rag": ["\033[2m", "[1] lighthouse.txt", "[3] "],
    "summarize": ["Here is a summary of the conversation", "of 600 tokens"],
}


def test_each_example_is_tested() -> None:
    """Every example is in the table."""
    assert {path.stem for path in FILES} == set(SHOWN) | ELSEWHERE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_can_be_copied(path: Path) -> None:
    """It imports no sibling, takes URL and key from the environment, is short and says how to run it."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    siblings = {each.stem for each in FILES} | {"examples", "local_model", "tests"}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not siblings & {name.split(".")[0] for name in names}
    assert "base_url" not in text
    assert "api_key" not in text
    if path.stem != "demo":  # which `make demo` runs
        assert len(text.splitlines()) <= 110
        assert f"python -m local_model -- python examples/{path.name}\n" in (ast.get_docstring(tree) or "") + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs(name: str, examples_model_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for a user without a key, with a local model that is already running."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", examples_model_url.removesuffix("/compatible-mode/v1"))
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parent))  # for a checkout that is not installed
    ran = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py")],
        input="y\n", capture_output=True, text=True, encoding="utf-8", timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    for text in SHOWN[name]:
        assert text in ran.stdout
