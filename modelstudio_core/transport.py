"""One POST goes out, its answer comes back as it arrives: all I/O, sleeping and clock reading of the core is here.

A `Transport` owns no connection. Connections are shared by all transports of the process (see `connections`), so time
limits and key travel with each request. Sync and async are twins, in the same order of lines. Whatever httpx raises
leaves here as one of this package's errors, without the request that failed: that holds the key.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol

import httpx

from modelstudio_core import connections
from modelstudio_core.encodings import ACCEPTED, EncodingError, Unpacked
from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ModelStudioError,
    ProtocolError,
)
from modelstudio_core.types import ResponseHead

_log = logging.getLogger("modelstudio_core")

# What may follow the protocol's own end of a stream. Most servers send the end of the body with it or just after.
DRAIN_BYTES = 64 * 1024
DRAIN_SECONDS = 0.1
# Seconds without anything new after the end of the answer itself, which usage, `[DONE]` or the end of the body may
# follow. Who is slower has said all.
SETTLE_SECONDS = 5.0

# What httpx sends by itself; `httpx.Request` alone would not.
_ENCODINGS = {"accept-encoding": ACCEPTED}
_HEADERS = {"accept": "*/*", **_ENCODINGS, "connection": "keep-alive"}


# ---------------------------------------------------------------- time limits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for: a connection, the next bytes of the answer, a write, a free place. None waits for ever."""

    connect: float | None = 10.0
    read: float | None = 300.0
    write: float | None = 300.0
    pool: float | None = 300.0


class TimeoutLike(Protocol):
    """What `httpx.Timeout` and `Timeouts` have in common."""

    @property
    def connect(self) -> float | None: ...
    @property
    def read(self) -> float | None: ...
    @property
    def write(self) -> float | None: ...
    @property
    def pool(self) -> float | None: ...


def timeouts(value: float | TimeoutLike | None) -> Timeouts:
    """The limits that a caller's `timeout=` means.

    A number is the silence allowed in reading, writing and waiting for a place; connecting gets at most 10 s of it.
    None is the default. Raises ConfigurationError for what is neither a positive number nor like `httpx.Timeout`.
    """
    if value is None or isinstance(value, Timeouts):
        return value or Timeouts()
    if isinstance(value, (int, float)):
        seconds = _limit(value)
        return Timeouts(min(10.0, value), seconds, seconds, seconds)
    try:
        return Timeouts(_limit(value.connect), _limit(value.read), _limit(value.write), _limit(value.pool))
    except AttributeError:
        raise ConfigurationError(f"timeout= takes seconds or an httpx.Timeout, not {value!r}") from None


def _limit(seconds: float | None) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or not seconds > 0:
        raise ConfigurationError(f"timeout= takes positive numbers of seconds, not {seconds!r}")
    return None if math.isinf(seconds) else float(seconds)


# ---------------------------------------------------------------- one request


class Transport:
    """Sends requests and sleeps. Cheap to make: no connection is opened before the first request.

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
        if isinstance(http_client, httpx.AsyncClient) or isinstance(http_async_client, httpx.Client):
            raise ConfigurationError("http_client takes an httpx.Client, http_async_client an httpx.AsyncClient")
        self._limits = timeouts(timeout)
        self._extensions = {"timeout": asdict(self._limits)}
        self._client = http_client
        self._async_client = http_async_client

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._limits, self._client, self._async_client)

    def open(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        """POST `body`; return once status and headers are there. Redirects are not followed.

        Raises ConfigurationError, APIConnectionError, APITimeoutError or ProtocolError.
        """
        try:
            if self._client is not None:
                limits = httpx.Timeout(**asdict(self._limits))
                request = self._client.build_request(
                    "POST", url, headers=_ENCODINGS | _normal(headers), content=body, timeout=limits
                )
                response = self._client.send(request, stream=True, follow_redirects=False)
            else:
                request = httpx.Request(
                    "POST", _url(url), headers=_HEADERS | _normal(headers), content=body, extensions=self._extensions
                )
                response = connections.shared(self).handle_request(request)
        except _FAILURES as error:
            failed = _failure(error, url, self._limits, begun=False)
        else:
            return Response(response, url, self._limits)
        del headers  # a traceback that shows locals would show the key
        raise failed

    async def aopen(self, url: str, headers: Mapping[str, str], body: bytes) -> AsyncResponse:
        """The async twin of `open`."""
        try:
            if self._async_client is not None:
                limits = httpx.Timeout(**asdict(self._limits))
                request = self._async_client.build_request(
                    "POST", url, headers=_ENCODINGS | _normal(headers), content=body, timeout=limits
                )
                response = await self._async_client.send(request, stream=True, follow_redirects=False)
            else:
                request = httpx.Request(
                    "POST", _url(url), headers=_HEADERS | _normal(headers), content=body, extensions=self._extensions
                )
                response = await (await connections.ashared(self)).handle_async_request(request)
        except _FAILURES as error:
            failed = _failure(error, url, self._limits, begun=False)
        else:
            return AsyncResponse(response, url, self._limits)
        del headers
        raise failed

    def sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait before the next attempt, letting others run."""
        import anyio

        await anyio.sleep(seconds)

    def close(self) -> None:
        """Let go of the shared sync connections; they close once no other transport uses them.

        Requests under way, also of this transport, are not broken. Used again, it opens new connections.
        """
        connections.leave(self)

    async def aclose(self) -> None:
        """Let go of the shared connections of the running event loop, and of the sync ones."""
        connections.leave(self)
        await connections.aleave(self)


