"""The same answer as chunks, v2 and v3 events, a sum of chunks, and whole. L and C numbers: test_peer_matrix.py."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.caches import InMemoryCache

from tests.langchain.service import USAGE_METADATA, WAYS, call, chat, pieces_of, tool_calls
from tests.langchain.streaming.answers import CALLS, FULL, VERSIONS, metadata, types
from tests.langchain.ways import ALL_WAYS, STREAMS, by, by_v2, by_v3
from tests.loopback import Exchange, Loopback, sse_body
from tests.protocols import both_protocols
from tests.service import USAGE, Answer, Call

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

# ---------------------------------------------------------------- the same answer, however it comes


@both_protocols
@pytest.mark.parametrize("thinking", [True, False], ids=["wire streams under invoke", "wire as asked"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.rotated
async def test_the_answer_is_the_same_in_all_ways(way: str, version: str | None, thinking: bool) -> None:
    """Text, reasoning, calls with IDs, usage and metadata do not depend on the method."""
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
    """A cache hit sends nothing and gives the same message, without cost. A graph gets its events."""
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
async def test_lc_output_version(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment variable applies unless `output_version` is set."""
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
async def test_truncated_calls_are_invalid(pieces: tuple[str, ...], finish: str, way: str, version: str | None) -> None:
    """With every method, arguments that are truncated or not a JSON object are an invalid call (L17)."""
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
async def test_missing_usage_is_none(way: str) -> None:
    """No counts are invented."""
    with Loopback(Answer(text=["hi"])) as server:
        assert (await by(way, chat(server))).usage_metadata is None


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_missing_usage_details_are_absent(way: str) -> None:
    """A missing total is the sum of its parts."""
    with Loopback(Answer(text=["hi"], usage={"prompt_tokens": 3, "completion_tokens": 2})) as server:
        message = await by(way, chat(server))
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_an_empty_answer_is_an_answer(way: str) -> None:
    """An empty message with its finish reason."""
    with Loopback(Answer()) as server:
        message = await by(way, chat(server))
    assert (message.text, message.additional_kwargs, message.content_blocks) == ("", {}, [])
    assert message.response_metadata["finish_reason"] == "stop"


@both_protocols
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_tokens_of_media(way: str) -> None:
    """They are details of the usage."""
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
async def test_reasoning_and_text_are_streamed(way: str) -> None:
    """Each delta is a chunk: reasoning in `additional_kwargs` and as a block, then text (L2, L4)."""
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
async def test_fragments_of_a_call(way: str, version: str | None) -> None:
    """A stable index, ID and name once and then None, and verbatim arguments (L14-L16)."""
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
    """Nor reasoning and text: langchain-core treats a fragment beside text as a complete call."""
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
async def test_metadata_is_on_the_last_chunk(way: str, version: str | None) -> None:
    """With usage, because langchain-core adds up repeated values."""
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
    """langchain-core's ID of the run."""
    with Loopback(FULL) as server:
        ids = {piece.id for piece in await pieces_of(chat(server), way)}
    assert len(ids) == 1
    assert next(iter(ids)).startswith("lc_run-")


@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_v1_content_is_typed_blocks(way: str) -> None:
    """With output_version "v1", content is a list of blocks with distinct indexes."""
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
    """Fragments are joined by index (L15)."""
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
    """v2 events have the chunks between a start and an end with the whole message."""
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
    """`astream_events` makes `ainvoke` stream as well."""
    with Loopback(FULL) as server:
        chain = chat(server) | (lambda message: message.text)
        events = [event async for event in chain.astream_events("hello", version="v2")]
    texts = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
    assert [text for text in texts if text] == ["It ", "is ", " 21"]


@both_protocols
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_v3_events(way: str, version: str | None) -> None:
    """v3 events open a block per part of the answer. Empty IDs and names do not overwrite earlier ones (L16)."""
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
    """The typed projections of a v3 stream have text, reasoning and calls."""
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
    """An answer with reasoning after text has its blocks in that order."""
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
