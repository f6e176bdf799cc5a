"""`ChatModelStudio`: the core as a LangChain chat model. It translates; what is sent, and when, the core decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap
from langchain_core.tools import BaseTool
from langchain_protocol.protocol import MessagesData
from pydantic import BaseModel, model_validator
from typing_extensions import Self

from langchain_modelstudio.arguments import cached_arguments, call_arguments
from langchain_modelstudio.content_blocks import PROVIDER
from langchain_modelstudio.errors import ConfigurationError, langchain_errors
from langchain_modelstudio.messages import to_core_messages
from langchain_modelstudio.outputs import Chunks, added_usage, from_core_result, message_id
from langchain_modelstudio.profiles import model_profile
from langchain_modelstudio.streaming import EventWriter
from langchain_modelstudio.structured import METHODS, Method, json_parser, tool_parser, with_parsing_error
from langchain_modelstudio.tools import openai_function, openai_tools, response_format, unwrapped
from modelstudio_core import __version__, config
from modelstudio_core import errors as core_errors
from modelstudio_core import types as core
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.history import is_text_only, sendable
from modelstudio_core.settings import ChatSettings
from modelstudio_core.tokens import count_message_tokens, count_tokens, token_ids
from modelstudio_core.tools import chosen_tool

if TYPE_CHECKING:  # older releases have a plain binding
    from langchain_core.language_models.chat_models import _ChatModelBinding


class ChatModelStudio(ChatSettings, BaseChatModel):
    """Chat models of Alibaba Cloud Model Studio: Qwen, and the others it serves.

    Its arguments are the fields of `modelstudio_core.settings.ChatSettings`; those from `enable_thinking` on may also
    be given per call, or by `.bind()`. What is not given is not sent, and the service's default for the model holds.

    Example:
        llm = ChatModelStudio(model="qwen-plus", enable_thinking=True)
        for chunk in llm.stream("Why is the sky blue?"):
            print(chunk.additional_kwargs.get("reasoning_content", ""), chunk.text, end="")

    A message that comes back has the reasoning in `additional_kwargs["reasoning_content"]` and as the first of its
    `content_blocks`, tokens in `usage_metadata`, and `finish_reason`, `model_name` and `request_id` in
    `response_metadata`. Tool calls that were cut off are `invalid_tool_calls`, never `tool_calls`.

    Raises:
        modelstudio_core.errors.ModelStudioError: all errors are its subclasses and, at once, those of
            `langchain_core.exceptions` (see `langchain_modelstudio.errors`).
    """

    # ---------------------------------------------------------------- what LangChain asks of a model

    configuration_error: ClassVar[type[core_errors.ConfigurationError]] = ConfigurationError

    @model_validator(mode="after")
    def _check_modelstudio_settings(self) -> Self:
        self._add_version("modelstudio-integrations", __version__)
        with langchain_errors():
            self.core_client()
            self.core_model()
        return self

    @property
    def _llm_type(self) -> str:
        return "modelstudio-chat"

    @property
    def model_name(self) -> str:
        """The model id, under the name that some of LangChain's tools look for."""
        return self.model

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "base_url": self.core_client().config.base_url} | self.core_parameters()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Serialisable; the key goes as a reference to DASHSCOPE_API_KEY."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where it loads from."""
        return ["langchain_modelstudio", "chat_models"]

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields that never are in a serialised model, and the variables they are read from."""
        return {"api_key": config.API_KEY}

    def _resolve_model_profile(self) -> ModelProfile | None:
        info = self.core_model()
        text_only = is_text_only(self.core_client().config.protocol, self.native_endpoint or info.native_endpoint)
        return model_profile(info, text_only=text_only)

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
        return super()._get_llm_string(stop=stop, **cached_arguments(kwargs))

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None], /) -> dict[str, Any]:
        total: dict[str, Any] = {}
        for output in llm_outputs:
            total = added_usage(total, (output or {}).get("token_usage") or {})
        return {"token_usage": total, "model_name": self.model}

    # ---------------------------------------------------------------- calls

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request, model = self._request(messages, stop, kwargs)
            return from_core_result(self.core_client().complete(request, model))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with langchain_errors():
            request, model = self._request(messages, stop, kwargs)
            return from_core_result(await self.core_client().acomplete(request, model))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with langchain_errors():
            request, model = self._stream_request(messages, stop, kwargs)
            chunks = Chunks(v1=self.output_version == "v1")
            for delta in self.core_client().stream(request, model):
                if (chunk := chunks.of(delta)) is not None:
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
            chunks = Chunks(v1=self.output_version == "v1")
            async for delta in self.core_client().astream(request, model):
                if (chunk := chunks.of(delta)) is not None:
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
            for delta in self.core_client().stream(request, model):
                yield from events.of(delta)
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
            async for delta in self.core_client().astream(request, model):
                for event in events.of(delta):
                    yield event
            for event in events.end():
                yield event

    # ---------------------------------------------------------------- tokens

    def get_token_ids(self, text: str) -> list[int]:
        """Ids of the tokens of `text`. Raises ImportError, saying what to install, without the extra `tokenizer`."""
        return self.custom_get_token_ids(text) if self.custom_get_token_ids else token_ids(text, self.model)

    def get_num_tokens(self, text: str) -> int:
        """Tokens of `text`: exact for Qwen with the extra `tokenizer`, else an estimate (`modelstudio_core.tokens`)."""
        return len(self.get_token_ids(text)) if self.custom_get_token_ids else count_tokens(text, self.model)

    def get_num_tokens_from_messages(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Input tokens of a request with these messages and tools, as the service counts them; media not counted."""
        if self.custom_get_token_ids:
            return super().get_num_tokens_from_messages(list(messages), tools)
        with langchain_errors():
            core_messages = sendable(to_core_messages(messages), self.core_model()).messages
            wire = openai_tools(tools or (), None)
        return count_message_tokens(core_messages, self.model, tools=wire, enable_thinking=self.enable_thinking)

    # ---------------------------------------------------------------- tools and structured output

    def bind(self, **kwargs: Any) -> _ChatModelBinding:
        """Return a runnable that passes `kwargs` with each call. The values of `extra_headers` are shown nowhere."""
        return super().bind(**call_arguments(kwargs))

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model.

        Args:
            tools: pydantic classes, TypedDicts, functions, `BaseTool`s, JSON schemas or OpenAI tools.
            tool_choice: "auto", "none", a tool's name, "any"/"required"/True for some tool, or the service's own dict.
                A choice that the model cannot take, for instance while it thinks, is sent as "auto" with a warning.
            strict: put into each function.
            parallel_tool_calls: allow several calls in one answer.
            response_format: a schema, or the service's `response_format`, for answers that are no calls.
            **kwargs: any other parameter of a call.

        Raises:
            ConfigurationError: for a tool that is no function, or a choice that is none of the tools.
        """
        with langchain_errors():
            wire = openai_tools(tools, strict)
            bound: dict[str, Any] = {"tools": wire, "tool_choice": chosen_tool(tool_choice, wire)}
        bound["parallel_tool_calls"] = parallel_tool_calls
        bound["response_format"] = None if response_format is None else _response_format(response_format, strict)
        return self.bind(**{name: value for name, value in bound.items() if value is not None}, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return a runnable whose answers follow a schema.

        Args:
            schema: a pydantic class, whose objects come out, or a TypedDict, JSON schema, OpenAI function or tool, or
                the service's `response_format`, for which dicts come out unchecked. May be None for "json_mode" only.
            method: "json_schema" (the service constrains the answer), "function_calling" (the answer is a forced
                call) or "json_mode" (any JSON object; say in the prompt which). Default: "json_schema" where the
                model is listed for it, else "function_calling". Where the model may think, no call can be forced; an
                object in the text that fits the schema then counts too.
            include_raw: give {"raw", "parsed", "parsing_error"} instead of raising.
            strict: ask the service to hold to the schema.
            **kwargs: any other parameter of a call. `tools`, in all forms of `bind_tools`, may be called instead of
                an answer that is JSON; "parsed" is then None, so `include_raw` should be set.

        Raises:
            ConfigurationError: `method` is unknown, or `schema` is missing or cannot be converted.
            OutputParserException: on the call, the answer is not what was asked for.
        """
        chosen = method or ("json_schema" if self.core_model().supports_json_schema else "function_calling")
        if chosen not in METHODS:
            raise ConfigurationError(f"method={method!r} is unknown: {', '.join(METHODS)}")
        if schema is None and chosen != "json_mode":
            raise ConfigurationError(f"method={chosen!r} needs a schema")
        if chosen == "function_calling" and kwargs.pop("tools", None):
            raise ConfigurationError("tools= beside a schema needs method='json_schema' or 'json_mode'")
        traced = {"kwargs": {"method": chosen, "strict": strict}, "schema": schema}
        if chosen == "function_calling":
            name = str(openai_function(schema)["name"])
            llm = self.bind_tools(
                [unwrapped(schema)],
                tool_choice=name,
                parallel_tool_calls=False,
                strict=strict,
                ls_structured_output_format=traced,
                **kwargs,
            )
            parser = tool_parser(schema, name)
        else:
            form = {"type": "json_object"} if chosen == "json_mode" else _response_format(schema, strict)
            if schema is not None:
                kwargs["ls_structured_output_format"] = traced
            llm = self.bind_tools(kwargs.pop("tools", None) or (), response_format=form, strict=strict, **kwargs)
            parser = json_parser(schema)
        if not include_raw:
            return llm | parser
        return RunnableMap(raw=llm) | with_parsing_error(parser)

    # ---------------------------------------------------------------- inside

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[core.ChatRequest, ModelInfo]:
        # what starts with ls_ is for LangSmith's traces
        call = {name: value for name, value in call_arguments(kwargs).items() if not name.startswith("ls_")}
        if call.get("tools"):  # in the forms of bind_tools, which a call may add to, or do without
            call["tools"] = openai_tools(call["tools"], None)
            call["tool_choice"] = chosen_tool(call.get("tool_choice"), call["tools"])
        return self.core_request(to_core_messages(messages), stop, call)

    def _should_stream(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        # several answers cannot be streamed, so an invoke that somebody watches is not turned into a stream for them;
        # stream() itself asks without a run manager, and is refused
        if run_manager is not None and self._several(kwargs):
            return False
        return super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)

    def _should_use_protocol_streaming(self, *, async_api: bool, run_manager: Any = None, **kwargs: Any) -> bool:
        if self._several(kwargs):
            return False
        return super()._should_use_protocol_streaming(async_api=async_api, run_manager=run_manager, **kwargs)

    def _several(self, kwargs: Mapping[str, Any]) -> bool:
        return (kwargs.get("n") or self.n or 1) > 1

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[core.ChatRequest, ModelInfo]:
        request, model = self._request(messages, stop, kwargs)
        if (request.n or 1) > 1:
            raise ConfigurationError(f"n={request.n} cannot be streamed through LangChain: use invoke or generate")
        return request, model


_response_format = response_format  # under a name that the argument does not hide
