"""Run all benchmarks (`make bench`): this package, the floor and the peers do the same work in turn.

The peers pin conflicting versions, so each framework has its own environment, in which a worker measures.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import report, server
from benchmarks.rows import ROWS

PYTHONS = {
    "langchain": Path(".venv-bench-langchain/bin/python"),
    "llama_index": Path(".venv-bench-llama-index/bin/python"),
}


def measure(side: str, protocol: str, quick: bool, rows: list[str]) -> report.Result:
    """Measure all rows of one side and protocol, in its own environment and with its own server."""
    found: dict[str, Any] = {"side": side, "protocol": protocol, "versions": {}, "rows": {}}
    with server.running() as origin:
        command = [str(PYTHONS[side]), "-W", "ignore", "-m", "benchmarks.worker", side, protocol, origin]
        command += ["--quick"] * quick + ["--rows", *rows]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
            assert worker.stdout is not None
            began = time.monotonic()
            for line in worker.stdout:
                said = json.loads(line)
                found["versions"] |= said.get("versions", {})
                if "row" in said:
                    found["rows"][said["row"]] = said["figures"]
                    print(f"  {said['row']}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
                    began = time.monotonic()
        if worker.returncode:
            raise SystemExit(f"the worker for {side}, {protocol} failed after {list(found['rows'])}")
    return found


def main() -> None:
    """Measure, print, and save the results of a full run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds: about two minutes; no results saved")
    arguments.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS, help="only these; no results saved")
    given = arguments.parse_args()
    measured = []
    for side in report.SIDES:
        for protocol in report.PROTOCOLS:
            print(f"{side}, {protocol}", file=sys.stderr, flush=True)
            rows = [row for row in given.rows if not given.quick or protocol in ROWS[row].quick]
            measured.append(measure(side, protocol, given.quick, rows))
            print(report.table(measured[-1]), flush=True)
    if not given.quick and given.rows == list(ROWS):
        (report.HERE / "RESULTS.md").write_text(report.results(measured))
        report.chart(measured, report.HERE / "chart.svg")


if __name__ == "__main__":
    main()
