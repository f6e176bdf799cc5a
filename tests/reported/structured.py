"""Ways to request structured output."""

from __future__ import annotations

from typing import Any

from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from tests.langchain.service import chat as langchain_chat
from tests.langchain.service import pieces_of
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback

# a model that is listed for json_schema, one that is not, one that always thinks
LISTED, UNLISTED, ALWAYS = "qwen3.7-plus", "qwen-plus", "qwq-plus"


class City(BaseModel):
    """A city."""

    name: str
    people: int = 0


# each way of each adapter, to ask for a City by json_schema or by a call, as the model is listed
LANGCHAIN = ("invoke", "ainvoke", "stream", "astream")
LLAMA_INDEX = ("structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict")
ALL_WAYS = LANGCHAIN + LLAMA_INDEX


async def objects(server: Loopback, way: str, model: str, schema: Any = City, **options: Any) -> list[Any]:
    """Return all objects of a stream, or the only one of a call."""
    if way in LANGCHAIN:
        structured: Any = langchain_chat(server, model=model).with_structured_output(schema, **options)
        if "stream" in way:
            return await pieces_of(structured, way, "json")
        return [structured.invoke("json") if way == "invoke" else await structured.ainvoke("json")]
    method = getattr(llama_index_chat(server, model=model), way)
    made = method(schema, PromptTemplate("Which city?"))
    if way == "stream_structured_predict":
        return list(made)
    if way == "astream_structured_predict":
        return [part async for part in await made]
    return [await made if way == "astructured_predict" else made]


def cut(text: str, size: int = 6) -> list[str]:
    """Split a text into fragments."""
    return [text[at : at + size] for at in range(0, len(text), size)]


METHODS: tuple[Any, ...] = ("json_schema", "function_calling", "json_mode")
