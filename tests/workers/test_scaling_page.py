"""The unchanged Dask snippet of docs/scaling.md."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.loopback import Loopback
from tests.snippets import ROOT, TEXT, answer, snippets

[SNIPPET] = [text for text in snippets("docs/scaling.md") if "LocalCluster" in text]


def test_the_snippet_runs(tmp_path: Path) -> None:
    """Two workers answer, each with the key of its environment."""
    script = tmp_path / "colours.py"
    script.write_text(SNIPPET, encoding="utf-8")
    with Loopback(answer) as server:
        place = {"DASHSCOPE_API_KEY": "sk-of-workers", "DASHSCOPE_BASE_URL": server.url, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, script], env=os.environ | place, capture_output=True, text=True, timeout=90
        )
        assert (ran.returncode, ran.stdout.strip()) == (0, repr([TEXT] * 2)), ran.stderr
        assert [request.headers["authorization"] for request in server.requests] == ["Bearer sk-of-workers"] * 2
