"""Define a message chunk that never turns a truncated tool call into a valid one.

langchain-core repairs the arguments of tool calls whenever chunks are added (`AIMessageChunk.init_tool_calls` calls
`parse_partial_json`; langchain#39275), so a plain chunk turns `{"city": "New ` into the call `{"city": "New"}`. That is
useful during a stream, but wrong after the last chunk. From then on, this chunk parses strictly, with the core's rule,
and keeps the raw text of invalid calls. One case is still lenient: adding a
list to a plain chunk, which this package never creates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from langchain_modelstudio.content_blocks import with_mime_type
from modelstudio_core.protocols.accumulate import parse_arguments
from modelstudio_core.unvalidated import construct, fast_if_equal

_TOOL_BLOCKS = ("tool_call_chunk", "tool_call", "invalid_tool_call")


class _BecomesAIMessage:
    """First base of the chunk. `message_chunk_to_message` calls it (`__mro__[1]`) to make a plain AIMessage."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return AIMessage(**kwargs) if cls is _BecomesAIMessage else super().__new__(cls)


class ModelStudioMessageChunk(_BecomesAIMessage, AIMessageChunk):
    """An `AIMessageChunk` whose tool calls are parsed strictly once its `chunk_position` is "last"."""

    type: Literal["AIMessageChunk"] = "AIMessageChunk"

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of langchain-core's chunk, so that it loads without this package."""
        return AIMessageChunk.lc_id()

    @model_validator(mode="after")
    def init_tool_calls(self) -> Self:
        """Parse tool calls like the replaced validator of langchain-core, but strictly after the last chunk."""
        AIMessageChunk.init_tool_calls(self)  # type: ignore[operator]  # pydantic leaves the plain function there
        if self.chunk_position == "last":
            finished = finished_calls(self.tool_call_chunks, self.response_metadata.get("finish_reason"))
            self.tool_calls = [call for call in finished if call["type"] == "tool_call"]
            self.invalid_tool_calls = [call for call in finished if call["type"] == "invalid_tool_call"]
            if isinstance(self.content, list) and self.response_metadata.get("output_version") == "v1":
                self.content = _with_finished_blocks(self.content, finished)
        return self

    def __eq__(self, other: object) -> bool:
        """Compare with chunks of this class or of langchain-core, as which saved chunks are loaded (see below)."""
        if type(other) not in (ModelStudioMessageChunk, AIMessageChunk):
            return NotImplemented
        return _comparison_values(self) == _comparison_values(other)

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """Return attributes that override fields in langchain-core's serialization."""
        return super().lc_attributes | self._omitted_fields()

    @model_serializer(mode="wrap")
    def _serialize(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields | {name: value for name, value in self._omitted_fields().items() if name in fields}

    def _omitted_fields(self) -> dict[str, Any]:
        """Return overrides that omit the fragments of a finished chunk, which a loaded plain chunk would repair."""
        return {"tool_call_chunks": []} if self.chunk_position == "last" else {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by a function, because the class name is replaced (see below)."""
        return _unpickled, (self.__getstate__(),)

    def __radd__(self, other: Any) -> Any:
        """Add to a plain chunk strictly. Python calls the right operand first, as it is a subclass."""
        if isinstance(other, AIMessageChunk):
            fields = {name: value for name, value in other.__dict__.items() if name != "type"}
            return ModelStudioMessageChunk(**fields) + self
        return NotImplemented


# LangGraph checkpoints store a class by these names, and warn about unknown ones (or reject them in strict mode). So a
# sum of chunks stored as state is loaded as langchain-core's chunk.
ModelStudioMessageChunk.__module__ = AIMessageChunk.__module__
ModelStudioMessageChunk.__name__ = AIMessageChunk.__name__


def _comparison_values(chunk: Any) -> dict[str, Any]:
    """Return the values to compare: for a finished chunk, the calls without their fragments."""
    finished = {"tool_call_chunks": None} if chunk.chunk_position == "last" else {}
    return {**chunk.__dict__, **finished, "extra": chunk.__pydantic_extra__ or None}


def _unpickled(state: dict[str, Any]) -> ModelStudioMessageChunk:
    chunk: ModelStudioMessageChunk = ModelStudioMessageChunk.__new__(ModelStudioMessageChunk)
    chunk.__setstate__(state)
    return chunk


def finished_calls(chunks: list[ToolCallChunk], finish_reason: str | None) -> list[ToolCall | InvalidToolCall]:
    """Return the valid and invalid calls of a finished answer, in order, by the rule of the core."""
    finished: list[ToolCall | InvalidToolCall] = []
    for chunk in chunks:
        name, text = chunk["name"], chunk["args"] or ""
        args = parse_arguments(text, finish_reason) if name else "the call has no name"
        if isinstance(args, str):
            finished.append(invalid_tool_call(name=name, args=text, id=chunk["id"], error=args))
        else:
            finished.append(tool_call(name=name or "", args=args, id=chunk["id"]))
    return finished


def _with_finished_blocks(
    content: list[str | dict[Any, Any]], finished: list[ToolCall | InvalidToolCall]
) -> list[str | dict[Any, Any]]:
    """Return v1 content with finished blocks. langchain-core finishes only some calls, and leniently.

    Blocks in excess of the calls, from adding a sum that was already finished, are dropped.
    """
    rest = iter(finished)
    blocks: list[str | dict[Any, Any]] = []
    for block in content:
        if isinstance(block, dict) and block.get("type") == "audio":
            blocks.append(with_mime_type(block))
        elif not isinstance(block, dict) or block.get("type") not in _TOOL_BLOCKS:
            blocks.append(block)
        elif (call := next(rest, None)) is not None:
            blocks.append(dict(call))
    return blocks


# ---------------------------------------------------------------- construction without validation


def _chunk_state(content: Any) -> dict[str, Any]:
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


def _text_generation(text: str) -> ChatGenerationChunk:
    message = construct(ModelStudioMessageChunk, _chunk_state(text), {"content"}, {})
    state = {"text": _text_type(text), "generation_info": None, "type": "ChatGenerationChunk", "message": message}
    return construct(ChatGenerationChunk, state, {"text", "message"})


def _validated_text_generation(text: str) -> ChatGenerationChunk:
    message = ModelStudioMessageChunk(content=text)
    return ChatGenerationChunk(message=message, text=message.text)


def _message_chunk(content: Any, **given: Any) -> ModelStudioMessageChunk:
    made = construct(ModelStudioMessageChunk, _chunk_state(content) | given, {"content", *given}, {})
    if "tool_call_chunks" in given:
        made.init_tool_calls()  # type: ignore[operator]  # pydantic leaves the plain function there
    return made


def _generation_chunk(message: ModelStudioMessageChunk, text: str) -> ChatGenerationChunk:
    state = {"text": text, "generation_info": None, "type": "ChatGenerationChunk", "message": message}
    return construct(ChatGenerationChunk, state, {"text", "message"})


_TEXTS = ("a", '{"b": 1}', "<c>\n")
_TEXT_SAMPLES: list[dict[str, Any]] = [{"content": text} for text in _TEXTS]
_OTHER_SAMPLES: list[dict[str, Any]] = [
    {"content": "", "additional_kwargs": {"reasoning_content": "a"}},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name="f", args='{"a', id="1", index=0)]},
    {"content": "", "tool_call_chunks": [tool_call_chunk(name=None, args="x", id=None, index=1)]},
    {"content": [{"type": "text", "text": "a"}], "response_metadata": {"output_version": "v1"}},
]
_CHUNK_SAMPLES = [ModelStudioMessageChunk(**fields) for fields in _TEXT_SAMPLES]
_text_type: Callable[[str], str] = type(_CHUNK_SAMPLES[0].text)  # a subclass of str

text_generation = fast_if_equal(_text_generation, _validated_text_generation, [{"text": text} for text in _TEXTS])
"""Return the `ChatGenerationChunk` of a message that has only text."""

message_chunk = fast_if_equal(_message_chunk, ModelStudioMessageChunk, _TEXT_SAMPLES + _OTHER_SAMPLES)
"""Return a `ModelStudioMessageChunk` with `content` and other fields. `tool_calls` derive from `tool_call_chunks`."""

generation_chunk = fast_if_equal(
    _generation_chunk, ChatGenerationChunk, [{"message": chunk, "text": chunk.text} for chunk in _CHUNK_SAMPLES]
)
"""Return a `ChatGenerationChunk` of a message and its text."""
