"""`make bench`: ours, the floor and ChatOpenAI do the same work in turns; the medians of the ratios are printed.

The floor is what no correct implementation on httpx and langchain-core can beat: a chat model that does plain httpx,
one split of the bytes, one JSON parse and one message chunk an event, and nothing else. Seconds on a busy machine say
little; ratios of neighbouring runs do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr
from pydantic_core import from_json

from benchmarks import server
from langchain_modelstudio import ChatModelStudio

PROMPT = [("user", "hi")]
BODY = {"model": "qwen-turbo", "messages": [{"role": "user", "content": "hi"}]}
STREAM_BODY = {**BODY, "stream": True, "stream_options": {"include_usage": True}}


class Floor(BaseChatModel):
    """The least that a chat model can do: no errors, no tools, no usage, no retries."""

    url: str
    _client: httpx.Client = PrivateAttr(default_factory=httpx.Client)

    @property
    def _llm_type(self) -> str:
        return "floor"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        answer = from_json(self._client.post(self.url, json=BODY).content)
        message = AIMessage(content=answer["choices"][0]["message"]["content"])
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        with self._client.stream("POST", self.url, json=STREAM_BODY) as response:
            yield from _chunks(b"".join(response.iter_raw()))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        client = _async_clients.get(asyncio.get_running_loop()) or httpx.AsyncClient()
        _async_clients[asyncio.get_running_loop()] = client
        async with client.stream("POST", self.url, json=STREAM_BODY) as response:
            for chunk in _chunks(b"".join([data async for data in response.aiter_raw()])):
                yield chunk


_async_clients: dict[asyncio.AbstractEventLoop, httpx.AsyncClient] = {}


def _chunks(data: bytes) -> Iterator[ChatGenerationChunk]:
    for event in data.split(b"\n\n"):
        if event.startswith(b"data: {"):
            choices = from_json(event[6:])["choices"]
            text = choices[0]["delta"].get("content", "") if choices else ""
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))


class Work:
    """One contender's work, on one event loop of its own."""

    def __init__(self, llm: BaseChatModel) -> None:
        self.llm = llm
        self.loop = asyncio.new_event_loop()

    def stream(self) -> None:
        for _ in self.llm.stream(PROMPT):
            pass

    def astream(self) -> None:
        async def run() -> None:
            async for _ in self.llm.astream(PROMPT):
                pass

        self.loop.run_until_complete(run())

    def invoke(self) -> None:
        for _ in range(50):
            self.llm.invoke(PROMPT)


def contenders(url: str) -> dict[str, Work]:
    """Who takes part. Each gets a model id that does not think, so that `invoke` does not stream."""
    known: dict[str, Any] = {"model": "qwen-turbo", "base_url": url, "api_key": "none"}
    taking_part = {"floor": Work(Floor(url=f"{url}/chat/completions")), "ours": Work(ChatModelStudio(**known))}
    try:
        from langchain_openai import ChatOpenAI
    except ImportError:
        print("langchain-openai is not installed here, so no peer takes part: use `make bench`")
    else:
        taking_part["ChatOpenAI"] = Work(ChatOpenAI(**known, stream_usage=True))
    return taking_part


def ratios(work: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """CPU time of each against the first, the median over rounds in which they take turns."""
    names = list(work)
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds + 1):  # the first round warms up
        spent = {}
        for name in names:
            began = time.process_time()
            work[name]()
            spent[name] = time.process_time() - began
        for name in names:
            found[name].append(spent[name] / spent[names[0]])
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def import_cost(statement: str) -> float:
    """Seconds of CPU that an import takes in a new process, the least of five."""
    code = f"import time; b = time.process_time(); {statement}; print(time.process_time() - b)"
    return min(float(subprocess.check_output([sys.executable, "-W", "ignore", "-c", code])) for _ in range(5))


def main() -> None:
    """Run and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = arguments.parse_args()
    table: dict[str, dict[str, float]] = {}
    with server.running() as url:
        taking_part = contenders(url)
        for title, method in (
            (f"stream of {server.CHUNKS} chunks", "stream"),
            (f"async stream of {server.CHUNKS} chunks", "astream"),
            ("50 small invokes", "invoke"),
        ):
            table[title] = ratios({name: getattr(who, method) for name, who in taking_part.items()}, given.rounds)
    base = import_cost("import langchain_core.language_models.chat_models, httpx")
    table["import (seconds beyond langchain-core and httpx)"] = {
        "ours": import_cost("import langchain_modelstudio") - base
    }
    if given.json:
        print(json.dumps(table, indent=1))
        return
    print("CPU time as a ratio to the floor (median of interleaved rounds)")
    for title, row in table.items():
        print(f"  {title:52s}", "  ".join(f"{name} {value:.2f}" for name, value in row.items()))


if __name__ == "__main__":
    main()
