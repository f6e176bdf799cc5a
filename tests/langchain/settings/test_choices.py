"""Several answers to one request (n > 1)."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableLambda

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError
from tests.langchain.service import call, chat
from tests.langchain.settings.models import HELLO, KEY, several
from tests.loopback import Exchange, Loopback, sse_body
from tests.protocols import both_protocols
from tests.service import USAGE, Answer, sent


@both_protocols
async def test_several_answers_are_generations() -> None:
    """n > 1 returns n generations. The first one has the usage of the response."""
    with Loopback(Answer(text=["one"], others=["two", "three"], usage=USAGE)) as server:
        llm = chat(server, n=3)
        for result in (llm.generate([[HumanMessage("x")]]), await llm.agenerate([[HumanMessage("x")]])):
            found = result.generations[0]
            assert [generation.text for generation in found] == ["one", "two", "three"]
            infos = [generation.generation_info for generation in found]
            assert infos == [{"finish_reason": "stop"}] * 3
            usages = [generation.message.usage_metadata for generation in found]  # type: ignore[union-attr]
            assert [usage and usage["total_tokens"] for usage in usages] == [30, None, None]
        assert llm.invoke("x").text == "one"
        assert sent(server)["n"] == 3


async def test_several_answers_of_a_thinking_model() -> None:
    """Interleaved answers in a stream are kept apart."""

    def script(exchange: Exchange) -> None:
        said = [(0, "o"), (1, "t"), (0, "ne"), (1, "wo")]
        events = [{"choices": [{"index": index, "delta": {"content": text}}]} for index, text in said]
        events += [{"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]} for index in (1, 0)]
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*events):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        result = chat(server, n=2, enable_thinking=True).generate([[HumanMessage("x")]])
        assert [generation.text for generation in result.generations[0]] == ["one", "two"]
        assert sent(server)["stream"] is True


@both_protocols
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_several_answers_are_not_streamed(way: str) -> None:
    """A LangChain stream has one answer, so n > 1 raises an error before anything is sent."""
    with Loopback(HELLO) as server:
        for llm, options in ((chat(server, n=2), {}), (chat(server), {"n": 2})):
            with pytest.raises(ConfigurationError, match="n=2 cannot be streamed"):
                await call(llm, way, **options)
        assert server.requests == []
        assert (await call(chat(server, n=1), way)).text == "hello"


async def test_several_answers_of_an_object_that_streams() -> None:
    """With streaming=True, n > 1 still returns its generations."""
    with Loopback(several) as server:
        for settings, options in (({"n": 2}, {}), ({}, {"n": 2})):
            llm = chat(server, streaming=True, **settings)
            for result in (
                llm.generate([[HumanMessage("x")]], **options),
                await llm.agenerate([[HumanMessage("x")]], **options),
            ):
                assert [generation.text for generation in result.generations[0]] == ["one", "two"]
            assert llm.invoke("x", **options).text == "one"
            assert (await llm.ainvoke("x", **options)).text == "one"
            assert sent(server)["n"] == 2


@pytest.mark.parametrize("streaming", [None, True])
@pytest.mark.parametrize("per_call", [False, True])
async def test_several_answers_with_event_handlers(per_call: bool, streaming: bool | None) -> None:
    """`astream_events` does not turn an invoke with n > 1 into a stream."""
    with Loopback(several) as server:
        llm = chat(server, streaming=streaming, **({} if per_call else {"n": 2}))
        asked = llm.bind(n=2) if per_call else llm

        async def ainvoked(_: Any) -> str:
            return str((await asked.ainvoke("x")).text)

        def invoked(_: Any) -> str:
            return str(asked.invoke("x").text)

        for step in (ainvoked, invoked):
            events = [event async for event in RunnableLambda(step).astream_events("x", version="v2")]
            [end] = [event for event in events if event["event"] == "on_chat_model_end"]
            assert end["data"]["output"].text == "one"
            assert events[-1]["data"]["output"] == "one"
            assert not [event for event in events if event["event"] == "on_chat_model_stream"]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_stream_of_several_answers_with_streaming(way: str) -> None:
    """It raises an error, also in a chain."""
    with Loopback(several) as server:
        for llm in (chat(server, n=2, streaming=True), chat(server).bind(n=2), RunnableLambda(str) | chat(server, n=2)):
            with pytest.raises(ConfigurationError, match="n=2 cannot be streamed"):
                await call(llm, way)
        assert server.requests == []


async def test_generate_sums_tokens() -> None:
    """Over all prompts."""
    with Loopback(HELLO) as server:
        result = chat(server).generate([[HumanMessage("x")], [HumanMessage("y")]])
        assert result.llm_output == {
            "token_usage": {
                "prompt_tokens": 40,
                "completion_tokens": 20,
                "total_tokens": 60,
                "prompt_tokens_details": {"cached_tokens": 16, "cache_creation_input_tokens": 8, "text_tokens": 40},
                "completion_tokens_details": {"reasoning_tokens": 12, "text_tokens": 8},
            },
            "model_name": "qwen-plus",
        }
        assert [message.text for message in chat(server).batch(["x", "y"])] == ["hello"] * 2
        assert [message.text for message in await chat(server).abatch(["x", "y"])] == ["hello"] * 2


def test_outputs_without_usage() -> None:
    """Such as cached ones; they are ignored in the sum."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY)
    one = {"token_usage": {"total_tokens": 3}, "model_name": "qwen-plus"}
    assert llm._combine_llm_outputs([None, {}, one, {"token_usage": None}])["token_usage"] == {"total_tokens": 3}
