"""Fixtures for the tests of the catalogue."""

from __future__ import annotations

import pytest

from modelstudio_core import catalogue as models


@pytest.fixture(autouse=True)
def empty_caches() -> None:
    models._look_up.cache_clear()
    models._catalogue.cache_clear()
