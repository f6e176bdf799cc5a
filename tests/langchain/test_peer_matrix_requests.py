"""The peer matrix, second part: what goes in. L rows and C complaints: see test_peer_matrix.py."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from pydantic import BaseModel, ValidationError

from langchain_modelstudio.errors import ConfigurationError
from tests.langchain.service import WAYS, call, chat, pieces_of
from tests.langchain.ways import STREAMS
from tests.loopback import Loopback, reply_json
from tests.service import Answer, Call, sent

four_ways = pytest.mark.parametrize("way", WAYS)
OK = Answer(text=["ok"])
NAMED = {"type": "function", "function": {"name": "get"}}


@tool
def get(city: str) -> str:
    """Get it."""
    return f"21 in {city}"


@tool
def put(city: str) -> str:
    """Put it."""
    return "done"


class City(BaseModel):
    """A city."""

    name: str
    country: str


async def body(way: str, given: Any = "hello", bind: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """The body that goes out for `given`."""
    with Loopback(OK) as server:
        llm: Any = chat(server, **settings)
        await call(llm.bind(**bind) if bind else llm, way, given)
        return sent(server)


# ---------------------------------------------------------------- thinking


@four_ways
async def test_L5_C2_reasoning_is_sent_in_a_tool_loop(way: str) -> None:
    """The reasoning before a call is sent with its result, as `reasoning_content` of that turn."""
    asks = Answer(reasoning=["which ", "city"], calls=[Call("call_1", "get", ['{"city": "X"}'])])
    with Loopback([asks, OK]) as server:
        llm = chat(server, enable_thinking=True).bind_tools([get])
        messages: list[Any] = [HumanMessage("how warm?")]
        messages.append(await call(llm, way, messages))
        messages.append(get.invoke(messages[-1].tool_calls[0]))
        await call(llm, way, messages)
        turn = sent(server)["messages"][1]
    assert (turn["reasoning_content"], turn["content"]) == ("which city", "")
    assert turn["tool_calls"][0]["id"] == "call_1"


TURNS = [HumanMessage("a"), AIMessage("b", additional_kwargs={"reasoning_content": "hm"}), HumanMessage("c")]
REPLAY: list[tuple[str, dict[str, Any], bool]] = [
    ("by default not", {"model": "qwen-plus"}, False),
    ("asked to preserve it", {"model": "qwen3.6-plus", "preserve_thinking": True}, True),
    ("a model that wants all of it", {"model": "kimi/kimi-k3"}, True),
    ("always", {"model": "qwen-plus", "reasoning_replay": "always"}, True),
    ("never", {"model": "kimi/kimi-k3", "reasoning_replay": "never"}, False),
]


@pytest.mark.parametrize(("settings", "replayed"), [case[1:] for case in REPLAY], ids=[case[0] for case in REPLAY])
@four_ways
async def test_L6_C25_reasoning_of_earlier_turns(way: str, settings: dict[str, Any], replayed: bool) -> None:
    """It is sent by the policy of the model or of the caller. `preserve_thinking` is sent unchanged."""
    sent_body = await body(way, TURNS, **settings)
    assert ("reasoning_content" in sent_body["messages"][1]) == replayed
    assert sent_body.get("preserve_thinking") == settings.get("preserve_thinking")


@four_ways
async def test_L7_enable_thinking_is_an_argument(way: str) -> None:
    """`enable_thinking` and `thinking_budget` are typed arguments, and are sent."""
    made = await body(way, enable_thinking=True, thinking_budget=9)
    assert (made["enable_thinking"], made["thinking_budget"]) == (True, 9)
    with Loopback(OK) as server, pytest.raises(ValidationError):
        chat(server, enable_thinking="perhaps")


@four_ways
async def test_L8_thinking_of_one_call(way: str) -> None:
    """Per call and bound, overriding the object's setting."""
    bound = await body(way, bind={"enable_thinking": True, "thinking_budget": 9}, enable_thinking=False)
    with Loopback(OK) as server:
        await call(chat(server, enable_thinking=False), way, enable_thinking=True, thinking_budget=9)
        per_call = sent(server)
    for made in (bound, per_call):
        assert (made["enable_thinking"], made["thinking_budget"]) == (True, 9)


