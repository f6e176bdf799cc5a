"""Send local media: small files inside the request, large ones as temporary uploads, once per file and model.

Written once for sync and async, as steps of a flow (see `flow`). Uploaded files are read in chunks and not held in
memory.
"""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from pydantic import SecretStr

from modelstudio_core.config import Config
from modelstudio_core.errors import (
    BadRequestError,
    ConfigurationError,
    FileError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
)
from modelstudio_core.http.disk import Source
from modelstudio_core.http.steps import Attempt, End, Flow, GetKey, Perform, Step, Wait
from modelstudio_core.media import INLINE_BYTES, data_uri, is_uploaded
from modelstudio_core.protocols.uploads import UploadPolicy, policy_call, read_policy, store_call
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    ImagePart,
    LocalFile,
    MediaSource,
    Part,
    ResponseHead,
    UploadMode,
    VideoPart,
    WireCall,
)
from modelstudio_core.values import value_class

LIFETIME = 46 * 3600.0
"""Seconds for which an upload is reused. The service keeps it for 48 hours."""
_POLL_INTERVAL = 0.05  # seconds between checks of an upload of the same file by another call

T = TypeVar("T")
Steps: TypeAlias = Generator[Step, Any, T]
_Content: TypeAlias = (
    "tuple[bytes, str, SecretStr | None]"  # its digest, the model, and the API key if a function provides it
)
_Upload: TypeAlias = "Callable[[Source, int, str], Steps[str]]"


class _Requests(Protocol):
    def exchange(self, url: str, call: WireCall, attempt: Attempt) -> Steps[tuple[ResponseHead, bytes]]: ...

    def with_retries(self, send: Callable[[Attempt], Flow]) -> Flow: ...


@value_class
class _StoredFile:
    url: str
    expires_at: float  # wall-clock time, which continues during system sleep


class TemporaryUploads:
    """The temporary uploads of one configuration, cached by content, model and key. Thread-safe.

    Args:
        config: the service that issues upload policies.
        requests: sends requests, with retries.
    """

    def __init__(self, config: Config, requests: _Requests) -> None:
        self._config = config
        self._requests = requests
        self._stored: dict[_Content, _StoredFile] = {}
        self._busy: dict[_Content, object] = {}

    def resolve(self, request: ChatRequest) -> Steps[ChatRequest]:
        """Return the request with local media replaced by URLs. Raises ModelStudioError with the file name."""
        return (yield from _with_urls(request, request.options.upload, partial(self._uploaded, request.model)))

    def _uploaded(self, model: str, source: Source, size: int, mime_type: str) -> Steps[str]:
        """Return the URL of the uploaded content for this model. Upload it unless that was done before."""
        provider = self._config.api_key
        account = (yield GetKey(provider)) if callable(provider) else None  # its keys may belong to several accounts
        key = ((yield Perform(source.digest)), model, account)
        token = object()
        while self._busy.setdefault(key, token) is not token:  # atomic
            yield Wait(_POLL_INTERVAL)
        try:
            known = self._stored.get(key)
            if known is None or known.expires_at <= time.time():
                known = _StoredFile((yield from self._upload(source, size, mime_type, model)), time.time() + LIFETIME)
                self._forget_expired()
                self._stored[key] = known
            return known.url
        finally:
            del self._busy[key]

    def _forget_expired(self) -> None:
        now = time.time()
        for key, stored in list(self._stored.items()):
            if stored.expires_at <= now:
                self._stored.pop(key, None)

    def _upload(self, source: Source, size: int, mime_type: str, model: str) -> Steps[str]:
        """Upload a file. Each attempt requests a new policy and uses a new name, independent of earlier attempts."""
        urls: list[str] = []

        def send(attempt: Attempt) -> Flow:
            url, call = policy_call(self._config, model)
            policy = read_policy(*(yield from self._requests.exchange(url, call, attempt)))
            _check_size(policy, size)
            call, url = store_call(policy, source.file, source.name, mime_type)
            try:
                yield from self._requests.exchange(policy.host, call, attempt)
            except (PermissionDeniedError, NotFoundError, BadRequestError) as error:
                raise _rejected(error) from None
            urls.append(url)

        error = yield from _inner(self._requests.with_retries(send))
        if error is not None:
            raise _with_file_name(error, source.name)
        return urls[-1]


