"""Adapt the core to LlamaIndex's LLM interface."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

from llama_index_modelstudio.batches import BatchingLLM
from llama_index_modelstudio.built_in_tools import with_built_in_tools
from llama_index_modelstudio.counting import TokenCounting
from llama_index_modelstudio.errors import ConfigurationError
from llama_index_modelstudio.messages import reads_files, to_core_messages
from llama_index_modelstudio.outputs import Responses, from_core_result, to_completion
from llama_index_modelstudio.structured import StructuredAnswer, class_format
from llama_index_modelstudio.tools import ToolCallingLLM
from llama_index_modelstudio.tracing import hide_headers, without_span
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.http.event_loop import in_thread
from modelstudio_core.settings import ChatSettings
from modelstudio_core.types import ChatRequest, Message

if TYPE_CHECKING:
    from llama_index_modelstudio.structured_llm import ModelStudioStructuredLLM
else:  # LlamaIndex makes tools from the annotations of methods, and this class takes 2 ms to import
    from llama_index.core.llms.structured_llm import StructuredLLM as ModelStudioStructuredLLM

_dispatcher = get_dispatcher(__name__)
_FUNCTION_MODES = (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)


@hide_headers(
    "chat", "achat", "stream_chat", "astream_chat",
    "complete", "acomplete", "stream_complete", "astream_complete",
    "chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools",
    "structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict",
    "predict_and_call", "apredict_and_call",
)  # fmt: skip
class ModelStudio(TokenCounting, BatchingLLM, ChatSettings, ToolCallingLLM, defer_build=False):
    """LLMs of Alibaba Cloud Model Studio: Qwen and the other models it serves.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[llama-index]'
            export DASHSCOPE_API_KEY="sk-..."

    Parameters that are not set are not sent, and the service's defaults for the model apply. Every request parameter
    can also be passed per call, as can `model` and `extra_headers`. Of the connection settings, only `timeout` can;
    `capabilities`, `context_window` and `is_function_calling_model` cannot. The fields of LlamaIndex's `LLM`, such as
    `system_prompt`, are supported too.

    Key init args for generation:
        model: model id, such as "qwen-plus"; case-sensitive. Also accepted as `model_name`.
        temperature: sampling temperature, 0 <= temperature < 2.
        top_p: nucleus sampling threshold, 0 < top_p <= 1.
        top_k: number of most likely tokens to sample from.
        presence_penalty: penalty on tokens that already appear in the text, -2 to 2.
        repetition_penalty: penalty on repeated tokens, above 0; 1 means none.
        max_tokens: maximum number of output tokens, excluding reasoning on most models.
        max_completion_tokens: maximum number of output tokens including reasoning (newer models).
        n: must be 1; LlamaIndex responses have one message.
        seed: seed for reproducible sampling.
        stop: stop sequences, as strings or token ids.
        logprobs: return log probabilities of the output tokens.
        top_logprobs: number of alternative tokens to return at each position, 0 to 5.
        response_format: {"type": "text"}, {"type": "json_object"} or {"type": "json_schema", ...}.

    Key init args for thinking:
        enable_thinking: enable thinking; default: the model's own.
        thinking_budget: maximum number of thinking tokens.
        reasoning_effort: such as "low", "medium" or "high"; "none" disables thinking.
        preserve_thinking: pass the reasoning of earlier turns to the model.
        reasoning_replay: which reasoning in the history to send back: "auto" (default), "always" or "never".
        clear_thinking: GLM: drop the reasoning of earlier turns.
        thinking: MiniMax-M3: {"type": "adaptive"} or {"type": "disabled"}.

    Key init args for tools and media:
        parallel_tool_calls: allow several tool calls in one response.
        tool_stream: stream tool arguments that are objects or arrays incrementally.
        enable_search: enable web search by the service.
        search_options: options of the search, such as {"forced_search": True}.
        enable_code_interpreter: enable the service's code interpreter.
        modalities: Omni: ["text"] or ["text", "audio"].
        audio: Omni: options of the speech, such as {"voice": "Cherry", "format": "wav"}.
        vl_high_resolution_images: raise the limit on pixels per image.
        vl_enable_image_hw_output: native protocol: return the height and width of images after scaling.
        translation_options: Qwen-MT: such as {"target_lang": "English"}.
        ocr_options: Qwen-OCR: such as {"task": "table_parsing"}.
        skill: Qwen-Doc: such as [{"type": "ppt"}].

    Key init args for requests:
        streaming: whether `chat` uses a streaming request; default: yes if the model may think or only streams.
        native_endpoint: native protocol: "text-generation" or "multimodal-generation"; default: from the catalogue.
        incremental_output: native protocol: if False, each stream event repeats the accumulated text.
        extra_body: additional request parameters; known ones are treated like named parameters.
        include_response_headers: return the HTTP response headers, without cookies and credentials.
        upload: local media to upload to the service's temporary storage: "auto" (above 7 MiB), "always" or "never".
        capabilities: model capabilities that override the catalogue.
        context_window: maximum number of tokens of input and output together; default: from the catalogue.
        is_function_calling_model: whether the model supports tools; default: from the catalogue, True if unknown.

    Key init args for Responses protocol:
        built_in_tools: tools that the service runs, such as [{"type": "web_search"}].
        previous_response_id: id of the response to continue; only new messages are sent.
        use_previous_response_id: continue the last response in the history.
        store: if False, the service does not keep the response; default: True, for 7 days.
        conversation: id of the conversation to add to.
        session_cache: cache the input of the session, from 1,024 tokens on.

    Key init args for connection:
        api_key: API key, or a sync or async function that returns it; default: DASHSCOPE_API_KEY.
        base_url: URL to use instead of a region's host; default: DASHSCOPE_BASE_URL.
        region: such as "singapore" (default), "beijing" or "frankfurt"; default: DASHSCOPE_REGION.
        workspace: workspace id, required in Frankfurt and Tokyo; default: DASHSCOPE_WORKSPACE.
        protocol: "openai" (default), "dashscope" for the native protocol, or "responses".
        timeout: seconds for reading, writing and waiting for a connection (default 300; connecting at most 10), or an
            httpx.Timeout. The read timeout limits the time without data.
        max_retries: maximum number of retries before the first chunk (default 2).
        requests_per_minute: limit that all calls of the process share; default: none.
        tokens_per_minute: limit of input and output tokens, also shared by all calls of the process; default: none.
        default_headers: HTTP headers to add to every request.
        allow_insecure: allow sending the key over plain HTTP to another machine.
        max_event_bytes: maximum size in bytes of one stream event or a whole response (default 32 MiB).
        http_client: httpx.Client for sync calls; the caller closes it.
        http_async_client: httpx.AsyncClient for async calls; the caller closes it.

    Instantiate:
        .. code-block:: python

            from llama_index.core.llms import ChatMessage
            from llama_index_modelstudio import ModelStudio

            llm = ModelStudio(model="qwen-plus", temperature=0.2)

    Invoke:
        .. code-block:: python

            response = llm.chat([ChatMessage("Why is the sky blue?")])
            print(response.message.content)  # or llm.complete("Why is the sky blue?").text

    Stream:
        .. code-block:: python

            for response in llm.stream_chat([ChatMessage("Why is the sky blue?")]):
                print(response.delta, end="", flush=True)  # response.message holds the text so far

    Async:
        .. code-block:: python

            response = await llm.achat([ChatMessage("Why is the sky blue?")])
            async for response in await llm.astream_chat([ChatMessage("Why is the sky blue?")]):
                print(response.delta, end="", flush=True)

    Thinking:
        .. code-block:: python

            response = llm.chat([ChatMessage("How many primes are below 30?")], enable_thinking=True)
            print(response.message.blocks[0])  # a ThinkingBlock, followed by the TextBlock
            print(response.additional_kwargs["reasoning_content"])  # in streams: "thinking_delta"

    Tools:
        .. code-block:: python

            from llama_index.core.tools import FunctionTool

            def weather(city: str) -> str:
                '''Tell the weather in a city.'''
                return f"It is sunny in {city}."

            tool = FunctionTool.from_defaults(weather)
            response = llm.chat_with_tools([tool], user_msg="What is the weather in Paris?")
            print(llm.get_tool_calls_from_response(response, error_on_no_tool_call=False))
            response.additional_kwargs.get("invalid_tool_calls")  # calls with truncated or invalid arguments

    Structured output:
        .. code-block:: python

            from pydantic import BaseModel

            class City(BaseModel):
                '''A city.'''

                name: str

            city = llm.as_structured_llm(City).complete("What is the largest city of France?").raw
            print(city.name)

    Image:
        .. code-block:: python

            from llama_index.core.llms import ImageBlock, TextBlock

            sees = ModelStudio(model="qwen3-vl-plus")
            image = ImageBlock(url="https://example.com/sky.jpg")  # or path="sky.jpg"
            response = sees.chat([ChatMessage(role="user", blocks=[TextBlock(text="Describe this image."), image])])

    Usage:
        .. code-block:: python

            print(response.additional_kwargs["total_tokens"])  # also prompt_tokens, completion_tokens and details
            print(response.additional_kwargs["finish_reason"])

    Raises:
        modelstudio_core.errors.ModelStudioError: base class of all errors (see `llama_index_modelstudio.errors`).
    """

    context_window: int | None = Field(
        default=None,
        gt=0,
        description="Maximum number of tokens of input and output together. Default: from the catalogue.",
    )
    is_function_calling_model: bool | None = Field(
        default=None, description="Whether the model supports tools. Default: from the catalogue, True if unknown."
    )

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        self._core_client()
        self._core_model()
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the class name used in LlamaIndex serialization."""
        return "ModelStudio"

    @property
    def metadata(self) -> LLMMetadata:
        """Return the model metadata from the catalogue and the settings. Limits are in tokens."""
        info = self._core_model()
        window, output = info.token_limits(
            thinks=self._core_may_think(),
            max_tokens=self.max_tokens or self.max_completion_tokens,
            window=self.context_window,
        )
        has_tools = self.is_function_calling_model
        return LLMMetadata(
            context_window=window,
            num_output=output,
            is_chat_model=True,
            is_function_calling_model=info.tools is not False if has_tools is None else has_tools,
            model_name=self.model,
            system_role=MessageRole.SYSTEM,
        )

    # ---------------------------------------------------------------- chat

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Return the response. `kwargs` are per-call parameters, such as `temperature` or `enable_thinking`."""
        return self._chat(messages, kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Async version of `chat`."""
        return await self._achat(messages, kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Return a generator of responses.

        Unknown or malformed arguments raise immediately; all other errors are raised while iterating.
        """
        return self._stream(*self._request(to_core_messages(messages), kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Async version of `stream_chat`."""
        return self._astream(*self._request(await _to_core_messages(messages), kwargs))

    # ---------------------------------------------------------------- completion

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Return the completion of a prompt. Reasoning and usage are in `additional_kwargs`."""
        return to_completion(self._chat(self._prompt(prompt, formatted), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Async version of `complete`."""
        return to_completion(await self._achat(self._prompt(prompt, formatted), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Stream the completion of a prompt."""
        responses = self._stream(*self._request(to_core_messages(self._prompt(prompt, formatted)), kwargs))

        def completions() -> CompletionResponseGen:
            for response in responses:
                yield to_completion(response)

        return completions()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Async version of `stream_complete`."""
        responses = self._astream(*self._request(to_core_messages(self._prompt(prompt, formatted)), kwargs))

        async def completions() -> CompletionResponseAsyncGen:
            async for response in responses:
                yield to_completion(response)

        return completions()

    # ---------------------------------------------------------------- structured answers

    def as_structured_llm(self, output_cls: type[BaseModel], **kwargs: Any) -> ModelStudioStructuredLLM:
        """Return an LLM whose answers are parsed into objects of `output_cls`."""
        from llama_index_modelstudio.structured_llm import ModelStudioStructuredLLM

        return ModelStudioStructuredLLM(llm=self, output_cls=output_cls, **kwargs)

    @_dispatcher.span
    def structured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Return an object of `output_cls`.

        Uses json_schema if the model supports it, else a forced tool call, else LlamaIndex's own program.

        Raises:
            StructuredOutputError: if the answer does not contain a valid object.
        """
        result: Model
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            result = without_span(super().structured_predict)(output_cls, prompt, llm_kwargs, **prompt_args)
            return result
        _send_start_event(output_cls, prompt, prompt_args)
        result = answer.final_object(self.chat(self._format_prompt(prompt, prompt_args), **answer.options))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    @_dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Model:
        """Async version of `structured_predict`."""
        result: Model
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            result = await without_span(super().astructured_predict)(output_cls, prompt, llm_kwargs, **prompt_args)
            return result
        _send_start_event(output_cls, prompt, prompt_args)
        result = answer.final_object(await self.achat(self._format_prompt(prompt, prompt_args), **answer.options))
        _dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None, None]:
        """Overrides LlamaIndex's method, which would use one of its programs."""
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        responses = self.stream_chat(self._format_prompt(prompt, prompt_args), **answer.options)

        def objects() -> Generator[Model | FlexibleModel, None, None]:
            response = None
            for response in responses:
                if (part := answer.partial_object(response)) is not None:
                    yield part
            if response is not None:
                yield answer.final_object(response)

        return objects()

    async def _structured_astream_call(
        self,
        output_cls: type[Model],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Model | list[Model] | FlexibleModel | list[FlexibleModel], None]:
        """Async version of `_structured_stream_call`."""
        answer = self._structured(output_cls, llm_kwargs)
        if answer is None:
            return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        responses = await self.astream_chat(self._format_prompt(prompt, prompt_args), **answer.options)

        async def objects() -> AsyncGenerator[Model | FlexibleModel, None]:
            response = None
            async for response in responses:
                if (part := answer.partial_object(response)) is not None:
                    yield part
            if response is not None:
                yield answer.final_object(response)

        return objects()

    # ---------------------------------------------------------------- requests

    def _ignores_parallel_calls(self) -> bool:
        return self.protocol == "responses"

    def _request(self, messages: tuple[Message, ...], kwargs: Mapping[str, Any]) -> tuple[ChatRequest, ModelInfo]:
        kwargs = with_built_in_tools(kwargs, self.built_in_tools, self.protocol)
        schema = kwargs.get("response_format")
        if isinstance(schema, type):
            kwargs = {**kwargs, "response_format": class_format(schema)}
        request, model = self._core_request(messages, None, kwargs)
        if (request.n or 1) > 1:
            raise ConfigurationError(
                f"n={request.n} is not supported with LlamaIndex, whose responses have one message: remove n, or set "
                "it to 1"
            )
        return request, model

    def _chat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        request, model = self._request(to_core_messages(messages), kwargs)
        return from_core_result(self._core_client().complete(request, model))

    async def _achat(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> ChatResponse:
        request, model = self._request(await _to_core_messages(messages), kwargs)
        return from_core_result(await self._core_client().acomplete(request, model))

    def _stream(self, request: ChatRequest, model: ModelInfo) -> ChatResponseGen:
        responses = Responses()
        for deltas in self._core_client().stream_reads(request, model):
            for delta in deltas:
                if (response := responses.convert(delta)) is not None:
                    yield response
        yield responses.last()

    async def _astream(self, request: ChatRequest, model: ModelInfo) -> ChatResponseAsyncGen:
        responses = Responses()
        async for deltas in self._core_client().astream_reads(request, model):
            for delta in deltas:
                if (response := responses.convert(delta)) is not None:
                    yield response
        yield responses.last()

    def _system_message(self, text: str) -> ChatMessage:
        return ChatMessage(role=MessageRole.SYSTEM, content=text)

    def _prompt(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        text = prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)
        return [ChatMessage(role=MessageRole.USER, content=text)]

    def _format_prompt(self, prompt: PromptTemplate, prompt_args: Mapping[str, Any]) -> list[ChatMessage]:
        return self._extend_messages(prompt.format_messages(llm=self, **prompt_args))

    def _structured(self, output_cls: type[Model], options: Mapping[str, Any] | None) -> StructuredAnswer[Model] | None:
        """Return the parser of a structured answer, or None to use LlamaIndex's own programs."""
        mode = self.pydantic_program_mode
        if mode == PydanticProgramMode.DEFAULT and self._core_model((options or {}).get("model")).supports_json_schema:
            return StructuredAnswer(output_cls, options, by_tool_call=False)
        if mode in _FUNCTION_MODES and self.metadata.is_function_calling_model:
            return StructuredAnswer(output_cls, options, by_tool_call=True)
        return None


async def _to_core_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Async version of `to_core_messages`. Reads files in a thread."""
    if reads_files(messages):
        return await in_thread(to_core_messages, messages)
    return to_core_messages(messages)


def _send_start_event(output_cls: type[Any], prompt: PromptTemplate, prompt_args: dict[str, Any]) -> None:
    _dispatcher.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=prompt, template_args=prompt_args))