@pytest.mark.parametrize("settings", [{"enable_thinking": True}, {"model": "qwen3.7-max"}, {"model": "qwq-plus"}])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_L9_C5_invoke_streams_if_the_model_may_think(way: str, settings: dict[str, Any]) -> None:
    """The request is a stream, whatever the host."""
    assert (await body(way, **settings))["stream"] is True
    assert "stream" not in await body(way, enable_thinking=False)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_C5_rejected_call_is_repeated_as_a_stream(way: str) -> None:
    """If the service answers that a call must stream, it is sent once more, as a stream."""
    message = "parameter.enable_thinking must be set to false for non-streaming calls"
    with Loopback([reply_json(400, {"error": {"message": message, "code": "invalid_parameter_error"}}), OK]) as server:
        assert (await call(chat(server, model="qwen-max"), way)).text == "ok"
        assert [bool(request.json().get("stream")) for request in server.requests] == [False, True]


FORCED: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("thinking asked for", {"enable_thinking": True}, "auto", True),
    ("thinking always", {"model": "qwq-plus"}, "auto", None),
    ("unknown model", {"model": "made-up"}, "auto", None),
    ("thinking by default", {"model": "qwen3.7-max"}, NAMED, False),
    ("thinking off", {"enable_thinking": False}, NAMED, False),
]


@pytest.mark.parametrize("choice", ["any", "required", "get", True])
@pytest.mark.parametrize(
    ("settings", "expected", "thinks"), [case[1:] for case in FORCED], ids=[case[0] for case in FORCED]
)
@four_ways
@pytest.mark.rotated
async def test_L10_C3_no_forced_choice_while_thinking(
    way: str, settings: dict[str, Any], expected: Any, thinks: Any, choice: Any
) -> None:
    """The service rejects it with 400, so thinking is disabled for the call, or the choice becomes "auto"."""
    with Loopback(OK) as server:
        llm = chat(server, **settings)
        before = llm.model_dump()
        await call(llm.bind_tools([get], tool_choice=choice), way)
        assert (sent(server)["tool_choice"], sent(server).get("enable_thinking")) == (expected, thinks)
        assert llm.model_dump() == before


@pytest.mark.parametrize("choice", ["any", "required", True, "get", NAMED])
@four_ways
async def test_L11_C23_forced_choices_are_sent_by_name(way: str, choice: Any) -> None:
    """With thinking off, every form of a forced choice is sent as the tool's name, which Qwen accepts."""
    with Loopback(OK) as server:
        await call(chat(server, model="qwen-max").bind_tools([get], tool_choice=choice), way)
        assert sent(server)["tool_choice"] == NAMED


