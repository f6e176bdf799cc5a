"""Fixtures of the core's tests."""

from __future__ import annotations

import pytest

from tests.core.decoding import GENERATED


@pytest.fixture(autouse=True)
def generated_call_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every id that the core generates is the same, so that deltas can be compared."""
    monkeypatch.setattr("modelstudio_core.protocols.assembler.generated_call_id", lambda: GENERATED)
