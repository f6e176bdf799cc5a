"""Construct the objects of a streamed event without validation; see `modelstudio_core.construct`."""

from __future__ import annotations

from typing import Any

from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_modelstudio.chunks import ModelStudioMessageChunk
from modelstudio_core.construct import quick, shell


def _state(content: Any) -> dict[str, Any]:
    return {
        "content": content,
        "additional_kwargs": {},
        "response_metadata": {},
        "type": "AIMessageChunk",
        "name": None,
        "id": None,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": None,
        "tool_call_chunks": [],
        "chunk_position": None,
    }


def _text_chunk(content: str) -> ModelStudioMessageChunk:
    return shell(ModelStudioMessageChunk, _state(content), {"content"}, {})


def _message_chunk(content: Any, **given: Any) -> ModelStudioMessageChunk:
    made = shell(ModelStudioMessageChunk, _state(content) | given, {"content", *given}, {})
    if "tool_call_chunks" in given:
        made.init_tool_calls()  # type: ignore[operator]  # pydantic leaves the plain function there
    return made


def _generation_chunk(message: ModelStudioMessageChunk, text: str) -> ChatGenerationChunk:
    state = {"text": text, "generation_info": None, "type": "ChatGenerationChunk", "message": message}
    return shell(ChatGenerationChunk, state, {"text", "message"})


_TEXTS: list[dict[str, Any]] = [{"content": text} for text in ("a", '{"b": 1}', "<c>\n")]
_OTHERS: list[dict[str, Any]] = [
    {"content": "", "additional_kwargs": {"reasoning_content": "a"}},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name="f", args='{"a', id="1", index=0)]},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name=None, args="x", id=None, index=1)]},
    {"content": [{"type": "text", "text": "a"}], "response_metadata": {"output_version": "v1"}},
]
_CHUNKS = [ModelStudioMessageChunk(**fields) for fields in _TEXTS]

text_chunk = quick(_text_chunk, ModelStudioMessageChunk, _TEXTS)
"""Return a `ModelStudioMessageChunk` with only `content`."""

message_chunk = quick(_message_chunk, ModelStudioMessageChunk, _TEXTS + _OTHERS)
"""Return a `ModelStudioMessageChunk` with `content` and other fields. `tool_calls` derive from `tool_call_chunks`."""

generation_chunk = quick(
    _generation_chunk, ChatGenerationChunk, [{"message": chunk, "text": chunk.text} for chunk in _CHUNKS]
)
"""Return a `ChatGenerationChunk` of a message and its text."""
