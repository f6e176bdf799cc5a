"""What only the native protocol has, through ModelStudio: the sources of a search, and what the service ran."""

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
    """They are in `additional_kwargs`, as the service gives them, and so is what it ran."""
    with Loopback(SEARCHED) as server:
        llm = chat(server, protocol="dashscope", enable_search=True, search_options={"enable_source": True})
        response = await call(llm, way)
        assert sent(server)["search_options"] == {"enable_source": True}
    assert response.additional_kwargs["search_info"] == INFO
    assert response.additional_kwargs["tool_info"] == RAN
    assert response.additional_kwargs["finish_reason"] == "stop"


@pytest.mark.parametrize("way", STREAMS)
async def test_sources_are_there_from_when_they_came(way: str) -> None:
    """Each response of a stream holds all that was said up to it: the sources come before the text."""
    with Loopback(SEARCHED) as server:
        responses = await responses_of(chat(server, protocol="dashscope"), way)
    assert [response.additional_kwargs["search_info"] for response in responses] == [INFO] * len(responses)
    assert len(responses) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_no_search_no_sources(way: str) -> None:
    """Empty lists of sources are none."""
    empty = {"search_results": [], "extra_tool_info": []}
    with Loopback(Answer(text=["hi"], extras={"search_info": empty})) as server:
        response = await call(chat(server, protocol="dashscope"), way)
    assert "search_info" not in response.additional_kwargs


@pytest.mark.parametrize("way", WAYS)
async def test_text_that_the_wire_repeats(way: str) -> None:
    """With `incremental_output=False` each event repeats the text so far; what comes out is said once."""
    answer = Answer(reasoning=["ha", "ha"], text=["na ", "na "], calls=[Call("call_1", "get", ['{"a"', ": 1}"])])
    with Loopback(answer) as server:
        llm = chat(server, protocol="dashscope", streaming=True, incremental_output=False)
        response = await call(llm, way)
        assert server.requests[-1].json()["parameters"]["incremental_output"] is False
    assert (thought(response), said(response)) == ("haha", "na na ")
    assert made(response) == [("call_1", "get", {"a": 1})]
