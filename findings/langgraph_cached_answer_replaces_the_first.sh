#!/usr/bin/env bash
# Guess:     an answer from the cache is a new message, so a thread that gets it a second time has it twice.
# Really:    the cached message keeps its ID, and add_messages replaces the message of that ID where it stands. After
#            the second turn the thread ends with the question, without an answer. The content is shared, too: what one
#            caller changes in an answer is in the cache.
# Version:   langchain-core 1.8.3, langgraph 1.2.24
# Date:      2026-11-30
# Seen:      thread: [('human', 'ping'), ('ai', 'pong'), ('human', 'ping')]; cached after a change: 'pong!'
# Matters:   a graph whose node sends only the last message, or a fixed prompt, shows the user his own question as the
#            last message. Give a cached answer an ID of its own: answer.model_copy(update={"id": str(uuid4())}).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langchain-core==1.8.3 langgraph==1.2.24

cat > "$folder/run.py" <<'PYTHON'
from typing import Any
from uuid import uuid4

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph


class Model(BaseChatModel):
    _llm_type = "fake"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("pong"))])


model = Model(cache=InMemoryCache())


def ask(state: MessagesState) -> dict[str, list[BaseMessage]]:
    return {"messages": [model.invoke([state["messages"][-1]])]}


def ask_with_new_id(state: MessagesState) -> dict[str, list[BaseMessage]]:
    [answer] = ask(state)["messages"]
    return {"messages": [answer.model_copy(update={"id": str(uuid4())})]}


def thread_of(node: Any) -> list[tuple[str, Any]]:
    builder = StateGraph(MessagesState).add_node("ask", node).add_edge(START, "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    for _ in range(2):
        state = graph.invoke({"messages": [("user", "ping")]}, {"configurable": {"thread_id": "1"}})
    return [(message.type, message.content) for message in state["messages"]]


thread, avoided = thread_of(ask), thread_of(ask_with_new_id)
model.invoke("hello").content += "!"
changed = model.invoke("hello").content
print(f"thread: {thread}; cached after a change: {changed!r}")
assert thread == [("human", "ping"), ("ai", "pong"), ("human", "ping")]
assert avoided == [("human", "ping"), ("ai", "pong")] * 2
assert changed == "pong!"
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
