"""All ways there are to get an answer out of ChatModelStudio: whole, streamed, by v2 and v3 events, inside a graph."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler

from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import WAYS, call

STREAMS = ("stream", "astream")


async def by_v3(llm: ChatModelStudio, way: str) -> tuple[list[dict[str, Any]], AIMessage]:
    """The v3 events of an answer and the message that they make."""
    if way == "stream":
        stream = llm.stream_events("hello", version="v3")
        events: list[Any] = list(stream)
        return events, stream.output
    astream = await llm.astream_events("hello", version="v3")
    events = [event async for event in astream]
    return events, await astream


async def by_v2(llm: ChatModelStudio) -> tuple[list[dict[str, Any]], AIMessage]:
    """The v2 events of an answer and the message of the last."""
    events: list[Any] = [event async for event in llm.astream_events("hello", version="v2")]
    output: AIMessage = events[-1]["data"]["output"]
    return events, output


class Protocol(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """With such a handler, which LangGraph attaches, `invoke` takes the way of v3 events."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_stream_event(self, event: Any, **_: Any) -> None:
        self.events.append(event)


async def by(way: str, llm: ChatModelStudio) -> AIMessage | AIMessageChunk:
    """The answer, by one of all ways there are."""
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
