"""Batch jobs for LlamaIndex prompts and responses, run by `modelstudio_core.batches`, which is imported lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.tools import BaseTool
from pydantic import BaseModel

from llama_index_modelstudio.errors import ConfigurationError, ModelStudioError
from llama_index_modelstudio.messages import to_core_messages
from llama_index_modelstudio.outputs import from_core_result
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.types import ChatRequest, Message

if TYPE_CHECKING:
    from llama_index_modelstudio.llm import ModelStudio
    from modelstudio_core.batches import BatchJob
else:  # LlamaIndex makes tools from the annotations of methods, and importing batch jobs is slow

    class BatchJob(Generic[TypeVar("Answer")]):
        """Stands for `modelstudio_core.batches.BatchJob` in annotations."""


Prompt = str | ChatMessage | Sequence[ChatMessage]


class BatchingLLM:
    """Implement `batch_job` of `ModelStudio`."""

    def batch_job(
        self,
        prompts: Iterable[Prompt] | None = None,
        *,
        journal: str | os.PathLike[str],
        settings: Iterable[Mapping[str, Any] | None] | None = None,
        lines_per_file: int = 50_000,
        bytes_per_file: int = 500_000_000,
        completion_window: str = "24h",
        output_cls: type[BaseModel] | None = None,
        **kwargs: Any,
    ) -> BatchJob[ChatResponse]:
        """Return a batch job, which answers many prompts at half the price. Nothing is sent until `submit`.

        The results are ChatResponses, or ModelStudioErrors of failed inputs, in the order of the prompts.

        Args:
            prompts: an iterable of texts or lists of messages, possibly millions. None to resume a job.
            journal: path of the journal, created if it does not exist. Keep it until you have the results.
            settings: call parameters for each prompt, such as `[{"temperature": 0}, None, ...]`.
            lines_per_file, bytes_per_file: maximum size of a file. Default: the limits of the service.
            completion_window: time after which the job expires, "24h" to "336h" or "1d" to "14d".
            output_cls: class of the structured output. The object is the `raw` of each response.
            **kwargs: call parameters for all prompts; with `tools`, those of `chat_with_tools`.

        Raises ConfigurationError if the journal has other settings, or does not exist and no prompts are passed.
        """
        from modelstudio_core.batches.job import Adapter, BatchJob  # importing sqlite3 is slow
        from modelstudio_core.batches.lines import LineWriter

        llm = cast("ModelStudio", self)
        parse, shared = _parser(llm, output_cls, kwargs)
        client = llm._core_client()
        return BatchJob(
            client,
            llm.files,
            LineWriter(lambda messages, own: _request(llm, messages, {**shared, **own}), client.batch_plan),
            Adapter(
                messages=lambda prompt: _messages(llm, prompt, extended=parse is not None),
                answer=from_core_result if parse is None else lambda result: _parsed(parse, from_core_result(result)),
                error=lambda error: error,
                errors=llm._adapted_errors,
            ),
            prompts,
            journal=journal,
            settings=settings,
            lines_per_file=lines_per_file,
            bytes_per_file=bytes_per_file,
            completion_window=completion_window,
        )


def _parser(
    llm: ModelStudio, output_cls: type[BaseModel] | None, shared: Mapping[str, Any]
) -> tuple[Callable[[ChatResponse], BaseModel] | None, Mapping[str, Any]]:
    """Return the parser of structured output, or None if there is none, and the call parameters."""
    if output_cls is None:
        return None, shared
    structured = llm._structured(output_cls, shared)
    if structured is None:
        raise ConfigurationError(
            f"structured output in batch jobs needs json_schema or tool calls, which {llm.model} does not support with "
            f"pydantic_program_mode={llm.pydantic_program_mode.value!r}"
        )
    return structured.final_object, structured.options


def _request(llm: ModelStudio, messages: tuple[Message, ...], call: Mapping[str, Any]) -> tuple[ChatRequest, ModelInfo]:
    """Return a request with the parameters of `chat`, or of `chat_with_tools` for LlamaIndex tools."""
    tools = call.get("tools")
    if tools and all(isinstance(tool, BaseTool) for tool in tools):
        call = llm._prepare_chat_with_tools(**call)
        call = {name: value for name, value in call.items() if name != "messages"}
    return llm._request(messages, call)


def _messages(llm: ModelStudio, prompt: Prompt, *, extended: bool) -> tuple[Message, ...]:
    """Convert a prompt to core messages: a text like `complete` does, messages like `chat`."""
    if isinstance(prompt, str):
        if not extended:
            return (Message("user", llm.completion_to_prompt(prompt) if llm.completion_to_prompt else prompt),)
        messages = llm._prompt(prompt, formatted=False)
    else:
        messages = [prompt] if isinstance(prompt, ChatMessage) else list(prompt)
    return to_core_messages(llm._extend_messages(messages) if extended else messages)


def _parsed(parse: Callable[[ChatResponse], BaseModel], response: ChatResponse) -> Any:
    """Return the response of a structured LLM, or its error, so that one error does not end the iteration."""
    try:
        found = parse(response)
    except ModelStudioError as error:
        return error
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=found.model_dump_json()), raw=found)
