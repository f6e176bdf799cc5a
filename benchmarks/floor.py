"""Implement the minimum of any client on httpx, for the floors: split the bytes, parse the JSON of each event.

It handles no errors, tool-call assembly, usage, retries or timeouts, so no correct implementation can be cheaper.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from pydantic_core import from_json

from benchmarks.server import OPENAI

Fragment = dict[str, Any]


class Wire:
    """Call one server with one protocol."""

    def __init__(self, base_url: str, protocol: str) -> None:
        self.openai = protocol == OPENAI
        self.url = base_url + ("/chat/completions" if self.openai else "/services/aigc/text-generation/generation")
        self.sync = httpx.Client()
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    @property
    def client(self) -> httpx.AsyncClient:
        """Return the client of the running loop, without limits on connections and time, which would fail the rows
        with a thousand streams.
        """
        loop = asyncio.get_running_loop()
        if loop not in self._by_loop:
            self._by_loop[loop] = httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=120)
        return self._by_loop[loop]

    def request(self, text: str, stream: bool) -> dict[str, Any]:
        """Return the arguments of httpx."""
        messages = [{"role": "user", "content": text}]
        if not self.openai:
            headers = {"x-dashscope-sse": "enable"} if stream else {}
            parameters = {"result_format": "message"} | ({"incremental_output": True} if stream else {})
            body = {"model": "qwen-plus", "input": {"messages": messages}, "parameters": parameters}
            return {"url": self.url, "json": body, "headers": headers}
        body = {"model": "qwen-plus", "messages": messages}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return {"url": self.url, "json": body}

    def whole(self, data: bytes) -> str:
        """Return the text of a whole response."""
        value = from_json(data)
        text: str = (value if self.openai else value["output"])["choices"][0]["message"]["content"]
        return text

    def read_event(self, block: bytes) -> tuple[str, list[Fragment]] | None:
        """Return the text and tool fragments of an event."""
        at = block.find(b"{")
        if at < 0:
            return None
        value = from_json(block[at:])
        choices = value["choices"] if self.openai else value["output"]["choices"]
        if not choices:
            return "", []
        delta = choices[0]["delta" if self.openai else "message"]
        return delta.get("content", ""), delta.get("tool_calls", ())

    def ask(self, text: str) -> str:
        """Return a whole answer."""
        return self.whole(self.sync.post(**self.request(text, stream=False)).content)

    async def aask(self, text: str) -> str:
        """Async version of `ask`."""
        return self.whole((await self.client.post(**self.request(text, stream=False))).content)

    def stream(self, text: str) -> Iterator[tuple[str, list[Fragment]]]:
        """Yield the content of each event."""
        rest = b""
        with self.sync.stream("POST", **self.request(text, stream=True)) as response:
            for data in response.iter_bytes():
                *blocks, rest = (rest + data).split(b"\n\n")
                for block in blocks:
                    if (said := self.read_event(block)) is not None:
                        yield said

    def whole_stream(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        """Return the joined texts of all events, and the tool call that its fragments make."""
        texts, fragments = [], []
        for said, more in self.stream(text):
            texts.append(said)
            fragments += more
        calls = []
        if fragments:
            arguments = "".join([fragment["function"]["arguments"] for fragment in fragments])
            calls = [{"id": fragments[0]["id"], "name": fragments[0]["function"]["name"], "args": from_json(arguments)}]
        return "".join(texts), calls

    async def astream(self, text: str) -> AsyncIterator[tuple[str, list[Fragment]]]:
        """Async version of `stream`."""
        rest = b""
        async with self.client.stream("POST", **self.request(text, stream=True)) as response:
            async for data in response.aiter_bytes():
                *blocks, rest = (rest + data).split(b"\n\n")
                for block in blocks:
                    if (said := self.read_event(block)) is not None:
                        yield said


class Offline:
    """Yield texts without a network, to measure what the framework alone needs."""

    def __init__(self, events: int) -> None:
        self.events = events

    async def astream(self, text: str) -> AsyncIterator[tuple[str, list[Fragment]]]:
        """Yield the texts."""
        for number in range(self.events):
            yield f"word {number} ", []
            await asyncio.sleep(0)
