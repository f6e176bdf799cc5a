"""The objects of a streamed event, made quickly; see `modelstudio_core.copying`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock, ThinkingBlock

from modelstudio_core.copying import copier

_TEXTS = ("a", "{}", "<c>\n")
_BLOCKS: list[list[Any]] = [[TextBlock(text=text)] for text in _TEXTS] + [[ThinkingBlock(content="a")]]
_MESSAGES = [
    {"role": MessageRole.ASSISTANT, "additional_kwargs": {"reasoning_content": "a"}, "blocks": blocks}
    for blocks in ([], *_BLOCKS)
]

text_block = copier(TextBlock, [{"text": text} for text in _TEXTS])
"""A `TextBlock`."""

thinking_block = copier(ThinkingBlock, [{"content": text} for text in _TEXTS])
"""A `ThinkingBlock`."""

chat_message = copier(ChatMessage, _MESSAGES)
"""A `ChatMessage` with role, additional_kwargs and blocks."""

chat_response = copier(
    ChatResponse,
    [
        {"message": ChatMessage(**fields), "raw": {"id": "1"}, "delta": text, "additional_kwargs": {"a": 1}}
        for fields, text in zip(_MESSAGES, _TEXTS, strict=False)
    ],
)
"""A `ChatResponse` with message, raw, delta and additional_kwargs."""
