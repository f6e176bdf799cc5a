"""A local model for the examples, configured for short answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import local_model
from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio


@pytest.fixture(scope="session")
def examples_model_url() -> Iterator[str]:
    """Return the base URL of a model that calls a tool after a user turn, and answers after a result."""
    with local_model.running(force_auto=True, budget=16, max_tokens=48) as server:
        yield server.base_url


@pytest.fixture
def a_local_model(examples_model_url: str) -> Callable[..., ChatModelStudio]:
    """Return a function that creates a model object for it."""

    def make(**settings: Any) -> ChatModelStudio:
        return ChatModelStudio(model="qwen-plus", base_url=examples_model_url, temperature=0, **settings)

    return make


@pytest.fixture
def a_local_llm(examples_model_url: str) -> Callable[..., ModelStudio]:
    """The same for LlamaIndex."""

    def make(**settings: Any) -> ModelStudio:
        return ModelStudio(model="qwen-plus", base_url=examples_model_url, temperature=0, **settings)

    return make
