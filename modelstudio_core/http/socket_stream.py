"""Connect with httpcore's sync backend, then read and write the socket.

httpcore sets the timeout of the socket for each read, which is a system call. Here it is set when it changes.
"""

from __future__ import annotations

import contextlib
import select
import ssl
import time
from collections.abc import Iterator
from typing import Any

import httpcore

_READ_SIZE = 64 * 1024


class SocketStream:
    """A TCP or TLS connection for one thread at a time."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._timeout: float | None = None  # as set in the socket
        self._limit: float | None = None
        socket.settimeout(None)

    def read(self, seconds: float | None) -> bytes:
        """Return bytes when some have been received; b"" at the end of the connection.

        Raises:
            httpcore.ReadTimeout, httpcore.ReadError: no bytes within `seconds`; the connection was lost.
        """
        if self._limit is not None:
            remaining = max(self._limit - time.monotonic(), 0.001)
            seconds = remaining if seconds is None else min(seconds, remaining)
        try:
            if seconds != self._timeout:
                self._set_timeout(seconds)
            data: bytes = self._socket.recv(_READ_SIZE)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error
        return data

    def write(self, data: bytes, seconds: float | None) -> None:
        """Send `data`.

        Raises:
            httpcore.WriteTimeout, httpcore.WriteError: nothing could be sent within `seconds`; the connection was lost.
        """
        rest = memoryview(data)
        try:
            if seconds != self._timeout:
                self._set_timeout(seconds)
            while rest:
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def _set_timeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)
        self._timeout = seconds

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    @contextlib.contextmanager
    def until(self, seconds: float) -> Iterator[None]:
        """Limit all reads together to `seconds` from now."""
        self._limit = time.monotonic() + seconds
        try:
            yield
        finally:
            self._limit = None

    def is_clean(self) -> bool:
        """Return True if the connection is open, and the server has sent nothing that is unread."""
        tls = self.get_extra_info("ssl_object")
        return not has_unread(self._socket) and not (tls is not None and tls.pending())

    def get_extra_info(self, name: str) -> Any:
        """Return the "socket" or "ssl_object" of the connection, like httpcore's streams."""
        if name == "ssl_object":
            return self._socket if isinstance(self._socket, ssl.SSLSocket) else None
        return self._socket if name == "socket" else None


def connect(host: str, port: int, context: ssl.SSLContext | None, seconds: float | None) -> SocketStream:
    """Return a connection to `host`, encrypted if there is a TLS `context`.

    Raises:
        httpcore.ConnectTimeout, httpcore.ConnectError: if no address can be connected to, or TLS fails.
    """
    stream = httpcore.SyncBackend().connect_tcp(host, port, seconds)
    if context is not None:
        stream = stream.start_tls(context, host, seconds)
    return SocketStream(stream.get_extra_info("socket"))


def has_unread(socket: Any) -> bool:
    """Return True if bytes or the end of the connection can be read from the socket, or it is closed."""
    if socket.fileno() < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))
