"""Parse structured output from tool calls or text, from complete or streamed answers."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from json import JSONDecodeError
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseOutputParser
from langchain_core.output_parsers.transform import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableMap, RunnableSequence
from langchain_core.utils.json import parse_partial_json
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, Field, RootModel, SkipValidation, ValidationError, WithJsonSchema
from pydantic.v1 import ValidationError as ValidationErrorV1
from typing_extensions import is_typeddict

from langchain_modelstudio.binding import Method
from langchain_modelstudio.chunks import ModelStudioMessageChunk
from langchain_modelstudio.errors import ConfigurationError, RefusalError
from langchain_modelstudio.tools import openai_function, response_format
from modelstudio_core.json_schema import root_of
from modelstudio_core.json_text import object_start, object_text

if TYPE_CHECKING:
    from langchain_modelstudio.binding import ToolBinding
    from modelstudio_core.batches import BatchJob
else:
    from langchain_modelstudio.binding import BatchJob

METHODS: tuple[Method, ...] = get_args(Method)

_TRUNCATED = "the structured output is truncated: increase max_tokens or max_completion_tokens"


class _ObjectParser(BaseCumulativeTransformOutputParser[Any]):
    """Parse the object in an answer.

    During a stream, partial objects are returned. At the end, the complete answer is parsed strictly, so that a stream
    ends with the same object or error as `invoke`.
    """

    output: Annotated[Any, SkipValidation()] = Field(
        default=None, description="The class or schema of the object; None for any object."
    )

    @property
    def OutputType(self) -> Any:
        """Return the class of the objects: a pydantic class or TypedDict, else dict."""
        return self.output if _is_pydantic(self.output) or is_typeddict(self.output) else dict[str, Any]

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return a pydantic class for the objects: the caller's, or one with the caller's JSON schema."""
        if isinstance(self.output, type) and issubclass(self.output, BaseModel):
            return self.output
        schema = {"type": "object"} if self.output is None else _json_schema(self.output)
        return RootModel[Annotated[dict[str, Any], WithJsonSchema(schema)]]

    def parse(self, text: str) -> Any:
        """Return the object in `text`."""
        return self.parse_result([Generation(text=text)])

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        seen: list[Any] = []
        last = None
        for last in super()._transform(_record(piece, seen) for piece in input):
            yield last
        if seen and (whole := self.parse_result([_join(seen)])) is not None and whole != last:
            yield whole

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        seen: list[Any] = []
        last = None
        async for last in super()._atransform(_record(piece, seen) async for piece in input):
            yield last
        if seen and (whole := self.parse_result([_join(seen)])) is not None and whole != last:
            yield whole

    def _parse_text(self, text: str) -> Any:
        """Return the object in a complete text. Raises OutputParserException if it is invalid."""
        try:
            found = object_text(text)
        except ValueError as error:
            raise OutputParserException(f"the answer is not a JSON object: {error}", llm_output=text) from error
        return self._validate(json.loads(found), text)

    def _parse_partial_text(self, text: str) -> Any:
        """Return the object parsed from incomplete JSON, or None if it does not validate yet."""
        start = object_start(text)
        try:
            value = None if start is None else parse_partial_json(text[start:])
        except JSONDecodeError:
            return None
        return self._validate_partial(value)

    def _validate(self, value: Any, text: str) -> Any:
        try:
            return self._to_object(value)
        except (ValidationError, ValidationErrorV1) as error:
            raise OutputParserException(f"the answer does not match the schema: {error}", llm_output=text) from error

    def _validate_partial(self, value: Any) -> Any:
        try:
            return self._to_object(value) if isinstance(value, dict) else None
        except (ValidationError, ValidationErrorV1):
            return None

    def _to_object(self, value: Any) -> Any:
        if not _is_pydantic(self.output):
            return value
        return self.output.model_validate(value) if issubclass(self.output, BaseModel) else self.output.parse_obj(value)


