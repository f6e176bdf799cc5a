"""Every setting of a chat model object, as typed fields that both adapters inherit, and the request they make.

The adapters' base classes are pydantic's, and so is this mixin: one list of fields, one way from them to a client, a
model's facts and a request. It knows no framework.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    SkipValidation,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from modelstudio_core import config
from modelstudio_core.catalogue import ModelInfo, NativeEndpoint, model_info
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http.client import Client
from modelstudio_core.http.timeouts import timeouts
from modelstudio_core.http.transport import AsyncHttpClient, HttpClient, HttpTimeout, Transport
from modelstudio_core.parameters import (
    PLAIN_PARAMETERS,
    POLICY_PARAMETERS,
    chat_request,
    checked_model,
    unknown_argument,
)
from modelstudio_core.pickling import check_pickled_key, with_key, without_key
from modelstudio_core.policies import may_think
from modelstudio_core.types import ChatRequest, Message

_HTTP_CLIENTS = ("http_client", "http_async_client")
_OWN = (*POLICY_PARAMETERS, *PLAIN_PARAMETERS, "extra_body", "native_endpoint", "reasoning_replay")


def key_from_environment() -> SecretStr | None:
    """Return the key that DASHSCOPE_API_KEY holds."""
    key = os.environ.get(config.API_KEY)
    return SecretStr(key) if key else None


def _aliases(fields: Mapping[str, FieldInfo]) -> set[str]:
    """Return the other names that the constructor takes for its fields. Ours have none, but a subclass's may."""
    names = set()
    for field in fields.values():
        alias = field.validation_alias
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            names.add(str(choice.path[0]) if isinstance(choice, AliasPath) else choice)
    return {name for name in names if name is not None}


