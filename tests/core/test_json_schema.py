"""Inlining of references in JSON schemas. The caller's schemas are not changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.json_schema import has_definitions, inline_references, root_of

STRING = {"type": "string"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
CAT, DOG = {"type": "object", "title": "Cat"}, {"type": "object", "title": "Dog"}


def holding(part: Any, **definitions: Any) -> dict[str, Any]:
    """A schema with one property, and definitions."""
    return {"$defs": definitions, "type": "object", "properties": {"a": part}}


def held(part: Any) -> dict[str, Any]:
    """The same schema without definitions."""
    return {"type": "object", "properties": {"a": part}}


INLINED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "no references": (held(STRING), held(STRING)),
    "one": (holding({"$ref": "#/$defs/S"}, S=STRING), held(STRING)),
    "unused definitions": (holding({"$ref": "#/$defs/S"}, S=STRING, T=STRING), held(STRING)),
    "in a list, in items, in additionalProperties": (
        holding({"anyOf": [{"$ref": "#/$defs/S"}], "items": {"$ref": "#/$defs/S"},
                 "additionalProperties": {"$ref": "#/$defs/S"}}, S=STRING),
        held({"anyOf": [STRING], "items": STRING, "additionalProperties": STRING}),
    ),
    "of a definition": (holding({"$ref": "#/$defs/T"}, S=STRING, T={"items": {"$ref": "#/$defs/S"}}),
                        held({"items": STRING})),
    "at the root": ({"$defs": {"S": held(STRING)}, "$ref": "#/$defs/S", "title": "T"}, {**held(STRING), "title": "T"}),
    "keywords beside it win": (
        holding({"$ref": "#/$defs/S", "description": "mine", "default": None}, S={**STRING, "description": "its"}),
        held({**STRING, "description": "mine", "default": None}),
    ),
    "definitions": ({"definitions": {"S": STRING}, "properties": {"a": {"$ref": "#/definitions/S"}}},
                    {"properties": {"a": STRING}}),
    "escapes": (holding({"$ref": "#/$defs/a~1b~0c%20d%25"}, **{"a/b~c d%": STRING}), held(STRING)),
    "to a property": ({"properties": {"a": STRING, "b": {"$ref": "#/properties/a"}}},
                      {"properties": {"a": STRING, "b": STRING}}),
    "to a list's item": ({"anyOf": [STRING, {"$ref": "#/anyOf/0"}]}, {"anyOf": [STRING, STRING]}),
    "a property of that name": (holding({"properties": {"$ref": {"$ref": "#/$defs/S"}, "default": {"$ref": "#/$defs/S"},
                                                        "$defs": STRING}}, S=STRING),
                                held({"properties": {"$ref": STRING, "default": STRING, "$defs": STRING}})),
    "data is no schema": (holding({"$ref": "#/$defs/S", "default": {"$ref": "x"}, "enum": [{"$ref": "x"}],
                                   "const": {"$ref": "x"}, "examples": [{"$ref": "x"}]}, S={}),
                          held({"default": {"$ref": "x"}, "enum": [{"$ref": "x"}], "const": {"$ref": "x"},
                                "examples": [{"$ref": "x"}]})),
    "a discriminator": (
        holding({"oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
                 "discriminator": {"propertyName": "kind",
                                   "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}}}, Cat=CAT, Dog=DOG),
        held({"oneOf": [CAT, DOG], "discriminator": {"propertyName": "kind"}}),
    ),
    "a discriminator without its definitions": (
        held({"discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}}}),
        held({"discriminator": {"propertyName": "kind"}}),
    ),
    "a discriminator that recurs": (
        holding({"oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Node"}],
                 "discriminator": {"propertyName": "kind",
                                   "mapping": {"cat": "#/$defs/Cat", "node": "#/$defs/Node"}}}, Cat=CAT, Node=NODE),
        {"$defs": {"Node": NODE},
         **held({"oneOf": [CAT, {"$ref": "#/$defs/Node"}],
                 "discriminator": {"propertyName": "kind", "mapping": {"node": "#/$defs/Node"}}})},
    ),
    "recursive beside what is not": (
        holding({"anyOf": [{"$ref": "#/$defs/Node"}, {"$ref": "#/$defs/S"}]}, Node=NODE, S=STRING),
        {"$defs": {"Node": NODE}, **held({"anyOf": [{"$ref": "#/$defs/Node"}, STRING]})},
    ),
    "recursive inside what is not": (
        holding({"$ref": "#/$defs/Tree"}, Tree={"properties": {"root": {"$ref": "#/$defs/Node"}}}, Node=NODE),
        {"$defs": {"Node": NODE}, **held({"properties": {"root": {"$ref": "#/$defs/Node"}}})},
    ),
    "what is not inside what is recursive": (
        holding({"$ref": "#/$defs/N"}, S=STRING, N={"items": {"$ref": "#/$defs/N"}, "not": {"$ref": "#/$defs/S"}}),
        {"$defs": {"N": {"items": {"$ref": "#/$defs/N"}, "not": STRING}}, **held({"$ref": "#/$defs/N"})},
    ),
}  # fmt: skip

MUTUAL = {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {"items": {"$ref": "#/$defs/A"}}}
KEPT: dict[str, dict[str, Any]] = {
    "recursive": holding({"$ref": "#/$defs/Node"}, Node=NODE),
    "recursive at the root": {"$defs": {"Node": NODE}, "$ref": "#/$defs/Node"},
    "each other": holding({"$ref": "#/$defs/A"}, **MUTUAL),
    "the root": {"properties": {"a": {"items": {"$ref": "#"}}}},
    "an ancestor": {"properties": {"a": {"items": {"$ref": "#/properties/a"}}}},
    "remote": held({"$ref": "https://example.com/schema.json"}),
    "an anchor": held({"$ref": "#here"}),
    "nothing": held({"$ref": "#/$defs/Gone"}),
    "a schema that is true": holding({"$ref": "#/$defs/Any"}, Any=True),
    "not a reference": held({"properties": {"$ref": STRING}}),
}


@pytest.mark.parametrize(("schema", "expected"), INLINED.values(), ids=INLINED)
def test_references_are_inlined(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    """Except recursive ones. The input is not changed."""
    before = json.dumps(schema)
    assert inline_references(schema) == expected
    assert inline_references(inline_references(schema)) == expected
    assert json.dumps(schema) == before


@pytest.mark.parametrize("schema", KEPT.values(), ids=KEPT)
def test_recursive_and_unknown_references_stay(schema: dict[str, Any]) -> None:
    """The schema is unchanged."""
    assert inline_references(schema) == schema


def test_exponential_definitions_stay() -> None:
    """Forty levels that each use the next one twice would be a trillion values when inlined."""
    levels: dict[str, Any] = {
        f"L{n}": {"properties": {side: {"$ref": f"#/$defs/L{n + 1}"} for side in ("a", "b")}} for n in range(40)
    }
    schema = holding({"$ref": "#/$defs/L0"}, **levels, L40=STRING)
    assert inline_references(schema) is schema
    assert "$ref" not in json.dumps(inline_references(holding({"$ref": "#/$defs/L35"}, **levels, L40=STRING)))


def test_the_root_and_its_definitions() -> None:
    """The root of a recursive schema is the definition that it refers to."""
    assert root_of(KEPT["recursive at the root"]) == NODE
    assert root_of(held(STRING)) == held(STRING)
    assert has_definitions(KEPT["recursive"])
    assert not has_definitions(held(STRING))
