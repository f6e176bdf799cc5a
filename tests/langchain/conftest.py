"""The real local model, started once for all tests of the adapter that talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import local_model


@pytest.fixture(scope="session")
def local_model_url() -> Iterator[str]:
    """Its base URL. Told to call tools on "auto" after a user turn, since it never does of its own accord.

    It has one name for itself, whatever it was asked for: "qwen-flash", the suite's other model.
    """
    with local_model.running(force_auto=True, model_name="qwen-flash") as server:
        yield server.base_url
