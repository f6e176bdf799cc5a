"""Serve prepared responses for the benchmarks, in a separate process.

The first part of the path selects the kind of response; the rest is the service's path in either protocol:
    burst-N   N text chunks, all at once
    each-N    N text chunks, one a write, a little apart, so that each is read alone
    calm-N    N text chunks, 20 a second, each of which says when it was sent
    held-N    N text chunks, one a write, far enough apart that each is read alone; the stream stays open
    tools-N   one tool call whose arguments come in N fragments, all at once
    apart-N   the same, one a write
    first     one text chunk that says when it was sent; the rest 30 ms later
    embed     100 ms later, a vector of 1,024 numbers for each text, the first of which is the number in the text
A request that does not ask for a stream gets a short whole answer. GET /accepted: how many connections there were.

`python -m benchmarks.server [CERTIFICATE KEY]` prints its port, and serves TLS if it is given a certificate.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

OPENAI, DASHSCOPE, RESPONSES = "openai", "dashscope", "responses"  # the last at the path of the first
PATHS = {OPENAI: "compatible-mode/v1", DASHSCOPE: "api/v1"}
APART = 0.0004  # seconds between two writes of "each" and "apart"
HELD_APART = 0.02  # seconds between two writes of "held", of which there are many streams
CALM_TICK = 0.005  # "calm" streams are spread over the ticks of 50 ms
EMBED_SECONDS, DIMENSIONS = 0.1, 1024
STAMP = b"#" * 20  # replaced by the time of the write, in ns of the system's monotonic clock


# ---------------------------------------------------------------- what is said


def _openai_event(delta: dict[str, object] | None, finish: str | None = None, tokens: int = 0) -> bytes:
    choice = {"delta": delta, "finish_reason": finish, "index": 0, "logprobs": None}
    usage = {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens} if tokens else None
    value = {
        "choices": [choice] if delta is not None else [],
        "object": "chat.completion.chunk",
        "usage": usage,
        "created": 1770000000,
        "system_fingerprint": None,
        "model": "qwen-plus",
        "id": "chatcmpl-3f0c2b7e-7a51-9d6e-8a54-6a0f4e4f0b11",
    }
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _native_event(number: int, delta: dict[str, object], finish: str = "null") -> bytes:
    message = {"content": "", "reasoning_content": "", "role": "assistant", **delta}
    value = {
        "output": {"choices": [{"message": message, "index": 0, "finish_reason": finish}]},
        "usage": {"total_tokens": 9 + number, "output_tokens": number, "input_tokens": 9},
        "request_id": "3f0c2b7e-7a51-9d6e-8a54-6a0f4e4f0b11",
    }
    data = json.dumps(value, separators=(",", ":")).encode()
    return b"id:%d\nevent:result\n:HTTP_STATUS/200\ndata:%b\n\n" % (number, data)


def _responses_event(number: int, kind: str, **fields: object) -> bytes:
    data = json.dumps({"type": kind, "sequence_number": number, **fields}, separators=(",", ":")).encode()
    return b"id:%d\nevent:%b\n:HTTP_STATUS/200\ndata:%b\n\n" % (number + 1, kind.encode(), data)


def _responses_events(deltas: list[dict[str, object]]) -> list[bytes]:
    """Return the events of a text, as the Responses protocol has them."""
    place = {"item_id": "msg_1", "output_index": 0}
    item: dict[str, object] = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    text = "".join(str(delta["content"]) for delta in deltas)
    part = {"type": "output_text", "text": text, "annotations": []}
    made: dict[str, object] = {
        "id": "resp_1", "object": "response", "created_at": 1770000000, "model": "qwen-plus", "status": "queued",
        "output": [], "parallel_tool_calls": False, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    usage = {
        "input_tokens": 9, "output_tokens": len(deltas), "total_tokens": 9 + len(deltas),
        "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    done = {**item, "status": "completed", "content": [part]}
    said: list[tuple[str, dict[str, object]]] = [
        ("response.created", {"response": made}),
        ("response.in_progress", {"response": {**made, "status": "in_progress"}}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("response.content_part.added", {**place, "content_index": 0, "part": {**part, "text": ""}}),
        *(("response.output_text.delta", {**place, "content_index": 0, "delta": d["content"]}) for d in deltas),
        ("response.output_text.done", {**place, "content_index": 0, "text": text}),
        ("response.content_part.done", {**place, "content_index": 0, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": done}),
        ("response.completed", {"response": {**made, "status": "completed", "output": [done], "usage": usage}}),
    ]
    return [_responses_event(number, kind, **fields) for number, (kind, fields) in enumerate(said)]


def _deltas(kind: str, count: int) -> list[dict[str, object]]:
    if kind == "first":
        return [{"content": STAMP.decode()}, {"content": " and more"}]
    if kind == "calm":
        return [{"content": STAMP.decode()} for _ in range(count)]
    if kind not in ("tools", "apart"):
        return [{"content": f"word {i} "} for i in range(count)]
    pieces = ['{"text": "', *(f"word {i} " for i in range(count - 2)), '"}']
    calls = []
    for position, piece in enumerate(pieces):
        function = {"name": "note", "arguments": piece} if position == 0 else {"arguments": piece}
        id = "call_0e4e055c658b4076bf302b" if position == 0 else ""
        calls.append({"tool_calls": [{"index": 0, "id": id, "type": "function", "function": function}]})
    return list(calls)


@lru_cache
def events(protocol: str, kind: str, count: int) -> list[bytes]:
    """Return the events of a stream as HTTP chunks."""
    deltas = _deltas(kind, count)
    finish = "tool_calls" if kind in ("tools", "apart") else "stop"
    if protocol == OPENAI:
        said = [_openai_event(delta) for delta in deltas]
        said[0] = _openai_event({"role": "assistant", **deltas[0]})
        said += [_openai_event({}, finish), _openai_event(None, tokens=count) + b"data: [DONE]\n\n"]
    elif protocol == RESPONSES:
        said = _responses_events(deltas)
    else:
        said = [_native_event(number, delta) for number, delta in enumerate(deltas, 1)]
        said.append(_native_event(len(deltas) + 1, {}, finish))
    return [b"%x\r\n%b\r\n" % (len(event), event) for event in said]


@lru_cache
def burst(protocol: str, kind: str, count: int) -> bytes:
    """Return the same events in one write."""
    return b"".join(events(protocol, kind, count))


@lru_cache
def whole(protocol: str) -> bytes:
    """Return a short non-streamed response."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}
    if protocol == OPENAI:
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        value: dict[str, object] = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1770000000}
        value |= {"model": "qwen-flash", "choices": [choice], "usage": usage}
    else:
        value = {"output": {"choices": [choice]}, "usage": {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}}
        value["request_id"] = "3f0c2b7e-7a51-9d6e-8a54-6a0f4e4f0b11"
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


