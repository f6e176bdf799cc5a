"""Do the same with many items at once: in threads, or in tasks of the running event loop.

The first error is raised at once and stops the rest: no further item is begun, and tasks are cancelled. A thread cannot
be interrupted, so a request under way in one ends on its own, and its result is dropped.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_Done = tuple[int, "R | None", "BaseException | None"]


def run_all(job: Callable[[T], R], items: Sequence[T], most: int, deliver: Callable[[int, R], None]) -> None:
    """Call `job` for each item, at most `most` at once, and `deliver` with the item's place and the result.

    `deliver` is called in the caller's thread, in the order in which results come.
    """
    if min(most, len(items)) <= 1:
        for place, item in enumerate(items):
            deliver(place, job(item))
        return
    waiting: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, R, None] | tuple[int, None, BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()
    for numbered in enumerate(items):
        waiting.put(numbered)

    def work() -> None:
        while not stopped.is_set():
            try:
                place, item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((place, job(item), None))
            except BaseException as error:
                done.put((place, None, error))
                return

    for _ in range(min(most, len(items))):
        # daemons: at exit nobody waits for a request whose result was dropped
        threading.Thread(target=copy_context().run, args=(work,), name="modelstudio", daemon=True).start()
    try:
        for _ in items:
            place, result, error = done.get()
            if error is not None:
                raise error
            deliver(place, result)  # type: ignore[arg-type]  # a result comes with no error
    finally:
        stopped.set()


async def arun_all(
    job: Callable[[T], Awaitable[R]], items: Sequence[T], most: int, deliver: Callable[[int, R], None]
) -> None:
    """The async twin of `run_all`. Cancelling it cancels all requests under way."""
    waiting = iter(enumerate(items))

    async def work() -> None:
        for place, item in waiting:
            deliver(place, await job(item))

    if min(most, len(items)) <= 1:
        await work()
        return
    tasks = [asyncio.create_task(work()) for _ in range(min(most, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
