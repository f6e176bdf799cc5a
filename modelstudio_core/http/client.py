"""Send chat and other requests with one configuration, sync or async.

Calls are implemented once, in `flow`. This module has the sync and the async driver, which have the same structure;
change both together.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.history import is_text_only, prepare_history
from modelstudio_core.http.event_loop import running_loop
from modelstudio_core.http.flow import Flows
from modelstudio_core.http.keys import aprovided_key, provided_key
from modelstudio_core.http.response import AsyncResponse, Response
from modelstudio_core.http.steps import End, Flow, GetKey, Open, Perform, Read, Step, Wait
from modelstudio_core.http.transport import Transport
from modelstudio_core.media import has_local_media
from modelstudio_core.policies import Notice, Plan, plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import ChatRequest, ChatResult, Delta, ResponseHead, WireCall

if TYPE_CHECKING:
    from modelstudio_core.http.limiter import Demand

logger = logging.getLogger("modelstudio_core")
T = TypeVar("T")


class Client:
    """Send requests with one configuration. Thread-safe, and usable in any number of event loops.

    Args:
        config: URL, key and other settings of the requests.
        transport: sends the requests.
    """

    def __init__(self, config: Config, transport: Transport) -> None:
        self.config = config
        self.transport = transport
        self._flows = Flows(config)
        self._warned: set[str] = set()

    def complete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """Return the complete answer. Raises ModelStudioError.

        The request is sent as a stream if the model may think or only supports streaming.
        """
        return fold(chain.from_iterable(self._run(self._chat(request, model, stream=False))))

    async def acomplete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """Async version of `complete`."""
        reads = self._arun(self._chat(request, model, stream=False))
        return fold([delta async for deltas in reads for delta in deltas])

    def stream(self, request: ChatRequest, model: ModelInfo) -> Iterator[Delta]:
        """Yield the deltas as they arrive. Closing the iterator closes the response. Raises ModelStudioError."""
        return _each(self.stream_reads(request, model))

    def astream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Delta]:
        """Async version of `stream`."""
        return _aeach(self.astream_reads(request, model))

    def stream_reads(self, request: ChatRequest, model: ModelInfo) -> Generator[list[Delta], None, None]:
        """Yield the same deltas as `stream`, in one list per read of the connection."""
        return self._run(self._chat(request, model, stream=True))

    def astream_reads(self, request: ChatRequest, model: ModelInfo) -> AsyncGenerator[list[Delta], None]:
        """Async version of `stream_reads`."""
        return self._arun(self._chat(request, model, stream=True))

    def request(
        self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T], demand: Demand | None = None
    ) -> T:
        """Send a non-chat request, and return its response decoded with `decode`.

        Authentication, retries and logging are the same as for chat requests. With `demand`, it waits for the limits,
        to which the `tokens` of the decoded response count. Raises ModelStudioError.
        """
        decoded = _Decoded(decode)
        for _ in self._run(self._flows.request(url, call, decoded, demand)):
            pass  # yields no deltas
        return decoded.responses[0]

    async def arequest(
        self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T], demand: Demand | None = None
    ) -> T:
        """Async version of `request`."""
        decoded = _Decoded(decode)
        async for _ in self._arun(self._flows.request(url, call, decoded, demand)):
            pass
        return decoded.responses[0]

    def download(self, url: str, call: WireCall, file: BinaryIO) -> None:
        """Download a response body into `file`, replacing its content.

        If the connection breaks, the download restarts from the beginning. Raises ModelStudioError, or OSError from
        writing the file.
        """
        for _ in self._run(self._flows.download(url, call, file)):
            pass

    async def adownload(self, url: str, call: WireCall, file: BinaryIO) -> None:
        """Async version of `download`. The file is written in a thread."""
        async for _ in self._arun(self._flows.download(url, call, file)):
            pass

    def close(self) -> None:
        """Close the connections that no other client uses."""
        self.transport.close()

    async def aclose(self) -> None:
        """Async version of `close`."""
        await self.transport.aclose()

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return self  # immutable, and its connections are shared

    # ---------------------------------------------------------------- drivers

    def _run(self, flow: Flow) -> Generator[list[Delta], None, None]:
        """Run a flow: perform each step, send its result back, and yield the deltas of each read."""
        response: Response | None = None
        result: Any = None
        try:
            step = flow.send(None)
            while type(step) is not End:
                if type(step) is Read and step.deltas:
                    yield step.deltas
                try:
                    if type(step) is Read and response is not None:
                        result = response.read_trailing(step.progress) if step.trailing else next(response, None)
                    elif type(step) is Open:
                        response = self.transport.open(
                            step.url, step.headers, step.body, step.timeout, step.method, step.to_service
                        )
                        result = response.head
                    else:
                        result = self._perform(step, response)
                except ModelStudioError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
                    result = None  # else the last bytes would be kept while the caller has its turn
            if step.deltas:
                yield step.deltas
            if step.error is not None:
                result = None  # it may be the key or a response, which a traceback with local variables would show
                raise step.error
            if response is not None:
                response.finish()
        finally:
            flow.close()
            if response is not None:
                response.close()

    async def _arun(self, flow: Flow) -> AsyncGenerator[list[Delta], None]:
        """Async version of `_run`."""
        running_loop()  # refuses trio
        response: AsyncResponse | None = None
        result: Any = None
        try:
            step = flow.send(None)
            while type(step) is not End:
                if type(step) is Read and step.deltas:
                    yield step.deltas
                try:
                    if type(step) is Read and response is not None:
                        result = await (
                            response.aread_trailing(step.progress) if step.trailing else response.__anext__()
                        )
                    elif type(step) is Open:
                        response = await self.transport.aopen(
                            step.url, step.headers, step.body, step.timeout, step.method, step.to_service
                        )
                        result = response.head
                    else:
                        result = await self._aperform(step, response)
                except StopAsyncIteration:  # anext() with a default would create an object per read
                    step = flow.send(None)
                except ModelStudioError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
                    result = None  # else the last bytes would be kept while the caller has its turn
            if step.deltas:
                yield step.deltas
            if step.error is not None:
                result = None
                raise step.error
            if response is not None:
                await response.afinish()
        finally:
            flow.close()
            if response is not None:
                await response.aclose()

    def _perform(self, step: Step, response: Response | None) -> Any:
        if isinstance(step, GetKey):
            return provided_key(step.provider)
        if isinstance(step, Perform):
            return self.transport.call(step.function)
        if response is not None:
            response.close()
        if isinstance(step, Wait):
            self.transport.sleep(step.seconds)
        return None

    async def _aperform(self, step: Step, response: AsyncResponse | None) -> Any:
        if isinstance(step, GetKey):
            return await aprovided_key(step.provider)
        if isinstance(step, Perform):
            return await self.transport.acall(step.function)
        if response is not None:
            await response.aclose()
        if isinstance(step, Wait):
            await self.transport.asleep(step.seconds)
        return None

    # ---------------------------------------------------------------- before a chat is sent

    def _chat(self, request: ChatRequest, model: ModelInfo, *, stream: bool) -> Flow:
        """Plan a chat call and return its flow."""
        request = self._prepare(request, model)
        return self._flows.chat(request, model, self._planned(request, model, stream=stream))

    def batch_plan(self, request: ChatRequest, model: ModelInfo) -> Plan:
        """Plan a line of a batch job: the request of a live call, with local media inside. Log the decisions.

        Raises ConfigurationError.
        """
        planned = self._planned(self._prepare(request, model), model, stream=False)
        if not has_local_media(planned.request):
            return planned
        from modelstudio_core.http.temporary import inlined  # imported at first use

        return replace(planned, request=inlined(planned.request))

    def _planned(self, request: ChatRequest, model: ModelInfo, *, stream: bool) -> Plan:
        if self.config.protocol == "responses":
            from modelstudio_core.protocols.responses_requests import truncation_warning  # imported at first use

            if (cut := truncation_warning(request, model)) is not None:
                self._log(cut)
        planned = plan(request, model, stream=stream)
        for notice in planned.notices:
            self._log(notice)
        return planned

    def _prepare(self, request: ChatRequest, model: ModelInfo) -> ChatRequest:
        """Return the request with its endpoint, and a history that the service accepts.

        Log what was omitted or replaced.
        """
        if model.retired_on:
            self._log(Notice(model.retirement, logging.WARNING))
        endpoint = request.native_endpoint or model.native_endpoint
        text_only = is_text_only(self.config.protocol, endpoint)
        continues = bool(request.parameters.keys() & {"previous_response_id", "conversation"})
        history = prepare_history(request.messages, model, text_only=text_only, continues=continues)
        if not history.messages:
            raise ConfigurationError("no message to send: all messages are empty or tool calls without a result")
        for omission in history.omitted:
            logger.info("Model Studio: omitted from the request: %s", omission)
        for block in history.replaced:
            logger.warning("Model Studio: %s", block)
        return replace(request, messages=history.messages, native_endpoint=endpoint)

    def _log(self, notice: Notice) -> None:
        """Log a decision: warnings once per client (then at DEBUG), others once per process."""
        if notice.level == logging.WARNING:
            logger.log(
                logging.DEBUG if notice.text in self._warned else logging.WARNING, "Model Studio: %s", notice.text
            )
            self._warned.add(notice.text)
        elif logger.isEnabledFor(logging.INFO):
            _log_once(notice.text)


def _each(reads: Generator[list[Delta], None, None]) -> Iterator[Delta]:
    try:
        for deltas in reads:
            yield from deltas
    finally:
        reads.close()


async def _aeach(reads: AsyncGenerator[list[Delta], None]) -> AsyncIterator[Delta]:
    try:
        async for deltas in reads:
            for delta in deltas:
                yield delta
    finally:
        await reads.aclose()


class _Decoded(Generic[T]):
    """Keeps the decoded response, and returns its tokens."""

    def __init__(self, decode: Callable[[ResponseHead, bytes], T]) -> None:
        self._decode = decode
        self.responses: list[T] = []

    def __call__(self, head: ResponseHead, body: bytes) -> int | None:
        self.responses.append(self._decode(head, body))
        return getattr(self.responses[0], "tokens", None)


@lru_cache(maxsize=256)
def _log_once(text: str) -> None:
    """Log a text at INFO, once per process, by caching the call."""
    logger.info("Model Studio: %s", text)
