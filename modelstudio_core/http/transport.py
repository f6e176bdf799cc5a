"""Send one request, with an injected httpx client or on a pooled connection. Sleep between attempts.

A `Transport` has no connections of its own: all transports of the process share the pools in `shared_pools`, so the
timeout and the key are passed with each request. The sync and async code have the same structure; change both together.
Errors of httpx are converted, and the request is removed from them because it contains the key.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import NoneType
from typing import Any, TypeAlias, TypeVar

import httpx

from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http import shared_pools
from modelstudio_core.http.errors import (
    HTTPX_ERRORS,
    UnusableClient,
    convert_error,
)
from modelstudio_core.http.event_loop import running_loop
from modelstudio_core.http.forms import ReadInThread, form_arguments, form_type
from modelstudio_core.http.framing import Trace
from modelstudio_core.http.response import AsyncResponse, Response
from modelstudio_core.http.timeouts import TimeoutLike, Timeouts, timeouts
from modelstudio_core.types import Form

_log = logging.getLogger("modelstudio_core")
T = TypeVar("T")

_IDENTITY = {"accept-encoding": "identity"}  # overrides the default header of an injected client
# default headers of an httpx client, which httpx.Request does not add
_HEADERS = {"accept": "*/*", **_IDENTITY, "connection": "keep-alive"}


# types of injected objects, for modules that do not import httpx
HttpClient: TypeAlias = httpx.Client
AsyncHttpClient: TypeAlias = httpx.AsyncClient
HttpTimeout: TypeAlias = httpx.Timeout


class Transport:
    """Send requests, and sleep. No connection is opened before the first request.

    Args:
        timeout: seconds, an `httpx.Timeout` or `Timeouts`; see `timeouts`.
        http_client: client for sync requests, which is never closed here. Default: pooled connections.
        http_async_client: client for async requests, likewise.
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
            raise ConfigurationError("http_client must be an httpx.Client, and http_async_client an httpx.AsyncClient")
        self._timeouts = timeouts(timeout)
        self._client = http_client
        self._async_client = http_async_client

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._timeouts, self._client, self._async_client)

    def open(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Form,
        timeout: Timeouts | None = None,
        method: str = "POST",
        to_service: bool = True,
    ) -> Response:
        """Send a request, and return when the head of the response has been received. Redirects are not followed.

        The file of a form is read in chunks while it is sent. `timeout` overrides the transport's timeouts for this
        request. `to_service=False`: the request goes to another host, so an injected client's default headers, cookies
        and auth are not sent.

        Raises:
            ConfigurationError, APIConnectionError, APITimeoutError, ProtocolError: if the request fails.
        """
        limits = timeout or self._timeouts
        trace = Trace()
        failed: ModelStudioError | None = None
        try:
            extensions = {"timeout": limits.as_dict(), "trace": trace.on_event}
            request = _request(self._client if to_service else None, method, url, headers, body, extensions)
            if self._client is not None:
                with _detect_unusable_client("http_client"):
                    response = self._client.send(request, **_send_arguments(to_service))
            else:
                response = shared_pools.sync_pool(self).handle_request(request)
        except httpx.HTTPStatusError as error:  # a response hook called raise_for_status()
            response = error.response
        except HTTPX_ERRORS as error:
            failed = convert_error(error, url, limits, head_received=trace.head_received)
        del headers  # tracebacks that show local variables would show the key
        if failed is not None:
            raise failed
        return Response(response, url, limits, injected=self._client is not None)

    async def aopen(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Form,
        timeout: Timeouts | None = None,
        method: str = "POST",
        to_service: bool = True,
    ) -> AsyncResponse:
        """Async version of `open`."""
        limits = timeout or self._timeouts
        trace = Trace()
        failed: ModelStudioError | None = None
        try:
            extensions = {"timeout": limits.as_dict(), "trace": trace.aon_event}
            request = _request(self._async_client if to_service else None, method, url, headers, body, extensions)
            if isinstance(body, Form):
                request.stream = ReadInThread(request.stream)
            if self._async_client is not None:
                with _detect_unusable_client("http_async_client"):
                    response = await self._async_client.send(request, **_send_arguments(to_service))
            else:
                response = await (await shared_pools.async_pool(self)).handle_async_request(request)
        except httpx.HTTPStatusError as error:
            response = error.response
        except HTTPX_ERRORS as error:
            failed = convert_error(error, url, limits, head_received=trace.head_received)
        del headers
        if failed is not None:
            raise failed
        return AsyncResponse(response, url, limits, injected=self._async_client is not None)

    def sleep(self, seconds: float) -> None:
        """Sleep before the next attempt."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Async version of `sleep`."""
        import anyio

        await anyio.sleep(seconds)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function that does blocking file I/O."""
        return function()

    async def acall(self, function: Callable[[], T]) -> T:
        """Run the function in a thread. Cancellation takes effect when it returns."""
        from anyio import to_thread

        running_loop()  # refuses trio
        return await to_thread.run_sync(function)

    def close(self) -> None:
        """Close the shared sync connections, unless another transport uses them.

        Requests in progress can finish. Later requests open new connections.
        """
        shared_pools.release_sync_pool(self)

    async def aclose(self) -> None:
        """Close the shared connections, including those of the running event loop, like `close`."""
        shared_pools.release_sync_pool(self)
        await shared_pools.release_async_pool(self)


@contextlib.contextmanager
def _detect_unusable_client(name: str) -> Iterator[None]:
    """Raise UnusableClient if the client is closed or belongs to another event loop (a RuntimeError of httpx)."""
    try:
        yield
    except RuntimeError as error:
        raise UnusableClient(f"{name}= is closed, or belongs to another event loop: {error}") from None


def _send_arguments(to_service: bool) -> dict[str, Any]:
    """Return the keyword arguments for `httpx.Client.send`."""
    return {"stream": True, "follow_redirects": False} | ({} if to_service else {"auth": None})


def _unpickle(limits: Timeouts, client: httpx.Client | None, async_client: httpx.AsyncClient | None) -> Transport:
    return Transport(timeout=limits, http_client=client, http_async_client=async_client)


def _request(
    client: httpx.Client | httpx.AsyncClient | None,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | Form,
    extensions: dict[str, Any],
) -> httpx.Request:
    """Return the request, with the default headers of an injected `client` if there is one."""
    own: dict[str, str] = {}
    content: dict[str, Any] = {"content": body or None}
    if isinstance(body, Form):
        own, content = form_type(), form_arguments(body)
    if client is not None:
        headers = _IDENTITY | _with_lower_names(headers) | own
        return client.build_request(method, url, headers=headers, extensions=extensions, **content)
    headers = _HEADERS | _with_lower_names(headers) | own
    return httpx.Request(method, _url(url), headers=headers, extensions=extensions, **content)


def _with_lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    values = headers.reveal() if isinstance(headers, SecretHeaders) else headers
    return {name.lower(): value for name, value in values.items()}


@lru_cache(maxsize=128)
def _url(text: str) -> httpx.URL:
    """Return the parsed URL. It is cached, because parsing is about 10 % of the time of a small request."""
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise httpx.UnsupportedProtocol("not an http:// or https:// URL")
    return url
