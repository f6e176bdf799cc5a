"""Parametrization of tests by protocol."""

from __future__ import annotations

from contextvars import ContextVar

import pytest

PROTOCOLS = ("openai", "dashscope")
spoken: ContextVar[str] = ContextVar("spoken", default="openai")
"""The protocol of the models that the adapters' `chat` makes."""
both_protocols = pytest.mark.usefixtures("each_protocol")
"""The test, or the module, is about both: it runs once for each."""
