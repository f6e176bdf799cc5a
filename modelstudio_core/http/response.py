"""Read the body of one response as it arrives, then reuse or close its connection.

The sync and async code have the same structure; change both together. Every error that httpx raises is converted to an
error of this package.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx

from modelstudio_core.errors import APITimeoutError, ConfigurationError, ModelStudioError
from modelstudio_core.http import shared_pools
from modelstudio_core.http.errors import HTTPX_ERRORS, closed_early, convert_error, host_and_port, wrong_owner
from modelstudio_core.http.event_loop import running_loop
from modelstudio_core.http.framing import AsyncReader, Reader, body_reader
from modelstudio_core.http.pool import shut_down
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.types import ResponseHead

_log = logging.getLogger("modelstudio_core")

# Limits for reading the rest of the body after the protocol's own end marker. Most servers send both together.
DRAIN_BYTES = 64 * 1024
DRAIN_SECONDS = 0.1
# Seconds to wait for usage, `[DONE]` or the end of the body after an answer is complete.
TRAILING_SECONDS = 5.0


class Response:
    """A response whose head has been received. Iterate over the body, then call `finish`.

    Iteration yields the bytes as they arrive. `close` can be called at any time, from any thread.

    Raises:
        APIConnectionError, APITimeoutError, ProtocolError, ConfigurationError: while iterating.
    """

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts, *, injected: bool = False) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._timeouts = limits
        self._injected = injected
        self._fork_count = shared_pools.fork_count
        self._reading = False  # a thread is in __next__
        self._is_complete = False  # the body was read to its end
        self._aborted = False  # closed before the end of the body
        self._closed = False
        self._trailing_deadline: float | None = None
        self._network = _exclusive_connection(response)
        self._reader = body_reader(Reader, self._network, response)
        body: Any = _consumed_body(response) if _is_consumed(response) else response.stream
        self._chunks: Iterator[bytes] = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._aborted:
            raise closed_early()
        if self._fork_count != shared_pools.fork_count:
            raise wrong_owner("process")
        self._reading = True
        try:
            chunk = next(self._chunks)
        except BaseException as error:
            self._reading = False
            self._is_complete = isinstance(error, StopIteration)
            aborted = self._aborted
            self.close()
            if not isinstance(error, HTTPX_ERRORS):
                raise
            failed = closed_early() if aborted else _body_error(error, self._url, self._timeouts)
        else:
            self._reading = False
            return chunk
        raise failed

    def read_trailing(self, extend: bool = False) -> bytes | None:
        """Return the next bytes after a complete answer, or None at the end of the body or on a timeout.

        The timeout is `TRAILING_SECONDS` from the first call, or from the last one with `extend`, and at most the read
        timeout.
        """
        if extend or self._trailing_deadline is None:
            self._trailing_deadline = time.monotonic() + TRAILING_SECONDS
        if self._reader is None:
            return next(self, None)
        try:
            with self._reader.until(self._trailing_deadline - time.monotonic()):
                return next(self, None)
        except APITimeoutError:
            return None

    def finish(self) -> None:
        """Read the rest of the body within `DRAIN_BYTES` and `DRAIN_SECONDS`, to reuse the connection. Never raises."""
        remaining = DRAIN_BYTES
        try:
            if self._reader is not None and not self._closed:
                with contextlib.suppress(Exception), self._reader.until(DRAIN_SECONDS):
                    for chunk in self._chunks:
                        remaining -= len(chunk)
                        if remaining < 0:
                            break
                    else:
                        self._is_complete = True
        finally:
            self.close()

    def close(self) -> None:
        """Close the response, and the connection too unless the body was read to its end. Never raises."""
        if not self._is_complete and not self._aborted:
            self._aborted = True
            _log.debug("response from %s closed before its end", host_and_port(self._url))
            if self._fork_count == shared_pools.fork_count:
                shut_down(self._network)
        # shut_down ends the read in another thread, which then closes the response
        if not self._closed and not self._reading:
            self._closed = True
            if self._injected and self._is_complete and self._reader is not None and not self._reader.prepare_reuse():
                shut_down(self._network)
            with contextlib.suppress(Exception):
                self._response.close()


class AsyncResponse:
    """Async version of `Response`."""

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts, *, injected: bool = False) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._timeouts = limits
        self._injected = injected
        self._fork_count = shared_pools.fork_count
        self._loop = running_loop()
        self._is_complete = False
        self._aborted = False
        self._closed = False
        self._trailing_deadline: float | None = None
        self._network = _exclusive_connection(response)
        self._reader = body_reader(AsyncReader, self._network, response)
        body: Any = _aconsumed_body(response) if _is_consumed(response) else response.stream
        self._chunks: AsyncIterator[bytes] = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._aborted:
            raise closed_early()
        if self._fork_count != shared_pools.fork_count:
            raise wrong_owner("process")
        try:
            return await anext(self._chunks)
        except BaseException as error:
            self._is_complete = isinstance(error, StopAsyncIteration)
            aborted = self._aborted
            await self.aclose()
            if isinstance(error, RuntimeError) and running_loop() is not self._loop:
                failed = wrong_owner("event loop")
            elif not isinstance(error, HTTPX_ERRORS):
                raise
            else:
                failed = closed_early() if aborted else _body_error(error, self._url, self._timeouts)
        raise failed

    async def aread_trailing(self, extend: bool = False) -> bytes | None:
        """Async version of `Response.read_trailing`."""
        if extend or self._trailing_deadline is None:
            self._trailing_deadline = time.monotonic() + TRAILING_SECONDS
        if self._reader is None:
            return await anext(self, None)
        try:
            with self._reader.until(self._trailing_deadline - time.monotonic()):
                return await anext(self, None)
        except APITimeoutError:
            return None

    async def afinish(self) -> None:
        """Async version of `Response.finish`. Cancellation is not suppressed."""
        remaining = DRAIN_BYTES
        try:
            if self._reader is not None and not self._closed:
                with contextlib.suppress(Exception), self._reader.until(DRAIN_SECONDS):
                    async for chunk in self._chunks:
                        remaining -= len(chunk)
                        if remaining < 0:
                            break
                    else:
                        self._is_complete = True
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Async version of `Response.close`."""
        if not self._is_complete and not self._aborted:
            self._aborted = True
            _log.debug("response from %s closed before its end", host_and_port(self._url))
            if self._fork_count == shared_pools.fork_count:
                shut_down(self._network)
        if not self._closed:
            self._closed = True
            if self._injected and self._is_complete and self._reader is not None and not self._reader.prepare_reuse():
                shut_down(self._network)
            with contextlib.suppress(Exception):
                await self._response.aclose()


