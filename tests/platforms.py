"""What the tests themselves need of the system they run on."""

from __future__ import annotations

import gc
import os
import sys

import pytest

streams_async_agents = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="LangGraph does not stream the messages of async agents on Python 3.10"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def descriptors() -> int:
    """Return the number of open file descriptors, or 0 where the system does not list them (Windows)."""
    gc.collect()
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0
