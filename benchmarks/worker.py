"""Measure the rows of one side in the environment of its framework and peers. Print one JSON line per row."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

from benchmarks.bench import BUILD, SIDES, Bench, load
from benchmarks.rows import ROWS

PYTHONS = {
    "langchain": Path(".venv-bench-langchain/bin/python"),
    "llama_index": Path(".venv-bench-llama-index/bin/python"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("side", choices=SIDES)
    arguments.add_argument("protocol")
    arguments.add_argument("origin")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--rows", nargs="*", default=list(ROWS))
    given = arguments.parse_args()
    side = load(given.side)
    bench = Bench(side, given.side, given.protocol, given.origin, given.quick)
    bench.made("whole")  # imports everything
    gc.collect()
    gc.freeze()  # keeps the peers' imports out of our garbage collections
    print(json.dumps({"versions": {name: _version(name) for name in side.DISTRIBUTIONS}}), flush=True)
    for name in given.rows:
        try:
            figures = {who: asdict(figure) for who, figure in ROWS[name].measure(bench).items()}
        except (ImportError, FileNotFoundError, subprocess.CalledProcessError) as error:  # of uvloop or valgrind
            print(json.dumps({"row": name, "failed": f"{type(error).__name__}: {error}"}), flush=True)
        else:
            print(json.dumps({"row": name, "figures": figures}), flush=True)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def started(module: str, side: str, *arguments: str, certificate: str = "", tree: str = "") -> Iterator[Started]:
    """Yield a worker in the environment of a side.

    Args:
        module: what it runs, of this package.
        side: the framework.
        arguments: further arguments of the module.
        certificate: the only one that it trusts.
        tree: the source tree with the packages that it measures; this one by default.
    """
    command = [str(PYTHONS[side]), "-W", "ignore", "-m", f"benchmarks.{module}", side, *arguments]
    environment = os.environ | ({BUILD: tree} if tree else {})
    if certificate:
        environment |= {"SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout
        process.stdin.close()
    if process.returncode:
        raise SystemExit(f"a worker failed; run it to see why: {' '.join(command)}")


Started = tuple[IO[str], IO[str]]


def rows_of(side: str, protocol: str, names: Sequence[str], quick: bool) -> list[str]:
    """Return those rows that exist for a side and protocol."""

    def exists(name: str) -> bool:
        row = ROWS[name]
        return side in row.sides and protocol in row.protocols and (not quick or protocol in row.quick)

    return [name for name in names if exists(name)]


if __name__ == "__main__":
    main()