class JsonParser(_ObjectParser):
    """Parse the object in the text of an answer."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object, or None if the answer contains tool calls. With `partial`, return the part received."""
        text, message = result[0].text, _message(result)
        if partial:
            return self._parse_partial_text(text)
        _raise_if_refused(message)
        if message is not None and message.tool_calls:  # the model called a bound tool instead of answering
            return None
        try:
            return self._parse_text(text)
        except OutputParserException as error:
            if _is_truncated(message) and not isinstance(error.__cause__, ValidationError | ValidationErrorV1):
                raise OutputParserException(_TRUNCATED, llm_output=text) from error.__cause__
            raise


class CallParser(_ObjectParser):
    """Parse the arguments of the requested call.

    If the model may think, the service does not accept a forced call, so the answer may have none. An object in the
    text that matches the schema is then accepted.
    """

    function: str = Field(description="Name of the function. Calls of other functions are ignored.")

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Return the object. With `partial`, return the part received."""
        text, message = result[0].text, _message(result)
        calls = message.tool_calls if message is not None else []
        args = next((call["args"] for call in calls if call["name"] == self.function), None)
        if partial:
            return self._parse_partial_text(text) if args is None else self._validate_partial(args)
        _raise_if_refused(message)
        if args is not None:
            return self._validate(args, str(args))
        try:
            found = self._parse_text(text)
        except OutputParserException as error:
            raise _missing_call_error(message, text) from error
        if isinstance(found, dict) and not self._matches_schema(found):
            raise _missing_call_error(message, text)
        return found

    def _matches_schema(self, value: dict[str, Any]) -> bool:
        """Return True if a dict has all required properties of the schema.

        It must also have at least one of the schema's properties, if it defines any.
        """
        schema = root_of(_json_schema(self.output))
        named = schema.get("properties", {})
        return value.keys() >= set(schema.get("required", ())) and (not named or bool(value.keys() & named.keys()))


def tool_parser(schema: Any, name: str) -> BaseOutputParser[Any]:
    """Return the parser of calls of the function `name`."""
    return CallParser(output=schema, function=name)


def json_parser(schema: Any) -> BaseOutputParser[Any]:
    """Return the parser of JSON in the text."""
    return JsonParser(output=schema)


def with_parsing_error(parser: BaseOutputParser[Any]) -> Runnable[Any, dict[str, Any]]:
    """Return a runnable from {"raw": message} to {"raw", "parsed", "parsing_error"}.

    Parsing errors are returned under "parsing_error", not raised.
    """

    def parse(given: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        try:
            return {**given, "parsed": parser.invoke(given["raw"], config), "parsing_error": None}
        except Exception as error:
            return {**given, "parsed": None, "parsing_error": error}

    return RunnableLambda(parse, name="parse")


class StructuredSequence(RunnableSequence[LanguageModelInput, dict[str, Any] | BaseModel]):
    """A model followed by the parser of its structured output, with `batch_job`."""

    @classmethod
    def lc_id(cls) -> list[str]:
        """Return the id of RunnableSequence, so that it loads without this package."""
        return RunnableSequence.lc_id()

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """Return the name in traces, which is that of RunnableSequence."""
        return super().get_name(suffix, name=name or self.name or RunnableSequence.__name__)

    def batch_job(
        self,
        prompts: Iterable[LanguageModelInput] | None = None,
        *,
        journal: str | os.PathLike[str],
        settings: Iterable[Mapping[str, Any] | None] | None = None,
        lines_per_file: int = 50_000,
        bytes_per_file: int = 500_000_000,
        completion_window: str = "24h",
        **kwargs: Any,
    ) -> BatchJob[Any]:
        """Return a batch job whose results are the parsed objects; for the arguments see `ChatModelStudio.batch_job`.

        An answer that cannot be parsed is an OutputParserException among the results.
        """
        options: dict[str, Any] = {"lines_per_file": lines_per_file, "bytes_per_file": bytes_per_file}
        options |= {"completion_window": completion_window, "journal": journal, "settings": settings}
        first, parser = cast("Any", self.first), self.last
        if not isinstance(first, RunnableMap):
            return cast("BatchJob[Any]", first._batch_job(prompts, parser.invoke, kwargs, options))
        [(name, llm)] = first.steps__.items()
        made = cast("Any", llm)._batch_job(prompts, lambda raw: parser.invoke({name: raw}), kwargs, options)
        return cast("BatchJob[Any]", made)


# ---------------------------------------------------------------- helpers


def _is_pydantic(schema: Any) -> bool:
    return isinstance(schema, type) and is_basemodel_subclass(schema)


def _json_schema(schema: Any) -> dict[str, Any]:
    function = openai_function(schema)
    return {"title": function["name"], **function.get("parameters", {})}


def _record(piece: str | BaseMessage, seen: list[Any]) -> str | BaseMessage:
    if isinstance(piece, AIMessage) and not isinstance(piece, AIMessageChunk):  # streaming=False: one whole message
        piece = ModelStudioMessageChunk(**piece.model_dump(exclude={"type"}), chunk_position="last")
    seen.append(piece)
    return piece


def _join(seen: list[Any]) -> Generation:
    if isinstance(seen[0], AIMessageChunk):
        return ChatGeneration(message=seen[0] + seen[1:])
    return Generation(text="".join(piece if isinstance(piece, str) else piece.text for piece in seen))


def _message(result: list[Generation]) -> AIMessage | None:
    message = result[0].message if isinstance(result[0], ChatGeneration) else None
    return message if isinstance(message, AIMessage) else None


def _raise_if_refused(message: AIMessage | None) -> None:
    """Raise RefusalError if the model declined to answer."""
    if message is not None and (refusal := message.additional_kwargs.get("refusal")):
        error = RefusalError(f"the model refused to produce the structured output: {refusal}")
        error.raw_message = message
        raise error


def _is_truncated(message: AIMessage | None) -> bool:
    return message is not None and message.response_metadata.get("finish_reason") == "length"


def _missing_call_error(message: AIMessage | None, text: str) -> OutputParserException:
    """Return the error for an answer without the requested call."""
    if _is_truncated(message):
        return OutputParserException(_TRUNCATED, llm_output=text)
    answer = f"The text of the answer: {text[:200]!r}." if text else "It returned no text."
    if message is not None and message.invalid_tool_calls:
        answer = f"Its call is invalid: {message.invalid_tool_calls[0]['error']}."
    elif message is not None and message.tool_calls:
        answer = f"It called {message.tool_calls[0]['name']!r}."
    return OutputParserException(
        f"the model did not call the function for the structured output. {answer} If thinking was enabled, the call "
        "could not be forced: set enable_thinking=False, or use method='json_schema' or 'json_mode'",
        llm_output=text,
    )


def structured(
    model: ToolBinding,
    schema: dict[str, Any] | type | None,
    method: Method | None,
    call: dict[str, Any],
    *,
    include_raw: bool,
    strict: bool | None,
) -> StructuredSequence:
    """Return what `with_structured_output` returns. `call` has its other parameters, and `model` what is bound."""
    info = model._settings()._core_model(call.get("model", model._bound_kwargs().get("model")))
    chosen = method or ("json_schema" if info.supports_json_schema else "function_calling")
    if chosen not in METHODS:
        raise ConfigurationError(f"method={method!r:.80} is unknown: use {', '.join(METHODS)}")
    if schema is None and chosen != "json_mode":
        raise ConfigurationError(f"method={chosen!r} requires a schema")
    if chosen == "function_calling" and call.pop("tools", None):
        raise ConfigurationError("tools= together with a schema requires method='json_schema' or 'json_mode'")
    traced = {"kwargs": {"method": chosen, "strict": strict}, "schema": schema}
    if chosen == "function_calling":
        name = str(openai_function(schema)["name"])
        llm = model._bind_forced_call(schema, name, strict=strict, ls_structured_output_format=traced, **call)
        parser = tool_parser(schema, name)
    else:
        form = {"type": "json_object"} if chosen == "json_mode" else response_format(schema, strict)
        if schema is not None:
            call["ls_structured_output_format"] = traced
        tools = call.pop("tools", None) or model._bound_kwargs().get("tools") or ()
        llm = model.bind_tools(tools, response_format=form, strict=strict, **call)
        parser = json_parser(schema)
    if not include_raw:
        return StructuredSequence(first=llm, last=parser)
    return StructuredSequence(first=RunnableMap(raw=llm), last=with_parsing_error(parser))
