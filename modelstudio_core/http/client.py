"""Joins codec and transport. What a call does is written once, as a generator of steps; two drivers perform them.

The flow decides: what is sent, whether to ask again, how to read what came, when it is over, which error it is. A
driver only does what a step says, sync or async. Deltas are handed on as soon as they are decoded; an error that
follows them in the same read comes after them, with what had arrived as its `partial`.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import SecretStr

from modelstudio_core import __version__
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config
from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError, StreamTruncatedError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.history import is_text_only, sendable
from modelstudio_core.http.advice import advice
from modelstudio_core.http.detect import BEGINS_EVENTS, BEGINS_WHOLE, beginning, is_stream, until_it_tells
from modelstudio_core.http.keys import aprovided_key, provided_key
from modelstudio_core.http.retry import retry_delay
from modelstudio_core.http.steps import AskKey, Fail, Finish, Flow, Hand, Open, Read, ReadAll, Step, Wait
from modelstudio_core.http.transport import AsyncResponse, Response, Transport
from modelstudio_core.policies import Notice, Plan, asks_for_stream, plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import Codec, shown
from modelstudio_core.protocols.dashscope import DashScopeCodec
from modelstudio_core.protocols.errors import request_id_of, safe_headers
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.redaction import Redactor
from modelstudio_core.types import (
    CallOptions,
    ChatRequest,
    ChatResult,
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


@dataclass(slots=True)
class _Arrived:
    """What one attempt has sent and received so far. `begun`: part of an answer is among it, so it is not retried."""

    url: str | None = None
    headers: SecretHeaders | None = None
    head: ResponseHead | None = None
    deltas: list[Delta] = field(default_factory=list)
    begun: bool = False

    def add(self, deltas: list[Delta]) -> list[Delta]:
        """Take `deltas` and return those to hand on: none before the answer has begun."""
        self.deltas += deltas
        if self.begun:
            return deltas
        self.begun = not all(isinstance(delta, _METADATA) for delta in deltas)
        return self.deltas[:] if self.begun else []

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


class Client:
    """Sends chat requests by one configuration. Thread-safe; usable from any number of event loops.

    Args:
        config: where to, with which key.
        transport: what carries it.
    """

    def __init__(self, config: Config, transport: Transport) -> None:
        if config.protocol not in CODECS:
            raise ConfigurationError(f"protocol={config.protocol!r} is unknown: {' or '.join(map(repr, CODECS))}")
        self.config = config
        self.transport = transport
        self._warned: set[str] = set()

    def complete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """The whole answer. The wire streams where the model asks for it. Raises ModelStudioError."""
        whole: list[Delta] = []
        for _ in self._run(self._flow(request, model, whole)):
            pass
        return fold(whole)

    async def acomplete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """The async twin of `complete`."""
        whole: list[Delta] = []
        async for _ in self._arun(self._flow(request, model, whole)):
            pass
        return fold(whole)

    def stream(self, request: ChatRequest, model: ModelInfo) -> Iterator[Delta]:
        """The answer as it comes. Closing the iterator closes the response. Raises ModelStudioError."""
        return self._run(self._flow(request, model))

    def astream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Delta]:
        """The async twin of `stream`."""
        return self._arun(self._flow(request, model))

    def request(self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T]) -> T:
        """Send one request that is not a chat and return what `decode` makes of its response.

        It is retried, authorized and logged as any call. Raises ModelStudioError.
        """
        found: list[T] = []
        for _ in self._run(self._request_flow(url, call, decode, found)):
            pass  # there are no deltas
        return found[0]

    async def arequest(self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T]) -> T:
        """The async twin of `request`."""
        found: list[T] = []
        async for _ in self._arun(self._request_flow(url, call, decode, found)):
            pass
        return found[0]

    def close(self) -> None:
        """Close the connections that are ours and no one else's."""
        self.transport.close()

    async def aclose(self) -> None:
        """The async twin of `close`."""
        await self.transport.aclose()

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return self  # nothing of it changes, and its connections may be shared

    # ---------------------------------------------------------------- the drivers

    def _run(self, flow: Flow) -> Iterator[Delta]:
        response: Response | None = None
        answer: Any = None
        try:
            step = _next(flow, None)
            while step is not None:
                if isinstance(step, (Read, Hand)) and step.deltas:
                    yield from step.deltas
                elif isinstance(step, Fail):
                    answer = None
                    raise step.error
                try:
                    if isinstance(step, Read) and response is not None:
                        answer = response.settle(step.news) if step.settling else next(response, None)
                    elif isinstance(step, Open):
                        response = self.transport.open(step.url, step.headers, step.body, step.timeout)
                        answer = response.head
                    else:
                        answer = self._perform(step, response)
                except ModelStudioError as error:
                    step = _throw(flow, error)
                else:
                    step = _next(flow, answer)
        finally:
            flow.close()
            if response is not None:
                response.close()

    async def _arun(self, flow: Flow) -> AsyncIterator[Delta]:
        response: AsyncResponse | None = None
        answer: Any = None
        try:
            step = _next(flow, None)
            while step is not None:
                if isinstance(step, (Read, Hand)) and step.deltas:
                    for delta in step.deltas:
                        yield delta
                elif isinstance(step, Fail):
                    answer = None
                    raise step.error
                try:
                    if isinstance(step, Read) and response is not None:
                        answer = await (response.asettle(step.news) if step.settling else response.__anext__())
                    elif isinstance(step, Open):
                        response = await self.transport.aopen(step.url, step.headers, step.body, step.timeout)
                        answer = response.head
                    else:
                        answer = await self._aperform(step, response)
                except StopAsyncIteration:  # anext with a default costs an object a read
                    step = _next(flow, None)
                except ModelStudioError as error:
                    step = _throw(flow, error)
                else:
                    step = _next(flow, answer)
        finally:
            flow.close()
            if response is not None:
                await response.aclose()

    def _perform(self, step: Step, response: Response | None) -> Any:
        if isinstance(step, Wait):
            if response is not None:
                response.close()
            self.transport.sleep(step.seconds)
        elif isinstance(step, AskKey):
            return provided_key(step.provider)
        elif response is not None and isinstance(step, ReadAll):
            return response.read_error(step.limit) if step.error else response.read(step.limit)
        elif response is not None and isinstance(step, Finish):
            response.finish()
        return None

    async def _aperform(self, step: Step, response: AsyncResponse | None) -> Any:
        if isinstance(step, Wait):
            if response is not None:
                await response.aclose()
            await self.transport.asleep(step.seconds)
        elif isinstance(step, AskKey):
            return await aprovided_key(step.provider)
        elif response is not None and isinstance(step, ReadAll):
            return await (response.aread_error(step.limit) if step.error else response.aread(step.limit))
        elif response is not None and isinstance(step, Finish):
            await response.afinish()
        return None

    # ---------------------------------------------------------------- the flow

    def _flow(self, request: ChatRequest, model: ModelInfo, whole: list[Delta] | None = None) -> Flow:
        """One call. Its deltas are handed on as they come or, where `whole` is given, put there all at its end."""
        if request.native_endpoint is None:
            request = replace(request, native_endpoint=model.native_endpoint)
        request = self._with_sendable_history(request, model)
        planned = plan(request, model, stream=whole is None)
        for notice in planned.notices:
            self._log(notice)

        def streams_instead(failure: ModelStudioError) -> bool:
            nonlocal planned
            if planned.stream or not asks_for_stream(failure):
                return False
            planned = plan(request, model, stream=True)
            return True

        def attempt(arrived: _Arrived) -> Flow:
            yield from self._attempt(planned, arrived, hand_on=whole is None)
            if whole is not None:
                whole.extend(arrived.deltas)

        return self._retried(attempt, request, model, streams_instead)

    def _with_sendable_history(self, request: ChatRequest, model: ModelInfo) -> ChatRequest:
        """Return the request with its messages as they are sent. Log what is left out or replaced."""
        text_only = is_text_only(self.config.protocol, request.native_endpoint)
        history = sendable(request.messages, model, text_only=text_only)
        if not history.messages:
            raise ConfigurationError("there is no message to send: all are empty, or tool calls without an answer")
        for omission in history.left_out:
            logger.info("Model Studio: left out of the request: %s", omission)
        for block in history.replaced:
            logger.warning("Model Studio: %s", block)
        return replace(request, messages=history.messages)

    def _retried(
        self,
        attempt_once: Callable[[_Arrived], Flow],
        request: ChatRequest | None = None,
        model: ModelInfo | None = None,
        mended: Callable[[ModelStudioError], bool] = lambda failure: False,
    ) -> Flow:
        """Attempts, until one succeeds or is not to be made again; at once where `mended` says that it will help."""
        attempt = 0
        while True:
            arrived = _Arrived()
            try:
                yield from attempt_once(arrived)
                if logger.isEnabledFor(logging.DEBUG):
                    request_id = arrived.redactor(arrived.request_id)
                    logger.debug("answered by %s, request id %s", self.config.where, request_id)
                return
            except ModelStudioError as error:
                self._explain(error, arrived, request, model)
                failure = error.without_frames()
            if isinstance(failure, StreamTruncatedError) and not (failure.partial and failure.partial.choices):
                failure.is_resent = True  # the answer is empty: a second request repeats nothing
            if mended(failure):
                delay: float | None = 0.0
            else:
                delay = retry_delay(
                    failure, attempt=attempt, max_retries=self.config.max_retries, jitter=random.random()
                )
                attempt += 1
            logger.debug(
                "%s: %s, status %s, code %s, request id %s, from %s",
                "failed" if delay is None or arrived.begun else f"asking again in {delay:.2f} s",
                type(failure).__name__, failure.status_code, failure.code, failure.request_id, self.config.where,
            )  # fmt: skip
            if delay is None or arrived.begun:
                yield Fail(failure)
                return
            yield Wait(delay)

    def _attempt(self, planned: Plan, arrived: _Arrived, *, hand_on: bool) -> Flow:
        request, codec = planned.request, CODECS[self.config.protocol]
        call = codec.encode(request, stream=planned.stream)
        head = yield from self._open(self.config.base_url + call.path, call, arrived, request.options)
        # what comes decides how it is read: a gateway may answer a stream whole, a whole request by a stream, and
        # call either by the other's name
        streamed = is_stream(head, planned.stream)
        limit = self.config.max_event_bytes
        data: bytes | None = (yield from until_it_tells()) if streamed else (yield ReadAll(limit))
        begins = beginning(data or b"")
        if begins.startswith(BEGINS_WHOLE) if streamed else not begins.startswith(BEGINS_EVENTS):
            rest: bytes = (yield ReadAll(limit)) if streamed else b""
            if begins.startswith(b"<"):
                said = f"a page came, no answer of the service: {shown(begins)}"
                raise ProtocolError(f"{said} The request went to {arrived.url}: is base_url= right?")
            deltas = arrived.add(codec.decode(request, head, (data or b"") + rest) + _headers_delta(request, arrived))
            if hand_on:
                yield Hand(deltas)
            return
        decoder = codec.stream(request, head, max_event_bytes=limit)
        read = Read([])  # one for all reads, of which there are thousands
        while True:
            deltas = decoder.finish() if data is None else decoder.feed(data)
            ready = arrived.add(deltas)
            if decoder.failure is not None or decoder.ended:
                break
            if hand_on:
                read.deltas = ready
            if decoder.whole:
                read.settling, read.news = True, bool(deltas)
            try:
                data = yield read
            except ModelStudioError:  # the connection was lost: what was used up to then is known
                ready = arrived.add(decoder.rest())
                yield Hand(ready if hand_on else [])
                raise
        if decoder.failure is None:
            ready = ready + arrived.add(_headers_delta(request, arrived))
        if hand_on:
            yield Hand(ready)
        if decoder.failure is not None:
            if not arrived.deltas and begins and not begins.startswith(BEGINS_EVENTS):
                raise ProtocolError(f"the service sent no answer but {shown(begins)}")
            raise decoder.failure
        yield Finish()

    def _open(
        self, url: str, call: WireCall, arrived: _Arrived, options: CallOptions
    ) -> Generator[Step, Any, ResponseHead]:
        """Send a request with the key of this attempt. Return the head of the response, or raise the error it is."""
        key = self.config.api_key
        if callable(key):
            key = yield AskKey(key)
        arrived.headers = self._headers(call, options, key)
        arrived.url = url
        head: ResponseHead = yield Open(url, arrived.headers, call.body, options.timeout)
        arrived.head = head
        yield from self._accepted(head, arrived.url)
        return head

    def _headers(self, call: WireCall, options: CallOptions, key: SecretStr | None) -> SecretHeaders:
        return SecretHeaders(
            {
                "user-agent": _USER_AGENT,
                **({} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}),
                **call.headers,
                **self.config.headers,
                **({} if options.headers is None else options.headers.reveal()),
            }
        )

    def _accepted(self, head: ResponseHead, url: str) -> Flow:
        """Raise the error that a response is by its status, or ProtocolError where its body is encoded.

        No content coding is asked for: a few kilobytes of gzip may hold gigabytes.
        """
        coding = head.headers.get("content-encoding", "").strip()
        said = f"The body has the content-encoding {coding!r:.100}, though only identity was asked for."
        encoded = coding.lower() not in ("", "identity")
        if not 200 <= head.status < 300:
            body: bytes = b"" if encoded else (yield ReadAll(_MAX_ERROR_BYTES, error=True))
            error = CODECS[self.config.protocol].error(head, body)
            if encoded:
                error.message = f"{_sentence(error.message)} {said}"
            raise error
        if encoded:
            raise ProtocolError(f"the answer of {url} cannot be read. {said}")

    def _request_flow(
        self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T], found: list[T]
    ) -> Flow:
        def attempt(arrived: _Arrived) -> Flow:
            head = yield from self._open(url, call, arrived, CallOptions())
            body: bytes = yield ReadAll(self.config.max_event_bytes)
            found.append(decode(head, body))

        return self._retried(attempt)

    def _log(self, notice: Notice) -> None:
        """Log a decision that the caller did not ask for: a warning once per client, anything else once per process."""
        if notice.level == logging.WARNING:
            logger.log(
                logging.DEBUG if notice.text in self._warned else logging.WARNING, "Model Studio: %s", notice.text
            )
            self._warned.add(notice.text)
        elif logger.isEnabledFor(logging.INFO):
            inform(notice.text)

    def _explain(
        self, error: ModelStudioError, arrived: _Arrived, request: ChatRequest | None, model: ModelInfo | None
    ) -> None:
        """Add what only the client knows: what had arrived and where the request went. Redact the credentials."""
        if error.partial is None and any(not isinstance(delta, ResponseDelta) for delta in arrived.deltas):
            error.partial = fold(arrived.deltas)
        error.request_id = error.request_id or arrived.request_id
        error.url = arrived.url
        if more := advice(error, self.config, arrived.url, arrived.headers, request, model):
            error.message = f"{_sentence(error.message)} {more}"
            error.args = (error.message,)
        error.redact(arrived.redactor)


def _headers_delta(request: ChatRequest, arrived: _Arrived) -> list[Delta]:
    """Return the response headers as a delta, if asked for, without those that hold a credential."""
    if not request.options.response_headers or arrived.head is None:
        return []
    redactor = arrived.redactor
    headers = {name: value for name, value in safe_headers(arrived.head).items() if redactor(value) == value}
    return [ExtraDelta("headers", headers)]


@lru_cache(maxsize=256)
def inform(text: str) -> None:
    """Log a decision once per process: the cache remembers the texts, each of which names its model."""
    logger.info("Model Studio: %s", text)


def _sentence(text: str) -> str:
    """What the service said, ended, so that more may follow."""
    text = text.rstrip()
    return text if text.endswith((".", "!", "?", ":", "。", "！", "？")) else f"{text}."


def _next(flow: Flow, answer: Any) -> Step | None:
    try:
        return flow.send(answer)
    except StopIteration:
        return None


def _throw(flow: Flow, error: ModelStudioError) -> Step | None:
    try:
        return flow.throw(error)
    except StopIteration:
        return None
