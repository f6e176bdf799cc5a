"""Public classes are complete when imported, although the settings they inherit are built only if needed."""

from __future__ import annotations

import pytest

from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank
from modelstudio_core.settings import ChatSettings


@pytest.mark.parametrize("cls", [ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank])
def test_public_classes_are_built_at_import(cls: type[ChatModelStudio]) -> None:
    """Pydantic builds a deferred class at its first use, which is not thread-safe."""
    assert cls.__pydantic_complete__
    assert not ChatSettings.__pydantic_complete__

    class Own(cls):  # type: ignore[misc,valid-type]
        note: str = ""

    assert Own.__pydantic_complete__


def test_unknown_keys_of_a_given_profile_are_reported() -> None:
    with pytest.warns(UserWarning, match="odd_key"):
        ChatModelStudio(model="qwen-plus", api_key="sk-a", profile={"odd_key": True})  # type: ignore[arg-type,typeddict-unknown-key]
