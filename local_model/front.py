"""Requests are rewritten (`dialect`) or, where options say so, refused (`refusals`); answers of chat are not changed.

Only the header that concerns the connection is taken away, so that the client's connection lives on. Native embeddings
and rerank have shapes of their own (`retrieval`).
"""

from __future__ import annotations

import json
import socketserver
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, cast

from local_model.dialect import thought_request, to_llama, with_thought
from local_model.options import Options
from local_model.refusals import refusal
from local_model.relay import Address, Answer, ClientLeft, Parts, exchange
from local_model.retrieval import InvalidRequest, Task, check_compatible, failure, task

Backend = Literal["chat", "embeddings"]
_ROOT = "/compatible-mode"  # Model Studio's path before /v1
_CHAT, _EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


class Front(ThreadingHTTPServer):
    """The HTTP server before llama.cpp, on 127.0.0.1: it takes its port when made, and requests once open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: Options) -> None:
        self.options = options
        self.backends: Mapping[Backend, Address] = {}
        super().__init__(("127.0.0.1", options.port), _Handler, bind_and_activate=False)
        self.server_bind()

    def open(self, backends: Mapping[Backend, Address]) -> None:
        """Listens from now on; `backends` are the addresses of llama.cpp's servers."""
        self.backends = backends
        self.server_activate()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own asks the resolver for the host's name

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that leaves is no error
            super().handle_error(request, client_address)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{_ROOT}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal():
            self.send_error(411)
            return
        self._serve(self.rfile.read(int(length)))

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: standard error is kept for failures."""

    def _serve(self, body: bytes) -> None:
        front = cast(Front, self.server)
        path = self.path.removeprefix(_ROOT)
        endpoint = path.partition("?")[0]
        backend: Backend = "embeddings" if endpoint == _EMBEDDINGS else "chat"
        asked = _json(body)
        refused = refusal(front.options, self.headers.get("authorization"), asked)
        try:
            if refused is not None:
                self._send(*refused)
                return
            if self._retrieval(endpoint, asked):
                return
            if endpoint == _CHAT and isinstance(asked, dict):
                body = self._rewritten(asked, front.options)
            with closing(self._exchange(backend, self.command, path, body)) as parts:
                self._pass_on(parts)
        except (ClientLeft, ConnectionError):
            self.close_connection = True

    def _retrieval(self, endpoint: str, asked: Any) -> bool:
        """Answer a request of embeddings or rerank; return False if it is for llama.cpp as it is."""
        try:
            wanted = task(endpoint, asked)
            if wanted is None:
                if endpoint == _EMBEDDINGS:
                    check_compatible(asked)
                return False
            answer = self._embedded(wanted)
        except InvalidRequest as error:
            self._send(400, failure(endpoint, str(error)))
        else:
            self._send(200, answer)
        return True

    def _embedded(self, wanted: Task) -> dict[str, Any]:
        """Return the answer to a task. Raises InvalidRequest, in llama.cpp's words, for a text that is too long."""
        with closing(self._exchange("embeddings", "POST", _EMBEDDINGS, _bytes({"input": wanted.texts}))) as parts:
            answer = _json(b"".join(parts).partition(b"\r\n\r\n")[2])
        if "error" in answer:
            raise InvalidRequest(answer["error"]["message"])
        vectors = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
        return wanted.answer(vectors, answer["usage"]["total_tokens"])

    def _rewritten(self, asked: dict[str, Any], options: Options) -> bytes:
        call = to_llama(asked, options)
        before = thought_request(call)
        if before is not None:
            with closing(self._exchange("chat", "POST", _CHAT, _bytes(before))) as parts:
                answer = b"".join(parts)
            call = with_thought(call, _json(answer.partition(b"\r\n\r\n")[2]))
        return _bytes(call)

    def _exchange(self, backend: Backend, method: str, path: str, body: bytes) -> Parts:
        address = cast(Front, self.server).backends[backend]
        return exchange(address, method, path, body, self.connection)

    def _pass_on(self, parts: Iterable[bytes]) -> None:
        answer = Answer()
        for part in parts:
            self.wfile.write(answer.feed(part))
        if not answer.complete:
            self.close_connection = True  # a cut answer must look like one

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = _bytes(content)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _bytes(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
