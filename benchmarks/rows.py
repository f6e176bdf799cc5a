"""Define the measurements. Each row returns a figure for every contender of one side and protocol, by name."""

from __future__ import annotations

import asyncio
import compileall
import json
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

from benchmarks.pairs import Figure, Work, cpu, ratios

Figures = Mapping[str, Figure]
SIDES = {"langchain": "benchmarks.langchain_side", "llama_index": "benchmarks.llama_index_side"}
CANNOT_STREAM_A_WHOLE_CALL = ("OpenAILike", "DashScope")
CHUNKS = 2000
ALLOWANCE = 1.05  # tolerance of the limits on a shared machine
CALM_EVENTS = 60  # of a stream with 20 events per second
APART = 500  # events sent in one write each, which is slow
_loop = asyncio.new_event_loop()


@dataclass
class Bench:
    """One side and protocol, with one server."""

    side: Any  # a module of SIDES
    side_name: str
    protocol: str
    origin: str
    quick: bool

    def made(self, kind: str, over_stream: bool = False) -> dict[str, Any]:
        """Return a model of each contender, for responses of this `kind`."""
        makers = self.side.CONTENDERS[self.protocol]
        return {name: make(self.origin, kind, self.protocol, over_stream) for name, make in makers.items()}

    def rounds(self, few: int, many: int) -> int:
        """Return the number of repetitions."""
        return few if self.quick else many


# ---------------------------------------------------------------- CPU as a ratio to the floor


def _sync(call: Callable[[Any], object], models: Mapping[str, Any], times: int = 1) -> dict[str, Work]:
    def work(llm: Any) -> Work:
        return lambda: [call(llm) for _ in range(times)]

    return {name: work(llm) for name, llm in models.items()}


def _async(call: Callable[[Any], Any], models: Mapping[str, Any], times: int = 1) -> dict[str, Work]:
    async def run(llm: Any) -> None:
        for _ in range(times):
            await call(llm)

    def work(llm: Any) -> Work:
        return lambda: _loop.run_until_complete(run(llm))

    return {name: work(llm) for name, llm in models.items()}


def burst(bench: Bench) -> Figures:
    return ratios(_sync(bench.side.stream, bench.made(f"burst-{CHUNKS}")), bench.rounds(5, 21))


def aburst(bench: Bench) -> Figures:
    return ratios(_async(bench.side.astream, bench.made(f"burst-{CHUNKS}")), bench.rounds(5, 21))


def each(bench: Bench) -> Figures:
    kind = f"each-{200 if bench.quick else APART}"
    return ratios(_sync(bench.side.stream, bench.made(kind)), bench.rounds(3, 7))


def aeach(bench: Bench) -> Figures:
    kind = f"each-{200 if bench.quick else APART}"
    return ratios(_async(bench.side.astream, bench.made(kind)), bench.rounds(3, 7))


def responses_burst(bench: Bench) -> Figures:
    """Compare the Responses protocol with our own compatible one, which is the floor here."""
    models = bench.side.responses_models(bench.origin, f"burst-{CHUNKS}")
    return ratios(_sync(bench.side.stream, models), bench.rounds(5, 21))


def responses_each(bench: Bench) -> Figures:
    """Compare them with one chunk a write."""
    models = bench.side.responses_models(bench.origin, f"each-{200 if bench.quick else APART}")
    return ratios(_sync(bench.side.stream, models), bench.rounds(3, 7))


def invoke_over_stream(bench: Bench) -> Figures:
    models = bench.made(f"burst-{CHUNKS}", over_stream=True)
    able = {name: llm for name, llm in models.items() if name not in CANNOT_STREAM_A_WHOLE_CALL}
    return ratios(_sync(bench.side.invoke, able), bench.rounds(5, 21))


def invoke(bench: Bench) -> Figures:
    return ratios(_sync(bench.side.invoke, bench.made("whole"), 50), bench.rounds(5, 21))


def ainvoke(bench: Bench) -> Figures:
    return ratios(_async(bench.side.ainvoke, bench.made("whole"), 50), bench.rounds(5, 21))


def threads(bench: Bench) -> Figures:
    def work(llm: Any) -> Work:
        def run() -> None:
            each = [threading.Thread(target=lambda: [bench.side.invoke(llm) for _ in range(25)]) for _ in range(8)]
            for thread in each:
                thread.start()
            for thread in each:
                thread.join()

        return run

    return ratios({name: work(llm) for name, llm in bench.made("whole").items()}, bench.rounds(3, 11))


