"""Token counts: exact ones compared with recorded counts, and estimates."""

from __future__ import annotations

import pytest

from modelstudio_core import tokens

TEXTS = [
    "The quick brown fox jumps over the lazy dog, and then it does so once more for good measure.",
    "通义千问是阿里云自主研发的大语言模型，能够回答问题、创作文字，还能表达观点、撰写代码。",
    "def add(left: int, right: int) -> int:\n    return left + right\n\nprint(add(1234, 5678))\n",
    "Ein Satz auf Deutsch, mit Umlauten: Über größere Mäuse läßt sich trefflich streiten.",
    '{"city": "New York", "days": [1, 2, 3], "units": "metric"}',
]


def test_the_vocabulary_of_a_generation() -> None:
    """qwen3.5 and later have a newer one."""
    old, new = tokens.token_ids("hello world", "qwen-plus"), tokens.token_ids("hello world", "qwen3.7-max")
    assert old == tokens.token_ids("hello world", "qwen3-max") == [14990, 1879]
    assert new == tokens.token_ids("hello world", "qwen3.5-plus")
    assert new != old
    assert new == tokens.token_ids("hello world", "qwen3.10-max") == tokens.token_ids("hello world", "qwen4-plus")


@pytest.mark.parametrize("text", TEXTS)
def test_estimates(text: str) -> None:
    """Within a quarter of the real count for any kind of text."""
    assert tokens.estimate_tokens(text) == pytest.approx(tokens.count_tokens(text, "qwen-plus"), rel=0.25)


def test_without_the_tokenizer_a_count_is_the_estimate(no_tokenizer: None) -> None:
    """No download, no error. Token IDs raise an error with the package to install."""
    assert tokens.count_tokens(TEXTS[0], "qwen-plus") == tokens.estimate_tokens(TEXTS[0])
    with pytest.raises(ImportError, match=r"modelstudio-integrations\[tokenizer\]"):
        tokens.token_ids("hello", "qwen-plus")
