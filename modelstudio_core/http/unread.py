"""Whether a connection holds bytes that nobody has read: then it must not serve another request.

A server, or a proxy gone wrong, may send more than the answer that was asked for. What of it came in the same read
lies above the socket, in a buffer of h11, TLS or anyio, and would be taken for the beginning of the next answer, which
may be someone else's. No library between tells of these buffers, so each is looked into where it is. Where h11's cannot
be found, it counts as full: the price is a new connection.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import httpx


def is_clean(transport: Any, network: Any) -> bool:
    """Whether the one connection of an httpx transport is idle, open, silent, and has been read to its last byte.

    Args:
        transport: an `httpx.HTTPTransport` or `AsyncHTTPTransport` of one connection, whose answer was read.
        network: that connection's `httpcore.NetworkStream`, or its async twin.
    """
    try:
        (connection,) = transport._pool.connections
        return connection.is_idle() and not _has_more(_h11_below(connection), network)
    except Exception:  # a network stream or a transport of another kind
        return False


def is_followed(response: httpx.Response) -> bool:
    """Whether more than its answer has come on the connection of an httpx client's response; False where none can tell.

    The client's pool does not look.
    """
    with contextlib.suppress(Exception):
        return _has_more(_h11_below(response.stream), response.extensions["network_stream"])
    return False


def _has_more(h11: Any, network: Any) -> bool:
    return bool(
        network.get_extra_info("is_readable")  # also where the server has closed it
        or h11.trailing_data != (b"", False)
        or _has_decrypted(network.get_extra_info("ssl_object"))
        or _queue_of(network)
    )


def _h11_below(holder: Any) -> Any:
    """The `h11.Connection` of a connection or a stream, below what httpx, httpcore and a proxy wrap around it."""
    while not hasattr(holder, "_h11_state"):
        wrapped = ("_connection", "_httpcore_stream", "_stream")
        holder = next(getattr(holder, name) for name in wrapped if hasattr(holder, name))
    return holder._h11_state


def _has_decrypted(tls: Any) -> bool:
    """Whether TLS has bytes that the socket has no more. Between answers nothing but them can be read."""
    if not isinstance(tls, ssl.SSLObject):  # of a socket, which keeps what is not decrypted yet
        return tls is not None and bool(tls.pending())
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.read(1)  # from memory: without waiting
        return True
    return False


def _queue_of(network: Any) -> Any:
    """What anyio has taken from an asyncio transport and nobody from anyio; empty for all other streams."""
    stream: Any = getattr(network, "_stream", None)
    while hasattr(stream, "transport_stream"):  # TLS
        stream = stream.transport_stream
    return getattr(getattr(stream, "_protocol", None), "read_queue", ())
