"""Run a batch job of many lines in a separate process, against a loopback service in another one.

`python -m benchmarks.jobs SIDE LINES` prints, in microseconds of CPU per line, what writing and reading cost, and, for
the same prompts and answers in turns with it, two other costs: `floor`, `json.dumps`, `from_json` and the framework's
message objects alone; and `live`, what a live call does with them: plan, encode, decode, and make framework objects.
`memory` is by how many megabytes resident memory grew at its peak.

Everything counts that this process does for the job: the journal, the files, upload, download, reading the results.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from benchmarks.bench import load
from benchmarks.embed import memory
from modelstudio_core.catalogue import model_info
from modelstudio_core.policies import plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import ChatRequest, Message, ResponseHead
from tests.batch_service import BatchService, Line, succeeded
from tests.loopback import Loopback

MODEL = "qwen-turbo"
TEXT = "The battery of this phone is good, and the screen is dim. " * 3
USAGE = {
    "prompt_tokens": 26,
    "completion_tokens": 35,
    "total_tokens": 61,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
SAMPLE = 2000  # lines of the other costs, each time


def prompts(count: int) -> Iterator[str]:
    """Yield the prompts."""
    for number in range(count):
        yield f"Summarize review {number} in one sentence: the battery lasts two days, but the screen is dim. " * 2


def result(line: Line) -> Line:
    """Return the result line of an input line."""
    return succeeded(line, {"role": "assistant", "content": TEXT}, usage=USAGE)


def serve() -> None:
    """Serve until standard input ends, after a line with the address."""
    with Loopback(BatchService(answer=result)) as server:
        print(server.url, flush=True)
        sys.stdin.read()


class Costs:
    """The CPU seconds of each kind, per line."""

    def __init__(self, side: Any) -> None:
        self._prompts = list(prompts(SAMPLE))
        lines = (result({"custom_id": str(number), "body": {"model": MODEL}}) for number in range(SAMPLE))
        self._answers = [json.dumps(line["response"]["body"]).encode() for line in lines]
        self._side = side
        self.floors: list[float] = []
        self.lives: list[float] = []

    def compare(self) -> None:
        """Measure both other costs once."""
        self.floors.append(_cpu(self._floor) / SAMPLE)
        self.lives.append(_cpu(self._live) / SAMPLE)

    def _floor(self) -> None:
        for prompt in self._prompts:
            message = {"role": "user", "content": self._side.prompt_message(prompt).content}
            json.dumps({"model": MODEL, "messages": [message], "temperature": 0.2})
        for answer in self._answers:
            value = from_json(answer)
            self._side.answer_message(value["choices"][0]["message"]["content"], value["usage"])

    def _live(self) -> None:
        codec, model, head = OpenAICodec(), model_info(MODEL), ResponseHead(200, {})
        request = ChatRequest(MODEL, (), parameters={"temperature": 0.2})
        for prompt in self._prompts:
            planned = plan(replace(request, messages=(Message("user", prompt),)), model, stream=False)
            codec.encode(planned.request, stream=False)
        for answer in self._answers:
            self._side.whole_answer(fold(codec.decode(request, head, answer)))


def _cpu(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(side: Any, url: str, count: int) -> dict[str, float]:
    """Return the figures of one job."""
    llm = side.job_model(url, MODEL)
    costs = Costs(side)
    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, lines: int, between: Callable[[], None]) -> float:
            job = llm.batch_job(prompts(lines), journal=f"{folder}/{name}.db")
            spent = _cpu(job.submit)
            between()
            spent += _cpu(lambda: job.wait(poll_interval=0.2))
            between()
            got = 0

            def read() -> None:
                nonlocal got
                for answer in job.results():
                    assert not isinstance(answer, Exception)
                    got += 1

            spent += _cpu(read)
            assert got == lines
            return spent

        run("warm", SAMPLE, costs.compare)
        costs.floors.clear()
        costs.lives.clear()
        gc.collect()
        gc.freeze()
        before = memory("VmRSS")
        costs.compare()
        ours = run("job", count, costs.compare) / count
        costs.compare()
        grew = memory("VmHWM") - before
    floor, live = statistics.median(costs.floors), statistics.median(costs.lives)
    return {"ours": ours * 1e6, "floor": floor * 1e6, "live": live * 1e6, "memory": grew / 1e6}


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        serve()
        return
    side_name, count = sys.argv[1:]
    command = [sys.executable, "-m", "benchmarks.jobs", "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        figures = measure(load(side_name), server.stdout.readline().strip(), int(count))
        server.stdin.close()
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
