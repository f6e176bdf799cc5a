"""Run many streams on one event loop, in a separate process with a time limit.

`python -m benchmarks.crowd SIDE PROTOCOL CONTENDER ORIGIN STREAMS EVENTS`
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from typing import Any

from benchmarks.rows import SIDES

PATIENCE = 10.0  # seconds beyond the duration of the streams


async def _run(side: Any, llm: Any, streams: int, events: int) -> dict[str, Any]:
    came = done = errors = 0

    async def one() -> None:
        nonlocal came, done, errors
        try:
            async for text in side.atexts(llm):
                came += bool(text)
            done += 1
        except Exception:
            errors += 1

    tasks = [asyncio.create_task(one()) for _ in range(streams)]
    await asyncio.wait(tasks, timeout=events / 20 + PATIENCE)
    return {"done": done, "errors": errors, "events": came}


def main() -> None:
    side_name, protocol, name, origin, streams, events = sys.argv[1:]
    side = import_module(SIDES[side_name])
    llm = side.CONTENDERS[protocol][name](origin, f"calm-{events}", protocol, False)
    began = time.process_time()
    said = asyncio.new_event_loop().run_until_complete(_run(side, llm, int(streams), int(events)))
    print(json.dumps({**said, "cpu": time.process_time() - began}), flush=True)
    os._exit(0)  # even if streams hang


if __name__ == "__main__":
    main()
