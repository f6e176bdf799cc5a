"""What comes out: chunk by chunk, as events of v2 and v3, added up, and whole; the same answer in each of these ways.

L and C numbers are rows of test_peer_matrix.py. The wire is composed in the service's dialect (tests/service.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.caches import InMemoryCache
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
from tests.langchain.ways import ALL_WAYS, STREAMS, by, by_v2, by_v3
from tests.loopback import Exchange, Loopback, sse_body
from tests.native import native_usage
from tests.protocols import both_protocols, spoken
from tests.service import CREATED, ID, REQUEST_ID, USAGE, Answer, Call, sent

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

VERSIONS = (None, "v0", "v1")
FULL = Answer(
    reasoning=["Let", " me ", "see"],
    text=["It ", "is ", " 21"],
    calls=[Call("call_1", "get", ['{"city"', ': "New ', 'York"}']), Call("call_2", "put", ['{"a": [1', ", 2]}"])],
    usage=USAGE,
)
CALLS = [("call_1", "get", {"city": "New York"}), ("call_2", "put", {"a": [1, 2]})]
_METADATA = {
    "model_provider": "modelstudio",
    "finish_reason": "tool_calls",
    "model_name": "qwen-plus",
    "id": ID,
    "request_id": REQUEST_ID,
    "created": CREATED,
}


def metadata() -> dict[str, Any]:
    """Return the metadata of a message. The native protocol gives an answer neither an id nor a time."""
    native = spoken.get() == "dashscope"
    known = {name: value for name, value in _METADATA.items() if not (native and name in ("id", "created"))}
    return known | {"usage": native_usage(USAGE) if native else USAGE}


def types(blocks: Any) -> list[str]:
    return [block["type"] for block in blocks]


# ---------------------------------------------------------------- the same answer, however it comes


@both_protocols
@pytest.mark.parametrize("thinking", [True, False], ids=["wire streams under invoke", "wire as asked"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.rotated
async def test_the_answer_is_the_same_in_all_ways(way: str, version: str | None, thinking: bool) -> None:
    """Text, reasoning, calls with their ids, usage and metadata do not depend on how the answer was asked for."""
    with Loopback(FULL) as server:
        message = await by(way, chat(server, output_version=version, enable_thinking=thinking))
    assert message.text == "It is  21"
    assert message.additional_kwargs == {"reasoning_content": "Let me see"}
    assert tool_calls(message) == CALLS
    assert message.invalid_tool_calls == []
    assert message.usage_metadata == USAGE_METADATA
    assert {name: message.response_metadata.get(name) for name in metadata()} == metadata()
    assert set(message.response_metadata) <= {*metadata(), "output_version", "token_usage"}
    assert str(message.id).startswith("lc_run-")
    blocks: Any = message.content_blocks
    assert types(blocks) == ["reasoning", "text", "tool_call", "tool_call"]
    assert (blocks[0]["reasoning"], blocks[1]["text"]) == ("Let me see", "It is  21")
    assert [(block["id"], block["name"], block["args"]) for block in blocks[2:]] == CALLS
    if version == "v1" or "v3" in way or "graph" in way:
        assert types(message.content) == types(blocks)
    else:
        assert message.content == "It is  21"


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "invoke in a graph", "ainvoke in a graph"])
async def test_an_answer_from_the_cache_is_the_same(way: str, version: str | None) -> None:
    """A cache hit asks nobody and gives the same message, which has cost nothing; a graph gets its events again."""
    cut = Call("call_3", "get", ['{"city": "Ro'])
    answer = Answer(FULL.reasoning, FULL.text, [*FULL.calls, cut], finish="length", usage=USAGE)
    with Loopback(answer) as server:
        llm = chat(server, cache=InMemoryCache(), output_version=version)
        first = await by(way.partition(" ")[0], llm)
        again = await by(way, llm)
        assert len(server.requests) == 1
    assert again.usage_metadata == {**USAGE_METADATA, "total_cost": 0}
    assert again.additional_kwargs == {"reasoning_content": "Let me see"}
    assert tool_calls(again) == CALLS
    assert [(call["id"], call["args"]) for call in again.invalid_tool_calls] == [("call_3", '{"city": "Ro')]
    assert (again.text, again.content_blocks) == (first.text, first.content_blocks)
    assert again.response_metadata == first.response_metadata


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_the_environment_asks_for_typed_blocks(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LC_OUTPUT_VERSION counts as `output_version`, which wins over it."""
    monkeypatch.setenv("LC_OUTPUT_VERSION", "v1")
    with Loopback(Answer(reasoning=["hm"], text=["so"])) as server:
        message = await by(way, chat(server))
        assert types(message.content) == ["reasoning", "text"]
        assert message.response_metadata["output_version"] == "v1"
        if way in WAYS:
            assert (await by(way, chat(server, output_version="v0"))).content == "so"


