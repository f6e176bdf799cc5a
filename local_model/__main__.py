"""Run the local model: print one READY line with the address, and serve until terminated.

With a command (`python -m local_model -- python examples/agent.py`), run it with DASHSCOPE_BASE_URL set to the model.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, replace

from local_model.front import ApiServer
from local_model.options import Options, from_arguments, parser
from local_model.process import COMPATIBLE_PATH, READY, running
from local_model.server import LocalModelError, description, start


def main(arguments: list[str] | None = None) -> int:
    """Run the local model. Return the exit status, which is 2 if it cannot be started."""
    parsed = parser().parse_args(arguments)
    if parsed.end_with_stdin:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and then closes our standard input
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    options, started_at = from_arguments(parsed), time.monotonic()
    if parsed.command:
        return _run(replace(options, force_auto=True), parsed.command)
    try:
        server = _bound(options)
        interrupted = signal.getsignal(signal.SIGINT)
        if interrupted is signal.default_int_handler:
            # llama.cpp blocks this thread while loading, so a Python signal handler would not run
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        print("local_model: loading ...", file=sys.stderr, flush=True)
        backends, _kept = start(options)
        signal.signal(signal.SIGINT, interrupted)
        server.open(backends)
    except (LocalModelError, OSError) as error:
        print(f"local_model: {error}", file=sys.stderr)
        return 2
    # without a path, so that DASHSCOPE_BASE_URL can be set to it for each protocol
    origin = server.base_url.removesuffix(COMPATIBLE_PATH)
    print(f"{READY}{origin} after {time.monotonic() - started_at:.2f} s: {description()}", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


def _bound(options: Options) -> ApiServer:
    try:
        return ApiServer(options)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it must be from 0 to 65535"
        raise LocalModelError(
            f"cannot listen on port {options.port}: {reason}. --port chooses another, --port 0 a free one"
        ) from error


def _run(options: Options, command: list[str]) -> int:
    """Run a command while the model runs, and return its exit status. The key stays out of its environment."""
    if command[0] in ("python", "python3"):
        command = [sys.executable, *command[1:]]  # the command's packages are those of this environment
    print("local_model: loading a small model, a few seconds ...", file=sys.stderr, flush=True)
    try:
        with running(**asdict(options)) as model:
            print(
                f"local_model: {model.version}.\nlocal_model: It is very small: the traffic is real, but much of what "
                "it says is wrong, and it calls a tool after each user message.\n",
                file=sys.stderr,
                flush=True,
            )
            environment = {name: value for name, value in os.environ.items() if not name.startswith("DASHSCOPE_")}
            environment["DASHSCOPE_BASE_URL"] = model.base_url.removesuffix(COMPATIBLE_PATH)
            return subprocess.call(command, env=environment)
    except (LocalModelError, OSError) as error:
        print(f"local_model: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _end_with_stdin() -> None:
    """Exit when standard input is closed, which happens when the parent exits."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)  # llama.cpp's threads would delay a normal exit


if __name__ == "__main__":
    sys.exit(main())
