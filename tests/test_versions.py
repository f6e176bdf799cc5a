"""The script of `make test-versions`: which environments there are, and what it says of one that fails or hangs."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import versions
from tests.versions import Run

FOUND = [
    ("3.13.1", "cpython", "default"),
    ("3.13.0", "cpython", "default"),
    ("3.13.0", "cpython", "freethreaded"),
    ("3.11.9", "pypy", "default"),
    ("3.10.13", "cpython", "default"),
    ("3.9.18", "cpython", "default"),
]
"""As uv lists them, the newest first."""


@pytest.fixture(autouse=True)
def pythons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let uv find these, and keep logs elsewhere."""
    listed = []
    for version, implementation, variant in FOUND:
        parts = dict(zip(("major", "minor", "patch"), map(int, version.split(".")), strict=True))
        found = {"version": version, "version_parts": parts, "path": f"/opt/{version}/bin/python"}
        listed.append({**found, "implementation": implementation, "variant": variant})
    monkeypatch.setattr(versions, "_uv_json", lambda *arguments: listed)
    monkeypatch.setattr(versions, "ROOT", tmp_path)


def test_the_newest_patch_of_each_supported_python() -> None:
    """CPython from 3.10, with the newest and with the oldest dependencies."""
    runs = versions._runs([], 2, slow=False)
    assert [run.name for run in runs] == ["3.10-newest", "3.10-oldest", "3.13-newest", "3.13-oldest"]
    assert {run.python for run in runs} == {"/opt/3.10.13/bin/python", "/opt/3.13.1/bin/python"}
    (run,) = versions._runs(["3.13-oldest"], 2, slow=True)
    assert (run.processes, run.tests) == (2, "not local_model")


def test_a_python_that_is_not_there() -> None:
    with pytest.raises(SystemExit, match=r"No Python here for 3\.14-oldest"):
        versions._runs(["3.14-oldest"], 2, slow=False)


def test_a_run_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it started, after its time."""

    async def hang(run: Run) -> None:
        run.folder.mkdir()
        child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
        await run._command([sys.executable, "-c", child])

    monkeypatch.setattr(Run, "_set_up_and_test", hang)
    run = Run(sys.executable, "3.13.1", "newest")
    start = time.monotonic()
    asyncio.run(run.finish(0.5))
    assert time.monotonic() - start < 10
    assert not run.passed
    assert run.outcome == "not done after 0 minutes"


@pytest.mark.parametrize(
    ("status", "last", "outcome"),
    [
        (0, "===== 11291 passed, 3 skipped in 121.30s (0:02:01) =====", "11291 passed, 3 skipped"),
        (1, "===== 1 failed, 2 passed in 0.30s =====", "1 failed, 2 passed"),
        (4, "ERROR: file or directory not found", "pytest ended with status 4"),
    ],
)
def test_what_the_table_says(status: int, last: str, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of pytest's last line, and the versions that were tested."""
    run = Run(sys.executable, "3.13.1", "newest")

    async def command(run: Run, words: list[str]) -> int:
        run.log.write_text(f"...\n{last}\n", encoding="utf-8")
        return status if "pytest" in words else 0

    monkeypatch.setattr(Run, "_command", command)
    monkeypatch.setattr(Run, "_override", lambda run: run.folder / "override.txt")
    monkeypatch.setattr(versions, "_installed", lambda folder: {"httpx": "0.28.1"})
    asyncio.run(run.finish(60))
    assert (run.passed, run.outcome) == (status == 0, outcome)
    *_, row = versions._table([run]).splitlines()
    cells: list[Any] = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["3.13.1", "newest"]
    assert cells[4] == "0.28.1"
    assert cells[-2:] == [outcome, "0.0"]


def test_old_versions_that_are_not_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolution that raised a version would test another promise, so it fails."""
    monkeypatch.setattr(versions, "ROOT", Path(__file__).parents[1])
    floors = {name: versions._floor(name) for name in versions.SHOWN}
    assert floors["httpx"] == "0.27.0"
    run = Run(sys.executable, "3.13.1", "oldest")

    async def command(run: Run, words: list[str]) -> int:
        return 0

    monkeypatch.setattr(Run, "folder", property(lambda run: Path("/nowhere")))
    monkeypatch.setattr(Path, "mkdir", lambda *arguments, **options: None)
    monkeypatch.setattr(Run, "_command", command)
    monkeypatch.setattr(Run, "_override", lambda run: run.folder / "override.txt")
    monkeypatch.setattr(versions, "_installed", lambda folder: {**floors, "anyio": "4.10.0"})
    asyncio.run(run.finish(60))
    assert (run.passed, run.outcome) == (False, "newer than the oldest: anyio")