def _body_error(error: Exception, url: str, limits: Timeouts) -> ModelStudioError:
    return convert_error(error, url, limits, head_received=True, reading_body=True)


def _is_consumed(response: httpx.Response) -> bool:
    """Return True if the injected client (its hook, auth flow or transport) has read or closed the body."""
    return response.is_stream_consumed or response.is_closed


def _consumed_body(response: httpx.Response) -> Iterator[bytes]:
    """Yield the body of a response that was already read, or nothing for an error response that was closed unread.

    Raises:
        ConfigurationError: if the body of a successful response is no longer available.
    """
    try:
        yield response.content
    except httpx.ResponseNotRead:
        if response.is_success:
            raise ConfigurationError(
                "a response hook of the injected httpx client consumed or closed the body: call response.read() or "
                "aread() in the hook, which keeps the body"
            ) from None


async def _aconsumed_body(response: httpx.Response) -> AsyncIterator[bytes]:
    for chunk in _consumed_body(response):
        yield chunk


def _exclusive_connection(response: httpx.Response) -> Any:
    """Return the network stream that only this response uses, or None.

    vcrpy and MockTransport have no network stream, HTTP/2 responses share one, and after the body was read, another
    request may use it.
    """
    if response.http_version == "HTTP/2" or _is_consumed(response):
        return None
    return response.extensions.get("network_stream")
