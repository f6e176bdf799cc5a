"""Structured answers: how an object is asked for, and read out of an answer, whole or as it comes.

Where the model is listed for json_schema, the service holds the answer's text to the schema; else the answer is a
forced call of a function with that schema. An object that is not whole is shown by a class that takes any part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic

from llama_index.core.base.llms.types import ChatResponse, TextBlock, ToolCallBlock
from llama_index.core.program.utils import FlexibleModel, create_flexible_model
from llama_index.core.tools import ToolMetadata
from llama_index.core.types import Model
from pydantic import ValidationError

from llama_index_modelstudio.errors import StructuredOutputError
from modelstudio_core.partial_json import GrowingObject
from modelstudio_core.tools import json_schema_format

# said by LlamaIndex's own programs and meant for them; here they follow from the way in which the object is asked for
_NOT_OPTIONS = ("tools", "tool_choice", "tool_required", "allow_parallel_tool_calls", "response_format")


class StructuredAnswer(Generic[Model]):
    """One answer that is to hold an object.

    Args:
        output_cls: the class of the object.
        options: other parameters of the call; not changed.
        by_call: ask for a forced call; else for text that the service holds to the schema.

    Attributes:
        options: the parameters of the call.
    """

    def __init__(self, output_cls: type[Model], options: Mapping[str, Any] | None, *, by_call: bool) -> None:
        self._output_cls = output_cls
        self._by_call = by_call
        self._flexible: type[FlexibleModel] | None = None
        self._growing = GrowingObject()
        self._shown: ToolCallBlock | None = None
        schema = output_cls.model_json_schema()
        name = str(schema.get("title") or output_cls.__name__)
        self.options = {name: value for name, value in (options or {}).items() if name not in _NOT_OPTIONS}
        if by_call:
            about = schema.get("description") or name
            tool = ToolMetadata(about, name, output_cls).to_openai_tool(skip_length_check=True)
            choice = {"type": "function", "function": {"name": tool["function"]["name"]}}
            self.options |= {"tools": [tool], "tool_choice": choice, "parallel_tool_calls": False}
        else:
            self.options["response_format"] = json_schema_format(name, schema, description=schema.get("description"))

    def whole(self, response: ChatResponse) -> Model:
        """The object of a whole answer. Raises StructuredOutputError saying why there is none."""
        text = _text(response)
        try:
            if not self._by_call:
                return self._output_cls.model_validate_json(text)
            for block in response.message.blocks:
                if isinstance(block, ToolCallBlock):
                    return self._output_cls.model_validate(block.tool_kwargs)
        except ValidationError as error:
            raise StructuredOutputError(
                f"{_cut(response)}the answer is no {self._output_cls.__name__}: {error}"
            ) from error
        invalid = response.additional_kwargs.get("invalid_tool_calls")
        said = f"Its call was invalid: {invalid[0]['error']}." if invalid else f"It said: {text[:200]!r}."
        raise StructuredOutputError(
            f"{_cut(response)}the model did not call the function that holds the {self._output_cls.__name__}. {said} "
            "If it may think, the service does not take a forced call: set enable_thinking=False, or use a model that "
            "is listed for json_schema"
        )

    def part(self, response: ChatResponse) -> Model | FlexibleModel | None:
        """The object as far as it is there after this response of a stream; None where there is nothing new.

        The last response has the whole one, and so nothing here.
        """
        if "finish_reason" in response.additional_kwargs:
            return None
        if self._by_call:
            block = next((block for block in response.message.blocks if isinstance(block, ToolCallBlock)), None)
            value = None if block is None or block is self._shown else block.tool_kwargs
            self._shown = block
        else:
            value = self._growing.value if response.delta and self._growing.add(response.delta) else None
        if not isinstance(value, dict):
            return None
        try:
            return self._output_cls.model_validate(value)
        except ValidationError:
            self._flexible = self._flexible or create_flexible_model(self._output_cls)
            return self._flexible.model_validate(value)


def _text(response: ChatResponse) -> str:
    return "".join(block.text for block in response.message.blocks if isinstance(block, TextBlock))


def _cut(response: ChatResponse) -> str:
    if response.additional_kwargs.get("finish_reason") != "length":
        return ""
    return "the answer was cut off by its length (raise max_tokens, or max_completion_tokens): "
