"""Read certificates and proxies from the environment, like httpx.Client.

httpx ignores the proxy variables when a transport is passed.
"""

from __future__ import annotations

import os
import ssl
import urllib.request
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import httpx

from modelstudio_core.config import is_loopback
from modelstudio_core.errors import ConfigurationError

_SINGLE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)


@lru_cache(maxsize=4)
def _ssl_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    """Return the SSL context, which is shared because loading certificates takes at least 10 ms.

    Raises OSError if a file or directory does not exist; httpx 0.27 would use its own certificates instead.
    """
    for path in filter(None, (cert_file, cert_dir)):
        os.stat(path)
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])  # as httpcore does
    return context


@lru_cache(maxsize=1)
def _empty_ssl_context() -> ssl.SSLContext:
    """Return an SSL context for plain HTTP, where httpx would otherwise load certificates for each transport."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def transport_options(url: httpx.URL) -> dict[str, Any]:
    """Return the arguments of the httpx transport for one connection to `url`. Raises ConfigurationError."""
    proxy = proxy_for(url)
    trust = _empty_ssl_context()
    if url.scheme == "https" or (proxy or "").startswith("https:"):
        files = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        try:
            trust = _ssl_context(*files)
        except OSError as error:
            raise ConfigurationError(f"SSL_CERT_FILE, SSL_CERT_DIR = {files} cannot be loaded: {error}") from error
    if proxy is None:
        return {"verify": trust, "limits": _SINGLE_CONNECTION}
    tls = trust if proxy.startswith("https:") else None
    try:
        return {"verify": trust, "limits": _SINGLE_CONNECTION, "proxy": httpx.Proxy(proxy, ssl_context=tls)}
    except (ValueError, httpx.InvalidURL):  # the error may contain the proxy's password
        raise ConfigurationError("the proxy set in the environment is not an http, https or socks5 URL") from None


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy for `url` from HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, like httpx.

    Unlike httpx, a proxy is never used for loopback, because the key would leave the machine over plain HTTP.
    """
    if is_loopback(str(url)):
        return None
    known = urllib.request.getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    if not proxy or any(_matches_no_proxy(url, entry.strip()) for entry in known.get("no", "").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _matches_no_proxy(url: httpx.URL, entry: str) -> bool:
    """Return True if an entry of NO_PROXY matches `url`: `.a.b` matches subdomains, `a.b` also the host itself."""
    if entry in ("", "*"):
        return entry == "*"
    scheme, separator, rest = entry.rpartition("://")
    name, port = rest.lower(), None
    if not _is_address(name):
        host, colon, digits = name.rpartition(":")
        if colon and digits.isdigit():
            name, port = host, int(digits)
    if separator and scheme.lower() not in ("all", url.scheme):
        return False
    if port is not None and port != url.port:
        return False
    host = url.host
    if name.startswith("."):
        return host.endswith(name)
    exact = separator or name == "localhost" or _is_address(name)
    return host == name.strip("[]") or (not exact and host.endswith(f".{name}"))


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
