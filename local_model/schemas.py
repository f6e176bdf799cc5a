"""Limit the length of strings in a schema, because a small model would write up to max_tokens."""

from __future__ import annotations

from typing import Any

_SCHEMA = ("items", "additionalProperties")
_LIST_OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")
_NAMED_SCHEMAS = ("properties", "patternProperties", "$defs", "definitions")
_BOUNDS = frozenset(("enum", "const", "pattern", "format", "maxLength"))


def bounded(schema: Any, length: int) -> Any:
    """Return a copy of a JSON schema where unlimited strings have `maxLength` = `length` characters.

    Values (`default`, `enum`, `examples`) are not changed.
    """
    if not isinstance(schema, dict):
        return schema
    copy = dict(schema)
    kind = schema.get("type")
    if (kind == "string" or (isinstance(kind, list) and "string" in kind)) and not _BOUNDS & schema.keys():
        least = schema.get("minLength")
        copy["maxLength"] = max(length, least) if isinstance(least, int) else length
    for name in _SCHEMA:
        if name in copy:
            copy[name] = bounded(copy[name], length)
    for name in _LIST_OF_SCHEMAS:
        if isinstance(copy.get(name), list):
            copy[name] = [bounded(each, length) for each in copy[name]]
    for name in _NAMED_SCHEMAS:
        if isinstance(copy.get(name), dict):
            copy[name] = {key: bounded(each, length) for key, each in copy[name].items()}
    return copy
