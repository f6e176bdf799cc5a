"""The local model for the notebooks and the page, in the environment that a user would set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import local_model


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The origin of a model that calls a tool after a user turn."""
    with local_model.running(force_auto=True, budget=16, max_tokens=48) as server:
        yield server.base_url.removesuffix("/compatible-mode/v1")
