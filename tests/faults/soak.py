"""Soak test with mixed faults in 100 concurrent streams: `python -m tests.faults.soak --seconds 600`.

Each stream asks a different question, with one of the eight ways and one protocol. The server answers correctly or with
a fault of the table, or the consumer stops early. A run succeeds if every answer is that of its question, every error
that of its fault, and descriptors and memory have not grown at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import gzip
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.llms import ChatMessage

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core import errors
from tests.faults.dialects import DIALECTS, PIECES, REQUEST_ID, Dialect, written
from tests.platforms import descriptors

WORKERS = 100
SYNC_WORKERS = 12
"""How many of the workers are threads that ask in the sync ways."""
SILENCE = 5.0
"""Seconds that a stream may be silent; server and askers share one process, which may be busy."""
WARM_UP = 0.2
"""The part of a run after which memory and descriptors should have stopped to grow."""
GROWTH = 24 * 1024 * 1024
"""Bytes of resident memory by which allocator and caches may still differ at the end."""


@dataclass(frozen=True)
class Fault:
    """A behaviour of the server, and the resulting error, or None for a correct answer."""

    name: str
    error: type[errors.ModelStudioError] | None
    weight: int


FAULTS = (
    Fault("good", None, 40),
    Fault("slow", None, 10),
    Fault("left", None, 15),
    Fault("once", None, 5),
    Fault("zipped", errors.ProtocolError, 5),
    Fault("behind", None, 5),  # another answer in the same write
    Fault("reset", errors.APIConnectionError, 5),
    Fault("cut", errors.StreamTruncatedError, 5),
    Fault("stall", errors.APITimeoutError, 2),
    Fault("refuse", errors.BadRequestError, 5),
    Fault("page", errors.ServerError, 5),
    Fault("filter", errors.ContentFilterError, 5),
    Fault("nonsense", errors.ProtocolError, 5),
)


# ---------------------------------------------------------------- the server


class Server:
    """Answers according to the fault and number in the question. One event loop serves all connections."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self.open -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length.group(1)) if length else 0)
        dialect = DIALECTS["dashscope" if b"/services/" in head.split(b"\r\n", 1)[0] else "openai"]
        found = re.search(rb"fault (\w+) number (\d+)\.", body)
        assert found is not None
        fault, number = found.group(1).decode(), found.group(2).decode()
        again = fault == "once" and number in self.seen
        if fault == "once":
            self.seen ^= {number}  # so that it holds no more than what is under way
        streams = b'"stream":true' in body or b"x-dashscope-sse: enable" in head.lower()
        return await self._answer(writer, dialect, "good" if again else fault, number, streams)

    async def _answer(
        self, writer: asyncio.StreamWriter, dialect: Dialect, fault: str, number: str, streams: bool
    ) -> bool:
        if fault in ("refuse", "page", "once"):
            status, data = {
                "refuse": (400, written(dialect.error("InvalidParameter", f"No {number}."))),
                "page": (502, b"<html>Bad Gateway</html>"),
                "once": (429, written(dialect.error("Throttling", "Busy."))),
            }[fault]
            writer.write(b"HTTP/1.1 %d X\r\nx-request-id: %b\r\nretry-after: 0\r\ncontent-length: %d\r\n\r\n%b"
                         % (status, REQUEST_ID.encode(), len(data), data))  # fmt: skip
            await writer.drain()
            return True
        if not streams or fault in ("zipped", "behind"):
            data = dialect.stream(*pieces(number)) if streams else written(dialect.whole(answer(number)))
            more = _whole(dialect.stream("It is someone else's."), "event-stream") if fault == "behind" else b""
            writer.write(_whole(data, "event-stream" if streams else "json", zipped=fault == "zipped") + more)
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: %b\r\n"
                     b"transfer-encoding: chunked\r\n\r\n" % REQUEST_ID.encode())  # fmt: skip
        for piece in pieces(number)[: 3 if fault in ("reset", "cut", "stall", "filter", "nonsense") else None]:
            _chunk(writer, dialect.said(piece))
            await writer.drain()
            if fault in ("slow", "left"):
                await asyncio.sleep(0.02)
        return await self._ending(writer, dialect, fault)

    async def _ending(self, writer: asyncio.StreamWriter, dialect: Dialect, fault: str) -> bool:
        if fault == "reset":
            await asyncio.sleep(0.02)
            writer.transport.abort()
            return False
        if fault == "stall":
            await asyncio.sleep(2 * SILENCE)
            return False
        if fault == "filter":
            _chunk(writer, dialect.event(written(dialect.error("DataInspectionFailed", "No.")), status=400))
        elif fault == "nonsense":
            _chunk(writer, dialect.event(b'{"choices": [{'))
        elif fault != "cut":
            _chunk(writer, dialect.last() + dialect.done)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def _whole(data: bytes, kind: str, *, zipped: bool = False) -> bytes:
    """A response with a content-length."""
    encoding = b"content-encoding: gzip\r\n" if zipped else b""
    data = gzip.compress(data) if zipped else data
    return b"HTTP/1.1 200 OK\r\nx-request-id: %b\r\n%bcontent-type: text/%b\r\ncontent-length: %d\r\n\r\n%b" % (
        REQUEST_ID.encode(), encoding, kind.encode(), len(data), data)  # fmt: skip


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def pieces(number: str) -> list[str]:
    return [f"{number}:{piece}" for piece in (*PIECES, *PIECES)]


