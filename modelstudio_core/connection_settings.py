"""Connection settings as pydantic fields, inherited by every public class of both adapters.

This module does not import a framework.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    SkipValidation,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import Self

from modelstudio_core import config
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.http.client import Client
from modelstudio_core.http.timeouts import timeouts
from modelstudio_core.http.transport import AsyncHttpClient, HttpClient, HttpTimeout, Transport
from modelstudio_core.parameters import checked_model, unknown_argument
from modelstudio_core.pickling import check_pickled_key, with_key, without_key

_HTTP_CLIENTS = ("http_client", "http_async_client")


def key_from_environment() -> SecretStr | None:
    """Return the value of DASHSCOPE_API_KEY, or None if it is empty or not set."""
    key = os.environ.get(config.API_KEY_VARIABLE)
    return SecretStr(key) if key else None


def _aliases(fields: Mapping[str, FieldInfo]) -> set[str]:
    """Return all validation aliases of `fields`. Subclasses may declare some."""
    names = set()
    for field in fields.values():
        alias = field.validation_alias
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            names.add(str(choice.path[0]) if isinstance(choice, AliasPath) else choice)
    return {name for name in names if name is not None}


def _lacks_model(values: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> bool:
    """Return True if `fields` require a model that `values` do not have, also not by an alias."""
    model = fields.get("model")
    return model is not None and model.is_required() and not values.keys() & _aliases({"model": model})


class ConnectionSettings(BaseModel):
    """Connection settings: endpoint, credentials, timeouts, retries and HTTP clients."""

    # hide_input: a pydantic validation error would print the key with the input
    # defer_build: only the adapters' classes have instances. They set it to False, as building is not thread-safe
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True, defer_build=True)

    # key and headers are excluded from dumps, pickles, traces and cache keys
    api_key: SecretStr | str | SkipJsonSchema[Callable[[], Any]] | None = Field(
        default_factory=key_from_environment,
        exclude=True,
        repr=False,
        description="API key, or a sync or async function that returns it, called for every request and retry. An "
        "async function works with async calls only. Keys are valid in one region. Default: DASHSCOPE_API_KEY.",
    )
    base_url: str | None = Field(
        default=None,
        description="URL to use instead of a region's host. Default: DASHSCOPE_BASE_URL. To a URL without a path, the "
        "protocol's path is added. A known path on one of the vendor's hosts is replaced with the protocol's path; any "
        "other path is kept.",
    )
    region: str | None = Field(
        default=None,
        description=f"Region: {', '.join(config.REGIONS)}, or an id such as 'ap-southeast-1'. Default: "
        f"DASHSCOPE_REGION, else {config.DEFAULT_REGION}.",
    )
    workspace: str | None = Field(
        default=None, description="Workspace id, required in Frankfurt and Tokyo. Default: DASHSCOPE_WORKSPACE."
    )
    protocol: Literal["openai", "dashscope"] = Field(
        default="openai",
        description="Wire protocol: 'openai' (OpenAI-compatible) or 'dashscope' (native, which returns web search "
        "sources).",
    )
    timeout: float | SkipJsonSchema[SkipValidation[HttpTimeout]] | Mapping[str, float | None] | None = Field(
        default=None,
        description="Timeout in seconds for reading, writing and waiting for a connection (default 300, or 3,600 for "
        "Batch Chat; connecting at most 10), a mapping of httpx timeout names to seconds, or an httpx.Timeout, which "
        "is stored as such a mapping. The read timeout limits the time without data.",
    )
    max_retries: int | None = Field(
        default=None,
        description="Maximum number of retries of a call that fails before its first chunk (default 2; 0 disables "
        "retries).",
    )
    requests_per_minute: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum number of requests per minute, retries included. They are sent evenly, one every "
        "60 / requests_per_minute seconds, because the service limits each second too. All calls of the process with "
        "the same host, key and model share one queue, if their objects have a limit: threads, event loops, sync and "
        "async. Each call counts at the rate of its own object. After a 429, all of them pause for its Retry-After (a "
        "minute at most). Default: no limit.",
    )
    tokens_per_minute: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Maximum number of input and output tokens per minute, in the same queue as `requests_per_minute`. "
        "The tokens of a call delay the calls behind it. They are estimated from its input (texts, no media) and "
        "output (the mean so far, or `max_tokens` if that is less), and corrected by the usage that the service "
        "reports. Default: no limit.",
    )
    default_headers: Mapping[str, str] | None = Field(
        default=None, exclude=True, repr=False, description="HTTP headers to add to every request."
    )
    allow_insecure: bool = Field(default=False, description="Allow sending the key over plain HTTP to another machine.")
    max_event_bytes: int | None = Field(
        default=None, description="Maximum size in bytes of one stream event or of a whole response (default 32 MiB)."
    )
    http_client: SkipJsonSchema[SkipValidation[HttpClient] | None] = Field(
        default=None, exclude=True, repr=False, description="httpx.Client for sync calls. The caller closes it."
    )
    http_async_client: SkipJsonSchema[SkipValidation[AsyncHttpClient] | None] = Field(
        default=None, exclude=True, repr=False, description="httpx.AsyncClient for async calls. The caller closes it."
    )

    configuration_error: ClassVar[type[ConfigurationError]] = ConfigurationError
    """Error class raised for invalid settings. Adapters override it."""

    _client: tuple[Any, Client] | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Call the framework's `model_post_init`. Pydantic's own hook for private attributes would replace it."""
        super().model_post_init(context)

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_settings(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "model_name" in values and "model_name" not in cls.model_fields:
            values = {"model": values["model_name"], **values}
            del values["model_name"]
        unknown = values.keys() - cls.model_fields
        if unknown and (unknown := unknown - _aliases(cls.model_fields)):
            message = " ".join(unknown_argument(name, cls.model_fields) for name in sorted(unknown))
            raise cls.configuration_error(message)
        if "model" not in values and _lacks_model(values, cls.model_fields):
            raise cls.configuration_error('model is missing: pass a model id, such as model="qwen-plus"')
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
    def _convert_timeout(cls, timeout: Any) -> Any:
        """Convert an httpx.Timeout to a dict of its values, which round-trips through JSON."""
        if not hasattr(timeout, "connect"):
            return timeout
        try:
            return timeouts(timeout).as_dict()
        except ConfigurationError as error:
            raise error.recast(cls.configuration_error) from None

    @field_validator("api_key", mode="after")
    @classmethod
    def _convert_key(cls, key: SecretStr | str | None) -> SecretStr | None:
        return SecretStr(key) if isinstance(key, str) else key

    def __getstate__(self) -> dict[Any, Any]:
        for name in _HTTP_CLIENTS:
            if getattr(self, name) is not None:
                raise TypeError(f"a model with {name}= cannot be pickled: create the model in the process that uses it")
        check_pickled_key(self.api_key)  # LlamaIndex's __getstate__ would drop it with only a warning
        # use a copy: LlamaIndex's __getstate__ deletes unpicklable attributes, such as a rate limiter, from the object
        state = super(ConnectionSettings, self.__copy__()).__getstate__()
        return without_key(state, type(self).model_fields)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        state = with_key(state, self.configuration_error)
        super().__setstate__(state)
        # LlamaIndex's constructs the object anew, with all fields set, so its next pickle would differ
        object.__setattr__(self, "__pydantic_fields_set__", state["__pydantic_fields_set__"])

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        shared = (self.http_client, self.http_async_client, self.api_key)  # objects owned by the caller
        memo = {} if memo is None else memo
        memo.update({id(each): each for each in shared if each is not None})
        return super().__deepcopy__(memo)

    def _core_client(self) -> Client:
        """Return the client for these settings, creating a new one if a field has changed.

        Raises:
            ConfigurationError: if the settings are invalid.
        """
        fields, known = self.__dict__, self._client
        settings = {name: fields[name] for name in _SETTINGS}
        key = (settings, self.http_client, self.http_async_client)
        if known is None or known[0] != key:
            try:
                resolved = config.resolve(**settings)
                transport = Transport(
                    timeout=resolved.timeout, http_client=self.http_client, http_async_client=self.http_async_client
                )
            except ConfigurationError as error:
                raise error.recast(self.configuration_error) from None
            self._client = known = (key, Client(resolved, transport))
        return known[1]

    def close(self) -> None:
        """Close the shared sync connections if no other model object uses them. Later calls open new ones.

        Injected HTTP clients stay open.
        """
        self._core_client().close()

    async def aclose(self) -> None:
        """Close the shared sync connections, and the async ones of the running event loop, like `close`."""
        await self._core_client().aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


_SETTINGS = tuple(name for name in ConnectionSettings.model_fields if name not in _HTTP_CLIENTS)
