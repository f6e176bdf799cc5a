#!/usr/bin/env bash
# Guess:     where a model's only tool call is not valid JSON, create_agent tells the model so and asks it again.
# Really:    the run ends as a success; the last message has no text and no tool call. The error message exists, but it
#            is made only when the *next* run sends the history ("could not be executed - arguments were malformed or
#            truncated"). Beside one valid call the same broken call is corrected in the same run, because the valid one
#            keeps the loop going.
# Version:   langchain 1.5.2, langchain-core 1.8.3, langgraph 1.2.24
# Date:      2026-11-29
# Seen:      first run:  1 request, answer '', kinds in state ['human', 'ai']
#            second run: 1 request of ['human', 'ai', 'tool', 'human']
# Matters:   a caller that shows result["messages"][-1].text shows nothing and sees no error; check
#            messages[-1].invalid_tool_calls. Long arguments that max_tokens cuts off are the usual way to get here.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langchain==1.5.2 langchain-core==1.8.3 langgraph==1.2.24

cat > "$folder/run.py" <<'PYTHON'
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

requests: list[list[BaseMessage]] = []


class Model(BaseChatModel):
    """Writes a call that was cut off, then answers."""

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        requests.append(list(messages))
        broken = {"name": "weather", "args": '{"city": "Ro', "id": "call_1", "error": "cut", "type": "invalid_tool_call"}
        first = AIMessage("", invalid_tool_calls=[broken])
        return ChatResult(generations=[ChatGeneration(message=first if len(requests) == 1 else AIMessage("Sunny."))])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    @property
    def _llm_type(self) -> str:
        return "broken"


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def kinds(messages: list[BaseMessage]) -> list[str]:
    return [message.type for message in messages]


agent = create_agent(Model(), [weather], checkpointer=InMemorySaver())
thread = {"configurable": {"thread_id": "1"}}
first = agent.invoke({"messages": [("user", "Weather in Rome?")]}, thread)["messages"]
print(f"first run:  {len(requests)} request, answer {first[-1].text!r}, kinds in state {kinds(first)}")
assert len(requests) == 1
assert first[-1].text == ""
assert kinds(first) == ["human", "ai"]

agent.invoke({"messages": [("user", "Try again.")]}, thread)
print(f"second run: {len(requests) - 1} request of {kinds(requests[1])}")
assert kinds(requests[1]) == ["human", "ai", "tool", "human"]
assert "malformed or truncated" in str(requests[1][2].content)
PYTHON

"$folder/env/bin/python" -W ignore "$folder/run.py"
