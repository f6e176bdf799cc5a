#!/usr/bin/env bash
# Guess:     stream_mode="messages" yields the tokens of the attempt that answered, where an attempt before it failed.
# Really:    tokens leave the graph as they are made and nothing takes them back: the half answer of the failed attempt
#            is followed by the whole answer of the next. The same holds for ModelRetryMiddleware,
#            ModelFallbackMiddleware and, in a node that calls invoke(), with_retry() and with_fallbacks(). Only the
#            message ID changes.
# Version:   langchain 1.5.2, langchain-core 1.8.3, langgraph 1.2.24
# Date:      2026-11-30
# Seen:      ModelRetryMiddleware: 'It is It is sunny.' (2 IDs); state: 'It is sunny.'
#            the same with ModelFallbackMiddleware, with_retry in a node and with_fallbacks in a node
# Matters:   the user reads a broken sentence, and with a fallback parts of two models. Clear what is shown when the ID
#            of the chunks changes. The retries of ChatModelStudio end once the first part of an answer has arrived.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    langchain==1.5.2 langchain-core==1.8.3 langgraph==1.2.24

cat > "$folder/run.py" <<'PYTHON'
from collections.abc import Iterator
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langgraph.graph import START, MessagesState, StateGraph


class Model(BaseChatModel):
    """Loses its connection after two words, as often as `failures` says."""

    failures: int = 0
    _llm_type = "fake"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Iterator[Any]:
        for text in ("It ", "is ", "sunny."):
            if text == "sunny." and self.failures:
                self.failures -= 1
                raise ConnectionError("lost")
            chunk = ChatGenerationChunk(message=AIMessageChunk(text))
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk


def seen(app: Any) -> tuple[str, int, str]:
    text, ids, state = "", set(), {}
    for mode, value in app.stream({"messages": [("user", "Weather?")]}, stream_mode=["messages", "values"]):
        if mode == "messages":
            text += value[0].text
            ids.add(value[0].id)
        else:
            state = value
    return text, len(ids), state["messages"][-1].text


def node(model: Any) -> Any:
    """Return a graph whose only node calls invoke()."""
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"])]})
    return builder.add_edge(START, "ask").compile()


apps = {
    "ModelRetryMiddleware": create_agent(Model(failures=1), middleware=[ModelRetryMiddleware(initial_delay=0)]),
    "ModelFallbackMiddleware": create_agent(Model(failures=1), middleware=[ModelFallbackMiddleware(Model())]),
    "with_retry in a node": node(Model(failures=1).with_retry(wait_exponential_jitter=False)),
    "with_fallbacks in a node": node(Model(failures=1).with_fallbacks([Model()])),
}
for name, app in apps.items():
    text, ids, state = seen(app)
    print(f"{name}: {text!r} ({ids} IDs); state: {state!r}")
    assert (text, ids, state) == ("It is It is sunny.", 2, "It is sunny.")
PYTHON

cd "$folder"
env/bin/python -W ignore run.py
