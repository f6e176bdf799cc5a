"""Send many prompts at once to a service that limits requests per minute: this package and ChatOpenAI, side by side.

    python -m benchmarks.limited [--prompts 5000] [--per-minute 6000] [WHO ...]

The service (`--serve PER_MINUTE`, in a process of its own) has a token bucket that holds a second's requests, and
answers each request above it with 429 and Retry-After. The ideal time is prompts / per_minute minutes. It answers with
the last message's text after `SECONDS`, so a test can tell which prompt an answer belongs to.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from typing import Any
from urllib.request import urlopen

SECONDS = 0.2  # that an answer takes
_REFUSAL = {"message": "Requests rate limit exceeded, please try again later.", "code": "limit_requests", "param": None}


# ---------------------------------------------------------------- the service


@dataclass
class Counts:
    """What the service has seen.

    Attributes:
        requests: all of them.
        refused: those answered with 429.
        tokens: of the answered ones.
        in_flight: requests under way.
        most_in_flight: the largest number of them so far.
    """

    requests: int = 0
    refused: int = 0
    tokens: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


class _Service:
    def __init__(self, per_minute: float) -> None:
        self.counts = Counts()
        self.prompts: Counter[str] = Counter()  # how often each was answered
        self._rate = per_minute / 60
        self._level = self._most = max(1.0, self._rate)
        self._since = time.monotonic()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _read_head(reader):
            fields = head.lower()
            length = int(fields.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            if head.startswith(b"GET"):
                await self._write(writer, 200, {**asdict(self.counts), "prompts": self.prompts})
            else:
                await self._answer(writer, json.loads(body))
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        counts = self.counts
        counts.requests += 1
        if not self._admits():
            counts.refused += 1
            await self._write(writer, 429, {"error": _REFUSAL})
            return
        counts.in_flight += 1
        counts.most_in_flight = max(counts.most_in_flight, counts.in_flight)
        await asyncio.sleep(SECONDS)
        counts.in_flight -= 1
        counts.tokens += 20
        text = request["messages"][-1]["content"]
        self.prompts[text] += 1
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        value = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1770000000, "model": request["model"]}
        await self._write(writer, 200, {**value, "choices": [choice], "usage": usage})

    def _admits(self) -> bool:
        now = time.monotonic()
        self._level = min(self._most, self._level + (now - self._since) * self._rate)
        self._since = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    async def _write(self, writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        more = "retry-after: 1\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def _serve(per_minute: float) -> None:
    server = await asyncio.start_server(_Service(per_minute).serve, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent ends
    os._exit(0)


@contextmanager
def running(per_minute: float) -> Iterator[str]:
    """Yield the base URL of a service for the duration of the block."""
    command = [sys.executable, "-m", "benchmarks.limited", "--serve", str(per_minute)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}/compatible-mode/v1"
        child.stdin.close()


def counted(base_url: str) -> dict[str, Any]:
    """Return the service's `Counts`, and as `prompts` how often each was answered."""
    with urlopen(base_url) as response:
        found: dict[str, Any] = json.load(response)
    return found


# ---------------------------------------------------------------- who takes part


def ours(base_url: str, per_minute: float) -> Any:
    """Return this package's model, with the service's limit."""
    from langchain_modelstudio import ChatModelStudio

    return ChatModelStudio(model="qwen-plus", base_url=base_url, requests_per_minute=per_minute)


def chat_openai(base_url: str, per_minute: float) -> Any:
    """Return ChatOpenAI with its own retries."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="qwen-plus", base_url=base_url, api_key="none")  # type: ignore[arg-type]  # a SecretStr


def chat_openai_patient(base_url: str, per_minute: float) -> Any:
    """Return ChatOpenAI with ten times as many retries."""
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="qwen-plus", base_url=base_url, api_key="none", max_retries=20)  # type: ignore[arg-type]


CONTENDERS = {"ours": ours, "ChatOpenAI": chat_openai, "ChatOpenAI-max_retries-20": chat_openai_patient}


async def measure(who: str, prompts: int, per_minute: float) -> dict[str, Any]:
    """Return what happened: seconds, the ratio to the ideal, CPU seconds, errors, and the service's counts."""
    with running(per_minute) as base_url:
        llm = CONTENDERS[who](base_url, per_minute)
        began, cpu = time.monotonic(), time.process_time()
        answers = await llm.abatch([f"prompt {n}" for n in range(prompts)], return_exceptions=True)
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        counts = counted(base_url)
    errors = Counter(type(answer).__name__ for answer in answers if isinstance(answer, Exception))
    right = sum(getattr(answer, "text", None) == f"prompt {n}" for n, answer in enumerate(answers))
    return {
        "who": who,
        "seconds": round(seconds, 1),
        "ratio": round(seconds / (prompts / per_minute * 60), 3),
        "cpu_seconds": round(cpu, 1),
        "right": right,
        "errors": dict(errors),
        "requests": counts["requests"],
        "refused": counts["refused"],
        "most_in_flight": counts["most_in_flight"],
    }


def main() -> None:
    """Measure each contender after the other, and print one JSON line for each."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--serve", type=float, metavar="PER_MINUTE", help="only serve, until stdin ends")
    arguments.add_argument("--prompts", type=int, default=5000)
    arguments.add_argument("--per-minute", type=float, default=6000)
    arguments.add_argument("who", nargs="*", default=list(CONTENDERS), help=f"of {', '.join(CONTENDERS)}")
    given = arguments.parse_args()
    if given.serve:
        asyncio.run(_serve(given.serve))
        return
    names = ("modelstudio-integrations", "langchain-core", "langchain-openai", "openai")
    print(json.dumps({"date": str(date.today()), "prompts": given.prompts, **{n: version(n) for n in names}}))
    for who in given.who:
        print(json.dumps(asyncio.run(measure(who, given.prompts, given.per_minute))), flush=True)


if __name__ == "__main__":
    main()
