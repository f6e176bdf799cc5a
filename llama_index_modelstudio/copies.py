"""The objects of a streamed event, made quickly; see `modelstudio_core.copying`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock, ThinkingBlock

from modelstudio_core.copying import quick, shell


def _text_block(text: str) -> TextBlock:
    return shell(TextBlock, {"block_type": "text", "text": text}, {"text"})


def _thinking_block(content: str) -> ThinkingBlock:
    state: dict[str, Any] = {
        "block_type": "thinking",
        "content": content,
        "num_tokens": None,
        "additional_information": {},
    }
    return shell(ThinkingBlock, state, {"content"})


def _chat_message(role: MessageRole, additional_kwargs: dict[str, Any], blocks: list[Any]) -> ChatMessage:
    state = {"role": role, "additional_kwargs": additional_kwargs, "blocks": blocks}
    return shell(ChatMessage, state, {"role", "additional_kwargs", "blocks"})


def _chat_response(message: ChatMessage, raw: Any, delta: str, additional_kwargs: dict[str, Any]) -> ChatResponse:
    state = {
        "message": message,
        "raw": raw,
        "delta": delta,
        "logprobs": None,
        "additional_kwargs": additional_kwargs,
    }
    return shell(ChatResponse, state, {"message", "raw", "delta", "additional_kwargs"})


_TEXTS = ("a", "{}", "<c>\n")
_BLOCKS: list[list[Any]] = [[], *([TextBlock(text=text)] for text in _TEXTS), [ThinkingBlock(content="a")]]
_MESSAGES = [
    {"role": MessageRole.ASSISTANT, "additional_kwargs": {"reasoning_content": "a"}, "blocks": blocks}
    for blocks in _BLOCKS
]
_RESPONSES = [
    {"message": ChatMessage(**fields), "raw": {"id": "1"}, "delta": text, "additional_kwargs": {"a": 1}}
    for fields, text in zip(_MESSAGES, _TEXTS, strict=False)
]

text_block = quick(_text_block, TextBlock, [{"text": text} for text in _TEXTS])
"""A `TextBlock`."""

thinking_block = quick(_thinking_block, ThinkingBlock, [{"content": text} for text in _TEXTS])
"""A `ThinkingBlock`."""

chat_message = quick(_chat_message, ChatMessage, _MESSAGES)
"""A `ChatMessage` with role, additional_kwargs and blocks."""

chat_response = quick(_chat_response, ChatResponse, _RESPONSES)
"""A `ChatResponse` with message, raw, delta and additional_kwargs."""
