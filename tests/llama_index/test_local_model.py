"""ModelStudio with the real local model."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from llama_index_modelstudio import ModelStudio
from tests.llama_index.service import (
    COMPLETIONS,
    STREAMS,
    WAYS,
    call,
    made,
    responses_of,
    said,
    thought,
    tools,
    weather,
)

# LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]
SHORT: dict[str, Any] = {"temperature": 0, "max_tokens": 48}
THINKS: dict[str, Any] = {"enable_thinking": True, "thinking_budget": 16}


@pytest.fixture
def llm(local_model_url: str) -> ModelStudio:
    return ModelStudio(model="qwen-plus", base_url=local_model_url, **SHORT)


# one way is the smoke test of `make test`
@pytest.mark.parametrize("way", [WAYS[0], *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS[1:])])
async def test_it_thinks_and_answers(way: str, llm: ModelStudio) -> None:
    """Thought and answer are separate, with usage, and streamed in fragments."""
    async with llm:
        responses = await responses_of(llm, way, "Say hello to Ada.", **THINKS)
    last = responses[-1]
    assert thought(last)
    assert said(last)
    assert "think>" not in said(last)
    counts = last.additional_kwargs
    assert counts["total_tokens"] == counts["prompt_tokens"] + counts["completion_tokens"]
    assert len(responses) > 5 or way not in STREAMS


@pytest.mark.slow
@pytest.mark.parametrize("way", COMPLETIONS)
async def test_it_completes(way: str, llm: ModelStudio) -> None:
    """Each way to complete a prompt gives the same text."""
    async with llm:
        response = await call(llm, way, "Say hello to Ada.")
        assert response.text == llm.complete("Say hello to Ada.").text


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
async def test_it_calls_a_tool(way: str, llm: ModelStudio) -> None:
    """A forced call is complete, with its arguments."""
    async with llm:
        options = {"tools": tools(weather), "tool_required": True}
        response = await call(llm, f"{way}_with_tools", "What is the weather like in Rome?", **options)
    [(id, name, arguments)] = made(response)
    assert id
    assert name == "weather"
    assert isinstance(arguments["city"], str)


class City(BaseModel):
    """A city and its population."""

    name: str
    millions: int


@pytest.mark.slow
@pytest.mark.parametrize("model", ["qwen3.7-plus", "qwen-plus"])
async def test_structured_output(model: str, local_model_url: str) -> None:
    """With json_schema and with a forced call, whole and streamed."""
    prompt = PromptTemplate("{city} has 12 million inhabitants.")
    settings: dict[str, Any] = {"model": model, "enable_thinking": False, **SHORT}
    async with ModelStudio(base_url=local_model_url, **settings) as llm:
        assert isinstance(llm.structured_predict(City, prompt, city="Hangzhou"), City)
        assert isinstance(await llm.astructured_predict(City, prompt, city="Hangzhou"), City)
        assert isinstance(list(llm.stream_structured_predict(City, prompt, city="Hangzhou"))[-1], City)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["FunctionAgent", "AgentWorkflow"])
async def test_an_agent_runs_its_tools(kind: str, llm: ModelStudio) -> None:
    """It thinks, calls one of two tools, and answers; thoughts and text are streamed."""
    async with llm:
        thinking = llm.model_copy(update=THINKS)
        agent: Any = FunctionAgent(name="guide", description="Knows cities.", tools=list(tools()), llm=thinking)
        handler = (agent if kind == "FunctionAgent" else AgentWorkflow(agents=[agent])).run("What time is it in Rome?")
        events = [event async for event in handler.stream_events()]
        output = await handler
    assert [event for event in events if isinstance(event, ToolCallResult) and not event.tool_output.is_error]
    stream = [event for event in events if isinstance(event, AgentStream)]
    assert "".join(event.thinking_delta or "" for event in stream)
    assert str(output)
