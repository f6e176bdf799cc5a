"""Cassettes of the standard suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vcr.cassette import Cassette

from tests.cassette_format import play_often


@pytest.fixture(autouse=True)
def vcr(request: pytest.FixtureRequest) -> Iterator[Cassette | None]:
    """Replace the plugin's fixture: for a test marked "vcr", the cassette of its class in our format."""
    if request.node.get_closest_marker("vcr") is None:
        yield None
        return
    with play_often(request.cls.cassette) as cassette:
        yield cassette
