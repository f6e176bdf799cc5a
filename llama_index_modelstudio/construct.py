"""Construct the objects of a streamed event without validation; see `modelstudio_core.construct`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock, ThinkingBlock

from modelstudio_core.construct import quick, shell

_ROLE = MessageRole.ASSISTANT


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


def _chat_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, delta: str, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message: dict[str, Any] = {"role": _ROLE, "additional_kwargs": message_kwargs, "blocks": blocks}
    state = {
        "message": shell(ChatMessage, message, {"role", "additional_kwargs", "blocks"}),
        "raw": raw,
        "delta": delta,
        "logprobs": None,
        "additional_kwargs": additional_kwargs,
    }
    return shell(ChatResponse, state, {"message", "raw", "delta", "additional_kwargs"})


def _validated_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, delta: str, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message = ChatMessage(role=_ROLE, additional_kwargs=message_kwargs, blocks=blocks)
    return ChatResponse(message=message, raw=raw, delta=delta, additional_kwargs=additional_kwargs)


_TEXTS = ("a", "{}", "<c>\n")
_BLOCKS: list[list[Any]] = [[], *([TextBlock(text=text)] for text in _TEXTS), [ThinkingBlock(content="a")]]
_RESPONSES = [
    {
        "blocks": blocks,
        "message_kwargs": {"reasoning_content": "a"},
        "raw": {"id": "1"},
        "delta": "a",
        "additional_kwargs": {"a": 1},
    }
    for blocks in _BLOCKS
]

text_block = quick(_text_block, TextBlock, [{"text": text} for text in _TEXTS])
"""Return a `TextBlock`."""

thinking_block = quick(_thinking_block, ThinkingBlock, [{"content": text} for text in _TEXTS])
"""Return a `ThinkingBlock`."""

chat_response = quick(_chat_response, _validated_response, _RESPONSES)
"""Return a `ChatResponse` with raw, delta and additional_kwargs, and an assistant message with `blocks`."""
