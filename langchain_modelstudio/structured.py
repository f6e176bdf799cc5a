"""Structured output: what is bound to the model for each method, and the parser of what comes back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.output_parsers.transform import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_openai_function, convert_to_openai_tool
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError
from pydantic.v1 import ValidationError as ValidationErrorV1

from langchain_modelstudio.chunks import ModelStudioMessageChunk
from langchain_modelstudio.errors import ConfigurationError
from modelstudio_core.tools import checked_tool, json_schema_format, no_function

Method = Literal["json_schema", "function_calling", "json_mode"]
METHODS: tuple[Method, ...] = ("json_schema", "function_calling", "json_mode")


class _WholeAnswer:
    """Mixed into a parser: a stream that has ended is parsed once more as a whole, so that what is wrong with the
    answer is raised there too. While it runs, the parsers of langchain-core repair what is not yet complete."""

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        seen: list[Any] = []
        yield from super()._transform(_noted(piece, seen) for piece in input)  # type: ignore[misc]  # the parser's
        if seen:
            self.parse_result([_whole(seen)])  # type: ignore[attr-defined]

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        seen: list[Any] = []
        async for parsed in super()._atransform(_noted(piece, seen) async for piece in input):  # type: ignore[misc]
            yield parsed
        if seen:
            self.parse_result([_whole(seen)])  # type: ignore[attr-defined]


def _noted(piece: str | BaseMessage, seen: list[Any]) -> str | BaseMessage:
    if isinstance(piece, AIMessage) and not isinstance(piece, AIMessageChunk):  # streaming=False: a stream of one
        piece = ModelStudioMessageChunk(**piece.model_dump(exclude={"type"}), chunk_position="last")
    seen.append(piece)
    return piece


def _whole(seen: list[Any]) -> Generation:
    if isinstance(seen[0], AIMessageChunk):
        return ChatGeneration(message=seen[0] + seen[1:])
    return Generation(text="".join(piece if isinstance(piece, str) else piece.text for piece in seen))


class _CallRequired(_WholeAnswer):
    """A parser of tool calls that says so when no call came, instead of giving None."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        message = result[0].message if isinstance(result[0], ChatGeneration) else None
        try:
            parsed = super().parse_result(result, partial=partial)  # type: ignore[misc]  # the parser it is mixed into
        except (ValidationError, ValidationErrorV1) as error:
            text = str(message.tool_calls[0]["args"]) if isinstance(message, AIMessage) else None
            raise OutputParserException(f"the call does not fit the schema: {error}", llm_output=text) from error
        if parsed is None and not partial:
            raise _no_call(message)
        return parsed


class RequiredToolCall(_CallRequired, JsonOutputKeyToolsParser):
    """The arguments of the one call that was asked for, as a dict."""


class RequiredPydanticToolCall(_CallRequired, PydanticToolsParser):
    """The arguments of the one call that was asked for, as the pydantic object."""


class RequiredJson(_WholeAnswer, BaseCumulativeTransformOutputParser[Any]):
    """The JSON object of the answer as `parser` gives it, where it is one: what is none, that one would repair."""

    parser: Any

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """The object; None where tools are called instead; of a part of the answer (`partial`) what is there."""
        generation = result[0]
        message = generation.message if isinstance(generation, ChatGeneration) else None
        if not partial:
            if isinstance(message, AIMessage) and message.tool_calls:  # of tools that were offered beside the schema
                return None
            try:
                value = parse_json_markdown(generation.text.strip(), parser=json.loads)
            except ValueError as error:
                cut = message is not None and _was_cut(message)
                raise OutputParserException(
                    _CUT if cut else f"the answer is not JSON: {generation.text[:200]!r}", llm_output=generation.text
                ) from error
            if not isinstance(value, dict):
                raise OutputParserException(
                    f"the answer is JSON but not an object: {generation.text[:200]!r}", llm_output=generation.text
                )
        return self.parser.parse_result(result, partial=partial)

    def parse(self, text: str) -> Any:
        """The object that is in `text`."""
        return self.parser.parse(text)


