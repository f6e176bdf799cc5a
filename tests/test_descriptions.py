"""Every field that a public class declares has a description in its JSON schema."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel

import langchain_modelstudio
import llama_index_modelstudio

PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")
PUBLIC = [getattr(package, name) for package in (langchain_modelstudio, llama_index_modelstudio)
          for name in package.__all__]  # fmt: skip
CLASSES = [each for each in PUBLIC if isinstance(each, type) and issubclass(each, BaseModel)]


def properties(cls: type[BaseModel]) -> dict[str, Any]:
    """Return the properties of the JSON schema. LangChain's own fields have none in validation mode."""
    mode = "serialization" if cls.__module__.startswith("langchain") else "validation"
    properties: dict[str, Any] = cls.model_json_schema(mode=mode)["properties"]
    return properties


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__.split('_modelstudio')[0]}-{cls.__name__}")
def test_every_field_has_a_description(cls: type[BaseModel]) -> None:
    ours = [base for base in cls.__mro__ if base.__module__.split(".")[0] in PACKAGES]
    declared = cls.model_fields.keys() & {name for base in ours for name in inspect.get_annotations(base)}
    schema = properties(cls)

    assert declared
    assert not [name for name in declared if not cls.model_fields[name].description]
    assert not [name for name in declared & schema.keys() if not schema[name].get("description")]
