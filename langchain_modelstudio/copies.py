"""The two objects of a streamed event, made quickly; see `modelstudio_core.copying`."""

from __future__ import annotations

from typing import Any

from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_modelstudio.chunks import ModelStudioMessageChunk
from modelstudio_core.copying import copier

_BLOCK = {"type": "text", "text": "a", "index": "lc_text"}
_TEXTS: list[dict[str, Any]] = [
    *({"content": text} for text in ("a", '{"b": 1}', "<c>\n")),
    {"content": "", "additional_kwargs": {"reasoning_content": "a"}},
    {"content": [_BLOCK], "response_metadata": {"output_version": "v1"}},
]
_CALLS: list[dict[str, Any]] = [
    {"content": ""},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name="f", args='{"a', id="1", index=0)]},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name=None, args="x", id=None, index=1)]},
]

message_chunk = copier(ModelStudioMessageChunk, _TEXTS)
"""A `ModelStudioMessageChunk` without tool calls."""

call_chunk = copier(
    ModelStudioMessageChunk,
    _CALLS,
    after=lambda chunk: chunk.init_tool_calls(),  # type: ignore[operator]  # pydantic leaves the plain function there
)
"""A `ModelStudioMessageChunk` with `tool_call_chunks`, of which it makes `tool_calls` as far as they go."""

generation_chunk = copier(
    ChatGenerationChunk,
    [{"message": chunk, "text": chunk.text} for chunk in (ModelStudioMessageChunk(**fields) for fields in _TEXTS)],
)
"""A `ChatGenerationChunk` of a message and its text."""