class ConnectionSettings(BaseModel):
    """Where calls go, with which key, and how patiently."""

    # hide_input: an error of pydantic's would show the key among the arguments
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    # what is dumped, pickled, traced or cached has neither the key nor headers, which may hold one
    api_key: SecretStr | str | SkipJsonSchema[Callable[[], Any]] | None = Field(
        default_factory=key_from_environment, exclude=True, repr=False
    )
    """The API key; default: DASHSCOPE_API_KEY. A key works in its own region only. Or a function, sync or async, that
    returns the key and is called for each request, also for each retry; an async one serves async calls only."""
    base_url: str | None = None
    """Where to send to, instead of a region's host; default: DASHSCOPE_BASE_URL. A bare origin gets the protocol's
    path. A known path on one of the vendor's hosts is replaced with the protocol's; any other path stays as it is."""
    region: str | None = None
    """singapore (default), virginia, beijing, hongkong, frankfurt, tokyo, or an id such as "ap-southeast-1";
    default: DASHSCOPE_REGION."""
    workspace: str | None = None
    """Workspace id; default: DASHSCOPE_WORKSPACE. Frankfurt and Tokyo need it."""
    protocol: Literal["openai", "dashscope"] = "openai"
    """The service's protocol: "openai" (compatible) or "dashscope" (native: returns a search's sources)."""
    timeout: float | SkipJsonSchema[SkipValidation[HttpTimeout]] | Mapping[str, float | None] | None = None
    """Read timeout in seconds (default 300), or an httpx.Timeout, which is kept as a dict of its four numbers."""
    max_retries: int | None = None
    """How often a call that failed before its first token is made again (default 2; 0 sends one request)."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """Headers for every request."""
    allow_insecure: bool = False
    """Send the key over plain http to another machine."""
    max_event_bytes: int | None = None
    """What one event of a stream, or a whole answer, may hold (default 32 MiB)."""
    http_client: SkipJsonSchema[SkipValidation[HttpClient] | None] = Field(default=None, exclude=True, repr=False)
    """An httpx.Client to use for sync calls; never closed here."""
    http_async_client: SkipJsonSchema[SkipValidation[AsyncHttpClient] | None] = Field(
        default=None, exclude=True, repr=False
    )
    """An httpx.AsyncClient to use for async calls; never closed here."""

    configuration_error: ClassVar[type[ConfigurationError]] = ConfigurationError
    """What is raised for an unknown argument; an adapter has its own."""

    _client: tuple[Any, Client] | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Run what the framework's classes do here. pydantic's own hook, made for private attributes, would not."""
        super().model_post_init(context)

    @model_validator(mode="before")
    @classmethod
    def _know_every_setting(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "model_name" in values and "model_name" not in cls.model_fields:
            values = {"model": values["model_name"], **values}
            del values["model_name"]
        unknown = values.keys() - cls.model_fields
        if unknown and (unknown := unknown - _aliases(cls.model_fields)):
            said = " ".join(unknown_argument(name, cls.model_fields) for name in sorted(unknown))
            raise cls.configuration_error(said)
        return values

    @field_validator("model", "model_name", mode="after", check_fields=False)
    @classmethod
    def _check_model(cls, model: str) -> str:
        try:
            return checked_model(model)
        except ConfigurationError as error:
            raise error.recast(cls.configuration_error) from None

    @field_validator("timeout", mode="after")
    @classmethod
    def _as_numbers(cls, timeout: Any) -> Any:
        """The limits of an httpx.Timeout, by name: these can be written as JSON and read again."""
        if not hasattr(timeout, "connect"):
            return timeout
        try:
            return asdict(timeouts(timeout))
        except ConfigurationError as error:
            raise error.recast(cls.configuration_error) from None

    @field_validator("api_key", mode="after")
    @classmethod
    def _keep_the_key_secret(cls, key: SecretStr | str | None) -> SecretStr | None:
        return SecretStr(key) if isinstance(key, str) else key

    def __getstate__(self) -> dict[Any, Any]:
        for name in _HTTP_CLIENTS:
            if getattr(self, name) is not None:
                raise TypeError(f"a model with {name}= cannot be pickled: make it where it is used")
        check_pickled_key(self.api_key)  # before LlamaIndex's own method, which would drop it with a warning
        # of a copy: LlamaIndex's own method deletes what cannot be pickled, such as a rate limiter, from its object
        state = super(ConnectionSettings, self.__copy__()).__getstate__()
        return without_key(state, type(self).model_fields)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(with_key(state, self.configuration_error))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        shared = (self.http_client, self.http_async_client, self.api_key)  # what was injected belongs to its maker
        memo = {} if memo is None else memo
        memo.update({id(each): each for each in shared if each is not None})
        return super().__deepcopy__(memo)

    def core_client(self) -> Client:
        """Return the client of these settings, a new one if a field was changed. Raises ConfigurationError."""
        settings = {name: getattr(self, name) for name in ConnectionSettings.model_fields if name not in _HTTP_CLIENTS}
        key = (settings, self.http_client, self.http_async_client)
        if self._client is None or self._client[0] != key:
            try:
                resolved = config.resolve(**settings)
                transport = Transport(
                    timeout=resolved.timeout, http_client=self.http_client, http_async_client=self.http_async_client
                )
            except ConfigurationError as error:
                raise error.recast(self.configuration_error) from None
            self._client = (key, Client(resolved, transport))
        return self._client[1]

    def close(self) -> None:
        """Close the connections that this object alone uses. It opens new ones if it is used again."""
        self.core_client().close()

    async def aclose(self) -> None:
        """The async twin of `close`."""
        await self.core_client().aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


class ChatSettings(ConnectionSettings):
    """The settings of a chat model.

    Every field from `native_endpoint` to `include_response_headers` may also be given per call, as may `timeout`, and
    `extra_headers`, which are added to `default_headers`. None means: not sent, the service's default holds. Defaults
    and ranges are the vendor's, by model ("OpenAI compatible - Chat" and "Deep thinking" pages).
    """

    if TYPE_CHECKING:  # so that a type checker takes either name; pydantic requires `model`
        model: str = ""
        model_name: str = ""
    else:
        model: str
        """Model id, such as "qwen-plus"; case-sensitive. Also taken as `model_name`."""

        @property
        def model_name(self) -> str:
            """The model id, under the name that some tools of the frameworks look for."""
            return self.model

    # ---------------------------------------------------------------- how an answer is made

    native_endpoint: NativeEndpoint | None = None
    """Native protocol: the service that has the model, "text-generation" or "multimodal-generation"; not set: by the
    catalogue, text where that does not know the model."""
    incremental_output: bool | None = None
    """Native protocol: False has each event of a stream repeat the whole text so far on the wire; what is handed on is
    the same. Not set: true."""

    streaming: bool | None = None
    """Set: whether the wire streams under `invoke`, and, if False, under `stream`. Not set: it streams where the model
    may think or must stream."""
    enable_thinking: bool | None = None
    """Think first. Not sent where not set: then the model's own default holds."""
    thinking_budget: int | None = None
    """Tokens that thinking may take at the most."""
    preserve_thinking: bool | None = None
    """Let the model read the reasoning of earlier turns (billed as input)."""
    reasoning_effort: str | None = None
    """How much to think: a level of the model, such as "low", "medium", "high", "xhigh" or "max". "none" switches
    thinking off, on a hybrid model without such a level by `enable_thinking`."""
    clear_thinking: bool | None = None
    """GLM: drop the reasoning of earlier turns."""
    thinking: dict[str, Any] | None = None
    """MiniMax-M3: {"type": "adaptive"} or {"type": "disabled"}."""
    reasoning_replay: Literal["auto", "always", "never"] = "auto"
    """Which reasoning of the history goes back to the model: after the last user message always and earlier by the
    model's policy ("auto"), all of it, or none."""

    temperature: float | None = None
    """Sampling temperature, [0, 2)."""
    top_p: float | None = None
    """Nucleus sampling, (0, 1]."""
    top_k: int | None = None
    """Sample among the k most likely tokens."""
    presence_penalty: float | None = None
    """Against repeating what was said, [-2, 2]."""
    repetition_penalty: float | None = None
    """Against repeating tokens, above 0; 1 is none."""
    max_tokens: int | None = None
    """Tokens of the answer at the most; the chain of thought does not count on most models."""
    max_completion_tokens: int | None = None
    """Tokens of answer and chain of thought together at the most (newer models)."""
    n: int | None = None
    """How many answers, 1 to 4; with `invoke` and `generate` only, and not with tools."""
    seed: int | None = None
    """For repeatable sampling."""
    stop: str | list[str] | list[int] | list[list[int]] | None = None
    """Strings, or token ids, at which to stop."""
    logprobs: bool | None = None
    """Give log probabilities of the answer's tokens, in `response_metadata["logprobs"]`."""
    top_logprobs: int | None = None
    """How many alternatives for each, 0 to 5."""
    response_format: dict[str, Any] | None = None
    """{"type": "text"}, {"type": "json_object"} or {"type": "json_schema", ...}."""
    parallel_tool_calls: bool | None = None
    """Allow several tool calls in one answer (the service's default is no)."""
    tool_stream: bool | None = None
    """Stream tool arguments that are objects or arrays piece by piece."""
    enable_search: bool | None = None
    """Let the service search the web."""
    search_options: dict[str, Any] | None = None
    """How to search: forced_search, search_strategy, ...; with the native protocol also enable_source (return the
    sources), enable_citation, citation_format and prepend_search_result."""
    enable_code_interpreter: bool | None = None
    """Let the service run code while it thinks."""
    modalities: list[str] | None = None
    """Omni: ["text"] or ["text", "audio"]."""
    audio: dict[str, Any] | None = None
    """Omni: {"voice": ..., "format": "wav"}."""
    vl_high_resolution_images: bool | None = None
    """More pixels an image."""
    vl_enable_image_hw_output: bool | None = None
    """Native protocol: give the height and width that images were scaled to."""
    translation_options: dict[str, Any] | None = None
    """Qwen-MT: source_lang, target_lang, terms, ..."""
    ocr_options: dict[str, Any] | None = None
    """Qwen-OCR: the task."""
    skill: str | dict[str, Any] | list[dict[str, Any]] | None = None
    """Qwen-Doc: the skills to use, such as [{"type": "ppt"}]."""
    extra_body: dict[str, Any] | None = None
    """Parameters of the service that have no field here, sent as they are."""
    include_response_headers: bool = Field(
        default=False,
        description="Return the headers of the HTTP response as `headers`, without cookies and credentials: in "
        "`response_metadata` (LangChain; on the last chunk of a stream) or in `additional_kwargs` of the response "
        "(LlamaIndex).",
    )
    capabilities: dict[str, Any] | None = None
    """Facts on the model that override the catalogue, by the names of `modelstudio_core.catalogue.ModelInfo`."""

    def core_model(self, model: str | None = None) -> ModelInfo:
        """What is known of `model`, or of this object's, with its `capabilities`. Raises ConfigurationError."""
        try:
            return model_info(model or self.model, self.capabilities)
        except ValueError as error:
            raise ConfigurationError(f"capabilities: {error}") from None

    def core_parameters(self) -> dict[str, Any]:
        """The request parameters that are set on this object, by name."""
        own = {name: getattr(self, name, None) for name in _OWN}
        return {name: value for name, value in own.items() if value is not None}

    def core_request(
        self, messages: Sequence[Message], stop: list[str] | None, call: Mapping[str, Any]
    ) -> tuple[ChatRequest, ModelInfo]:
        """Return the request for `messages`, and what is known of its model.

        Args:
            messages: the conversation.
            stop: this call's stop sequences; None leaves the object's.
            call: this call's parameters, which win over the object's. `model` is another model for this call,
                `stream` an explicit wish about the wire, `extra_body` is added to the object's.

        `extra_headers`, added to `default_headers`, and `timeout` are of this call only.

        Raises:
            ConfigurationError: for a name that is no parameter, and for a value that its field would not take.
        """
        call = {name: _checked(name, value) for name, value in call.items()}
        values = self.core_parameters() | {"include_response_headers": self.include_response_headers}
        said = {**call, **(call.get("extra_body") or {})}
        if said.get("reasoning_effort") == "none":  # a call that wants no thinking overrides an object that wants it
            values.pop("enable_thinking", None)
        if said.get("enable_thinking") and values.get("reasoning_effort") == "none":
            del values["reasoning_effort"]
        if self.streaming is not None:
            values["streaming"] = self.streaming
        values |= call
        if "stream" in values:
            values["streaming"] = values.pop("stream")
        if call.get("extra_body"):
            values["extra_body"] = {**(self.extra_body or {}), **call["extra_body"]}
        # what the policies read there counts as given by its own name
        body = values.get("extra_body") or {}
        read = {name: _checked(name, value) for name, value in body.items() if name in POLICY_PARAMETERS}
        values["extra_body"] = {**body, **read}
        if stop is not None:
            values["stop"] = _checked("stop", stop)
        model = values.pop("model", None)
        model = self.model if model is None else checked_model(model)
        return chat_request(model, messages, values, of_object=type(self).model_fields), self.core_model(model)

    def core_thinks(self, call: Mapping[str, Any] | None = None) -> bool:
        """Return True if the model may think on a request with this object's parameters and those of `call`."""
        return may_think(*self.core_request((Message("user", ""),), None, call or {}))


_FIELDS_OF_A_CALL = ChatSettings.model_fields.keys() & {*_OWN, "streaming", "include_response_headers"}


@lru_cache
def _field_type(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(ChatSettings.model_fields[name].annotation or Any)


def _checked(name: str, value: Any) -> Any:
    """Return a parameter of a call as the field of its name would hold it. Raises ConfigurationError."""
    if value is None or name not in _FIELDS_OF_A_CALL:
        return value
    try:
        return _field_type(name).validate_python(value)
    except ValidationError as error:
        reasons = dict.fromkeys(reason["msg"] for reason in error.errors(include_url=False, include_input=False))
        raise ConfigurationError(f"{name}={value!r:.80} is not accepted: {', or: '.join(reasons)}") from None
