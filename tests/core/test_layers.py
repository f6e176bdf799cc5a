"""The core imports no framework and no adapter, and only `http` imports httpx."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import modelstudio_core

CORE = Path(modelstudio_core.__file__).parent
FILES = sorted(CORE.rglob("*.py"))
NAMES = [path.relative_to(CORE).as_posix() for path in FILES]
FOREIGN = ("langchain", "langgraph", "llama_index", "openai", "dashscope", "requests", "aiohttp", "local_model")
WITH_HTTP = {
    f"http/{name}.py"
    for name in (
        "transport", "response", "errors", "pool", "forms", "framing", "environment",
        "connection", "asyncio_stream", "socket_stream", "private_names", "probe",
    )
}  # fmt: skip
WITH_CLOCK = {"http/disk.py", "http/limiter.py", "http/temporary.py"}


def imports_of(path: Path) -> set[str]:
    """Return the top-level packages imported anywhere in a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports(path: Path) -> None:
    """No framework, adapter or vendor SDK; httpx and its dependencies only in the listed files."""
    names = imports_of(path)
    assert not [name for name in names if name.startswith(FOREIGN)]
    if path.relative_to(CORE).as_posix() not in WITH_HTTP:
        clock = {"time"} if path.relative_to(CORE).as_posix() in WITH_CLOCK else set()
        assert not names & {"httpx", "httpcore", "anyio", "socket", "ssl", "time"} - clock


def test_the_files_are_found() -> None:
    """The check above has files to check."""
    assert {"http/client.py", "http/transport.py", "protocols/openai.py", "protocols/sse.py"} <= set(NAMES)


def test_the_core_imports_no_framework() -> None:
    """Importing every module of the core leaves no framework or adapter in `sys.modules`."""
    modules = [f"modelstudio_core.{name[:-3].replace('/', '.')}" for name in NAMES if not name.endswith("__init__.py")]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CORE.parent)
    names = loaded.stdout.split()
    assert "modelstudio_core.http.client" in names
    assert not [name for name in names if name.split(".")[0].startswith((*FOREIGN, "llama_index_modelstudio"))]


PURE = """config errors headers redaction catalogue parameters http.retry http.advice http.keys policies types tools
    media partial_json retrieval limits tokens http.timeouts protocols.accumulate protocols.sse
    protocols.rerank protocols.embeddings protocols.codec protocols.files protocols.uploads protocols.decoding
    protocols.errors protocols.logprobs protocols.openai protocols.dashscope protocols.assembler
    protocols.responses protocols.responses_requests built_in_tools"""


def test_pure_modules_import_no_http() -> None:
    """All of them in one process. The next test finds the culprit."""
    names = ", ".join(f"modelstudio_core.{name}" for name in PURE.split())
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['httpx'] = None; import {names}"], check=True, cwd=CORE.parent
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", PURE.split())
def test_a_pure_module_imports_no_http(name: str) -> None:
    """It can be imported where httpx is not installed."""
    code = f"import sys; sys.modules['httpx'] = None; import modelstudio_core.{name}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CORE.parent)
