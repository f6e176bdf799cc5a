"""Adapt the core to LangChain's chat model interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessageChunk, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.prompt_values import ChatPromptValue, PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_protocol.protocol import MessagesData
from pydantic import model_validator
from typing_extensions import Self

from langchain_modelstudio.arguments import cache_key_arguments, call_arguments
from langchain_modelstudio.binding import ModelBinding, ModelStudioBinding
from langchain_modelstudio.content_blocks import PROVIDER
from langchain_modelstudio.counting import TokenCounting
from langchain_modelstudio.dict_messages import with_parsed_calls
from langchain_modelstudio.errors import ConfigurationError, langchain_errors
from langchain_modelstudio.messages import to_core_messages, traceable
from langchain_modelstudio.outputs import ChunkConverter, add_usage, from_core_result, message_id
from langchain_modelstudio.profiles import PROFILE_KEYS, settings_profile
from langchain_modelstudio.streaming import EventWriter
from langchain_modelstudio.tools import openai_tools
from modelstudio_core import __version__, config
from modelstudio_core import errors as core_errors
from modelstudio_core import types as core
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.http.event_loop import refuse_trio, running_loop
from modelstudio_core.settings import ChatSettings
from modelstudio_core.tools import chosen_tool


class ChatModelStudio(TokenCounting, ModelBinding, ChatSettings, BaseChatModel, defer_build=False):
    """Chat models of Alibaba Cloud Model Studio: Qwen and the other models it serves.

    Setup:
        Install the package in a clone (it is not on PyPI yet), and set the key.

        .. code-block:: bash

            pip install '.[langchain]'
            export DASHSCOPE_API_KEY="sk-..."

    Parameters that are not set are not sent, and the service's defaults for the model apply. Every request parameter
    can also be passed per call or with `.bind()`, as can `model` and `extra_headers`. Of the connection settings, only
    `timeout` can; `capabilities` cannot.

    Key init args for generation:
        model: model id, such as "qwen-plus"; case-sensitive. Also accepted as `model_name`.
        temperature: sampling temperature, 0 <= temperature < 2.
        top_p: nucleus sampling threshold, 0 < top_p <= 1.
        top_k: number of most likely tokens to sample from.
        presence_penalty: penalty on tokens that already appear in the text, -2 to 2.
        repetition_penalty: penalty on repeated tokens, above 0; 1 means none.
        max_tokens: maximum number of output tokens, excluding reasoning on most models.
        max_completion_tokens: maximum number of output tokens including reasoning (newer models).
        n: number of completions, 1 to 4. Not supported with streaming or tools.
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
        streaming: whether `invoke` uses a streaming request; default: yes if the model may think or only streams.
        native_endpoint: native protocol: "text-generation" or "multimodal-generation"; default: from the catalogue.
        incremental_output: native protocol: if False, each stream event repeats the accumulated text.
        extra_body: additional request parameters; known ones are treated like named parameters.
        include_response_headers: return the HTTP response headers, without cookies and credentials.
        upload: local media to upload to the service's temporary storage: "auto" (above 7 MiB), "always" or "never".
        capabilities: model capabilities that override the catalogue.

    Key init args for Responses protocol:
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

            from langchain_modelstudio import ChatModelStudio

            llm = ChatModelStudio(model="qwen-plus", temperature=0.2)

    Invoke:
        .. code-block:: python

            message = llm.invoke([("system", "You are brief."), ("user", "Why is the sky blue?")])
            print(message.text)

    Stream:
        .. code-block:: python

            whole = None
            for chunk in llm.stream("Why is the sky blue?"):
                print(chunk.text, end="", flush=True)
                whole = chunk if whole is None else whole + chunk

    Async:
        .. code-block:: python

            message = await llm.ainvoke("Why is the sky blue?")
            async for chunk in llm.astream("Why is the sky blue?"):
                print(chunk.text, end="", flush=True)
            messages = await llm.abatch(["Why is the sky blue?", "Why is grass green?"])

    Thinking:
        .. code-block:: python

            message = llm.invoke("How many primes are below 30?", enable_thinking=True, thinking_budget=512)
            print(message.additional_kwargs["reasoning_content"])  # also the first of message.content_blocks

    Tools:
        .. code-block:: python

            def weather(city: str) -> str:
                '''Tell the weather in a city.'''
                return f"It is sunny in {city}."

            message = llm.bind_tools([weather]).invoke("What is the weather in Paris?")
            print(message.tool_calls)  # truncated calls are in message.invalid_tool_calls instead

    Structured output:
        .. code-block:: python

            from pydantic import BaseModel

            class City(BaseModel):
                '''A city.'''

                name: str

            city = llm.with_structured_output(City).invoke("What is the largest city of France?")
            print(city.name)

    Image:
        .. code-block:: python

            from langchain_core.messages import HumanMessage

            sees = ChatModelStudio(model="qwen3-vl-plus")
            image = {"type": "image", "url": "https://example.com/sky.jpg"}  # or "path": "sky.jpg"
            message = sees.invoke([HumanMessage([{"type": "text", "text": "Describe this image."}, image])])

    Usage:
        .. code-block:: python

            print(message.usage_metadata)  # input_tokens, output_tokens, total_tokens and details
            print(message.response_metadata["finish_reason"], message.response_metadata["model_name"])

    Raises:
        modelstudio_core.errors.ModelStudioError: base class of all errors, which are also instances of the matching
            classes of `langchain_core.exceptions` (see `langchain_modelstudio.errors`).
    """

    # ---------------------------------------------------------------- LangChain interface

    configuration_error: ClassVar[type[core_errors.ConfigurationError]] = ConfigurationError

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        self._add_version("modelstudio-integrations", __version__)
        with langchain_errors():
            self._core_client()
            self._core_model()
        return self

    @property
    def _llm_type(self) -> str:
        return "modelstudio-chat"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self._core_client().config.base_url} | self._core_parameters()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True. The key is serialized as a reference to DASHSCOPE_API_KEY."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the namespace that a serialized model is loaded from."""
        return ["langchain_modelstudio", "chat_models"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Return the secret fields and the environment variables that hold their values."""
        return {"api_key": config.API_KEY_VARIABLE}

    def _resolve_model_profile(self) -> ModelProfile | None:
        return settings_profile(self)

    @model_validator(mode="after")
    def _check_profile_keys(self) -> Self:
        # langchain-core's check resolves the annotations of ModelProfile, a third of the time of the constructor
        if self.profile and not self.profile.keys() <= PROFILE_KEYS:
            super()._check_profile_keys()  # type: ignore[operator]  # pydantic leaves the plain function there
        return self

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = PROVIDER
        known = None if kwargs.get("max_completion_tokens") else params.get("ls_max_tokens")
        if limit := known or kwargs.get("max_completion_tokens") or self.max_completion_tokens:
            params["ls_max_tokens"] = limit
        return params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop, **call_arguments(kwargs))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        return super()._get_llm_string(stop=stop, **cache_key_arguments(kwargs))

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        total: dict[str, Any] = {}
        for output in llm_outputs:
            total = add_usage(total, (output or {}).get("token_usage") or {})
        return {"token_usage": total, "model_name": self.model}

    # ---------------------------------------------------------------- calls

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        with langchain_errors():
            prompt = super()._convert_input(with_parsed_calls(model_input))
            return ChatPromptValue(messages=traceable(prompt.to_messages()))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request, model = self._request(messages, stop, kwargs)
            return from_core_result(self._core_client().complete(request, model))

    async def agenerate(self, *args: Any, **kwargs: Any) -> LLMResult:
        running_loop()  # LangChain would fail in trio with an error that does not name it
        return await super().agenerate(*args, **kwargs)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        refuse_trio()  # not running_loop: the stream may be made before its event loop
        return super().astream(input, config, stop=stop, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request, model = self._request(messages, stop, kwargs)
            return from_core_result(await self._core_client().acomplete(request, model))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            request, model = self._stream_request(messages, stop, kwargs)
            chunks = ChunkConverter(v1=self.output_version == "v1")
            for deltas in self._core_client().stream_reads(request, model):
                for delta in deltas:
                    if (chunk := chunks.convert(delta)) is not None:
                        if run_manager:
                            run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
            chunk = chunks.last()
            if run_manager:
                run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with langchain_errors():
            request, model = self._stream_request(messages, stop, kwargs)
            chunks = ChunkConverter(v1=self.output_version == "v1")
            async for deltas in self._core_client().astream_reads(request, model):
                for delta in deltas:
                    if (chunk := chunks.convert(delta)) is not None:
                        if run_manager:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
            chunk = chunks.last()
            if run_manager:
                await run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[MessagesData]:
        with langchain_errors():
            request, model = self._stream_request(messages, stop, kwargs)
            events = EventWriter(message_id(run_manager))
            for deltas in self._core_client().stream_reads(request, model):
                for delta in deltas:
                    yield from events.convert(delta)
            yield from events.end()

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[MessagesData]:
        with langchain_errors():
            request, model = self._stream_request(messages, stop, kwargs)
            events = EventWriter(message_id(run_manager))
            async for deltas in self._core_client().astream_reads(request, model):
                for delta in deltas:
                    for event in events.convert(delta):
                        yield event
            for event in events.end():
                yield event

    # ---------------------------------------------------------------- binding

    def bind(self, **kwargs: Any) -> ModelStudioBinding:
        """Bind per-call parameters, which later `bind_tools` and `with_structured_output` keep.

        The values of `extra_headers` are hidden in reprs and traces.
        """
        return ModelStudioBinding(bound=self, kwargs=call_arguments(kwargs))

    def _adapted_errors(self) -> AbstractContextManager[None]:
        """Return a context in which the core's errors are raised as LangChain's; used by `ChatSettings`."""
        return langchain_errors()

    def _system_message(self, text: str) -> SystemMessage:
        return SystemMessage(text)

    def _bound_kwargs(self) -> Mapping[str, Any]:
        """Return no parameters: a model has none bound, unlike `ModelStudioBinding`."""
        return {}

    def _settings(self) -> ChatSettings:
        """Return the model itself. A `ModelStudioBinding` returns the model to which it is bound."""
        return self

    # ---------------------------------------------------------------- requests

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[core.ChatRequest, ModelInfo]:
        return self._request_of(to_core_messages(messages), stop, kwargs)

    def _request_of(
        self, messages: tuple[core.Message, ...], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[core.ChatRequest, ModelInfo]:
        # arguments that start with ls_ are for LangSmith traces
        call = {name: value for name, value in call_arguments(kwargs).items() if not name.startswith("ls_")}
        if call.get("tools"):  # in any form that bind_tools accepts
            call["tools"] = openai_tools(call["tools"], None, self.protocol)
            call["tool_choice"] = chosen_tool(call.get("tool_choice"), call["tools"])
        return self._core_request(messages, stop, call)

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # LangChain asks whether to stream, also in invoke(), where a callback may want it. Requests with n > 1 cannot
        # be streamed, so invoke() does not stream them. stream() passes no run manager; `_stream_request` then raises.
        if run_manager is not None and self._has_multiple_choices(kwargs):
            return False
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _should_use_protocol_streaming(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        if self._has_multiple_choices(kwargs):
            return False
        return super()._should_use_protocol_streaming(async_api=async_api, run_manager=run_manager, **kwargs)

    def _has_multiple_choices(self, kwargs: Mapping[str, Any]) -> bool:
        n = kwargs.get("n") or self.n
        return isinstance(n, int) and n > 1

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[core.ChatRequest, ModelInfo]:
        request, model = self._request(messages, stop, kwargs)
        if (request.n or 1) > 1:
            raise ConfigurationError(f"n={request.n} cannot be streamed through LangChain: use invoke or generate")
        return request, model
