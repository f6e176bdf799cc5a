"""Measure the CPU time of calls, the time to the first token, and other costs, all in the worker's process.

Each function returns a sample of each contender (`pairs.Samples`), or figures.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.bench import Bench
from benchmarks.pairs import Figure, Figures, Samples, cpu

CHUNKS, FEW_CHUNKS = 2000, 500  # the second in a quick run
APART, FEW_APART = 500, 100  # events sent in one write each, which is slow
CANNOT_STREAM_A_WHOLE_CALL = ("OpenAILike", "DashScope")
OBJECTS, FEW_OBJECTS = 20, 5  # made at a time
_loop = asyncio.new_event_loop()


def _times(count: int, call: Callable[[], object]) -> None:
    for _ in range(count):
        call()


def _sync(call: Callable[[Any], object], models: Mapping[str, Any], times: int = 1) -> Samples:
    return {name: partial(cpu, partial(_times, times, partial(call, llm))) for name, llm in models.items()}


def _async(
    call: Callable[[Any], Any],
    models: Mapping[str, Any],
    times: int = 1,
    loop: asyncio.AbstractEventLoop = _loop,
) -> Samples:
    async def run(llm: Any) -> None:
        for _ in range(times):
            await call(llm)

    def sample(llm: Any) -> float:
        return cpu(lambda: loop.run_until_complete(run(llm)))

    return {name: partial(sample, llm) for name, llm in models.items()}


# ---------------------------------------------------------------- streams


def _at_once(bench: Bench, kind: str = "burst") -> str:
    return f"{kind}-{bench.rounds(FEW_CHUNKS, CHUNKS)}"


def _one_by_one(bench: Bench, kind: str = "each") -> str:
    return f"{kind}-{bench.rounds(FEW_APART, APART)}"


def burst(bench: Bench) -> Samples:
    return _sync(bench.side.stream, bench.made(_at_once(bench)))


def aburst(bench: Bench) -> Samples:
    return _async(bench.side.astream, bench.made(_at_once(bench)))


def each(bench: Bench) -> Samples:
    return _sync(bench.side.stream, bench.made(_one_by_one(bench)))


def aeach(bench: Bench) -> Samples:
    return _async(bench.side.astream, bench.made(_one_by_one(bench)))


def aeach_uvloop(bench: Bench) -> Samples:
    """Measure the same on uvloop. Raises ImportError without it."""
    import uvloop

    return _async(bench.side.astream, bench.made(_one_by_one(bench)), loop=uvloop.new_event_loop())


def responses_burst(bench: Bench) -> Samples:
    """Compare the Responses protocol with our own compatible one, which is the floor here."""
    return _sync(bench.side.stream, bench.chosen(bench.side.responses_models(bench.origin, _at_once(bench))))


def responses_each(bench: Bench) -> Samples:
    """Compare them with one chunk a write."""
    return _sync(bench.side.stream, bench.chosen(bench.side.responses_models(bench.origin, _one_by_one(bench))))


def _over_stream(bench: Bench, kind: str) -> Samples:
    models = bench.made(kind, over_stream=True)
    able = {name: llm for name, llm in models.items() if name not in CANNOT_STREAM_A_WHOLE_CALL}
    return _sync(bench.side.invoke, able)


def invoke_over_stream(bench: Bench) -> Samples:
    return _over_stream(bench, _at_once(bench))


def v3_events(bench: Bench) -> Samples:
    return _sync(bench.side.v3_events, bench.made(_at_once(bench)))


# ---------------------------------------------------------------- small requests


def invoke(bench: Bench) -> Samples:
    return _sync(bench.side.invoke, bench.made("whole"), 50)


def ainvoke(bench: Bench) -> Samples:
    return _async(bench.side.ainvoke, bench.made("whole"), 50)


def threads(bench: Bench) -> Samples:
    def run(llm: Any) -> None:
        each = [threading.Thread(target=_times, args=(25, partial(bench.side.invoke, llm))) for _ in range(8)]
        for thread in each:
            thread.start()
        for thread in each:
            thread.join()

    return _sync(run, bench.made("whole"))


def tasks(bench: Bench) -> Samples:
    async def some(llm: Any) -> None:
        for _ in range(4):
            await bench.side.ainvoke(llm)

    async def run(llm: Any) -> None:
        await asyncio.gather(*(some(llm) for _ in range(64)))

    return _async(run, bench.made("whole"))


# ---------------------------------------------------------------- tool calls


def tools(bench: Bench) -> Samples:
    return _sync(bench.side.stream, bench.made(_at_once(bench, "tools")))


def tools_apart(bench: Bench) -> Samples:
    return _sync(bench.side.stream, bench.made(_one_by_one(bench, "apart")))


def tools_invoked(bench: Bench) -> Samples:
    return _over_stream(bench, _at_once(bench, "tools"))


def tools_asked(bench: Bench) -> Samples:
    return _sync(bench.side.stream_asking_for_calls, bench.made(_one_by_one(bench, "apart")))


def tools_flat(bench: Bench) -> Figures:
    return _flat(bench, bench.side.stream)


def tools_asked_flat(bench: Bench) -> Figures:
    return _flat(bench, bench.side.stream_asking_for_calls)


def _flat(bench: Bench, call: Callable[[Any], object]) -> Figures:
    """Compare one call of 4,000 fragments with 8 of 500."""
    found: dict[str, list[float]] = {name: [] for name in bench.makers}
    for number in range(-1, bench.rounds(2, 7)):
        for name, make in bench.makers.items():
            spent = []
            for count, times in ((500, 8), (4000, 1)):
                llm = make(bench.origin, f"tools-{count}", bench.protocol, False)  # the SDK has one URL per process
                spent.append(cpu(partial(_times, times, partial(call, llm))))
            if number >= 0:
                found[name].append(spent[1] / spent[0])
    return {name: Figure.of(values, "times") for name, values in found.items()}


# ---------------------------------------------------------------- others


def first_token(bench: Bench) -> Samples:
    """Measure seconds from the server's first byte to the first text. One that awaits the next event takes 30 ms."""

    def lateness(llm: Any) -> float:
        late = None
        for text in bench.side.texts(llm):
            now = time.monotonic_ns()
            if late is None and text[:20].isdigit():
                late = now - int(text[:20])
        assert late is not None
        return late / 1e9

    return {name: partial(lateness, llm) for name, llm in bench.made("first").items()}


