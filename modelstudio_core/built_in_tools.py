"""Built-in tools, which the service runs itself. Source: the vendor's Responses API reference and tool pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelstudio_core.headers import SecretHeaders, hidden_headers

BUILT_IN_TOOLS = frozenset(
    {"web_search", "web_extractor", "code_interpreter", "web_search_image", "image_search", "file_search", "mcp"}
)
"""Types of the built-in tools. The service ignores unknown types, so they raise an error here."""


def built_in_name(tool: Any) -> str | None:
    """Return the type of a built-in tool, or None for another tool."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    return kind if isinstance(kind, str) and kind in BUILT_IN_TOOLS else None


def mcp_headers(tool: Mapping[str, Any]) -> SecretHeaders:
    """Return the headers that the service sends to an MCP server, hidden because they may contain a token."""
    return hidden_headers(tool.get("headers") or {})


def hidden_tools(tools: Any) -> Any:
    """Return a list of tools with hidden headers. Other values are unchanged."""
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return tools
    secret = [isinstance(tool, Mapping) and "headers" in tool for tool in tools]
    return [{**t, "headers": mcp_headers(t)} if s else t for s, t in zip(secret, tools, strict=True)]
