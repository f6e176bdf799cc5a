"""Every field of a public class has a description in its JSON schema, and annotations of methods evaluate."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel

import langchain_modelstudio
import llama_index_modelstudio
from tests.snippets import run

PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")
PUBLIC = [getattr(package, name) for package in (langchain_modelstudio, llama_index_modelstudio)
          for name in package.__all__]  # fmt: skip
CLASSES = [each for each in PUBLIC if isinstance(each, type) and issubclass(each, BaseModel)]
each_class = pytest.mark.parametrize(
    "cls", CLASSES, ids=[f"{cls.__module__.split('_modelstudio')[0]}-{cls.__name__}" for cls in CLASSES]
)


def properties(cls: type[BaseModel]) -> dict[str, Any]:
    """Return the properties of the JSON schema. In validation mode, LangChain's own fields are not included."""
    mode = "serialization" if cls.__module__.startswith("langchain") else "validation"
    properties: dict[str, Any] = cls.model_json_schema(mode=mode)["properties"]
    return properties


@each_class
def test_every_field_has_a_description(cls: type[BaseModel]) -> None:
    declared = own_fields(cls)
    schema = properties(cls)

    assert declared
    assert not [name for name in declared if not cls.model_fields[name].description]
    assert not [name for name in declared & schema.keys() if not schema[name].get("description")]


CODE = re.compile(r"^    \.\. code-block:: python\n\n((?:        .*\n?|\n)+)", re.MULTILINE)
SECTIONS = ("Setup", "Key init args for generation", "Instantiate", "Invoke", "Stream", "Async", "Tools",
            "Structured output", "Image", "Usage", "Raises")  # fmt: skip


def own_fields(cls: type[BaseModel]) -> set[str]:
    """Return the names of the fields that these packages declare."""
    ours = [base for base in cls.__mro__ if base.__module__.split(".")[0] in PACKAGES]
    return cls.model_fields.keys() & {name for base in ours for name in inspect.get_annotations(base)}


@each_class
def test_the_docstring_lists_each_field(cls: type[BaseModel]) -> None:
    """Each field has a line of its own under "Key init args", and nothing else has."""
    text = inspect.getdoc(cls) or ""
    parts = re.findall(r"^Key init args.*:\n((?:    .*\n)+)", text, re.MULTILINE)
    listed = [name for part in parts for name in re.findall(r"^    (\w+):", part, re.MULTILINE)]
    assert len(listed) == len(set(listed))
    framework = {"embed_batch_size", "embeddings_cache"}  # fields of LlamaIndex that behave in a way of their own
    assert set(listed) - framework == own_fields(cls)


@pytest.mark.parametrize("cls", [langchain_modelstudio.ChatModelStudio, llama_index_modelstudio.ModelStudio])
def test_the_sections_of_the_chat_models(cls: type[BaseModel]) -> None:
    """They are those of LangChain's partner packages, in their order."""
    headings = re.findall(r"^([A-Z].*):$", inspect.getdoc(cls) or "", re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == list(SECTIONS)


@each_class
def test_the_code_of_a_docstring_runs(
    cls: type[BaseModel], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its blocks run one after the other, as in a notebook."""
    blocks = CODE.findall(inspect.getdoc(cls) or "")
    assert len(blocks) > 1
    assert run(textwrap.dedent("".join(blocks)), cls.__name__, monkeypatch)


@each_class
def test_the_annotations_of_methods_evaluate(cls: type[BaseModel]) -> None:
    """`with_fallbacks` of LangChain and both frameworks' function tools evaluate them."""
    methods = [
        method
        for name, method in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and method.__module__.partition(".")[0] in PACKAGES
    ]
    assert methods
    for method in methods:
        assert "return" in get_type_hints(method), method.__qualname__
