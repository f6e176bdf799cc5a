"""Proxies and certificates."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from modelstudio_core.errors import (
    APIConnectionError,
    ConfigurationError,
)
from modelstudio_core.http import environment
from tests.core.transport.wire import BEHIND, EVENTS, OPTION, Wire, endless, ends_later
from tests.loopback import Exchange, Loopback, Script, reply, reply_json

PROXIES = {
    "HTTP_PROXY": "http://web:1",
    "HTTPS_PROXY": "secure:2",
    "NO_PROXY": "a.example, .b.example,localhost,127.0.0.1,::1,c.example:8080,http://d.example",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "http://web:1"),
        ("https://example.com/", "http://secure:2"),
        ("https://a.example/", None),
        ("https://x.a.example/", None),
        ("https://xa.example/", "http://secure:2"),
        ("https://b.example/", "http://secure:2"),
        ("https://x.b.example/", None),
        ("http://localhost:9/", None),
        ("http://127.0.0.1:9/", None),
        ("http://[::1]:9/", None),
        ("http://c.example:8080/", None),
        ("http://c.example/", "http://web:1"),
        ("http://d.example/", None),
        ("https://d.example/", "http://secure:2"),
    ],
)
def test_proxy_variables_apply_as_in_httpx(monkeypatch: pytest.MonkeyPatch, url: str, expected: str | None) -> None:
    for name, value in PROXIES.items():
        monkeypatch.setenv(name, value)
    assert environment.proxy_for(httpx.URL(url)) == expected
    with httpx.Client() as client:  # httpx's own answer, by the way it would route the request
        pool = client._transport_for_url(httpx.URL(url))._pool  # type: ignore[attr-defined]
    theirs = getattr(pool, "_proxy_url", None)
    assert expected == (theirs and f"http://{theirs.host.decode()}:{theirs.port}")


@pytest.mark.parametrize("host", ["localhost", "x.localhost", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_loopback_bypasses_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Keys are sent over plain http to loopback only, so such requests must not pass through another machine."""
    monkeypatch.setenv("ALL_PROXY", "http://all:3")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert environment.proxy_for(httpx.URL(f"http://{host}:9/")) is None


