"""Request structured output, and parse it from complete or streamed answers.

If the model is listed for json_schema, the service constrains the text to the schema. Otherwise the answer is a forced
call of a function with that schema. A thinking model does not support forced calls, so an object in the text is
accepted too. Partial objects are instances of a class that accepts any subset of the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic

from llama_index.core.base.llms.types import ChatResponse, TextBlock, ToolCallBlock
from llama_index.core.program.utils import FlexibleModel, create_flexible_model
from llama_index.core.tools import ToolMetadata
from llama_index.core.types import Model
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from llama_index_modelstudio.errors import ConfigurationError, RefusalError, StructuredOutputError
from llama_index_modelstudio.tools import openai_tool
from modelstudio_core.json_schema import root_of
from modelstudio_core.json_text import object_text
from modelstudio_core.partial_json import PartialAnswer
from modelstudio_core.tools import json_schema_format

# options that LlamaIndex's own programs pass; here they depend on how the object is requested
_NOT_OPTIONS = ("tools", "tool_choice", "tool_required", "allow_parallel_tool_calls", "response_format")


def class_format(cls: type) -> dict[str, Any]:
    """Return the `response_format` for a pydantic class, TypedDict or dataclass.

    Raises:
        ConfigurationError: if pydantic cannot generate a schema for the class.
    """
    try:
        schema = cls.model_json_schema() if issubclass(cls, BaseModel) else TypeAdapter(cls).json_schema()
    except PydanticUserError as error:
        raise ConfigurationError(f"{cls!r:.120} cannot be converted to a schema: {error.message}") from error
    root = root_of(schema)
    return json_schema_format(str(root.get("title") or cls.__name__), schema, description=root.get("description"))


class StructuredAnswer(Generic[Model]):
    """Parse one answer that contains an object.

    Args:
        output_cls: the class of the object.
        options: other parameters of the call, which are not changed.
        by_tool_call: request a forced call instead of text constrained to the schema.

    Attributes:
        options: the parameters of the call.
    """

    def __init__(self, output_cls: type[Model], options: Mapping[str, Any] | None, *, by_tool_call: bool) -> None:
        self._output_cls = output_cls
        self._function = ""  # the name of the function to call, if any
        self._flexible: type[FlexibleModel] | None = None
        self._partial = PartialAnswer()
        self._last_call: ToolCallBlock | None = None
        self.options = {name: value for name, value in (options or {}).items() if name not in _NOT_OPTIONS}
        if by_tool_call:
            root = root_of(output_cls.model_json_schema())
            name = str(root.get("title") or output_cls.__name__)
            about = root.get("description")
            tool = openai_tool(ToolMetadata(about or name, name, output_cls))
            self._function = tool["function"]["name"]
            choice = {"type": "function", "function": {"name": self._function}}
            self.options |= {"tools": [tool], "tool_choice": choice, "parallel_tool_calls": False}
        else:
            self.options["response_format"] = class_format(output_cls)

    def final_object(self, response: ChatResponse) -> Model:
        """Return the object of a complete answer. Raises StructuredOutputError if there is no valid one."""
        if refusal := response.additional_kwargs.get("refusal"):
            raise RefusalError(f"the model refused to produce the {self._output_cls.__name__}: {refusal}")
        call = self._call(response)
        try:
            if call is not None:
                return self._output_cls.model_validate(call.tool_kwargs)
            return self._output_cls.model_validate_json(object_text(_text(response)))
        except ValueError as error:  # includes pydantic's ValidationError
            reason = self._missing_call(response) if self._function and call is None else error
            name = self._output_cls.__name__
            raise StructuredOutputError(f"{_truncation(response)}the answer is not a valid {name}: {reason}") from error

    def partial_object(self, response: ChatResponse) -> Model | FlexibleModel | None:
        """Return the partial object after a response of a stream, or None if there is nothing new.

        For the last response it is None, because `final_object` returns the object.
        """
        if "finish_reason" in response.additional_kwargs:
            return None
        grew = bool(response.delta) and self._partial.add(response.delta or "")
        call = self._call(response)
        value: Any
        if call is None:
            value = self._partial.value if grew else None
        else:
            value = None if call is self._last_call else call.tool_kwargs
            self._last_call = call
        if not isinstance(value, dict):
            return None
        try:
            return self._output_cls.model_validate(value)
        except ValidationError:
            self._flexible = self._flexible or create_flexible_model(self._output_cls)
            return self._flexible.model_validate(value)

    def _call(self, response: ChatResponse) -> ToolCallBlock | None:
        """Return the first call of the requested function, ignoring others."""
        for block in response.message.blocks:
            if isinstance(block, ToolCallBlock) and block.tool_name == self._function:
                return block
        return None

    def _missing_call(self, response: ChatResponse) -> str:
        """Return an error message for a missing call of the function."""
        invalid = response.additional_kwargs.get("invalid_tool_calls")
        called = [block.tool_name for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        answer = f"The text of the answer: {_text(response)[:200]!r}."
        if invalid:
            answer = f"Its call is invalid: {invalid[0]['error']}."
        elif called:
            answer = f"It called {called[0]!r}."
        return (
            f"the model did not call the requested function. {answer} If thinking was enabled, the call could not be "
            "forced: set enable_thinking=False, or use a model that is listed for json_schema"
        )


def _text(response: ChatResponse) -> str:
    return "".join(block.text for block in response.message.blocks if isinstance(block, TextBlock))


def _truncation(response: ChatResponse) -> str:
    if response.additional_kwargs.get("finish_reason") != "length":
        return ""
    return "the answer is truncated (increase max_tokens or max_completion_tokens): "