_CUT = "the answer was cut off inside the structured output: raise max_tokens, or max_completion_tokens"


def _was_cut(message: BaseMessage) -> bool:
    return message.response_metadata.get("finish_reason") == "length"


def _no_call(message: BaseMessage | None) -> OutputParserException:
    """Why structured output by function calling has nothing to parse, and what to do."""
    if message is not None and _was_cut(message):
        return OutputParserException(_CUT, llm_output=message.text)
    said = ""
    if isinstance(message, AIMessage):
        invalid = message.invalid_tool_calls
        said = f" It said: {message.text[:200]!r}." if message.text else " It said nothing."
        said = f" Its call was invalid: {invalid[0]['error']}." if invalid else said
    return OutputParserException(
        f"the model did not call the function that holds the structured output.{said} If it may think, the service "
        "does not take a forced call: set enable_thinking=False, or use method='json_schema' or 'json_mode'",
        llm_output=message.text if message is not None else None,
    )


def tool_parser(schema: Any, name: str) -> BaseOutputParser[Any]:
    """The parser for function calling."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return RequiredPydanticToolCall(tools=[schema], first_tool_only=True)
    return RequiredToolCall(key_name=name, first_tool_only=True)


def json_parser(schema: Any) -> BaseOutputParser[Any]:
    """The parser for JSON in the answer's text."""
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return RequiredJson(parser=PydanticOutputParser(pydantic_object=schema))
    return RequiredJson(parser=JsonOutputParser())


def with_parsing_error(parser: BaseOutputParser[Any]) -> Runnable[Any, dict[str, Any]]:
    """From {"raw": message} to {"raw", "parsed", "parsing_error"}: the error of a parser is given, not raised."""

    def parse(given: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        try:
            return {**given, "parsed": parser.invoke(given["raw"], config), "parsing_error": None}
        except Exception as error:
            return {**given, "parsed": None, "parsing_error": error}

    return RunnableLambda(parse, name="parse")


def response_format(schema: Any, strict: bool | None) -> dict[str, Any]:
    """The `response_format` for a schema: one that already is such an object as it is, else as json_schema."""
    if isinstance(schema, Mapping) and (schema.get("type") in ("json_object", "text") or "json_schema" in schema):
        return dict(schema)
    function = _function(schema, strict)
    return json_schema_format(
        function["name"],
        function.get("parameters", {}),
        description=function.get("description"),
        strict=function.get("strict", strict),
    )


def unwrapped(schema: Any) -> Any:
    """A schema that is given as an OpenAI tool, or as the service's `response_format` or the inside of one, as the
    function that it describes; any other as it is."""
    if not isinstance(schema, Mapping):
        return schema
    for wrapping in ("function", "json_schema"):
        if isinstance(schema.get(wrapping), Mapping):
            schema = schema[wrapping]
    if "name" in schema and isinstance(schema.get("schema"), Mapping):
        return {**{name: value for name, value in schema.items() if name != "schema"}, "parameters": schema["schema"]}
    return schema


def _function(schema: Any, strict: bool | None) -> dict[str, Any]:
    try:
        return convert_to_openai_function(unwrapped(schema), strict=strict)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"of {str(schema)[:120]} no schema can be made: {error}") from error


def openai_tools(tools: Any, strict: bool | None) -> list[dict[str, Any]]:
    """Tools of any form that LangChain knows, as the service takes them. Refuses by name what is no function."""
    if isinstance(tools, str | Mapping):
        raise ConfigurationError("tools= takes a list of tools")
    return [checked_tool(_openai_tool(tool, strict), strict) for tool in tools]


def _openai_tool(tool: Any, strict: bool | None) -> dict[str, Any]:
    try:
        return convert_to_openai_tool(tool, strict=strict)
    except (ValueError, TypeError) as error:
        raise no_function(tool) from error


def function_name(schema: Any) -> str:
    """The name under which a schema is offered as a function."""
    return str(_function(schema, None)["name"])