def inlined(request: ChatRequest) -> ChatRequest:
    """Return the request with local files as data URIs, for callers that run no flow. Reads the files.

    Raises:
        ConfigurationError: if a file cannot be read.
    """

    def upload(source: Source, size: int, mime_type: str) -> Steps[str]:
        raise AssertionError("nothing is uploaded")

    with closing(_with_urls(request, "never", upload)) as steps:
        try:
            step = steps.send(None)
            while isinstance(step, Perform):
                step = steps.send(step.function())
        except StopIteration as end:
            return cast(ChatRequest, end.value)
    raise AssertionError(f"an unknown step: {step}")


def _with_urls(request: ChatRequest, mode: UploadMode, upload: _Upload) -> Steps[ChatRequest]:
    """Return the request with a URL for each local file."""
    messages = []
    for message in request.messages:
        if not isinstance(message.content, str):
            parts: list[Part] = []
            for part in message.content:
                parts.append((yield from _part(part, mode, upload)))
            message = replace(message, content=tuple(parts))
        messages.append(message)
    return replace(request, messages=tuple(messages))


def _part(part: Part, mode: UploadMode, upload: _Upload) -> Steps[Part]:
    if isinstance(part, ImagePart | AudioPart):
        return replace(part, url=(yield from _media_source(part.url, mode, upload)))
    if not isinstance(part, VideoPart):
        return part
    if not isinstance(part.source, tuple):
        return replace(part, source=(yield from _media_source(part.source, mode, upload)))
    frames: list[MediaSource] = []
    for frame in part.source:
        frames.append((yield from _media_source(frame, mode, upload)))
    return replace(part, source=tuple(frames))


def _media_source(media: MediaSource, mode: UploadMode, upload: _Upload) -> Steps[str]:
    if isinstance(media, str) and not is_uploaded(media, mode):
        return media
    source: Source = yield Perform(partial(_opened, media))
    try:
        mime_type = media.mime_type if isinstance(media, LocalFile) else _mime_type(media)
        size: int = yield Perform(source.size)
        if mode == "never" or (mode == "auto" and size <= INLINE_BYTES):
            inline: str = yield Perform(partial(_inline, source, mime_type))
            return inline
        return (yield from upload(source, size, mime_type))
    finally:
        source.close()


def _inner(flow: Flow) -> Steps[ModelStudioError | None]:
    """Run a flow inside another one. Return its error, if any."""
    try:
        step = flow.send(None)
        while not isinstance(step, End):
            try:
                result = yield step
            except ModelStudioError as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    finally:
        flow.close()
    return step.error


def _opened(media: MediaSource) -> Source:
    if isinstance(media, LocalFile):
        return Source.open(media.source, media.name)
    try:
        return Source(BytesIO(b64decode(media.partition(",")[2])), "inline data")
    except ValueError as error:
        raise ConfigurationError(f"a data URI is not valid base64: {error}") from None


def _mime_type(data: str) -> str:
    return data.removeprefix("data:").partition(";")[0] or "application/octet-stream"


def _inline(source: Source, mime_type: str) -> str:
    return data_uri(mime_type, b64encode(source.read()).decode("ascii"))


def _check_size(policy: UploadPolicy, size: int) -> None:
    if policy.max_bytes is not None and size > policy.max_bytes:
        raise FileError(
            f"the file has {size:,} bytes, and temporary uploads are limited to {policy.max_bytes:,}: use a smaller "
            "file, or a URL"
        )


def _rejected(error: ModelStudioError) -> FileError:
    """Return an error of the store as a FileError. It is retryable if the policy has expired."""
    rejected = error.recast(FileError)
    rejected.is_retryable = "expired" in error.message.lower()
    return rejected


def _with_file_name(error: ModelStudioError, name: str) -> ModelStudioError:
    if isinstance(error, FileError):
        error.file = name
    error.add_sentence(f'Temporary upload of {name!r} failed; upload="never" sends files inside the request.')
    return error
