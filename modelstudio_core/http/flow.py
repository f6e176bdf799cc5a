"""Implement each call as one generator that yields steps.

The sync and async drivers in `client` execute the steps and send back the results, or throw the ModelStudioError that
they caught. A flow decides what to send, whether to retry, how to decode the response, when the response ends, and
which error to raise.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import SecretStr

from modelstudio_core import __version__
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config
from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    ModelStudioError,
    ProtocolError,
    StreamTruncatedError,
)
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.body_kind import SSE_PREFIXES, body_kind, strip_bom
from modelstudio_core.http.retry import retry_delay
from modelstudio_core.http.steps import Attempt, End, Flow, GetKey, Open, Perform, Read, Step, Wait
from modelstudio_core.media import has_local_media
from modelstudio_core.policies import Plan, asks_for_stream, plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import excerpt
from modelstudio_core.protocols.errors import safe_headers
from modelstudio_core.protocols.registry import codec_for
from modelstudio_core.types import (
    CallOptions,
    ChatRequest,
    Delta,
    ExtraDelta,
    Form,
    ResponseDelta,
    ResponseHead,
    Usage,
    UsageDelta,
    WireCall,
)

if TYPE_CHECKING:
    from modelstudio_core.http.limiter import Demand, Reservation
    from modelstudio_core.http.temporary import TemporaryUploads

logger = logging.getLogger("modelstudio_core")

_MAX_ERROR_BYTES = 1024 * 1024
_USER_AGENT = f"modelstudio-integrations/{__version__}"
_WRITE_BYTES = 256 * 1024  # bytes of a download to write at once


class Flows:
    """Create call flows that share one configuration."""

    def __init__(self, config: Config) -> None:
        from modelstudio_core.http.advice import advice  # not at an error: out of file descriptors, no import succeeds

        self._config = config
        self._codec = codec_for(config.protocol)
        self._advice = advice

    def chat(self, request: ChatRequest, model: ModelInfo, planned: Plan) -> Flow:
        """Return the flow of a chat call.

        The request is sent again as a stream if the service requires streaming, and with the whole history if the
        service has lost the previous response.
        """

        def send(attempt: Attempt) -> Flow:
            return self._chat_attempt(planned, attempt)

        def adapt_request(failure: ModelStudioError) -> bool:
            nonlocal planned
            if self._config.protocol == "responses":  # whose modules are loaded
                from modelstudio_core.protocols.responses import is_lost_response
                from modelstudio_core.protocols.responses_requests import continued_response, without_previous_response

                previous = continued_response(planned.request)
                if previous is not None and is_lost_response(failure, previous):
                    logger.info(
                        "Model Studio: the previous response is lost (%s): the whole history is sent", failure.code
                    )
                    planned = replace(planned, request=without_previous_response(planned.request))
                    return True
            if planned.stream or not asks_for_stream(failure):
                return False
            planned = plan(request, model, stream=True)
            return True

        demand = self._demand(planned.request)
        if not has_local_media(request):
            return self.with_retries(send, request, model, adapt_request, demand=demand)

        def send_with_media() -> Flow:
            nonlocal planned, request
            try:
                planned = replace(planned, request=(yield from self._uploads.resolve(planned.request)))
            except ModelStudioError as error:
                yield End([], error.without_frames())
                return
            request = replace(request, messages=planned.request.messages)
            yield from self.with_retries(send, request, model, adapt_request, demand=demand)

        return send_with_media()

    def _demand(self, request: ChatRequest) -> Demand | None:
        """Return what a request needs of the limits per minute, or None without limits."""
        if not self._config.is_limited:
            return None
        from modelstudio_core.http.limiter import chat_demand  # imported at first use, as few programs have limits

        return chat_demand(self._config, request)

    @property
    def _uploads(self) -> TemporaryUploads:
        from modelstudio_core.http.temporary import TemporaryUploads  # imported at first use

        # setdefault is atomic: all threads share the uploads
        uploads: TemporaryUploads = self.__dict__.setdefault("_all_uploads", TemporaryUploads(self._config, self))
        return uploads

    def request(
        self,
        url: str,
        call: WireCall,
        receive: Callable[[ResponseHead, bytes], int | None],
        demand: Demand | None = None,
    ) -> Flow:
        """Return the flow of a non-chat request. Without `demand`, it does not wait for the rate limits.

        `receive` is passed the response, and returns its tokens or raises an error.
        """

        def send(attempt: Attempt) -> Flow:
            tokens = receive(*(yield from self.exchange(url, call, attempt)))
            attempt.deltas.append(UsageDelta(Usage(tokens, None, tokens)))

        return self.with_retries(send, demand=demand)

    def exchange(self, url: str, call: WireCall, attempt: Attempt) -> Generator[Step, Any, tuple[ResponseHead, bytes]]:
        """Send a non-chat request without retries, and return its response. Raises ModelStudioError."""
        head = yield from self._open(url, call, attempt, CallOptions())
        return head, (yield from self._read_whole(b"", url))

    def download(self, url: str, call: WireCall, file: BinaryIO) -> Flow:
        """Return the flow of a download, which writes the body to `file` in blocks.

        Each attempt truncates the file first.
        """

        def send(attempt: Attempt) -> Flow:
            yield from self._open(url, call, attempt, CallOptions())
            yield Perform(lambda: (file.seek(0), file.truncate()))
            data: bytes | None = b""  # None at the end of the body
            while data is not None:
                pieces, size = [data], len(data)
                try:
                    while size < _WRITE_BYTES and (data := (yield Read([]))) is not None:
                        pieces.append(data)
                        size += len(data)
                except APIConnectionError as error:  # nothing was delivered to the caller, so a retry is safe
                    error.is_resent = not isinstance(error, APITimeoutError)
                    raise
                yield Perform(partial(file.write, b"".join(pieces)))
                data = None if data is None else b""  # else it would be written twice

        return self.with_retries(send)

    def with_retries(
        self,
        send: Callable[[Attempt], Flow],
        request: ChatRequest | None = None,
        model: ModelInfo | None = None,
        adapt_request: Callable[[ModelStudioError], bool] = lambda failure: False,
        *,
        demand: Demand | None = None,
    ) -> Flow:
        """Return a flow that repeats `send` until it succeeds, its error is final, or max_retries is reached.

        Once part of an answer was received, every error is final. Before that, `adapt_request(error)` may change what
        `send` sends; if it returns True, the next attempt follows at once and is not counted.
        """
        retries, reservation = 0, None
        while True:
            reservation = yield from self._wait_for_turn(demand, is_retry=reservation is not None)
            attempt = Attempt()
            try:
                yield from send(attempt)
            except ModelStudioError as error:
                self._add_context(error, attempt, request, model)
                failure = error.without_frames()
            else:
                if reservation is not None:
                    reservation.settle(attempt.deltas)
                if logger.isEnabledFor(logging.DEBUG):
                    request_id = attempt.redactor(attempt.request_id)
                    logger.debug("response from %s, request id %s", self._config.where, request_id)
                yield End(attempt.pop_deltas())
                return
            if reservation is not None:
                reservation.settle(attempt.deltas, failure)
            remaining = attempt.pop_deltas()
            delay: float | None = None
            if not attempt.has_output and adapt_request(failure):
                delay = 0.0
            elif not attempt.has_output:
                delay = self._delay(failure, retries)
                retries += 1
            logger.debug(
                "%s: %s, status %s, code %s, request id %s, from %s",
                "failed" if delay is None else f"retry in {delay:.2f} s",
                type(failure).__name__, failure.status_code, failure.code, failure.request_id, self._config.where,
            )  # fmt: skip
            if delay is None:
                yield End(remaining, failure)
                return
            yield Wait(delay)

    def _delay(self, failure: ModelStudioError, retries: int) -> float | None:
        """Return the seconds until the next attempt of a call without output, or None if there is none."""
        if isinstance(failure, StreamTruncatedError) and not (failure.partial and failure.partial.choices):
            failure.is_resent = True  # the answer is empty, so a retry duplicates no output
        return retry_delay(failure, attempt=retries, max_retries=self._config.max_retries, jitter=random.random())

    def _wait_for_turn(self, demand: Demand | None, *, is_retry: bool) -> Generator[Step, Any, Reservation | None]:
        """Wait until the limits allow a request. Return its reservation, or None without limits."""
        if demand is None or not self._config.is_limited:
            return None
        from modelstudio_core.http.limiter import reserve

        reservation = reserve(self._config, demand, is_retry=is_retry)
        try:
            while seconds := reservation.poll():
                yield Wait(seconds)
        except BaseException:  # the caller left
            reservation.release()
            raise
        return reservation

    def _chat_attempt(self, planned: Plan, attempt: Attempt) -> Flow:
        request = planned.request
        call = self._codec.encode(request, stream=planned.stream)
        url = self._config.base_url + call.path
        head = yield from self._open(url, call, attempt, request.options)
        start, data, kind = b"", b"", None
        while kind is None:
            data = yield Read([])
            start += data or b""
            kind = body_kind(head, planned.stream, start, ended=data is None)
        if kind == "events":
            events = self._read_events(request, head, start, attempt)
            del start, data  # up to 64 KiB, which the frame would keep for as long as the stream lasts
            yield from events
        else:
            body = yield from self._read_whole(start, url)
            if (text := strip_bom(body)).startswith(b"<"):
                raise ProtocolError(
                    f"{url} returned an HTML page instead of an API response: {excerpt(text)}; check base_url="
                )
            attempt.deltas += self._codec.decode(request, head, body)
        attempt.deltas += _headers_delta(request, attempt)

    def _read_events(self, request: ChatRequest, head: ResponseHead, start: bytes, attempt: Attempt) -> Flow:
        """Decode a stream that begins with `start`. Yield all deltas received before an error, then raise it."""
        decoder = self._codec.stream(request, head, max_event_bytes=self._config.max_event_bytes)
        text = strip_bom(start)
        other_text = excerpt(text) if text and not text.startswith(SSE_PREFIXES) else ""
        read = Read([])  # reused, as a stream has thousands of reads
        data: bytes | None = start
        del start, text
        while True:
            new = decoder.finish() if data is None else decoder.feed(data)
            data = None
            attempt.deltas += new
            if decoder.failure is not None or decoder.ended:
                break
            read.deltas = attempt.pop_deltas()
            if decoder.complete:
                read.trailing, read.progress = True, bool(new)
            try:
                data = yield read
            except ModelStudioError:  # the connection was lost, but the usage may be known
                attempt.deltas += decoder.abort()
                raise
        if decoder.failure is not None:
            if not attempt.deltas and other_text:
                raise ProtocolError(f"the service sent text that is not an event stream: {other_text}")
            raise decoder.failure

    def _read_whole(self, start: bytes, url: str) -> Generator[Step, Any, bytes]:
        """Return the complete body, which begins with `start`. Raises ProtocolError if it is too large."""
        limit = self._config.max_event_bytes
        chunks = [start]
        size = len(start)
        while size <= limit:
            data: bytes | None = yield Read([])
            if data is None:
                return b"".join(chunks)
            chunks.append(data)
            size += len(data)
        raise ProtocolError(f"the response of {url} is larger than {limit} bytes (max_event_bytes)")

    def _open(
        self, url: str, call: WireCall, attempt: Attempt, options: CallOptions
    ) -> Generator[Step, Any, ResponseHead]:
        """Send a request, and return the head of the response.

        Raises the service's error for a status other than 2xx.

        Compression is not requested, because a few kilobytes of gzip can expand to gigabytes. A compressed response is
        a ProtocolError.
        """
        key = self._config.api_key if call.to_service else None
        if callable(key):
            key = yield GetKey(key)
        attempt.headers = self._headers(call, options, key)
        attempt.url, attempt.secrets = url.partition("?")[0], call.secrets
        attempt.form = call.body if isinstance(call.body, Form) else None
        head: ResponseHead = yield Open(url, attempt.headers, call.body, options.timeout, call.method, call.to_service)
        attempt.head = head
        coding = head.headers.get("content-encoding", "").strip()
        encoded = coding.lower() not in ("", "identity")
        unreadable = f"The body has the content-encoding {coding!r:.100}, but only identity was requested."
        if not 200 <= head.status < 300:
            error = self._codec.error(head, b"" if encoded else (yield from _read_error()))
            if encoded:
                error.add_sentence(unreadable)
            raise error
        if encoded:
            raise ProtocolError(f"the response of {url} cannot be decoded. {unreadable}")
        return head

    def _headers(self, call: WireCall, options: CallOptions, key: SecretStr | None) -> SecretHeaders:
        """Return the request headers. Later ones take precedence: key, call, `default_headers`, `extra_headers`."""
        return SecretHeaders(
            {
                "user-agent": _USER_AGENT,
                **({} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}),
                **call.headers,
                **(self._config.headers if call.to_service else {}),
                **({} if options.headers is None else options.headers.reveal()),
            }
        )

    def _add_context(
        self, error: ModelStudioError, attempt: Attempt, request: ChatRequest | None, model: ModelInfo | None
    ) -> None:
        """Add the partial result, request id, URL and advice to an error, and redact credentials."""
        if error.partial is None and any(not isinstance(delta, ResponseDelta) for delta in attempt.deltas):
            error.partial = fold(attempt.deltas)
        error.request_id = error.request_id or attempt.request_id
        error.url = attempt.url
        if more := self._advice(error, self._config, attempt.url, attempt.headers, request, model):
            error.add_sentence(more)
        error.redact(attempt.redactor)


def _read_error() -> Generator[Step, Any, bytes]:
    """Return the body of an error response, or the part that arrives within 5 s and 1 MiB."""
    body = b""
    try:
        while len(body) < _MAX_ERROR_BYTES and (data := (yield Read([], trailing=True))) is not None:
            body += data
    except ModelStudioError:
        pass
    return body[:_MAX_ERROR_BYTES]


def _headers_delta(request: ChatRequest, attempt: Attempt) -> list[Delta]:
    """Return the response headers as a delta, if requested, without headers that contain a credential."""
    if not request.options.response_headers or attempt.head is None:
        return []
    redactor = attempt.redactor
    headers = {name: value for name, value in safe_headers(attempt.head).items() if redactor(value) == value}
    return [ExtraDelta("headers", headers)]
