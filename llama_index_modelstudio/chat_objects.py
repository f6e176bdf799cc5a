"""Construct content blocks and chat responses without validation; see `modelstudio_core.unvalidated`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LogProb, MessageRole, TextBlock, ThinkingBlock

from modelstudio_core.unvalidated import construct, fast_if_equal

_ROLE = MessageRole.ASSISTANT


def _text_block(text: str) -> TextBlock:
    return construct(TextBlock, {"block_type": "text", "text": text}, {"text"})


def _thinking_block(content: str) -> ThinkingBlock:
    state: dict[str, Any] = {
        "block_type": "thinking",
        "content": content,
        "num_tokens": None,
        "additional_information": {},
    }
    return construct(ThinkingBlock, state, {"content"})


def _chat_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, delta: str, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message: dict[str, Any] = {"role": _ROLE, "additional_kwargs": message_kwargs, "blocks": blocks}
    state = {
        "message": construct(ChatMessage, message, {"role", "additional_kwargs", "blocks"}),
        "raw": raw,
        "delta": delta,
        "logprobs": None,
        "additional_kwargs": additional_kwargs,
    }
    return construct(ChatResponse, state, {"message", "raw", "delta", "additional_kwargs"})


def _whole_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, logprobs: Any, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message: dict[str, Any] = {"role": _ROLE, "additional_kwargs": message_kwargs, "blocks": blocks}
    state = {
        "message": construct(ChatMessage, message, {"role", "additional_kwargs", "blocks"}),
        "raw": raw,
        "delta": None,
        "logprobs": logprobs,
        "additional_kwargs": additional_kwargs,
    }
    return construct(ChatResponse, state, {"message", "raw", "delta", "logprobs", "additional_kwargs"})


def _validated_whole_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, logprobs: Any, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message = ChatMessage(role=_ROLE, additional_kwargs=message_kwargs, blocks=blocks)
    return ChatResponse(message=message, raw=raw, delta=None, logprobs=logprobs, additional_kwargs=additional_kwargs)


def _validated_response(
    blocks: list[Any], message_kwargs: dict[str, Any], raw: Any, delta: str, additional_kwargs: dict[str, Any]
) -> ChatResponse:
    message = ChatMessage(role=_ROLE, additional_kwargs=message_kwargs, blocks=blocks)
    return ChatResponse(message=message, raw=raw, delta=delta, additional_kwargs=additional_kwargs)


_TEXT_SAMPLES = ("a", "{}", "<c>\n")
_BLOCK_SAMPLES: list[list[Any]] = [
    [],
    *([TextBlock(text=text)] for text in _TEXT_SAMPLES),
    [ThinkingBlock(content="a")],
]
_RESPONSE_SAMPLES = [
    {
        "blocks": blocks,
        "message_kwargs": {"reasoning_content": "a"},
        "raw": {"id": "1"},
        "delta": "a",
        "additional_kwargs": {"a": 1},
    }
    for blocks in _BLOCK_SAMPLES
]

text_block = fast_if_equal(_text_block, TextBlock, [{"text": text} for text in _TEXT_SAMPLES])
"""Return a `TextBlock`."""

thinking_block = fast_if_equal(_thinking_block, ThinkingBlock, [{"content": text} for text in _TEXT_SAMPLES])
"""Return a `ThinkingBlock`."""

chat_response = fast_if_equal(_chat_response, _validated_response, _RESPONSE_SAMPLES)
"""Return a `ChatResponse` with raw, delta and additional_kwargs, and an assistant message with `blocks`."""

_WHOLE_SAMPLES = [
    {**{name: value for name, value in response.items() if name != "delta"}, "logprobs": logprobs}
    for response, logprobs in zip(
        _RESPONSE_SAMPLES, (None, None, [], [[LogProb(token="a", logprob=-1.0)]], None), strict=True
    )
]

whole_response = fast_if_equal(_whole_response, _validated_whole_response, _WHOLE_SAMPLES)
"""Return a whole `ChatResponse` with raw, logprobs and additional_kwargs, and an assistant message with `blocks`."""
