"""Summarizing at a fraction of the context window, based on the profile and the reported tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, HumanMessage

from examples import summarize as example
from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import chat
from tests.loopback import Exchange, Loopback
from tests.service import Answer, sent

MakeModel = Callable[..., ChatModelStudio]
SUMMARY = "Keeps bees near a lake."
QUESTIONS = ("I keep bees.", "Advice?", "More?")


class OtherProvider(ChatModelStudio):
    """A model whose provider in traces differs from that in its messages, as with other packages."""

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return {**super()._get_ls_params(stop, **kwargs), "ls_provider": "openai"}


def service(exchange: Exchange) -> None:
    """Short answers with a usage of 90 tokens, mostly thoughts, and a summary if requested."""
    asked = exchange.request.json()["messages"][-1]["content"]
    text = SUMMARY if "Messages to summarize" in asked else "Yes."
    usage = {"prompt_tokens": 10, "completion_tokens": 80, "total_tokens": 90}
    Answer(reasoning=["A long thought."], text=[text], usage=usage)(exchange)


@pytest.mark.slow
def test_with_the_local_model(a_local_model: MakeModel) -> None:
    """A conversation that fills half of the small context is summarized, and continues."""
    _, history = example.talk(a_local_model(capabilities={"max_input": 80}), example.QUESTIONS[:2])
    summary, *_, answer = history
    assert example.is_summary(summary)
    assert summary.text
    assert isinstance(answer, AIMessage)
    assert answer.text


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_it_triggers_on_reported_tokens(way: str) -> None:
    """Including the thoughts of earlier turns, which cannot be counted from the text."""
    with Loopback(service) as server:
        llm = chat(server, capabilities={"max_input": 160}, enable_thinking=True)
        if way == "invoke":
            histories = example.talk(llm, QUESTIONS)
        else:
            agent: Any = example.an_agent(llm)
            histories = []
            for question in QUESTIONS:
                given = {"messages": [HumanMessage(question)]}
                state = await agent.ainvoke(given, {"configurable": {"thread_id": "bees"}})
                histories.append(state["messages"])
        summaries = [message for message in histories[-1] if example.is_summary(message)]
        assert [message.text.splitlines()[-1] for message in summaries] == [SUMMARY]
        # the model was given the summary in place of what it stands for
        contents = [message["content"] for message in sent(server)["messages"]]
    assert SUMMARY in contents[0]
    assert QUESTIONS[0] not in contents
    assert contents[-1] == QUESTIONS[-1]


def test_it_ignores_reported_tokens_of_other_providers() -> None:
    """If `ls_provider` differs from the messages' `model_provider`."""
    with Loopback(service) as server:
        llm = OtherProvider(
            model="qwen-plus", base_url=server.url, capabilities={"max_input": 160}, enable_thinking=True
        )
        histories = example.talk(llm, QUESTIONS)
    assert [len(history) for history in histories] == [2, 4, 6]


def test_the_size_comes_from_the_profile() -> None:
    """The middleware accepts listed models without a setting, unlisted ones only with it."""
    here = "http://127.0.0.1:9"
    unlisted = ChatModelStudio(model="no-such-model", base_url=here)
    told = ChatModelStudio(model="no-such-model", base_url=here, capabilities={"context_window": 1000})
    for llm in (ChatModelStudio(model="qwen-plus", base_url=here), told):
        assert llm.profile
        assert llm.profile["max_input_tokens"]
        SummarizationMiddleware(llm, trigger=("fraction", 0.5))
    with pytest.raises(ValueError, match="Model profile information is required"):
        SummarizationMiddleware(unlisted, trigger=("fraction", 0.5))
