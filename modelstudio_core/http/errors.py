"""Convert the errors that httpx raises, and remove the failed request from them, which contains the key."""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Iterator

import httpx

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ModelStudioError,
    ProtocolError,
)
from modelstudio_core.http.environment import proxy_for
from modelstudio_core.http.timeouts import Timeouts


class UnusableClient(Exception):
    """An injected client is closed, or belongs to another event loop."""


# UnicodeError: a header or host name that cannot be encoded. ImportError: httpx has no SOCKS support installed.
HTTPX_ERRORS = (httpx.HTTPError, httpx.InvalidURL, UnusableClient, OSError, UnicodeError, ImportError)


def convert_error(
    error: Exception, url: str, limits: Timeouts, *, head_received: bool, reading_body: bool = False
) -> ModelStudioError:
    """Return the error of this package for an error of httpx.

    Args:
        error: one of `HTTPX_ERRORS`.
        url: URL of the request.
        limits: timeouts of the request.
        head_received: whether the head of the response was received before the error.
        reading_body: whether the response was returned, and its body was being read. False while vcrpy or a response
            hook reads the body.
    """
    host = host_and_port(url)
    converted: ModelStudioError
    if isinstance(error, httpx.TimeoutException):
        converted = _timeout_error(error, host + _via_proxy(url), limits)
    elif isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
        converted = ConfigurationError(f"base_url= is not a valid http:// or https:// URL: {error}")
    elif isinstance(error, ImportError):
        converted = ConfigurationError(f"the proxy set in the environment cannot be used: {error}")
    elif isinstance(error, (httpx.LocalProtocolError, UnicodeError)):
        # these errors quote the header, which may contain the key, so they are not kept as the cause
        return ConfigurationError(
            f"the request cannot be sent to {host}: the API key or another header contains a line break or a non-ASCII "
            "character, or the host name is invalid"
        )
    elif isinstance(error, UnusableClient):
        converted = ConfigurationError(str(error))
    elif isinstance(error, httpx.DecodingError):  # a response hook read the body
        converted = ProtocolError(f"the response of {host} does not match its content-encoding: {error}")
    else:
        converted = _connection_error(error, host, _via_proxy(url), head_received)
        if reading_body:
            converted.is_resent = False
    converted.__cause__ = _without_request(error, url)
    return converted


def _timeout_error(error: httpx.TimeoutException, host: str, limits: Timeouts) -> APITimeoutError:
    setting = "timeout="
    if isinstance(error, httpx.ConnectTimeout):
        message, limit = f"no connection to {host} within %s; check that it is reachable", limits.connect
        setting = "timeout=httpx.Timeout(300, connect=...)"  # with a number, at most 10 s are allowed for connecting
    elif isinstance(error, httpx.PoolTimeout):
        message, limit = "no connection became available within %s; send fewer concurrent requests", limits.pool
    elif isinstance(error, httpx.WriteTimeout):
        message, limit = f"{host} accepted no data for %s", limits.write
    else:
        message, limit = f"{host} sent no data for %s", limits.read
    duration = "its timeout" if limit is None else f"{limit:g} s"
    return APITimeoutError(
        f"{message % duration}; {setting} changes the limit", is_resent=isinstance(error, httpx.ConnectTimeout)
    )


def _connection_error(error: Exception, host: str, proxy: str, head_received: bool) -> ModelStudioError:
    reason = str(error) or type(error).__name__
    kinds = {type(link).__module__.partition(".")[0]: link for link in _chain(error)}
    if isinstance(error, httpx.ProxyError):
        # the message starts with the status of the proxy; 5xx may be temporary
        return APIConnectionError(f"no connection to {host}{proxy}: {reason}", is_retryable=reason.startswith("5"))
    # before the next check, because a proxy's response to CONNECT has a head too
    if isinstance(kinds.get("ssl"), ssl.SSLCertVerificationError):
        return APIConnectionError(
            f"the certificate of {host}{proxy} is not trusted: {reason}; SSL_CERT_FILE can name your own",
            is_retryable=False,
        )
    if head_received:
        return APIConnectionError(f"{host} closed the connection during the response: {reason}")
    if isinstance(error, httpx.ConnectError):
        if any(isinstance(link, OSError) and link.errno in (errno.EMFILE, errno.ENFILE) for link in _chain(error)):
            return APIConnectionError(
                f"no connection to {host}{proxy}: the process has too many open files or sockets (ulimit -n); send "
                "fewer concurrent requests"
            )
        return APIConnectionError(f"no connection to {host}{proxy}: {reason}; check that it is reachable")
    if "h11" in kinds:
        return ProtocolError(
            f"{host}{proxy} did not send an HTTP response: {reason}; check the scheme and port of base_url="
        )
    return APIConnectionError(f"{host}{proxy} closed the connection before it responded: {reason}")


def _without_request(error: Exception, url: str) -> Exception:
    """Return `error` without its request and traceback, which contain the key."""
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


def host_and_port(url: str) -> str:
    """Return the host and port of a URL, which may be invalid."""
    with contextlib.suppress(httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL(url)
        return f"{parsed.host}:{parsed.port or {'http': 80, 'https': 443}.get(parsed.scheme)}"
    return "the host of base_url="


def _via_proxy(url: str) -> str:
    with contextlib.suppress(Exception):
        proxy = proxy_for(httpx.URL(url))
        if proxy is not None:
            variables = "HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY exempts hosts"
            return f" through the proxy {host_and_port(proxy)} ({variables})"
    return ""


def wrong_owner(kind: str) -> ModelStudioError:
    """Return the error for reading a response in another process or event loop (`kind`)."""
    return ConfigurationError(f"the stream was started in another {kind}: read it in the {kind} that started it")


def closed_early() -> APIConnectionError:
    """Return the error for reading a response that was closed."""
    return APIConnectionError("the response was closed before its end", is_retryable=False)
