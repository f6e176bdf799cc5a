"""The peer matrix, first part: what comes out. L rows and C complaints: see test_peer_matrix.py."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core import exceptions as lc
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio import errors as ours
from tests.langchain.service import USAGE_METADATA, WAYS, call, chat, pieces_of, tool_calls
from tests.langchain.ways import ALL_WAYS, STREAMS, by, by_v3
from tests.loopback import Exchange, Loopback, reply_json, sse_body
from tests.service import REQUEST_ID, USAGE, Answer, Call, sent

# `stream_events(version="v3")` is in beta
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")

every_way = pytest.mark.parametrize("way", ALL_WAYS)
four_ways = pytest.mark.parametrize("way", WAYS)
streamed = pytest.mark.parametrize("way", STREAMS)
THINKS = {"enable_thinking": True}
FULL = Answer(
    reasoning=["Let", " me ", "see"],
    text=["haha", "ha", " so"],
    calls=[Call("call_1", "get", ['{"city": "New ', " York", '"}']), Call("call_2", "put", ['{"a": [1', ", 2]}"])],
    usage=USAGE,
)
CALLS = [("call_1", "get", {"city": "New  York"}), ("call_2", "put", {"a": [1, 2]})]

# ---------------------------------------------------------------- reasoning


@every_way
async def test_L1_C1_reasoning_of_an_answer(way: str) -> None:
    """It is in `additional_kwargs["reasoning_content"]`."""
    with Loopback(Answer(reasoning=["Let", " me ", "see"], text=["so"])) as server:
        message = await by(way, chat(server, **THINKS))
    assert message.additional_kwargs["reasoning_content"] == "Let me see"


@streamed
async def test_L2_C1_reasoning_is_streamed(way: str) -> None:
    """Each delta of the reasoning is a chunk."""
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server, **THINKS), way)
    heard = [piece.additional_kwargs["reasoning_content"] for piece in pieces if piece.additional_kwargs]
    assert heard == ["Let", " me ", "see"]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_C26_the_other_name_of_reasoning(streams: bool, field: str) -> None:
    """Servers that call the field `reasoning` are supported."""
    said = {"role": "assistant", "content": "so", field: "hm"}
    events = sse_body({"choices": [{"index": 0, "delta": said, "finish_reason": "stop"}]})

    def script(exchange: Exchange) -> None:
        if not streams:
            reply_json(200, {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})(exchange)
            return
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in events:
            exchange.send_chunk(event)

    with Loopback(script) as server:
        message = chat(server, streaming=streams).invoke("hello")
    assert (message.additional_kwargs, message.text) == ({"reasoning_content": "hm"}, "so")


@every_way
async def test_L3_reasoning_beside_tool_calls(way: str) -> None:
    """A message with tool calls has the reasoning, too."""
    with Loopback(FULL) as server:
        message = await by(way, chat(server, **THINKS))
    assert message.additional_kwargs["reasoning_content"] == "Let me see"
    assert tool_calls(message) == CALLS


@every_way
async def test_L4_C1_the_reasoning_block_is_first(way: str) -> None:
    """The first of `content_blocks` is the reasoning."""
    with Loopback(FULL) as server:
        message = await by(way, chat(server, **THINKS))
    blocks: Any = message.content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "text", "tool_call", "tool_call"]
    assert blocks[0]["reasoning"] == "Let me see"


@every_way
@pytest.mark.parametrize("text", ["<think>no</think> yes", '<tool_call>{"name": "get"}</tool_call>'])
async def test_C27_C28_text_is_never_parsed(text: str, way: str) -> None:
    """Tags in text or reasoning are kept verbatim."""
    with Loopback(Answer(reasoning=[text], text=[text])) as server:
        message = await by(way, chat(server, **THINKS))
    assert (message.text, message.additional_kwargs["reasoning_content"]) == (text, text)
    assert message.tool_calls == []


# ---------------------------------------------------------------- tool calls


@every_way
async def test_L14_C7_arguments_are_joined_verbatim(way: str) -> None:
    """Spaces and repeated text in arguments are kept."""
    with Loopback(FULL) as server:
        message = await by(way, chat(server, **THINKS))
    assert tool_calls(message)[0] == ("call_1", "get", {"city": "New  York"})
    assert message.text == "hahaha so"


@every_way
async def test_L15_C7_several_calls(way: str) -> None:
    """Several calls of one answer are complete, each with its ID and name once."""
    with Loopback(FULL) as server:
        assert tool_calls(await by(way, chat(server))) == CALLS


@tool
def get(city: str) -> str:
    """Get it."""
    return f"21 in {city}"


@streamed
async def test_L16_C4_v3_keeps_id_and_name(way: str) -> None:
    """Later fragments with `"id": ""` and an empty name overwrite neither, in v3 events and in an agent."""
    with Loopback(FULL) as server:
        events, message = await by_v3(chat(server), way)
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert [(block["id"], block["name"]) for block in finished if block["type"] == "tool_call"] == [
        ("call_1", "get"),
        ("call_2", "put"),
    ]
    assert tool_calls(message) == CALLS

    asks = Answer(calls=[Call("call_9", "get", ['{"city"', ': "X"}'])])
    with Loopback([asks, Answer(text=["21"])]) as server:
        agent = create_agent(chat(server), [get])
        given: Any = {"messages": [HumanMessage("how warm?")]}
        if way == "stream":
            state = agent.stream_events(given, version="v3").output
        else:
            state = await (await agent.astream_events(given, version="v3")).output()
        assert state["messages"][-1].text == "21"
        turn, result = sent(server)["messages"][-2:]
    assert (turn["tool_calls"][0]["id"], turn["tool_calls"][0]["function"]["name"]) == ("call_9", "get")
    assert (result["tool_call_id"], result["content"]) == ("call_9", "21 in X")


@every_way
async def test_L17_C8_truncated_arguments_are_invalid(way: str) -> None:
    """Arguments truncated by `length` are an invalid call with the raw text."""
    cut = Answer(calls=[Call("call_1", "get", ['{"city": "New '])], finish="length")
    with Loopback(cut) as server:
        message = await by(way, chat(server))
    assert message.tool_calls == []
    assert [(found["id"], found["args"]) for found in message.invalid_tool_calls] == [("call_1", '{"city": "New ')]


@every_way
async def test_L18_C23_null_arguments(way: str) -> None:
    """`arguments: null`, which the service sends at the end of a call (tests/service.py), is ignored."""
    with Loopback(Answer(calls=[Call("call_1", "get", ())])) as server:
        assert tool_calls(await by(way, chat(server))) == [("call_1", "get", {})]


@streamed
@pytest.mark.parametrize("index", [None, -1, "missing"])
async def test_C21_fragments_without_an_index(index: Any, way: str) -> None:
    """Fragments without an index, as some servers send them, are one call."""
    events = Answer(calls=[Call("call_1", "get", ['{"city"', ': "X"}'])]).events()
    for event in events:
        for fragment in event["choices"][0]["delta"].get("tool_calls", ()):
            fragment.pop("index") if index == "missing" else fragment.update(index=index)

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*events):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        assert tool_calls(await call(chat(server), way)) == [("call_1", "get", {"city": "X"})]


# ---------------------------------------------------------------- usage and metadata


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_L19_usage_of_a_whole_answer(way: str) -> None:
    """`invoke` returns `usage_metadata`, whether the request streams or not."""
    with Loopback(FULL) as server:
        for thinking in (True, False):
            assert (await call(chat(server, enable_thinking=thinking), way)).usage_metadata == USAGE_METADATA


@streamed
async def test_L20_C12_usage_of_a_stream(way: str) -> None:
    """Streams request usage from any host, and have it on one chunk only."""
    with Loopback(FULL) as server:
        pieces = await pieces_of(chat(server), way)
        assert sent(server)["stream_options"] == {"include_usage": True}
    assert [piece.usage_metadata for piece in pieces if piece.usage_metadata] == [USAGE_METADATA]


@every_way
async def test_L21_L22_details_of_usage(way: str) -> None:
    """Cache reads, cache writes and reasoning tokens are separate."""
    with Loopback(FULL) as server:
        usage = (await by(way, chat(server))).usage_metadata
    assert usage is not None
    assert usage["input_token_details"] == {"cache_read": 8, "cache_creation": 4}
    assert usage["output_token_details"] == {"reasoning": 6}


async def test_L23_C12_usage_is_counted_by_callbacks() -> None:
    """`get_usage_metadata_callback` counts each call once, with every method."""
    with Loopback(FULL) as server, get_usage_metadata_callback() as counted:
        for way in ALL_WAYS:
            await by(way, chat(server))
    assert counted.usage_metadata["qwen-plus"]["total_tokens"] == 30 * len(ALL_WAYS)


@every_way
async def test_L24_L25_model_and_request(way: str) -> None:
    """The message has the model that answered and the request ID, for the vendor's support."""
    with Loopback(FULL) as server:
        metadata = (await by(way, chat(server))).response_metadata
    assert (metadata["model_name"], metadata["request_id"]) == ("qwen-plus", REQUEST_ID)


