"""Measure in new processes: imports, many streams on one event loop, instructions, embeddings and batch jobs."""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
from functools import cache, partial
from importlib import import_module
from typing import Any

from benchmarks.bench import SIDES, Bench, build
from benchmarks.pairs import Figure, Figures, Samples

CALM_EVENTS = 60  # of a stream with 20 events per second
HELD_EVENTS, HELD_STREAMS = 20, 1000  # while memory is measured


def _said(module: str, *arguments: object) -> Any:
    """Return what a module of this package prints as JSON in a new process."""
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise RuntimeError(f"benchmarks.{module} failed")  # without the command, which has paths of this machine
    return json.loads(done.stdout)


# ---------------------------------------------------------------- imports


def import_time(bench: Bench) -> Samples:
    """Measure import time in seconds of CPU, after the framework and httpx have been imported."""
    return _imports(bench, 0)


def import_memory(bench: Bench) -> Samples:
    """Measure by how many bytes an import increases resident memory, after the framework and httpx."""
    return _imports(bench, 1)


def _imports(bench: Bench, what: int) -> Samples:
    for package in ("modelstudio_core", f"{bench.side_name}_modelstudio"):  # compiled like pip does
        compileall.compile_dir(build() / package, quiet=1)
    return {name: partial(_import, bench, name, what) for name in bench.makers if name != "floor"}


def _import(bench: Bench, name: str, what: int) -> float:
    statements = bench.side.IMPORTS
    code = f"""
import resource
def used():
    spent = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(open("/proc/self/statm").read().split()[1])
    return spent.ru_utime + spent.ru_stime, pages * resource.getpagesize()
{statements["base"]}
before = used()
{statements[name]}
print(*(now - then for now, then in zip(used(), before)))
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    return float(subprocess.check_output(command, text=True, cwd=build()).split()[what])


# ---------------------------------------------------------------- many streams on one event loop


class Crowd:
    """A sample: CPU seconds per event of many slow streams."""

    def __init__(self, bench: Bench, name: str, streams: int) -> None:
        self._arguments = (bench.side_name, bench.protocol, name, bench.origin, streams)
        self._events = bench.rounds(10, CALM_EVENTS)
        self.note = ""
        self.tail = 0.0  # 99th percentile of the delays, in seconds

    def __call__(self) -> float:
        said = _said("crowd", *self._arguments, self._events)
        self.note = f"{said['done']} done, {said['errors']} errors"
        self.tail = said["tail"]
        return float(said["cpu"] / max(said["events"], 1))


class Tail:
    """A sample: the delay in seconds of the slowest hundredth of the events of a crowd."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def __call__(self) -> float:
        self._crowd()
        return self._crowd.tail


def crowd(bench: Bench, streams: int) -> dict[str, Crowd]:
    # ChatQwen is like ChatOpenAI, its base class
    return {name: Crowd(bench, name, streams) for name in bench.makers if name != "ChatQwen"}


def crowd_200(bench: Bench) -> Samples:
    return crowd(bench, 200)


def crowd_1000(bench: Bench) -> Samples:
    return crowd(bench, 1000)


def tail_200(bench: Bench) -> Samples:
    return {name: Tail(each) for name, each in crowd(bench, 200).items()}


