"""The claims of docs/performance.md: the snippet about workers, the defaults and the figures; the benchmark report."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
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


RESULTS = report.RESULTS.read_text(encoding="utf-8")


def test_the_results_have_every_row() -> None:
    """The last full run measured every current row."""
    assert [row.title for row in ROWS.values() if f"| {row.title} |" not in RESULTS] == []


def test_the_figures_match_the_results() -> None:
    """Each row of the page's table is a benchmark, with the figures of the last run."""
    table = TEXT_OF_PAGE.partition("<!-- figures")[2].partition("<!-- end")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:]
    assert len(rows) >= 15
    for title, cells in rows:
        [_, *lines] = RESULTS.split(f"| {title} | ")
        known = {number for line in lines for number in re.findall(r"[-\d.]+", line.partition("\n")[0])}
        shown = {cell.split()[0].replace(",", "") for cell in cells.split(" | ")} - {"-"}
        assert shown
        assert shown <= known, title


def _figure(value: float, unit: str = "F") -> dict[str, object]:
    return {"value": value, "least": value, "most": value * 1.5, "unit": unit, "note": ""}


def test_the_report_lists_missed_limits_and_better_peers() -> None:
    """A figure above its limit is bold and listed, and so is each row in which a peer is better."""
    rows = {
        "invoke": {"floor": _figure(1), "ours": _figure(1.2), "Peer": _figure(1.5)},
        "ainvoke": {"floor": _figure(1), "ours": _figure(0.88), "Peer": _figure(0.8)},
        "import_time": {"ours": _figure(30, "ms"), "Peer": _figure(200, "ms")},
    }
    versions = {"httpx": "0.28.1"}
    failed = {"aeach_uvloop": "No module named 'uvloop'"}
    result = {"side": "langchain", "protocol": "openai", "versions": versions, "rows": rows, "failed": failed}
    table = report.table(result)
    assert "| small invoke | 1.08 F | **1.20 (1.20 to 1.80)** | 1.50 (1.50 to 2.25) |" in table
    assert "| small ainvoke | 0.88 F | 0.88 (0.88 to 1.32) | 0.80 (0.80 to 1.20) |" in table
    assert "| import, beyond framework and httpx | 35 ms | 30 (30 to 45) | 200 (200 to 300) |" in table
    assert "Not measured: one chunk a write, uvloop (No module named 'uvloop')." in table
    assert report.summary([result]) == [
        "Not met: small invoke (LangChain, compatible): 1.20.",
        "",
        "Behind a peer: small ainvoke (LangChain, compatible): 0.88, Peer 0.80.",
    ]
    assert "| small invoke | 1.20 | 1.50 | - | - |" in report.page_table([result])


def test_a_comparison_of_builds() -> None:
    """Each side and protocol has a column, and a row that the other build cannot run says why."""
    ran = {"burst": {"before": 2.0, "now": 1.0, "ratios": [0.4, 0.5, 0.6]}}
    lacks = {"burst": {"failed": "cannot run on before: ImportError: no"}}
    section = report.comparison("1234567", {("langchain", "openai"): ran, ("llama_index", "openai"): lacks})
    assert "| measure | LangChain, compatible | LlamaIndex, compatible |" in section
    assert "| 2,000 chunks at once | 0.50 (0.40 to 0.60) | cannot run |" in section
    assert "2,000 chunks at once: cannot run on before: ImportError: no" in section