@four_ways
async def test_L11_any_of_several_tools(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is sent as "required" to models that accept it, otherwise as "auto" with a warning."""
    with Loopback(OK) as server:
        await call(chat(server, model="kimi/kimi-k3").bind_tools([get, put], tool_choice="any"), way)
        assert sent(server)["tool_choice"] == "required"
        assert not caplog.records
        await call(chat(server, model="qwen-max").bind_tools([get, put], tool_choice="any"), way)
        assert sent(server)["tool_choice"] == "auto"
        assert "auto" in caplog.text


@four_ways
async def test_L12_L13_strict_and_parallel(way: str) -> None:
    """`strict` is a field of the function, and `parallel_tool_calls=False` is sent."""
    with Loopback(OK) as server:
        await call(chat(server).bind_tools([get], strict=True, parallel_tool_calls=False), way)
        made = sent(server)
    assert made["tools"][0]["function"]["strict"] is True
    assert made["parallel_tool_calls"] is False
    assert "strict" not in made


@four_ways
async def test_C33_tools_of_other_apis_are_rejected(way: str) -> None:
    """The error names the tool, and nothing is sent."""
    with Loopback(OK) as server:
        for wrong in ({"type": "web_search"}, {"type": "function", "function": {}}, "get"):
            with pytest.raises(ConfigurationError):
                await call(chat(server).bind_tools([wrong]), way)  # type: ignore[list-item]
        assert server.requests == []


@four_ways
async def test_C34_empty_tools_are_omitted(way: str) -> None:
    """`tools: []`, which the service rejects, is not sent."""
    with Loopback(OK) as server:
        await call(chat(server).bind_tools([]), way)
        assert "tools" not in sent(server)


@four_ways
async def test_C22_C36_incremental_output_is_not_sent(way: str) -> None:
    """The compatible endpoint has no such parameter, streaming or not."""
    for settings in ({}, {"enable_thinking": True}, {"model": "qwen3.5-plus"}):
        assert "incremental_output" not in await body(way, **settings)


# ---------------------------------------------------------------- structured output


@four_ways
async def test_L38_json_schema_is_sent(way: str) -> None:
    """`method="json_schema"` sends the schema as `response_format`, also by default if the model supports it."""
    with Loopback(Answer(text=['{"name": "Hangzhou", ', '"country": "China"}'])) as server:
        for model, method in (("qwen-plus", "json_schema"), ("qwen3.7-max", None)):
            parsed = await call(chat(server, model=model).with_structured_output(City, method=method), way)  # type: ignore[arg-type]
            form = sent(server)["response_format"]
            assert form["type"] == "json_schema"
            assert set(form["json_schema"]["schema"]["properties"]) == {"name", "country"}
            assert parsed == City(name="Hangzhou", country="China")


@four_ways
async def test_L39_C10_structured_output_does_not_change_the_model(way: str) -> None:
    """Nor its later requests, with every method."""
    with Loopback(Answer(text=['{"name": "a", "country": "b"}'])) as server:
        llm = chat(server, model="qwen3.7-max", thinking_budget=9)
        before, fields = llm.model_dump(), set(llm.model_fields_set)
        await call(llm, way)
        plain = sent(server)
        for method in ("json_schema", "json_mode", "function_calling"):
            await call(llm.with_structured_output(City, method=method), way)  # type: ignore[arg-type]
        await call(llm, way)
        assert sent(server) == plain
        assert (llm.model_dump(), set(llm.model_fields_set)) == (before, fields)


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize("way", STREAMS)
async def test_L40_partial_objects_are_streamed(way: str, method: Any) -> None:
    """A stream of structured output yields the object as far as received."""
    pieces = ['{"name": "Hang', 'zhou", "cou', 'ntry": "China"}']
    said = Answer(calls=[Call("call_1", "City", pieces)]) if method == "function_calling" else Answer(text=pieces)
    with Loopback(said) as server:
        llm = chat(server, model="qwen-max").with_structured_output(City.model_json_schema(), method=method)
        parts: list[Any] = await pieces_of(llm, way)
    assert {"name": "Hang"} in parts
    assert parts[-1] == {"name": "Hangzhou", "country": "China"}


@four_ways
async def test_C3_missing_call_of_a_thinking_model_is_an_error(way: str) -> None:
    """If a call could not be forced and none came, the error says what to do."""
    with Loopback(Answer(reasoning=["hm"], text=["no"])) as server:
        llm = chat(server, enable_thinking=True).with_structured_output(City, method="function_calling")
        with pytest.raises(OutputParserException, match="enable_thinking=False"):
            await call(llm, way)


STRATEGIES: list[tuple[str, dict[str, Any], Any, Any]] = [
    ("a schema, and the model has json_schema", {"model": "qwen3.7-max"}, City, "response_format"),
    ("a schema, and it has not", {"model": "qwen-max"}, City, "tool_choice"),
    ("by the provider", {"model": "qwen3.7-max"}, ProviderStrategy(City), "response_format"),
    ("by a tool", {"model": "qwen-max"}, ToolStrategy(City), "tool_choice"),
    ("by a tool, thinking by default", {"model": "qwen3.7-max"}, ToolStrategy(City), "tool_choice"),
    ("by a tool, thinking asked for", {"enable_thinking": True}, ToolStrategy(City), "tool_choice"),
]


@pytest.mark.parametrize(
    ("settings", "form", "field"), [case[1:] for case in STRATEGIES], ids=[case[0] for case in STRATEGIES]
)
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_C3_structured_agents(way: str, settings: dict[str, Any], form: Any, field: str) -> None:
    """`create_agent` returns the object with either strategy, and forces no call of a thinking model."""
    text = '{"name": "Hangzhou", "country": "China"}'
    said = Answer(text=[text]) if field == "response_format" else Answer(calls=[Call("call_1", "City", [text])])
    with Loopback(said) as server:
        agent = create_agent(chat(server, **settings), [], response_format=form)
        given: Any = {"messages": [HumanMessage("where?")]}
        state = agent.invoke(given) if way == "invoke" else await agent.ainvoke(given)
        made = sent(server)
    assert state["structured_response"] == City(name="Hangzhou", country="China")
    assert field in made
    if field == "tool_choice" and made["tool_choice"] != "auto":
        assert made["tool_choice"] == {"type": "function", "function": {"name": "City"}}
        assert made.get("enable_thinking") is not True


@four_ways
async def test_C30_json_mode_adds_the_word_json(way: str) -> None:
    """The service rejects JSON mode if no message has the word."""
    form = {"type": "json_object"}
    for given in ("hello", [SystemMessage("Be brief."), HumanMessage("hello")]):
        messages = (await body(way, given, bind={"response_format": form}))["messages"]
        assert "json" in str(messages).lower()
    said = (await body(way, "hello, in JSON", bind={"response_format": form}))["messages"]
    assert said == [{"role": "user", "content": "hello, in JSON"}]


# ---------------------------------------------------------------- messages

URL, WAV = "https://example.com/it", "UklGRiQA"
DATA_URI = f"data:audio/wav;base64,{WAV}"
MEDIA: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("L41 image", {"type": "image", "url": URL}, {"type": "image_url", "image_url": {"url": URL}}),
    (
        "L41 image, base64",
        {"type": "image", "base64": "aGk=", "mime_type": "image/png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    ),
    ("L42 video", {"type": "video", "url": URL}, {"type": "video_url", "video_url": {"url": URL}}),
    (
        "L42 video, frames",
        {"type": "video", "video": [URL, URL], "extras": {"fps": 2}},
        {"type": "video", "video": [URL, URL], "fps": 2},
    ),
    (
        "L43 C18 audio, base64",
        {"type": "audio", "base64": WAV, "mime_type": "audio/wav"},
        {"type": "input_audio", "input_audio": {"data": DATA_URI, "format": "wav"}},
    ),
    (
        "L43 C18 audio, OpenAI's form",
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": DATA_URI, "format": "wav"}},
    ),
    ("L43 audio, URL", {"type": "audio", "url": URL}, {"type": "input_audio", "input_audio": {"data": URL}}),
]


@pytest.mark.parametrize(("block", "expected"), [case[1:] for case in MEDIA], ids=[case[0] for case in MEDIA])
@four_ways
async def test_L41_L42_L43_C18_media(way: str, block: dict[str, Any], expected: dict[str, Any]) -> None:
    """Standard blocks of images, videos and audio are sent in the service's format: audio as a data URI."""
    made = await body(way, [HumanMessage([block])])
    assert made["messages"][0]["content"] == [expected]


@four_ways
async def test_C32_C35_unsupported_blocks_are_named(way: str) -> None:
    """The error for a PDF, or an empty block in a history, has its position. Nothing is sent."""
    pdf: Any = {"type": "file", "base64": "JVBERg==", "mime_type": "application/pdf"}
    for at, block in ((0, pdf), (2, {"type": "image"}), (2, {"type": "image", "url": "it.png"})):
        given = [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
        given[at] = HumanMessage([block])
        with Loopback(OK) as server:
            with pytest.raises(ConfigurationError, match=rf"messages\[{at}\] \(human\)"):
                await call(chat(server), way, given)
            assert server.requests == []


@four_ways
async def test_L44_a_history_of_another_provider(way: str) -> None:
    """Tool calls of a message are sent, whatever `additional_kwargs` contains."""
    made_call = tool_call(name="get", args={"city": "上海"}, id="call_1")
    for stale in ({}, {"tool_calls": [{"id": "old", "function": {"name": "old", "arguments": "{}"}}]}):
        turn = AIMessage("", tool_calls=[made_call], additional_kwargs=stale)
        made = await body(way, [HumanMessage("a"), turn, ToolMessage("21", tool_call_id="call_1")])
        [wired] = made["messages"][1]["tool_calls"]
        assert (wired["id"], wired["function"]) == ("call_1", {"name": "get", "arguments": '{"city": "上海"}'})


FOREIGN: list[tuple[str, list[Any]]] = [
    (
        "Anthropic's",
        [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "so"},
            {"type": "tool_use", "id": "call_1", "name": "get", "input": {}},
        ],
    ),
    (
        "v1",
        [
            {"type": "reasoning", "reasoning": "hm"},
            {"type": "text", "text": "so"},
            {"type": "tool_call", "id": "call_1", "name": "get", "args": {}},
        ],
    ),
]


@pytest.mark.parametrize("content", [case[1] for case in FOREIGN], ids=[case[0] for case in FOREIGN])
@four_ways
async def test_L45_assistant_blocks_are_converted(way: str, content: list[Any]) -> None:
    """Text blocks are sent as text, calls as calls, reasoning as reasoning."""
    turn = AIMessage(content, tool_calls=[tool_call(name="get", args={}, id="call_1")])
    made = await body(way, [HumanMessage("a"), turn, ToolMessage("21", tool_call_id="call_1")])
    wired = made["messages"][1]
    assert (wired["content"], wired["reasoning_content"]) == ("so", "hm")
    assert [made_call["id"] for made_call in wired["tool_calls"]] == ["call_1"]


MARK = {"cache_control": {"type": "ephemeral"}}
MARKED: list[tuple[str, list[Any], int]] = [
    ("system", [SystemMessage([{"type": "text", "text": "x", **MARK}]), HumanMessage("a")], 0),
    ("user", [HumanMessage([{"type": "text", "text": "x", **MARK}])], 0),
    ("assistant", [HumanMessage("a"), AIMessage([{"type": "text", "text": "x", **MARK}]), HumanMessage("b")], 1),
    (
        "tool",
        [
            HumanMessage("a"),
            AIMessage("", tool_calls=[tool_call(name="get", args={}, id="call_1")]),
            ToolMessage([{"type": "text", "text": "x", **MARK}], tool_call_id="call_1"),
        ],
        2,
    ),
]


@pytest.mark.parametrize(("given", "at"), [case[1:] for case in MARKED], ids=[case[0] for case in MARKED])
@four_ways
async def test_L51_cache_marks(way: str, given: list[Any], at: int) -> None:
    """`cache_control` is sent on a block of any role."""
    made = await body(way, given)
    assert made["messages"][at]["content"] == [{"type": "text", "text": "x", **MARK}]


@four_ways
async def test_L46_C11_each_object_has_its_own_url(way: str) -> None:
    """Two objects use two URLs alternately, each with its own key."""
    with Loopback(OK) as one, Loopback(OK) as two:
        llms = [(chat(one, api_key="sk-one"), one), (chat(two, api_key="sk-two"), two)]
        for _ in range(2):
            for llm, _server in llms:
                await call(llm, way)
        for (_, server), key in zip(llms, ("sk-one", "sk-two"), strict=True):
            assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {key}"] * 2


@four_ways
async def test_C11_a_wrong_key_names_the_region(way: str) -> None:
    """A 401 has the URL, and says that keys are valid in one region."""
    refused = reply_json(401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}})
    with Loopback(refused) as server, pytest.raises(Exception, match="region") as raised:
        await call(chat(server, api_key="sk-secret"), way)
    assert "127.0.0.1" in str(raised.value)
    assert "sk-secret" not in str(raised.value)


@four_ways
async def test_C19_media_use_the_same_path(way: str) -> None:
    """The compatible endpoint has one path for text and media, for every model."""
    for given in ("hello", [HumanMessage([{"type": "image", "url": URL}])]):
        with Loopback(OK) as server:
            await call(chat(server, model="qwen3-vl-plus"), way, given)
            assert server.requests[0].path.endswith("/chat/completions")