CUT: list[tuple[str, tuple[str, ...], str]] = [
    ("in a string", ('{"city"', ': "New '), "length"),
    ("where a prefix could be repaired", ('{"a": 1,',), "length"),
    ("before they began", (), "length"),
    ("not cut, but no JSON", ("{city: 1}",), "tool_calls"),
    ("not cut, but a list", ("[1, ", "2]"), "tool_calls"),
    ("not cut, but NaN", ('{"a": NaN}',), "tool_calls"),
]


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize(("pieces", "finish"), [case[1:] for case in CUT], ids=[case[0] for case in CUT])
@pytest.mark.rotated
async def test_a_cut_call_is_never_a_call(pieces: tuple[str, ...], finish: str, way: str, version: str | None) -> None:
    """Arguments cut by `length`, or that are no JSON object, are an invalid call, raw, in every way (L17)."""
    answer = Answer(calls=[Call("call_1", "get", ['{"a": 1}']), Call("call_2", "put", pieces)], finish=finish)
    with Loopback(answer) as server:
        message = await by(way, chat(server, output_version=version))
    assert tool_calls(message) == [("call_1", "get", {"a": 1})]
    [cut] = message.invalid_tool_calls
    # v3 has None for no text at all, which is langchain-core's doing
    assert (cut["id"], cut["name"], cut["args"] or "") == ("call_2", "put", "".join(pieces))
    assert cut["error"]
    assert [block["type"] for block in message.content_blocks] == ["tool_call", "invalid_tool_call"]
    assert message.response_metadata["finish_reason"] == finish


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_usage_that_never_came_is_none(way: str) -> None:
    """No counts are invented where the service gave none."""
    with Loopback(Answer(text=["hi"])) as server:
        assert (await by(way, chat(server))).usage_metadata is None


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_details_that_were_not_given_are_not_there(way: str) -> None:
    """Usage without details has none, and a total that is missing is the sum of its parts."""
    with Loopback(Answer(text=["hi"], usage={"prompt_tokens": 3, "completion_tokens": 2})) as server:
        message = await by(way, chat(server))
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_an_empty_answer_is_an_answer(way: str) -> None:
    """An answer of no text at all is an empty message with its finish reason."""
    with Loopback(Answer()) as server:
        message = await by(way, chat(server))
    assert (message.text, message.additional_kwargs, message.content_blocks) == ("", {}, [])
    assert message.response_metadata["finish_reason"] == "stop"


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_tokens_of_other_media(way: str) -> None:
    """Tokens of media are details of the usage where the service counts them."""
    usage = {
        **USAGE,
        "prompt_tokens_details": {"audio_tokens": 1, "image_tokens": 2, "video_tokens": 3},
        "completion_tokens_details": {"audio_tokens": 4},
    }
    with Loopback(Answer(text=["hi"], usage=usage)) as server:
        message = await by(way, chat(server))
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_token_details"] == {"audio": 1, "image": 2, "video": 3}
    assert message.usage_metadata["output_token_details"] == {"audio": 4}


# ---------------------------------------------------------------- chunk by chunk


