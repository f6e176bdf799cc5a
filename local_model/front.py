"""Serve Model Studio's API in front of llama.cpp's servers.

Chat requests are converted (`dialect`) or, depending on the options, rejected (`refusals`). Chat responses are relayed
unchanged, except for the Connection header, so that the client can reuse its connection; those with reasoning get its
number of tokens (`dialect.counted`). Native embeddings and rerank
are converted in `retrieval`, and the Responses protocol in `responses`. Files and temporary uploads are kept in
`files`, and batch jobs run in `batches`.
"""

from __future__ import annotations

import json
import socketserver
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain
from typing import Any, Literal, TypeVar, cast
from uuid import uuid4

from local_model.batches import Batches, asker
from local_model.dialect import Thought, counted, opens_again, reasoning_request, to_llama, with_reasoning
from local_model.files import STORE, FileStore
from local_model.options import Options
from local_model.refusals import not_served, rejection
from local_model.relay import Address, ClientDisconnected, Parts, RelayedResponse, exchange, parsed
from local_model.responses import Memory, Texts, Writer, chat_body, framed, input_items, search_of
from local_model.retrieval import InvalidRequest, Task, check_compatible, failure, fitted, must_be_counted, task

Backend = Literal["chat", "embeddings"]
Json = dict[str, Any]
T = TypeVar("T")
_ROOT = "/compatible-mode"  # Model Studio's path before /v1
_CHAT, _EMBEDDINGS, _RESPONSES = "/v1/chat/completions", "/v1/embeddings", "/v1/responses"


class LlamaError(Exception):
    """llama.cpp refused a request with this status and JSON body, or ended a stream with this body."""

    def __init__(self, status: int, content: Json) -> None:
        super().__init__(status, content)
        self.status, self.content = status, content


