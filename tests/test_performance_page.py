"""The claims of docs/performance.md about workers: its snippet runs in a separate process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rows import ROWS
from modelstudio_core import config
from modelstudio_core.http import pool as connections
from modelstudio_core.http import response, timeouts
from modelstudio_core.protocols.sse import MAX_EVENT_BYTES
from tests.faults.dialects import DIALECTS, TEXT
from tests.faults.steps import KEY, good
from tests.loopback import Loopback
from tests.snippets import ROOT, snippets

PAGE = "docs/performance.md"
TEXT_OF_PAGE = (ROOT / PAGE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_in_worker_processes(tmp_path: Path) -> None:
    """Two workers answer, each with the key of its environment."""
    [snippet] = snippets(PAGE)
    script = tmp_path / "summaries.py"
    script.write_text(snippet, encoding="utf-8")
    with Loopback(lambda exchange: good(exchange, DIALECTS["openai"])) as server:
        place = {"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": server.url, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            [sys.executable, str(script)], env=os.environ | place, capture_output=True, text=True, timeout=60
        )
        assert (ran.returncode, ran.stdout.strip()) == (0, repr([TEXT, TEXT])), ran.stderr
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 2


def test_the_defaults_match_the_code() -> None:
    """Each number in the table of settings."""
    limits = timeouts.Timeouts()
    assert f"{limits.read:.0f} s; {limits.connect:.0f} s to connect" in TEXT_OF_PAGE
    assert f"{connections.MAX_CONNECTIONS:,} per process" in TEXT_OF_PAGE
    assert f"{connections.MAX_IDLE} per origin, for {connections.KEEPALIVE_SECONDS:.0f} s" in TEXT_OF_PAGE
    assert f"{MAX_EVENT_BYTES // 2**20} MiB" in TEXT_OF_PAGE
    assert f"{response.DRAIN_SECONDS} s and {response.DRAIN_BYTES // 1024} KiB" in TEXT_OF_PAGE
    assert re.search(rf"`max_retries=` \| {config.DEFAULT_MAX_RETRIES} \|", TEXT_OF_PAGE)


def test_the_results_have_every_row() -> None:
    """The last full run measured every current row."""
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    assert [row.title for row in ROWS.values() if f"| {row.title} |" not in results] == []
