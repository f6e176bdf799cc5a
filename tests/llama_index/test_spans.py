"""Methods that override LlamaIndex's and call them have one span each, not two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import wrapt
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import TextNode
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from llama_index_modelstudio import ModelStudioEmbedding
from tests.embedding_cases import WAYS
from tests.llama_index.service import chat
from tests.loopback import Loopback
from tests.retrieval import service
from tests.service import Answer


class City(BaseModel):
    """A city."""

    name: str


def weather(city: str) -> str:
    """Tell the weather."""
    return f"It is sunny in {city}."


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> SimpleSpanHandler:
    handler = SimpleSpanHandler()
    monkeypatch.setattr(get_dispatcher(), "span_handlers", [handler])
    return handler


def of(spans: SimpleSpanHandler, method: str) -> int:
    """Return the number of spans of a method, whose ids are the class, the method and a UUID."""
    return Counter(span.id_[: -len("-00000000-0000-0000-0000-000000000000")] for span in spans.completed_spans)[method]


async def called(model: Any, way: str, method: str, *given: Any, **options: Any) -> Any:
    if way == "sync":
        return getattr(model, method)(*given, **options)
    return await getattr(model, f"a{method}")(*given, **options)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", [PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM])
async def test_a_structured_answer(way: str, mode: PydanticProgramMode, spans: SimpleSpanHandler) -> None:
    with Loopback(Answer(text=['{"name": "Rome"}'])) as server:
        model = chat(server, pydantic_program_mode=mode)
        assert await called(model, way, "structured_predict", City, PromptTemplate("a city")) == City(name="Rome")
    prefix = "" if way == "sync" else "a"
    assert (of(spans, f"ModelStudio.{prefix}structured_predict"), of(spans, f"ModelStudio.{prefix}chat")) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_of_tools(way: str, spans: SimpleSpanHandler) -> None:
    tools, message = [FunctionTool.from_defaults(weather)], ChatMessage("Hello")
    with Loopback(Answer(text=["Hello."])) as server:
        response = await called(chat(server), way, "predict_and_call", tools, message, error_on_no_tool_call=False)
    assert response.response == "Hello."
    assert of(spans, f"ModelStudio.{'' if way == 'sync' else 'a'}predict_and_call") == 1


def test_the_step_of_a_pipeline(spans: SimpleSpanHandler) -> None:
    with Loopback(service) as server:
        ModelStudioEmbedding(base_url=server.url)([TextNode(text="a")])
    assert of(spans, "ModelStudioEmbedding.__call__") == 1
    assert of(spans, "ModelStudioEmbedding.get_text_embedding_batch") == 1


@pytest.mark.parametrize("library", ["functools", "wrapt"])
def test_a_wrapper_of_another_package_is_kept(
    library: str, spans: SimpleSpanHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracers and tests wrap methods of LlamaIndex's classes."""
    calls: list[str] = []

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append(library)
            return method(*args, **kwargs)

        @wrapt.decorator
        def decorator(method: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            calls.append(library)
            return method(*args, **kwargs)

        return wrapper if library == "functools" else decorator(method)

    monkeypatch.setattr(BaseEmbedding, "__call__", wrapped(BaseEmbedding.__call__))
    with Loopback(service) as server:
        [node] = ModelStudioEmbedding(base_url=server.url)([TextNode(text="a")])
    assert node.embedding is not None
    assert calls == [library]
