"""Warnings are errors in our own modules; what the SDK and its dependencies warn of is theirs."""

from __future__ import annotations

import warnings

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Replace the project's rule that every warning is an error, for the tests and for what is freed after them."""
    warnings.simplefilter("ignore")
    for line in ("ignore", "error:::modelstudio_core"):
        config.addinivalue_line("filterwarnings", line)
