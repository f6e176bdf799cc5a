"""`ModelStudio`: the core as a LlamaIndex LLM. It translates; what is sent, and when, the core decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.program.utils import FlexibleModel
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import Model, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, Field, model_validator
from typing_extensions import Self

from llama_index_modelstudio.errors import ConfigurationError
from llama_index_modelstudio.messages import read_files, to_core_messages
from llama_index_modelstudio.outputs import Responses, from_core_result, to_completion
from llama_index_modelstudio.structured import StructuredAnswer, class_format
from llama_index_modelstudio.tools import ToolCallingLLM
from llama_index_modelstudio.tracing import ModelStudioStructuredLLM, hide_headers
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.settings import ChatSettings
from modelstudio_core.types import ChatRequest, Message

_dispatcher = get_dispatcher(__name__)
_BY_CALL = (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)


@hide_headers(
    "chat", "achat", "stream_chat", "astream_chat",
    "complete", "acomplete", "stream_complete", "astream_complete",
    "chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools",
    "structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict",
    "predict_and_call", "apredict_and_call",
)  # fmt: skip
class ModelStudio(ChatSettings, ToolCallingLLM):
    """LLMs of Alibaba Cloud Model Studio: Qwen, and the others it serves.

    Its arguments are the fields of `modelstudio_core.settings.ChatSettings` and of LlamaIndex's `LLM`; those of the
    former from `enable_thinking` on may also be given to each call. What is not given is not sent, and the service's
    default for the model holds.

    Example:
        llm = ModelStudio(model="qwen-plus", enable_thinking=True)
        for response in llm.stream_chat([ChatMessage("Why is the sky blue?")]):
            print(response.additional_kwargs.get("thinking_delta", ""), response.delta, end="")

    A response's message has what was thought as its ThinkingBlock, what was said as its TextBlock, and a ToolCallBlock
    for each call; the response's `additional_kwargs` have the tokens (`prompt_tokens`, `completion_tokens`,
    `total_tokens`, `reasoning_tokens`, `cached_tokens`), `finish_reason` and `reasoning_content`. In a stream each
    response holds all that was said up to it, and the last one everything. Calls that were cut off are in
    `additional_kwargs["invalid_tool_calls"]`, never among the blocks of the last response.

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses (see `llama_index_modelstudio.errors`).
    """

    context_window: int | None = Field(default=None, gt=0)
    """Tokens that input and output may take together; default: what the catalogue says of the model."""
    is_function_calling_model: bool | None = None
    """Whether the model takes tools; default: unless the catalogue says that it does not."""

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        self.core_client()
        self.core_model()
        return self

    @classmethod
    def class_name(cls) -> str:
        """Its name in what LlamaIndex serialises."""
        return "ModelStudio"

    @property
    def metadata(self) -> LLMMetadata:
        """What LlamaIndex asks of a model, from the catalogue and the settings; limits in tokens."""
        info = self.core_model()
        window, output = info.room(
            thinks=self.core_thinks(),
            max_tokens=self.max_tokens or self.max_completion_tokens,
            window=self.context_window,
        )
        takes_tools = self.is_function_calling_model
        return LLMMetadata(
            context_window=window,
            num_output=output,
            is_chat_model=True,
            is_function_calling_model=info.tools is not False if takes_tools is None else takes_tools,
            model_name=self.model,
            system_role=MessageRole.SYSTEM,
        )

    # ---------------------------------------------------------------- chat

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The whole answer. `kwargs` are parameters of this call, such as `temperature` or `enable_thinking`."""
        return self._chat(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """The async twin of `chat`."""
        return await self._achat(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """The answer as it comes. What is wrong with the arguments is raised here, what fails later by the stream."""
        return self._stream(*self._request(to_core_messages(messages), kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """The async twin of `stream_chat`."""
        return self._astream(*self._request(await _read_messages(messages), kwargs))

    # ---------------------------------------------------------------- completion, which is a chat of one message

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The whole answer to a prompt; reasoning and usage are in `additional_kwargs`."""
        return to_completion(self._chat(self._prompt(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The async twin of `complete`."""
        return to_completion(await self._achat(self._prompt(prompt, formatted), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """The answer to a prompt as it comes."""
        responses = self._stream(*self._request(to_core_messages(self._prompt(prompt, formatted)), kwargs))

        def completions() -> CompletionResponseGen:
            for response in responses:
                yield to_completion(response)

        return completions()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """The async twin of `stream_complete`."""
        responses = self._astream(*self._request(to_core_messages(self._prompt(prompt, formatted)), kwargs))

        async def completions() -> CompletionResponseAsyncGen:
            async for response in responses:
                yield to_completion(response)

        return completions()

    # ---------------------------------------------------------------- structured answers

    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> ModelStudioStructuredLLM:
        """Return an LLM whose answers are objects of `output_cls`."""
        return ModelStudioStructuredLLM(llm=self, output_cls=output_cls, **kwargs)

    @_dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """An object of `output_cls`: by json_schema where the model is listed for it, else by a forced call.

        Raises:
            StructuredOutputError: where the answer does not hold one.
        """
        found: Model
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            found = super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return found
        _structured_starts(output_cls, prompt, prompt_args)
        found = answer.whole(self.chat(self._messages_of(prompt, prompt_args), **answer.options))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    @_dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """The async twin of `structured_predict`."""
        found: Model
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            found = await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
            return found
        _structured_starts(output_cls, prompt, prompt_args)
        found = answer.whole(await self.achat(self._messages_of(prompt, prompt_args), **answer.options))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=found))
        return found

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None, None]:
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        responses = self.stream_chat(self._messages_of(prompt, prompt_args), **answer.options)

        def objects() -> Generator[Model | FlexibleModel, None, None]:
            response = None
            for response in responses:
                if (part := answer.part(response)) is not None:
                    yield part
            if response is not None:
                yield answer.whole(response)

        return objects()

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None]:
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        responses = await self.astream_chat(self._messages_of(prompt, prompt_args), **answer.options)

        async def objects() -> AsyncGenerator[Model | FlexibleModel, None]:
            response = None
            async for response in responses:
                if (part := answer.part(response)) is not None:
                    yield part
            if response is not None:
                yield answer.whole(response)

        return objects()

    # ---------------------------------------------------------------- inside

    def _request(self, messages: tuple[Message, ...], kwargs: Mapping[str, Any]) -> tuple[ChatRequest, ModelInfo]:
        schema = kwargs.get("response_format")
        if isinstance(schema, type):
            kwargs = {**kwargs, "response_format": class_format(schema)}
        request, model = self.core_request(messages, None, kwargs)
        if (request.n or 1) > 1:
            raise ConfigurationError(
                f"n={request.n} cannot be given through LlamaIndex, whose responses have one answer"
            )
        return request, model

    def _chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        request, model = self._request(to_core_messages(messages), kwargs)
        return from_core_result(self.core_client().complete(request, model))

    async def _achat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        request, model = self._request(await _read_messages(messages), kwargs)
        return from_core_result(await self.core_client().acomplete(request, model))

    def _stream(self, request: ChatRequest, model: ModelInfo) -> ChatResponseGen:
        responses = Responses()
        for delta in self.core_client().stream(request, model):
            if (response := responses.of(delta)) is not None:
                yield response
        yield responses.last()

    async def _astream(self, request: ChatRequest, model: ModelInfo) -> ChatResponseAsyncGen:
        responses = Responses()
        async for delta in self.core_client().astream(request, model):
            if (response := responses.of(delta)) is not None:
                yield response
        yield responses.last()

    def _prompt(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        text = prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)
        return [ChatMessage(role=MessageRole.USER, content=text)]

    def _messages_of(self, prompt: PromptTemplate, prompt_args: Mapping[str, Any]) -> list[ChatMessage]:
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    def _structured(self, output_cls: type[Model], options: Mapping[str, Any] | None) -> StructuredAnswer[Model] | None:
        """How an object is asked for; None where it is left to LlamaIndex's own programs."""
        mode = self.pydantic_program_mode
        if mode == PydanticProgramMode.DEFAULT and self.core_model((options or {}).get("model")).supports_json_schema:
            return StructuredAnswer(output_cls, options, by_call=False)
        if mode in _BY_CALL and self.metadata.is_function_calling_model:
            return StructuredAnswer(output_cls, options, by_call=True)
        return None


async def _read_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """`to_core_messages`, off the event loop where files are read."""
    if read_files(messages):
        return await asyncio.to_thread(to_core_messages, messages)
    return to_core_messages(messages)


def _structured_starts(output_cls: type[Any], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))