def afirst_token(bench: Bench) -> Samples:
    """Async version of `first_token`."""

    async def lateness(llm: Any) -> float:
        late = None
        async for text in bench.side.atexts(llm):
            now = time.monotonic_ns()
            if late is None and text[:20].isdigit():
                late = now - int(text[:20])
        assert late is not None
        return late / 1e9

    def sample(llm: Any) -> float:
        return _loop.run_until_complete(lateness(llm))

    return {name: partial(sample, llm) for name, llm in bench.made("first").items()}


def connections(bench: Bench) -> Figures:
    """Count new TCP connections of sequential streams, after a first one."""

    def accepted() -> int:
        with urllib.request.urlopen(f"{bench.origin}/accepted") as answer:
            return int(answer.read())

    found = {}
    times = 20 if bench.quick else 200
    for name, llm in bench.made("burst-20").items():
        bench.side.stream(llm)
        before = accepted()
        for _ in range(times):
            bench.side.stream(llm)
        new = float(accepted() - before - 1)  # without the request for the count
        found[name] = Figure(new, new, new, f"of {times}")
    return found


class Constructed:
    """A sample: CPU seconds of one more model object."""

    def __init__(self, bench: Bench, make: Callable[..., Any]) -> None:
        self._make = partial(make, bench.origin, "whole", bench.protocol, False)
        self._make()
        contexts = _ssl_contexts(lambda: bench.side.invoke(self._make()))  # some peers are lazy
        self.note = f"{contexts} SSL contexts" if contexts else ""
        self._count = bench.rounds(FEW_OBJECTS, OBJECTS)

    def __call__(self) -> float:
        return cpu(partial(_times, self._count, self._make)) / self._count


def _ssl_contexts(work: Callable[[], object]) -> int:
    """Return how many SSL contexts `work` creates."""
    made = ssl.SSLContext.__new__
    count = 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return made(*args, **kwargs)

    ssl.SSLContext.__new__ = counting  # type: ignore[assignment,method-assign]
    try:
        work()
    finally:
        ssl.SSLContext.__new__ = made  # type: ignore[method-assign]
    return count


def construct(bench: Bench) -> Samples:
    return {name: Constructed(bench, make) for name, make in bench.makers.items() if name != "floor"}
