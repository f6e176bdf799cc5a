"""Settings of chat models as pydantic fields, inherited by both adapters, and the requests built from them.

This module does not import a framework. The connection fields are in `modelstudio_core.connection_settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from modelstudio_core.catalogue import ModelInfo, NativeEndpoint, model_info
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.history import is_text_only
from modelstudio_core.parameters import PLAIN_PARAMETERS, POLICY_PARAMETERS, chat_request, checked_model
from modelstudio_core.policies import may_think
from modelstudio_core.responses_settings import ResponsesSettings
from modelstudio_core.types import ChatRequest, Message, UploadMode

if TYPE_CHECKING:
    from modelstudio_core.files import Files

_PARAMETERS = (*POLICY_PARAMETERS, *PLAIN_PARAMETERS, "extra_body", "native_endpoint", "reasoning_replay")


class ChatSettings(ResponsesSettings):
    """Settings of a chat model.

    Every field from `native_endpoint` to `upload` may also be passed per call. So may `model`, `timeout`, and
    `extra_headers`, whose headers are added to `default_headers`. None means that the parameter is not sent and the
    service's default applies. Defaults and ranges differ by model; see the vendor's "OpenAI compatible - Chat" and
    "Deep thinking" pages.
    """

    if TYPE_CHECKING:  # lets type checkers accept either name; pydantic requires `model`
        model: str = ""
        model_name: str = ""
    else:
        model: str = Field(
            description="Model id, such as 'qwen-plus'; case-sensitive. `model_name` is accepted as an alias."
        )

        @property
        def model_name(self) -> str:
            """Return the model id. Some framework tools read this name."""
            return self.model

    # ---------------------------------------------------------------- generation parameters

    native_endpoint: NativeEndpoint | None = Field(
        default=None,
        description="Native protocol: endpoint of the model, 'text-generation' or 'multimodal-generation'. Default: "
        "from the catalogue, and 'text-generation' for unknown models.",
    )
    incremental_output: bool | None = Field(
        default=None,
        description="Native protocol: if False, the service repeats the accumulated text in each stream event. The "
        "deltas returned are the same either way. No effect with the other protocols. Default: True.",
    )

    streaming: bool | None = Field(
        default=None,
        description="Whether non-streaming calls use a streaming request. Default: if the model may think or only "
        "supports streaming; the latter also overrides False. If False, LangChain's `stream` uses a non-streaming "
        "request too.",
    )
    enable_thinking: bool | None = Field(default=None, description="Enable thinking. Default: the model's own.")
    thinking_budget: int | None = Field(default=None, description="Maximum number of thinking tokens.")
    preserve_thinking: bool | None = Field(
        default=None, description="Pass the reasoning of earlier turns to the model (billed as input)."
    )
    reasoning_effort: str | None = Field(
        default=None,
        description="Reasoning effort, such as 'low', 'medium', 'high', 'xhigh' or 'max'; levels differ by model. "
        "'none' disables thinking; for hybrid models without that level it is sent as enable_thinking=False.",
    )
    clear_thinking: bool | None = Field(default=None, description="GLM: drop the reasoning of earlier turns.")
    thinking: dict[str, Any] | None = Field(
        default=None, description="MiniMax-M3: {'type': 'adaptive'} or {'type': 'disabled'}."
    )
    reasoning_replay: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Which reasoning in the history to send back. 'auto': all after the last user message, and earlier "
        "reasoning only with preserve_thinking, or if the catalogue says that the model expects it. 'always': all. "
        "'never': none.",
    )

    temperature: float | None = Field(default=None, description="Sampling temperature, 0 <= temperature < 2.")
    top_p: float | None = Field(default=None, description="Nucleus sampling threshold, 0 < top_p <= 1.")
    top_k: int | None = Field(default=None, description="Number of most likely tokens to sample from.")
    presence_penalty: float | None = Field(
        default=None, description="Penalty on tokens that already appear in the text, -2 to 2."
    )
    repetition_penalty: float | None = Field(
        default=None, description="Penalty on repeated tokens, above 0; 1 means none."
    )
    max_tokens: int | None = Field(
        default=None, description="Maximum number of output tokens, excluding reasoning on most models."
    )
    max_completion_tokens: int | None = Field(
        default=None, description="Maximum number of output tokens including reasoning (newer models)."
    )
    n: int | None = Field(
        default=None, description="Number of completions, 1 to 4. Not supported with streaming or tools."
    )
    seed: int | None = Field(default=None, description="Seed for reproducible sampling.")
    stop: str | list[str] | list[int] | list[list[int]] | None = Field(
        default=None, description="Stop sequences: strings or token ids."
    )
    logprobs: bool | None = Field(
        default=None, description="Return log probabilities of the output tokens in `response_metadata['logprobs']`."
    )
    top_logprobs: int | None = Field(
        default=None,
        description="Number of alternative tokens to return at each position, 0 to 5. Requires `logprobs`.",
    )
    response_format: dict[str, Any] | None = Field(
        default=None,
        description="Output format: {'type': 'text'}, {'type': 'json_object'} or {'type': 'json_schema', ...}.",
    )
    parallel_tool_calls: bool | None = Field(
        default=None, description="Allow several tool calls in one response (service default: False)."
    )
    tool_stream: bool | None = Field(
        default=None, description="Stream tool arguments that are objects or arrays incrementally."
    )
    enable_search: bool | None = Field(default=None, description="Enable web search by the service.")
    search_options: dict[str, Any] | None = Field(
        default=None,
        description="Web search options, such as forced_search and search_strategy. The native protocol also has "
        "enable_source (return the sources), enable_citation, citation_format and prepend_search_result.",
    )
    enable_code_interpreter: bool | None = Field(
        default=None, description="Enable the service's code interpreter, used while thinking."
    )
    modalities: list[str] | None = Field(
        default=None, description="Omni: output modalities, ['text'] or ['text', 'audio']."
    )
    audio: dict[str, Any] | None = Field(
        default=None, description="Omni: audio output options, such as {'voice': 'Cherry', 'format': 'wav'}."
    )
    vl_high_resolution_images: bool | None = Field(default=None, description="Raise the limit on pixels per image.")
    vl_enable_image_hw_output: bool | None = Field(
        default=None, description="Native protocol: return the height and width of images after scaling."
    )
    translation_options: dict[str, Any] | None = Field(
        default=None, description="Qwen-MT: translation options, such as source_lang, target_lang and terms."
    )
    ocr_options: dict[str, Any] | None = Field(default=None, description="Qwen-OCR: OCR options, such as the task.")
    skill: str | dict[str, Any] | list[dict[str, Any]] | None = Field(
        default=None, description="Qwen-Doc: skills to use, such as [{'type': 'ppt'}]."
    )
    extra_body: dict[str, Any] | None = Field(
        default=None,
        description="Additional request parameters. Unknown ones are sent unchanged; known ones are treated like named "
        "parameters.",
    )
    include_response_headers: bool = Field(
        default=False,
        description="Return the headers of the HTTP response as `headers`, without cookies and credentials: in "
        "`response_metadata` (LangChain; on the last chunk of a stream) or in `additional_kwargs` of the response "
        "(LlamaIndex).",
    )
    upload: UploadMode = Field(
        default="auto",
        description="Local images, videos and audio files: 'auto' uploads those above 7 MiB to the service's temporary "
        "storage and sends smaller ones as base64 in the request, 'always' uploads all, 'never' none. An upload "
        "expires after 48 hours and can be used only with the same model and account.",
    )
    capabilities: dict[str, Any] | None = Field(
        default=None,
        description="Model facts that override the catalogue; keys are fields of "
        "`modelstudio_core.catalogue.ModelInfo`.",
    )

    @property
    def files(self) -> Files:
        """Return the client of the Files API (upload, list, retrieve, content, delete, wait)."""
        from modelstudio_core.files import Files  # imported at first use, as few programs use it

        return Files(self._core_client(), self._adapted_errors, self._system_message, owner=self)

    def _adapted_errors(self) -> AbstractContextManager[None]:
        """Return a context that raises core errors as the adapter's own."""
        return nullcontext()

    def _system_message(self, text: str) -> Any:
        """Return a system message of the framework."""
        raise NotImplementedError

    def _core_model(self, model: str | None = None) -> ModelInfo:
        """Return the catalogue entry of `model` (default: this object's), overridden by `capabilities`.

        Raises:
            ConfigurationError: if `capabilities` is invalid.
        """
        try:
            unlike = {"json_schema": False} if self.protocol == "responses" else {}  # not enforced there
            return model_info(model or self.model, {**unlike, **(self.capabilities or {})})
        except ValueError as error:
            raise ConfigurationError(f"capabilities: {error}") from None

    def _core_parameters(self) -> dict[str, Any]:
        """Return the request parameters set on this object, by name."""
        fields = self.__dict__  # without `tools` and `tool_choice`; attributes cost five times as much
        return {name: value for name in _PARAMETERS if (value := fields.get(name)) is not None}

    def _core_request(
        self, messages: Sequence[Message], stop: list[str] | None, call: Mapping[str, Any]
    ) -> tuple[ChatRequest, ModelInfo]:
        """Return the request for `messages` and the facts of its model.

        Args:
            messages: the conversation.
            stop: stop sequences of this call; None means those of the object.
            call: parameters of this call, which override the object's. `model` selects another model, `stream` sets
                whether the response is streamed, `extra_body` is merged into the object's, `extra_headers` are added to
                `default_headers`, and `timeout` applies to this call only.

        Raises:
            ConfigurationError: if a parameter is unknown, or its value is not valid for the field of that name.
        """
        call = {name: _checked(name, value) for name, value in call.items()}
        values = self._core_parameters() | {
            "include_response_headers": self.include_response_headers,
            "upload": self.upload,
        }
        given = {**call, **(call.get("extra_body") or {})}
        if given.get("reasoning_effort") == "none":  # overrides enable_thinking of the object
            values.pop("enable_thinking", None)
        if given.get("enable_thinking") and values.get("reasoning_effort") == "none":
            del values["reasoning_effort"]
        if self.streaming is not None:
            values["streaming"] = self.streaming
        values |= call
        if "stream" in values:
            values["streaming"] = values.pop("stream")
        if call.get("extra_body"):
            values["extra_body"] = {**(self.extra_body or {}), **call["extra_body"]}
        # validate extra_body values that the policies read, as if passed by name
        body = values.get("extra_body") or {}
        read = {name: _checked(name, value) for name, value in body.items() if name in POLICY_PARAMETERS}
        values["extra_body"] = {**body, **read}
        if stop is not None:
            values["stop"] = _checked("stop", stop)
        model = values.pop("model", None)
        model = self.model if model is None else checked_model(model)
        return chat_request(model, messages, values, of_object=type(self).model_fields), self._core_model(model)

    def _core_tokens(self, request: ChatRequest, model: ModelInfo) -> int:
        """Return the number of input tokens of a request; a `TokenEstimate` if it may differ from the service's."""
        from modelstudio_core.chat_format import count_request  # imported at first use

        endpoint = request.native_endpoint or model.native_endpoint
        return count_request(request, model, text_only=is_text_only(self.protocol, endpoint))

    def _core_may_think(self, call: Mapping[str, Any] | None = None) -> bool:
        """Return True if the model may think, given this object's parameters and those of `call`."""
        if call or self.extra_body:
            return may_think(*self._core_request((Message("user", ""),), None, call or {}))
        # LlamaIndex asks at each call, so build only the part of the request that decides it
        given = self.__dict__
        switch = {} if given["thinking"] is None else {"thinking": given["thinking"]}
        request = ChatRequest(
            self.model,
            messages=(),
            enable_thinking=given["enable_thinking"],
            reasoning_effort=given["reasoning_effort"],
            parameters=switch,
        )
        return may_think(request, self._core_model())


_PER_CALL_FIELDS = ChatSettings.model_fields.keys() & {*_PARAMETERS, "streaming", "include_response_headers", "upload"}


@lru_cache
def _field_type(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(ChatSettings.model_fields[name].annotation or Any)


def _checked(name: str, value: Any) -> Any:
    """Validate a per-call parameter against the field of the same name, and return the validated value.

    Raises:
        ConfigurationError: if the value is invalid.
    """
    if value is None or name not in _PER_CALL_FIELDS:
        return value
    try:
        return _field_type(name).validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(reason["msg"] for reason in error.errors(include_url=False, include_input=False))
        raise ConfigurationError(f"{name}={value!r:.80} is invalid: {'; or '.join(reasons)}") from None
