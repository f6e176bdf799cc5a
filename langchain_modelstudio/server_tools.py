"""Convert the calls of the service's built-in tools, the core's extra "server_tools", to LangChain's blocks.

Its value lists the tools: id, name, args, status ("in_progress", "success" or "error"), and at the end output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

NAME = "server_tools"


def call_block(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call block of a tool."""
    return {"type": "server_tool_call", "id": tool["id"], "name": tool["name"], "args": tool["args"]}


def result_block(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result block of a tool that has ended."""
    result = {"tool_call_id": tool["id"], "status": tool["status"], "output": tool["output"]}
    return {"type": "server_tool_result", **result}


def server_tool_blocks(tools: Any) -> list[dict[str, Any]]:
    """Return the blocks of a whole answer: each call, followed by its result if there is one."""
    blocks = []
    for tool in tools or ():
        blocks += [call_block(tool), *([result_block(tool)] if ended(tool) else [])]
    return blocks


def ended(tool: Mapping[str, Any]) -> bool:
    """Return True if a tool has a result."""
    return "output" in tool


class ServerTools:
    """Track the tools of one stream, where each value of the extra repeats the tools so far."""

    def __init__(self) -> None:
        self._returned: dict[str, bool] = {}  # tool ID -> whether its result was returned

    def changed(self, tools: Iterable[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any], bool]]:
        """Return the tools that started or ended since the last call, as (index, tool, whether it is new)."""
        found = []
        for number, tool in enumerate(tools):
            new = tool["id"] not in self._returned
            if new or (ended(tool) and not self._returned[tool["id"]]):
                found.append((number, tool, new))
                self._returned[tool["id"]] = ended(tool)
        return found

    def fragments(self, tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return v1 blocks for a chunk, which langchain-core merges by index. The end of a tool has its arguments."""
        blocks: list[dict[str, Any]] = []
        for number, tool, new in self.changed(tools):
            head = {"id": tool["id"], "name": tool["name"]} if new else {}
            args = json.dumps(tool["args"], ensure_ascii=False) if ended(tool) else ""
            blocks.append(
                {"type": "server_tool_call_chunk", **head, "args": args, "index": f"lc_server_tool_call_{number}"}
            )
            if ended(tool):
                blocks.append({**result_block(tool), "index": f"lc_server_tool_result_{number}"})
        return blocks
