"""Blocks, deltas, usage, completions, errors and the end of a stream, with every method."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, CBEventType, TokenCountingHandler
from llama_index.core.callbacks.schema import EventPayload

from llama_index_modelstudio import ModelStudio, errors
from llama_index_modelstudio.outputs import from_core_usage
from modelstudio_core.types import Usage
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
from tests.loopback import Exchange, Loopback, reply_json, sse_body
from tests.native import native_usage
from tests.protocols import both_protocols
from tests.service import USAGE, Answer, Call, sent

pytestmark = both_protocols

THINKS: dict[str, Any] = {"enable_thinking": True}
WHOLE = Answer(
    reasoning=["First ", "this, ", "then that."],
    text=["Hello ", "there", "."],
    calls=[Call("call_1", "weather", ['{"city"', ': "New ', 'York"}'])],
    usage=USAGE,
)


@pytest.mark.parametrize("way", WAYS)
async def test_blocks(way: str) -> None:
    """Thought, answer and call are blocks in this order. additional_kwargs has the reasoning, too."""
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
async def test_a_stream_is_cumulative(way: str) -> None:
    """Each response has everything so far; `delta` and `thinking_delta` have the new part."""
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
    for response in responses:
        assert response.message.role == MessageRole.ASSISTANT
        assert response.message.additional_kwargs["reasoning_content"] == thought(response)
        assert response.additional_kwargs["reasoning_content"] == thought(response)
    assert responses[-1].delta == ""
    assert said(responses[-1]) == "Hello there."
    assert made(responses[-1]) == [("call_1", "weather", {"city": "New York"})]


@pytest.mark.parametrize("way", WAYS)
async def test_usage(way: str, each_protocol: str) -> None:
    """The response has usage with details, and `raw` the service's own, for the token counter."""
    with Loopback(WHOLE) as server:
        response = await call(chat(server, **THINKS), way)
    assert {name: response.additional_kwargs[name] for name in USAGE_COUNTS} == USAGE_COUNTS
    assert response.raw["usage"] == (USAGE if each_protocol == "openai" else USAGE | native_usage(USAGE))
    assert response.additional_kwargs["finish_reason"] == "tool_calls"


def test_every_count_of_the_usage() -> None:
    """None is mixed up or lost."""
    usage = Usage(1, 2, 3, *range(4, 13))
    assert from_core_usage(usage) == {
        "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens, "reasoning_tokens": usage.reasoning_tokens,
        "cached_tokens": usage.cached_tokens, "cache_creation_tokens": usage.cache_creation_tokens,
        "image_tokens": usage.input_image_tokens, "video_tokens": usage.input_video_tokens,
        "audio_tokens": usage.input_audio_tokens, "output_audio_tokens": usage.output_audio_tokens,
    }  # fmt: skip


@pytest.mark.parametrize("way", COMPLETIONS)
async def test_completions(way: str) -> None:
    """A completion is a chat of one user message, with reasoning and usage."""
    with Loopback(WHOLE) as server:
        response = await call(chat(server, **THINKS), way, "Say hello.")
        assert sent(server)["messages"] == [{"role": "user", "content": "Say hello."}]
    assert response.text == "Hello there."
    assert response.additional_kwargs["reasoning_content"] == "First this, then that."
    assert response.additional_kwargs["prompt_tokens"] == 20
    assert [each["function"]["name"] for each in response.additional_kwargs["tool_calls"]] == ["weather"]


def test_messages_can_be_stored_as_json() -> None:
    """With thought and calls."""
    with Loopback(WHOLE) as server:
        message = chat(server, **THINKS).chat([ChatMessage("hello")]).message
    assert ChatMessage.model_validate_json(message.model_dump_json()) == message


# ---------------------------------------------------------------- errors

REFUSALS = [
    (401, {"code": "invalid_api_key", "message": "Incorrect API key"}, errors.AuthenticationError),
    (403, {"code": "access_denied", "message": "no"}, errors.PermissionDeniedError),
    (404, {"code": "model_not_found", "message": "no such model"}, errors.NotFoundError),
    (400, {"code": "invalid_parameter_error", "message": "wrong"}, errors.BadRequestError),
    (400, {"code": "x", "message": "Range of input length should be [1, 9]"}, errors.ContextLengthError),
    (400, {"code": "data_inspection_failed", "message": "no"}, errors.ContentFilterError),
    (429, {"code": "limit_requests", "message": "slow down"}, errors.RateLimitError),
    (400, {"code": "Arrearage", "message": "pay"}, errors.QuotaError),
    (500, {"code": "internal_error", "message": "oops"}, errors.ServerError),
]


