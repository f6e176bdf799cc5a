"""The other end of a benchmark, in a process of its own: an answer prepared before anybody asks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CHUNKS = 2000


def _chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"delta": delta, "finish_reason": finish, "index": 0, "logprobs": None}
    value = {"model": "qwen-plus", "id": "chatcmpl-bench", "choices": [choice], "created": 1, "usage": None}
    return b"data: " + json.dumps({**value, "object": "chat.completion.chunk"}).encode() + b"\n\n"


def stream_body() -> bytes:
    """A stream of `CHUNKS` text chunks, finish and usage in the service's form."""
    usage = {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 9}
    tail = {"model": "qwen-plus", "id": "chatcmpl-bench", "choices": [], "usage": usage}
    text = [_chunk({"content": f"word {i} "}) for i in range(CHUNKS)]
    return b"".join(
        [
            _chunk({"role": "assistant", "content": ""}),
            *text,
            _chunk({}, "stop"),
            b"data: " + json.dumps(tail).encode() + b"\n\ndata: [DONE]\n\n",
        ]
    )


def whole_body() -> bytes:
    """A short whole answer."""
    message = {"role": "assistant", "content": "Hello."}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "chatcmpl-bench", "model": "qwen-plus", "choices": [choice], "usage": usage}).encode()


async def _serve() -> None:
    streamed, whole = stream_body(), whole_body()
    head = "HTTP/1.1 200 OK\r\ncontent-type: {}\r\n{}\r\n\r\n"
    sse = head.format("text/event-stream;charset=UTF-8", "transfer-encoding: chunked").encode()
    sse += b"%x\r\n%b\r\n0\r\n\r\n" % (len(streamed), streamed)
    plain = head.format("application/json", f"content-length: {len(whole)}").encode() + whole

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(request.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                writer.write(sse if b'"stream":true' in body.replace(b" ", b"") else plain)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent is gone
    os._exit(0)  # with connections still open, on purpose


@contextmanager
def running() -> Iterator[str]:
    """The server's base URL, for as long as the block runs."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}/compatible-mode/v1"
        child.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve())