def tasks(bench: Bench) -> Figures:
    async def some(llm: Any) -> None:
        for _ in range(4):
            await bench.side.ainvoke(llm)

    async def run(llm: Any) -> None:
        await asyncio.gather(*(some(llm) for _ in range(64)))

    return ratios(_async(run, bench.made("whole")), bench.rounds(3, 11))


def tool_arguments(bench: Bench) -> Figures:
    return ratios(_sync(bench.side.stream, bench.made(f"tools-{CHUNKS}")), bench.rounds(3, 11))


def tool_arguments_apart(bench: Bench) -> Figures:
    kind = f"apart-{200 if bench.quick else APART}"
    return ratios(_sync(bench.side.stream, bench.made(kind)), bench.rounds(3, 7))


def tool_arguments_asked(bench: Bench) -> Figures:
    kind = f"apart-{200 if bench.quick else APART}"
    return ratios(_sync(bench.side.stream_asking_for_calls, bench.made(kind)), bench.rounds(2, 7))


def _flat(bench: Bench, call: Callable[[Any], object]) -> Figures:
    spent: dict[int, dict[str, list[float]]] = {}
    for count in (500, 4000):  # sequential, because the SDK has one URL per process
        models = bench.made(f"tools-{count}")
        spent[count] = {name: [] for name in models}
        for number in range(-1, bench.rounds(3, 5)):
            for name, work in _sync(call, models).items():
                seconds = cpu(work)
                if number >= 0:
                    spent[count][name].append(seconds / count)
    return {
        name: Figure.of([many / few for many, few in zip(spent[4000][name], spent[500][name], strict=True)], "times")
        for name in spent[500]
    }


def tool_arguments_flat(bench: Bench) -> Figures:
    return _flat(bench, bench.side.stream)


def tool_arguments_asked_flat(bench: Bench) -> Figures:
    return _flat(bench, bench.side.stream_asking_for_calls)


def v3_events(bench: Bench) -> Figures:
    return ratios(_sync(bench.side.v3_events, bench.made(f"burst-{CHUNKS}")), bench.rounds(3, 11))


# ---------------------------------------------------------------- others


def first_token(bench: Bench) -> Figures:
    """Time from the server's first byte to the first text. A client that waits for the next event takes 30 ms."""

    def lateness(llm: Any) -> float:
        texts = bench.side.texts(llm)
        late = None
        for text in texts:
            now = time.monotonic_ns()
            if late is None and text[:20].isdigit():
                late = now - int(text[:20])
        assert late is not None
        return late / 1e9

    models = bench.made("first")
    rounds = bench.rounds(15, 101)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(-3, rounds):
        for name, llm in models.items():
            late = lateness(llm)
            if number >= 0:
                seconds[name].append(late)
    floor = statistics.median(seconds["floor"])
    found = {}
    for name, late in seconds.items():
        low, _, high = statistics.quantiles(late, n=4)
        note = f"{statistics.median(late) * 1000:.2f} ms"
        found[name] = Figure(statistics.median(late) / floor, low / floor, high / floor, "F", note)
    return found


def connections(bench: Bench) -> Figures:
    """Count new TCP connections of sequential streams, after a first one."""

    def accepted() -> int:
        with urllib.request.urlopen(f"{bench.origin}/accepted") as answer:
            return int(answer.read())

    found = {}
    times = 50 if bench.quick else 200
    for name, llm in bench.made("burst-20").items():
        bench.side.stream(llm)
        before = accepted()
        for _ in range(times):
            bench.side.stream(llm)
        new = float(accepted() - before - 1)  # without the request for the count
        found[name] = Figure(new, new, new, f"of {times}")
    return found


def construct(bench: Bench) -> Figures:
    """Measure one more model object, in microseconds of CPU, and count its SSL contexts."""
    found = {}
    made = ssl.SSLContext.__new__
    contexts = 0

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal contexts
        contexts += 1
        return made(*args, **kwargs)

    for name, make in bench.side.CONTENDERS[bench.protocol].items():
        if name == "floor":
            continue
        make(bench.origin, "whole", bench.protocol, False)
        ssl.SSLContext.__new__ = counting  # type: ignore[assignment,method-assign]
        contexts = 0
        one = make(bench.origin, "whole", bench.protocol, False)
        bench.side.invoke(one)  # some peers are lazy
        lazily = contexts
        ssl.SSLContext.__new__ = made  # type: ignore[method-assign]
        make_some = partial(_times, 20, partial(make, bench.origin, "whole", bench.protocol, False))
        times = [cpu(make_some) / 20 * 1e6 for _ in range(bench.rounds(5, 21))]
        found[name] = Figure.of(times, "us", f"{lazily} SSL contexts" if lazily else "")
    return found