class ApiServer(ThreadingHTTPServer):
    """HTTP server on 127.0.0.1. It binds its port when created, and accepts requests after `open`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: Options) -> None:
        self.options = options
        self.backends: Mapping[Backend, Address] = {}
        self.files = FileStore()
        self.memory = Memory()
        self.texts = Texts(options.texts)
        super().__init__(("127.0.0.1", options.port), _Handler, bind_and_activate=False)
        self.server_bind()
        here: Address = ("127.0.0.1", self.server_address[1])
        self.batches = Batches(self.files, asker(here, f"{_ROOT}{_CHAT}", options.api_key))

    def open(self, backends: Mapping[Backend, Address]) -> None:
        """Accept requests. `backends` are the addresses of llama.cpp's servers."""
        self.backends = backends
        self.server_activate()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer.server_bind would look up the host name

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a disconnected client is not an error
            super().handle_error(request, client_address)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{_ROOT}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(b"")

    def do_DELETE(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal():
            self.send_error(411)
            return
        self._serve(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because standard error is for failures."""

    def _serve(self, body: bytes) -> None:
        front = cast(ApiServer, self.server)
        path = self.path.removeprefix(_ROOT)
        endpoint = path.partition("?")[0]
        backend: Backend = "embeddings" if endpoint == _EMBEDDINGS else "chat"
        headers = {name.lower(): value for name, value in self.headers.items()}
        payload = _json(body) if not headers.get("content-type", "").startswith("multipart/") else None
        # an upload to temporary storage is authorized by a policy, not by a key
        rejected = None if endpoint == STORE else rejection(front.options, headers.get("authorization"), payload)
        try:
            if rejected is not None:
                self._send(*rejected)
                return
            reply = front.files.reply(self.command, path, headers, body) or front.batches.reply(
                self.command, path, payload
            )
            if reply is not None:
                self._send(reply.status, reply.content)
                return
            if self._retrieval(endpoint, payload):
                return
            if (missing := not_served(endpoint)) is not None:
                self._send(404, missing)
                return
            if endpoint == _RESPONSES and self.command == "POST":
                self._respond(payload)
                return
            if endpoint == _CHAT and isinstance(payload, dict):
                call = to_llama(front.files.resolve(payload, headers), front.options)
                if call["chat_template_kwargs"]["enable_thinking"]:
                    self._think_aloud(call)
                    return
                body = _bytes(call)
            with closing(self._exchange(backend, self.command, path, body)) as parts:
                self._pass_on(parts)
        except InvalidRequest as error:  # a chat refers to an invalid file
            self._send(400, failure(endpoint, str(error)))
        except LlamaError as error:
            self._send(error.status, error.content)
        except (ClientDisconnected, ConnectionError, HTTPException):  # HTTPException: llama.cpp's answer is cut
            self.close_connection = True

    def _retrieval(self, endpoint: str, payload: Any) -> bool:
        """Respond to an embedding or rerank request. Return False if it must be relayed to llama.cpp unchanged."""
        try:
            retrieval_task = task(endpoint, payload)
            if retrieval_task is None:
                if endpoint == _EMBEDDINGS:
                    self._fitted(check_compatible(payload), truncate=False)
                return False
            answer = self._run_task(retrieval_task)
        except InvalidRequest as error:
            self._send(400, failure(endpoint, str(error)))
        else:
            self._send(200, answer)
        return True

    # ---------------------------------------------------------------- Responses

    def _respond(self, payload: Any) -> None:
        front = cast(ApiServer, self.server)
        try:
            if not isinstance(payload, dict):
                raise InvalidRequest("the body is not a JSON object")
            items = [*front.memory.read(payload.get("previous_response_id")), *input_items(payload)]
            writer = Writer(payload)
            events = self._response_events(payload, items, writer)
            first = next(events)
        except InvalidRequest as error:
            self._send(400, {"code": "InvalidParameter", "message": str(error), "request_id": str(uuid4())})
            return
        if payload.get("stream"):
            self._send_events(framed(*numbered) for numbered in enumerate(chain([first], events), 1))
        else:
            deque(events, maxlen=0)
            if failed := writer.response["error"]:
                self._send(400, {**failed, "request_id": str(uuid4())})
                return
            self._send(200, writer.response)
        if payload.get("store") is not False and writer.response["status"] in ("completed", "incomplete"):
            front.memory.keep(writer.response["id"], [*items, *writer.response["output"]])

    def _response_events(self, payload: dict[str, Any], items: list[dict[str, Any]], writer: Writer) -> Iterator[Any]:
        front, found = cast(ApiServer, self.server), []
        if search := search_of(payload, items):
            found = front.texts.search(search[1], lambda texts: self._run_task(Task(texts, lambda made, _: made)))
        call = to_llama(chat_body(payload, items, found), front.options)
        yield from writer.start()
        if search:
            yield from writer.searched(*search, found)
        try:
            for chunk in self._chunks(call):
                yield from writer.feed(chunk)
        except LlamaError as refused:
            error = refused.content.get("error") or {}
            yield from writer.failed("InvalidParameter", str(error.get("message", "llama.cpp failed")))
            return
        yield from writer.end()

    def _send_events(self, events: Iterable[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream;charset=UTF-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def _fitted(self, texts: Sequence[str], *, truncate: bool) -> list[str | list[int]]:
        """Return texts within the model's limit, the long ones as tokens. Raises InvalidRequest; see `fitted`."""
        fits: list[str | list[int]] = []
        for text in texts:
            if not must_be_counted(text):
                fits.append(text)
                continue
            asked = _bytes({"content": text, "add_special": True})
            with closing(self._exchange("embeddings", "POST", "/tokenize", asked)) as parts:
                answer = _read(parts)
            fits.append(fitted(text, answer["tokens"], truncate=truncate))
        return fits

    def _run_task(self, retrieval_task: Task[T]) -> T:
        """Return the response to a task. Raises InvalidRequest if a text is too long."""
        texts = self._fitted(retrieval_task.texts, truncate=retrieval_task.truncate)
        with closing(self._exchange("embeddings", "POST", _EMBEDDINGS, _bytes({"input": texts}))) as parts:
            try:
                answer = _read(parts)
            except LlamaError as error:
                raise InvalidRequest(error.content["error"]["message"]) from None
        vectors = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        return retrieval_task.answer(vectors, answer["usage"]["total_tokens"])

    # ---------------------------------------------------------------- reasoning

    def _think_aloud(self, call: Json) -> None:
        """Send the answer to a call that thinks, whole or as a stream."""
        if not call.get("stream"):
            self._send(200, self._whole(call))
            return
        chunks = self._chunks(call)
        first = next(chunks)  # a refusal raises LlamaError before the status is sent
        self._send_events(_sse(chain([first], chunks)))

    def _whole(self, call: Json) -> Json:
        thought = Thought()
        deque(self._before(call, thought), maxlen=0)
        if thought.text:
            call = with_reasoning(call, thought.text)
        with closing(self._exchange("chat", "POST", _CHAT, _bytes(call))) as parts:
            answer = _read(parts)
        if not thought.before:
            thought.read(answer)
        return counted(answer, self._length(thought), thought.before)

    def _chunks(self, call: Json) -> Iterator[Json]:
        """Yield the chunks of a streamed answer, with the reasoning in its usage. Raises LlamaError."""
        thought, opened = Thought(), {}
        for chunk in self._before(call, thought):
            opened = {"id": chunk["id"], "created": chunk["created"]}
            yield chunk
        if thought.text:
            call = with_reasoning(call, thought.text)
        for chunk in self._streamed(call):
            if not opened:
                thought.read(chunk)
            elif opens_again(chunk):
                continue
            yield {**(counted(chunk, self._length(thought), thought.before) if "usage" in chunk else chunk), **opened}

    def _before(self, call: Json, thought: Thought) -> Iterator[Json]:
        """Yield the chunks of the reasoning before a forced call, and add it to `thought`; none for other calls."""
        first = reasoning_request(call)
        for chunk in self._streamed(first) if first is not None else ():
            if thought.read_before(chunk):
                yield chunk

    def _streamed(self, call: Json) -> Iterator[Json]:
        """Yield the chunks of a stream. Raises LlamaError, or ConnectionError if llama.cpp does not end it."""
        with closing(self._exchange("chat", "POST", _CHAT, _bytes(call))) as parts:
            answer = parsed(parts)
            if answer.status != 200:
                raise LlamaError(answer.status, _json(answer.read()) or {})
            for line in answer:
                if line.startswith(b"data: {"):
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        raise LlamaError(500, chunk)
                    yield chunk
                elif line.startswith(b"data: [DONE]"):
                    return
            raise ConnectionError("llama.cpp closed the connection in a stream")

    def _length(self, thought: Thought) -> int:
        """Return the number of tokens of a thought."""
        if thought.before or not thought.text:
            return thought.before
        with closing(self._exchange("chat", "POST", "/tokenize", _bytes({"content": thought.text}))) as parts:
            return len(_read(parts)["tokens"])

    def _exchange(self, backend: Backend, method: str, path: str, body: bytes) -> Parts:
        address = cast(ApiServer, self.server).backends[backend]
        return exchange(address, method, path, body, self.connection)

    def _pass_on(self, parts: Iterable[bytes]) -> None:
        response = RelayedResponse()
        for part in parts:
            self.wfile.write(response.feed(part))
        if not response.complete:
            self.close_connection = True  # a truncated response must be visible as truncated

    def _send(self, status: int, content: dict[str, Any] | bytes) -> None:
        body = content if isinstance(content, bytes) else _bytes(content)
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _read(parts: Parts) -> Json:
    """Return the JSON of a response. Raises LlamaError unless its status is 200."""
    answer = parsed(parts)
    content: Json = _json(answer.read()) or {}
    if answer.status != 200:
        raise LlamaError(answer.status, content)
    return content


def _sse(chunks: Iterable[Json]) -> Iterator[bytes]:
    """Yield the events of a chat stream. An error in the stream ends it."""
    try:
        for chunk in chunks:
            yield b"data: %b\n\n" % _bytes(chunk)
        yield b"data: [DONE]\n\n"
    except LlamaError as error:
        yield b"data: %b\n\n" % _bytes(error.content)


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
