"""Perform calls: send chat and other requests by one configuration, sync or async.

What a call does is written once, in `flow`. Here are the two drivers of its steps, twins in the same order of lines.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.config import Config
from modelstudio_core.errors import ConfigurationError, ModelStudioError
from modelstudio_core.history import is_text_only, sendable
from modelstudio_core.http.flow import CODECS, End, Flow, Flows, GetKey, Open, Read, Step, Wait
from modelstudio_core.http.keys import aprovided_key, provided_key
from modelstudio_core.http.transport import AsyncResponse, Response, Transport
from modelstudio_core.policies import Notice, plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import ChatRequest, ChatResult, Delta, ResponseHead, WireCall

logger = logging.getLogger("modelstudio_core")
T = TypeVar("T")


class Client:
    """Sends requests by one configuration. Thread-safe; usable from any number of event loops.

    Args:
        config: where requests go, with which key.
        transport: what carries them.
    """

    def __init__(self, config: Config, transport: Transport) -> None:
        if config.protocol not in CODECS:
            raise ConfigurationError(f"protocol={config.protocol!r} is unknown: {' or '.join(map(repr, CODECS))}")
        self.config = config
        self.transport = transport
        self._flows = Flows(config)
        self._warned: set[str] = set()

    def complete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """Return the whole answer. The wire streams where the model asks for it. Raises ModelStudioError."""
        return fold(self._run(self._chat(request, model, stream=False)))

    async def acomplete(self, request: ChatRequest, model: ModelInfo) -> ChatResult:
        """The async twin of `complete`."""
        return fold([delta async for delta in self._arun(self._chat(request, model, stream=False))])

    def stream(self, request: ChatRequest, model: ModelInfo) -> Iterator[Delta]:
        """Yield the answer as it comes. Closing the iterator closes the response. Raises ModelStudioError."""
        return self._run(self._chat(request, model, stream=True))

    def astream(self, request: ChatRequest, model: ModelInfo) -> AsyncIterator[Delta]:
        """The async twin of `stream`."""
        return self._arun(self._chat(request, model, stream=True))

    def request(self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T]) -> T:
        """Send one request that is not a chat and return what `decode` makes of its response.

        It is retried, authorized and logged as any call. Raises ModelStudioError.
        """
        found: list[T] = []
        for _ in self._run(self._flows.other(url, call, lambda head, body: found.append(decode(head, body)))):
            pass  # there are no deltas
        return found[0]

    async def arequest(self, url: str, call: WireCall, decode: Callable[[ResponseHead, bytes], T]) -> T:
        """The async twin of `request`."""
        found: list[T] = []
        async for _ in self._arun(self._flows.other(url, call, lambda head, body: found.append(decode(head, body)))):
            pass
        return found[0]

    def close(self) -> None:
        """Close the connections that no other client uses."""
        self.transport.close()

    async def aclose(self) -> None:
        """The async twin of `close`."""
        await self.transport.aclose()

    def __deepcopy__(self, memo: dict[int, Any]) -> Client:
        return self  # nothing of it changes, and its connections may be shared

    # ---------------------------------------------------------------- drivers

    def _run(self, flow: Flow) -> Iterator[Delta]:
        response: Response | None = None
        result: Any = None
        try:
            step = flow.send(None)
            while type(step) is not End:
                if type(step) is Read and step.deltas:
                    yield from step.deltas
                try:
                    if type(step) is Read and response is not None:
                        result = response.settle(step.progress) if step.hurried else next(response, None)
                    elif type(step) is Open:
                        response = self.transport.open(step.url, step.headers, step.body, step.timeout)
                        result = response.head
                    else:
                        result = self._perform(step, response)
                except ModelStudioError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
            yield from step.deltas
            if step.error is not None:
                result = None
                raise step.error
            if response is not None:
                response.finish()
        finally:
            flow.close()
            if response is not None:
                response.close()

    async def _arun(self, flow: Flow) -> AsyncIterator[Delta]:
        response: AsyncResponse | None = None
        result: Any = None
        try:
            step = flow.send(None)
            while type(step) is not End:
                if type(step) is Read and step.deltas:
                    for delta in step.deltas:
                        yield delta
                try:
                    if type(step) is Read and response is not None:
                        result = await (response.asettle(step.progress) if step.hurried else response.__anext__())
                    elif type(step) is Open:
                        response = await self.transport.aopen(step.url, step.headers, step.body, step.timeout)
                        result = response.head
                    else:
                        result = await self._aperform(step, response)
                except StopAsyncIteration:  # anext with a default costs an object a read
                    step = flow.send(None)
                except ModelStudioError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
            for delta in step.deltas:
                yield delta
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
        if response is not None:
            response.close()
        if isinstance(step, Wait):
            self.transport.sleep(step.seconds)
        return None

    async def _aperform(self, step: Step, response: AsyncResponse | None) -> Any:
        if isinstance(step, GetKey):
            return await aprovided_key(step.provider)
        if response is not None:
            await response.aclose()
        if isinstance(step, Wait):
            await self.transport.asleep(step.seconds)
        return None

    # ---------------------------------------------------------------- before a chat is sent

    def _chat(self, request: ChatRequest, model: ModelInfo, *, stream: bool) -> Flow:
        """Plan a chat call, log the decisions, and return its flow."""
        if request.native_endpoint is None:
            request = replace(request, native_endpoint=model.native_endpoint)
        request = self._with_sendable_history(request, model)
        planned = plan(request, model, stream=stream)
        for notice in planned.notices:
            self._log(notice)
        return self._flows.chat(request, model, planned)

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

    def _log(self, notice: Notice) -> None:
        """Log a decision that the caller did not ask for: a warning once per client, anything else once per process."""
        if notice.level == logging.WARNING:
            logger.log(
                logging.DEBUG if notice.text in self._warned else logging.WARNING, "Model Studio: %s", notice.text
            )
            self._warned.add(notice.text)
        elif logger.isEnabledFor(logging.INFO):
            _log_once(notice.text)


@lru_cache(maxsize=256)
def _log_once(text: str) -> None:
    """Log a decision once per process: the cache remembers the texts, each of which names its model."""
    logger.info("Model Studio: %s", text)
