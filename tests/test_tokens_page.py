"""The snippets of docs/tokens-and-cost.md and the examples of costs run with correct numbers."""

from __future__ import annotations

from decimal import Decimal

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage

from examples import cost as langchain_example
from examples import llama_index_cost as llama_index_example
from modelstudio_core.prices import Cost
from tests.langchain import service as langchain_service
from tests.llama_index import service as llama_index_service
from tests.loopback import Loopback
from tests.service import Answer
from tests.snippets import TEXT, run, snippets

PAGE = "docs/tokens-and-cost.md"
SHOWN = [
    ["input tokens", "with a tool that must be called", "'total_tokens': 17"],
    ["input tokens", "in JSON mode", TEXT],
    ["qwen-plus: 18 in, 16 out, 0 of them for thinking"],  # of two calls
    [TEXT, "0.00000365 USD, prices of 2026-11-29 from price table of litellm"],  # 9 tokens at 0.05, 8 at 0.4
    [TEXT, "Cost(amount=Decimal('0.0000132'), currency='USD'"],  # 9 tokens at 0.4, 8 at 1.2
]


@pytest.mark.parametrize(("snippet", "shown"), [*zip(snippets(PAGE), SHOWN, strict=True)], ids=range(len(SHOWN)))
def test_a_snippet_runs(
    snippet: str, shown: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It calls the service and prints counts or costs."""
    monkeypatch.setattr(Settings, "_tokenizer", None)
    assert run(snippet, PAGE, monkeypatch)
    printed = capsys.readouterr().out
    for text in shown:
        assert text in printed


USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}


def test_the_examples_compute_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """100 tokens at $0.40 and 50 at $1.20 per million. Without usage, the cost is unknown."""
    expected = Cost(Decimal("0.0001"), "USD", None, "caller")
    with Loopback([Answer(text=["North."], usage=USAGE), Answer(text=["North."], usage=None)]) as server:
        llm = langchain_service.chat(server)
        assert langchain_example.counted(llm, [HumanMessage("hi")]) == 9
        assert langchain_example.answered(llm, [HumanMessage("hi")]) == expected
        assert langchain_example.answered(llm, [HumanMessage("hi")]) is None
    with Loopback([Answer(text=["North."], usage=USAGE)]) as server:
        llm_of_llama_index = llama_index_service.chat(server)
        assert llama_index_example.counted(llm_of_llama_index, [ChatMessage("hi")]) == 9
        assert llama_index_example.answered(llm_of_llama_index, [ChatMessage("hi")]) == expected
    printed = capsys.readouterr().out
    assert "Cost: 0.00010000 USD" in printed
    assert "Cost: unknown" in printed
