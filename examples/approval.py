"""Run a LangGraph agent that asks a human before it uses a tool, and goes on from its checkpoint.

The human can approve, change or reject the call. Between the question and the decision nothing runs: the state is in
the checkpointer, which in a service is a database (langgraph-checkpoint-sqlite, langgraph-checkpoint-postgres).

Run it with a key in DASHSCOPE_API_KEY:            python examples/approval.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/approval.py
"""

from __future__ import annotations

import json
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_modelstudio import ChatModelStudio

TASK = "Send Ada an e-mail: the meeting is at noon."
SENT: list[tuple[str, str]] = []
CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}


@tool
def send_email(to: str, text: str) -> str:
    """Send an e-mail.

    Args:
        to: who receives it
        text: what it says
    """
    SENT.append((to, text))
    return f"Sent to {to}: {text}"


def an_agent(llm: BaseChatModel) -> Any:
    """Return an agent that stops before each e-mail, until a human has decided."""
    approval = HumanInTheLoopMiddleware({"send_email": {"allowed_decisions": ["approve", "edit", "reject"]}})
    return create_agent(llm, [send_email], middleware=[approval], checkpointer=InMemorySaver())


def decide(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask the human about one call, and return the decision."""
    print(f"The agent wants to call {name}({arguments})")
    answer = input("Enter y to approve, n to reject, or another text for the e-mail: ").strip()
    if answer.lower() in ("y", "yes"):
        return {"type": "approve"}
    if answer.lower() in ("n", "no", ""):
        return {"type": "reject", "message": "The user does not want this e-mail to be sent."}
    return {"type": "edit", "edited_action": {"name": name, "args": {**arguments, "text": answer}}}


def run(agent: Any, task: str = TASK) -> list[BaseMessage]:
    """Run the agent to its end, with a human's decisions, and return the messages."""
    state = agent.invoke({"messages": [HumanMessage(task)]}, CONFIG)
    while interrupts := state.get("__interrupt__"):
        # a process that starts now could go on: the thread id alone finds the checkpoint
        calls = interrupts[0].value["action_requests"]
        decisions = [decide(call["name"], call["args"]) for call in calls]
        state = agent.invoke(Command(resume={"decisions": decisions}), CONFIG)
    messages: list[BaseMessage] = state["messages"]
    return messages


def main() -> None:
    """Run one task."""
    print(f"Task: {TASK}\n")
    messages = run(an_agent(ChatModelStudio(model="qwen-plus", max_tokens=200)))
    print("\nWhat happened\n")
    for message in messages:
        calls = [f"{call['name']}({json.dumps(call['args'])})" for call in getattr(message, "tool_calls", ())]
        print(f"{message.type}: {message.text or ', '.join(calls)}")


if __name__ == "__main__":
    main()
