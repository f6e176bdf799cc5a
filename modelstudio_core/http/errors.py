"""Turn whatever httpx raises into an error of this package, without the request that failed, which holds the key."""

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
FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnusableClient, OSError, UnicodeError, ImportError)


def failure_of(
    error: Exception, url: str, limits: Timeouts, *, begun: bool, handed_over: bool = False
) -> ModelStudioError:
    """Return this package's error for what httpx raised.

    `begun`: the head of the answer had come. `handed_over`: it had been returned too, and its body was being read; not
    so where vcrpy or a response hook reads the body.
    """
    place = place_of(url)
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
    elif isinstance(error, UnusableClient):
        failed = ConfigurationError(str(error))
    elif isinstance(error, httpx.DecodingError):  # of a hook that reads the body
        failed = ProtocolError(f"the answer of {place} is not encoded as its content-encoding says: {error}")
    else:
        failed = _not_connected(error, place, _through(url), begun)
        if handed_over:
            failed.is_resent = False
    failed.__cause__ = _bare(error, url)
    return failed


def _timed_out(error: httpx.TimeoutException, place: str, limits: Timeouts) -> APITimeoutError:
    knob = "timeout="
    if isinstance(error, httpx.ConnectTimeout):
        said, limit = f"no connection to {place} within %s (is it reachable from here?)", limits.connect
        knob = "timeout=httpx.Timeout(300, connect=...)"  # a number of seconds allows no more than 10 for this
    elif isinstance(error, httpx.PoolTimeout):
        said, limit = "no connection became free within %s: send fewer requests at once", limits.pool
    elif isinstance(error, httpx.WriteTimeout):
        said, limit = f"{place} took in no more of the request for %s", limits.write
    else:
        said, limit = f"{place} sent nothing for %s", limits.read
    patience = "its time limit" if limit is None else f"{limit:g} s"
    return APITimeoutError(
        f"{said % patience}; {knob} changes the limit", is_resent=isinstance(error, httpx.ConnectTimeout)
    )


def _not_connected(error: Exception, place: str, through: str, begun: bool) -> ModelStudioError:
    said = str(error) or type(error).__name__
    kinds = {type(link).__module__.partition(".")[0]: link for link in _chain(error)}
    if isinstance(error, httpx.ProxyError):
        # the proxy's status: 407 and other refusals stay, 502 and its like pass
        return APIConnectionError(f"no connection to {place}{through}: {said}", is_retryable=said.startswith("5"))
    if begun:
        return APIConnectionError(f"{place} broke off in the middle of the answer: {said}")
    if isinstance(kinds.get("ssl"), ssl.SSLCertVerificationError):
        return APIConnectionError(
            f"the certificate of {place}{through} is not trusted: {said}; SSL_CERT_FILE names certificates of your own",
            is_retryable=False,
        )
    if isinstance(error, httpx.ConnectError):
        if any(isinstance(link, OSError) and link.errno in (errno.EMFILE, errno.ENFILE) for link in _chain(error)):
            return APIConnectionError(
                f"no connection to {place}{through}: the process may open no more files or sockets (ulimit -n); send "
                "fewer requests at once"
            )
        return APIConnectionError(f"no connection to {place}{through}: {said}; is it reachable from here?")
    if "h11" in kinds:
        return ProtocolError(f"{place}{through} does not answer in HTTP: {said}; is the scheme or port wrong?")
    return APIConnectionError(f"{place}{through} closed the connection before it answered: {said}")


def _bare(error: Exception, url: str) -> Exception:
    """Return `error` without the request and the frames that sent it: printed as a cause, they would show the key."""
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


def place_of(url: str) -> str:
    """Return host and port of a URL, which may be malformed."""
    with contextlib.suppress(httpx.InvalidURL, UnicodeError):
        parsed = httpx.URL(url)
        return f"{parsed.host}:{parsed.port or {'http': 80, 'https': 443}.get(parsed.scheme)}"
    return "the host of base_url="


def _through(url: str) -> str:
    with contextlib.suppress(Exception):
        proxy = proxy_for(httpx.URL(url))
        if proxy is not None:
            return f" through the proxy {place_of(proxy)} (of HTTP_PROXY, HTTPS_PROXY or ALL_PROXY; NO_PROXY exempts)"
    return ""


def is_elsewhere(what: str) -> ModelStudioError:
    return ConfigurationError(f"the stream was begun in another {what}: read it to its end in the one that began it")


def was_closed() -> APIConnectionError:
    return APIConnectionError("the answer was closed before it was read to its end", is_retryable=False)
