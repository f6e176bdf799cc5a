"""The eight ways to make a call, four per adapter, with a common result type."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.llms import ChatMessage, ChatResponse

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import ModelStudioError


@dataclass
class Heard:
    """The result of one call."""

    pieces: list[str] = field(default_factory=list)
    request_id: str | None = None
    error: ModelStudioError | None = None
    seconds: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Way:
    """One way to make a call. `streams`: whether fragments are yielded."""

    name: str
    streams: bool
    make: Callable[..., Any]
    ask: Callable[[Any, Heard], Any]

    async def __call__(self, model: Any) -> Heard:
        """Call `model`, and return the result. Exceptions other than this package's errors are raised."""
        heard = Heard()
        began = time.monotonic()
        try:
            asked = self.ask(model, heard)
            if asked is not None:
                await asked
        except ModelStudioError as error:
            heard.error = error
        heard.seconds = time.monotonic() - began
        return heard

    def run(self, model: Any) -> Heard:
        """Run a sync way outside of any event loop."""
        heard = Heard()
        try:
            self.ask(model, heard)
        except ModelStudioError as error:
            heard.error = error
        return heard


PROMPT = "Why is the sky blue?"


def _langchain(message: Any, heard: Heard) -> None:
    heard.pieces.append(message.text)
    heard.request_id = message.response_metadata.get("request_id") or heard.request_id


def _each(found: Iterable[Any], take: Callable[[Any, Heard], None], heard: Heard) -> None:
    for item in found:
        take(item, heard)


def _invoke(model: Any, heard: Heard) -> None:
    _langchain(model.invoke(PROMPT), heard)


def _stream(model: Any, heard: Heard) -> None:
    _each(model.stream(PROMPT), _langchain, heard)


async def _ainvoke(model: Any, heard: Heard) -> None:
    _langchain(await model.ainvoke(PROMPT), heard)


async def _astream(model: Any, heard: Heard) -> None:
    async for chunk in model.astream(PROMPT):
        _langchain(chunk, heard)


def _llama(response: ChatResponse, heard: Heard) -> None:
    said = response.delta if response.delta is not None else response.message.content
    heard.pieces.append(said or "")
    heard.request_id = response.raw.get("request_id") or heard.request_id


QUESTION = [ChatMessage(PROMPT)]


def _chat(model: Any, heard: Heard) -> None:
    _llama(model.chat(QUESTION), heard)


def _stream_chat(model: Any, heard: Heard) -> None:
    _each(model.stream_chat(QUESTION), _llama, heard)


async def _achat(model: Any, heard: Heard) -> None:
    _llama(await model.achat(QUESTION), heard)


async def _astream_chat(model: Any, heard: Heard) -> None:
    async for response in await model.astream_chat(QUESTION):
        _llama(response, heard)


WAYS: tuple[Way, ...] = (
    Way("invoke", False, ChatModelStudio, _invoke),
    Way("stream", True, ChatModelStudio, _stream),
    Way("ainvoke", False, ChatModelStudio, _ainvoke),
    Way("astream", True, ChatModelStudio, _astream),
    Way("chat", False, ModelStudio, _chat),
    Way("stream_chat", True, ModelStudio, _stream_chat),
    Way("achat", False, ModelStudio, _achat),
    Way("astream_chat", True, ModelStudio, _astream_chat),
)
