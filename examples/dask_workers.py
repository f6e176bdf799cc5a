"""Send prompts from two worker processes of Dask, within shared limits. A worker that dies loses no answer.

Needs `pip install 'distributed>=2026.8'`. The number of prompts is an argument (default 8).

Run it with a key in DASHSCOPE_API_KEY:            python examples/dask_workers.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/dask_workers.py
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dask
from dask.distributed import Client, LocalCluster, Semaphore, as_completed

from langchain_modelstudio import ChatModelStudio

WORKERS, THREADS = 2, 16
IN_FLIGHT = 16
"""Requests under way at once, over all workers."""
TOKENS_PER_MINUTE = 120_000
"""Over all workers: each is a process with a limit of its own, so each gets its share."""
LEASES = "distributed.scheduler.locks.lease-timeout"


@contextmanager
def a_cluster() -> Iterator[Client]:
    """Yield the client of a scheduler and two workers. The workers read DASHSCOPE_API_KEY where they run."""
    # a worker that dies gives its leases of the semaphore back after this time
    with (
        dask.config.set({LEASES: "5s"}),
        LocalCluster(n_workers=WORKERS, threads_per_worker=THREADS, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def ask(prompt: str, llm: ChatModelStudio, in_flight: Semaphore) -> str:
    """Return the answer to a prompt. Runs in a thread of a worker, whose calls share its connections."""
    with in_flight:
        return llm.invoke(prompt).text


def ask_all(client: Client, llm: ChatModelStudio, prompts: Sequence[str]) -> list[str]:
    """Return the answers in the order of the prompts. Equal prompts are one call.

    Each answer is fetched as it comes, and its future released: what a worker still holds when it dies would be asked
    for, and billed, again.
    """
    llm = llm.model_copy(update={"tokens_per_minute": TOKENS_PER_MINUTE / WORKERS})
    in_flight = Semaphore(max_leases=IN_FLIGHT, name=f"model studio, {llm.model}")
    futures = client.map(ask, prompts, llm=llm, in_flight=in_flight)
    places = defaultdict(list)
    for place, future in enumerate(futures):
        places[future.key].append(place)
    answers = [""] * len(prompts)
    for future, answer in as_completed(futures, with_results=True):
        for place in places[future.key]:
            answers[place] = answer
        future.release()
    return answers


def main() -> None:
    """Ask for a sentence on each of some numbers."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    prompts = [f"Say a sentence about the number {number}." for number in range(count)]
    with a_cluster() as client:
        answers = ask_all(client, ChatModelStudio(model="qwen-plus", max_tokens=100), prompts)
    for prompt, answer in zip(prompts, answers, strict=True):
        print(f"Prompt: {prompt}\nAnswer: {answer}")


if __name__ == "__main__":
    main()
