"""Find the event loop of async calls, which is asyncio's, or another implementation of it, such as uvloop's.

httpx also runs on trio, but LangChain and much of LlamaIndex do not. So trio is refused by name, before a request is
sent.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from modelstudio_core.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop. Raises ConfigurationError if there is none, as in trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        where = "trio, which is not supported" if _in_trio() else "no event loop"
        raise ConfigurationError(
            f"async methods need a running event loop of asyncio (or uvloop), but this is {where}: call them from "
            "asyncio.run(...), or call the sync methods in a thread, such as with trio.to_thread.run_sync"
        ) from None


def refuse_trio() -> None:
    """Raise ConfigurationError in trio. Without a running event loop, do nothing."""
    if _in_trio():
        running_loop()


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the result of a function that may block, called in a thread.

    Raises ConfigurationError like `running_loop`.
    """
    running_loop()
    return await asyncio.to_thread(function, *args, **kwargs)


def _in_trio() -> bool:
    trio = sys.modules.get("trio")
    try:
        return trio is not None and trio.lowlevel.current_trio_token() is not None
    except RuntimeError:
        return False
