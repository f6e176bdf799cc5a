"""Define the table: what each row measures, and what ours may be at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import calls, processes
from benchmarks.bench import SIDES, Bench
from benchmarks.pairs import Figures, Least, Ratios

ALLOWANCE = 1.05  # tolerance of the limits on a shared machine
BOTH = ("openai", "dashscope")
COMPATIBLE = ("openai",)
NATIVE = ("dashscope",)
LANGCHAIN, LLAMA_INDEX = ("langchain",), ("llama_index",)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        title: of the row.
        measure: returns a figure of each contender.
        most: the limit for ours, or one for each framework.
        sides: the frameworks.
        quick: protocols of a quick run.
        protocols: of a full run.
        tls: whether the server is one with TLS.
    """

    title: str
    measure: Callable[[Bench], Figures]
    most: float | Mapping[str, float]
    sides: tuple[str, ...] = tuple(SIDES)
    quick: tuple[str, ...] = ()
    protocols: tuple[str, ...] = BOTH
    tls: bool = False

    def limit(self, side: str) -> float:
        """Return the limit for ours with a framework."""
        return self.most[side] if isinstance(self.most, Mapping) else self.most


_BURST = {"langchain": 0.85, "llama_index": 0.92}
ROWS = {
    "burst": Row("2,000 chunks at once", Ratios(calls.burst, 3, 21), _BURST, quick=BOTH),
    "aburst": Row("2,000 chunks at once, async", Ratios(calls.aburst, 3, 21), _BURST, quick=BOTH),
    "each": Row("one chunk a write", Ratios(calls.each, 3, 9), 1.0, quick=BOTH),
    "aeach": Row("one chunk a write, async", Ratios(calls.aeach, 3, 9), 0.78, quick=BOTH),
    "aeach_uvloop": Row("one chunk a write, uvloop", Ratios(calls.aeach_uvloop, 3, 9), 1.0),
    "tls": Row("one chunk a write, TLS", Ratios(calls.each, 3, 9), 1.0, tls=True),
    "atls": Row("one chunk a write, TLS, async", Ratios(calls.aeach, 3, 9), 0.85, tls=True, quick=COMPATIBLE),
    "invoke_over_stream": Row(
        "invoke over a stream of 2,000", Ratios(calls.invoke_over_stream, 3, 21), 1.08, quick=COMPATIBLE
    ),
    "invoke": Row("small invoke", Ratios(calls.invoke, 3, 21), 1.08, quick=BOTH),
    "ainvoke": Row("small ainvoke", Ratios(calls.ainvoke, 3, 21), 0.88, quick=BOTH),
    "import_time": Row(
        "import, beyond framework and httpx", Least(processes.import_time, 1, 11, 1000, "ms"), 35, quick=COMPATIBLE
    ),
    "import_memory": Row("import, memory", Least(processes.import_memory, 1, 3, 1e-6, "MB"), 10),
    "construct": Row("one more model object", Least(calls.construct, 5, 15, 1e6, "us"), 45, quick=COMPATIBLE),
    "first_token": Row(
        "first token after the first byte",
        Ratios(calls.first_token, 15, 101, (1000, "ms"), warm=3),
        1.0,
        quick=COMPATIBLE,
    ),
    "afirst_token": Row(
        "first token after the first byte, async", Ratios(calls.afirst_token, 15, 101, (1000, "ms"), warm=3), 0.9
    ),
    "connections": Row("new connections in 200 streams", calls.connections, 0, quick=COMPATIBLE),
    "threads": Row("8 threads of small requests", Ratios(calls.threads, 2, 11), 1.08, quick=COMPATIBLE),
    "tasks": Row("64 tasks of small requests", Ratios(calls.tasks, 1, 11), 0.36, quick=COMPATIBLE),
    "crowd_200": Row(
        "200 streams of 20 events a second",
        Ratios(processes.crowd_200, 1, 3, (1e6, "us"), warm=0),
        {"langchain": 0.70, "llama_index": 0.58},
    ),
    "crowd_1000": Row("1,000 such streams on one loop", Ratios(processes.crowd_1000, 1, 2, (1e6, "us"), warm=0), 0.22),
    "tail_200": Row(
        "slowest 1 % of the events of 200 streams", Ratios(processes.tail_200, 1, 3, (1000, "ms"), warm=0), 1.0
    ),
    "held": Row("memory per stream at 1,000 streams", Least(processes.held, 1, 2, 1e-3, "kB"), 13),
    "tools": Row("tool arguments in 2,000 fragments", Ratios(calls.tools, 2, 11), 1.2, quick=COMPATIBLE),
    "tools_apart": Row("the same, one a write", Ratios(calls.tools_apart, 2, 7), 1.2),
    "tools_invoked": Row("the same under invoke, over a stream", Ratios(calls.tools_invoked, 2, 11), 1.10),
    "tools_flat": Row("4,000 fragments against 500", calls.tools_flat, 1.15),
    "tools_asked": Row("calls asked on every fragment", Ratios(calls.tools_asked, 2, 7), 1.3, LLAMA_INDEX),
    "tools_asked_flat": Row("asked, 4,000 against 500", calls.tools_asked_flat, 1.3, LLAMA_INDEX),
    "v3": Row("v3 events", Ratios(calls.v3_events, 2, 11), 0.38, LANGCHAIN, quick=COMPATIBLE),
    "count_burst": Row("instructions of an event of a burst", processes.count_burst, _BURST),
    "count_aburst": Row("instructions of an event of a burst, async", processes.count_aburst, _BURST),
    "count_each": Row("instructions of a lone event", processes.count_each, 1.0),
    "count_aeach": Row("instructions of a lone event, async", processes.count_aeach, 0.78),
    # F is our own compatible protocol; ChatOpenAI has use_responses_api=True
    "responses_burst": Row(
        "Responses against compatible: 2,000 chunks",
        Ratios(calls.responses_burst, 3, 21),
        1.15,
        LANGCHAIN,
        protocols=COMPATIBLE,
    ),
    "responses_each": Row(
        "Responses against compatible: one a write",
        Ratios(calls.responses_each, 3, 7),
        1.15,
        LANGCHAIN,
        protocols=COMPATIBLE,
    ),
    # the peers support the native protocol only, and send requests sequentially
    "embed_time": Row("10,000 texts at 100 ms a request", processes.embed_time, 0.125, protocols=NATIVE),
    "embed_cpu": Row("10,000 texts, CPU", processes.embed_cpu, 0.5, protocols=NATIVE),
    "embed_memory": Row("10,000 texts, growth of memory", processes.embed_memory, 1.5, protocols=NATIVE),
    "job_floor": Row("100,000 batch lines, to JSON and messages alone", processes.job_floor, 4, protocols=COMPATIBLE),
    "job_live": Row("100,000 batch lines, to live calls without HTTP", processes.job_live, 0.5, protocols=COMPATIBLE),
    "job_memory": Row("100,000 batch lines, growth of memory", processes.job_memory, 60, protocols=COMPATIBLE),
}
