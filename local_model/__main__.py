"""Run the local model: print one READY line with the address, and serve until terminated."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress

from local_model.front import ApiServer
from local_model.options import from_arguments, parser
from local_model.process import COMPATIBLE_PATH, READY
from local_model.server import LocalModelError, description, start


def main(arguments: list[str] | None = None) -> int:
    """Run the local model. Return the exit status, which is 2 if it cannot be started."""
    parsed = parser().parse_args(arguments)
    if parsed.end_with_stdin:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C, and then closes our standard input
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    options, started_at = from_arguments(parsed), time.monotonic()
    try:
        server = ApiServer(options)
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


def _end_with_stdin() -> None:
    """Exit when standard input is closed, which happens when the parent exits."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)  # llama.cpp's threads would delay a normal exit


if __name__ == "__main__":
    sys.exit(main())
