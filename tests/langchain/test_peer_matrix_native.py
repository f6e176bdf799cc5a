"""The peer matrix, rows L50 and L52: the native protocol, and the sources of a search, which only it returns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.streaming import EventWriter
from modelstudio_core.types import ExtraDelta, FinishDelta, ReasoningDelta, ResponseDelta, TextDelta
from tests.langchain.service import USAGE_METADATA, WAYS, call, chat, pieces_of, tool_calls
from tests.langchain.ways import ALL_WAYS, STREAMS, by, by_v3
from tests.loopback import Loopback
from tests.service import REQUEST_ID, USAGE, Answer, Call, sent

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

VERSIONS = (None, "v0", "v1")
RESULTS = [
    {"site_name": "Example", "icon": "", "index": 1, "title": "Weather", "url": "https://example.com/weather"},
    {"site_name": "Sky", "icon": "https://sky.example/i.png", "index": 2, "title": "Sun", "url": "https://sky.example"},
]
CITED = [
    {
        "type": "citation",
        "url": "https://example.com/weather",
        "title": "Weather",
        "extras": {"site_name": "Example", "index": 1},
    },
    {
        "type": "citation",
        "url": "https://sky.example",
        "title": "Sun",
        "extras": {"site_name": "Sky", "icon": "https://sky.example/i.png", "index": 2},
    },
]
INFO = {"search_results": RESULTS}
RAN = [{"type": "code_interpreter", "code_interpreter": {"code": "123**21"}}]
SEARCHED = Answer(text=["It is ", "sunny ", "[1]."], usage=USAGE, extras={"search_info": INFO})
SEARCH: dict[str, Any] = {
    "protocol": "dashscope",
    "enable_search": True,
    "search_options": {"enable_source": True, "enable_citation": True},
}


def texts(message: AIMessage | AIMessageChunk) -> list[dict[str, Any]]:
    blocks: list[Any] = message.content_blocks
    return [{name: value for name, value in b.items() if name != "index"} for b in blocks if b["type"] == "text"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_L50_the_sources_of_a_search(way: str, version: str | None) -> None:
    """They are in the response metadata as sent, and are the citations of the text block."""
    with Loopback(SEARCHED) as server:
        message = await by(way, chat(server, output_version=version, **SEARCH))
        assert sent(server)["search_options"] == SEARCH["search_options"]
    assert message.response_metadata["search_info"] == INFO
    assert message.text == "It is sunny [1]."
    assert texts(message) == [{"type": "text", "text": "It is sunny [1].", "annotations": CITED}]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", STREAMS)
async def test_L50_the_sources_are_on_one_chunk(way: str, version: str | None) -> None:
    """langchain-core joins repeated values, even equal strings, so the sources are on one chunk, the last."""
    with Loopback(SEARCHED) as server:
        chunks = await pieces_of(chat(server, output_version=version, **SEARCH), way)
    assert [n for n, chunk in enumerate(chunks) if "search_info" in chunk.response_metadata] == [len(chunks) - 1]
    assert sum("citation" in repr(chunk.content) for chunk in chunks) == (1 if version == "v1" else 0)


@pytest.mark.parametrize("way", STREAMS)
async def test_L50_sources_in_v3_events(way: str) -> None:
    """The finished text block has the citations, and the end of the message the metadata."""
    with Loopback(replace(SEARCHED, extras={"search_info": INFO, "tool_info": RAN})) as server:
        events, message = await by_v3(chat(server, **SEARCH), way)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert finished == [{"type": "text", "text": "It is sunny [1].", "annotations": CITED}]
    assert events[-1]["metadata"]["search_info"] == INFO
    assert texts(message) == finished


def test_L50_sources_are_cited_once_in_v3_events() -> None:
    """By the text block that follows them, and not by a later one."""
    writer = EventWriter("run-1")
    said = [ResponseDelta(), ExtraDelta("search_info", INFO), TextDelta("a"), ReasoningDelta("hm"), TextDelta("b")]
    events: list[Any] = [
        event for delta in (*said, FinishDelta("stop")) for event in writer.convert(delta)
    ] + writer.end()
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert finished == [
        {"type": "text", "text": "a", "annotations": CITED},
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "b"},
    ]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_L50_sources_of_an_answer_without_text(way: str, version: str | None) -> None:
    """A tool call has no text to cite in, so the sources are in the metadata only."""
    answer = Answer(calls=[Call("call_1", "get", ["{}"])], extras={"search_info": INFO})
    with Loopback(answer) as server:
        message = await by(way, chat(server, output_version=version, **SEARCH))
    assert message.response_metadata["search_info"] == INFO
    assert texts(message) == []
    assert tool_calls(message) == [("call_1", "get", {})]


@pytest.mark.parametrize("way", ALL_WAYS)
async def test_L50_code_interpreter(way: str) -> None:
    """The executed code is in the metadata once, although each event repeats it."""
    with Loopback(Answer(reasoning=["hm"], text=["a", "b"], extras={"tool_info": RAN})) as server:
        llm = chat(server, protocol="dashscope", enable_thinking=True, enable_code_interpreter=True)
        message = await by(way, llm)
    assert message.response_metadata["tool_info"] == RAN
    assert message.text == "ab"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", WAYS)
async def test_L50_cited_text_is_sent_as_text(way: str, version: str | None) -> None:
    """Sources are kept in stored messages, and not sent in the history."""
    with Loopback(SEARCHED) as server:
        llm = chat(server, output_version=version, **SEARCH)
        message = await call(llm, way)
        if isinstance(message, AIMessageChunk):
            kept = load(dumpd(message), allowed_objects="all")
            assert kept.response_metadata["search_info"] == INFO
        await call(llm, way, [HumanMessage("hello"), message, HumanMessage("and?")])
        assert [said["content"] for said in sent(server)["messages"]] == ["hello", "It is sunny [1].", "and?"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_L50_no_search_no_sources(way: str, version: str | None) -> None:
    """Text without sources has no citations, and the metadata no empty lists."""
    empty = {"search_results": [], "extra_tool_info": []}
    with Loopback(Answer(text=["hi"], extras={"search_info": empty})) as server:
        message = await by(way, chat(server, output_version=version, **SEARCH))
    assert texts(message) == [{"type": "text", "text": "hi"}]
    assert "search_info" not in message.response_metadata


@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize(("model", "service"), [("qwen-plus", "text"), ("qwen3-vl-plus", "multimodal")])
async def test_L52_the_native_protocol(model: str, service: str, way: str) -> None:
    """`protocol="dashscope"` is enough: each method works, at the endpoint of the model."""
    answer = Answer(
        reasoning=["Let", " me"],
        text=["It ", "is"],
        calls=[Call("call_1", "get", ['{"a"', ": 1}"])],
        usage=USAGE,
        model=model,
    )
    with Loopback(answer) as server:
        llm = ChatModelStudio(model=model, protocol="dashscope", base_url=server.url, enable_thinking=True)
        message = await by(way, llm)
        request = server.requests[-1]
    assert request.path == f"/api/v1/services/aigc/{service}-generation/generation"
    assert request.headers["x-dashscope-sse"] == "enable"
    assert message.text == "It is"
    assert message.additional_kwargs["reasoning_content"] == "Let me"
    assert tool_calls(message) == [("call_1", "get", {"a": 1})]
    assert message.usage_metadata == USAGE_METADATA
    said = {name: message.response_metadata[name] for name in ("finish_reason", "model_name", "request_id")}
    assert said == {"finish_reason": "tool_calls", "model_name": model, "request_id": REQUEST_ID}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_L50_answers_do_not_share_sources(way: str) -> None:
    """Changing the sources of one answer does not affect another."""
    answer = Answer(text=["one"], others=["two"], extras={"search_info": {"search_results": RESULTS}})
    with Loopback(answer) as server:
        llm = chat(server, protocol="dashscope", n=2)
        asked = [[HumanMessage("hello")]]
        result = llm.generate(asked) if way == "invoke" else await llm.agenerate(asked)
    first, second = (made.message for made in result.generations[0])  # type: ignore[union-attr]
    first.response_metadata["search_info"]["search_results"].clear()
    assert second.response_metadata["search_info"] == {"search_results": RESULTS}


@pytest.mark.parametrize("way", WAYS)
async def test_L52_cumulative_streams(way: str) -> None:
    """With `incremental_output=False`, repeated text is returned once."""
    answer = Answer(reasoning=["ha", "ha"], text=["na ", "na "], calls=[Call("call_1", "get", ['{"a"', ": 1}"])])
    with Loopback(answer) as server:
        llm = chat(server, protocol="dashscope", streaming=True, incremental_output=False)
        message = await call(llm, way)
        assert server.requests[-1].json()["parameters"]["incremental_output"] is False
    assert (message.text, message.additional_kwargs["reasoning_content"]) == ("na na ", "haha")
    assert tool_calls(message) == [("call_1", "get", {"a": 1})]


@pytest.mark.parametrize("way", WAYS)
async def test_L52_headers_of_the_service(way: str) -> None:
    """The workspace is a setting; the vendor's moderation header is passed like any other."""
    inspection = '{"input":"cip","output":"cip"}'
    with Loopback(Answer(text=["hi"])) as server:
        llm = chat(
            server,
            protocol="dashscope",
            workspace="ws-1",
            default_headers={"X-DashScope-DataInspection": inspection},
        )
        await call(llm, way)
        headers = server.requests[-1].headers
    assert (headers["x-dashscope-workspace"], headers["x-dashscope-datainspection"]) == ("ws-1", inspection)