@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_reasoning_and_text_come_piece_by_piece(way: str) -> None:
    """Each delta is a chunk of its own: reasoning in `additional_kwargs` and as a block, then text (L2, L4)."""
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server), way)
    assert [piece.additional_kwargs.get("reasoning_content") for piece in pieces[:3]] == ["Let", " me ", "see"]
    assert [piece.content_blocks for piece in pieces[:3]] == [
        [{"type": "reasoning", "reasoning": text}] for text in ("Let", " me ", "see")
    ]
    assert [piece.content for piece in pieces[:6]] == ["", "", "", "It ", "is ", " 21"]
    assert [piece.content_blocks for piece in pieces[3:6]] == [
        [{"type": "text", "text": text}] for text in ("It ", "is ", " 21")
    ]
    # an empty reasoning_content, which the service sends first and last, would be a block of nothing
    assert all("reasoning_content" not in piece.additional_kwargs for piece in pieces[3:])
    assert all(piece.content == "" for piece in pieces[6:])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_a_tool_s_fragments(way: str, version: str | None) -> None:
    """Fragments carry a stable index, id and name once and None after, and arguments verbatim (L14-L16)."""
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server, output_version=version), way)
    fragments = [fragment for piece in pieces for fragment in piece.tool_call_chunks]
    assert [(f["index"], f["id"], f["name"], f["args"]) for f in fragments] == [
        (0, "call_1", "get", ""),
        (0, None, None, '{"city"'),
        (0, None, None, ': "New '),
        (0, None, None, 'York"}'),
        (1, "call_2", "put", ""),
        (1, None, None, '{"a": [1'),
        (1, None, None, ", 2]}"),
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_text_and_fragments_are_never_in_one_chunk(way: str, version: str | None) -> None:
    """Nor reasoning and text: beside text, langchain-core takes a fragment for a finished call."""
    both = Answer(text=["so"], calls=[Call("call_1", "get", ["{", "}"])], reasoning=["hm"])
    events = both.events()
    # the service may say all in one event: a thought's end, a text and a call's beginning
    events[2]["choices"][0]["delta"] = {
        **events[3]["choices"][0]["delta"],
        "content": "so",
        "reasoning_content": "!",
    }
    del events[3]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*events):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        pieces = await pieces_of(chat(server, output_version=version), way)
    said = [
        (piece.additional_kwargs.get("reasoning_content"), piece.text, len(piece.tool_call_chunks)) for piece in pieces
    ]
    assert said[:4] == [("hm", "", 0), ("!", "", 0), (None, "so", 0), (None, "", 1)]
    assert all(bool(reasoning) + bool(text) + bool(calls) <= 1 for reasoning, text, calls in said)


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_what_is_said_once_is_on_the_last_chunk(way: str, version: str | None) -> None:
    """Metadata and usage are on the one chunk whose position is "last", since langchain-core adds what comes twice."""
    with Loopback(FULL) as server:
        *pieces, last = await pieces_of(chat(server, output_version=version), way)
    v1 = {"output_version": "v1"} if version == "v1" else {}
    # the provider may come often: equal ones are not added up
    assert {**v1, "model_provider": "modelstudio"}.items() >= {
        item for piece in pieces for item in piece.response_metadata.items()
    }
    assert all(piece.usage_metadata is None for piece in pieces)
    assert all(piece.chunk_position is None for piece in pieces)
    assert last.chunk_position == "last"
    assert last.response_metadata == metadata() | v1
    assert last.usage_metadata == USAGE_METADATA
    assert last.content == ([] if version == "v1" else "")


@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_all_chunks_have_the_run_s_id(way: str) -> None:
    """One id, langchain-core's, goes through the whole stream."""
    with Loopback(FULL) as server:
        ids = {piece.id for piece in await pieces_of(chat(server), way)}
    assert len(ids) == 1
    assert next(iter(ids)).startswith("lc_run-")


@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_v1_content_is_typed_blocks(way: str) -> None:
    """With output_version "v1" each chunk's content is its blocks, whose indices keep apart what is apart."""
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server, output_version="v1"), way)
    kinds = [(block["type"], block["index"]) for piece in pieces for block in piece.content]
    assert sorted(set(kinds)) == [
        ("reasoning", "lc_reasoning"),
        ("text", "lc_text"),
        ("tool_call_chunk", "lc_tool_call_0"),
        ("tool_call_chunk", "lc_tool_call_1"),
    ]
    assert all(piece.content == piece.content_blocks for piece in pieces)


@pytest.mark.parametrize("way", STREAMS)
async def test_interleaved_calls_are_kept_apart(way: str) -> None:
    """Fragments of two calls that come in turns are joined by index (L15)."""
    answer = Answer(calls=[Call("call_1", "get", ['{"a"', ": 1}"]), Call("call_2", "put", ['{"b"', ": 2}"])])
    first, *fragments, finish = answer.events()
    mixed = [first, *(event for pair in zip(fragments[:4], fragments[4:], strict=True) for event in pair), finish]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*mixed):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        for version in VERSIONS:
            message = await call(chat(server, output_version=version), way)
            assert tool_calls(message) == [("call_1", "get", {"a": 1}), ("call_2", "put", {"b": 2})]
        _, message = await by_v3(chat(server), way)
        assert tool_calls(message) == [("call_1", "get", {"a": 1}), ("call_2", "put", {"b": 2})]


