"""A batch job that is killed at a random moment and resumed gives the same results. `make kill` runs 50 kills."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.batch_night import FILES, PROMPTS
from tests.batch_service import BatchService, Line, answered, failed
from tests.loopback import Loopback
from tests.platforms import needs_fork

MOMENTS = int(os.environ.get("MOMENTS", "10"))
LIMIT = 60.0  # seconds


def fail_some(line: Line) -> Line:
    """Fail every seventh input."""
    return failed(line, "DataInspectionFailed", "no") if int(line["custom_id"]) % 7 == 0 else answered(line)


@needs_fork
@pytest.mark.slow
def test_a_job_survives_kills_at_any_moment(tmp_path: Path) -> None:
    """After one or two kills, the results are the same, and nothing was uploaded or submitted twice."""
    moments = random.Random(1)
    service = BatchService(answer=fail_some, polls=3)
    with (
        Loopback(service) as server,
        subprocess.Popen(
            [sys.executable, "-m", "tests.batch_night", server.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as night,
    ):  # fmt: skip

        def run(journal: str, seconds: float) -> str:
            assert night.stdin is not None
            assert night.stdout is not None
            night.stdin.write(f"{tmp_path / journal} {seconds}\n")
            night.stdin.flush()
            return night.stdout.readline().strip()

        began = time.monotonic()
        whole = run("warm.db", LIMIT)  # not measured, because it also imports the packages
        began = time.monotonic()
        whole = run("whole.db", LIMIT)
        took = time.monotonic() - began
        assert whole.startswith(f"{PROMPTS - 35} 35 ")
        killed = 0
        for number in range(MOMENTS):
            before = service.created
            for _ in range(moments.randint(1, 2)):
                killed += run(f"{number}.db", moments.uniform(0, took)) == "killed"
            assert run(f"{number}.db", LIMIT) == whole
            assert service.created - before == FILES
        assert killed > MOMENTS // 2
        assert len(service.uploads) == len(set(service.uploads)) == service.created
        assert night.stdin is not None
        night.stdin.close()
