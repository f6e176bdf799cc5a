"""Run the server in a child process, so that it cannot block or crash the caller. It exits when the caller exits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local_model.options import TEXTS, Options, Thinking, to_arguments
from local_model.server import LocalModelError, check_packages, description

READY = "READY "
COMPATIBLE_PATH = "/compatible-mode/v1"
_END_SECONDS = 5.0
_MAX_STDERR_CHARACTERS = 4000  # of the child's standard error in a LocalModelError


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A running local model. `base_url` ends in /compatible-mode/v1, and `version` names the packages and models."""

    base_url: str
    version: str
    pid: int
    start_seconds: float

    @property
    def native_base_url(self) -> str:
        """Return the base URL for embeddings in the native protocol. Rerank accepts both base URLs."""
        return self.base_url.replace(COMPATIBLE_PATH, "/api/v1")


@contextmanager
def running(
    *,
    port: int = 0,
    thinking: Thinking = "auto",
    budget: int = 32,
    force_auto: bool = False,
    max_tokens: int = 256,
    max_string: int = 80,
    api_key: str | None = None,
    models: Sequence[str] = (),
    model_name: str = "qwen-plus",
    texts: str = TEXTS,
    start_timeout: float = 120.0,
) -> Iterator[RunningModel]:
    """Run a local model while the `with` block runs. The arguments are those of `Options`.

    Raises:
        LocalModelError: if a package is missing, or the model is not ready within `start_timeout` seconds.
    """
    options = Options(
        port=port,
        thinking=thinking,
        budget=budget,
        force_auto=force_auto,
        max_tokens=max_tokens,
        max_string=max_string,
        api_key=api_key,
        models=tuple(models),
        model_name=model_name,
        texts=texts,
    )
    check_packages()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        start = time.monotonic()
        child = _started(options, errors)
        try:
            origin = _ready(child, start_timeout)
            if origin is None:
                raise LocalModelError(_failure(child, errors, start_timeout))
            yield RunningModel(f"{origin}{COMPATIBLE_PATH}", description(), child.pid, time.monotonic() - start)
        finally:
            _end(child)


def _started(options: Options, errors: IO[str]) -> subprocess.Popen[str]:
    here = str(Path(__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([here, inherited] if inherited else [here]))
    command = [sys.executable, "-m", "local_model", "--end-with-stdin", *to_arguments(options)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
    )


def _ready(child: subprocess.Popen[str], seconds: float) -> str | None:
    """Return the address in the child's READY line, or None if the child exited or on a timeout."""
    urls: list[str] = []
    answered = threading.Event()

    def read() -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:  # read to the end, so that the child never blocks on a full pipe
                if line.startswith(READY) and not urls:
                    urls.append(line.split()[1])
                    answered.set()
        answered.set()

    threading.Thread(target=read, name="local-model-output", daemon=True).start()
    answered.wait(seconds)
    return urls[0] if urls else None


def _failure(child: subprocess.Popen[str], errors: IO[str], seconds: float) -> str:
    try:
        status = child.wait(0.5)
    except subprocess.TimeoutExpired:
        message = f"the local model was not ready after {seconds:g} s"
    else:
        message = f"the local model exited with status {status} before it was ready"
    errors.seek(0)
    text = errors.read()[-_MAX_STDERR_CHARACTERS:].strip()
    return f"{message}: {text}" if text else message


def _end(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