def _restore(limits: Timeouts, client: httpx.Client | None, async_client: httpx.AsyncClient | None) -> Transport:
    return Transport(timeout=limits, http_client=client, http_async_client=async_client)


def _normal(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    """Parsing is a tenth of a small request's cost, and a model asks the same URL again and again."""
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("not an http:// or https:// URL")
    return url


# ---------------------------------------------------------------- its answer


class Response:
    """An answer whose head has come. Iterate over the body, then `finish`; or `close` at any time, from any thread.

    Iterating gives the decoded bytes as they arrive, an HTTP chunk or what one read brought of it at a time. It can be
    stopped and taken up again. Raises APIConnectionError, APITimeoutError or ProtocolError.
    """

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._limits = limits
        self._process = os.getpid()
        self._reading = False  # a thread is in __next__
        self._ended = False  # the whole body was read
        self._left = False  # closed before that
        self._closed = False
        self._settled_by: float | None = None
        body: Any = response.stream
        encoding = self.head.headers.get("content-encoding")
        self._chunks: Iterator[bytes] = iter(body) if encoding is None else _Decoded(body, encoding)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left:
            raise _was_closed()
        self._reading = True
        try:
            chunk = next(self._chunks)
        except BaseException as error:
            self._reading = False
            self._ended = isinstance(error, StopIteration)
            left = self._left
            self.close()
            if not isinstance(error, _FAILURES):
                raise
            failed = _was_closed() if left else _failure(error, self._url, self._limits, begun=True)
        else:
            self._reading = False
            return chunk
        raise failed

    def settle(self, anew: bool = False) -> bytes | None:
        """The next bytes where the answer itself is whole; None at the end of the body, or where none of them have come
        `SETTLE_SECONDS` after this was first asked, or asked `anew`, or for as long as `timeout` allows."""
        if anew or self._settled_by is None:
            self._settled_by = time.monotonic() + SETTLE_SECONDS
        network = _own_connection(self._response)
        if network is None:
            return next(self, None)
        try:
            with _hurried(network, self._settled_by):
                return next(self, None)
        except APITimeoutError:
            return None

    def read(self, limit: int) -> bytes:
        """The rest of the body. Raises ProtocolError where it is longer than `limit` bytes."""
        chunks = []
        size = 0
        for chunk in self:
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                self.close()
                raise _too_long(self._url, limit)
        return b"".join(chunks)

    def finish(self) -> None:
        """The protocol's end was seen: read the little that is left, so that the connection lives on. Never raises."""
        network = _own_connection(self._response)
        left = DRAIN_BYTES
        try:
            if network is not None and not self._closed:
                with contextlib.suppress(Exception), _hurried(network, time.monotonic() + DRAIN_SECONDS):
                    for chunk in self._chunks:
                        left -= len(chunk)
                        if left < 0:
                            break
                    else:
                        self._ended = True
        finally:
            self.close()

    def close(self) -> None:
        """Close at once; the connection goes too if the body is not read to its end. May be repeated. Never raises."""
        if not self._ended and not self._left:
            self._left = True
            _log.debug("the answer of %s was closed before its end", _place(self._url))
            if self._process == os.getpid():
                connections.hang_up(_own_connection(self._response))
        if not self._closed and not self._reading:  # a thread that reads is woken by hanging up, and closes
            self._closed = True
            with contextlib.suppress(Exception):
                self._response.close()


class AsyncResponse:
    """The async twin of `Response`: `asettle`, `aread`, `afinish`, `aclose`."""

    def __init__(self, response: httpx.Response, url: str, limits: Timeouts) -> None:
        self.head = ResponseHead(response.status_code, dict(response.headers.items()))
        self._response = response
        self._url = url
        self._limits = limits
        self._process = os.getpid()
        self._loop = connections.running_loop()
        self._ended = False
        self._left = False
        self._closed = False
        self._settled_by: float | None = None
        body: Any = response.stream
        encoding = self.head.headers.get("content-encoding")
        self._chunks: AsyncIterator[bytes] = aiter(body) if encoding is None else _AsyncDecoded(body, encoding)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left:
            raise _was_closed()
        try:
            return await anext(self._chunks)
        except BaseException as error:
            self._ended = isinstance(error, StopAsyncIteration)
            left = self._left
            await self.aclose()
            if isinstance(error, RuntimeError) and connections.running_loop() is not self._loop:
                failed = _is_elsewhere()
            elif not isinstance(error, _FAILURES):
                raise
            else:
                failed = _was_closed() if left else _failure(error, self._url, self._limits, begun=True)
        raise failed

    async def asettle(self, anew: bool = False) -> bytes | None:
        """The async twin of `Response.settle`."""
        import anyio

        if anew or self._settled_by is None:
            self._settled_by = time.monotonic() + SETTLE_SECONDS
        with contextlib.suppress(APITimeoutError, TimeoutError), anyio.fail_after(self._settled_by - time.monotonic()):
            return await anext(self, None)
        return None

    async def aread(self, limit: int) -> bytes:
        """The async twin of `Response.read`."""
        chunks = []
        size = 0
        async for chunk in self:
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                await self.aclose()
                raise _too_long(self._url, limit)
        return b"".join(chunks)

    async def afinish(self) -> None:
        """The async twin of `Response.finish`. A cancelled task stays cancelled."""
        import anyio

        network = _own_connection(self._response)
        left = DRAIN_BYTES
        try:
            if network is not None and not self._closed:
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
            _log.debug("the answer of %s was closed before its end", _place(self._url))
            if self._process == os.getpid():
                connections.hang_up(_own_connection(self._response))
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):
                await self._response.aclose()


