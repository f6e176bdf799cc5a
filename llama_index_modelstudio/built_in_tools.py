"""Add the service's built-in tools to a call, and show the sources that they found as LlamaIndex's blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import CitationBlock, TextBlock

from modelstudio_core.tools import checked_tool

KEPT = ("response_id", "server_tools")
"""What a message keeps of the service-specific data of its response."""


def with_built_in_tools(
    call: Mapping[str, Any], built_in_tools: Sequence[Mapping[str, Any]] | None, protocol: str
) -> dict[str, Any]:
    """Return the arguments of a call with the built-in tools, its own or else the object's, after its other tools.

    Raises ConfigurationError for a tool that the service does not run, and for a protocol that has none.
    """
    given = dict(call)
    built_in_tools = given.pop("built_in_tools", None) or built_in_tools
    if not built_in_tools:
        return given
    checked = [checked_tool(tool, built_in=protocol == "responses") for tool in built_in_tools]
    return {**given, "tools": [*(given.get("tools") or ()), *checked]}


def citation_blocks(extras: Mapping[str, Any]) -> list[CitationBlock]:
    """Return the sources of a search as blocks. What the service does not say is empty."""
    info = extras.get("search_info")
    results = info.get("search_results") if isinstance(info, Mapping) else None
    return [_citation(result) for result in results or () if isinstance(result, Mapping)]


def _citation(result: Mapping[str, Any]) -> CitationBlock:
    said = {name: str(result.get(name) or "") for name in ("url", "title", "cited_text", "file_id")}
    return CitationBlock(
        cited_content=TextBlock(text=said["cited_text"]),
        source=said["url"] or said["file_id"],
        title=said["title"],
        additional_location_info={
            name: result[name] for name in ("start_index", "end_index", "index") if isinstance(result.get(name), int)
        },
    )
