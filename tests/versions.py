"""Run the tests on each Python found here, with the newest and with the oldest dependencies of pyproject.toml.

    python -m tests.versions [--jobs 2] [--minutes 60] [--slow] [3.12-oldest ...]

Each combination has its environment, `.venv-3.12-oldest`, with a log in it. The tests are those of `make test`, or with
`--slow` those of `make test-all`, but never those of the local model.
Newest is what pip would install today. Oldest is the lowest version that pyproject.toml allows of each package that it
names, of the frameworks as of the test tools, and the newest of what those require. `make` installs uv, which resolves
both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
EXTRAS = ("llama-index", "test-langchain", "tokenizer", "web")
SHOWN = ("langchain-core", "llama-index-core", "httpx", "pydantic", "anyio")
RESOLUTIONS = {"newest": "highest", "oldest": "lowest-direct"}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_LINK_MODE": "copy",  # nltk refuses to open hard links, which uv makes of the files in its cache
    # versions of pyenv are not on PATH, or only as shims that refuse to run
    "PATH": os.pathsep.join(
        [
            *map(str, Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin")),
            os.environ["PATH"],
        ]
    ),
}


@dataclass
class Run:
    """The tests in one environment, such as `3.12-oldest`."""

    python: str
    """Path of the interpreter that the environment is made with."""
    version: str
    dependencies: str
    """`newest` or `oldest`."""
    processes: int = 1
    tests: str = "not local_model"
    """Which tests run, as pytest's option -m."""
    outcome: str = "not run"
    """The numbers of pytest's last line, or what went wrong."""
    passed: bool = False
    minutes: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{'.'.join(self.version.split('.')[:2])}-{self.dependencies}"

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-{self.name}"

    @property
    def log(self) -> Path:
        return self.folder / "test.log"

    async def finish(self, seconds: float) -> None:
        """Set up the environment and run the tests in it, for at most `seconds`."""
        start = time.monotonic()
        try:
            await asyncio.wait_for(self._set_up_and_test(), seconds)
        except asyncio.TimeoutError:
            self.outcome = f"not done after {seconds / 60:.0f} minutes"
        self.minutes = (time.monotonic() - start) / 60

    async def _set_up_and_test(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.log.unlink(missing_ok=True)
        uv = [str(UV), "pip", "install", "--quiet", "--python", str(self.folder)]
        extras = [word for extra in EXTRAS for word in ("--extra", extra)]
        resolution = ["--upgrade", "--resolution", RESOLUTIONS[self.dependencies], "--override", str(self._override())]
        resolution.append("--no-build")  # of the test tools, the oldest with a wheel for this Python
        for step in (
            [str(UV), "venv", "--quiet", "--allow-existing", "--python", self.python, str(self.folder)],
            # not as -e .[...]: uv would then raise some of the versions that it finds in its second round
            [*uv, *resolution, "--requirements", "pyproject.toml", *extras],
            [*uv, "--no-deps", "--editable", "."],
        ):
            if await self._command(step):
                self.outcome = "not installed"
                return
        self.versions = _installed(self.folder)
        if self.dependencies == "oldest" and (newer := [name for name in SHOWN if self.versions[name] != _floor(name)]):
            self.outcome = f"newer than the oldest: {', '.join(newer)}"
            return
        many = ["-n", str(self.processes), "--dist", "worksteal"] if self.processes > 1 else []
        python = str(self.folder / ("Scripts" if os.name == "nt" else "bin") / "python")
        status = await self._command([python, "-m", "pytest", "-m", self.tests, *many])
        self.passed = status == 0
        numbers = re.findall(r"^=+ (\d.*) in [\d.]+s.*=$", self.log.read_text(errors="replace"), re.MULTILINE)
        self.outcome = numbers[-1] if numbers else f"pytest ended with status {status}"

    def _override(self) -> Path:
        """Write our own range of httpx, because langchain-tests, which only tests, requires a newer one."""
        path = self.folder / "override.txt"
        path.write_text(_requirement("httpx"), encoding="utf-8")
        return path

    async def _command(self, command: list[str]) -> int:
        """Return the status; the output goes to the log. When cancelled, kill the command and its children."""
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
            )
        try:
            return await process.wait()
        finally:
            with suppress(ProcessLookupError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            await process.wait()


def _requirement(name: str) -> str:
    """Return the requirement of a package in pyproject.toml, such as `httpx>=0.27,<1`."""
    found = re.search(rf'"({name}>=[^"]*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert found is not None, name
    return found[1]


def _floor(name: str) -> str:
    """Return the lowest version that a requirement allows, in three numbers like the releases of these packages."""
    lowest = re.split("[>=,]+", _requirement(name))[1]
    return ".".join([*lowest.split("."), "0", "0"][:3])


def _installed(folder: Path) -> dict[str, str]:
    return {found["name"]: found["version"] for found in _uv_json("pip", "list", "--python", str(folder), "--format")}


def _uv_json(*arguments: str) -> Any:
    run = subprocess.run([UV, *arguments, "json"], env=ENVIRONMENT, capture_output=True, check=True)
    return json.loads(run.stdout)


def _runs(names: list[str], jobs: int, *, slow: bool) -> list[Run]:
    """Return the runs with these names, or all: on the newest release found of each Python from 3.10."""
    pythons = {
        tuple(found["version_parts"].values())[:2]: found
        for found in reversed(_uv_json("python", "list", "--only-installed", "--output-format"))
        if found["implementation"] == "cpython" and found["variant"] == "default"
    }
    runs = [
        Run(found["path"], found["version"], dependencies)
        for version, found in sorted(pythons.items())
        if version >= (3, 10)
        for dependencies in RESOLUTIONS
    ]
    chosen = [run for run in runs if not names or run.name in names]
    if unknown := set(names) - {run.name for run in runs}:
        sys.exit(f"No Python here for {', '.join(sorted(unknown))}. Choose from {', '.join(run.name for run in runs)}.")
    for run in chosen:
        run.processes = max(1, jobs // len(chosen))
        run.tests += "" if slow else " and not slow"
    return chosen


def _table(runs: list[Run]) -> str:
    """Return the summary, as a Markdown table."""
    rows = [
        ("Python", "dependencies", *SHOWN, "tests", "minutes"),
        *(
            (
                run.version,
                run.dependencies,
                *(run.versions.get(name, "") for name in SHOWN),
                run.outcome,
                f"{run.minutes:.1f}",
            )
            for run in runs
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


async def _finish(runs: list[Run], jobs: int, seconds: float) -> None:
    """Finish all runs, `jobs` at once."""
    free = asyncio.Semaphore(jobs)

    async def one(run: Run) -> None:
        async with free:
            print(f"{run.name}: {run.log.relative_to(ROOT)}", flush=True)
            await run.finish(seconds)
            print(f"{run.name}: {run.outcome} ({run.minutes:.1f} minutes)", flush=True)

    await asyncio.gather(*map(one, runs))


def main() -> int:
    """Run the tests, print the table, and return 1 if any failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="3.12-oldest", help="only these (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="environments at once (default: 2)")
    parser.add_argument("--minutes", type=float, default=60, help="time limit of each environment (default: 60)")
    parser.add_argument("--slow", action="store_true", help="run the slow tests, too")
    arguments = parser.parse_args()
    runs = _runs(arguments.names, arguments.jobs, slow=arguments.slow)
    asyncio.run(_finish(runs, arguments.jobs, arguments.minutes * 60))
    failed = [run for run in runs if not run.passed]
    for run in failed:
        print(f"\n{run.log.relative_to(ROOT)}:\n{run.log.read_text(errors='replace')[-5000:]}")
    print(f"\n{_table(runs)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
