"""Tracers get usage and finish reasons, whole and streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain.agents import create_agent
from llama_index.core.agent.workflow import FunctionAgent
from openinference.instrumentation.langchain import LangChainInstrumentor
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.instrumentation.langchain import LangchainInstrumentor as OpenTelemetryInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.downstream.malformed import correct
from tests.langchain.service import WAYS, call, chat
from tests.llama_index.service import COMPLETIONS, weather
from tests.llama_index.service import WAYS as CHATS
from tests.llama_index.service import call as llama_index_call
from tests.llama_index.service import chat as llama_index_chat
from tests.protocols import both_protocols, spoken
from tests.service import ID, USAGE, Answer, Call
from tests.strict_service import StrictService

pytestmark = both_protocols
ANSWER = Answer(reasoning=["Hm."], text=["Sunny", "."], usage=USAGE)
TOOL = Answer(reasoning=["Hm."], calls=[Call("call_1", "weather", ['{"city": ', '"Rome"}'])], usage=USAGE)
COUNTS = {
    "llm.token_count.prompt": 20,
    "llm.token_count.completion": 10,
    "llm.token_count.total": 30,
    "llm.token_count.prompt_details.cache_read": 8,
    "llm.token_count.completion_details.reasoning": 6,
}
"""What openinference calls the counts of `USAGE`."""
GEN_AI = {
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 10,
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.response.finish_reasons": ("stop",),
}
"""What OpenTelemetry calls them."""


class Spans:
    """The spans of a test."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def of_models(self) -> list[Mapping[str, Any]]:
        """Return the attributes of the spans of model calls, in order."""
        spans = sorted(self._exporter.get_finished_spans(), key=_started)
        kinds = [(span.attributes or {}) for span in spans]
        return [
            found
            for found in kinds
            if found.get("openinference.span.kind") == "LLM" or "gen_ai.usage.input_tokens" in found
        ]


def _started(span: ReadableSpan) -> int:
    return span.start_time or 0


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    """Yield the exporter of the instrumentor."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = request.param()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


@pytest.fixture
def spans(recorded: InMemorySpanExporter) -> Spans:
    """Return the spans of one test."""
    recorded.clear()
    return Spans(recorded)


def tells(found: Mapping[str, Any], expected: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a span's values of the expected attributes."""
    return {name: found.get(name) for name in expected}


openinference = pytest.mark.parametrize("recorded", [LangChainInstrumentor], indirect=True, ids=["openinference"])
llama_index = pytest.mark.parametrize("recorded", [LlamaIndexInstrumentor], indirect=True, ids=["openinference"])
opentelemetry = pytest.mark.parametrize("recorded", [OpenTelemetryInstrumentor], indirect=True, ids=["opentelemetry"])


@openinference
@pytest.mark.parametrize("way", WAYS)
async def test_langchain(spans: Spans, way: str) -> None:
    """The span has all counts, the finish reason and the model."""
    with StrictService(ANSWER) as server:
        async with chat(server, enable_thinking=True) as llm:
            await call(llm, way)
    (found,) = spans.of_models()
    expected = {**COUNTS, "llm.finish_reason": "stop", "llm.model_name": "qwen-plus"}
    assert tells(found, expected) == expected


@openinference
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_langchain_agents(spans: Spans, streamed: bool) -> None:
    """Each model call of an agent has its own values."""
    with StrictService(TOOL, ANSWER) as server:
        async with chat(server, enable_thinking=True) as llm:
            agent = create_agent(llm, [weather])
            if streamed:
                async for _ in agent.astream({"messages": [("user", "Rome?")]}, stream_mode="messages"):
                    pass
            else:
                await agent.ainvoke({"messages": [("user", "Rome?")]})
    first, second = spans.of_models()
    assert tells(first, COUNTS) == tells(second, COUNTS) == COUNTS
    assert [first["llm.finish_reason"], second["llm.finish_reason"]] == ["tool_calls", "stop"]


@opentelemetry
@pytest.mark.parametrize("way", WAYS)
async def test_opentelemetry(spans: Spans, way: str) -> None:
    """The GenAI attributes have counts, finish reason and model; for a whole answer also its ID."""
    with StrictService(ANSWER) as server:
        async with chat(server, enable_thinking=True) as llm:
            await call(llm, way)
    (found,) = spans.of_models()
    assert tells(found, GEN_AI) == GEN_AI
    assert found["gen_ai.response.model"] == "qwen-plus"
    if way in ("invoke", "ainvoke") and spoken.get() == "openai":
        assert found["gen_ai.response.id"] == ID


@llama_index
@pytest.mark.parametrize("way", [*CHATS, *COMPLETIONS])
async def test_llama_index(spans: Spans, way: str) -> None:
    """The span has all counts, the finish reason and the model."""
    with StrictService(ANSWER) as server:
        async with llama_index_chat(server, enable_thinking=True) as llm:
            await llama_index_call(llm, way)
    expected = {**COUNTS, "llm.finish_reason": "stop", "llm.model_name": "qwen-plus"}
    outer = spans.of_models()[0]
    assert tells(outer, expected) == expected


@llama_index
@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_llama_index_agents(spans: Spans, streaming: bool) -> None:
    """Each model call of an agent has its own values."""
    with StrictService(correct(), ANSWER) as server:
        async with llama_index_chat(server) as llm:
            await FunctionAgent(tools=[weather], llm=llm, streaming=streaming).run("Rome?")
    found = [span for span in spans.of_models() if "llm.finish_reason" in span]
    assert "stop" in [span["llm.finish_reason"] for span in found]
    assert COUNTS in [tells(span, COUNTS) for span in found]
