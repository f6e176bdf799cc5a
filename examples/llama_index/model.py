"""The model object that the LlamaIndex examples talk to, and how its answers look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.llms import ChatResponse

from examples.place import a_place
from examples.terminal import Speech
from llama_index_modelstudio import ModelStudio


@contextmanager
def an_llm(**settings: Any) -> Iterator[ModelStudio]:
    """An LLM for as long as the block runs.

    Args:
        **settings: of `ModelStudio`.
    """
    with a_place() as place, ModelStudio(**place, **settings) as llm:
        yield llm


def show(responses: Iterable[ChatResponse]) -> ChatResponse:
    """Stream an answer to the terminal, thinking dim, and give its last response, which holds everything."""
    speech, response = Speech(), None
    for response in responses:
        speech.add(response.additional_kwargs.get("thinking_delta", ""), response.delta or "")
    assert response is not None
    return response