@pytest.mark.parametrize("no_proxy", ["*", "x.example,*"])
def test_no_proxy_star_disables_all_proxies(monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all:3")
    assert environment.proxy_for(httpx.URL("http://example.com/")) == "http://all:3"
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert environment.proxy_for(httpx.URL("http://example.com/")) is None


def test_plain_http_request_through_proxy_with_credentials(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(reply_json(200, {"proxied": True})) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        assert wire.open("http://service.invalid/v1").read() == b'{"proxied": true}'
    (request,) = proxy.requests
    assert request.path == "http://service.invalid/v1"
    assert request.headers["proxy-authorization"].startswith("Basic ")


def test_error_names_refusing_proxy_without_password(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(reply(407, b"")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{proxy.port}")
        with pytest.raises(APIConnectionError) as caught:
            wire.open("https://service.invalid/v1")
    assert (proxy.requests[0].method, proxy.requests[0].path) == ("CONNECT", "service.invalid:443")
    message = str(caught.value)
    assert f"service.invalid:443 through the proxy 127.0.0.1:{proxy.port}" in message
    assert "NO_PROXY" in message
    assert "407" in message
    assert "pass" not in message
    assert not caught.value.is_retryable


@pytest.mark.parametrize("proxy", ["telnet://user:hidden@x:1", "http://user:hidden@x:port"])
def test_invalid_proxy_is_configuration_error(wire: Wire, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        wire.open("http://service.invalid/")
    assert "hidden" not in str(caught.value)


def test_tls_offers_http_1_1_like_httpx(
    wire: Wire, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7301. A server or proxy may choose its protocol by the client's list."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    environment._ssl_context.cache_clear()
    chosen: list[str | None] = []

    def notes(exchange: Exchange) -> None:
        chosen.append(cast(ssl.SSLSocket, exchange._connection).selected_alpn_protocol())
        EVENTS(exchange)

    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate[0], certificate[0].with_name("key.pem"))
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    with Loopback(notes, tls=server_context) as server:
        wire.open(server.url).read()
    assert chosen == ["http/1.1"]
    environment._ssl_context.cache_clear()


def test_tls_streams_reuse_connections_and_share_context(
    make: Callable[..., Wire], certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    made: list[ssl.SSLContext] = []
    build = httpx.create_ssl_context

    def count() -> ssl.SSLContext:
        made.append(build())
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", count)
    environment._ssl_context.cache_clear()
    with Loopback([EVENTS, EVENTS, ends_later], tls=certificate[1]) as server:
        for answer in [make().open(server.url), make().open(server.url)]:
            answer.read()
        for _ in range(3):
            wire = make()
            for _ in range(5):
                answer = wire.open(server.url)
                answer.until_done()
                answer.finish()
        assert server.connections == 2
    assert len(made) == 1
    environment._ssl_context.cache_clear()


def test_tls_body_held_open_after_done_is_closed_soon(
    wire: Wire, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Loopback(endless([]), tls=certificate[1]) as server:
        answer = wire.open(server.url)
        answer.next()
        begun = time.monotonic()
        answer.finish()
        assert 0.05 < time.monotonic() - begun < 0.5
        assert server.wait_until(lambda _: server.open_connections == 0)


def tunnel_to(port: int) -> Script:
    """A proxy's answer to CONNECT: from then on bytes go both ways, until one side closes."""

    def script(exchange: Exchange) -> None:
        assert (exchange.request.method, exchange.request.path) == ("CONNECT", "service.invalid:443")
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        near = exchange._connection
        with socket.create_connection(("127.0.0.1", port)) as far, selectors.DefaultSelector() as selector:
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in selector.select():
                    if not (data := cast("socket.socket", key.fileobj).recv(65536)):
                        exchange.close()
                        return
                    key.data.sendall(data)

    return script


@pytest.fixture(params=["http", "https"])
def proxied(
    request: pytest.FixtureRequest, certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Script], contextlib.AbstractContextManager[tuple[Loopback, str]]]]:
    """Return a function that starts a server behind a forwarding or tunnelling proxy, and returns its URL."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    environment._ssl_context.cache_clear()

    @contextlib.contextmanager
    def serve(script: Script) -> Iterator[tuple[Loopback, str]]:
        if request.param == "http":  # the proxy's own answers are the server's
            with Loopback(script) as server:
                monkeypatch.setenv("HTTP_PROXY", server.url)
                yield server, "http://service.invalid/v1"
        else:
            with Loopback(script, tls=certificate[1]) as server, Loopback(tunnel_to(server.port)) as proxy:
                monkeypatch.setenv("HTTPS_PROXY", proxy.url)
                yield server, "https://service.invalid/v1"

    yield serve
    environment._ssl_context.cache_clear()


@pytest.mark.parametrize("injected", [False, True], ids=["own", "injected"])
def test_proxy_connection_is_reused_unless_extra_bytes_came(
    make: Callable[..., Wire], style: str, injected: bool, proxied: Any
) -> None:
    """Extra bytes are found even though the connection is wrapped by that to the proxy."""

    def script(exchange: Exchange) -> None:
        if exchange.number == 2:
            exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright" + BEHIND)
            exchange._ended = True
        else:
            reply(200, b"right")(exchange)

    with proxied(script) as (server, url):
        client = httpx.Client() if style == "sync" else httpx.AsyncClient()
        wire = make(**({OPTION[style]: client} if injected else {}))
        for _ in range(3):
            assert wire.open(url).read() == b"right"
        assert server.connections == 1
        assert wire.open(url).read() == b"right"
        assert server.connections == 2
        wire.run(getattr(client, "close", lambda: None), getattr(client, "aclose", lambda: None))


def test_untrusted_certificate_is_named_and_not_retried(wire: Wire, certificate: tuple[Path, ssl.SSLContext]) -> None:
    with (
        Loopback(EVENTS, tls=certificate[1]) as server,
        pytest.raises(
            APIConnectionError, match=r"certificate of 127.0.0.1:\d+ is not trusted.*SSL_CERT_FILE"
        ) as caught,
    ):
        wire.open(server.url)
    assert not caught.value.is_retryable


def test_missing_certificate_file_is_configuration_error(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent/ca.pem")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        wire.open("https://127.0.0.1:1/")
