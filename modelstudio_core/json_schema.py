"""Inline the references of JSON schemas.

Models follow a schema without references more reliably: pydantic-ai inlines `$defs` for every Qwen profile. Recursive
definitions, which cannot be inlined, are kept with their `$ref`s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

Schema = Mapping[str, Any]

_DEFINITIONS = ("$defs", "definitions")
_NAMED_SCHEMAS = frozenset({*_DEFINITIONS, "properties", "patternProperties", "dependentSchemas", "dependencies"})
_DATA = frozenset({"const", "default", "enum", "example", "examples"})  # a "$ref" in these is data
_MAX_VALUES = 10_000  # maximum size of an inlined schema, which can grow exponentially


def inline_references(schema: Schema) -> Schema:
    """Return `schema` with each local `$ref` replaced by its target, and without unused definitions.

    Keywords beside a `$ref` override those of the target. Recursive, remote and dangling references are kept, as is the
    whole schema if inlining makes it larger than 10,000 values. The input is not changed, but the result shares parts
    with it.
    """
    if not _has_references(schema):  # fast path for most schemas
        return schema
    inlined = _Inliner(schema).inlined()
    return inlined if _size(inlined, {}) <= _MAX_VALUES else schema


def has_definitions(schema: Schema) -> bool:
    """Return True if the root of `schema` has definitions."""
    return any(name in schema for name in _DEFINITIONS)


def root_of(schema: Schema) -> Schema:
    """Return the definition that the root of `schema` refers to, as a recursive one does, or `schema` itself."""
    return _resolve(schema, schema.get("$ref")) or schema


class _Inliner:
    """Inline the references of one schema. Each target is expanded once and shared."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._expanded: dict[str, Any] = {}
        self._inlinable: dict[str, bool] = {}
        self._target_references: dict[str, set[str]] = {}  # references in the target of each reference
        self._kept_references: dict[str, None] = {}  # references that are kept, in order

    def inlined(self) -> Schema:
        root = {name: value for name, value in self._schema.items() if name not in _DEFINITIONS}
        result = self._expand(root)
        kept: dict[str, dict[str, Any]] = {}
        done = 0
        while done < len(self._kept_references):  # a kept definition may refer to others
            container, name, *_ = [*_parts([*self._kept_references][done]), "", ""]
            done += 1
            if container in _DEFINITIONS and name in self._schema.get(container, ()):
                kept.setdefault(container, {})[name] = self._expand(self._schema[container][name])
        return {**kept, **result}

    def _expand(self, node: Any) -> Any:
        if not isinstance(node, Mapping):
            return node
        expanded = _with_subschemas(node, self._expand)
        if isinstance(discriminator := node.get("discriminator"), Mapping):
            expanded["discriminator"] = self._without_inlined(discriminator)
        ref = node.get("$ref")
        if not isinstance(ref, str):
            return expanded
        if not self._is_inlinable(ref):
            self._kept_references[ref] = None
            return expanded
        if ref not in self._expanded:
            self._expanded[ref] = self._expand(_resolve(self._schema, ref))
        del expanded["$ref"]
        return {**self._expanded[ref], **expanded}

    def _without_inlined(self, discriminator: Schema) -> Schema:
        """Return a discriminator without mappings to removed definitions (OpenAPI requires only the property)."""
        mapping = discriminator.get("mapping")
        if not isinstance(mapping, Mapping):
            return discriminator
        left = {value: ref for value, ref in mapping.items() if not self._is_removed(ref)}
        self._kept_references |= dict.fromkeys(ref for ref in left.values() if isinstance(ref, str))
        rest = {name: value for name, value in discriminator.items() if name != "mapping"}
        return {**rest, "mapping": left} if left else rest

    def _is_removed(self, ref: Any) -> bool:
        """Return True if a local reference has been inlined or has no target."""
        if not isinstance(ref, str) or not ref.startswith("#/"):
            return False
        return _resolve(self._schema, ref) is None or self._is_inlinable(ref)

    def _is_inlinable(self, ref: str) -> bool:
        if ref not in self._inlinable:
            self._inlinable[ref] = _resolve(self._schema, ref) is not None and not self._is_recursive(ref)
        return self._inlinable[ref]

    def _is_recursive(self, ref: str) -> bool:
        """Return True if the target of `ref` refers to itself, directly or indirectly."""
        seen: set[str] = set()
        waiting = [ref]
        while waiting:
            at = waiting.pop()
            if at not in self._target_references:
                self._target_references[at] = _references(_resolve(self._schema, at))
            if ref in self._target_references[at]:
                return True
            waiting += self._target_references[at] - seen
            seen |= self._target_references[at]
        return False


def _has_references(schema: Schema) -> bool:
    """Return True if `schema` has a `$ref` or discriminator at any depth."""
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if "$ref" in value or "discriminator" in value:
                return True
            waiting += value.values()
    return False


def _references(schema: Any) -> set[str]:
    """Return the direct references in `schema`."""
    found: set[str] = set()

    def visit(node: Any) -> Any:
        if isinstance(node, Mapping):
            if isinstance(ref := node.get("$ref"), str):
                found.add(ref)
            _with_subschemas(node, visit)
        return node

    visit(schema)
    return found


def _with_subschemas(schema: Schema, change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a copy of `schema` with `change` applied to each schema directly in it."""
    return {keyword: _changed(keyword, value, change) for keyword, value in schema.items()}


def _changed(keyword: str, value: Any, change: Callable[[Any], Any]) -> Any:
    if keyword in _DATA:
        return value
    if isinstance(value, list):
        return [change(each) for each in value]
    if keyword in _NAMED_SCHEMAS and isinstance(value, Mapping):
        return {name: change(each) for name, each in value.items()}
    return change(value)


def _resolve(schema: Schema, ref: Any) -> Schema | None:
    """Return the target of a local reference (a JSON pointer), or None if there is none."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    node: Any = schema
    for part in _parts(ref):
        if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return None
    return node if isinstance(node, Mapping) else None


def _parts(ref: str) -> list[str]:
    """Return the steps of a JSON pointer in a URI fragment, unescaped (RFC 6901, sections 3 and 6)."""
    return [unquote(part).replace("~1", "/").replace("~0", "~") for part in ref.split("/")[1:]]


def _size(value: Any, sizes: dict[int, int]) -> int:
    """Return the number of JSON values in `value`. Shared parts are counted each time, but visited once."""
    if not isinstance(value, Mapping | list):
        return 1
    if id(value) not in sizes:
        parts = value.values() if isinstance(value, Mapping) else value
        sizes[id(value)] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[id(value)]
