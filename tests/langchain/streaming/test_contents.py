"""Other content of chunks, callbacks, and closing streams early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManager,
    BaseCallbackHandler,
    CallbackManager,
    UsageMetadataCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import USAGE_METADATA, WAYS, call, chat, pieces_of, tool_calls
from tests.langchain.streaming.answers import CALLS, FULL, VERSIONS, metadata, types
from tests.langchain.ways import ALL_WAYS, STREAMS, by, by_v3
from tests.loopback import Exchange, Loopback, sse_body
from tests.protocols import both_protocols
from tests.service import ID, USAGE, Answer, sent

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

# ---------------------------------------------------------------- what else a chunk can hold

LOGPROBS = [
    {"token": "It ", "logprob": -0.5, "bytes": [73, 116, 32], "top_logprobs": []},
    {"token": "is", "logprob": -0.25, "bytes": [105, 115], "top_logprobs": [{"token": "was", "logprob": -2.5}]},
]


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.rotated
async def test_logprobs_are_joined(way: str, version: str | None) -> None:
    """The metadata has all of them, with floats."""
    with Loopback(Answer(text=["It ", "is"], logprobs=LOGPROBS)) as server:
        message = await by(way, chat(server, output_version=version, logprobs=True, top_logprobs=1))
        assert (sent(server)["logprobs"], sent(server)["top_logprobs"]) == (True, 1)
    assert message.response_metadata["logprobs"] == {"content": LOGPROBS}
    assert message.text == "It is"


KEYED: list[dict[str, Any]] = [
    {"index": 0, "id": "7", "type": "token", "rank": 1, "at": {"index": 0}},
    {"index": 0, "id": "7", "type": "token", "rank": 2, "at": {"index": 0}},
    {"index": "lc_0", "id": None, "type": "non_standard", "value": {"a": 1}},
    {"index": "lc_0", "id": "", "type": "non_standard", "value": [2]},
    {"index": False, "output_version": "v1"},
    {"index": 0.0, "token": "is"},
]


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.rotated
async def test_logprobs_are_never_merged(way: str, version: str | None) -> None:
    """Items keep additional keys, except `index`, by which langchain-core would merge them."""
    items = [LOGPROBS[0] | more for more in KEYED]
    with Loopback(Answer(text=["It "] * len(items), logprobs=items)) as server:
        message = await by(way, chat(server, output_version=version, logprobs=True))
    kept = [{name: value for name, value in item.items() if name != "index"} for item in items]
    assert message.response_metadata["logprobs"] == {"content": kept}


SPOKEN = [
    {"id": "audio_1", "data": "AAAA", "expires_at": 1770000600},
    {"id": "audio_1", "data": "BBBB", "transcript": "It ", "expires_at": 1770000600},
    {"data": "CCCC", "transcript": "is"},
]
JOINED = {"id": "audio_1", "data": "AAAABBBBCCCC", "transcript": "It is", "expires_at": 1770000600}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_audio_is_joined(way: str, version: str | None) -> None:
    """`additional_kwargs["audio"]` has joined data and transcript, and ID and expiry once."""
    with Loopback(Answer(audio=SPOKEN)) as server:
        llm = chat(server, model="qwen3-omni-flash", output_version=version, modalities=["text", "audio"])
        message = await by(way, llm)
        assert sent(server)["stream"] is True
    assert message.additional_kwargs == {"audio": JOINED}
    [block] = message.content_blocks
    assert {name: value for name, value in block.items() if name != "index"} == {
        "type": "audio",
        "id": "audio_1",
        "base64": "AAAABBBBCCCC",
        "mime_type": "audio/pcm",
        "extras": {"transcript": "It is", "expires_at": 1770000600},
    }
    assert message.text == ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_audio_is_streamed(way: str, version: str | None) -> None:
    """Each chunk has its fragment, in `additional_kwargs` and as a block."""
    with Loopback(Answer(text=["It ", "is"], audio=SPOKEN)) as server:
        pieces = await pieces_of(chat(server, model="qwen3-omni-flash", output_version=version), way)
    spoken = [piece for piece in pieces if "audio" in piece.additional_kwargs]
    assert [piece.additional_kwargs["audio"].get("data") for piece in spoken] == ["AAAA", "BBBB", "CCCC"]
    blocks: list[Any] = [block for piece in spoken for block in piece.content_blocks]
    assert [(block["type"], block["base64"]) for block in blocks] == [
        ("audio", "AAAA"),
        ("audio", "BBBB"),
        ("audio", "CCCC"),
    ]
    assert [block.get("extras", {}).get("transcript") for block in blocks] == [None, "It ", "is"]
    whole = pieces[0] + pieces[1:]
    assert whole.text == "It is"
    assert types(whole.content_blocks) == ["text", "audio"]


@pytest.mark.parametrize("way", STREAMS)
async def test_audio_in_v3_events(way: str) -> None:
    """One block with deltas, parallel to text, complete at its end."""
    answer = Answer(text=["It ", "is"], audio=[*SPOKEN, {"transcript": "."}])
    first, one, two, *spoken, finish = answer.events()

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(first, one, spoken[0], two, *spoken[1:], finish):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        events, message = await by_v3(chat(server, model="qwen3-omni-flash"), way)
    starts = [event["content"] for event in events if event["event"] == "content-block-start"]
    assert starts == [{"type": "text", "text": ""}, {"type": "audio", "base64": "", "id": "audio_1"}]
    deltas = [(event["index"], event["delta"]) for event in events if event["event"] == "content-block-delta"]
    assert [delta.get("text") or delta["data"] for _, delta in deltas] == ["It ", "AAAA", "is", "BBBB", "CCCC"]
    assert deltas[1] == (1, {"type": "data-delta", "data": "AAAA", "encoding": "base64"})
    finished: Any = message.content[1]
    assert (finished["base64"], finished["extras"]["transcript"]) == ("AAAABBBBCCCC", "It is.")
    assert message.text == "It is"


def test_blocks_of_a_message_that_was_changed() -> None:
    """If the content was replaced by a list, its blocks follow the reasoning."""
    with Loopback(Answer(reasoning=["hm"], text=["so"])) as server:
        message = chat(server).invoke("hello")
    message.content = ["so", {"type": "image", "url": "https://example.com/it"}]
    assert message.content_blocks == [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "so"},
        {"type": "image", "url": "https://example.com/it"},
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_audio_with_a_header_is_wav(way: str, version: str | None) -> None:
    """Regardless of how it is split."""
    with Loopback(Answer(audio=[{"data": "UklGRiQA"}, {"data": "AAAA"}])) as server:
        message = await by(way, chat(server, model="qwen3-omni-flash", output_version=version))
    [block] = message.content_blocks
    assert (block["mime_type"], block["base64"]) == ("audio/wav", "UklGRiQAAAAA")  # type: ignore[typeddict-item]


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_missing_audio_fields(way: str) -> None:
    """They are absent."""
    with Loopback(Answer(audio=[{"data": "AAAA"}])) as server:
        message = await by(way, chat(server, model="qwen3-omni-flash"))
    assert message.additional_kwargs == {"audio": {"data": "AAAA"}}


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_service_that_does_not_name_its_model(way: str) -> None:
    """The model name is absent."""
    with Loopback(Answer(text=["hi"], model="")) as server:
        message = await by(way, chat(server))
    assert "model_name" not in message.response_metadata


# ---------------------------------------------------------------- callbacks


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[Any] = []
        self.chunks: list[Any] = []
        self.ends: list[Any] = []
        self.errors: list[BaseException] = []

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:
        self.tokens.append(token)
        self.chunks.append(chunk)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.ends.append(response)

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.errors.append(error)


class AsyncTokens(Tokens, AsyncCallbackHandler):
    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_: Any) -> None:  # type: ignore[override]
        self.tokens.append(token)
        self.chunks.append(chunk)

    async def on_llm_end(self, response: Any, **_: Any) -> None:  # type: ignore[override]
        self.ends.append(response)


@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_each_chunk_is_one_token_call(way: str) -> None:
    """A handler gets each chunk once, and the whole message at the end."""
    handler = Tokens() if way == "stream" else AsyncTokens()
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server), way, config={"callbacks": [handler]})
    assert [chunk.message for chunk in handler.chunks] == pieces
    assert handler.tokens == [piece.content for piece in pieces]
    [end] = handler.ends
    assert tool_calls(end.generations[0][0].message) == CALLS
    assert end.generations[0][0].message.usage_metadata == USAGE_METADATA


@both_protocols
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_llm_output(way: str) -> None:
    """With invoke, handlers get model and tokens in `llm_output`."""
    handler = Tokens()
    with Loopback(FULL) as server:
        await call(chat(server, enable_thinking=True), way, config={"callbacks": [handler]})
    [end] = handler.ends
    known = {"id": ID} if "id" in metadata() else {}
    assert end.llm_output == {"model_name": "qwen-plus", "token_usage": USAGE, **known}
    assert handler.tokens == []  # the wire streamed, but nobody asked LangChain for a stream


def test_a_run_manager_gets_each_token() -> None:
    """`_stream` calls it once per chunk."""
    handler = Tokens()
    manager = CallbackManager([handler])
    with Loopback(FULL) as server:
        llm = chat(server)
        [run] = manager.on_chat_model_start({}, [[HumanMessage("hello")]], run_id=uuid4())
        chunks = list(llm._stream([HumanMessage("hello")], run_manager=run))
        assert handler.chunks == chunks
        assert handler.tokens == ["", "", "", "It ", "is ", " 21", *[""] * 8]
        silent = list(llm._stream([HumanMessage("hello")]))
    assert [chunk.message for chunk in silent] == [chunk.message for chunk in chunks]
    assert handler.chunks == chunks


async def test_an_async_run_manager_gets_each_token() -> None:
    """The same for `_astream`."""
    handler = AsyncTokens()
    manager = AsyncCallbackManager([handler])
    with Loopback(FULL) as server:
        llm = chat(server)
        [run] = await manager.on_chat_model_start({}, [[HumanMessage("hello")]], run_id=uuid4())
        chunks = [chunk async for chunk in llm._astream([HumanMessage("hello")], run_manager=run)]
        assert handler.chunks == chunks
        assert handler.tokens == ["", "", "", "It ", "is ", " 21", *[""] * 8]
        silent = [chunk async for chunk in llm._astream([HumanMessage("hello")])]
    assert [chunk.message for chunk in silent] == [chunk.message for chunk in chunks]
    assert handler.chunks == chunks


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_usage_handler_counts_every_way(way: str) -> None:
    """`UsageMetadataCallbackHandler` gets model and usage once with every method (L23)."""
    handler = UsageMetadataCallbackHandler()
    with Loopback(FULL) as server:
        await by(way, chat(server, callbacks=[handler]))
    assert handler.usage_metadata == {"qwen-plus": USAGE_METADATA}


@both_protocols
async def test_usage_is_counted_over_calls() -> None:
    """`get_usage_metadata_callback` adds up streams and whole answers."""
    with Loopback(FULL) as server, get_usage_metadata_callback() as counted:
        for way in WAYS:
            await call(chat(server), way)
    assert counted.usage_metadata["qwen-plus"]["total_tokens"] == 4 * 30
    assert counted.usage_metadata["qwen-plus"]["output_token_details"] == {"reasoning": 4 * 6}


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_model_provider_equals_ls_provider(way: str) -> None:
    """Summarizing agents compare them (L27, C13)."""
    with Loopback(FULL) as server:
        llm = chat(server)
        message = await by(way, llm)
        assert message.response_metadata["model_provider"] == llm._get_ls_params()["ls_provider"] == "modelstudio"


def test_the_provider_of_a_subclass_is_the_same() -> None:
    """langchain-core would derive one from the class name."""

    class ChatOfMine(ChatModelStudio):
        pass

    assert ChatOfMine(model="qwen-plus", api_key=SecretStr("sk-x"))._get_ls_params()["ls_provider"] == "modelstudio"


# ---------------------------------------------------------------- leaving early


class Endless:
    """Sends two words, then nothing, and records whether the client disconnects."""

    def __init__(self) -> None:
        self.gone: bool | None = None

    def __call__(self, exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*Answer(text=["a", "b"]).events()[:3], done=False):
            exchange.send_chunk(event)
        self.gone = exchange.client_gone(5)
        exchange.close()

    async def left(self, server: Loopback) -> bool:
        await asyncio.to_thread(server.wait_until, lambda _: self.gone is not None, 6)
        return self.gone is True


async def by_break(llm: ChatModelStudio) -> None:
    for _ in llm.stream("hello"):
        break


async def by_close(llm: ChatModelStudio) -> None:
    stream: Any = llm.stream("hello")
    next(stream)
    stream.close()


async def by_exception(llm: ChatModelStudio) -> None:
    def read() -> None:
        for _ in llm.stream("hello"):
            raise KeyError

    with pytest.raises(KeyError):
        read()


async def by_abreak(llm: ChatModelStudio) -> None:
    async for _ in llm.astream("hello"):
        break


async def by_aclose(llm: ChatModelStudio) -> None:
    stream: Any = llm.astream("hello")
    await anext(stream)
    await stream.aclose()


async def by_cancel(llm: ChatModelStudio) -> None:
    async def read() -> None:
        async for _ in llm.astream("hello"):
            heard.set()

    heard = asyncio.Event()
    task = asyncio.create_task(read())
    await heard.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_cancelled_invoke(llm: ChatModelStudio) -> None:
    task = asyncio.create_task(llm.ainvoke("hello", stream=True))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_v3_aclose(llm: ChatModelStudio) -> None:
    stream = await llm.astream_events("hello", version="v3")
    async for event in stream:
        if event["event"] == "content-block-delta":
            break
    await stream.aclose()


@pytest.mark.parametrize(
    "leave", [by_break, by_close, by_exception, by_abreak, by_aclose, by_cancel, by_cancelled_invoke, by_v3_aclose]
)
async def test_closing_a_stream_disconnects(leave: Callable[[ChatModelStudio], Any]) -> None:
    """Immediately, so that the service stops generating (L49)."""
    endless = Endless()
    with Loopback(endless) as server:
        await leave(chat(server))
        assert await endless.left(server)
