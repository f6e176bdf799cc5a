"""Helpers to call ChatModelStudio in four ways through one function."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable

from langchain_modelstudio import ChatModelStudio
from tests.loopback import Loopback
from tests.protocols import spoken

WAYS = ("invoke", "ainvoke", "stream", "astream")
"""The four ways to call a model. Each test that is about all of them runs through `call`."""
USAGE_METADATA = {
    "input_tokens": 20,
    "output_tokens": 10,
    "total_tokens": 30,
    "input_token_details": {"cache_creation": 4, "cache_read": 8},
    "output_token_details": {"reasoning": 6},
}


def chat(server: Loopback, **settings: Any) -> ChatModelStudio:
    """Return a model for `server` without retries, with the protocol of the test (`each_protocol`)."""
    common = {"model": "qwen-plus", "base_url": server.url, "max_retries": 0, "protocol": spoken.get()}
    return ChatModelStudio(**{**common, **settings})


async def call(llm: Runnable[Any, Any], way: str, given: Any = "hello", **options: Any) -> Any:
    """Return the result of `llm` for `given` with the method `way`. Chunks are added up."""
    if way == "invoke":
        return llm.invoke(given, **options)
    if way == "ainvoke":
        return await llm.ainvoke(given, **options)
    pieces = await pieces_of(llm, way, given, **options)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return whole


async def pieces_of(llm: Runnable[Any, Any], way: str, given: Any = "hello", **options: Any) -> list[Any]:
    """Return the chunks of a stream."""
    if way == "stream":
        return list(llm.stream(given, **options))
    return [piece async for piece in llm.astream(given, **options)]


def tool_calls(message: AIMessage | AIMessageChunk) -> list[tuple[str | None, str, dict[str, Any]]]:
    """Return the calls of a message in short form."""
    return [(made["id"], made["name"], made["args"]) for made in message.tool_calls]
