"""Add the service's built-in tools to a call, and convert their sources to LlamaIndex's citation blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import CitationBlock, TextBlock

from modelstudio_core.tools import checked_tool

KEPT = ("response_id", "server_tools")
"""Service-specific data of a response that its message keeps."""


def with_built_in_tools(
    call: Mapping[str, Any], built_in_tools: Sequence[Mapping[str, Any]] | None, protocol: str
) -> dict[str, Any]:
    """Return the arguments of a call with the built-in tools of the call, or else of the object, after its other tools.

    Raises ConfigurationError for an unknown built-in tool, and for a protocol without built-in tools.
    """
    given = dict(call)
    built_in_tools = given.pop("built_in_tools", None) or built_in_tools
    if not built_in_tools:
        return given
    checked = [checked_tool(tool, built_in=protocol == "responses") for tool in built_in_tools]
    return {**given, "tools": [*(given.get("tools") or ()), *checked]}


def citation_blocks(extras: Mapping[str, Any]) -> list[CitationBlock]:
    """Return the sources of a search as blocks. Missing fields are empty."""
    info = extras.get("search_info")
    results = info.get("search_results") if isinstance(info, Mapping) else None
    return [_citation(result) for result in results or () if isinstance(result, Mapping)]


def _citation(result: Mapping[str, Any]) -> CitationBlock:
    fields = {name: str(result.get(name) or "") for name in ("url", "title", "cited_text", "file_id")}
    return CitationBlock(
        cited_content=TextBlock(text=fields["cited_text"]),
        source=fields["url"] or fields["file_id"],
        title=fields["title"],
        additional_location_info={
            name: result[name] for name in ("start_index", "end_index", "index") if isinstance(result.get(name), int)
        },
    )
