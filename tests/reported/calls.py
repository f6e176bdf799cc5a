"""The ways to call a model with options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from tests.faults.dialects import DIALECTS
from tests.loopback import Exchange, Loopback
from tests.service import USAGE, Answer, Call

every_protocol = pytest.mark.parametrize("protocol", tuple(DIALECTS))
KEY = "sk-not-a-real-key-0001"


class City(BaseModel):
    """A city."""

    name: str


class CityDict(TypedDict):
    """A city."""

    name: str


@dataclass
class CityData:
    """A city."""

    name: str


def tool(name: str) -> str:
    """Find a city."""
    return name


# ---------------------------------------------------------------- every way to call a model, with options

Ask = Callable[[Any, dict[str, Any]], Any]
QUESTION = [ChatMessage("hello")]
PROMPT = PromptTemplate("Where is {what}?")
TOOLS = [FunctionTool.from_defaults(tool)]


async def each(found: Any) -> Any:
    """Await the result of an async call, or collect a stream."""
    if hasattr(found, "__await__"):
        found = await found
    if hasattr(found, "__aiter__"):
        return [item async for item in found]
    if isinstance(found, Iterator) or hasattr(found, "output"):
        return list(found)
    return found


LANGCHAIN: dict[str, Ask] = {
    "invoke": lambda llm, options: llm.invoke("hello", **options),
    "ainvoke": lambda llm, options: llm.ainvoke("hello", **options),
    "stream": lambda llm, options: llm.stream("hello", **options),
    "astream": lambda llm, options: llm.astream("hello", **options),
    "batch": lambda llm, options: llm.batch(["hello"], **options),
    "abatch": lambda llm, options: llm.abatch(["hello"], **options),
    "stream_events": lambda llm, options: llm.stream_events("hello", version="v3", **options),
    "astream_events": lambda llm, options: llm.astream_events("hello", version="v3", **options),
    "bind": lambda llm, options: llm.bind(**options).invoke("hello"),
    "bind, streamed": lambda llm, options: llm.bind(**options).astream("hello"),
    "bind_tools": lambda llm, options: llm.bind_tools([tool], **options).invoke("hello"),
    "with_structured_output": lambda llm, options: llm.with_structured_output(City, **options).invoke("hello"),
}
LLAMA_INDEX: dict[str, Ask] = {
    "chat": lambda llm, options: llm.chat(QUESTION, **options),
    "achat": lambda llm, options: llm.achat(QUESTION, **options),
    "stream_chat": lambda llm, options: llm.stream_chat(QUESTION, **options),
    "astream_chat": lambda llm, options: llm.astream_chat(QUESTION, **options),
    "complete": lambda llm, options: llm.complete("hello", **options),
    "acomplete": lambda llm, options: llm.acomplete("hello", **options),
    "stream_complete": lambda llm, options: llm.stream_complete("hello", **options),
    "astream_complete": lambda llm, options: llm.astream_complete("hello", **options),
    "chat_with_tools": lambda llm, options: llm.chat_with_tools(TOOLS, "hello", **options),
    "achat_with_tools": lambda llm, options: llm.achat_with_tools(TOOLS, "hello", **options),
    "stream_chat_with_tools": lambda llm, options: llm.stream_chat_with_tools(TOOLS, "hello", **options),
    "astream_chat_with_tools": lambda llm, options: llm.astream_chat_with_tools(TOOLS, "hello", **options),
    "predict_and_call": lambda llm, options: llm.predict_and_call(TOOLS, "hello", **options),
    "apredict_and_call": lambda llm, options: llm.apredict_and_call(TOOLS, "hello", **options),
    "structured_predict": lambda llm, options: llm.structured_predict(City, PROMPT, options, what="it"),
    "astructured_predict": lambda llm, options: llm.astructured_predict(City, PROMPT, llm_kwargs=options, what="it"),
    "as_structured_llm": lambda llm, options: llm.as_structured_llm(City).chat(QUESTION, **options),
    "as_structured_llm, async": lambda llm, options: llm.as_structured_llm(City).achat(QUESTION, **options),
    "as_structured_llm, text": lambda llm, options: llm.as_structured_llm(City).complete("hello", **options),
    "as_structured_llm, stream": lambda llm, options: llm.as_structured_llm(City).stream_chat(QUESTION, **options),
    "as_structured_llm, async stream": lambda llm, options: llm.as_structured_llm(City).astream_chat(
        QUESTION, **options
    ),
    "stream_structured_predict": lambda llm, options: llm.stream_structured_predict(
        City, PROMPT, llm_kwargs=options, what="it"
    ),
    "astream_structured_predict": lambda llm, options: llm.astream_structured_predict(
        City, PROMPT, llm_kwargs=options, what="it"
    ),
}
ASKS = [(ChatModelStudio, name, ask) for name, ask in LANGCHAIN.items()]
ASKS += [(ModelStudio, name, ask) for name, ask in LLAMA_INDEX.items()]
every_ask = pytest.mark.parametrize(
    ("make", "ask"), [(make, ask) for make, _, ask in ASKS], ids=[f"{make.__name__}-{name}" for make, name, _ in ASKS]
)


def answers(exchange: Exchange) -> None:
    """Answer with a call if there are tools, otherwise with an object."""
    offered = b'"tools"' in exchange.request.body
    answer = Answer(calls=[Call("call_1", "tool", ['{"name": "Rome"}'])], usage=USAGE)
    if b'"City"' in exchange.request.body:
        answer = Answer(calls=[Call("call_1", "City", ['{"name": "Rome"}'])], usage=USAGE)
    (answer if offered else Answer(text=['{"name": ', '"Rome"}'], usage=USAGE))(exchange)


def model(make: Any, server: Loopback, **settings: Any) -> Any:
    return make(**{"model": "qwen-plus", "base_url": server.url, "max_retries": 0, "api_key": KEY, **settings})