class Held:
    """A sample: bytes of resident memory per open stream, beyond what the framework needs without a network."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._arguments = (bench.side_name, bench.protocol, name, bench.origin)
        self.note = ""

    def __call__(self) -> float:
        found = _held(*self._arguments)
        self.note = f"{found['open']} open" if found["open"] < HELD_STREAMS else ""
        return float(found["bytes"] - _framework(*self._arguments[:2])["bytes"])


def _held(side_name: str, protocol: str, name: str, origin: str) -> dict[str, float]:
    found: dict[str, float] = _said("crowd", side_name, protocol, name, origin, HELD_STREAMS, HELD_EVENTS, "--held")
    return found


@cache
def _framework(side_name: str, protocol: str) -> dict[str, float]:
    return _held(side_name, protocol, "framework", "")


def held(bench: Bench) -> Samples:
    # the floor takes quadratic time to open the streams; ChatTongyi reads each in a thread of the default executor,
    # which has a few, so it cannot keep 1,000 open
    return {name: Held(bench, name) for name in bench.makers if name not in ("floor", "ChatQwen", "ChatTongyi")}


# ---------------------------------------------------------------- instructions


def instructions(bench: Bench, what: str) -> Figures:
    """Count machine instructions per event in user mode: a ratio to the floor that other processes cannot change."""
    counts = _instructions(bench.side_name, bench.protocol)
    return {
        name: Figure.of([each[what] / counts["floor"][what]], "F", f"{each[what] / 1000:.0f},000 instructions")
        for name, each in counts.items()
    }


@cache
def _instructions(side_name: str, protocol: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = _said("instructions", side_name, protocol)
    return found


def count_burst(bench: Bench) -> Figures:
    return instructions(bench, "burst")


def count_aburst(bench: Bench) -> Figures:
    return instructions(bench, "aburst")


def count_each(bench: Bench) -> Figures:
    return instructions(bench, "each")


def count_aeach(bench: Bench) -> Figures:
    return instructions(bench, "aeach")


# ---------------------------------------------------------------- embeddings


def embed_time(bench: Bench) -> Figures:
    """Measure the time for many texts, relative to the peer, which sends requests sequentially."""
    return _embeddings(bench, "wall", "{:.1f} s")


def embed_cpu(bench: Bench) -> Figures:
    """Measure CPU time for many texts, relative to the peer."""
    return _embeddings(bench, "cpu", "{:.1f} s")


def embed_memory(bench: Bench) -> Figures:
    """Measure the peak growth of resident memory, as a multiple of the size of the vectors."""
    spent = _embedded(bench.side_name, bench.origin, bench.rounds(1000, 10_000))
    return {name: Figure.of([each["memory"]], "times") for name, each in spent.items()}


def _embeddings(bench: Bench, what: str, note: str) -> Figures:
    spent = _embedded(bench.side_name, bench.origin, bench.rounds(1000, 10_000))
    [peer] = [each[what] for name, each in spent.items() if name != "ours"]
    return {name: Figure.of([each[what] / peer], "times", note.format(each[what])) for name, each in spent.items()}


@cache
def _embedded(side_name: str, origin: str, count: int) -> dict[str, dict[str, float]]:
    """Return the cost of `count` texts per contender, each in its own process. Measured once for all rows."""
    spent = {}
    for name in import_module(SIDES[side_name]).EMBEDDERS:
        spent[name] = _said("embed", side_name, name, origin, count)
        assert spent[name]["order"], f"{name} mixed the vectors up"
    return spent


# ---------------------------------------------------------------- batch jobs


def job_floor(bench: Bench) -> Figures:
    """Measure writing and reading the lines of a batch job, as a multiple of JSON and message objects alone."""
    spent = _job(bench.side_name, bench.rounds(5000, 100_000))
    note = f"{spent['ours']:.0f} us a line, of which {spent['floor']:.0f} us"
    return {"ours": Figure.of([spent["ours"] / spent["floor"]], "times", note)}


def job_live(bench: Bench) -> Figures:
    """Measure the same as a multiple of what live calls do with the same prompts and answers."""
    spent = _job(bench.side_name, bench.rounds(5000, 100_000))
    return {"ours": Figure.of([spent["ours"] / spent["live"]], "times", f"{spent['live']:.0f} us a line live")}


def job_memory(bench: Bench) -> Figures:
    """Measure the peak growth of resident memory."""
    return {"ours": Figure.of([_job(bench.side_name, bench.rounds(5000, 100_000))["memory"]], "MB")}


@cache
def _job(side_name: str, count: int) -> dict[str, float]:
    """Return the costs of a batch job of `count` lines in a process of its own. Measured once for all rows."""
    figures: dict[str, float] = _said("jobs", side_name, count)
    return figures
