"""Use private names of httpx, httpcore and anyio. No other file uses any.

They are the same in httpx 0.27.0 and 0.28.1, and in httpcore 1.0 and anyio 4; the tests run with the oldest and newest.
"""

from __future__ import annotations

from typing import Any

import httpx


def set_pool(transport: httpx.HTTPTransport | httpx.AsyncHTTPTransport, pool: Any) -> None:
    """Replace the connection pool of an httpx transport. httpx has no argument for it."""
    transport._pool = pool


def anyio_queue(network: Any) -> Any:
    """Return the bytes that anyio has read from asyncio but not returned yet; empty for other streams."""
    stream: Any = getattr(network, "_stream", None)
    while hasattr(stream, "transport_stream"):  # TLS
        stream = stream.transport_stream
    return getattr(getattr(stream, "_protocol", None), "read_queue", ())
