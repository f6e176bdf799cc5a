"""Measure LLMs of LlamaIndex: `python -m tests.peers.llama_index` prints JSON."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ThinkingBlock
from llama_index.core.llms import LLM
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field

from tests.loopback import Loopback
from tests.peers import service

WHY = [ChatMessage("Why?")]
COUNTS = {"total_tokens": 30, "reasoning_tokens": 6}


class City(BaseModel):
    """A city."""

    name: str = Field(description="name of the city")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


TOOL = FunctionTool.from_defaults(weather)


@dataclass(frozen=True)
class Contender:
    """A class: how to make an object of it, with or without thinking, and one that searches the web."""

    make: Callable[[Loopback, bool], Any]
    search: Callable[[Loopback], LLM]


def last(stream: Any) -> Any:
    """Return the last response of a stream."""
    *_, response = stream
    return response


def thought(response: Any) -> bool:
    return any(
        isinstance(block, ThinkingBlock) and block.content == service.THOUGHT for block in response.message.blocks
    )


def reasoning(contender: Contender) -> bool:
    with Loopback(service.THINKING) as server:
        llm = contender.make(server, True)
        return thought(llm.chat(WHY)) and thought(last(llm.stream_chat(WHY)))


def replay(contender: Contender) -> bool:
    with Loopback([service.CALLED, service.THINKING]) as server:
        llm = contender.make(server, True)
        called = last(llm.stream_chat_with_tools([TOOL], chat_history=WHY)).message
        result = ChatMessage(role=MessageRole.TOOL, content="Sunny.", additional_kwargs={"tool_call_id": "call_1"})
        llm.chat_with_tools([TOOL], chat_history=[*WHY, called, result])
        return service.replayed(server)


def structured(contender: Contender) -> bool:
    with Loopback(service.structured) as server:
        found = contender.make(server, True).as_structured_llm(City).complete("Which?").raw
        return found == City(name="Rome") and service.thinks(server)


def calls(contender: Contender) -> bool:
    with Loopback(service.TWICE) as server:
        llm = contender.make(server, False)
        response = last(llm.stream_chat_with_tools([TOOL], chat_history=WHY, allow_parallel_tool_calls=True))
        found = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    return [call.tool_kwargs for call in found] == service.CITIES


def cut_call(contender: Contender) -> bool:
    """Have an agent run a call that is whole, then one that the token limit has cut."""
    ran: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather in a city."""
        ran.append(city)
        return "Sunny."

    async def run(answer: Any) -> None:
        with Loopback([answer, service.THINKING]) as server:
            await FunctionAgent(tools=[weather], llm=contender.make(server, False)).run("Rome?")

    for answer in (service.ONCE, service.CUT_CALLED):
        asyncio.run(run(answer))
    return ran == ["Rome"]


def cut(contender: Contender) -> bool:
    with Loopback(service.CUT_OFF) as server:
        try:
            last(contender.make(server, False).stream_chat(WHY))
        except Exception:
            return True
    return False


def used(contender: Contender) -> bool:
    with Loopback(service.THINKING) as server:
        response = last(contender.make(server, True).stream_chat(WHY))
    said = repr([response.additional_kwargs, response.raw])  # ours are in `additional_kwargs`, OpenAI's in `raw`
    return all(re.search(rf"\b{name}['\"]?[=:] ?{count}\b", said) for name, count in COUNTS.items())


def retry(contender: Contender) -> bool:
    with Loopback([service.refused(429), service.THINKING]) as server:
        return bool(contender.make(server, False).chat(WHY).message.content)


def errors(contender: Contender) -> bool:
    with Loopback(service.refused(400)) as server:
        try:
            contender.make(server, False).chat(WHY)
        except Exception as error:
            return service.complete_error(error)
    return False


def sources(contender: Contender) -> bool:
    with Loopback(service.SEARCHED) as server:
        response = contender.search(server).chat(WHY)
    return service.URL in json.dumps([response.message.model_dump(), response.additional_kwargs], default=str)


ROWS = dict(
    zip(
        service.ROWS,
        (reasoning, replay, structured, calls, cut_call, cut, used, retry, errors, sources),
        strict=True,
    )
)


def ours() -> Contender:
    from llama_index_modelstudio import ModelStudio

    def make(server: Loopback, thinks: bool, **others: Any) -> Any:
        return ModelStudio(model="qwen-plus", base_url=server.url, api_key="none", enable_thinking=thinks, **others)

    search = {"protocol": "responses", "built_in_tools": [{"type": "web_search"}]}
    return Contender(make, lambda server: make(server, False, **search))


def openai_like() -> Contender:
    from llama_index.llms.openai_like import OpenAILike

    def make(server: Loopback, thinks: bool, **parameters: Any) -> Any:
        return OpenAILike(
            model="qwen-plus", api_base=service.url(server, "compatible"), api_key="none", is_chat_model=True,
            is_function_calling_model=True, max_retries=2,
            additional_kwargs={
                "extra_body": {"enable_thinking": thinks, **parameters}, "stream_options": {"include_usage": True}
            } if thinks else {"extra_body": {"enable_thinking": thinks, **parameters}},
        )  # fmt: skip

    return Contender(make, lambda server: make(server, False, enable_search=True))


def dashscope() -> Contender:
    import dashscope as sdk
    from llama_index.llms.dashscope import DashScope

    def make(server: Loopback, thinks: bool, **others: Any) -> Any:
        sdk.base_http_api_url = service.url(server, "native")  # one for the process
        return DashScope(model_name="qwen-plus", api_key="none", enable_thinking=thinks, **others)

    return Contender(make, lambda server: make(server, False, enable_search=True))


CONTENDERS = {"ModelStudio": ours, "OpenAILike": openai_like, "DashScope": dashscope}


if __name__ == "__main__":
    json.dump({name: service.measure(ROWS, made()) for name, made in CONTENDERS.items()}, sys.stdout)
