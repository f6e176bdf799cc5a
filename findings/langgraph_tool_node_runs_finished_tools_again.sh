#!/usr/bin/env bash
# Guess:     where one tool of a message waits in interrupt(), a tool beside it that has finished is not run again on
#            resume.
# Really:    ToolNode is one node with all calls of the message, and a node that resumes starts from the beginning: the
#            finished tool runs a second time. The agent of create_agent has a task for each call and runs it once. But
#            there, a new question instead of Command(resume=...) drops the finished result: the model sees the
#            question behind calls without any answer.
# Version:   langgraph 1.2.24, langgraph-prebuilt 1.1.3, langchain 1.5.2, langchain-core 1.8.3
# Date:      2026-11-30
# Seen:      mails sent: graph with ToolNode 2, create_agent 1
#            create_agent, asked something else: the model sees ['human', 'ai', 'human']
# Matters:   mail is sent or money is paid twice where another tool of the same message asks for approval. Use
#            create_agent, or make such tools safe to run again.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langgraph==1.2.24 langgraph-prebuilt==1.1.3 langchain==1.5.2 langchain-core==1.8.3

cat > "$folder/run.py" <<'PYTHON'
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

mails: list[str] = []
requests: list[list[str]] = []


@tool
def mail(to: str) -> str:
    """Send a mail."""
    mails.append(to)
    return "sent"


@tool
def delete(name: str) -> str:
    """Delete a file once the user agrees."""
    return f"{name}: {interrupt('delete it?')}"


class Model(BaseChatModel):
    """Calls both tools in its first answer, and none later."""

    _llm_type = "fake"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        requests.append([message.type for message in messages])
        calls = [
            {"name": "mail", "args": {"to": "Ada"}, "id": "call_1"},
            {"name": "delete", "args": {"name": "a.txt"}, "id": "call_2"},
        ]
        answer = AIMessage("", tool_calls=calls) if len(messages) == 1 else AIMessage("Done.")
        return ChatResult(generations=[ChatGeneration(message=answer)])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def ask(state: MessagesState) -> dict[str, list[BaseMessage]]:
    return {"messages": [Model().invoke(state["messages"])]}


builder = StateGraph(MessagesState).add_node("ask", ask).add_node("tools", ToolNode([mail, delete]))
builder.add_edge(START, "ask").add_conditional_edges("ask", tools_condition).add_edge("tools", "ask")
graph = builder.compile(checkpointer=InMemorySaver())
agent = create_agent(Model(), [mail, delete], checkpointer=InMemorySaver())
question = {"messages": [("user", "Write to Ada and delete a.txt.")]}
sent = {}
for name, app in (("graph", graph), ("agent", agent)):
    mails.clear()
    config = {"configurable": {"thread_id": "resumed"}}
    app.invoke(question, config)
    assert mails == ["Ada"]
    app.invoke(Command(resume="yes"), config)
    sent[name] = len(mails)

config = {"configurable": {"thread_id": "other question"}}
agent.invoke(question, config)
agent.invoke({"messages": [("user", "What time is it?")]}, config)
print(f"mails sent: graph with ToolNode {sent['graph']}, create_agent {sent['agent']}")
print(f"create_agent, asked something else: the model sees {requests[-1]}")
assert sent == {"graph": 2, "agent": 1}
assert requests[-1] == ["human", "ai", "human"]
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
