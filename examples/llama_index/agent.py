"""Run a thinking agent with two tools, alone and in a workflow, streamed.

python -m examples.llama_index.agent
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any

from llama_index.core.agent.workflow import AgentOutput, AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.llms import ChatMessage

from examples.llama_index.model import an_llm
from examples.place import console
from examples.terminal import AnswerPrinter, call, result, title
from llama_index_modelstudio import ModelStudio

QUESTION = "What is the weather in Hangzhou, and what time is it there?"
TASK = "Use the tools, then answer in one sentence."


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}, 24 degrees."


def local_time(city: str) -> str:
    """Tell the time in a city."""
    return f"It is {datetime.now(timezone.utc):%H:%M} UTC in {city}."


def an_agent(llm: ModelStudio) -> FunctionAgent:
    """Return an agent that calls tools until it can answer. Reasoning is sent back with the tool results."""
    return FunctionAgent(
        name="guide", description="Knows cities.", tools=[weather, local_time], llm=llm, system_prompt=TASK
    )


def a_workflow(llm: ModelStudio) -> AgentWorkflow:
    """Return the same agent as a workflow, which could have more agents."""
    return AgentWorkflow(agents=[an_agent(llm)])


async def streamed(agent: Any, question: str = QUESTION) -> list[ChatMessage]:
    """Stream an agent to the terminal, and return the message of each step."""
    messages, speech = [], AnswerPrinter()
    handler = agent.run(question)
    async for event in handler.stream_events():
        if isinstance(event, AgentStream):
            speech.add(event.thinking_delta or "", event.delta)
        elif isinstance(event, AgentOutput):
            messages.append(event.response)
            speech = AnswerPrinter()
            console.print()
            for made in event.tool_calls:
                call(made.tool_name, made.tool_kwargs)
        elif isinstance(event, ToolCallResult):
            result(event.tool_output.content)
    await handler
    return messages


async def run(llm: ModelStudio) -> None:
    """Ask both the same question."""
    for make in (an_agent, a_workflow):
        title(f"{make.__name__}: {QUESTION}")
        await streamed(make(llm))
    await llm.aclose()


def main() -> None:
    """Run the example."""
    with an_llm(enable_thinking=True, thinking_budget=512) as llm:
        asyncio.run(run(llm))


if __name__ == "__main__":
    main()
