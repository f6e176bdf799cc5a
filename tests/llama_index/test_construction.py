"""Public classes are complete when imported, although the settings they inherit are built only if needed."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from llama_index_modelstudio import (
    ModelStudio,
    ModelStudioEmbedding,
    ModelStudioMultiModalEmbedding,
    ModelStudioRerank,
)


@pytest.mark.parametrize("cls", [ModelStudio, ModelStudioEmbedding, ModelStudioMultiModalEmbedding, ModelStudioRerank])
def test_public_classes_are_built_at_import(cls: type[BaseModel]) -> None:
    """Pydantic builds a deferred class at its first use, which is not thread-safe."""
    assert cls.__pydantic_complete__
