"""Send one POST and read its response as it arrives. Sleep between attempts.

A `Transport` owns no connection. Connections are shared by all transports of the process (see `pool`), so time limits
and key come with each request. Sync and async are twins, in the same order of lines. Whatever httpx raises leaves here
as one of this package's errors, without the request that failed, which holds the key.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict
from functools import lru_cache
from types import NoneType
from typing import Any, TypeAlias

import httpx

from modelstudio_core.errors import APITimeoutError, ConfigurationError, ModelStudioError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http import pool as connections
from modelstudio_core.http.errors import (
    FAILURES,
    UnusableClient,
    failure_of,
    is_elsewhere,
    place_of,
    was_closed,
)
from modelstudio_core.http.framing import AsyncReader, Reader, Trace
from modelstudio_core.http.timeouts import TimeoutLike, Timeouts, timeouts
from modelstudio_core.types import ResponseHead

_log = logging.getLogger("modelstudio_core")

# What is read behind the protocol's own end of a stream. Most servers send the end of the body with it or just after.
DRAIN_BYTES = 64 * 1024
DRAIN_SECONDS = 0.1
# Seconds to wait for something new once an answer is complete: usage, `[DONE]` or the end of the body may follow.
SETTLE_SECONDS = 5.0

_IDENTITY = {"accept-encoding": "identity"}  # an injected client would ask for codings
# what an httpx client adds, but for the coding; a bare httpx.Request has none of it
_HEADERS = {"accept": "*/*", **_IDENTITY, "connection": "keep-alive"}


# The types of what callers inject, for modules that do not import httpx.
HttpClient: TypeAlias = httpx.Client
AsyncHttpClient: TypeAlias = httpx.AsyncClient
HttpTimeout: TypeAlias = httpx.Timeout


# ---------------------------------------------------------------- one request


class Transport:
    """Sends requests and sleeps. Cheap to construct: no connection is opened before the first request.

    Args:
        timeout: seconds, an `httpx.Timeout`, or `Timeouts`; see `timeouts`.
        http_client: used for sync requests as it is, and never closed here.
        http_async_client: the same for async requests.
    """

    def __init__(
        self,
        *,
        timeout: float | TimeoutLike | None = None,
        http_client: httpx.Client | None = None,
        http_async_client: httpx.AsyncClient | None = None,
    ) -> None:
        if not isinstance(http_client, (httpx.Client, NoneType)) or not isinstance(
            http_async_client, (httpx.AsyncClient, NoneType)
        ):
            raise ConfigurationError("http_client takes an httpx.Client, http_async_client an httpx.AsyncClient")
        self._limits = timeouts(timeout)
        self._client = http_client
        self._async_client = http_async_client

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._limits, self._client, self._async_client)

    def open(self, url: str, headers: Mapping[str, str], body: bytes, timeout: Timeouts | None = None) -> Response:
        """POST `body` and return once the head of the response has come. Redirects are not followed.

        `timeout` replaces the transport's for this request.

        Raises ConfigurationError, APIConnectionError, APITimeoutError or ProtocolError.
        """
        limits = timeout or self._limits
        trace = Trace()
        failed: ModelStudioError | None = None
        try:
            extensions = {"timeout": asdict(limits), "trace": trace.note}
            request = _request(self._client, url, headers, body, extensions)
            if self._client is not None:
                with _injected("http_client"):
                    response = self._client.send(request, stream=True, follow_redirects=False)
            else:
                response = connections.shared(self).handle_request(request)
        except httpx.HTTPStatusError as error:  # of a response hook that calls raise_for_status()
            response = error.response
        except FAILURES as error:
            failed = failure_of(error, url, limits, begun=trace.answered)
        del headers  # a traceback that shows locals would show the key
        if failed is not None:
            raise failed
        return Response(response, url, limits, injected=self._client is not None)

    async def aopen(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: Timeouts | None = None
    ) -> AsyncResponse:
        """The async twin of `open`."""
        limits = timeout or self._limits
        trace = Trace()
        failed: ModelStudioError | None = None
        try:
            extensions = {"timeout": asdict(limits), "trace": trace.anote}
            request = _request(self._async_client, url, headers, body, extensions)
            if self._async_client is not None:
                with _injected("http_async_client"):
                    response = await self._async_client.send(request, stream=True, follow_redirects=False)
            else:
                response = await (await connections.ashared(self)).handle_async_request(request)
        except httpx.HTTPStatusError as error:
            response = error.response
        except FAILURES as error:
            failed = failure_of(error, url, limits, begun=trace.answered)
        del headers
        if failed is not None:
            raise failed
        return AsyncResponse(response, url, limits, injected=self._async_client is not None)

    def sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """The async twin of `sleep`."""
        import anyio

        await anyio.sleep(seconds)

    def close(self) -> None:
        """Close the shared sync connections, unless another transport uses them.

        Requests under way are not broken, this transport's neither. Used again, it opens new connections.
        """
        connections.leave(self)

    async def aclose(self) -> None:
        """Close the shared connections of the running event loop, too, unless another transport uses them."""
        connections.leave(self)
        await connections.aleave(self)


@contextlib.contextmanager
def _injected(name: str) -> Iterator[None]:
    """Raise UnusableClient for the RuntimeErrors of a client that is closed, or belongs to another event loop."""
    try:
        yield
    except RuntimeError as error:
        raise UnusableClient(f"{name}= cannot be used here, or no more: {error}") from None


def _restore(limits: Timeouts, client: httpx.Client | None, async_client: httpx.AsyncClient | None) -> Transport:
    return Transport(timeout=limits, http_client=client, http_async_client=async_client)


def _request(
    client: httpx.Client | httpx.AsyncClient | None,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    extensions: dict[str, Any],
) -> httpx.Request:
    """Return the request, with the default headers of an injected `client` if there is one."""
    if client is not None:
        headers = _IDENTITY | _normal(headers)
        return client.build_request("POST", url, headers=headers, content=body, extensions=extensions)
    headers = _HEADERS | _normal(headers)
    return httpx.Request("POST", _url(url), headers=headers, content=body, extensions=extensions)


def _normal(headers: Mapping[str, str]) -> dict[str, str]:
    values = headers.reveal() if isinstance(headers, SecretHeaders) else headers
    return {name.lower(): value for name, value in values.items()}


@lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    """Return the parsed URL. Parsing is a tenth of a small request's cost, and a model has few URLs."""
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("not an http:// or https:// URL")
    return url


