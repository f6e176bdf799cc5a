"""Chunks made by copying the state of one that pydantic made: the same object at a fraction of the cost.

A stream makes two pydantic objects an event, and validating them is most of what an event costs, though nothing that
is put into them can be invalid. A copy is only right as long as nothing else happens in the making. So at import each
kind of chunk is made both ways and compared, field by field; where they differ, because langchain-core or pydantic
changed, all chunks are made the ordinary way.
"""

from __future__ import annotations

from typing import Any, TypeVar

from langchain_core.messages import ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from langchain_modelstudio.chunks import ModelStudioMessageChunk

Content = str | list[str | dict[Any, Any]]
M = TypeVar("M", bound=BaseModel)

_set = object.__setattr__  # pydantic's own would validate names and keep a record


def _shell(cls: type[M], fields_set: set[str], extra: dict[str, Any] | None, state: dict[str, Any]) -> M:
    """An instance with this state, which nothing has validated."""
    made = object.__new__(cls)
    _set(made, "__dict__", state)
    _set(made, "__pydantic_fields_set__", fields_set)
    _set(made, "__pydantic_extra__", extra)
    _set(made, "__pydantic_private__", None)
    return made


def _copied_message(content: Content, **given: Any) -> ModelStudioMessageChunk:
    state = _MESSAGE | {"content": content}
    for name, kind in _FRESH.items():
        state[name] = kind()
    state.update(given)
    made = _shell(ModelStudioMessageChunk, {"content", *given}, {}, state)
    if "tool_call_chunks" in given:
        made.init_tool_calls()  # type: ignore[operator]  # pydantic leaves the plain function there
    return made


def _copied_generation(message: ModelStudioMessageChunk) -> ChatGenerationChunk:
    state = _GENERATION | {"text": message.text, "message": message}
    return _shell(ChatGenerationChunk, {"message", "text"}, None, state)


def _made_message(content: Content, **given: Any) -> ModelStudioMessageChunk:
    return ModelStudioMessageChunk(content=content, **given)


def _made_generation(message: ModelStudioMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message)


_MESSAGE = _made_message("").__dict__
_FRESH = {name: type(value) for name, value in _MESSAGE.items() if type(value) in (list, dict) and not value}
_UNCHANGING = (str, int, float, bool, type(None))
_GENERATION = _made_generation(_made_message("")).__dict__


def _whole_state(made: BaseModel) -> Any:
    """All that pydantic keeps of an object, in order and with the types, deep."""
    slots = (made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__)
    state = {name: _whole_state(v) if isinstance(v, BaseModel) else (type(v), v) for name, v in made.__dict__.items()}
    return type(made), list(state.items()), slots


def _same_both_ways() -> bool:
    fragments: list[ToolCallChunk] = [
        tool_call_chunk(name="f", args='{"a', id="1", index=0),
        tool_call_chunk(name=None, args="x", id=None, index=1),
    ]
    block = {"type": "text", "text": "a", "index": "lc_text"}
    cases: list[tuple[Content, dict[str, Any]]] = [
        ("", {"additional_kwargs": {"reasoning_content": "a"}}),
        *((text, {}) for text in ("a", '{"b": 1}', "<c>\n")),
        *(("", {"tool_call_chunks": [fragment]}) for fragment in fragments),
        ([block], {"response_metadata": {"output_version": "v1"}}),
    ]
    try:
        if any(name not in _FRESH and not isinstance(value, _UNCHANGING) for name, value in _MESSAGE.items()):
            return False  # copies would share it
        for content, given in cases:
            made, copied = _made_message(content, **given), _copied_message(content, **given)
            if _whole_state(made) != _whole_state(copied):
                return False
            if _whole_state(_made_generation(made)) != _whole_state(_copied_generation(copied)):
                return False
    except Exception:  # whatever a changed class does
        return False
    return True


COPYING = _same_both_ways()
"""Whether chunks are copied here, or made the ordinary way."""

message_chunk = _copied_message if COPYING else _made_message
generation_chunk = _copied_generation if COPYING else _made_generation