@every_way
async def test_L27_C13_provider_of_message_and_trace(way: str) -> None:
    """`model_provider` of a message equals `ls_provider`: SummarizationMiddleware compares them."""
    with Loopback(FULL) as server:
        llm = chat(server)
        message = await by(way, llm)
    assert message.response_metadata["model_provider"] == llm._get_ls_params()["ls_provider"] == "modelstudio"


# ---------------------------------------------------------------- errors


def refusal(status: int, code: str) -> Any:
    return reply_json(status, {"error": {"message": "No.", "code": code}, "request_id": "req-1"})


ERRORS: list[tuple[int, str, type[lc.ModelError]]] = [
    (400, "invalid_parameter_error", lc.ModelInvalidRequestError),
    (401, "invalid_api_key", lc.ModelAuthenticationError),
    (403, "Model.AccessDenied", lc.ModelPermissionDeniedError),
    (404, "model_not_found", lc.ModelNotFoundError),
    (429, "Throttling.RateQuota", lc.ModelRateLimitError),
    (500, "InternalError", lc.ModelAPIError),
    (503, "ModelUnavailable", lc.ModelAPIError),
]


@pytest.mark.parametrize(("status", "code", "cls"), ERRORS, ids=[str(case[0]) for case in ERRORS])
@four_ways
async def test_L26_L30_L31_C6_errors_are_typed(way: str, status: int, code: str, cls: type[Exception]) -> None:
    """An error has langchain-core's class and ours, with status, code, message and request ID; also 429 and 5xx."""
    with Loopback(refusal(status, code)) as server, pytest.raises(cls) as raised:
        await call(chat(server), way)
    error: Any = raised.value
    assert isinstance(error, ours.APIStatusError)
    assert (error.status_code, error.code, error.request_id) == (status, code, "req-1")
    assert "No." in str(error)