# ---------------------------------------------------------------- events


@both_protocols
async def test_v2_events() -> None:
    """v2 events stream the chunks between a start and an end, which has the whole message."""
    with Loopback(FULL) as server:
        events, output = await by_v2(chat(server))
    kinds = [event["event"] for event in events]
    assert kinds[0] == "on_chat_model_start"
    assert kinds[-1] == "on_chat_model_end"
    assert set(kinds[1:-1]) == {"on_chat_model_stream"}
    chunks = [event["data"]["chunk"] for event in events[1:-1]]
    assert [chunk.additional_kwargs.get("reasoning_content") for chunk in chunks[:3]] == ["Let", " me ", "see"]
    assert "".join(chunk.text for chunk in chunks) == "It is  21"
    assert tool_calls(output) == CALLS


@both_protocols
async def test_v2_events_of_an_agent_s_invoke() -> None:
    """`astream_events` makes `ainvoke` stream as well: what core calls an implicit request."""
    with Loopback(FULL) as server:
        chain = chat(server) | (lambda message: message.text)
        events = [event async for event in chain.astream_events("hello", version="v2")]
    texts = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert [text for text in texts if text] == ["It ", "is ", " 21"]


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_v3_events(way: str, version: str | None) -> None:
    """v3 events open a block for each part of the answer, with ids and names that "" cannot wipe out (L16)."""
    with Loopback(FULL) as server:
        events, message = await by_v3(chat(server, output_version=version), way)
    start, *between, finish = events
    assert (start["event"], start["role"], start["id"]) == ("message-start", "ai", message.id)
    assert start["metadata"] == {"provider": "modelstudio", "model": "qwen-plus"}
    starts = [event["content"] for event in between if event["event"] == "content-block-start"]
    assert types(starts) == ["reasoning", "text", "tool_call_chunk", "tool_call_chunk"]
    assert [(block["id"], block["name"]) for block in starts[2:]] == [("call_1", "get"), ("call_2", "put")]
    deltas = [(event["index"], event["delta"]) for event in between if event["event"] == "content-block-delta"]
    assert deltas == [
        *((0, {"type": "reasoning-delta", "reasoning": text}) for text in ("Let", " me ", "see")),
        *((1, {"type": "text-delta", "text": text}) for text in ("It ", "is ", " 21")),
        *((2, {"type": "tool-call-delta", "args": args}) for args in ('{"city"', ': "New ', 'York"}')),
        *((3, {"type": "tool-call-delta", "args": args}) for args in ('{"a": [1', ", 2]}")),
    ]
    finished = {event["index"]: event["content"] for event in between if event["event"] == "content-block-finish"}
    assert types([finished[index] for index in range(4)]) == ["reasoning", "text", "tool_call", "tool_call"]
    assert finished[2] == {"type": "tool_call", "id": "call_1", "name": "get", "args": {"city": "New York"}}
    opened = [(event["event"], event["index"]) for event in between if event["event"] != "content-block-delta"]
    began, ended = "content-block-start", "content-block-finish"
    # text is finished where something else begins, calls at the end: only then is known whether they are whole
    assert opened == [(began, 0), (ended, 0), (began, 1), (ended, 1), (began, 2), (began, 3), (ended, 2), (ended, 3)]
    assert finish["event"] == "message-finish"
    assert finish["usage"] == USAGE_METADATA
    assert finish["metadata"] == metadata()


@both_protocols
async def test_v3_projections() -> None:
    """The typed projections of a v3 stream have the text, the reasoning and the calls."""
    with Loopback(FULL) as server:
        stream = chat(server).stream_events("hello", version="v3")
        assert list(stream.reasoning) == ["Let", " me ", "see"]
        assert list(stream.text) == ["It ", "is ", " 21"]
        assert [made["id"] for made in stream.tool_calls.get()] == ["call_1", "call_2"]
        astream = await chat(server).astream_events("hello", version="v3")
        assert [text async for text in astream.reasoning] == ["Let", " me ", "see"]
        assert await astream.text == "It is  21"


