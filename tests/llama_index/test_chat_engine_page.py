"""The snippets about chat engines count all tokens, show the thinking, and use the models that they say."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest
from llama_index_instrumentation import get_dispatcher

from tests.snippets import TEXT, THOUGHT, run, snippets

AGENTS, TRACING = "docs/llama-index-agents.md", "docs/tracing.md"
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"
)  # LlamaIndex's Memory


@pytest.fixture(autouse=True)
def _event_handlers_do_not_stay() -> Iterator[None]:
    """Snippets add handlers to LlamaIndex's root dispatcher, which keep their memory alive."""
    asyncio.set_event_loop(None)  # otherwise LlamaIndex makes one that it does not close
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get_dispatcher(), "event_handlers", [])
        yield
    gc.collect()  # the warning above belongs to these tests


def snippet_with(page: str, part: str) -> str:
    [snippet] = [code for code in snippets(page) if part in code]
    return snippet


def test_the_tokens_of_llama_index_s_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of docs/tracing.md: of a chat and of a completion."""
    run(snippet_with(TRACING, "LLMChatEndEvent"), TRACING, monkeypatch)
    assert capsys.readouterr().out.splitlines() == ["17 tokens", "17 tokens"]


def test_the_tokens_and_thinking_of_a_chat_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of docs/llama-index-agents.md: the rewriting of the second question counts, and its thinking is not shown."""
    requests = run(snippet_with(AGENTS, "class Watcher"), AGENTS, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [THOUGHT + TEXT, "17 tokens so far", THOUGHT + TEXT, "51 tokens so far"]
    chats = [request.json() for request in requests if "messages" in request.json()]
    assert [chat["enable_thinking"] for chat in chats] == [True, True, True]


def test_a_second_model_rewrites_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of docs/llama-index-agents.md: without thinking, and only from the second question on."""
    requests = run(snippet_with(AGENTS, "import CondenseQuestionChatEngine"), AGENTS, monkeypatch)
    chats = [request.json() for request in requests if "messages" in request.json()]
    assert [(chat["model"], chat["enable_thinking"]) for chat in chats] == [
        ("qwen-plus", True), ("qwen-flash", False), ("qwen-plus", True),
    ]  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [TEXT, TEXT]
