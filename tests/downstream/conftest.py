"""Warnings are errors in our own modules; what downstream packages warn of is theirs."""

from __future__ import annotations

import warnings

import pytest

OURS = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the project's rule that every warning is an error, for the tests and for what is freed after them."""
    warnings.simplefilter("ignore")
    for line in ("ignore", *(f"error:::{package}" for package in OURS)):
        config.addinivalue_line("filterwarnings", line)
