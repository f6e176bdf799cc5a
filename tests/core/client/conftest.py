"""Fixtures for the tests of the client."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def half_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retry delays constant: 0.25, 0.5, 1 … s."""
    monkeypatch.setattr("modelstudio_core.http.flow.random.random", lambda: 0.5)
