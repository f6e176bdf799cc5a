"""The policies of the core through LangChain: what is sent, and that the model object does not change.

The policies themselves are tested in tests/core/test_thinking.py. L and C numbers are rows of test_peer_matrix.py.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import BadRequestError, ConfigurationError
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Exchange, Loopback, reply_json
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

pytestmark = both_protocols

HELLO = Answer(reasoning=["hm"], text=["hel", "lo"])
WHOLE = ("invoke", "ainvoke")

# ---------------------------------------------------------------- whether the wire streams

STREAMS: list[tuple[str, dict[str, Any], bool]] = [
    ("thinking asked for", {"model": "qwen-plus", "enable_thinking": True}, True),
    ("thinking by default", {"model": "qwen3.7-max"}, True),
    ("thinking always", {"model": "qwq-plus"}, True),
    ("thinking only by default, switched off", {"model": "qwen3.7-max", "enable_thinking": False}, False),
    ("not thinking by default", {"model": "qwen-plus"}, False),
    ("never thinking", {"model": "qwen-max"}, False),
    ("unknown, so it may think", {"model": "made-up"}, True),
    ("unknown, told not to", {"model": "made-up", "enable_thinking": False}, False),
    ("streaming only", {"model": "qwen3-omni-flash"}, True),
    ("an explicit no is respected", {"model": "qwen3.7-max", "streaming": False}, False),
    ("with thinking asked for, too", {"model": "qwen-plus", "enable_thinking": True, "streaming": False}, False),
    ("but not where the model must stream", {"model": "qwq-plus", "streaming": False}, True),
    ("an explicit yes", {"model": "qwen-max", "streaming": True}, True),
]


@pytest.mark.parametrize(("settings", "streams"), [case[1:] for case in STREAMS], ids=[case[0] for case in STREAMS])
@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.rotated
async def test_invoke_streams_if_the_model_may_think(way: str, settings: dict[str, Any], streams: bool) -> None:
    """The service rejects whole answers with thinking (L9, C5)."""
    with Loopback(HELLO) as server:
        message = await call(chat(server, **settings), way)
        assert bool(sent(server).get("stream")) == streams
        assert ("stream_options" in sent(server)) == streams
    assert (message.text, message.additional_kwargs) == ("hello", {"reasoning_content": "hm"})


HOSTS = (
    "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "https://ws-1.eu-central-1.maas.aliyuncs.com",
    "https://proxy.example.com/v1",
)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("way", WHOLE)
async def test_streaming_does_not_depend_on_the_host(way: str, host: str) -> None:
    """Only on the model (L9)."""
    asked: list[httpx.Request] = []
    body = "".join(f"data: {_json(event)}\n\n" for event in HELLO.events()) + "data: [DONE]\n\n"

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=body)

    mock = httpx.MockTransport(handle)
    with httpx.Client(transport=mock) as client:
        async with httpx.AsyncClient(transport=mock) as aclient:
            llm = ChatModelStudio(
                model="qwen-plus",
                api_key="sk-x",
                base_url=host,
                enable_thinking=True,
                http_client=client,
                http_async_client=aclient,
            )
            assert (await call(llm, way)).text == "hello"
    assert asked[0].url.host in host
    assert b'"stream":true' in asked[0].content.replace(b" ", b"")


def _json(value: Any) -> str:
    return httpx.Response(200, json=value).text


REFUSALS = (
    "current user api does not support http call.",
    "parameter.enable_thinking must be set to false for non-streaming calls",
    "parameter.enable_thinking only support stream call",
    "This model only support stream mode, please enable the stream parameter to access the model. ",
)


@pytest.mark.parametrize("message", REFUSALS)
@pytest.mark.parametrize("way", WHOLE)
async def test_a_call_that_must_stream_is_sent_again(way: str, message: str) -> None:
    """As a stream, without using a retry."""
    refused = reply_json(400, {"error": {"message": message, "code": "invalid_parameter_error"}})
    with Loopback([refused, HELLO]) as server:
        assert (await call(chat(server), way)).text == "hello"
        assert [bool(sent(server, at).get("stream")) for at in range(2)] == [False, True]
    with Loopback(refused) as server:
        with pytest.raises(BadRequestError):
            await call(chat(server), way)
        assert len(server.requests) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_other_errors_are_raised(way: str) -> None:
    """Any other 400, at once."""
    refused = reply_json(400, {"error": {"message": "enable_thinking must be a bool", "code": "x"}})
    with Loopback([refused, HELLO]) as server:
        with pytest.raises(BadRequestError):
            await call(chat(server), way)
        assert len(server.requests) == 1


async def test_responses_of_the_other_kind() -> None:
    """A whole response to a stream, and vice versa, is read."""

    def contrary(exchange: Exchange) -> None:
        body, headers = exchange.request.json(), dict(exchange.request.headers)
        body["stream"] = not body.get("stream")
        headers["x-dashscope-sse"] = "" if headers.get("x-dashscope-sse") else "enable"
        Answer.__call__(HELLO, _Pretended(exchange, body, headers))

    with Loopback(contrary) as server:
        for way in WAYS:
            assert (await call(chat(server), way)).text == "hello"


class _Pretended:
    """An exchange whose request has another body and other headers."""

    def __init__(self, exchange: Exchange, body: Any, headers: dict[str, str]) -> None:
        self._exchange = exchange
        self.request = self
        self._body = body
        self.headers = headers
        self.path = exchange.request.path

    def json(self) -> Any:
        return self._body

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exchange, name)


# ---------------------------------------------------------------- thinking, on and off


@pytest.mark.parametrize("way", WAYS)
async def test_thinking_off_on_a_model_that_always_thinks(way: str) -> None:
    """An error before anything is sent, as the vendor documents."""
    with Loopback(HELLO) as server:
        with pytest.raises(ConfigurationError, match="always thinks"):
            await call(chat(server, model="qwq-plus"), way, enable_thinking=False)
        assert server.requests == []
        await call(chat(server, model="qwq-plus", enable_thinking=True), way)
        assert "enable_thinking" not in sent(server)


@pytest.mark.parametrize("way", WAYS)
async def test_the_thinking_object(way: str) -> None:
    """`enable_thinking` is converted to it for MiniMax-M3."""
    with Loopback(HELLO) as server:
        await call(chat(server, model="MiniMax/MiniMax-M3", enable_thinking=False), way)
        assert sent(server)["thinking"] == {"type": "disabled"}
        assert "enable_thinking" not in sent(server)


@pytest.mark.parametrize("way", WAYS)
async def test_json_mode_of_a_hybrid(way: str) -> None:
    """The word "json" is added if missing, and thinking disabled unless requested."""
    form = {"type": "json_object"}
    with Loopback(Answer(text=["{}"])) as server:
        llm = chat(server, model="qwen3.7-max", response_format=form, thinking_budget=9)
        await call(llm, way)
        assert sent(server)["messages"][0] == {"role": "system", "content": "Answer with a JSON object."}
        assert sent(server)["enable_thinking"] is False
        assert "thinking_budget" not in sent(server)
        await call(llm, way, [HumanMessage("in JSON, please")], enable_thinking=True)
        assert [message["role"] for message in sent(server)["messages"]] == ["user"]
        assert (sent(server)["enable_thinking"], sent(server)["thinking_budget"]) == (True, 9)
        assert (llm.enable_thinking, llm.thinking_budget, llm.response_format) == (None, 9, form)


PARTIALS: list[tuple[str, dict[str, Any], Any]] = [
    ("a hybrid, default on", {"model": "qwen3.7-max"}, False),
    ("a hybrid, default off", {"model": "qwen-plus"}, False),
    ("default on, asked to think", {"model": "qwen3.7-max", "enable_thinking": True}, True),
    ("default off, asked to think", {"model": "qwen-plus", "enable_thinking": True}, True),
    ("always thinks", {"model": "qwq-32b"}, None),
    ("never thinks", {"model": "qwen-max"}, None),
]


@pytest.mark.parametrize(("settings", "thinks"), [case[1:] for case in PARTIALS], ids=[case[0] for case in PARTIALS])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rotated
async def test_partial_mode_disables_thinking(way: str, settings: dict[str, Any], thinks: bool | None) -> None:
    """Unless it was requested."""
    turns = [HumanMessage("a poem"), AIMessage("Roses ", additional_kwargs={"partial": True})]
    with Loopback(HELLO) as server:
        llm = chat(server, **settings)
        await call(llm, way, turns)
        assert sent(server)["messages"][-1] == {"role": "assistant", "content": "Roses ", "partial": True}
        assert sent(server).get("enable_thinking") is thinks
        await call(llm, way, turns[:1])
        assert sent(server).get("enable_thinking") is settings.get("enable_thinking")


@pytest.mark.parametrize("model", ["glm-5.3", "glm-4.6"])
@pytest.mark.parametrize("clear", [True, False])
async def test_clear_thinking(clear: bool, model: str) -> None:
    """False replays reasoning of earlier turns, True does not; as a field or per call."""
    thought = AIMessage("1", additional_kwargs={"reasoning_content": "hm"})
    turns = [HumanMessage("one"), thought, HumanMessage("two")]
    with Loopback(HELLO) as server:
        await call(chat(server, model=model, clear_thinking=clear), "invoke", turns)
        await call(chat(server, model=model), "invoke", turns, clear_thinking=clear)
        for at in range(2):
            assert sent(server, at)["clear_thinking"] is clear
            assert sent(server, at)["messages"][1].get("reasoning_content") == (None if clear else "hm")


@pytest.mark.parametrize("way", WAYS)
async def test_a_policy_decision_is_a_warning_once(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Once per object, then at debug level."""
    with Loopback(HELLO) as server, caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for model in (chat(server, model="qwq-32b"), chat(server, model="qwq-32b")):
            for _ in range(3):
                await call(model.bind_tools([get_temperature], tool_choice="any"), way)
    told = [record for record in caplog.records if record.getMessage().startswith("Model Studio: ")]
    assert [record.levelname for record in told] == ["WARNING", "DEBUG", "DEBUG"] * 2
    assert all("a forced tool_choice" in record.getMessage() for record in told)


