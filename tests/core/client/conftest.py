"""Fixtures of the client's tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def half_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of 0.25, 0.5, 1 … s instead of random ones."""
    monkeypatch.setattr("modelstudio_core.http.flow.random.random", lambda: 0.5)
