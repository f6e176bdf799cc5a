"""Convert tools, tool choices and schemas to the format of the service, for both adapters.

Source: the vendor's Function calling and Structured output pages. `modelstudio_core.policies` applies the limits of
each model when a request is made.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from modelstudio_core.built_in_tools import built_in_name, hidden_tools
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.json_schema import inline_references
from modelstudio_core.types import InvalidToolCall

_MAX_NAME = 64  # length of a json_schema name (vendor's Structured output page)
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def tool_list(tools: Any) -> list[Any]:
    """Return an iterable of tools as a list. Raises ConfigurationError for a single tool or another value."""
    if not isinstance(tools, Iterable) or isinstance(tools, str | Mapping | BaseModel | type):
        raise ConfigurationError(f"tools= must be a list of tools, such as [tool], not {tools!r:.80}")
    return list(tools)


def checked_tool(tool: Mapping[str, Any], strict: bool | None = None, *, built_in: bool = False) -> dict[str, Any]:
    """Return an OpenAI tool, with `strict` added to its function if that is set and the tool has none.

    Raises ConfigurationError if the tool is not a function with a name, nor, if `built_in`, a tool of the service.
    """
    if built_in and built_in_name(tool):
        return dict(hidden_tools([tool])[0])
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, Mapping) or not function.get("name"):
        raise not_a_function(tool)
    if strict is None or "strict" in function:
        return dict(tool)
    return {**tool, "function": {**function, "strict": strict}}


def not_a_function(tool: object) -> ConfigurationError:
    """Return the error for a tool that the service does not support."""
    return ConfigurationError(
        f"the tool {str(hidden_tools([tool])[0])[:120]} is not a function: the chat service accepts tools of type "
        "'function' with a name. For web search by the service, use enable_search=True, or protocol='responses'"
    )


def chosen_tool(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str | dict[str, Any] | None:
    """Convert a framework's tool choice to the service's.

    Args:
        choice: None or False (nothing is sent), "auto", "none", "any", "required" or True (some tool), the name of a
            tool, or a dict that names one.
        tools: OpenAI tools.

    Raises:
        ConfigurationError: if the name is not that of a tool.
    """
    if choice is None or choice is False:
        return None
    if choice in ("any", "required") or choice is True:
        return "required"
    if choice in ("auto", "none"):
        return str(choice)
    name = choice if isinstance(choice, str) else chosen_name(choice)
    names = [tool_name(tool) for tool in tools]
    sent = name if name in names else _NOT_IN_NAMES.sub("_", str(name))  # llama-index-core renames tools like this
    if sent not in names:
        raise ConfigurationError(
            f"tool_choice={name!r:.80} does not name one of the tools: {', '.join(names) or 'none'}"
        )
    return {"type": "function", "function": {"name": sent}}


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool that `checked_tool` made: of a built-in one, its type."""
    return built_in_name(tool) or str(tool["function"]["name"])


def chosen_name(choice: Any) -> Any:
    """Return the tool name in a dict, nested as in OpenAI's format or flat, or the type of a built-in tool.

    Raises ConfigurationError for another value.
    """
    if isinstance(choice, Mapping):
        function = choice.get("function")
        flat = choice.get("name") or built_in_name(choice)
        return function.get("name") if isinstance(function, Mapping) else flat
    raise ConfigurationError(f"tool_choice={choice!r:.80} must be a tool's name, 'any', 'auto', 'none' or a dict")


def json_schema_format(
    name: str, schema: Mapping[str, Any], *, description: str | None = None, strict: bool | None = None
) -> dict[str, Any]:
    """Return the `response_format` for a JSON schema. Invalid characters in `name` are replaced."""
    wire: dict[str, Any] = {"name": _NOT_IN_NAMES.sub("_", name)[:_MAX_NAME], "schema": dict(schema)}
    if description:
        wire["description"] = description
    if strict is not None:
        wire["strict"] = strict
    return {"type": "json_schema", "json_schema": wire}


def inline_tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an OpenAI tool with the references in its parameters inlined. The original is not changed."""
    return _with_inlined(tool, "function", "parameters")


def inline_response_format(form: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a `response_format` with the references in its schema inlined. The original is not changed."""
    return _with_inlined(form, "json_schema", "schema")


def _with_inlined(holder: Mapping[str, Any], inner: str, name: str) -> Mapping[str, Any]:
    held = holder.get(inner) if isinstance(holder, Mapping) else None  # other values are rejected when encoded
    if not isinstance(held, Mapping) or not isinstance(schema := held.get(name), Mapping):
        return holder
    inlined = inline_references(schema)
    return holder if inlined is schema else {**holder, inner: {**held, name: inlined}}


def log_invalid_calls(calls: Iterable[InvalidToolCall], logger: logging.Logger) -> None:
    """Log a warning for each invalid call, without its arguments, which may be private."""
    for call in calls:
        logger.warning("invalid call of %s, not run: %s", function_of(call.name), call.error)


def function_of(name: str | None) -> str:
    """Return the function name of a call, or a placeholder if it has none."""
    return name or "a function without a name"


def arguments_text(name: str, arguments: object) -> str:
    """Return the arguments of a replayed call as unescaped JSON, with NaN as Python writes it.

    Raises ConfigurationError if they are not serializable.
    """
    try:
        return json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the arguments of the call of {name} are not JSON-serializable: {error}") from None
