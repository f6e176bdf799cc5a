"""What an LLM class of LlamaIndex has to do, row by row as integrations were compared (I1 to I36)."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ThinkingBlock, ToolCallBlock

from tests.llama_index.service import (
    COMPLETIONS,
    STREAMS,
    USAGE_COUNTS,
    WAYS,
    call,
    chat,
    made,
    responses_of,
    said,
    thought,
)
from tests.loopback import Loopback
from tests.service import USAGE, Answer, Call, sent

THINKS: dict[str, Any] = {"enable_thinking": True}
WHOLE = Answer(
    reasoning=["First ", "this, ", "then that."],
    text=["Hello ", "there", "."],
    calls=[Call("call_1", "weather", ['{"city"', ': "New ', 'York"}'])],
    usage=USAGE,
)


@pytest.mark.parametrize("way", WAYS)
async def test_i1_i4_i5_blocks(way: str) -> None:
    """Thought, answer and call are a block each, in this order, and the reasoning is in additional_kwargs too."""
    with Loopback(WHOLE) as server:
        response = await call(chat(server, **THINKS), way)
    assert response.message.role == MessageRole.ASSISTANT
    assert response.message.blocks == [
        ThinkingBlock(content="First this, then that.", num_tokens=6),
        TextBlock(text="Hello there."),
        ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs={"city": "New York"}),
    ]
    assert response.message.additional_kwargs["reasoning_content"] == "First this, then that."
    assert response.additional_kwargs["reasoning_content"] == "First this, then that."


@pytest.mark.parametrize("way", STREAMS)
async def test_i2_a_stream_is_cumulative(way: str) -> None:
    """Each response holds all up to it; `delta` and `thinking_delta` are what is new in it."""
    with Loopback(WHOLE) as server:
        responses = await responses_of(chat(server, **THINKS), way)
    assert [r.additional_kwargs["thinking_delta"] for r in responses if "thinking_delta" in r.additional_kwargs] == [
        "First ", "this, ", "then that.",
    ]  # fmt: skip
    assert [r.delta for r in responses if r.delta] == ["Hello ", "there", "."]
    for text, kind in ((said, "delta"), (thought, "thinking_delta")):
        heard = ""
        for response in responses[:-1]:
            heard += (response.delta if kind == "delta" else response.additional_kwargs.get(kind)) or ""
            assert text(response) == heard
    assert all(response.message.role == MessageRole.ASSISTANT for response in responses)
    assert said(responses[-1]) == "Hello there."
    assert made(responses[-1]) == [("call_1", "weather", {"city": "New York"})]


@pytest.mark.parametrize("way", WAYS)
async def test_i19_i20_usage(way: str) -> None:
    """Usage with its parts is on the response, streamed or not, and under `raw` too, where the token counter looks."""
    with Loopback(WHOLE) as server:
        response = await call(chat(server, **THINKS), way)
    assert {name: response.additional_kwargs[name] for name in USAGE_COUNTS} == USAGE_COUNTS
    assert response.raw["usage"] == USAGE_COUNTS
    assert response.additional_kwargs["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("way", COMPLETIONS)
async def test_i33_completions(way: str) -> None:
    """A completion is a chat of one user message, with the reasoning and usage beside its text."""
    with Loopback(WHOLE) as server:
        response = await call(chat(server, **THINKS), way, "Say hello.")
        assert sent(server)["messages"] == [{"role": "user", "content": "Say hello."}]
    assert response.text == "Hello there."
    assert response.additional_kwargs["reasoning_content"] == "First this, then that."
    assert response.additional_kwargs["prompt_tokens"] == 20


def test_the_history_goes_through_json() -> None:
    """A message survives JSON as it is, thought and calls too."""
    with Loopback(WHOLE) as server:
        message = chat(server, **THINKS).chat([ChatMessage("hello")]).message
    assert ChatMessage.model_validate_json(message.model_dump_json()) == message