# ---------------------------------------------------------------- its response


class Response:
    """A response whose head has come. Iterate over the body, then `finish`; or `close` at any time, from any thread.

    Iterating yields the bytes as they arrive, and may be interrupted. Raises APIConnectionError, APITimeoutError,
    ProtocolError or ConfigurationError.
    """

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts, *, injected: bool = False) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._limits = limits
        self._injected = injected
        self._forks = connections.forks
        self._reading = False  # a thread is in __next__
        self._ended = False  # the whole body was read
        self._left = False  # closed before that
        self._closed = False
        self._settled_by: float | None = None
        self._network = _own_connection(response)
        self._reader = Reader.of(self._network)
        if self._reader is not None:
            self._reader.begin_body(response)
        body: Any = _content(response) if _was_read(response) else response.stream
        self._chunks: Iterator[bytes] = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left:
            raise was_closed()
        if self._forks != connections.forks:
            raise is_elsewhere("process")
        self._reading = True
        try:
            chunk = next(self._chunks)
        except BaseException as error:
            self._reading = False
            self._ended = isinstance(error, StopIteration)
            left = self._left
            self.close()
            if not isinstance(error, FAILURES):
                raise
            failed = was_closed() if left else failure_of(error, self._url, self._limits, begun=True, handed_over=True)
        else:
            self._reading = False
            return chunk
        raise failed

    def settle(self, anew: bool = False) -> bytes | None:
        """Return the next bytes behind a complete answer; None at the end of the body, or if they take too long.

        They may take `SETTLE_SECONDS` from the first such call, or the last one with `anew`, and no longer than the
        read timeout.
        """
        if anew or self._settled_by is None:
            self._settled_by = time.monotonic() + SETTLE_SECONDS
        if self._reader is None:
            return next(self, None)
        try:
            with self._reader.until(self._settled_by):
                return next(self, None)
        except APITimeoutError:
            return None

    def finish(self) -> None:
        """Read what little is left behind the protocol's end, so that the connection can be reused. Never raises."""
        left = DRAIN_BYTES
        try:
            if self._reader is not None and not self._closed:
                with contextlib.suppress(Exception), self._reader.until(time.monotonic() + DRAIN_SECONDS):
                    for chunk in self._chunks:
                        left -= len(chunk)
                        if left < 0:
                            break
                    else:
                        self._ended = True
        finally:
            self.close()

    def close(self) -> None:
        """Close at once, and the connection as well if the body was not read to its end. Never raises."""
        if not self._ended and not self._left:
            self._left = True
            _log.debug("the answer of %s was closed before its end", place_of(self._url))
            if self._forks == connections.forks:
                connections.hang_up(self._network)
        if not self._closed and not self._reading:  # a thread that reads is woken by hanging up, and closes
            self._closed = True
            if self._injected and self._ended and self._reader is not None and not self._reader.is_clean():
                connections.hang_up(self._network)
            with contextlib.suppress(Exception):
                self._response.close()


