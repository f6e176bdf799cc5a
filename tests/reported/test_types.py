"""User code passes mypy in strict mode, without pydantic's plugin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.snippet_files import write
from tests.snippets import ROOT

pytest.importorskip("mypy")


@pytest.mark.slow
@pytest.mark.report(30)
def test_user_code_passes_mypy(tmp_path: Path) -> None:
    """Both names of the model, each field, and each snippet of the documentation that needs no other package."""
    write(tmp_path, marked=False)
    (tmp_path / "usage.py").write_text((ROOT / "tests/typing/usage.py").read_text(encoding="utf-8"), encoding="utf-8")
    options = ["--config-file", ROOT / "tests/typing/mypy.ini", "--cache-dir", ROOT / ".mypy_cache/users"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "."],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
