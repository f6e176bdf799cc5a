"""Batch jobs for LangChain prompts and answers, run by `modelstudio_core.batches`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage

from langchain_modelstudio.errors import from_core_error, langchain_errors
from langchain_modelstudio.messages import to_core_messages
from langchain_modelstudio.outputs import from_core_choice
from modelstudio_core.batches import BatchJob
from modelstudio_core.batches.job import Adapter
from modelstudio_core.batches.lines import LineWriter
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.protocols.usage import openai_usage
from modelstudio_core.types import ChatResult, Choice, Message

if TYPE_CHECKING:
    from langchain_modelstudio.chat_models import ChatModelStudio


def make_job(
    llm: ChatModelStudio,
    prompts: Iterable[Any] | None,
    bound: Mapping[str, Any],
    parse: Callable[[AIMessage], Any] | None = None,
    **options: Any,
) -> BatchJob[Any]:
    """Return a batch job of `llm` with the parameters in `bound`. Its answers are parsed with `parse`, if given."""
    with langchain_errors():
        writer = LineWriter(
            lambda messages, settings: llm._request_of(messages, None, {**bound, **settings}),
            llm._core_client().batch_plan,
        )
        to_answer = partial(_message, v1=llm.output_version == "v1")
        adapter: Adapter[Any] = Adapter(
            messages=partial(_messages, llm),
            answer=to_answer if parse is None else lambda result: _parsed(parse, to_answer(result)),
            error=from_core_error,
            errors=langchain_errors,
        )
        return BatchJob(llm._core_client(), llm.files, writer, adapter, prompts, **options)


def _messages(llm: ChatModelStudio, prompt: Any) -> tuple[Message, ...]:
    """Convert a model input to core messages."""
    if type(prompt) is str:
        return (Message("user", prompt),)
    return to_core_messages(llm._convert_input(prompt).to_messages())


def _message(result: ChatResult, *, v1: bool) -> AIMessage:
    """Return the message of a result, like that of `invoke`, but without a run ID."""
    message = from_core_choice(result.choices[0] if result.choices else Choice(), result)
    if result.usage is not None:  # in a call, langchain-core adds it
        message.response_metadata["token_usage"] = openai_usage(result.usage)
    if not v1:
        return message
    metadata = {**message.response_metadata, "output_version": "v1"}
    return message.model_copy(update={"content": message.content_blocks, "response_metadata": metadata})


def _parsed(parse: Callable[[AIMessage], Any], message: AIMessage) -> Any:
    """Return the parsed message, or the parser's error, so that one error does not end the iteration."""
    try:
        return parse(message)
    except (OutputParserException, ModelStudioError) as error:
        return error
