"""Measure the connection to the service, for `modelstudio doctor`: what responds, the clock, and the time of an answer.

Requests are those of `Client`; this module adds only what the doctor reads from them and the time that they take.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config, service_url
from modelstudio_core.errors import APIStatusError, ModelStudioError
from modelstudio_core.http.client import Client
from modelstudio_core.http.environment import proxy_for, transport_options
from modelstudio_core.http.errors import host_and_port
from modelstudio_core.protocols.codec import read_object
from modelstudio_core.types import ChatRequest, Delta, ReasoningDelta, ResponseHead, TextDelta, UsageDelta, WireCall

_COMPATIBLE = "/compatible-mode/v1"


@dataclass(frozen=True, slots=True)
class ModelListing:
    """The result of a request for the list of models.

    Attributes:
        seconds: time until the response was complete.
        clock_offset: seconds by which the clock of this machine is ahead of the service's; None without a Date header.
        models: ids in the list; None if the service did not answer with a list.
        error: the error of the request, if it failed.
    """

    seconds: float
    clock_offset: float | None = None
    models: frozenset[str] | None = None
    error: ModelStudioError | None = None

    @property
    def reached(self) -> bool:
        """Return True if an HTTP response was received, whatever its status."""
        return self.error is None or isinstance(self.error, APIStatusError)


@dataclass(frozen=True, slots=True)
class Answer:
    """One streamed answer: seconds until its first token and its end, its tokens, and the error if it failed."""

    seconds: float
    first_token: float | None = None
    tokens: int | None = None
    error: ModelStudioError | None = None


def request_models(client: Client) -> ModelListing:
    """Request the list of models of the OpenAI-compatible protocol, and return the result."""
    url, start = _models_url(client.config), time.monotonic()
    try:
        head, body = client.request(url, WireCall("/models", {"accept": "application/json"}, method="GET"), _as_is)
    except APIStatusError as error:
        date = error.response.headers.get("date") if error.response else None
        return ModelListing(time.monotonic() - start, _clock_offset(date), error=error)
    except ModelStudioError as error:
        return ModelListing(time.monotonic() - start, error=error)
    return ModelListing(time.monotonic() - start, _clock_offset(head.headers.get("date")), _ids(body))


def time_answer(client: Client, request: ChatRequest, model: ModelInfo) -> Answer:
    """Stream one answer, and return how long it took."""
    start, first, tokens = time.monotonic(), None, None
    try:
        for delta in client.stream(request, model):
            if first is None and _is_token(delta):
                first = time.monotonic() - start
            if isinstance(delta, UsageDelta):
                tokens = delta.usage.total_tokens
    except ModelStudioError as error:
        return Answer(time.monotonic() - start, first, tokens, error)
    return Answer(time.monotonic() - start, first, tokens)


def proxy_of(url: str) -> str | None:
    """Return the host and port of the proxy for `url`, or None. Raises ConfigurationError if it cannot be used."""
    parsed = httpx.URL(url)
    transport_options(parsed)
    proxy = proxy_for(parsed)
    return None if proxy is None else host_and_port(proxy)


def own_certificates() -> str | None:
    """Return the file or folder of the user's own certificate authorities, or None if httpx's are used."""
    return os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or None


def _models_url(config: Config) -> str:
    root = config.base_url if config.protocol == "openai" else service_url(config.base_url, _COMPATIBLE)
    return f"{root}/models"


def _as_is(head: ResponseHead, body: bytes) -> tuple[ResponseHead, bytes]:
    return head, body


def _ids(body: bytes) -> frozenset[str] | None:
    """Return the ids in a list of models, or None if the body is not a list."""
    try:
        listed = read_object(body).get("data")
    except ModelStudioError:
        return None
    if not isinstance(listed, list):
        return None
    return frozenset(str(item["id"]) for item in listed if isinstance(item, dict) and item.get("id"))


def _clock_offset(date: str | None) -> float | None:
    try:
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _is_token(delta: Delta) -> bool:
    return isinstance(delta, (ReasoningDelta, TextDelta))
