"""Run a thinking agent with two tools, alone and in a workflow, streamed.

Run it with a key in DASHSCOPE_API_KEY:            python examples/llama_index_agent.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/llama_index_agent.py
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import Any

from llama_index.core.agent.workflow import AgentOutput, AgentStream, AgentWorkflow, FunctionAgent, ToolCallResult
from llama_index.core.llms import ChatMessage

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
    messages = []
    handler = agent.run(question)
    async for event in handler.stream_events():
        if isinstance(event, AgentStream):
            # thinking dim, answer plain
            if event.thinking_delta:
                print(f"\033[2m{event.thinking_delta}\033[0m", end="", flush=True)
            print(event.delta, end="", flush=True)
        elif isinstance(event, AgentOutput):
            messages.append(event.response)
            print("".join(f"\nCall: {call.tool_name}({call.tool_kwargs})" for call in event.tool_calls))
        elif isinstance(event, ToolCallResult):
            print(f"Result: {event.tool_output.content}\n")
    await handler
    return messages


async def run(llm: ModelStudio) -> None:
    """Ask both the same question."""
    print(f"An agent\n\nQuestion: {QUESTION}\n")
    await streamed(an_agent(llm))
    print(f"\nThe same agent in a workflow\n\nQuestion: {QUESTION}\n")
    await streamed(a_workflow(llm))
    await llm.aclose()


def main() -> None:
    """Run the example."""
    asyncio.run(run(ModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=512)))


if __name__ == "__main__":
    main()
