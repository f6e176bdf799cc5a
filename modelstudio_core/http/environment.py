"""Read certificates and proxies from the environment, as an httpx.Client does.

httpx ignores the variables for proxies once it is given a transport.
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

_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)


@lru_cache(maxsize=4)
def _trust(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    """Return the context of the process: loading the certificates takes 10 ms and more. httpx reads the variables.

    Raises OSError for a file or folder that is not there; httpx 0.27 would take its own certificates instead.
    """
    for path in filter(None, (cert_file, cert_dir)):
        os.stat(path)
    return httpx.create_ssl_context()


@lru_cache(maxsize=1)
def _no_tls() -> ssl.SSLContext:
    """Return a context for plain http: httpx wants one with every transport, and would load certificates for it."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def transport_options(url: httpx.URL) -> dict[str, Any]:
    """Return the arguments of the httpx transport for one connection to `url`. Raises ConfigurationError."""
    proxy = proxy_for(url)
    trust = _no_tls()
    if url.scheme == "https" or (proxy or "").startswith("https:"):
        files = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        try:
            trust = _trust(*files)
        except OSError as error:
            raise ConfigurationError(f"SSL_CERT_FILE, SSL_CERT_DIR = {files} cannot be loaded: {error}") from error
    if proxy is None:
        return {"verify": trust, "limits": _ONE}
    tls = trust if proxy.startswith("https:") else None
    try:
        return {"verify": trust, "limits": _ONE, "proxy": httpx.Proxy(proxy, ssl_context=tls)}
    except (ValueError, httpx.InvalidURL):  # their text may show the proxy's password
        raise ConfigurationError("the proxy of the environment is no http, https or socks5 URL") from None


def proxy_for(url: httpx.URL) -> str | None:
    """Return the proxy that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY set for `url`, as httpx reads them.

    Unlike there, a proxy is never used for this machine: the key would go to another one over plain http.
    """
    if is_loopback(str(url)):
        return None
    known = urllib.request.getproxies()
    proxy = known.get(url.scheme) or known.get("all")
    if not proxy or any(_exempt(url, entry.strip()) for entry in known.get("no", "").split(",")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _exempt(url: httpx.URL, entry: str) -> bool:
    """Return True if an entry of NO_PROXY covers `url`: `.a.b` covers subdomains only, `a.b` the name as well."""
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
