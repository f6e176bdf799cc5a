"""Treat warnings as errors in our own modules only, not in downstream packages."""

from __future__ import annotations

import warnings

import pytest

OURS = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the project's warning filters, for tests and for objects freed after them."""
    warnings.simplefilter("ignore")
    for line in ("ignore", *(f"error:::{package}" for package in OURS)):
        config.addinivalue_line("filterwarnings", line)
