"""The standard suite's cassettes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vcr.cassette import Cassette

from tests.cassette_format import play_often


@pytest.fixture(autouse=True)
def vcr(request: pytest.FixtureRequest) -> Iterator[Cassette | None]:
    """In place of the plugin's fixture: for a test that is marked "vcr", its class's cassette, in our form."""
    if request.node.get_closest_marker("vcr") is None:
        yield None
        return
    with play_often(request.cls.cassette) as cassette:
        yield cassette
