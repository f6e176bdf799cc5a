"""Provide the LLM of the LlamaIndex examples, and print its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.llms import ChatResponse

from examples.place import a_place
from examples.terminal import AnswerPrinter
from llama_index_modelstudio import ModelStudio


@contextmanager
def an_llm(**settings: Any) -> Iterator[ModelStudio]:
    """Yield an LLM for the duration of the block.

    Args:
        **settings: fields of `ModelStudio`.
    """
    with a_place() as place, ModelStudio(**place, **settings) as llm:
        yield llm


def show(responses: Iterable[ChatResponse]) -> ChatResponse:
    """Stream an answer to the terminal, with dim reasoning, and return the last response, which is complete."""
    speech, response = AnswerPrinter(), None
    for response in responses:
        speech.add(response.additional_kwargs.get("thinking_delta", ""), response.delta or "")
    assert response is not None
    return response
