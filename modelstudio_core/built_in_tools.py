"""Know the tools that the service runs itself, with the Responses protocol. Sources: its reference and tool pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelstudio_core.headers import SecretHeaders, hidden_headers

BUILT_IN_TOOLS = frozenset(
    {"web_search", "web_extractor", "code_interpreter", "web_search_image", "image_search", "file_search", "mcp"}
)
"""Types of these tools. The service ignores a type that it does not know, so others are errors."""


def built_in_name(tool: Any) -> str | None:
    """Return the type of a built-in tool, or None for another tool."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    return kind if isinstance(kind, str) and kind in BUILT_IN_TOOLS else None


def mcp_headers(tool: Mapping[str, Any]) -> SecretHeaders:
    """Return the headers that the service sends to an MCP server, hidden, since they may hold a token."""
    return hidden_headers(tool.get("headers") or {})


def hidden_tools(tools: Any) -> Any:
    """Return a list of tools with the headers in each hidden, whatever its type. Other values are unchanged."""
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        return tools
    secret = [isinstance(tool, Mapping) and "headers" in tool for tool in tools]
    return [{**t, "headers": mcp_headers(t)} if s else t for s, t in zip(secret, tools, strict=True)]
