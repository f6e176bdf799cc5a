"""The work of one streamed event stays what it is recorded to be, counted in Python instead of measured in time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.calls_per_event import PROTOCOLS, ROOT, TOLERANCE, differences, python, recorded

COMMAND = (sys.executable, "-m", "tests.calls_per_event")


@pytest.mark.skipif(python() not in recorded(), reason=f"no counts are recorded for Python {python()}")
def test_the_work_of_an_event_is_as_recorded() -> None:
    """Each adapter, protocol and mode takes the recorded bytecodes and calls, for a lone event and in a burst."""
    counted = json.loads(subprocess.check_output(COMMAND, cwd=ROOT, text=True, timeout=300))
    assert {side: len(found["counts"]) for side, found in counted.items()} == {
        side: 4 * len(PROTOCOLS) for side in ("langchain", "llama_index")
    }
    changed = differences(recorded()[python()], counted)
    assert not changed, (
        "\n".join(changed) + "\nIf the change is intended, record the new counts: make record-calls "
        "(or python -m tests.calls_per_event --record, for this version of Python alone)"
    )


def test_differences() -> None:
    """A count that differs by more than 5 % is listed, a smaller difference is not, and calls need equal libraries."""

    def found(bytecodes: float, calls: float, httpx: str = "0.28.1") -> dict[str, object]:
        counts = {"openai burst": {"bytecodes": bytecodes, "calls": calls}}
        return {"langchain": {"versions": {"httpx": httpx}, "counts": counts}}

    within = 1 + TOLERANCE - 0.001
    assert differences(found(100, 100), found(100 * within, 100 / within)) == []
    assert differences(found(100, 100), found(106, 100)) == [
        "langchain, openai burst: 106 bytecodes per event, 100 recorded (+6.0 %)"
    ]
    assert differences(found(100, 100), found(94, 50)) == [
        "langchain, openai burst: 94 bytecodes per event, 100 recorded (-6.0 %)",
        "langchain, openai burst: 50 calls per event, 100 recorded (-50.0 %)",
    ]
    assert differences(found(100, 100), found(100, 50, httpx="0.29.0")) == []