def _times(count: int, call: Callable[[], object]) -> None:
    for _ in range(count):
        call()


def import_time(bench: Bench) -> Figures:
    """Measure import time in milliseconds of CPU beyond the framework and httpx, in new processes."""
    return _imports(bench, 0, 1000, "ms")


def import_memory(bench: Bench) -> Figures:
    """Measure resident memory in megabytes beyond the framework and httpx."""
    return _imports(bench, 1, 1, "MB")


def _imports(bench: Bench, what: int, unit: float, name_of_unit: str) -> Figures:
    names = tuple(name for name in bench.side.CONTENDERS[bench.protocol] if name != "floor")
    spent = _imported(bench.side_name, names, bench.rounds(3, 9))
    found = {name: [(each[name][what] - each["base"][what]) * unit for each in spent] for name in names}
    return {name: Figure.of(values, name_of_unit) for name, values in found.items()}


@cache
def _imported(side_name: str, names: tuple[str, ...], rounds: int) -> list[dict[str, tuple[float, float]]]:
    """Return the cost of each import, and of the framework and httpx, per round. Measured once for both rows."""
    for package in ("modelstudio_core", f"{side_name}_modelstudio"):  # compiled like pip does
        compileall.compile_dir(package, quiet=1)
    statements = import_module(SIDES[side_name]).IMPORTS
    return [{name: _import(statements[name]) for name in ("base", *names)} for _ in range(rounds)]


def _import(statement: str) -> tuple[float, float]:
    code = (
        f"import time; b = time.process_time(); {statement}; s = time.process_time() - b\n"
        "print(s, int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6)"
    )
    seconds, memory = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], text=True).split()
    return float(seconds), float(memory)


def crowd(bench: Bench, streams: int) -> Figures:
    """Measure CPU per event of many slow streams on one event loop, with each contender in its own process."""
    names = [n for n in bench.side.CONTENDERS[bench.protocol] if n != "ChatQwen"]  # like ChatOpenAI, its base class
    events = 10 if bench.quick else CALM_EVENTS
    found: dict[str, list[float]] = {name: [] for name in names}
    notes = {}
    for _ in range(bench.rounds(1, 2 if streams <= 200 else 1)):
        spent = {}
        for name in names:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.crowd"]
            command += [bench.side_name, bench.protocol, name, bench.origin, str(streams), str(events)]
            said = json.loads(subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL))
            spent[name] = said["cpu"] / max(said["events"], 1)
            notes[name] = f"{said['done']} done, {said['errors']} errors, {spent[name] * 1e6:.0f} us"
        for name in names:
            found[name].append(spent[name] / spent["floor"])
    return {name: Figure.of(values, "F", notes[name]) for name, values in found.items()}


def crowd_200(bench: Bench) -> Figures:
    return crowd(bench, 200)


def crowd_1000(bench: Bench) -> Figures:
    return crowd(bench, 1000)


# ---------------------------------------------------------------- embeddings


def embed_time(bench: Bench) -> Figures:
    """Measure the time for many texts, relative to the peer, which sends requests sequentially."""
    return _embeddings(bench, "wall", "{:.1f} s")


def embed_cpu(bench: Bench) -> Figures:
    """Measure CPU time for many texts, relative to the peer."""
    return _embeddings(bench, "cpu", "{:.1f} s")


def embed_memory(bench: Bench) -> Figures:
    """Measure the peak growth of resident memory, as a multiple of the size of the vectors."""
    spent = _embedded(bench.side_name, bench.origin, bench.rounds(1000, 10_000))
    return {name: Figure.of([each["memory"]], "times") for name, each in spent.items()}


def _embeddings(bench: Bench, what: str, note: str) -> Figures:
    spent = _embedded(bench.side_name, bench.origin, bench.rounds(1000, 10_000))
    [peer] = [each[what] for name, each in spent.items() if name != "ours"]
    return {name: Figure.of([each[what] / peer], "times", note.format(each[what])) for name, each in spent.items()}


@cache
def _embedded(side_name: str, origin: str, count: int) -> dict[str, dict[str, float]]:
    """Return the cost of `count` texts per contender, each in its own process. Measured once for all rows."""
    spent = {}
    for name in import_module(SIDES[side_name]).EMBEDDERS:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.embed", side_name, name, origin, str(count)]
        spent[name] = json.loads(subprocess.check_output(command, text=True))
        assert spent[name]["order"], f"{name} mixed the vectors up"
    return spent


# ---------------------------------------------------------------- batch jobs


