"""Share connection pools within the process: one for sync requests, and one per event loop for async requests.

A pool closes when its last user has left, when its event loop ends, or at exit. A forked child process starts without
the pools of its parent.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import Any
from weakref import WeakKeyDictionary

from modelstudio_core.http.event_loop import running_loop
from modelstudio_core.http.pool import AsyncConnectionPool, ConnectionPool

_lock = threading.Lock()
_pool: ConnectionPool | None = None
_pool_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncConnectionPool] = WeakKeyDictionary()
_inherited_pools: list[Any] = []
fork_count = 0
"""Number of forks since this module was imported. Detects a forked child faster than `os.getpid`."""


def sync_pool(user: object) -> ConnectionPool:
    """Return the pool for sync requests. It stays open until `user` releases it or is garbage-collected."""
    global _pool
    pool = _pool
    if pool is None or pool.closed:
        with _lock:
            if _pool is None or _pool.closed:
                _pool = ConnectionPool()
            pool = _pool
    if user not in pool.users:
        pool.users.add(user)
    return pool


def release_sync_pool(user: object) -> None:
    """Close the pool for sync requests if `user` was its last user."""
    pool = _pool
    if pool is not None:
        pool.users.discard(user)
        if not pool.users:
            pool.close()


async def async_pool(user: object) -> AsyncConnectionPool:
    """Return the pool of the running event loop. It stays open until `user` releases it or is garbage-collected."""
    loop = running_loop()
    pool = _pool_by_loop.get(loop)
    if pool is None or pool.closed:
        _discard_closed_loops()
        pool = AsyncConnectionPool()
        with _lock:
            _pool_by_loop[loop] = pool
        await pool.start()
    if user not in pool.users:
        pool.users.add(user)
    return pool


async def release_async_pool(user: object) -> None:
    """Close the pool of the running event loop if `user` was its last user."""
    pool = _pool_by_loop.get(running_loop())
    if pool is not None:
        pool.users.discard(user)
        if not pool.users:
            await pool.aclose()


def _discard_closed_loops() -> None:
    with _lock:
        dead = [loop for loop in _pool_by_loop if loop.is_closed()]
        pools = [_pool_by_loop.pop(loop) for loop in dead]
    for pool in pools:
        pool.discard()


@atexit.register
def _at_exit() -> None:
    if _pool is not None:
        _pool.close_all()
    for pool in list(_pool_by_loop.values()):
        pool.discard()


def _in_forked_child() -> None:
    """Discard the parent's pools.

    Its async pools are kept, because closing or collecting them would change the selector of the parent's loop.
    """
    global _lock, _pool, _pool_by_loop, fork_count
    fork_count += 1
    _lock = threading.Lock()
    if _pool is not None:
        _pool.discard()
        _pool = None
    _inherited_pools.append(list(_pool_by_loop.items()))
    _pool_by_loop = WeakKeyDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