class AsyncResponse:
    """The async twin of `Response`: `asettle`, `afinish`, `aclose`."""

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts, *, injected: bool = False) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._limits = limits
        self._injected = injected
        self._forks = connections.forks
        self._loop = connections.running_loop()
        self._ended = False
        self._left = False
        self._closed = False
        self._settled_by: float | None = None
        self._network = _own_connection(response)
        self._reader = AsyncReader.of(self._network)
        if self._reader is not None:
            self._reader.begin_body(response)
        body: Any = _acontent(response) if _was_read(response) else response.stream
        self._chunks: AsyncIterator[bytes] = aiter(body)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left:
            raise was_closed()
        if self._forks != connections.forks:
            raise is_elsewhere("process")
        try:
            return await anext(self._chunks)
        except BaseException as error:
            self._ended = isinstance(error, StopAsyncIteration)
            left = self._left
            await self.aclose()
            if isinstance(error, RuntimeError) and connections.running_loop() is not self._loop:
                failed = is_elsewhere("event loop")
            elif not isinstance(error, FAILURES):
                raise
            else:
                failed = (
                    was_closed() if left else failure_of(error, self._url, self._limits, begun=True, handed_over=True)
                )
        raise failed

    async def asettle(self, anew: bool = False) -> bytes | None:
        """The async twin of `Response.settle`."""
        import anyio

        if anew or self._settled_by is None:
            self._settled_by = time.monotonic() + SETTLE_SECONDS
        with contextlib.suppress(APITimeoutError, TimeoutError), anyio.fail_after(self._settled_by - time.monotonic()):
            return await anext(self, None)
        return None

    async def afinish(self) -> None:
        """The async twin of `Response.finish`. A cancelled task stays cancelled."""
        import anyio

        left = DRAIN_BYTES
        try:
            if self._reader is not None and not self._closed:
                with contextlib.suppress(Exception), anyio.move_on_after(DRAIN_SECONDS):
                    async for chunk in self._chunks:
                        left -= len(chunk)
                        if left < 0:
                            break
                    else:
                        self._ended = True
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """The async twin of `Response.close`."""
        if not self._ended and not self._left:
            self._left = True
            _log.debug("the answer of %s was closed before its end", place_of(self._url))
            if self._forks == connections.forks:
                connections.hang_up(self._network)
        if not self._closed:
            self._closed = True
            if self._injected and self._ended and self._reader is not None and not self._reader.is_clean():
                connections.hang_up(self._network)
            with contextlib.suppress(Exception):
                await self._response.aclose()


def _was_read(response: httpx.Response) -> bool:
    """Return True if a hook, an auth flow or the transport of an injected client has read the body, or closed it."""
    return response.is_stream_consumed or response.is_closed


def _content(response: httpx.Response) -> Iterator[bytes]:
    """Give the body of a response that was read already; nothing of an error's that was closed unread.

    Raises ConfigurationError where an answer's body was not kept.
    """
    try:
        yield response.content
    except httpx.ResponseNotRead:
        if response.is_success:
            raise ConfigurationError(
                "a response hook of the injected httpx client has used up or closed the body: call response.read() "
                "(or aread()) in the hook, which keeps it"
            ) from None


async def _acontent(response: httpx.Response) -> AsyncIterator[bytes]:
    for chunk in _content(response):
        yield chunk


def _own_connection(response: httpx.Response) -> Any:
    """Return the connection that carries this answer alone; None if there is none, or it may carry another by now.

    vcrpy and MockTransport have none, HTTP/2 shares its own, and a body that was read has given its own back.
    """
    if response.http_version == "HTTP/2" or _was_read(response):
        return None
    return response.extensions.get("network_stream")
