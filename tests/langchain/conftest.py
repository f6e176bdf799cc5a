"""The real local model, started once for all tests of the adapter that talk to it; the standard suite's cassettes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vcr.cassette import Cassette

import local_model
from tests.cassette_format import play_often


@pytest.fixture(scope="session")
def local_model_url() -> Iterator[str]:
    """Its base URL. Told to call tools on "auto" after a user turn, since it never does of its own accord.

    It has one name for itself, whatever it was asked for: "qwen-flash", the suite's other model.
    """
    with local_model.running(force_auto=True, model_name="qwen-flash") as server:
        yield server.base_url


@pytest.fixture(autouse=True)
def vcr(request: pytest.FixtureRequest) -> Iterator[Cassette | None]:
    """In place of the plugin's fixture: for a test that is marked "vcr", its class's cassette, in our form."""
    if request.node.get_closest_marker("vcr") is None:
        yield None
        return
    with play_often(request.cls.cassette) as cassette:
        yield cassette
