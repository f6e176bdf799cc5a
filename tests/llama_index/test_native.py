"""Features of the native protocol only: search sources and code execution."""

from __future__ import annotations

import pytest

from tests.llama_index.service import COMPLETIONS, STREAMS, WAYS, call, chat, made, responses_of, said, thought
from tests.loopback import Loopback
from tests.service import USAGE, Answer, Call, sent

INFO = {"search_results": [{"site_name": "Example", "index": 1, "title": "Weather", "url": "https://example.com"}]}
RAN = [{"type": "code_interpreter", "code_interpreter": {"code": "123**21"}}]
SEARCHED = Answer(text=["It is ", "sunny ", "[1]."], usage=USAGE, extras={"search_info": INFO, "tool_info": RAN})


@pytest.mark.parametrize("way", [*WAYS, *COMPLETIONS])
async def test_the_sources_of_a_search(way: str) -> None:
    """`additional_kwargs` has them unchanged, with the executed code."""
    with Loopback(SEARCHED) as server:
        llm = chat(server, protocol="dashscope", enable_search=True, search_options={"enable_source": True})
        response = await call(llm, way)
        assert sent(server)["search_options"] == {"enable_source": True}
    assert response.additional_kwargs["search_info"] == INFO
    assert response.additional_kwargs["tool_info"] == RAN
    assert response.additional_kwargs["finish_reason"] == "stop"


@pytest.mark.parametrize("way", STREAMS)
async def test_sources_in_a_stream(way: str) -> None:
    """They arrive before the text, and each later response has them."""
    with Loopback(SEARCHED) as server:
        responses = await responses_of(chat(server, protocol="dashscope"), way)
    assert [response.additional_kwargs["search_info"] for response in responses] == [INFO] * len(responses)
    assert len(responses) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_no_search_no_sources(way: str) -> None:
    """Empty lists are omitted."""
    empty = {"search_results": [], "extra_tool_info": []}
    with Loopback(Answer(text=["hi"], extras={"search_info": empty})) as server:
        response = await call(chat(server, protocol="dashscope"), way)
    assert "search_info" not in response.additional_kwargs


@pytest.mark.parametrize("way", WAYS)
async def test_cumulative_streams(way: str) -> None:
    """With `incremental_output=False`, repeated text is returned once."""
    answer = Answer(reasoning=["ha", "ha"], text=["na ", "na "], calls=[Call("call_1", "get", ['{"a"', ": 1}"])])
    with Loopback(answer) as server:
        llm = chat(server, protocol="dashscope", streaming=True, incremental_output=False)
        response = await call(llm, way)
        assert server.requests[-1].json()["parameters"]["incremental_output"] is False
    assert (thought(response), said(response)) == ("haha", "na na ")
    assert made(response) == [("call_1", "get", {"a": 1})]
