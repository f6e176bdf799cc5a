"""Count the machine instructions of one event with valgrind, which do not depend on other processes.

`python -m benchmarks.instructions SIDE PROTOCOL` prints the instructions per event in user mode of the floor and of
ours: of a lone event and of one in a burst, sync and async. Raises FileNotFoundError without valgrind.
"""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks import lockstep
from benchmarks.bench import load

CONTENDERS = ("floor", "ours")


def work(side_name: str, protocol: str, name: str) -> None:
    """Stream in lockstep. Print a line before and after what is counted, and await one in return."""
    side = load(side_name)

    def count(what: str, events: int) -> None:
        if what:  # a garbage collection of all objects would count as 600,000 instructions per event
            gc.collect()
            gc.freeze()
        print(json.dumps([what, events]), flush=True)
        sys.stdin.readline()

    make = side.CONTENDERS[protocol][name]
    lockstep.both(side, lambda origin: make(origin, "burst", protocol, False), protocol, count, lambda *_: None)


def counted(side_name: str, protocol: str, name: str, folder: str) -> dict[str, float]:
    """Return the instructions per event, by what is counted."""
    found = {}
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out.%p"]
    command += [sys.executable, "-W", "ignore", "-m", "benchmarks.instructions", side_name, protocol, name]
    fixed = os.environ | {"PYTHONHASHSEED": "0"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=fixed) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        control = partial(_control, process.pid)
        now = ("", 0)
        for number, line in enumerate(process.stdout):
            what, events = json.loads(line)
            if what:
                control("-i", "on")
                now = what, events
            else:
                control("-i", "off")
                control("-d")
                [dump] = Path(folder).glob(f"out.*.{number // 2 + 1}")
                [total] = re.findall(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
                dump.unlink()
                found[now[0]] = int(total) / now[1]
            process.stdin.write("\n")
            process.stdin.flush()
    return found


def _control(pid: int, *arguments: str) -> None:
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, capture_output=True)


def main() -> None:
    side_name, protocol, *names = sys.argv[1:]
    if names:
        work(side_name, protocol, *names)
        return
    found = {}
    for name in CONTENDERS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = counted(side_name, protocol, name, folder)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
