"""The model object that the LangChain examples talk to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from examples.place import a_place
from langchain_modelstudio import ChatModelStudio


@contextmanager
def a_model(**settings: Any) -> Iterator[ChatModelStudio]:
    """A chat model for as long as the block runs.

    Args:
        **settings: of `ChatModelStudio`.
    """
    with a_place() as place, ChatModelStudio(**place, **settings) as llm:
        yield llm