@lru_cache
def _numbers() -> str:
    """Return all numbers of a vector but the first, as JSON."""
    numbers = random.Random(1)
    return ",".join(repr(numbers.uniform(-0.1, 0.1)) for _ in range(DIMENSIONS - 1))


def embeddings(protocol: str, body: bytes) -> bytes:
    """Return a response with the vectors of the texts in `body`."""
    given = json.loads(body)["input"]
    texts = given if protocol == OPENAI else given["texts"]
    texts = [texts] if isinstance(texts, str) else texts
    index = "index" if protocol == OPENAI else "text_index"
    items = ",".join(
        f'{{"{index}":{at},"embedding":[{text.split()[-1]}.0,{_numbers()}]}}' for at, text in enumerate(texts)
    )
    usage = '"usage":{"prompt_tokens":70,"total_tokens":70}'
    if protocol == OPENAI:
        said = f'{{"data":[{items}],"object":"list","model":"text-embedding-v4",{usage},"id":"1"}}'
    else:
        said = f'{{"output":{{"embeddings":[{items}]}},{usage},"request_id":"1"}}'
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n"
    return (head + said).encode()


# ---------------------------------------------------------------- how it is sent

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream;charset=UTF-8\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class _Connection(asyncio.Protocol):
    accepted = 0
    buckets: tuple[dict[_Connection, Iterator[bytes]], ...] = tuple({} for _ in range(10))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        _Connection.accepted += 1
        self.number = _Connection.accepted
        self.transport = transport
        self.received = b""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.buckets[self.number % len(self.buckets)].pop(self, None)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        length = int(lower.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length:
            self.received = body[length:]
            self._answer(head, lower, body[:length])

    def _answer(self, head: bytes, lower: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path == "/accepted":
            said = str(_Connection.accepted - 1).encode()  # excluding this connection
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
            return
        kind, _, count = path.split("/")[1].partition("-")
        protocol = RESPONSES if path.endswith("/responses") else OPENAI if PATHS[OPENAI] in path else DASHSCOPE
        if kind == "embed":
            answer = embeddings(protocol, body)
            asyncio.get_running_loop().call_later(EMBED_SECONDS, self._write, answer)
            return
        streams = b'"stream":true' in body.replace(b" ", b"") or b"text/event-stream" in lower or b"-sse:" in lower
        if not streams:
            self.transport.write(whole(protocol))
        elif kind in ("burst", "tools"):
            self.transport.write(HEAD + burst(protocol, kind, int(count)) + END)
        elif kind == "held":
            self.transport.write(HEAD)
            self._next(iter(events(protocol, kind, int(count))[: int(count)]), HELD_APART, b"")
        elif kind == "calm":
            self.transport.write(HEAD)
            self.buckets[self.number % len(self.buckets)][self] = iter(events(protocol, kind, int(count)))
        elif kind == "first":
            now, *rest = events(protocol, kind, 2)
            asyncio.get_running_loop().call_later(0.03, self._write, b"".join(rest) + END)
            self.transport.write(HEAD + _stamped(now))
        else:
            self.transport.write(HEAD)
            self._next(iter(events(protocol, kind, int(count))), APART, END)

    def _next(self, rest: Iterator[bytes], seconds: float, end: bytes) -> None:
        """Write the next event, and the others `seconds` apart, then `end`."""
        event = next(rest, None)
        self._write(event or end)
        if event:
            asyncio.get_running_loop().call_later(seconds, self._next, rest, seconds, end)

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


def _stamped(event: bytes) -> bytes:
    return event.replace(STAMP, b"%020d" % time.monotonic_ns())


async def _keep_calm() -> None:
    """Write to each slow stream every 50 ms, to a tenth of them at a time."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        for bucket in _Connection.buckets:
            for connection, rest in list(bucket.items()):
                event = next(rest, None)
                connection._write(_stamped(event) if event else END)
                if not event:
                    bucket.pop(connection, None)
            due += CALM_TICK
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _serve(certificate: list[str]) -> None:
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=2048, ssl=context)
    calm = asyncio.create_task(_keep_calm())
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until the parent exits
    calm.cancel()
    os._exit(0)  # intentionally with open connections


def url(origin: str, kind: str, protocol: str) -> str:
    """Return the base URL for responses of this `kind`."""
    return f"{origin}/{kind}/{PATHS[protocol]}"


@contextmanager
def running(*certificate: str) -> Iterator[str]:
    """Yield the server's origin for the duration of the block. `certificate` names its file and that of its key."""
    command = [sys.executable, "-m", "benchmarks.server", *certificate]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{child.stdout.readline().strip()}"
        child.stdin.close()


@contextmanager
def new_certificate() -> Iterator[tuple[str, str]]:
    """Yield files with a new certificate of 127.0.0.1 and its key. Raises FileNotFoundError without openssl."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
        command = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        )
        command += f" -out {certificate} -keyout {key}"
        subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)
        yield certificate, key


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1:]))
