"""What all tests share: none of them sees this machine's settings of the service."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_dashscope_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a key, an address or a region that the developer has set."""
    for name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
        monkeypatch.delenv(name)