class _Decoded:
    """The reads of a body without its content-encoding, in pieces of bounded size."""

    def __init__(self, body: Iterable[bytes], encoding: str) -> None:
        self._body = iter(body)
        self._unpacked = Unpacked(encoding)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while (piece := self._unpacked.next_piece()) is None:
            self._unpacked.give(next(self._body))
        return piece


class _AsyncDecoded:
    """The async twin of `_Decoded`."""

    def __init__(self, body: AsyncIterable[bytes], encoding: str) -> None:
        self._body = aiter(body)
        self._unpacked = Unpacked(encoding)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while (piece := self._unpacked.next_piece()) is None:
            self._unpacked.give(await anext(self._body))
        return piece


def _own_connection(response: httpx.Response) -> Any:
    """The connection that carries this answer alone. vcrpy and MockTransport have none, HTTP/2 shares its own."""
    return None if response.http_version == "HTTP/2" else response.extensions.get("network_stream")


@contextlib.contextmanager
def _hurried(network: Any, deadline: float) -> Iterator[None]:
    """Bound all reads of a connection by one deadline, of the monotonic clock.

    httpcore fixed the read timeout when the body began, and only a read can tell whether the end of the body is
    already in its buffer; so for once the documented `NetworkStream.read` of this connection has less patience.
    """
    read = network.read

    def read_in_time(max_bytes: int, timeout: float | None = None) -> bytes:
        left = max(deadline - time.monotonic(), 0.001)
        return bytes(read(max_bytes, timeout=left if timeout is None else min(left, timeout)))

    network.read = read_in_time
    try:
        yield
    finally:
        del network.read


# ---------------------------------------------------------------- what goes wrong

# UnicodeError: a header or host name that cannot be encoded. ImportError: httpx has no SOCKS support installed.
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, EncodingError, UnicodeError, ImportError)