# ---------------------------------------------------------------- a whole loop with a tool


@tool
def get_temperature(city: str) -> str:
    """Return the temperature of a city."""
    return f"21 in {city}"


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("way", WAYS)
async def test_reasoning_is_replayed_in_a_tool_loop(way: str, version: str | None) -> None:
    """With the tool's result, but not after the next question (L5, C2: 400 without it)."""
    asks = Answer(reasoning=["which ", "city"], calls=[Call("call_1", "get_temperature", ['{"city": ', '"上海"}'])])
    tells = Answer(reasoning=["so"], text=["21 ", "degrees"])
    with Loopback([asks, tells]) as server:
        llm = chat(server, enable_thinking=True, output_version=version).bind_tools([get_temperature])
        messages: list[Any] = [HumanMessage("how warm is it?")]
        messages.append(await call(llm, way, messages))
        messages.append(get_temperature.invoke(messages[-1].tool_calls[0]))
        assert isinstance(messages[-1], ToolMessage)
        messages.append(await call(llm, way, messages))
        assert messages[-1].text == "21 degrees"
        messages.append(HumanMessage("thanks"))
        await call(llm, way, messages)
    call_sent = {
        "id": "call_1",
        "type": "function",
        "index": 0,
        "function": {"name": "get_temperature", "arguments": '{"city": "上海"}'},
    }
    user = {"role": "user", "content": "how warm is it?"}
    asked = {"role": "assistant", "content": "", "tool_calls": [call_sent]}
    result = {"role": "tool", "content": "21 in 上海", "tool_call_id": "call_1"}
    assert sent(server, 1)["messages"] == [user, {**asked, "reasoning_content": "which city"}, result]
    told = {"role": "assistant", "content": "21 degrees"}
    assert sent(server, 2)["messages"] == [user, asked, result, told, {"role": "user", "content": "thanks"}]


