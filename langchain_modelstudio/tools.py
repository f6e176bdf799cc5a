"""Convert LangChain tools and schemas to the format of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from typing_extensions import is_typeddict

from langchain_modelstudio.errors import ConfigurationError
from modelstudio_core.built_in_tools import built_in_name
from modelstudio_core.json_schema import has_definitions, inline_references, root_of
from modelstudio_core.tools import checked_tool, json_schema_format, not_a_function, tool_list

# errors that langchain-core and pydantic raise for unsupported signatures, annotations and schemas
_CONVERSION_ERRORS = (ValueError, TypeError, LookupError, NameError, AttributeError)


def openai_tools(tools: Any, strict: bool | None, protocol: str = "openai") -> list[dict[str, Any]]:
    """Return tools as OpenAI tools, and the built-in tools of a `protocol` that has them as they are.

    Raises:
        ConfigurationError: something in `tools` is not a function, or `tools` is not a list.
    """
    built_in = protocol == "responses"
    return [
        checked_tool(
            tool if built_in and built_in_name(tool) else _openai_tool(tool, strict), strict, built_in=built_in
        )
        for tool in tool_list(tools)
    ]


def _openai_tool(tool: Any, strict: bool | None) -> dict[str, Any]:
    from langchain_core.utils.function_calling import convert_to_openai_tool  # imported at first use

    try:
        return convert_to_openai_tool(_convertible(tool), strict=strict)
    except _CONVERSION_ERRORS as error:
        raise not_a_function(tool) from error
    except RecursionError as error:
        raise _recursion_error(tool) from error


def openai_function(schema: Any, strict: bool | None = None) -> dict[str, Any]:
    """Return the OpenAI function of `schema`. Raises ConfigurationError if it has no name or is not a schema."""
    from langchain_core.utils.function_calling import convert_to_openai_function  # imported at first use

    try:
        function = convert_to_openai_function(_convertible(unwrapped(schema)), strict=strict)
    except _CONVERSION_ERRORS as error:
        raise ConfigurationError(f"{str(schema)[:120]} cannot be converted to a schema: {error}") from error
    except RecursionError as error:
        raise _recursion_error(schema) from error
    if not isinstance(function["name"], str) or not isinstance(function.get("parameters", {}), Mapping):
        raise ConfigurationError(
            f"{str(schema)[:120]} cannot be converted to a schema: its name must be a string, and its parameters a dict"
        )
    return function


def _recursion_error(schema: object) -> ConfigurationError:
    return ConfigurationError(
        f"{str(schema)[:120]} cannot be converted to a schema, because it is recursive: use a pydantic class, or the "
        "TypedDict of typing_extensions"
    )


def response_format(schema: Any, strict: bool | None) -> dict[str, Any]:
    """Return the `response_format` of a schema. A `response_format` is returned unchanged."""
    if isinstance(schema, Mapping) and (schema.get("type") in ("json_object", "text") or "json_schema" in schema):
        return dict(schema)
    function = openai_function(schema, strict)
    return json_schema_format(
        function["name"],
        function.get("parameters", {}),
        description=function.get("description"),
        strict=function.get("strict", strict),
    )


def unwrapped(schema: Any) -> Any:
    """Return the function or schema in an OpenAI tool or `response_format`. Other values are returned unchanged."""
    if not isinstance(schema, Mapping):
        return schema
    for wrapping in ("function", "json_schema"):
        if isinstance(schema.get(wrapping), Mapping):
            schema = schema[wrapping]
    if "name" in schema and isinstance(schema.get("schema"), Mapping):
        return {**{name: value for name, value in schema.items() if name != "schema"}, "parameters": schema["schema"]}
    return schema


# ---------------------------------------------------------------- recursive schemas


def _convertible(tool: Any) -> Any:
    """Return a tool or schema in a form that langchain-core converts without loss.

    langchain-core replaces recursive references with {} (`dereference_refs`), and recurses endlessly on mutually
    recursive definitions. Tools whose schema keeps definitions are therefore converted here, as are JSON schemas that
    are only a reference. Other tools are returned unchanged.
    """
    schema, name, description = _schema_and_names(tool)
    inlined = inline_references(schema)
    if not has_definitions(inlined):
        return inlined if schema is tool else tool
    root = root_of(inlined)
    return {
        "name": name or inlined.get("title") or root.get("title", ""),
        "description": description or root.get("description", ""),
        "parameters": {name: value for name, value in inlined.items() if name not in ("title", "description")},
    }


def _schema_and_names(tool: Any) -> tuple[Mapping[str, Any], str | None, str | None]:
    """Return langchain-core's JSON schema of a tool, or {}, with the tool's name and description as defaults."""
    from langchain_core.tools import BaseTool, Tool  # slow to import, and langchain-core imports it at first use, too
    from langchain_core.tools.base import create_schema_from_function

    if isinstance(tool, BaseTool):
        takes_text = isinstance(tool, Tool) and not tool.args_schema
        return {} if takes_text else _json_schema(tool.tool_call_schema), tool.name, tool.description
    if isinstance(tool, Mapping):
        return tool if "$ref" in tool else {}, None, None
    if isinstance(tool, type) and (is_basemodel_subclass(tool) or is_typeddict(tool)):
        return _json_schema(tool), None, None
    if not callable(tool):
        return {}, None, None
    model = create_schema_from_function(
        tool.__name__, tool, filter_args=(), parse_docstring=True, include_injected=False
    )
    return _json_schema(model), tool.__name__, model.__doc__


def _json_schema(schema: Any) -> Mapping[str, Any]:
    if isinstance(schema, Mapping):
        return schema
    if is_typeddict(schema):
        try:
            return TypeAdapter(schema).json_schema()
        except PydanticUserError:  # before Python 3.12, pydantic does not support TypedDict of `typing`
            return {}
    made: Mapping[str, Any] = schema.model_json_schema() if hasattr(schema, "model_json_schema") else schema.schema()
    return made
