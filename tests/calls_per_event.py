"""Count the work of one streamed event in Python, to notice what makes it slower without measuring time.

    python -m tests.calls_per_event            print the counts
    python -m tests.calls_per_event --record   record them for this version of Python, in calls_per_event.json

Both adapters read a stream in lockstep (benchmarks/lockstep.py): 20 lone events and a burst of 100, sync and async,
with either protocol. `bytecodes` are those that the three packages of this project execute per event. `calls` are all
Python function calls per event, including those of the framework and httpx, so they depend on their versions.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks import lockstep
from benchmarks.bench import SIDES

RECORDED = Path(__file__).with_suffix(".json")
ROOT = Path(__file__).parent.parent
TOLERANCE = 0.05
PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")
_OURS = tuple(str(ROOT / package) for package in PACKAGES)
FRAMEWORKS = {"langchain": "langchain-core", "llama_index": "llama-index-core"}
_LIBRARIES = ("httpx", "httpcore", "h11", "anyio")
PROTOCOLS = ("openai", "dashscope")
Counts = dict[str, dict[str, float]]  # "openai burst" -> bytecodes and calls


class Counter:
    """Count between two calls of `count`."""

    def __init__(self) -> None:
        self.found: Counts = {}
        self.calls = self.bytecodes = 0
        self._now = ("", 0)

    def count(self, what: str, events: int) -> None:
        """Begin to count, or end if `what` is empty."""
        if what:
            self.calls = self.bytecodes = 0
            self._now = what, events
            _begin(self)
        else:
            _end()
            name, number = self._now
            found = {"bytecodes": self.bytecodes, "calls": self.calls}
            self.found[name] = {kind: round(count / number, 1) for kind, count in found.items()}


def _trace(counter: Counter) -> None:
    """Count with a trace function, before Python 3.12."""

    def called(frame: FrameType, event: str, argument: object) -> Any:
        counter.calls += 1
        if not frame.f_code.co_filename.startswith(_OURS):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        return executed

    def executed(frame: FrameType, event: str, argument: object) -> Any:
        counter.bytecodes += event == "opcode"
        return executed

    sys.settrace(called)


def _end_trace() -> None:
    sys.settrace(None)


def _monitor(counter: Counter) -> None:
    """Count with sys.monitoring, because the trace function misses bytecodes of running generators."""
    monitoring = sys.monitoring

    def called(code: CodeType, *arguments: object) -> None:
        counter.calls += 1

    def executed(code: CodeType, offset: int) -> Any:
        if not code.co_filename.startswith(_OURS):
            return monitoring.DISABLE
        counter.bytecodes += 1
        return None

    tool, events = monitoring.PROFILER_ID, monitoring.events
    monitoring.use_tool_id(tool, "calls_per_event")
    for event in (events.PY_START, events.PY_RESUME, events.PY_THROW):
        monitoring.register_callback(tool, event, called)
    monitoring.register_callback(tool, events.INSTRUCTION, executed)
    monitoring.set_events(tool, events.PY_START | events.PY_RESUME | events.PY_THROW | events.INSTRUCTION)


def _end_monitor() -> None:
    sys.monitoring.set_events(sys.monitoring.PROFILER_ID, 0)
    sys.monitoring.free_tool_id(sys.monitoring.PROFILER_ID)


_begin, _end = (_monitor, _end_monitor) if sys.version_info >= (3, 12) else (_trace, _end_trace)


def measured(side_name: str) -> Counts:
    """Return the counts of one adapter."""
    side = import_module(SIDES[side_name])
    found: Counts = {}
    for protocol in PROTOCOLS:
        counter = Counter()
        make = side.CONTENDERS[protocol]["ours"]
        lockstep.both(
            side,
            lambda origin, make=make, protocol=protocol: make(origin, "burst", protocol, False),
            protocol,
            counter.count,
            lambda *_: None,
        )
        found |= {f"{protocol} {what}": counts for what, counts in counter.found.items()}
    return found


def libraries(side_name: str) -> dict[str, str]:
    """Return the versions that `calls` depend on."""
    return {name: version(name) for name in (FRAMEWORKS[side_name], *_LIBRARIES)}


def python() -> str:
    """Return the version of Python that counts depend on."""
    return ".".join(platform.python_version_tuple()[:2])


def recorded() -> dict[str, Any]:
    """Return the recorded counts, by version of Python and adapter."""
    found: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    return found


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return what differs by more than the tolerance. `calls` are compared if the libraries have the same versions."""
    found = []
    for side, each in now.items():
        kinds = ["bytecodes"] + ["calls"] * (each["versions"] == before[side]["versions"])
        for name, counts in each["counts"].items():
            for kind in kinds:
                old, new = before[side]["counts"][name][kind], counts[kind]
                if abs(new / old - 1) > TOLERANCE:
                    change = f"{new:g} {kind} per event, {old:g} recorded ({new / old - 1:+.1%})".replace("%", " %")
                    found.append(f"{side}, {name}: {change}")
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--record", action="store_true")
    given = arguments.parse_args()
    found = {side: {"versions": libraries(side), "counts": measured(side)} for side in SIDES}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if given.record:
        every = recorded() | {python(): found}
        RECORDED.write_text(json.dumps(dict(sorted(every.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
