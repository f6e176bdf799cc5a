"""Run a server on 127.0.0.1 that sends exactly the bytes that a test specifies, when it specifies.

A script is a callable that gets an `Exchange`: one request, and the means to answer it byte by byte. Nothing here
knows httpx. Connections are kept alive unless a script closes them; leaving the `with` block ends every thread and
raises what a script raised.

    with Loopback(sse({"choices": []})) as server:
        ...
        assert server.requests[0].json()["stream"] is True
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

_REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    401: "Unauthorized",
    429: "Too Many Requests",
}
_GONE = (ConnectionError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True)
class Received:
    """A received request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Stopped(Exception):
    """The server was closed while a script was waiting."""


class Exchange:
    """One request, and the raw connection for its response."""

    def __init__(self, server: Loopback, connection: socket.socket, request: Received, number: int) -> None:
        self.request = request
        self.number = number  # of the request, from 0, over all connections of the server
        self.closed = False
        self._server = server
        self._connection = connection
        self._head_sent = False
        self._chunked = False
        self._ended = False

    def send_head(
        self,
        status: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        chunked: bool = True,
    ) -> None:
        """Send the status line and headers. `chunked` adds transfer-encoding, unless a content-length is given."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
        self._chunked = chunked and not any(name.lower() == "content-length" for name, _ in pairs)
        if self._chunked:
            pairs.append(("Transfer-Encoding", "chunked"))
        lines += [f"{name}: {value}" for name, value in pairs]
        self._head_sent = True
        self.send("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        """Send these bytes unchanged."""
        self._connection.sendall(data)

    def send_together(self, *parts: bytes) -> None:
        """Send several writes (TLS records), in one segment if the system supports it."""
        cork = getattr(socket, "TCP_CORK", socket.TCP_NODELAY)
        self._connection.setsockopt(socket.IPPROTO_TCP, cork, 1)
        for part in parts:
            self.send(part)
        self._connection.setsockopt(socket.IPPROTO_TCP, cork, 0)

    def send_chunk(self, data: bytes) -> None:
        """Send one HTTP chunk, or the plain bytes if the body is not chunked."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """End the body."""
        if not self._ended:
            self._ended = True
            if self._chunked:
                self.send(b"0\r\n\r\n")

    def reset(self) -> None:
        """Reset the TCP connection."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self._connection.close()

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the server is closed."""
        if self._server.stopping.wait(seconds):
            raise Stopped

    def client_gone(self, timeout: float) -> bool:
        """Return True if the client closes or resets the connection within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:  # select() knows no file of a number above 1023
            selector.register(self._connection, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0 and not self._server.stopping.is_set():
                if selector.select(min(left, 0.05)):
                    try:
                        if not self._connection.recv(65536):
                            return True
                    except _GONE:
                        return True
        return False

    def _over(self) -> None:
        if not self.closed and not self._ended:
            self.end() if self._head_sent else self.close()


Script = Callable[[Exchange], None]


class Loopback:
    """The server. `script` answers every request. A list has one script per request; the last one answers all others.

    Attributes:
        requests: the received requests, in order.
        connections: number of accepted TCP connections.
        stopping: set when the server is being closed.
    """

    def __init__(self, script: Script | Sequence[Script], *, tls: ssl.SSLContext | None = None) -> None:
        self._scripts: Sequence[Script] = [script] if callable(script) else list(script)
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor: threading.Thread | None = None
        self._errors: list[Exception] = []
        self.requests: list[Received] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._listener.settimeout(0.1)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Return the number of open connections."""
        with self._lock:
            return len(self._open)

    def wait_until(self, holds: Callable[[Loopback], bool], seconds: float = 1.0) -> bool:
        """Return True if `holds(self)` becomes true within `seconds`."""
        deadline = time.monotonic() + seconds
        while not holds(self):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def __enter__(self) -> Loopback:
        self._acceptor = self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self._errors:
            raise self._errors[0]

    def stop(self) -> None:
        """Close all connections, and stop all threads."""
        self.stopping.set()
        deadline = time.monotonic() + 1
        with contextlib.suppress(OSError):  # wakes accept(), where the system does
            self._listener.shutdown(socket.SHUT_RDWR)
        if self._acceptor is not None:  # first: it may be about to serve one more
            self._acceptor.join(1)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
            threads = list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, target: Callable[..., None], *args: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._lock:
            self._threads = [known for known in self._threads if known.is_alive() or known.ident is None]
            self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
                self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, accepted: socket.socket) -> None:
        connection = accepted
        try:
            connection.settimeout(60)
            if self._tls is not None:
                connection = self._tls.wrap_socket(accepted, server_side=True)
                with self._lock:
                    self._open.discard(accepted)
                    self._open.add(connection)
            buffer = bytearray()
            while (request := _receive(connection, buffer)) is not None:
                with self._lock:
                    number = len(self.requests)
                    self.requests.append(request)
                exchange = Exchange(self, connection, request, number)
                self._scripts[min(number, len(self._scripts) - 1)](exchange)
                exchange._over()
                if exchange.closed:
                    return
        except (*_GONE, Stopped):
            pass  # the client left, or the server ends
        except Exception as error:
            if not self.stopping.is_set():
                self._errors.append(error)
        finally:
            connection.close()
            with self._lock:
                self._open.discard(connection)
                self._open.discard(accepted)


def _receive(connection: socket.socket, buffer: bytearray) -> Received | None:
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    first, *lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(buffer) < length:
        data = connection.recv(65536)
        if not data:
            return None
        buffer += data
    body = bytes(buffer[:length])
    del buffer[:length]
    return Received(method, path, headers, body)


# ---------------------------------------------------------------- scripts


def reply(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Script:
    """Return a script that responds with `body` and a content-length, in one write."""

    def script(exchange: Exchange) -> None:
        lines = {"Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        exchange.send(f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n{head}\r\n".encode() + body)
        exchange._ended = True

    return script


def reply_json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Script:
    """Return a script that responds with `value` as JSON."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return reply(status, body, {"Content-Type": "application/json", **(headers or {})})


def sse_body(*events: Mapping[str, Any] | str | bytes, done: bool = True) -> list[bytes]:
    """Return the events of a compatible stream: mappings as JSON, strings as data, bytes unchanged."""
    written = []
    for event in (*events, *(("[DONE]",) if done else ())):
        if isinstance(event, bytes):
            written.append(event)
        else:
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            written.append(f"data: {data}\n\n".encode())
    return written


def sse(
    *events: Mapping[str, Any] | str | bytes,
    done: bool = True,
    delay: float = 0,
    step: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Script:
    """Return a script that streams `events`, one per chunk, with `delay` seconds before each or in writes of `step`."""
    pieces = sse_body(*events, done=done)
    if step:
        whole = b"".join(pieces)
        pieces = [whole[at : at + step] for at in range(0, len(whole), step)]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream", **(headers or {})})
        for piece in pieces:
            if delay:
                exchange.wait(delay)
            exchange.send_chunk(piece)
        exchange.end()

    return script
