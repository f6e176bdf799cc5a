"""Process items concurrently, in threads or in tasks of the running event loop.

The first error is raised immediately. No further items are started, and tasks are cancelled. Threads cannot be
interrupted, so requests in progress finish, and their results are discarded.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

from modelstudio_core.http.event_loop import running_loop

T = TypeVar("T")
R = TypeVar("R")
_Done = tuple[int, "R | None", "BaseException | None"]


def run_all(job: Callable[[T], R], items: Sequence[T], limit: int, deliver: Callable[[int, R], None]) -> None:
    """Call `job` for each item, at most `limit` at a time, and `deliver` with the item's index and the result.

    `deliver` is called in the caller's thread, in the order in which the results arrive.
    """
    if min(limit, len(items)) <= 1:
        for index, item in enumerate(items):
            deliver(index, job(item))
        return
    waiting: queue.SimpleQueue[tuple[int, T]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, R, None] | tuple[int, None, BaseException]] = queue.SimpleQueue()
    stopped = threading.Event()
    for numbered in enumerate(items):
        waiting.put(numbered)

    def worker() -> None:
        while not stopped.is_set():
            try:
                index, item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, job(item), None))
            except BaseException as error:
                done.put((index, None, error))
                return

    for _ in range(min(limit, len(items))):
        # daemon threads, so that exit does not wait for requests whose results are discarded
        threading.Thread(target=copy_context().run, args=(worker,), name="modelstudio", daemon=True).start()
    try:
        for _ in items:
            index, result, error = done.get()
            if error is not None:
                raise error
            deliver(index, result)  # type: ignore[arg-type]  # a result if there is no error
    finally:
        stopped.set()


async def arun_all(
    job: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int, deliver: Callable[[int, R], None]
) -> None:
    """Async version of `run_all`. Cancellation cancels all requests in progress."""
    running_loop()  # refuses trio
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for index, item in waiting:
            deliver(index, await job(item))

    if min(limit, len(items)) <= 1:
        await worker()
        return
    tasks = [asyncio.create_task(worker()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
