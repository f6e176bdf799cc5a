"""Write a call once: as a generator of steps, which a sync or an async driver performs (see `client`).

A flow decides what is sent, whether to retry, how to read the response, when it is over and which error it is. A driver
does what a step says and sends back its result, or throws the ModelStudioError that it met.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import SecretStr

from modelstudio_core import __version__
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config, KeyProvider
from modelstudio_core.errors import ModelStudioError, ProtocolError, StreamTruncatedError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.advice import advice
from modelstudio_core.http.retry import retry_delay
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.policies import Plan, asks_for_stream, plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import Codec, excerpt
from modelstudio_core.protocols.dashscope import DashScopeCodec
from modelstudio_core.protocols.errors import request_id_of, safe_headers
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.redaction import Redactor
from modelstudio_core.types import (
    CallOptions,
    ChatRequest,
    Delta,
    ExtraDelta,
    ResponseDelta,
    ResponseHead,
    UsageDelta,
    WireCall,
)

logger = logging.getLogger("modelstudio_core")
T = TypeVar("T")

CODECS: dict[str, Codec] = {"openai": OpenAICodec(), "dashscope": DashScopeCodec()}
_MAX_ERROR_BYTES = 1024 * 1024
_USER_AGENT = f"modelstudio-integrations/{__version__}"
_METADATA = (ResponseDelta, UsageDelta, ExtraDelta)  # an answer that has no more is empty
_BOM = b"\xef\xbb\xbf"
_BEGINS_EVENTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_BEGINS_WHOLE = (b"{", b"[", b"<")
_MAX_PEEK = 4096  # bytes that are read to detect the kind of a body


# ---------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class GetKey:
    """Ask the caller's function for the key; the result is a SecretStr."""

    provider: KeyProvider


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request, with time limits of its own if given; the result is the ResponseHead."""

    url: str
    headers: SecretHeaders = field(repr=False)  # they hold the key; nowhere is it a local of its own
    body: bytes
    timeout: Timeouts | None = None


@dataclass(slots=True)  # not frozen: a stream has one for all its reads
class Read:
    """Yield `deltas`, then read; the result is the next bytes, or None at the end of the body.

    Attributes:
        deltas: what the last read brought.
        hurried: wait a few seconds only, since the answer is complete, or is an error.
        progress: the last read brought more than a heartbeat, so these seconds begin again.
    """

    deltas: list[Delta]
    hurried: bool = False
    progress: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Close the response and sleep before the next attempt; no result."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """Yield `deltas`, then raise `error`, or leave the connection for the next call. The last step.

    The driver raises the error, because the frames of the flow hold what the service sent, which may repeat the key.
    """

    deltas: list[Delta]
    error: ModelStudioError | None = None


Step: TypeAlias = GetKey | Open | Read | Wait | End
Flow: TypeAlias = Generator[Step, Any, None]


# ---------------------------------------------------------------- one attempt


def body_kind(head: ResponseHead, asked: bool, start: bytes, *, ended: bool) -> Literal["events", "whole"] | None:
    """Return whether a body is a stream of events or a whole answer; None if more of it has to be read to tell.

    The first bytes decide, because a gateway may answer a stream with a whole answer or the other way round, under
    either label. Where they do not tell, the content type does, and at last what was asked for. 204 is an empty stream.

    Args:
        head: the head of the response.
        asked: whether a stream was asked for.
        start: the first bytes of the body.
        ended: whether they are all of it.
    """
    begins = _beginning(start)
    if begins.startswith(_BEGINS_EVENTS):
        return "events"
    if begins.startswith(_BEGINS_WHOLE):
        return "whole"
    # no event ends before a line does, so none is kept back
    if not ended and len(start) <= _MAX_PEEK and b"\n" not in begins and b"\r" not in begins:
        return None
    label = head.headers.get("content-type", "").lower()
    is_stream = "event-stream" in label or head.status == 204 or (asked and "json" not in label and "html" not in label)
    return "events" if is_stream else "whole"


def _beginning(data: bytes) -> bytes:
    """Return `data` without the blanks and the byte order mark that it begins with."""
    begins = data.lstrip()
    return b"" if _BOM.startswith(begins) else begins.removeprefix(_BOM).lstrip()


@dataclass(slots=True)
class Attempt:
    """What one attempt has sent and received so far.

    Attributes:
        begun: part of an answer has come, so it is not requested again.
    """

    url: str | None = None
    headers: SecretHeaders | None = None
    head: ResponseHead | None = None
    deltas: list[Delta] = field(default_factory=list)
    begun: bool = False
    _yielded: int = 0

    def take(self) -> list[Delta]:
        """Return the deltas to yield: none before the answer has begun, then all that are new."""
        new = self.deltas[self._yielded :]
        if not self.begun:
            self.begun = not all(isinstance(delta, _METADATA) for delta in new)
            if not self.begun:
                return []
        self._yielded = len(self.deltas)
        return new

    @property
    def redactor(self) -> Redactor:
        """Redacts the credentials that this attempt has sent."""
        return Redactor(self.headers.credentials() if self.headers is not None else ())

    @property
    def request_id(self) -> str | None:
        """The request id, of the body or else of the head."""
        for delta in self.deltas[:1]:
            if isinstance(delta, ResponseDelta) and delta.request_id:
                return delta.request_id
        return None if self.head is None else request_id_of(self.head, {})


# ---------------------------------------------------------------- calls


class Flows:
    """The calls of one configuration, as generators of steps."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._codec = CODECS[config.protocol]

    def chat(self, request: ChatRequest, model: ModelInfo, planned: Plan) -> Flow:
        """A chat call. It is planned again, streaming, where the service says that the model only streams."""

        def attempt(arrived: Attempt) -> Flow:
            return self._chat_attempt(planned, arrived)

        def streams_instead(failure: ModelStudioError) -> bool:
            nonlocal planned
            if planned.stream or not asks_for_stream(failure):
                return False
            planned = plan(request, model, stream=True)
            return True

        return self._retried(attempt, request, model, streams_instead)

    def other(self, url: str, call: WireCall, take: Callable[[ResponseHead, bytes], None]) -> Flow:
        """A call that is not a chat: `take` gets its response, and may raise a ModelStudioError."""

        def attempt(arrived: Attempt) -> Flow:
            head = yield from self._open(url, call, arrived, CallOptions())
            take(head, (yield from self._read_whole(b"", url)))

        return self._retried(attempt)

    def _retried(
        self,
        attempt_once: Callable[[Attempt], Flow],
        request: ChatRequest | None = None,
        model: ModelInfo | None = None,
        mended: Callable[[ModelStudioError], bool] = lambda failure: False,
    ) -> Flow:
        """Repeat the attempt until it succeeds or a retry cannot help; at once where `mended` says that it will."""
        retries = 0
        while True:
            arrived = Attempt()
            try:
                yield from attempt_once(arrived)
            except ModelStudioError as error:
                self._explain(error, arrived, request, model)
                failure = error.without_frames()
            else:
                if logger.isEnabledFor(logging.DEBUG):
                    request_id = arrived.redactor(arrived.request_id)
                    logger.debug("answered by %s, request id %s", self._config.where, request_id)
                yield End(arrived.take())
                return
            unsent = arrived.take()
            delay: float | None = None
            if arrived.begun:
                pass  # part of the answer was yielded
            elif mended(failure):
                delay = 0.0
            else:
                if isinstance(failure, StreamTruncatedError) and not (failure.partial and failure.partial.choices):
                    failure.is_resent = True  # the answer is empty: a second request repeats nothing
                delay = retry_delay(
                    failure, attempt=retries, max_retries=self._config.max_retries, jitter=random.random()
                )
                retries += 1
            logger.debug(
                "%s: %s, status %s, code %s, request id %s, from %s",
                "failed" if delay is None else f"retry in {delay:.2f} s",
                type(failure).__name__, failure.status_code, failure.code, failure.request_id, self._config.where,
            )  # fmt: skip
            if delay is None:
                yield End(unsent, failure)
                return
            yield Wait(delay)

    def _chat_attempt(self, planned: Plan, arrived: Attempt) -> Flow:
        request = planned.request
        call = self._codec.encode(request, stream=planned.stream)
        url = self._config.base_url + call.path
        head = yield from self._open(url, call, arrived, request.options)
        start, data, kind = b"", b"", None
        while kind is None:
            data = yield Read([])
            start += data or b""
            kind = body_kind(head, planned.stream, start, ended=data is None)
        if kind == "events":
            yield from self._read_events(request, head, start, arrived)
        else:
            body = yield from self._read_whole(start, url)
            if (begins := _beginning(body)).startswith(b"<"):
                said = f"a page came, no answer of the service: {excerpt(begins)}"
                raise ProtocolError(f"{said} The request went to {url}: is base_url= right?")
            arrived.deltas += self._codec.decode(request, head, body)
        arrived.deltas += _headers_delta(request, arrived)

    def _read_events(self, request: ChatRequest, head: ResponseHead, start: bytes, arrived: Attempt) -> Flow:
        """Decode a stream that begins with `start`. Raises its error once the deltas before it have been taken."""
        decoder = self._codec.stream(request, head, max_event_bytes=self._config.max_event_bytes)
        read = Read([])  # one for all reads, of which there are thousands
        data: bytes | None = start
        while True:
            new = decoder.finish() if data is None else decoder.feed(data)
            arrived.deltas += new
            if decoder.failure is not None or decoder.ended:
                break
            read.deltas = arrived.take()
            if decoder.complete:
                read.hurried, read.progress = True, bool(new)
            try:
                data = yield read
            except ModelStudioError:  # the connection was lost; the usage may be known by now
                arrived.deltas += decoder.abort()
                raise
        if decoder.failure is not None:
            begins = _beginning(start)
            if not arrived.deltas and begins and not begins.startswith(_BEGINS_EVENTS):
                raise ProtocolError(f"the service sent no answer but {excerpt(begins)}")
            raise decoder.failure

    def _read_whole(self, start: bytes, url: str) -> Generator[Step, Any, bytes]:
        """Return the body that begins with `start`. Raises ProtocolError if it is too long."""
        limit = self._config.max_event_bytes
        chunks = [start]
        size = len(start)
        while size <= limit:
            data: bytes | None = yield Read([])
            if data is None:
                return b"".join(chunks)
            chunks.append(data)
            size += len(data)
        raise ProtocolError(f"the answer of {url} is longer than {limit} bytes (max_event_bytes)")

    def _open(
        self, url: str, call: WireCall, arrived: Attempt, options: CallOptions
    ) -> Generator[Step, Any, ResponseHead]:
        """Send a request with the key of this attempt. Return the head of the response, or raise the error it is.

        No content coding is asked for, because a few kilobytes of gzip may hold gigabytes; one that is used all the
        same is a ProtocolError.
        """
        key = self._config.api_key
        if callable(key):
            key = yield GetKey(key)
        arrived.headers = self._headers(call, options, key)
        arrived.url = url
        head: ResponseHead = yield Open(url, arrived.headers, call.body, options.timeout)
        arrived.head = head
        coding = head.headers.get("content-encoding", "").strip()
        encoded = coding.lower() not in ("", "identity")
        said = f"The body has the content-encoding {coding!r:.100}, though only identity was asked for."
        if not 200 <= head.status < 300:
            error = self._codec.error(head, b"" if encoded else (yield from _read_error()))
            if encoded:
                error.message = f"{_sentence(error.message)} {said}"
            raise error
        if encoded:
            raise ProtocolError(f"the answer of {url} cannot be read. {said}")
        return head

    def _headers(self, call: WireCall, options: CallOptions, key: SecretStr | None) -> SecretHeaders:
        return SecretHeaders(
            {
                "user-agent": _USER_AGENT,
                **({} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}),
                **call.headers,
                **self._config.headers,
                **({} if options.headers is None else options.headers.reveal()),
            }
        )

    def _explain(
        self, error: ModelStudioError, arrived: Attempt, request: ChatRequest | None, model: ModelInfo | None
    ) -> None:
        """Add what only the flow knows: what had arrived and where the request went. Redact the credentials."""
        if error.partial is None and any(not isinstance(delta, ResponseDelta) for delta in arrived.deltas):
            error.partial = fold(arrived.deltas)
        error.request_id = error.request_id or arrived.request_id
        error.url = arrived.url
        if more := advice(error, self._config, arrived.url, arrived.headers, request, model):
            error.message = f"{_sentence(error.message)} {more}"
            error.args = (error.message,)
        error.redact(arrived.redactor)


def _read_error() -> Generator[Step, Any, bytes]:
    """Return what comes of an error's body within a few seconds, up to a limit. Never raises for less."""
    body = b""
    try:
        while len(body) < _MAX_ERROR_BYTES and (data := (yield Read([], hurried=True))) is not None:
            body += data
    except ModelStudioError:
        pass
    return body[:_MAX_ERROR_BYTES]


def _headers_delta(request: ChatRequest, arrived: Attempt) -> list[Delta]:
    """Return the response headers as a delta, if asked for, without those that hold a credential."""
    if not request.options.response_headers or arrived.head is None:
        return []
    redactor = arrived.redactor
    headers = {name: value for name, value in safe_headers(arrived.head).items() if redactor(value) == value}
    return [ExtraDelta("headers", headers)]


def _sentence(text: str) -> str:
    """Return what the service said with an end, so that more may follow."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", ":", "。", "！", "？")) else f"{text}."
