"""Compare two builds (`python -m benchmarks --vs REV`): ours of this tree and of a git revision, in turn in one run.

Each build has a worker. Both run the code of this package, and import the packages to measure from their own tree, of
which they use public names alone. What the older build lacks is reported as such.

A worker (`python -m benchmarks.versus SIDE PROTOCOL ORIGIN`, with the tree in BENCHMARK_BUILD) reads the names of rows
from standard input, and prints a measurement of each.
"""

from __future__ import annotations

import gc
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks import report, server
from benchmarks.bench import Bench, load
from benchmarks.pairs import Least, Ratios, Sample
from benchmarks.rows import ROWS
from benchmarks.worker import Started, rows_of, started

ROUNDS = 15
SLOW = {"crowd_1000": 2, "crowd_200": 3, "tail_200": 3, "held": 2, "import_memory": 3}  # the most rounds
BEFORE, AFTER = "before", "now"
Comparison = dict[str, Any]  # row -> the two builds' medians and the ratios, or what failed


# ---------------------------------------------------------------- the worker


def main() -> None:
    side_name, protocol, origin = sys.argv[1:]
    bench = Bench(load(side_name), side_name, protocol, origin, only=("ours",))
    samples: dict[str, Sample] = {}
    for line in sys.stdin:
        row = line.strip()
        try:
            if row not in samples:
                measure = ROWS[row].measure
                assert isinstance(measure, Ratios | Least)
                samples[row] = measure.samples(bench)["ours"]
                if row not in SLOW:
                    samples[row]()  # warm
            gc.collect()
            said: dict[str, Any] = {"value": samples[row]()}
        except Exception as error:  # what an older build lacks
            said = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(said), flush=True)


# ---------------------------------------------------------------- the comparison


@contextmanager
def _source(revision: str) -> Iterator[str]:
    """Yield a temporary folder with the files of a revision."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision], check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield folder


def _ask(worker: Started, row: str) -> dict[str, Any]:
    requests, answers = worker
    requests.write(f"{row}\n")
    requests.flush()
    found: dict[str, Any] = json.loads(answers.readline())
    return found


def _compared(builds: dict[str, Started], row: str, rounds: int) -> Comparison:
    """Measure a row with both builds in turn. The order changes between rounds."""
    found: dict[str, list[float]] = {name: [] for name in builds}
    for number in range(rounds):
        for name in list(builds) if number % 2 else list(builds)[::-1]:
            said = _ask(builds[name], row)
            if "failed" in said:
                return {"failed": f"cannot run on {name}: {said['failed']}"}
            found[name].append(said["value"])
    if isinstance(ROWS[row].measure, Least):
        least = {name: min(values) for name, values in found.items()}
        return {**least, "ratios": [least[AFTER] / least[BEFORE]]}
    ratios = [after / before for after, before in zip(found[AFTER], found[BEFORE], strict=True)]
    return {**{name: statistics.median(values) for name, values in found.items()}, "ratios": ratios}


def _side(side: str, protocol: str, rows: Sequence[str], rounds: int, tree: str) -> Comparison:
    with (
        server.running() as origin,
        started("versus", side, protocol, origin, tree=tree) as before,
        started("versus", side, protocol, origin) as after,
    ):
        found = {}
        for row in rows:
            began = time.monotonic()
            found[row] = _compared({BEFORE: before, AFTER: after}, row, min(rounds, SLOW.get(row, rounds)))
            print(f"  {row}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return found


def compare(revision: str, places: Sequence[tuple[str, str]], rows: Sequence[str], rounds: int) -> str:
    """Return a section of RESULTS.md with the ratios of both builds, for each framework and protocol."""
    able = [row for row in rows if isinstance(ROWS[row].measure, Ratios | Least) and not ROWS[row].tls]
    found = {}
    with _source(revision) as tree:
        for side, protocol in places:
            print(f"{side}, {protocol}", file=sys.stderr, flush=True)
            found[side, protocol] = _side(side, protocol, rows_of(side, protocol, able, quick=False), rounds, tree)
    return report.comparison(revision, found)


if __name__ == "__main__":
    main()
