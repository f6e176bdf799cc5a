"""All ways to get an answer from ChatModelStudio: whole, streamed, with v2 and v3 events, and in a graph."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler

from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import WAYS, call

STREAMS = ("stream", "astream")


async def by_v3(llm: ChatModelStudio, way: str) -> tuple[list[dict[str, Any]], AIMessage]:
    """Return the v3 events of an answer and the resulting message."""
    if way == "stream":
        stream = llm.stream_events("hello", version="v3")
        events: list[Any] = list(stream)
        return events, stream.output
    astream = await llm.astream_events("hello", version="v3")
    events = [event async for event in astream]
    return events, await astream


async def by_v2(llm: ChatModelStudio) -> tuple[list[dict[str, Any]], AIMessage]:
    """Return the v2 events of an answer and the last message."""
    events: list[Any] = [event async for event in llm.astream_events("hello", version="v2")]
    output: AIMessage = events[-1]["data"]["output"]
    return events, output


class Protocol(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """A handler like that of LangGraph, with which `invoke` uses v3 events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_stream_event(self, event: Any, **_: Any) -> None:
        self.events.append(event)


async def by(way: str, llm: ChatModelStudio) -> AIMessage | AIMessageChunk:
    """Return the answer with one of the ways."""
    name, _, variant = way.partition(" ")
    if variant == "v3":
        return (await by_v3(llm, name))[1]
    if variant == "v2":
        return (await by_v2(llm))[1]
    if variant == "in a graph":
        handler = Protocol()
        message: AIMessage = await call(llm, name, config={"callbacks": [handler]})
        assert handler.events[-1]["event"] == "message-finish"
        return message
    if variant == "streaming":
        llm = llm.model_copy(update={"streaming": True})
    answer: AIMessage = await call(llm, name)
    return answer


ALL_WAYS = (
    *WAYS,
    "invoke streaming",
    "ainvoke streaming",
    "astream v2",
    "stream v3",
    "astream v3",
    "invoke in a graph",
    "ainvoke in a graph",
)
