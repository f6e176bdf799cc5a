"""Provide the chat model of the LangChain examples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.place import a_place
from langchain_modelstudio import ChatModelStudio


@contextmanager
def a_model(**settings: Any) -> Iterator[ChatModelStudio]:
    """Yield a chat model for the duration of the block.

    Args:
        **settings: fields of `ChatModelStudio`.
    """
    with a_place() as place, ChatModelStudio(**place, **settings) as llm:
        yield llm
