"""Bind parameters to a model so that later bindings keep them.

langchain-core's `RunnableBinding` forwards `bind_tools` and `with_structured_output` to the bare model, which loses
earlier bindings. Here, a model and its bindings share both methods.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase

from langchain_modelstudio.arguments import call_arguments
from langchain_modelstudio.errors import langchain_errors
from langchain_modelstudio.profiles import settings_profile
from langchain_modelstudio.tools import openai_tools, unwrapped
from langchain_modelstudio.tools import response_format as format_of  # an argument has the name
from modelstudio_core.settings import ChatSettings
from modelstudio_core.tools import chosen_name, chosen_tool, tool_name

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from langchain_modelstudio.chat_models import ChatModelStudio
    from langchain_modelstudio.structured import StructuredSequence
    from modelstudio_core.batches import BatchJob
else:  # `with_fallbacks` evaluates the annotations of methods, and these modules are slow to import
    BaseTool = Any
    StructuredSequence = RunnableSequence

    class BatchJob(Generic[TypeVar("Answer")]):
        """Stands for `modelstudio_core.batches.BatchJob` in annotations."""


Method = Literal["json_schema", "function_calling", "json_mode"]
Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


class ToolBinding:
    """Implement `bind_tools` and `with_structured_output` with `bind`, for models and bindings."""

    def bind(self, **kwargs: Any) -> ModelStudioBinding:
        """Bind per-call parameters."""
        raise NotImplementedError

    def _bound_kwargs(self) -> Mapping[str, Any]:
        """Return the bound parameters."""
        raise NotImplementedError

    def _settings(self) -> ChatSettings:
        """Return the model."""
        raise NotImplementedError

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: dict[str, Any] | type | None = None,
        **kwargs: Any,
    ) -> ModelStudioBinding:
        """Bind tools, replacing bound tools. Other bound parameters are kept.

        Args:
            tools: pydantic classes, TypedDicts, functions, `BaseTool` objects, JSON schemas or OpenAI tools. With the
                Responses protocol also built-in tools, such as {"type": "web_search"}.
            tool_choice: "auto", "none", a tool's name, "any"/"required"/True for any tool, False to send no choice, or
                the service's own dict. Default: the bound choice, unless it names a replaced tool. A choice that the
                model does not support, for instance with thinking, is sent as "auto" with a warning.
            strict: `strict` of each function.
            parallel_tool_calls: allow several calls in one answer.
            response_format: a schema, or the service's `response_format`, for answers without tool calls.
            **kwargs: other per-call parameters.

        Raises:
            ConfigurationError: if a tool is not a function, or the choice does not name one of the tools.
        """
        bound: dict[str, Any] = {}
        with langchain_errors():
            bound["tools"] = wire = openai_tools(tools, strict, self._settings().protocol)
            choice = chosen_tool(self._bound_choice(wire) if tool_choice is None else tool_choice, wire)
        if choice is not None or "tool_choice" in self._bound_kwargs():
            bound["tool_choice"] = choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        if response_format is not None:
            bound["response_format"] = format_of(response_format, strict)
        return self.bind(**bound, **kwargs)

    def _bound_choice(self, tools: Sequence[Mapping[str, Any]]) -> Any:
        """Return the bound tool choice, unless it names a tool that `tools` replace."""
        bound = self._bound_kwargs()
        choice = bound.get("tool_choice")
        if "tools" in bound and isinstance(choice, Mapping) and chosen_name(choice) not in map(tool_name, tools):
            return None
        return choice

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> StructuredSequence:
        """Return a runnable whose output follows a schema.

        Args:
            schema: a pydantic class, which returns objects, or a TypedDict, JSON schema, OpenAI function or tool, or
                the service's `response_format`, which return dicts without validation. None for "json_mode" only.
            method: "json_schema" (the service constrains the answer), "function_calling" (the answer is a forced
                call) or "json_mode" (any JSON object; describe it in the prompt). Default: "json_schema" if the model
                is listed for it, else "function_calling". If the model may think, a call cannot be forced; then an
                object in the text that matches the schema is accepted too.
            include_raw: return {"raw", "parsed", "parsing_error"} instead of raising an error.
            strict: `strict` of the schema.
            **kwargs: other per-call parameters. The model may call `tools` (any form that `bind_tools` accepts) instead
                of answering in JSON; "parsed" is then None, so set `include_raw`. Bound tools are included; with
                "function_calling" they are sent together with the forced function.

        Raises:
            ConfigurationError: if `method` is unknown, or `schema` is missing or cannot be converted.
            OutputParserException: when invoked, if the answer does not contain a valid object.
        """
        from langchain_modelstudio.structured import structured  # its parsers take 15 ms to import

        return structured(self, schema, method, kwargs, include_raw=include_raw, strict=strict)

    def _bind_forced_call(self, schema: Any, name: str, **kwargs: Any) -> ModelStudioBinding:
        """Bind the function `name` with this schema and a choice that forces it, besides the bound tools."""
        bound = openai_tools(self._bound_kwargs().get("tools") or (), None, self._settings().protocol)
        others = [tool for tool in bound if tool_name(tool) != name]
        return self.bind_tools([*others, unwrapped(schema)], tool_choice=name, parallel_tool_calls=False, **kwargs)

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
    ) -> BatchJob[AIMessage]:
        """Return a batch job, which answers many prompts at half the price. Nothing is sent until `submit`.

        The results are AIMessages as from `invoke`, in the order of the prompts, or a ModelStudioError for each input
        that failed. Bound parameters apply to all inputs.

        Args:
            prompts: an iterable of model inputs, possibly millions. None to resume a job.
            journal: path of the journal, created if it does not exist. Keep it until you have the results.
            settings: call parameters for each prompt, such as `[{"temperature": 0}, None, ...]`.
            lines_per_file, bytes_per_file: maximum size of a file. Default: the limits of the service.
            completion_window: time after which the job expires, "24h" to "336h" or "1d" to "14d".
            **kwargs: call parameters for all prompts.

        Raises:
            ConfigurationError: if the journal has other settings, or does not exist and no prompts are passed.
        """
        options: dict[str, Any] = {"lines_per_file": lines_per_file, "bytes_per_file": bytes_per_file}
        options |= {"completion_window": completion_window, "journal": journal, "settings": settings}
        return self._batch_job(prompts, None, kwargs, options)

    def _batch_job(
        self,
        prompts: Iterable[LanguageModelInput] | None,
        parse: Callable[[AIMessage], Any] | None,
        call: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> BatchJob[Any]:
        from langchain_modelstudio.batches import make_job  # importing sqlite3 is slow

        llm = cast("ChatModelStudio", self._settings())
        return make_job(llm, prompts, {**self._bound_kwargs(), **call}, parse, **options)


class ModelBinding(ToolBinding):
    """Implement the methods that bind a config, for models: bound parameters are kept."""

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> ModelStudioBinding:
        """Return a binding with this RunnableConfig, such as tags. Bound parameters are kept."""
        return self.bind().with_config(config, **kwargs)

    def with_listeners(self, **listeners: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind listeners. Bound parameters are kept."""
        return self.bind().with_listeners(**listeners)

    def with_alisteners(self, **listeners: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Async version of `with_listeners`."""
        return self.bind().with_alisteners(**listeners)

    def with_types(self, **types: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind input and output types. Bound parameters are kept."""
        return self.bind().with_types(**types)


if TYPE_CHECKING:  # newer releases define the types of v3 event streams in this class
    from langchain_core.language_models.chat_models import _ChatModelBinding as _Binding

    from langchain_modelstudio.chat_models import ChatModelStudio
else:
    _Binding = RunnableBinding[LanguageModelInput, AIMessage]


class ModelStudioBinding(_Binding, ToolBinding):  # type: ignore[no-redef,unused-ignore]  # pydantic's plugin
    """A `ChatModelStudio` with bound per-call parameters or config.

    `bind`, `bind_tools` and `with_config` keep bound parameters. A later value of a parameter overrides an earlier one.
    """

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the namespace that a serialized binding is loaded from."""
        return ["langchain_modelstudio", "binding"]

    @property
    def profile(self) -> ModelProfile | None:
        """Return the model's profile, with token limits for the bound parameters."""
        settings = self._settings()
        own: ModelProfile | None = getattr(settings, "profile", None)
        return settings_profile(settings, self.kwargs) if own == settings_profile(settings) else own

    def get_num_tokens_from_messages(
        self, messages: LanguageModelInput, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> int:
        """Return the number of input tokens of a request with what is bound; see `ChatModelStudio`."""
        call = {**self.kwargs, **kwargs} | ({} if tools is None else {"tools": tools})
        model = cast("ChatModelStudio", self._settings())
        return model.get_num_tokens_from_messages(messages, **call)

    def bind(self, **kwargs: Any) -> ModelStudioBinding:
        """Bind more per-call parameters."""
        return cast("ModelStudioBinding", super().bind(**call_arguments(kwargs)))

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> ModelStudioBinding:
        """Bind a config, such as tags."""
        return cast("ModelStudioBinding", super().with_config(config, **kwargs))

    def with_alisteners(self, **listeners: Any) -> ModelStudioBinding:
        """Bind async listeners. The result is this class, unlike langchain-core's."""
        made = cast("ModelStudioBinding", super().with_alisteners(**listeners))
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**fields | {"config_factories": [*made.config_factories, *self.config_factories]})

    def _bound_kwargs(self) -> Mapping[str, Any]:
        return self.kwargs

    def _settings(self) -> ChatSettings:
        model: Any = self.bound
        while isinstance(model, RunnableBindingBase):  # with_retry adds a binding in between
            model = model.bound
        return cast("ChatSettings", model)
