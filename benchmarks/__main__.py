"""Run all benchmarks (`make bench`): this package, the floor and the peers do the same work in turn.

The peers pin conflicting versions, so each framework has its own environment, in which a worker measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from benchmarks import report, server, versus
from benchmarks.rows import ROWS
from benchmarks.worker import rows_of, started


def measure(side: str, protocol: str, quick: bool, rows: list[str]) -> report.Result:
    """Measure rows of one side and protocol, in its own environment and with its own server."""
    found: dict[str, Any] = {"side": side, "protocol": protocol, "versions": {}, "rows": {}, "failed": {}}
    plain = [row for row in rows if not ROWS[row].tls]
    if plain:
        with server.running() as origin:
            _measure(found, quick, plain, origin)
    encrypted = [row for row in rows if ROWS[row].tls]
    if encrypted:
        try:
            with server.new_certificate() as certificate, server.running(*certificate) as origin:
                _measure(found, quick, encrypted, origin, certificate[0])
        except FileNotFoundError as error:
            found["failed"] |= dict.fromkeys(encrypted, f"{error}")
    found["rows"] = {row: found["rows"][row] for row in rows if row in found["rows"]}
    return found


def _measure(found: report.Result, quick: bool, rows: list[str], origin: str, certificate: str = "") -> None:
    arguments = [found["protocol"], origin, *["--quick"] * quick, "--rows", *rows]
    began = time.monotonic()
    with started("worker", found["side"], *arguments, certificate=certificate) as (_, output):
        for line in output:
            said = json.loads(line)
            found["versions"] |= said.get("versions", {})
            if "figures" in said:
                found["rows"][said["row"]] = said["figures"]
            elif "failed" in said:
                found["failed"][said["row"]] = said["failed"]
            print(f"  {said.get('row', 'start')}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            began = time.monotonic()


def main() -> None:
    """Measure, print, and save the results of a full run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds and rows, about two minutes; not saved")
    arguments.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, help="only these; not saved")
    arguments.add_argument("--vs", metavar="REV", help="compare this build with that of a git revision")
    arguments.add_argument("--rounds", type=int, default=versus.ROUNDS, help="of --vs; results are saved by default")
    arguments.add_argument("--sides", nargs="+", default=list(report.SIDES), choices=report.SIDES)
    arguments.add_argument("--protocols", nargs="+", default=list(report.PROTOCOLS), choices=report.PROTOCOLS)
    given = arguments.parse_args()
    began = time.monotonic()
    places = [(side, protocol) for side in given.sides for protocol in given.protocols]
    every_row = (given.rows, len(places)) == (list(ROWS), len(report.SIDES) * len(report.PROTOCOLS))
    if given.vs:
        section = versus.compare(given.vs, places, given.rows, given.rounds)
        print(section)
        if every_row and given.rounds >= versus.ROUNDS:
            report.save_comparison(section)
    else:
        measured = []
        for side, protocol in places:
            print(f"{side}, {protocol}", file=sys.stderr, flush=True)
            measured.append(measure(side, protocol, given.quick, rows_of(side, protocol, given.rows, given.quick)))
            print(report.table(measured[-1]), flush=True)
        print("\n" + "\n".join(report.summary(measured)))
        if every_row and not given.quick:
            report.save(measured, time.monotonic() - began)
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
