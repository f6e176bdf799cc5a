"""Measure chat models of LangChain: `python -m tests.peers.langchain` prints JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from tests.loopback import Loopback
from tests.peers import service


class City(BaseModel):
    """A city."""

    name: str = Field(description="name of the city")


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


@dataclass(frozen=True)
class Contender:
    """A class: how to make an object of it, with or without thinking, and one that searches the web."""

    make: Callable[[Loopback, bool], BaseChatModel]
    search: Callable[[Loopback], Any]


def whole(llm: Any, question: Any = "Why?") -> Any:
    """Return the sum of the chunks of a stream."""
    message: Any = None
    for chunk in llm.stream(question):
        message = chunk if message is None else message + chunk
    return message


def reasoning(contender: Contender) -> bool:
    with Loopback(service.THINKING) as server:
        llm = contender.make(server, True)
        messages = [llm.invoke("Why?"), whole(llm)]
    return all(
        any(block.get("reasoning") == service.THOUGHT for block in message.content_blocks) for message in messages
    )


def replay(contender: Contender) -> bool:
    with Loopback([service.CALLED, service.THINKING]) as server:
        llm = contender.make(server, True).bind_tools([weather])
        called = whole(llm)
        answered = AIMessage(called.content, additional_kwargs=called.additional_kwargs, tool_calls=called.tool_calls)
        llm.invoke([HumanMessage("Why?"), answered, ToolMessage("Sunny.", tool_call_id="call_1")])
        return service.replayed(server)


def structured(contender: Contender) -> bool:
    with Loopback(service.structured) as server:
        found = contender.make(server, True).with_structured_output(City).invoke("Which?")
        return found == City(name="Rome") and service.thinks(server)


def calls(contender: Contender) -> bool:
    with Loopback(service.TWICE) as server:
        message = whole(contender.make(server, False).bind_tools([weather]))
    return bool([call["args"] for call in message.tool_calls] == service.CITIES)


def cut_call(contender: Contender) -> bool:
    """Have an agent run a call that is whole, then one that the token limit has cut."""
    ran: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather in a city."""
        ran.append(city)
        return "Sunny."

    for answer in (service.ONCE, service.CUT_CALLED):
        with Loopback([answer, service.THINKING]) as server:
            agent = create_agent(contender.make(server, False), [weather])
            for _ in agent.stream({"messages": [("user", "Rome?")]}, stream_mode="messages"):
                pass
    return ran == ["Rome"]


def cut(contender: Contender) -> bool:
    with Loopback(service.CUT_OFF) as server:
        try:
            whole(contender.make(server, False))
        except Exception:
            return True
    return False


def used(contender: Contender) -> bool:
    with Loopback(service.THINKING) as server:
        usage = whole(contender.make(server, True)).usage_metadata
    return bool(usage["output_token_details"]["reasoning"] == 6 and usage["total_tokens"] == 30)


def retry(contender: Contender) -> bool:
    with Loopback([service.refused(429), service.THINKING]) as server:
        return bool(contender.make(server, False).invoke("Why?").text)


def errors(contender: Contender) -> bool:
    with Loopback(service.refused(400)) as server:
        try:
            contender.make(server, False).invoke("Why?")
        except Exception as error:
            return service.complete_error(error)
    return False


def sources(contender: Contender) -> bool:
    with Loopback(service.SEARCHED) as server:
        message = contender.search(server).invoke("What happened in Hangzhou?")
    return service.URL in json.dumps([message.content_blocks, message.response_metadata], default=str)


ROWS = dict(
    zip(
        service.ROWS,
        (reasoning, replay, structured, calls, cut_call, cut, used, retry, errors, sources),
        strict=True,
    )
)


def ours() -> Contender:
    from langchain_modelstudio import ChatModelStudio

    def make(server: Loopback, thinks: bool, **others: Any) -> BaseChatModel:
        return ChatModelStudio(model="qwen-plus", base_url=server.url, api_key="none", enable_thinking=thinks, **others)

    return Contender(
        make,
        lambda server: make(server, False, protocol="responses").bind_tools([{"type": "web_search"}]),  # type: ignore[attr-defined]
    )


def chat_openai() -> Contender:
    from langchain_openai import ChatOpenAI

    def make(server: Loopback, thinks: bool, **others: Any) -> BaseChatModel:
        return ChatOpenAI(
            model="qwen-plus", base_url=service.url(server, "compatible"), api_key="none", stream_usage=True,  # type: ignore[arg-type]
            extra_body={"enable_thinking": thinks}, **others,
        )  # fmt: skip

    return Contender(
        make,
        lambda server: make(server, False, use_responses_api=True).bind_tools([{"type": "web_search"}]),  # type: ignore[attr-defined]
    )


def chat_qwen() -> Contender:
    from langchain_qwq import ChatQwen

    def make(server: Loopback, thinks: bool, **others: Any) -> Any:
        address = service.url(server, "compatible")
        return ChatQwen(model="qwen-plus", api_base=address, api_key="none", enable_thinking=thinks, **others)

    # it has no argument for a search, but the parameter of the service
    return Contender(make, lambda server: make(server, False, extra_body={"enable_search": True}))


def chat_tongyi() -> Contender:
    import dashscope
    from langchain_community.chat_models.tongyi import ChatTongyi

    def make(server: Loopback, thinks: bool, **parameters: Any) -> Any:
        dashscope.base_http_api_url = service.url(server, "native")  # one for the process
        return ChatTongyi(
            model="qwen-plus", api_key="none", streaming=True, max_retries=2,  # type: ignore[call-arg,arg-type]
            model_kwargs={"enable_thinking": thinks, **parameters},
        )  # fmt: skip

    search = {"enable_search": True, "search_options": {"enable_source": True}}
    return Contender(make, lambda server: make(server, False, **search))


CONTENDERS = {"ChatModelStudio": ours, "ChatOpenAI": chat_openai, "ChatQwen": chat_qwen, "ChatTongyi": chat_tongyi}


if __name__ == "__main__":
    json.dump({name: service.measure(ROWS, made()) for name, made in CONTENDERS.items()}, sys.stdout)