def _failure(error: Exception, url: str, limits: Timeouts, *, begun: bool) -> ModelStudioError:
    """This package's error for what httpx raised; `begun` once the head of the answer had come."""
    place = _place(url)
    failed: ModelStudioError
    if isinstance(error, httpx.TimeoutException):
        failed = _timed_out(error, place + _through(url), limits)
    elif isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        failed = ConfigurationError(f"base_url= is no http:// or https:// URL that can be used: {error}")
    elif isinstance(error, ImportError):
        failed = ConfigurationError(f"the proxy of the environment cannot be used: {error}")
    elif isinstance(error, (httpx.LocalProtocolError, UnicodeError)):
        # these errors quote the header, which may be the key: they are not shown, nor kept as the cause
        return ConfigurationError(
            f"the request cannot be sent to {place}: the API key or another header holds a line end or a letter "
            "beyond ASCII, or the host name is malformed"
        )
    elif isinstance(error, EncodingError):
        failed = ProtocolError(f"the answer of {place} cannot be unpacked: {error}")
    else:
        failed = _not_connected(error, place, _through(url), begun)
    failed.__cause__ = _bare(error, url)
    return failed


def _timed_out(error: httpx.TimeoutException, place: str, limits: Timeouts) -> APITimeoutError:
    if isinstance(error, httpx.ConnectTimeout):
        said, limit = f"no connection to {place} within %s; is it reachable from here?", limits.connect
    elif isinstance(error, httpx.PoolTimeout):
        said, limit = "no connection became free within %s; send fewer requests at once", limits.pool
    elif isinstance(error, httpx.WriteTimeout):
        said, limit = f"{place} took in no more of the request for %s", limits.write
    else:
        said, limit = f"{place} sent nothing for %s", limits.read
    resent = isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout))
    patience = "its time limit" if limit is None else f"{limit:g} s"
    return APITimeoutError(f"{said % patience}; timeout= changes the limit", is_resent=resent)


def _not_connected(error: Exception, place: str, through: str, begun: bool) -> ModelStudioError:
    said = str(error) or type(error).__name__
    kinds = {type(link).__module__.partition(".")[0]: link for link in _chain(error)}
    if begun:
        return APIConnectionError(f"{place} broke off in the middle of the answer: {said}", is_resent=False)
    if isinstance(kinds.get("ssl"), ssl.SSLCertVerificationError):
        return APIConnectionError(
            f"the certificate of {place}{through} is not trusted: {said}; SSL_CERT_FILE names certificates of your own",
            is_retryable=False,
        )
    if isinstance(error, httpx.ProxyError):
        # the proxy's status: 407 and other refusals stay, 502 and its like pass
        return APIConnectionError(f"no connection to {place}{through}: {said}", is_retryable=said.startswith("5"))
    if isinstance(error, httpx.ConnectError):
        return APIConnectionError(f"no connection to {place}{through}: {said}; is it reachable from here?")
    if "h11" in kinds:
        return ProtocolError(f"{place}{through} does not answer in HTTP: {said}; is the scheme or port wrong?")
    return APIConnectionError(f"{place}{through} closed the connection before it answered: {said}")


def _bare(error: Exception, url: str) -> Exception:
    """`error` without what would show the key to those who print causes: the request, and the frames that sent it."""
    for link in _chain(error):
        link.__traceback__ = None
        if isinstance(link, httpx.RequestError):
            link.request = httpx.Request("POST", url)
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _place(url: str) -> str:
    """Host and port, of a URL that may be malformed."""
    with contextlib.suppress(httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL(url)
        return f"{parsed.host}:{parsed.port or {'http': 80, 'https': 443}.get(parsed.scheme)}"
    return "the host of base_url="


def _through(url: str) -> str:
    with contextlib.suppress(Exception):
        proxy = connections.proxy_for(httpx.URL(url))
        if proxy is not None:
            return f" through the proxy {_place(proxy)} (of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY exempts)"
    return ""


def _too_long(url: str, limit: int) -> ProtocolError:
    return ProtocolError(f"the answer of {_place(url)} is longer than {limit} bytes, the most that is read of it")


def _is_elsewhere() -> ModelStudioError:
    return ConfigurationError("the stream was begun in another event loop: read it to its end in the one that began it")


def _was_closed() -> APIConnectionError:
    return APIConnectionError("the answer was closed before it was read to its end", is_retryable=False)