def answer(number: str) -> str:
    return "".join(pieces(number))


# ---------------------------------------------------------------- those who ask


@dataclass
class Tally:
    """The counts so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    asked: int = 0

    def judge(self, fault: Fault, number: str, said: str, error: Exception | None, *, left: bool) -> None:
        """Count a result, and store it if it does not match its question and fault."""
        self.outcomes[fault.name] += 1
        whole = answer(number)
        if left:
            right = error is None and whole.startswith(said)
        elif fault.error is None:
            right = error is None and said == whole
        else:
            right = isinstance(error, fault.error) and whole.startswith(said)
            partial = getattr(error, "partial", None)
            if right and partial is not None:
                right = all(whole.startswith(choice.text) for choice in partial.choices)
        if not right:
            self.wrong.append(f"{fault.name} {number}: {said!r} {error!r}")


class Crowd:
    """The workers. Each draws a fault, a way and a protocol, asks, and checks the result."""

    def __init__(self, url: str, seconds: float, seed: int) -> None:
        self.tally = Tally()
        self.ends = time.monotonic() + seconds
        self._random = random.Random(seed)
        self._numbers = iter(range(10**9))
        common: dict[str, Any] = {"model": "qwen-plus", "base_url": url, "timeout": SILENCE, "max_retries": 1}
        self._models = [
            (maker(protocol=protocol, streaming=streaming, **common), streaming)
            for maker in (ChatModelStudio, ModelStudio)
            for protocol in DIALECTS
            for streaming in (True, None)
        ]

    def _draw(self) -> tuple[Fault, str, Any, bool]:
        [fault] = self._random.choices(FAULTS, [fault.weight for fault in FAULTS])
        llm, streaming = self._random.choice(self._models)
        whole = fault.name not in ("left",) and self._random.random() < 0.3
        if whole and streaming is None and fault.name not in ("good", "refuse", "page", "once"):
            whole = False  # what happens in mid-stream happens to streams only
        return fault, str(next(self._numbers)), llm, whole

    async def work(self) -> None:
        while time.monotonic() < self.ends:
            fault, number, llm, whole = self._draw()
            said: list[str] = []
            error: Exception | None = None
            try:
                await self._aask(fault, number, llm, whole, said)
            except Exception as caught:
                error = caught
            self._judge(fault, number, said, error)

    async def _aask(self, fault: Fault, number: str, llm: Any, whole: bool, said: list[str]) -> None:
        question = f"fault {fault.name} number {number}."
        lang = isinstance(llm, ChatModelStudio)
        messages = [ChatMessage(question)]
        if whole:
            said.append((await llm.ainvoke(question)).text if lang else (await llm.achat(messages)).message.content)
            return
        stream = llm.astream(question) if lang else await llm.astream_chat(messages)
        async for item in stream:
            said.append(item.text if lang else item.delta or "")
            if fault.name == "left" and len(said) == 3:
                break

    def work_sync(self) -> None:
        while time.monotonic() < self.ends:
            fault, number, llm, whole = self._draw()
            said: list[str] = []
            error: Exception | None = None
            try:
                self._ask(fault, number, llm, whole, said)
            except Exception as caught:
                error = caught
            self._judge(fault, number, said, error)

    def _ask(self, fault: Fault, number: str, llm: Any, whole: bool, said: list[str]) -> None:
        question = f"fault {fault.name} number {number}."
        lang = isinstance(llm, ChatModelStudio)
        messages = [ChatMessage(question)]
        if whole:
            said.append(llm.invoke(question).text if lang else llm.chat(messages).message.content)
            return
        for item in llm.stream(question) if lang else llm.stream_chat(messages):
            said.append(item.text if lang else item.delta or "")
            if fault.name == "left" and len(said) == 3:
                break

    def _judge(self, fault: Fault, number: str, said: Sequence[str], error: Exception | None) -> None:
        self.tally.judge(fault, number, "".join(said), error, left=fault.name == "left")

    async def close(self) -> None:
        for llm, _ in self._models:
            await llm.aclose()


# ---------------------------------------------------------------- a run


@dataclass(frozen=True)
class Report:
    """The figures of a run."""

    seconds: float
    tally: Tally
    descriptors: tuple[int, int]
    memory: tuple[int, int, int]
    left_open: int

    @property
    def right(self) -> bool:
        """Return True if nothing is wrong, leaked or grown."""
        grown = self.memory[2] - self.memory[1]
        no_leaks = self.descriptors[1] <= self.descriptors[0] and self.left_open == 0
        return not self.tally.wrong and no_leaks and grown < GROWTH

    def lines(self) -> list[str]:
        """Return the report as text."""
        counted = ", ".join(f"{name} {count}" for name, count in sorted(self.tally.outcomes.items()))
        start, warm, end = (size / 1e6 for size in self.memory)
        return [
            f"{sum(self.tally.outcomes.values())} calls in {self.seconds:.0f} s, {WORKERS} at a time: {counted}",
            f"wrong answers: {len(self.tally.wrong)} {self.tally.wrong[:3] or ''}",
            f"descriptors: {self.descriptors[0]} before, {self.descriptors[1]} after; "
            f"connections that the server has open: {self.left_open}",
            f"resident memory: {start:.0f} MB before, {warm:.0f} MB warm, {end:.0f} MB at the end",
        ]


async def run(seconds: float, seed: int = 0) -> Report:
    """Ask for `seconds`, then close everything and measure what is left."""
    server = Server()
    listener = await asyncio.start_server(server, "127.0.0.1", 0, backlog=1024)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    began, before, start = time.monotonic(), descriptors(), resident()
    crowd = Crowd(url, seconds, seed)
    warm = asyncio.create_task(_later(seconds * WARM_UP))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(SYNC_WORKERS) as executor:  # not the loop's own, which looks up host names
        threads = [loop.run_in_executor(executor, crowd.work_sync) for _ in range(SYNC_WORKERS)]
        await asyncio.gather(*threads, *(crowd.work() for _ in range(WORKERS - SYNC_WORKERS)))
    end = resident()
    await crowd.close()
    for _ in range(100):
        if not server.open:
            break
        await asyncio.sleep(0.05)
    gc.collect()
    report = Report(
        time.monotonic() - began, crowd.tally, (before, descriptors()), (start, await warm, end), server.open
    )
    listener.close()
    await listener.wait_closed()
    return report


async def _later(seconds: float) -> int:
    await asyncio.sleep(seconds)
    return resident()


def resident() -> int:
    """Return the resident memory of the process in bytes."""
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # elsewhere, its most; on Windows, nothing tells
        with contextlib.suppress(ImportError):
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = asyncio.run(run(given.seconds, given.seed))
    print(*report.lines(), sep="\n")
    return 0 if report.right else 1


if __name__ == "__main__":
    sys.exit(main())