@pytest.mark.parametrize("way", WAYS + COMPLETIONS)
@pytest.mark.parametrize(("status", "error", "cls"), REFUSALS, ids=[cls.__name__ for _, _, cls in REFUSALS])
@pytest.mark.rotated
async def test_errors_raise(way: str, status: int, error: dict[str, str], cls: type[errors.ModelStudioError]) -> None:
    """A typed error with status, code and request ID; never an empty message."""
    with Loopback(reply_json(status, {"error": error, "request_id": "r-1"})) as server, pytest.raises(cls) as caught:
        await call(chat(server, api_key="sk-a-key-for-tests"), way)
    assert type(caught.value) is cls
    assert (caught.value.status_code, caught.value.code, caught.value.request_id) == (status, error["code"], "r-1")
    assert error["message"] in str(caught.value)


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("ending", ["failure", "cut"])
async def test_a_broken_stream_raises(way: str, ending: str) -> None:
    """After the responses so far, with the partial answer. No response is marked as the last."""
    failure = {"error": {"code": "data_inspection_failed", "message": "stopped"}} if ending == "failure" else None
    seen: list[Any] = []

    async def listen(llm: ModelStudio) -> None:
        if way == "stream_chat":
            for response in llm.stream_chat([ChatMessage("hello")]):
                seen.append(response)
        else:
            async for response in await llm.astream_chat([ChatMessage("hello")]):
                seen.append(response)

    answer = Answer(text=["Hello ", "there"], failure=failure, cut=ending == "cut")
    with Loopback(answer) as server, pytest.raises(errors.ModelStudioError) as caught:
        await listen(chat(server))
    assert isinstance(caught.value, errors.ContentFilterError if failure else errors.StreamTruncatedError)
    assert [response.delta for response in seen] == ["Hello ", "there"]
    assert caught.value.partial is not None
    assert caught.value.partial.choices[0].text == "Hello there"


@pytest.mark.parametrize("way", WAYS)
async def test_retries(way: str) -> None:
    """A throttled call is retried up to `max_retries` times."""
    throttled = reply_json(429, {"error": {"code": "limit_requests", "message": "wait"}}, {"retry-after-ms": "1"})
    with Loopback([throttled, WHOLE]) as server:
        assert said(await call(chat(server, max_retries=1), way)) == "Hello there."
        assert len(server.requests) == 2


@pytest.mark.parametrize("way", STREAMS)
async def test_invalid_arguments_raise_before_the_stream(way: str) -> None:
    """The call itself raises, not the first iteration, and nothing is sent."""

    async def begin(llm: ModelStudio, **wrong: Any) -> Any:
        stream = getattr(llm, way)([ChatMessage("hello")], **wrong)
        return await stream if way == "astream_chat" else stream

    with Loopback(WHOLE) as server:
        for wrong in ({"temprature": 1}, {"n": 2}, {"api_key": "sk-another"}):
            with pytest.raises(errors.ConfigurationError):
                await begin(chat(server), **wrong)
        assert not server.requests


# ---------------------------------------------------------------- invalid calls


