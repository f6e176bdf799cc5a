"""Two Dask worker processes with a key in their environment. Warnings of downstream packages are ignored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dask.distributed import Client

from examples import dask_workers
from tests.downstream.conftest import pytest_configure  # noqa: F401  # a hook

KEY = "sk-key-of-the-workers"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the key in the environment, which worker processes inherit."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    return KEY


@pytest.fixture
def client(key: str) -> Iterator[Client]:
    """Start the example's cluster."""
    with dask_workers.a_cluster() as found:
        yield found
