"""Treat warnings as errors in our own modules only, not in the SDK and its dependencies."""

from __future__ import annotations

import warnings

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Replace the project's warning filters, for tests and for objects freed after them."""
    warnings.simplefilter("ignore")
    for line in ("ignore", "error:::modelstudio_core"):
        config.addinivalue_line("filterwarnings", line)