@pytest.mark.parametrize("way", WAYS)
async def test_a_truncated_call_can_be_answered(way: str) -> None:
    """Its raw arguments are sent in an object."""
    cut = Answer(calls=[Call("call_1", "get_temperature", ['{"city": "Sh'])], finish="length")
    with Loopback([cut, HELLO]) as server:
        llm = chat(server).bind_tools([get_temperature])
        messages: list[Any] = [HumanMessage("how warm is it?")]
        messages.append(await call(llm, way, messages))
        [invalid] = messages[-1].invalid_tool_calls
        messages.append(ToolMessage("your call was cut off", tool_call_id=invalid["id"], status="error"))
        await call(llm, way, messages)
        arguments = sent(server)["messages"][1]["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments) == {"invalid_arguments": '{"city": "Sh'}


async def test_no_policy_changes_the_model_object() -> None:
    """Nor its later requests (L39)."""
    with Loopback(Answer(text=["{}"], calls=[Call("call_1", "get_temperature", ['{"city": "x"}'])])) as server:
        llm = chat(server, model="qwen3.7-max", temperature=0.5, extra_body={"a": 1}, thinking_budget=9)
        before, fields = llm.model_dump(), set(llm.model_fields_set)
        for way in WAYS:
            await call(llm, way)
            plain = sent(server)
            await call(llm.bind_tools([get_temperature], tool_choice="any"), way)
            await call(llm.with_structured_output(method="json_mode"), way)
            await call(llm, way, enable_thinking=False, model="qwen-max", extra_body={"b": 1}, stop=["x"])
            await call(llm, way)
            assert sent(server) == plain
        assert (llm.model_dump(), set(llm.model_fields_set)) == (before, fields)
