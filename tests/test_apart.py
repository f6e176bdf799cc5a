"""Each adapter works without the other framework. `make test-apart` checks this in real environments.

Here, a new interpreter blocks the import of the other framework, and runs a part of the adapter's tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APART = {
    "langchain": (("llama_index", "llama_index_modelstudio"), ("messages", "test_tools.py", "test_calls.py")),
    "llama_index": (
        ("langchain", "langchain_core", "langgraph", "langsmith", "langchain_modelstudio"),
        ("test_answers.py", "test_tools.py", "test_history.py", "test_structured.py", "test_settings.py"),
    ),
}
CODE = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
import pytest
sys.exit(pytest.main({arguments!r}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("adapter", APART)
def test_an_adapter_without_the_other_framework(adapter: str) -> None:
    """Its tests pass without importing the other framework or adapter."""
    refused, files = APART[adapter]
    paths = [f"tests/{adapter}/{name}" for name in files]
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", *paths]
    run = subprocess.run(
        [sys.executable, "-c", CODE.format(refused=refused, arguments=arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert " passed" in run.stdout


@pytest.mark.parametrize(
    ("package", "framework", "extra"),
    [
        ("langchain_modelstudio", "langchain_core", "langchain"),
        ("llama_index_modelstudio", "llama_index", "llama-index"),
    ],
)
def test_an_adapter_without_its_own_framework(package: str, framework: str, extra: str) -> None:
    """The ImportError names the extra."""
    code = f"import sys; sys.modules[{framework!r}] = None; import {package}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"pip install 'modelstudio-integrations[{extra}]' (in a clone: pip install '.[{extra}]')" in run.stderr