@pytest.mark.parametrize("way", WAYS)
async def test_truncated_calls_are_invalid(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are in `invalid_tool_calls` with the raw arguments, and logged."""
    cut = Answer(
        calls=[Call("call_1", "weather", ['{"city": "Hang', 'zhou"}']), Call("call_2", "weather", ['{"city": "New '])],
        finish="length",
    )
    with Loopback(cut) as server, caplog.at_level(logging.WARNING, "llama_index_modelstudio"):
        llm = chat(server)
        responses = await responses_of(llm, way)
        selected = [llm.get_tool_calls_from_response(r, error_on_no_tool_call=False) for r in responses]
    last = responses[-1]
    [invalid] = last.additional_kwargs["invalid_tool_calls"]
    assert (invalid["id"], invalid["name"], invalid["args"]) == ("call_2", "weather", '{"city": "New ')
    assert "truncated" in invalid["error"]
    assert made(last) == [("call_1", "weather", {"city": "Hangzhou"})]
    assert [call.tool_id for call in selected[-1]] == ["call_1"]
    assert [call["id"] for call in last.message.additional_kwargs["tool_calls"]] == ["call_1"]
    assert [record.name for record in caplog.records] == ["llama_index_modelstudio"]
    assert "New" not in caplog.text


# ---------------------------------------------------------------- callbacks and the end of a stream


@pytest.mark.parametrize("way", WAYS + COMPLETIONS)
async def test_callbacks_get_the_last_response_at_the_end(way: str) -> None:
    """The end event is sent once with the answer, and LlamaIndex's counter gets the usage."""
    counter = TokenCountingHandler(tokenizer=str.split)
    ended: list[Any] = []

    class Handler(TokenCountingHandler):
        def on_event_end(self, event_type: CBEventType, payload: Any = None, event_id: str = "", **kwargs: Any) -> None:
            ended.append(payload)

    manager = CallbackManager([counter, Handler(tokenizer=str.split)])
    with Loopback(WHOLE) as server:
        responses = await responses_of(chat(server, callback_manager=manager, **THINKS), way)
    [payload] = ended
    assert payload[EventPayload.COMPLETION if way in COMPLETIONS else EventPayload.RESPONSE] is responses[-1]
    assert counter.prompt_llm_token_count == 20
    assert counter.completion_llm_token_count == 10


@pytest.mark.parametrize("each_protocol", ["openai"], indirect=True)
@pytest.mark.parametrize("way", STREAMS)
async def test_closing_a_stream_closes_the_response(way: str) -> None:
    """Immediately, because the service bills what it generates."""
    gone: list[bool] = []

    def unfinished(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        [event] = sse_body({"choices": [{"index": 0, "delta": {"content": "on "}}]}, done=False)
        exchange.send_chunk(event)
        gone.append(exchange.client_gone(5))

    with Loopback(unfinished) as server:
        llm = chat(server)
        if way == "stream_chat":
            stream = llm.stream_chat([ChatMessage("hello")])
            assert next(stream).delta == "on "
            stream.close()
        else:
            astream = await llm.astream_chat([ChatMessage("hello")])
            assert (await anext(astream)).delta == "on "
            await astream.aclose()
            del astream  # LlamaIndex's wrapper leaves ours to the event loop, which closes it in its next steps
            for _ in range(5):
                await asyncio.sleep(0)
        assert await asyncio.to_thread(server.wait_until, lambda _: bool(gone), 5)
    assert gone == [True]


@pytest.mark.parametrize("way", WAYS)
async def test_logprobs(way: str) -> None:
    """For each token with its alternatives."""
    items = [
        {"token": "Hello ", "logprob": -0.1, "bytes": [72], "top_logprobs": [{"token": "Hi", "logprob": -2.0}]},
        {"token": "there", "logprob": -0.2, "bytes": None, "top_logprobs": []},
    ]
    with Loopback(Answer(text=["Hello ", "there"], logprobs=items)) as server:
        response = await call(chat(server, logprobs=True), way)
    assert [[(each.token, each.logprob) for each in token] for token in response.logprobs] == [
        [("Hi", -2.0)],
        [("there", -0.2)],
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_audio_that_is_not_ascii(way: str) -> None:
    """It is not base64, so an error of this package is raised."""
    with Loopback(Answer(audio=[{"id": "audio_1"}, {"data": "AAé="}])) as server:
        llm = chat(server, model="qwen-plus", protocol="openai", modalities=["text", "audio"])
        with pytest.raises(errors.ProtocolError, match=r"audio\.data"):
            await call(llm, way)


@pytest.mark.parametrize("way", STREAMS)
async def test_audio_output(way: str) -> None:
    """A block with its transcript, which is sent in the history."""
    sound = base64.b64encode(b"RIFF____WAVE").decode()
    pieces = [{"id": "audio_1"}, {"data": sound[:8]}, {"data": sound[8:]}, {"transcript": "Hel"}, {"transcript": "lo."}]
    with Loopback([Answer(audio=pieces), Answer(text=["Yes."])]) as server:
        llm = chat(server, model="qwen3-omni-flash", protocol="openai", modalities=["text", "audio"])
        response = await call(llm, way)
        await call(llm, way, [ChatMessage("hello"), response.message, ChatMessage("Again?")])
        turns = sent(server)["messages"]
    [block] = response.message.blocks
    assert isinstance(block, AudioBlock)
    assert block.resolve_audio().read() == b"RIFF____WAVE"
    assert response.message.additional_kwargs["audio"] == {"id": "audio_1", "transcript": "Hello."}
    assert turns[1] == {"role": "assistant", "content": "Hello."}
    assert ChatMessage.model_validate_json(response.message.model_dump_json()) == response.message


@pytest.mark.parametrize("way", WAYS)
async def test_a_response_without_usage_has_none(way: str) -> None:
    """Counts are not invented."""
    with Loopback(Answer(text=["Hello"])) as server:
        response = await call(chat(server), way)
    assert not response.additional_kwargs.keys() & USAGE_COUNTS.keys()
    assert "usage" not in response.raw


@pytest.mark.parametrize("way", ["achat", "astream_chat", "acomplete", "astream_complete"])
async def test_native_async(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Async calls use no threads."""

    def no_thread(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a thread")

    with Loopback(WHOLE) as server:
        llm = chat(server)
        monkeypatch.setattr(asyncio, "to_thread", no_thread)
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", no_thread)
        await call(llm, way)
        assert len(server.requests) == 1
        await llm.aclose()
