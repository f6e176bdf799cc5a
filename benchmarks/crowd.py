"""Run many streams on one event loop, in a separate process with a time limit.

`python -m benchmarks.crowd SIDE PROTOCOL CONTENDER ORIGIN STREAMS EVENTS [--held]` prints the CPU seconds, the events
received, the 99th percentile of their delays in seconds since the server sent them, and how many streams ended. With
--held, each stream stays open after its events, and it prints by how many bytes per stream resident memory grew.
The contender "framework" has no network: its memory is that of the framework alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import statistics
import sys
import time
import traceback
from typing import Any

from benchmarks.bench import load
from benchmarks.embed import memory
from benchmarks.floor import Offline
from benchmarks.server import STAMP

PATIENCE = 10.0  # seconds beyond the duration of the streams
AT_A_TIME = 50  # streams opened together, while memory is measured
PER_SECOND = 20  # events of a stream


async def calm(side: Any, llm: Any, streams: int, events: int) -> dict[str, Any]:
    """Read all events of streams that send 20 a second."""
    delays: list[int] = []
    done = errors = 0

    async def one() -> None:
        nonlocal done, errors
        try:
            async for text in side.atexts(llm):
                now = time.monotonic_ns()
                # a chunk may have the text of several events
                delays.extend(now - int(text[at : at + len(STAMP)]) for at in range(0, len(text), len(STAMP)))
            done += 1
        except Exception:
            errors += 1

    began = time.process_time()
    tasks = [asyncio.create_task(one()) for _ in range(streams)]
    await asyncio.wait(tasks, timeout=events / PER_SECOND + PATIENCE)
    spent = time.process_time() - began
    tail = statistics.quantiles(delays, n=100)[-1] / 1e9 if len(delays) > 1 else 0.0
    return {"done": done, "errors": errors, "events": len(delays), "cpu": spent, "tail": tail}


async def held(side: Any, llm: Any, streams: int, events: int) -> dict[str, Any]:
    """Open streams, read all of their events, and keep them open."""
    ready, forever = asyncio.Semaphore(0), asyncio.Event()
    expected = sum(len(f"word {number} ") for number in range(events))

    async def one() -> None:
        length = 0
        async for text in side.atexts(llm):
            length += len(text)
            if length == expected:
                ready.release()
                await forever.wait()

    tasks: list[asyncio.Task[None]] = []

    async def opened(count: int) -> int:
        """Open streams, some at a time, and return how many got their events in time."""
        found = 0
        with contextlib.suppress(asyncio.TimeoutError):
            for _ in range(0, count, AT_A_TIME):
                tasks.extend(asyncio.create_task(one()) for _ in range(AT_A_TIME))
                for _ in range(AT_A_TIME):
                    await asyncio.wait_for(ready.acquire(), PATIENCE)
                    found += 1
        gc.collect()
        return found

    first = await opened(AT_A_TIME)
    before = memory("VmRSS")
    found = await opened(streams - AT_A_TIME)
    if not found:  # ChatTongyi reads each stream in a thread of the default executor, which has a few
        raise RuntimeError(f"only {first} streams can be open at once")
    return {"open": first + found, "bytes": (memory("VmRSS") - before) / found}


def main() -> None:
    side_name, protocol, name, origin, streams, events, *options = sys.argv[1:]
    side = load(side_name)
    kind = "held" if options else "calm"
    if name == "framework":
        llm = side.Floor(wire=Offline(int(events)))
    else:
        llm = side.CONTENDERS[protocol][name](origin, f"{kind}-{events}", protocol, False)
    run = held if options else calm
    status = 1
    try:
        found = asyncio.new_event_loop().run_until_complete(run(side, llm, int(streams), int(events)))
        print(json.dumps(found), flush=True)
        status = 0
    except Exception:
        traceback.print_exc()
    os._exit(status)  # even if streams hang


if __name__ == "__main__":
    main()
