"""The cassettes, played through LlamaIndex.

Conversation and parameters of each request are read from the cassette and passed to ModelStudio. The sent request must
match the recorded one, so both adapters send the same for the same conversation.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_index_modelstudio import ModelStudio
from llama_index_modelstudio.errors import ModelStudioError
from modelstudio_core.http.transport import Transport
from tests.cassette_format import Interaction, cassette_names, play, read
from tests.cassette_oracle import Expected, asked, expected
from tests.llama_index.service import STREAMS, WAYS, made, responses_of, said, thought

NOT_GIVEN = (
    "messages",
    "stream",
    "stream_options",
    "protocol",
)  # the conversation, and what follows from the way of calling
USAGE_NAMES = {
    "prompt_tokens": ("prompt_tokens",),
    "completion_tokens": ("completion_tokens",),
    "total_tokens": ("total_tokens",),
    "reasoning_tokens": ("completion_tokens_details", "reasoning_tokens"),
    "cached_tokens": ("prompt_tokens_details", "cached_tokens"),
    "cache_creation_tokens": ("prompt_tokens_details", "cache_creation_input_tokens"),
}
# a request that did not stream is only made by the ways that do not
CASES = [
    (name, way)
    for name in cassette_names()
    for way in WAYS
    if asked(read(name)[1][0]).get("stream") or way not in STREAMS
]


def conversation(messages: list[dict[str, Any]]) -> list[ChatMessage]:
    """Return the messages of a request as LlamaIndex messages."""
    return [_message(message) for message in messages]


def _message(message: dict[str, Any]) -> ChatMessage:
    blocks: list[Any] = []
    if reasoning := message.get("reasoning_content"):
        blocks.append(ThinkingBlock(content=reasoning))
    content = message.get("content") or ""
    for part in [{"text": content}] if isinstance(content, str) else content:
        blocks.append(ImageBlock(url=part["image"]) if "image" in part else TextBlock(text=part["text"]))
        if mark := part.get("cache_control"):
            blocks.append(CachePoint(cache_control=CacheControl(type=mark["type"])))
    for call in message.get("tool_calls") or ():
        name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
        blocks.append(ToolCallBlock(tool_call_id=call["id"], tool_name=name, tool_kwargs=arguments))
    extra = {"tool_call_id": message["tool_call_id"]} if "tool_call_id" in message else {}
    return ChatMessage(role=message["role"], blocks=blocks, additional_kwargs=extra)


async def _play(llm: ModelStudio, way: str, request: dict[str, Any]) -> list[Any] | ModelStudioError:
    parameters = {name: value for name, value in request.items() if name not in NOT_GIVEN}
    if way not in STREAMS:
        parameters["stream"] = bool(request.get("stream"))  # whether the wire streams, though this way does not
    try:
        return await responses_of(llm, way, conversation(request["messages"]), **parameters)
    except ModelStudioError as error:
        return error


@pytest.mark.parametrize(("name", "way"), CASES)
async def test_results_match_the_bytes(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thought, text, calls, usage and finish reason; for an error, code, status and request ID."""

    async def asleep(transport: Transport, seconds: float) -> None:
        """Retry without delay."""

    monkeypatch.setattr(Transport, "sleep", lambda transport, seconds: None)
    monkeypatch.setattr(Transport, "asleep", asleep)
    _, interactions = read(name)
    answered = [interaction for interaction in interactions if interaction.status != 429]
    with play(name):
        protocol = asked(answered[0]).get("protocol", "openai")
        connection = {"base_url": "http://127.0.0.1", "api_key": "a-key-for-tests", "protocol": protocol}
        async with ModelStudio(model="qwen-plus", **connection) as llm:
            outcomes = [await _play(llm, way, asked(interaction)) for interaction in answered]
        llm.close()
    for outcome, interaction in zip(outcomes, answered, strict=True):
        if isinstance(outcome, ModelStudioError):
            _check_error(outcome, expected(interaction), interaction)
        else:
            _check_answer(llm, outcome[-1], expected(interaction))
            if way in STREAMS:
                _check_stream(outcome, expected(interaction))


def _check_answer(llm: ModelStudio, response: ChatResponse, answer: Expected) -> None:
    assert answer.error is None
    assert said(response) == answer.text
    assert thought(response) == answer.reasoning
    assert response.message.additional_kwargs.get("reasoning_content", "") == answer.reasoning
    calls = [(call, answer.finished(call)) for call in answer.calls]
    assert made(response) == [(call["id"], call["name"], args) for call, args in calls if args is not None]
    selected = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
    assert [(call.tool_id, call.tool_name, call.tool_kwargs) for call in selected] == made(response)
    assert [
        (call["id"], call["name"], call["args"]) for call in response.additional_kwargs.get("invalid_tool_calls", ())
    ] == [(call["id"], call["name"], call["args"]) for call, args in calls if args is None]
    counts = {name: _at(answer.usage, path) for name, path in USAGE_NAMES.items()}
    assert {name: response.additional_kwargs.get(name) for name in USAGE_NAMES} == counts
    assert response.additional_kwargs["finish_reason"] == answer.finish
    assert response.raw is not None
    assert response.raw.get("id") == answer.id
    assert response.additional_kwargs.get("search_info", {}).get("search_results", []) == answer.sources


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = (value or {}).get(name)
    return value


def _check_error(error: ModelStudioError, answer: Expected, interaction: Interaction) -> None:
    assert answer.error is not None
    assert (error.code, error.request_id) == (answer.error["code"], answer.request_id)
    assert error.status_code == (answer.status if interaction.status == 200 else interaction.status)
    assert answer.error["message"] in str(error)
    assert (error.partial.choices[0].text if error.partial else "") == answer.text


def _check_stream(responses: list[ChatResponse], answer: Expected) -> None:
    """Check that there is a response per event with content, in order, each with everything so far."""
    pieces = [
        "reasoning" if response.additional_kwargs.get("thinking_delta") else "text"
        for response in responses
        if response.delta or response.additional_kwargs.get("thinking_delta")
    ]
    assert pieces == answer.pieces
    heard = ""
    for response in responses:
        heard += response.delta or ""
        assert said(response) == heard
    assert [at for at, response in enumerate(responses) if "finish_reason" in response.additional_kwargs] == [
        len(responses) - 1
    ]


def test_every_kind_of_answer_has_a_cassette() -> None:
    """Streams, whole answers, tool loops and errors."""
    interactions = [interaction for name in cassette_names() for interaction in read(name)[1]]
    assert {interaction.streams for interaction in interactions} == {True, False}
    assert any(interaction.status >= 400 for interaction in interactions)
    assert any("tool_calls" in message for each in interactions for message in asked(each)["messages"])
    assert len(CASES) > 50