@pytest.mark.parametrize("way", STREAMS)
async def test_v3_keeps_the_order_of_thoughts_and_texts(way: str) -> None:
    """An answer that thinks again after it has spoken has its blocks in that order."""
    answer = Answer(reasoning=["one"], text=["two"])
    first, thought, text, finish = answer.events()

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(first, thought, text, thought, thought, text, finish):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        _, message = await by_v3(chat(server), way)
    blocks: Any = message.content
    assert [block.get("reasoning", block.get("text")) for block in blocks] == ["one", "two", "oneone", "two"]


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
    """Log probabilities are in the metadata, all of them, floats and all."""
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
    """Each token keeps what is said of it, whatever keys a server adds; but for `index`, by which langchain-core would
    make one of two."""
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
async def test_a_spoken_answer_is_joined(way: str, version: str | None) -> None:
    """An Omni model's audio is in `additional_kwargs["audio"]`: data and transcript joined, id and expiry once."""
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
async def test_a_spoken_answer_comes_piece_by_piece(way: str, version: str | None) -> None:
    """Each chunk has its piece of the audio, in `additional_kwargs` and as a block, beside the text of others."""
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
async def test_a_spoken_answer_in_v3_events(way: str) -> None:
    """The audio is one block, whose data comes in deltas while the text goes on, and is whole at its end."""
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
    """A message whose content somebody made a list of has those blocks, after its reasoning."""
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
    """Audio that begins as a WAV file does is said to be one, whatever its pieces begin with."""
    with Loopback(Answer(audio=[{"data": "UklGRiQA"}, {"data": "AAAA"}])) as server:
        message = await by(way, chat(server, model="qwen3-omni-flash", output_version=version))
    [block] = message.content_blocks
    assert (block["mime_type"], block["base64"]) == ("audio/wav", "UklGRiQAAAAA")  # type: ignore[typeddict-item]


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_audio_of_which_little_is_known(way: str) -> None:
    """What the service did not say of an audio is not there."""
    with Loopback(Answer(audio=[{"data": "AAAA"}])) as server:
        message = await by(way, chat(server, model="qwen3-omni-flash"))
    assert message.additional_kwargs == {"audio": {"data": "AAAA"}}


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_service_that_does_not_name_its_model(way: str) -> None:
    """Where the answer names no model, none is made up, and its key is not there."""
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
    """A handler hears of each chunk exactly once, and of the whole at the end."""
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
async def test_a_handler_hears_of_the_whole(way: str) -> None:
    """Under invoke a handler gets the model and the tokens in `llm_output`, where older ones look for them."""
    handler = Tokens()
    with Loopback(FULL) as server:
        await call(chat(server, enable_thinking=True), way, config={"callbacks": [handler]})
    [end] = handler.ends
    known = {"id": ID} if "id" in metadata() else {}
    assert end.llm_output == {"model_name": "qwen-plus", "token_usage": USAGE, **known}
    assert handler.tokens == []  # the wire streamed, but nobody asked LangChain for a stream


def test_a_run_manager_hears_each_token() -> None:
    """`_stream` with a run manager tells it of each chunk once; without one it tells nobody."""
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


async def test_an_async_run_manager_hears_each_token() -> None:
    """The same of `_astream`."""
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
    """`UsageMetadataCallbackHandler` finds the model's name and the usage, once, whatever the way (L23)."""
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
async def test_the_provider_is_who_langsmith_is_told_of(way: str) -> None:
    """`model_provider` of a message equals `ls_provider`, which summarising agents compare (L27, C13)."""
    with Loopback(FULL) as server:
        llm = chat(server)
        message = await by(way, llm)
        assert message.response_metadata["model_provider"] == llm._get_ls_params()["ls_provider"] == "modelstudio"


def test_the_provider_of_a_subclass_is_the_same() -> None:
    """A class of the user's own, whatever its name, is of the same provider; core would make one up from the name."""

    class ChatOfMine(ChatModelStudio):
        pass

    assert ChatOfMine(model="qwen-plus", api_key=SecretStr("sk-x"))._get_ls_params()["ls_provider"] == "modelstudio"


# ---------------------------------------------------------------- leaving early


class Endless:
    """Says two words, then nothing, and notes whether the client leaves."""

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
async def test_leaving_a_stream_closes_it(leave: Callable[[ChatModelStudio], Any]) -> None:
    """Whoever leaves a stream early closes its HTTP response at once, so that the service stops (L49)."""
    endless = Endless()
    with Loopback(endless) as server:
        await leave(chat(server))
        assert await endless.left(server)