@four_ways
async def test_L32_transient_errors_are_retried(way: str) -> None:
    """Throttling, server errors and lost connections are retried after Retry-After."""
    busy = reply_json(429, {"error": {"message": "slow down", "code": "Throttling"}}, {"retry-after-ms": "1"})
    lost = lambda exchange: exchange.reset()  # noqa: E731
    failed = reply_json(500, {"error": {"message": "oh", "code": "InternalError"}}, {"retry-after": "0"})
    with Loopback([busy, failed, busy, Answer(text=["hi"])]) as server:
        assert (await call(chat(server, max_retries=3), way)).text == "hi"
        assert len(server.requests) == 4
    with Loopback([lost, Answer(text=["hi"])]) as server:
        assert (await call(chat(server, max_retries=1), way)).text == "hi"
    with Loopback(busy) as server:
        with pytest.raises(ours.RateLimitError) as raised:
            await call(chat(server, max_retries=1), way)
        assert len(server.requests) == 2
    assert raised.value.retry_after == 0.001


MIDSTREAM = {"error": {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"}}


@every_way
async def test_L33_C31_an_error_in_the_stream(way: str) -> None:
    """An error event in mid-stream raises its error, with the partial answer."""
    failing = Answer(text=["It ", "is"], failure=MIDSTREAM)
    with Loopback(failing) as server, pytest.raises(ours.ContentFilterError) as raised:
        await by(way, chat(server, **THINKS))
    assert raised.value.partial is not None
    assert raised.value.partial.choices[0].text == "It is"


@every_way
async def test_L34_truncated_answer(way: str) -> None:
    """A stream that ends without a finish reason is an error, not a short answer."""
    with Loopback(Answer(text=["It ", "is"], cut=True)) as server, pytest.raises(ours.StreamTruncatedError):
        await by(way, chat(server, **THINKS))


# ---------------------------------------------------------------- streams


@streamed
async def test_L35_a_stream_streams(way: str) -> None:
    """`stream` of a model without options yields the first words before the service has sent the last."""
    heard: list[str] = []
    first, word, *rest = Answer(text=["a", "b"]).events()

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(first, word, done=False):
            exchange.send_chunk(event)
        until = time.monotonic() + 5
        while not heard and time.monotonic() < until:
            exchange.wait(0.005)
        assert heard == ["a"]
        for event in sse_body(*rest):
            exchange.send_chunk(event)

    with Loopback(script) as server:
        llm = chat(server)
        if way == "stream":
            for piece in llm.stream("hello"):
                heard += [piece.text] if piece.text else []
        else:
            async for piece in llm.astream("hello"):
                heard += [piece.text] if piece.text else []
    assert heard == ["a", "b"]


class NoThreads(ThreadPoolExecutor):
    """An event loop's executor that refuses to be used."""

    def submit(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a thread was asked for")


@pytest.mark.parametrize("way", ["ainvoke", "ainvoke streaming", "astream", "astream v2", "astream v3"])
async def test_L36_C14_async_needs_no_threads(way: str) -> None:
    """Async methods run on the event loop only."""
    with Loopback(FULL) as server:
        asyncio.get_running_loop().set_default_executor(NoThreads())
        assert (await by(way, chat(server))).text == "hahaha so"


@pytest.mark.parametrize("after", [0, 2], ids=["before the first words", "after them"])
@four_ways
async def test_L37_read_timeout(way: str, after: int) -> None:
    """A service that sends nothing for longer than `timeout` is a timeout error, sync and async, also in mid-answer."""

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*Answer(text=["a", "b"]).events()[:after], done=False):
            exchange.send_chunk(event)
        exchange.wait(10)

    with Loopback(script) as server, pytest.raises(lc.ModelTimeoutError) as raised:
        await call(chat(server, timeout=0.2, **THINKS), way)
    assert isinstance(raised.value, ours.APITimeoutError)


@streamed
async def test_L49_closing_a_stream_closes_the_response(way: str) -> None:
    """So that the service stops generating."""
    left: list[bool] = []

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        for event in sse_body(*Answer(text=["a", "b"]).events()[:2], done=False):
            exchange.send_chunk(event)
        left.append(exchange.client_gone(5))
        exchange.close()

    with Loopback(script) as server:
        llm: ChatModelStudio = chat(server)
        if way == "stream":
            for _ in llm.stream("hello"):
                break
        else:
            stream: Any = llm.astream("hello")
            await anext(stream)
            await stream.aclose()
        await asyncio.to_thread(server.wait_until, lambda _: bool(left), 6)
    assert left == [True]


@every_way
async def test_C12_no_usage_is_invented(way: str) -> None:
    """Without counts of the service, there are none."""
    with Loopback(Answer(text=["hi"])) as server:
        message: AIMessage = await by(way, chat(server))
    assert message.usage_metadata is None