def job_floor(bench: Bench) -> Figures:
    """Measure writing and reading the lines of a batch job, as a multiple of JSON and message objects alone."""
    spent = _job(bench.side_name, bench.rounds(5000, 100_000))
    note = f"{spent['ours']:.0f} us a line, of which {spent['floor']:.0f} us"
    return {"ours": Figure.of([spent["ours"] / spent["floor"]], "times", note)}


def job_live(bench: Bench) -> Figures:
    """Measure the same as a multiple of what live calls do with the same prompts and answers."""
    spent = _job(bench.side_name, bench.rounds(5000, 100_000))
    return {"ours": Figure.of([spent["ours"] / spent["live"]], "times", f"{spent['live']:.0f} us a line live")}


def job_memory(bench: Bench) -> Figures:
    """Measure the peak growth of resident memory."""
    return {"ours": Figure.of([_job(bench.side_name, bench.rounds(5000, 100_000))["memory"]], "MB")}


@cache
def _job(side_name: str, count: int) -> dict[str, float]:
    """Return the costs of a batch job of `count` lines in a process of its own. Measured once for all rows."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.jobs", side_name, str(count)]
    figures: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return figures


# ---------------------------------------------------------------- all of them

BOTH = ("openai", "dashscope")
FIRST = ("openai",)
NATIVE = ("dashscope",)
COMPATIBLE = ("openai",)


@dataclass(frozen=True)
class Row:
    """A row of the table. `most` is the limit for ours."""

    title: str
    measure: Callable[[Bench], Figures]
    most: float
    sides: tuple[str, ...] = tuple(SIDES)
    quick: tuple[str, ...] = ("openai",)  # protocols of a quick run
    protocols: tuple[str, ...] = BOTH


ROWS = {
    "burst": Row("2,000 chunks at once", burst, 1.15, quick=BOTH),
    "aburst": Row("2,000 chunks at once, async", aburst, 1.15, quick=BOTH),
    "each": Row("one chunk a write", each, 1.10),
    "aeach": Row("one chunk a write, async", aeach, 1.05),
    "invoke_over_stream": Row("invoke over a stream of 2,000", invoke_over_stream, 1.25),
    "invoke": Row("small invoke", invoke, 1.25, quick=BOTH),
    "ainvoke": Row("small ainvoke", ainvoke, 1.15, quick=BOTH),
    "import_time": Row("import, beyond framework and httpx", import_time, 100),
    "import_memory": Row("import, memory", import_memory, 10),
    "construct": Row("one more model object", construct, 150),
    "first_token": Row("first token after the first byte", first_token, 1.20),
    "connections": Row("new connections in 200 streams", connections, 0),
    "threads": Row("8 threads of small requests", threads, 1.25),
    "tasks": Row("64 tasks of small requests", tasks, 0.60),
    "crowd_200": Row("200 streams of 20 events a second", crowd_200, 0.90),
    "crowd_1000": Row("1,000 such streams on one loop", crowd_1000, 0.35, quick=()),
    "tools": Row("tool arguments in 2,000 fragments", tool_arguments, 1.2),
    "tools_apart": Row("the same, one a write", tool_arguments_apart, 1.2),
    "tools_flat": Row("4,000 fragments against 500", tool_arguments_flat, 1.15),
    "tools_asked": Row("calls asked on every fragment", tool_arguments_asked, 1.3, ("llama_index",)),
    "tools_asked_flat": Row("asked, 4,000 against 500", tool_arguments_asked_flat, 1.3, ("llama_index",)),
    "v3": Row("v3 events", v3_events, 0.45, ("langchain",)),
    # F is our own compatible protocol; ChatOpenAI has use_responses_api=True
    "responses_burst": Row(
        "Responses against compatible: 2,000 chunks", responses_burst, 1.15, ("langchain",), protocols=FIRST
    ),
    "responses_each": Row(
        "Responses against compatible: one a write", responses_each, 1.15, ("langchain",), protocols=FIRST
    ),
    # the peers support the native protocol only, and send requests sequentially
    "embed_time": Row("10,000 texts at 100 ms a request", embed_time, 0.125, quick=NATIVE, protocols=NATIVE),
    "embed_cpu": Row("10,000 texts, CPU", embed_cpu, 0.5, quick=NATIVE, protocols=NATIVE),
    "job_floor": Row("100,000 batch lines, to JSON and messages alone", job_floor, 4, protocols=COMPATIBLE),
    "job_live": Row("100,000 batch lines, to live calls without HTTP", job_live, 0.5, protocols=COMPATIBLE),
    "job_memory": Row("100,000 batch lines, growth of memory", job_memory, 60, protocols=COMPATIBLE),
    "embed_memory": Row("10,000 texts, growth of memory", embed_memory, 1.5, quick=NATIVE, protocols=NATIVE),
}
