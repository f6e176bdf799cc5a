"""Helpers to call ModelStudio in eight ways through one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.tools import FunctionTool

from llama_index_modelstudio import ModelStudio
from tests.loopback import Loopback
from tests.protocols import spoken

WAYS = ("chat", "achat", "stream_chat", "astream_chat")
STREAMS = ("stream_chat", "astream_chat")
COMPLETIONS = ("complete", "acomplete", "stream_complete", "astream_complete")
"""The ways to call a model. Each test that is about all of them runs through `call`."""
USAGE_COUNTS = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "reasoning_tokens": 6,
    "cached_tokens": 8,
    "cache_creation_tokens": 4,
}


def chat(server: Loopback, **settings: Any) -> ModelStudio:
    """Return a model for `server` without retries, with the protocol of the test (`each_protocol`)."""
    common = {"model": "qwen-plus", "base_url": server.url, "max_retries": 0, "protocol": spoken.get()}
    return ModelStudio(**{**common, **settings})


async def call(llm: Any, way: str, given: Any = "hello", **options: Any) -> Any:
    """Return the answer of `llm` to `given` with the method `way`; of a stream, its last response."""
    return (await responses_of(llm, way, given, **options))[-1]


async def responses_of(llm: Any, way: str, given: Any = "hello", **options: Any) -> list[Any]:
    """Return all responses of a stream, or the only one. A method's name may end with `_with_tools`."""
    method, named = getattr(llm, way), way.removesuffix("_with_tools")
    if way.endswith("_with_tools"):
        options = {"user_msg": given, **options}
        arguments: tuple[Any, ...] = ()
    else:
        arguments = (conversation(given) if "chat" in way else given,)
    if named.startswith("astream"):
        return [response async for response in await method(*arguments, **options)]
    if named.startswith("stream"):
        return list(method(*arguments, **options))
    return [await method(*arguments, **options) if named.startswith("a") else method(*arguments, **options)]


def conversation(given: Any) -> list[ChatMessage]:
    """Return a text or a message as a conversation."""
    if isinstance(given, str):
        return [ChatMessage(role="user", content=given)]
    return [given] if isinstance(given, ChatMessage) else list(given)


def thought(response: ChatResponse) -> str:
    """Return the reasoning in the blocks."""
    return "".join(block.content or "" for block in response.message.blocks if isinstance(block, ThinkingBlock))


def said(response: ChatResponse) -> str:
    """Return the text in the blocks."""
    return "".join(block.text for block in response.message.blocks if isinstance(block, TextBlock))


def made(response: ChatResponse) -> list[tuple[str | None, str, Any]]:
    """Return the calls in the blocks."""
    return [
        (block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in response.message.blocks
        if isinstance(block, ToolCallBlock)
    ]


def weather(city: str, days: int = 1) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def local_time(city: str) -> str:
    """Tell the time in a city."""
    return f"It is noon in {city}."


def tools(*functions: Any) -> Sequence[FunctionTool]:
    """Return the functions as tools; without any, both of the above."""
    return [FunctionTool.from_defaults(function) for function in functions or (weather, local_time)]
