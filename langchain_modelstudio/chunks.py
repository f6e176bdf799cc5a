"""The message chunk that keeps a truncated tool call from becoming a call.

langchain-core repairs the arguments of a chunk's tool calls each time chunks are added, the last time too
(`AIMessageChunk.init_tool_calls` calls `parse_partial_json`; langchain#39275), so a plain chunk turns `{"city": "New `
into the call `{"city": "New"}`. While a stream runs that is useful: agents show what is there. Once the last chunk has
been added it is wrong. This chunk is strict from then on, by the core's own rule, with the raw text verbatim. One sum
remains lenient, which langchain-core makes without asking: a plain chunk, and no stream here has any, plus a list.
"""

from __future__ import annotations

from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.tool import invalid_tool_call, tool_call
from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator
from typing_extensions import Self

from langchain_modelstudio.content_blocks import with_mime_type
from modelstudio_core.protocols.accumulate import parse_arguments

_TOOL_BLOCKS = ("tool_call_chunk", "tool_call", "invalid_tool_call")


class _BecomesAIMessage:
    """The first base of the chunk: `message_chunk_to_message` calls it (`__mro__[1]`) and gets a plain AIMessage."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return AIMessage(**kwargs) if cls is _BecomesAIMessage else super().__new__(cls)


class ModelStudioMessageChunk(_BecomesAIMessage, AIMessageChunk):
    """An `AIMessageChunk` whose tool calls are parsed strictly once its `chunk_position` is "last"."""

    type: Literal["AIMessageChunk"] = "AIMessageChunk"

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialised as langchain-core's own chunk, so that it loads where this package is not installed."""
        return AIMessageChunk.lc_id()

    @model_validator(mode="after")
    def init_tool_calls(self) -> Self:
        """Replaces langchain-core's validator of this name: the same until the last chunk, strict from then on."""
        AIMessageChunk.init_tool_calls(self)  # type: ignore[operator]  # pydantic leaves the plain function there
        if self.chunk_position == "last":
            finished = finished_calls(self.tool_call_chunks, self.response_metadata.get("finish_reason"))
            self.tool_calls = [call for call in finished if call["type"] == "tool_call"]
            self.invalid_tool_calls = [call for call in finished if call["type"] == "invalid_tool_call"]
            if isinstance(self.content, list) and self.response_metadata.get("output_version") == "v1":
                self.content = _with_finished_blocks(self.content, finished)
        return self

    def __eq__(self, other: object) -> bool:
        """Compare with langchain-core's own chunk, too: a sum that is saved comes back as one (see below)."""
        if type(other) not in (ModelStudioMessageChunk, AIMessageChunk):
            return NotImplemented
        return _compared(self) == _compared(other)

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What langchain-core's serialisation takes besides the fields, and over them."""
        return super().lc_attributes | self._not_to_be_repaired()

    @model_serializer(mode="wrap")
    def _dumped(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return fields | {name: value for name, value in self._not_to_be_repaired().items() if name in fields}

    def _not_to_be_repaired(self) -> dict[str, Any]:
        """A finished chunk is loaded as a plain one, which would parse the fragments again, leniently. Without them it
        takes the calls as they are."""
        return {"tool_call_chunks": []} if self.chunk_position == "last" else {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled under its own name, not the one it goes by (see below)."""
        return _unpickled, (self.__getstate__(),)

    def __radd__(self, other: Any) -> Any:
        """A plain chunk on the left must not make the sum lenient; Python asks the right side, a subclass, first."""
        if isinstance(other, AIMessageChunk):
            fields = {name: value for name, value in other.__dict__.items() if name != "type"}
            return ModelStudioMessageChunk(**fields) + self
        return NotImplemented


# LangGraph's checkpoints note an object's class by these two names, and load it without a warning (in strict mode: at
# all) only where it knows them. A sum of chunks that is kept as state thus comes back as langchain-core's own chunk.
ModelStudioMessageChunk.__module__ = AIMessageChunk.__module__
ModelStudioMessageChunk.__name__ = AIMessageChunk.__name__


def _compared(chunk: Any) -> dict[str, Any]:
    """Return what two chunks are compared by: of a finished one the calls, not the fragments that they were made of."""
    finished = {"tool_call_chunks": None} if chunk.chunk_position == "last" else {}
    return {**chunk.__dict__, **finished, "extra": chunk.__pydantic_extra__ or None}


def _unpickled(state: dict[str, Any]) -> ModelStudioMessageChunk:
    chunk: ModelStudioMessageChunk = ModelStudioMessageChunk.__new__(ModelStudioMessageChunk)
    chunk.__setstate__(state)
    return chunk


def finished_calls(chunks: list[ToolCallChunk], finish_reason: str | None) -> list[ToolCall | InvalidToolCall]:
    """Each call of a finished answer, or what must not run as one, by the rule of the core, in order."""
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
    """v1 content with each block in its finished form: langchain-core finishes calls leniently, and only some.

    There are more blocks than calls where sums were added whose right one was finished already: the rest is dropped.
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
