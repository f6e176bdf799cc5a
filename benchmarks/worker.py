"""Measure the rows of one side in the environment of its framework and peers. Print one JSON line per row."""

from __future__ import annotations

import argparse
import gc
import json
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import version

from benchmarks.rows import ROWS, SIDES, Bench


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("side", choices=SIDES)
    arguments.add_argument("protocol")
    arguments.add_argument("origin")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--rows", nargs="*", default=list(ROWS))
    given = arguments.parse_args()
    side = import_module(SIDES[given.side])
    bench = Bench(side, given.side, given.protocol, given.origin, given.quick)
    bench.made("whole")  # imports everything
    gc.collect()
    gc.freeze()  # keeps the peers' imports out of our garbage collections
    known = {name: version(name) for name in side.DISTRIBUTIONS}
    print(json.dumps({"versions": known}), flush=True)
    for name in given.rows:
        row = ROWS[name]
        if given.side in row.sides and given.protocol in row.protocols:
            figures = {who: asdict(figure) for who, figure in row.measure(bench).items()}
            print(json.dumps({"row": name, "figures": figures}), flush=True)


if __name__ == "__main__":
    main()
