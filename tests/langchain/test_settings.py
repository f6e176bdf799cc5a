"""Settings: each reaches the wire under the service's name, the nearest word wins, and a secret is shown nowhere.

L numbers are rows of test_peer_matrix.py.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelError
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tracers._streaming import _V2StreamingCallbackHandler
from pydantic import SecretStr, ValidationError

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError, RateLimitError
from modelstudio_core.http import pool, shared_pools
from modelstudio_core.http.timeouts import Timeouts, timeouts
from modelstudio_core.parameters import PLAIN_PARAMETERS, POLICY_PARAMETERS
from modelstudio_core.tokens import TokenEstimate
from tests.ids import short
from tests.langchain.service import WAYS, call, chat, pieces_of
from tests.loopback import Exchange, Loopback, reply_json, sse_body
from tests.protocols import both_protocols, spoken
from tests.service import USAGE, Answer, sent

KEY = "sk-marked-key-for-tests"
HELLO = Answer(text=["hel", "lo"], usage=USAGE)
BUSY = reply_json(429, {"error": {"message": "slow down", "code": "Throttling.RateQuota"}})

# ---------------------------------------------------------------- parameters

# each parameter of the service, and two values of it
VALUES: dict[str, tuple[Any, Any]] = {
    "enable_thinking": (True, False),
    "thinking_budget": (50, 60),
    "preserve_thinking": (True, False),
    "reasoning_effort": ("low", "high"),
    "n": (1, 2),
    "response_format": ({"type": "text"}, {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
    "temperature": (0, 1.5),
    "top_p": (0.25, 0.5),
    "top_k": (1, 20),
    "presence_penalty": (-1.5, 1.5),
    "repetition_penalty": (1.25, 1.5),
    "max_tokens": (10, 20),
    "max_completion_tokens": (10, 20),
    "seed": (0, 7),
    "stop": (["a"], "b"),
    "logprobs": (True, False),
    "top_logprobs": (0, 5),
    "clear_thinking": (True, False),
    "thinking": ({"type": "adaptive"}, {"type": "disabled"}),
    "tool_stream": (True, False),
    "enable_search": (True, False),
    "search_options": ({"forced_search": True}, {"forced_search": False}),
    "enable_code_interpreter": (True, False),
    "vl_high_resolution_images": (True, False),
    "translation_options": ({"target_lang": "English"}, {"target_lang": "Chinese"}),
    "ocr_options": ({"task": "text_recognition"}, {"task": "table_parsing"}),
    "skill": ([{"type": "ppt"}], "x"),
}
# those of one protocol only
OF_ONE: dict[str, dict[str, tuple[Any, Any]]] = {
    "openai": {
        "modalities": (["text"], ["text", "audio"]),
        "audio": ({"voice": "Cherry"}, {"voice": "Ethan"}),
    },
    "dashscope": {
        "vl_enable_image_hw_output": (True, False),
        "search_options": ({"enable_source": True}, {"enable_citation": True, "citation_format": "[<number>]"}),
    },
}
# tested in test_tools.py, and in tests/core, since only streams have the last
ELSEWHERE = {"tools", "tool_choice", "parallel_tool_calls", "incremental_output"}
PARAMETERS = list(VALUES)


def test_no_parameter_is_forgotten() -> None:
    """The table here has each parameter that the core knows."""
    assert VALUES.keys() | {name for of in OF_ONE.values() for name in of} | ELSEWHERE == {
        *POLICY_PARAMETERS,
        *PLAIN_PARAMETERS,
    }


@both_protocols
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.rotated
async def test_a_parameter_reaches_the_wire(name: str, which: int) -> None:
    """As a field, bound, and per call a parameter goes out under its own name, falsy ones too (L7, L8)."""
    await reaches_the_wire(name, VALUES[name][which], VALUES[name][1 - which])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("protocol", "name"), [(protocol, name) for protocol in OF_ONE for name in OF_ONE[protocol]])
async def test_a_parameter_of_one_protocol(protocol: str, name: str, which: int) -> None:
    """It reaches the wire of its protocol; the other refuses it before the network, naming the one that has it."""
    values = OF_ONE[protocol][name]
    token = spoken.set(protocol)
    await reaches_the_wire(name, values[which], values[1 - which])
    spoken.reset(token)
    (other,) = {*OF_ONE} - {protocol}
    with Loopback(HELLO) as server:
        with pytest.raises(ConfigurationError, match=f"{name}.*protocol='{protocol}'"):
            await call(chat(server, protocol=other), "invoke", **{name: values[0]})
        assert server.requests == []


async def reaches_the_wire(name: str, value: Any, other: Any) -> None:
    with Loopback(HELLO) as server:
        await call(chat(server, **{name: value}), "invoke")
        await call(chat(server).bind(**{name: value}), "invoke")
        await call(chat(server), "invoke", **{name: value})
        assert [sent(server, at)[name] for at in range(3)] == [value] * 3
        # the nearest word wins: the call's, then the bound, then the object's
        await call(chat(server, **{name: other}).bind(**{name: value}), "invoke")
        await call(chat(server, **{name: other}).bind(**{name: other}), "invoke", **{name: value})
        assert [sent(server, at)[name] for at in (3, 4)] == [value] * 2
        # and None takes back what was said; but `stop` is an argument of LangChain's own, whose None says nothing
        await call(chat(server, **{name: value}), "invoke", **{name: None})
        assert (name in sent(server)) == (name == "stop")


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_parameters_in_all_ways(way: str) -> None:
    """The four ways send the same parameters, and nothing that was not said."""
    with Loopback(HELLO) as server:
        await call(chat(server, temperature=0.5, max_tokens=10), way, top_p=0.25)
        await call(chat(server), way)
        first, second = sent(server, 0), sent(server, 1)
    stream = {"stream": True, "stream_options": {"include_usage": True}} if "stream" in way else {}
    bare = {"model": "qwen-plus", "messages": [{"role": "user", "content": "hello"}], **stream}
    assert first == bare | {"temperature": 0.5, "max_tokens": 10, "top_p": 0.25}
    assert second == bare


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_stop(way: str) -> None:
    """`stop` of a call beats the object's; an empty list takes it back."""
    with Loopback(HELLO) as server:
        llm = chat(server, stop=["a"])
        await call(llm, way)
        await call(llm, way, stop=["b"])
        await call(llm, way, stop=[])
        assert [sent(server, at).get("stop") for at in range(3)] == [["a"], ["b"], None]


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_extra_body_is_merged(way: str) -> None:
    """What has no name here goes out through `extra_body`; that of a call is added to the object's and wins."""
    with Loopback(HELLO) as server:
        llm = chat(server, extra_body={"new": 1, "newer": {"a": 1}})
        await call(llm, way, extra_body={"new": 2, "newest": [3]})
        body = sent(server)
        assert (body["new"], body["newer"], body["newest"]) == (2, {"a": 1}, [3])
        assert llm.extra_body == {"new": 1, "newer": {"a": 1}}
        await call(llm, way)
        assert sent(server)["new"] == 1
        assert "extra_body" not in sent(server)
        with pytest.raises(ConfigurationError, match="extra_body must not set model"):
            await call(llm, way, extra_body={"model": "x"})


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_another_model_for_one_call(way: str) -> None:
    """`model` of a call is sent, and decides by its own facts."""
    with Loopback(HELLO) as server:
        llm = chat(server, model="qwq-plus")  # which must stream
        await call(llm, way, model="qwen-max")
        assert sent(server)["model"] == "qwen-max"
        assert bool(sent(server).get("stream")) == ("stream" in way)
        await call(chat(server, model="qwen-max"), way, model="qwq-plus")
        assert sent(server)["stream"] is True
        assert llm.model == "qwq-plus"
    assert llm._get_ls_params(model="qwen-max")["ls_model_name"] == "qwen-max"
    assert llm._get_ls_params()["ls_model_name"] == "qwq-plus"


UNKNOWN: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"enable_thinkin": True}, ("enable_thinkin", "did you mean enable_thinking", "extra_body")),
    ({"temprature": 1}, ("temprature", "did you mean temperature")),
    ({"brand_new": 1}, ("brand_new", "extra_body")),
]


@pytest.mark.parametrize(("options", "words"), UNKNOWN, ids=short)
@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_parameter_is_refused(way: str, options: dict[str, Any], words: tuple[str, ...]) -> None:
    """A misspelt parameter of a call is an error that says which was meant, and nothing is sent (L7)."""
    with Loopback(HELLO) as server:
        with pytest.raises(ConfigurationError) as raised:
            await call(chat(server), way, **options)
        assert all(word in str(raised.value) for word in words)
        assert server.requests == []


MEANT = {
    "temprature": "did you mean temperature?",
    "enable_thinkng": "did you mean enable_thinking?",
    "base_ur": "did you mean base_url?",
    # what other integrations call it
    "api_base": "did you mean base_url?",
    "openai_api_base": "did you mean base_url?",
    "request_timeout": "did you mean timeout?",
    "openai_api_key": "did you mean api_key?",
    "dashscope_api_key": "did you mean api_key?",
    "model_kwargs": "did you mean extra_body?",
    "stop_sequences": "did you mean stop?",
    "openai_proxy": "did you mean http_client?",
    "brand_new": "extra_body",
}


@pytest.mark.parametrize(("name", "hint"), MEANT.items())
def test_an_unknown_argument_is_refused(name: str, hint: str) -> None:
    """A misspelt argument of the constructor is an error that says which was meant; peers swallow it silently (L7)."""
    with pytest.raises(ConfigurationError) as raised:
        ChatModelStudio(model="qwen-plus", api_key=KEY, **{name: KEY})
    assert f"unknown argument {name}: " in str(raised.value)
    assert hint in str(raised.value)
    assert ("did you mean" in str(raised.value)) == ("did you mean" in hint)
    assert KEY not in str(raised.value)


def test_each_unknown_argument_is_named() -> None:
    """Of several each is told apart."""
    with pytest.raises(ConfigurationError) as raised:
        ChatModelStudio(model="qwen-plus", api_key=KEY, api_base="x", brand_new=1)  # type: ignore[call-arg]
    assert "unknown argument api_base: did you mean base_url?" in str(raised.value)
    assert "unknown argument brand_new: " in str(raised.value)


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)], ids=["str", "SecretStr"])
async def test_a_key_is_secret_however_it_is_given(key: Any) -> None:
    """A text and a SecretStr both end as a SecretStr, which no repr shows, and go on the wire."""
    with Loopback(HELLO) as server:
        for llm in (chat(server, api_key=key), ChatModelStudio(**{**chat(server).model_dump(), "api_key": key})):
            assert type(llm.api_key) is SecretStr
            assert llm.api_key == SecretStr(KEY)
            assert KEY not in repr(llm) + str(llm) + str(llm.model_dump()) + llm.model_dump_json()
            llm.invoke("hello")
            assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert chat(server, api_key=None).api_key is None


@pytest.mark.parametrize(
    "wrong", [{}, {"model": 1}, {"model": "m", "temperature": "x"}, {"model": "m", "protocol": "x"}], ids=str
)
@pytest.mark.parametrize("first", [True, False])
def test_a_wrong_argument_shows_no_part_of_the_key(wrong: dict[str, Any], first: bool) -> None:
    """Errors of the constructor show no input, which would be the key as well."""
    key = {"api_key": "sk-" + "0123456789abcdef"}
    with pytest.raises(ValidationError) as raised:
        ChatModelStudio(**({**key, **wrong} if first else {**wrong, **key}))
    assert "0123" not in str(raised.value)
    assert "cdef" not in str(raised.value)


def test_what_a_field_cannot_hold_is_refused() -> None:
    """A value of the wrong type is an error when the object is built."""
    for wrong in ({"temperature": "hot"}, {"reasoning_replay": "sometimes"}, {"extra_body": 1}, {"protocol": "soap"}):
        with pytest.raises(ValidationError):
            ChatModelStudio(**{"model": "qwen-plus", "api_key": KEY, **wrong})


LATE = [{"timeout": 0}, {"max_retries": "3"}, {"max_retries": -3}, {"region": "x"}, {"base_url": "ftp://x"}]


@pytest.mark.parametrize("late", LATE, ids=short)
@pytest.mark.parametrize(
    "use", [lambda llm: llm.invoke("hi"), lambda llm: next(llm.stream("hi")), lambda llm: llm.close()]
)
def test_a_setting_that_is_changed_to_a_wrong_one_is_refused_where_it_is_used(
    late: dict[str, Any], use: Callable[[Any], Any]
) -> None:
    """By the error that the constructor raises, which is LangChain's as well."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-0123456789")
    for name, value in late.items():
        setattr(llm, name, value)
    with pytest.raises(ConfigurationError) as caught:
        use(llm)
    assert isinstance(caught.value, ModelError)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_the_limits_of_an_httpx_timeout_can_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON and by LangChain's serialisation, and they are the same when read again."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-0123456789")
    limits = httpx.Timeout(7, connect=2, pool=None)
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-0123456789", timeout=limits)
    again = (
        ChatModelStudio.model_validate_json(llm.model_dump_json(include={"model", "timeout"})),
        load(
            json.loads(dumps(llm)),
            secrets_map={"DASHSCOPE_API_KEY": "sk-0123456789"},
            allowed_objects="all",
            valid_namespaces=["langchain_modelstudio"],
        ),
    )
    for each in (llm, *again):
        assert timeouts(each.timeout) == Timeouts(2, 7, 7, None)
    with pytest.raises(ConfigurationError, match="positive"):
        ChatModelStudio(model="qwen-plus", api_key="sk-0123456789", timeout=httpx.Timeout(0))


def test_model_name_is_the_same_as_model() -> None:
    """Both names are taken and both are there, as with other chat models."""
    llm = ChatModelStudio(model_name="qwen-max", api_key=KEY)  # type: ignore[call-arg]
    assert (llm.model, llm.model_name) == ("qwen-max", "qwen-max")


# ---------------------------------------------------------------- streaming, or not


# (settings, options of a call, whether the wire streams under invoke, and under stream, and how many pieces come)
STREAMING: list[tuple[dict[str, Any], dict[str, Any], bool, bool, int]] = [
    ({}, {}, False, True, 3),
    ({"streaming": True}, {}, True, True, 3),
    ({"streaming": False}, {}, False, False, 1),
    ({"streaming": None}, {}, False, True, 3),
    ({"enable_thinking": True}, {}, True, True, 3),
    ({"enable_thinking": True, "streaming": False}, {}, False, False, 1),
    ({"model": "qwq-plus"}, {}, True, True, 3),
    ({"model": "qwq-plus", "streaming": False}, {}, True, True, 1),
    ({"disable_streaming": True}, {}, False, False, 1),
    ({"disable_streaming": True, "enable_thinking": True}, {}, True, True, 1),
    ({}, {"stream": True}, True, True, 3),
    ({}, {"streaming": True}, True, True, 3),
    # `stream=False` of a call is about the wire under invoke; LangChain's stream() goes on streaming
    ({"enable_thinking": True}, {"stream": False}, False, True, 3),
    ({"model": "qwq-plus"}, {"stream": False}, True, True, 3),
    ({"streaming": False}, {"streaming": True}, True, True, 1),
]


@both_protocols
@pytest.mark.parametrize(
    ("settings", "options", "invoked", "streamed", "pieces"),
    STREAMING,
    ids=[f"{case[0]} {case[1]}" for case in STREAMING],
)
@pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])
@pytest.mark.rotated
async def test_whether_the_wire_streams(
    settings: dict[str, Any], options: dict[str, Any], invoked: bool, streamed: bool, pieces: int, a: str
) -> None:
    """`streaming` unset leaves `stream()` alone, False makes it one whole answer, True streams always (L35)."""
    with Loopback(HELLO) as server:
        llm = chat(server, **settings)
        assert (await call(llm, f"{a}invoke", **options)).text == "hello"
        assert bool(sent(server).get("stream")) == invoked
        came = await pieces_of(llm, f"{a}stream", **options)
        assert bool(sent(server).get("stream")) == streamed
    assert (len(came), "".join(piece.text for piece in came)) == (pieces, "hello")
    assert sum((piece.usage_metadata or {}).get("total_tokens", 0) for piece in came) == 30


# ---------------------------------------------------------------- several answers


@both_protocols
async def test_several_answers_are_generations() -> None:
    """n > 1 gives as many generations; the usage, which is the response's, is with the first only."""
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
    """Answers that come in turns on one streamed wire are kept apart."""

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
    """LangChain's stream has one answer, so n > 1 is refused there, before anything is sent."""
    with Loopback(HELLO) as server:
        for llm, options in ((chat(server, n=2), {}), (chat(server), {"n": 2})):
            with pytest.raises(ConfigurationError, match="n=2 cannot be streamed"):
                await call(llm, way, **options)
        assert server.requests == []
        assert (await call(chat(server, n=1), way)).text == "hello"


TWO = Answer(text=["one"], others=["two"])


async def test_several_answers_of_an_object_that_streams() -> None:
    """With streaming=True, n > 1 still gives its generations: only what has one answer is streamed to LangChain."""
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


def several(exchange: Exchange) -> None:
    """Two answers, whole or in turns on a stream."""
    if not exchange.request.json().get("stream"):
        TWO(exchange)
        return
    said = [(0, "o"), (1, "t"), (0, "ne"), (1, "wo")]
    events = [{"choices": [{"index": index, "delta": {"content": text}}]} for index, text in said]
    events += [{"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]} for index in (1, 0)]
    exchange.send_head(200, {"Content-Type": "text/event-stream"})
    for event in sse_body(*events):
        exchange.send_chunk(event)


@pytest.mark.parametrize("streaming", [None, True])
@pytest.mark.parametrize("per_call", [False, True])
async def test_several_answers_that_somebody_watches(per_call: bool, streaming: bool | None) -> None:
    """Under `astream_events` an invoke with n > 1 is not turned into a stream, which would be refused."""
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
async def test_a_stream_of_several_answers_is_refused_though_streaming(way: str) -> None:
    """What asks for a stream of n > 1 is refused as before, with streaming=True too, and beside a chain."""
    with Loopback(several) as server:
        for llm in (chat(server, n=2, streaming=True), chat(server).bind(n=2), RunnableLambda(str) | chat(server, n=2)):
            with pytest.raises(ConfigurationError, match="n=2 cannot be streamed"):
                await call(llm, way)
        assert server.requests == []


async def test_a_batch_adds_up_its_tokens() -> None:
    """`generate` over several prompts gives the sum of their tokens."""
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


def test_nothing_adds_up_to_nothing() -> None:
    """Outputs without usage, such as those of a cache, do not disturb the sum."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY)
    one = {"token_usage": {"total_tokens": 3}, "model_name": "qwen-plus"}
    assert llm._combine_llm_outputs([None, {}, one, {"token_usage": None}])["token_usage"] == {"total_tokens": 3}


# ---------------------------------------------------------------- what is known of the model

PROFILES: dict[str, dict[str, Any]] = {
    "qwen-plus": {
        "max_input_tokens": 997952,
        "max_output_tokens": 32768,
        "image_inputs": False,
        "reasoning_output": True,
        "tool_calling": True,
        "tool_choice": True,
        "structured_output": False,
    },
    "qwen3.7-max": {"structured_output": True, "reasoning_output": True, "tool_choice": True},
    "qwen-max": {"reasoning_output": False, "max_input_tokens": 30720, "max_output_tokens": 8192},
    "qwq-plus": {"reasoning_output": True, "tool_calling": True, "tool_choice": False},
    "kimi/kimi-k3": {
        "tool_choice": True,
        "reasoning_output": True,
        "reasoning_effort_levels": ["max"],
        "reasoning_effort_default": "max",
    },
    "qwen3-vl-plus": {"image_inputs": True, "image_url_inputs": True, "video_inputs": True, "audio_inputs": False},
    "qwen3-omni-flash": {"audio_inputs": True, "audio_outputs": True},
    "qwen3.8-max": {"reasoning_effort_levels": ["low", "medium", "xhigh"], "reasoning_effort_default": "xhigh"},
}


@pytest.mark.parametrize("model", PROFILES)
def test_a_profile_says_what_the_model_can_do(model: str) -> None:
    """The profile is the catalogue's, by langchain-core's names only, which it would warn of otherwise (L29)."""
    profile: Any = ChatModelStudio(model=model, api_key=KEY).profile
    assert {name: profile.get(name) for name in PROFILES[model]} == PROFILES[model]
    assert profile.keys() <= ModelProfile.__annotations__.keys()
    assert (profile["text_inputs"], profile["pdf_inputs"]) == (True, False)


def test_a_profile_does_not_follow_the_instance() -> None:
    """What one instance asks for, such as thinking off, is not what the model can do."""
    plain = ChatModelStudio(model="qwen3.7-max", api_key=KEY)
    asked = ChatModelStudio(model="qwen3.7-max", api_key=KEY, enable_thinking=False, max_tokens=10, streaming=True)
    assert plain.profile == asked.profile


def test_of_an_unknown_model_nothing_is_said() -> None:
    """A profile invents nothing: of a model without a source only what the chat service gives any model."""
    assert ChatModelStudio(model="made-up", api_key=KEY).profile == {
        "text_inputs": True,
        "text_outputs": True,
        "pdf_inputs": False,
        "image_tool_message": True,
        "pdf_tool_message": False,
    }


async def test_capabilities_override_the_catalogue() -> None:
    """The caller knows better: each fact can be set, and is acted on and shown."""
    with Loopback(HELLO) as server:
        llm = chat(server, model="made-up", capabilities={"thinking": "none", "max_input": 5, "json_schema": True})
        assert llm.profile is not None
        assert (llm.profile["max_input_tokens"], llm.profile["reasoning_output"]) == (5, False)
        llm.invoke("hello")
        assert "stream" not in sent(server)
        chat(server, model="qwen-max", capabilities={"streaming_only": True}).invoke("hello")
        assert sent(server)["stream"] is True
        with pytest.raises(ConfigurationError, match=r"capabilities.*'colour'"):
            chat(server, capabilities={"colour": "red"})
        with pytest.raises(ConfigurationError, match=r"capabilities.*'thinking'"):
            chat(server, capabilities={"thinking": "often"})


FACTS = {
    "max_output": "max_output_tokens",
    "input_image": "image_inputs",
    "input_video": "video_inputs",
    "input_audio": "audio_inputs",
    "output_audio": "audio_outputs",
    "tools": "tool_calling",
    "json_schema": "structured_output",
}


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_is_shown_by_its_own_name(fact: str) -> None:
    """One fact alone makes its own entry of the profile, and what follows from it, and no other."""
    given = 7 if fact.startswith("max") else True
    profile: Any = ChatModelStudio(model="made-up", api_key=KEY, capabilities={fact: given}).profile
    nothing: Any = ChatModelStudio(model="made-up", api_key=KEY).profile
    follows = {
        "image_inputs": {"image_url_inputs": True},
        "tool_calling": {"tool_choice": True, "tool_call_streaming": True},
    }
    assert profile == nothing | {FACTS[fact]: given} | follows.get(FACTS[fact], {})


def test_a_profile_of_the_caller_s_own() -> None:
    """A profile given as an argument is kept."""
    own: Any = {"max_input_tokens": 7}
    assert ChatModelStudio(model="qwen-plus", api_key=KEY, profile=own).profile == own


# ---------------------------------------------------------------- the key


def test_a_key_is_needed() -> None:
    """Without a key the object is not built, and the error says where it is looked for."""
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        ChatModelStudio(model="qwen-plus")


async def test_the_key_goes_on_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of argument and environment, the argument; beside the headers that the caller wants."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-environment")
    with Loopback(HELLO) as server:
        for way in WAYS:
            await call(chat(server, api_key=KEY, default_headers={"X-Mine": "1"}), way)
            await call(chat(server, api_key=SecretStr(KEY)), way)
            await call(chat(server), way)
        keys = [request.headers["authorization"] for request in server.requests]
        assert keys == [f"Bearer {KEY}", f"Bearer {KEY}", "Bearer sk-environment"] * 4
        assert [request.headers.get("x-mine") for request in server.requests] == ["1", None, None] * 4


async def test_the_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No way to print, dump, trace or cache a model shows its key, wherever it came from (L47)."""
    cache = InMemoryCache()
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    with Loopback(HELLO) as server:
        for settings in ({"api_key": KEY}, {}, {"http_client": httpx.Client()}):
            llm = chat(server, cache=cache, temperature=0.5, **settings)
            llm.invoke("hello")
            shown = [
                repr(llm),
                str(llm),
                str(llm.model_dump()),
                llm.model_dump_json(),
                dumps(llm),
                str(dumpd(llm)),
                llm._get_llm_string(stop=["x"], top_p=0.5),
                str(llm._identifying_params),
                str(llm.asdict()),
                str(llm._get_ls_params()),
                str(llm._get_invocation_params()),
                str(cache._cache),
                str(llm.bind_tools([]) | str),
            ]
            assert KEY not in "".join(shown)
            assert "sk-marked" not in "".join(shown)
            llm.http_client and llm.http_client.close()


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # `load` is in beta
def test_a_model_is_serialised_and_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model comes back from its serialised form with all that was set, and its key from the environment (L47)."""
    settings: dict[str, Any] = {
        "enable_thinking": False,
        "streaming": False,
        "temperature": 0,
        "max_retries": 0,
        "extra_body": {"a": [1]},
        "capabilities": {"thinking": "none"},
        "stop": ["x"],
        "base_url": "https://example.com/compatible-mode/v1",
    }
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY, **settings)
    assert ChatModelStudio.is_lc_serializable()
    assert llm.lc_secrets == {"api_key": "DASHSCOPE_API_KEY"}
    text = dumps(llm)
    assert json.loads(text)["id"] == ["langchain_modelstudio", "chat_models", "ChatModelStudio"]
    allowed: Any = {"allowed_objects": "all", "valid_namespaces": ["langchain_modelstudio"]}
    loaded = load(json.loads(text), secrets_map={"DASHSCOPE_API_KEY": KEY}, **allowed)
    assert isinstance(loaded, ChatModelStudio)
    assert (dumps(loaded), loaded.api_key) == (text, SecretStr(KEY))
    assert {name: getattr(loaded, name) for name in settings} == settings
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert load(json.loads(text), secrets_from_env=True, **allowed).api_key == SecretStr(KEY)


async def test_a_model_is_pickled_and_copied() -> None:
    """Pickles and copies of a model that has been used work, as workers and checkpoints need."""
    with Loopback(HELLO) as server:
        llm = chat(server, temperature=0.5)
        llm.invoke("hello")
        for again in (pickle.loads(pickle.dumps(llm)), llm.model_copy(), llm.model_copy(deep=True)):
            assert dumps(again) == dumps(llm)
            for way in WAYS:
                assert (await call(again, way)).text == "hello"
        other = llm.model_copy(update={"temperature": 0.75})
        other.invoke("hello")
        assert (sent(server)["temperature"], llm.temperature) == (0.75, 0.5)


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_setting_counts(way: str) -> None:
    """An object whose key or address is changed, or a copy of it, sends there and with that from then on."""
    with Loopback(HELLO) as one, Loopback(HELLO) as other:
        llm = chat(one, api_key="sk-one")
        await call(llm, way)
        copied = llm.model_copy(update={"base_url": other.url, "api_key": SecretStr("sk-other")})
        await call(copied, way)
        await call(llm, way)
        llm.base_url = other.url
        await call(llm, way)
        assert [request.headers["authorization"] for request in one.requests] == ["Bearer sk-one"] * 2
        assert [request.headers["authorization"] for request in other.requests] == ["Bearer sk-other", "Bearer sk-one"]


# ---------------------------------------------------------------- LangChain around it


async def test_a_cache_tells_answers_apart() -> None:
    """The cache's key has what changes an answer, set on the object or in the call."""
    cache = InMemoryCache()
    different: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"model": "qwen-max"}, {}),
        ({}, {"model": "qwen-max"}),
        ({"enable_thinking": True}, {}),
        ({"enable_thinking": False}, {}),
        ({}, {"enable_thinking": True}),
        ({"temperature": 0}, {}),
        ({"stop": ["x"]}, {}),
        ({}, {"stop": ["y"]}),
        ({"extra_body": {"a": 1}}, {}),
        ({"capabilities": {"thinking": "none"}}, {}),
        ({"reasoning_replay": "never"}, {}),
        ({"response_format": {"type": "json_object"}}, {}),
    ]
    with Loopback(HELLO) as server:
        for count, (settings, options) in enumerate(different, start=1):
            for way in ("invoke", "ainvoke"):
                message = await call(chat(server, cache=cache, **settings), way, **options)
                assert message.text == "hello"
            assert len(server.requests) == count
        # how a call is made, and with which key, changes no answer; yet the key is part of what is serialised by name
        await call(chat(server, cache=cache), "invoke")
        assert len(server.requests) == len(different)


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def acquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("sync")
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        self.asked.append("async")
        return True


@pytest.mark.parametrize("way", WAYS)
async def test_a_rate_limiter_is_asked(way: str) -> None:
    """LangChain's own rate limiter is asked once a call."""
    limiter = Limiter()
    with Loopback(HELLO) as server:
        await call(chat(server, rate_limiter=limiter), way)
    assert limiter.asked == ["async" if way.startswith("a") else "sync"]


@pytest.mark.parametrize("way", WAYS)
async def test_with_retry(way: str) -> None:
    """`with_retry` sees our errors by LangChain's classes; a stream is not tried again, which is LangChain's way."""
    with Loopback([BUSY, HELLO]) as server:
        llm = chat(server).with_retry(
            retry_if_exception_type=(RateLimitError,), wait_exponential_jitter=False, stop_after_attempt=2
        )
        if "stream" in way:
            with pytest.raises(RateLimitError):
                await call(llm, way)
        assert (await call(llm, way)).text == "hello"
        assert len(server.requests) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_with_fallbacks(way: str) -> None:
    """`with_fallbacks` goes on to the next model."""
    with Loopback(BUSY) as busy, Loopback(HELLO) as server:
        llm = chat(busy).with_fallbacks([chat(server)])
        assert (await call(llm, way)).text == "hello"
        assert (len(busy.requests), len(server.requests)) == (1, 1)


@pytest.mark.parametrize("way", WAYS)
async def test_configurable_fields(way: str) -> None:
    """A field set by configuration goes out, and `stream()` goes on streaming: LangChain builds the object anew with
    all fields given, defaults too."""
    with Loopback(HELLO) as server:
        fields = {name: ConfigurableField(id=name) for name in ("temperature", "model", "enable_thinking")}
        llm = chat(server, top_p=0.5).configurable_fields(**fields)
        configured = llm.with_config(configurable={"temperature": 0.25, "model": "qwen-max"})
        await call(configured, way)
        assert (sent(server)["temperature"], sent(server)["top_p"], sent(server)["model"]) == (0.25, 0.5, "qwen-max")
        assert bool(sent(server).get("stream")) == ("stream" in way)
        await call(llm, way)
        assert ("temperature" in sent(server), sent(server)["model"]) == (False, "qwen-plus")
        if "stream" in way:
            assert len(await pieces_of(configured, way)) == 3


@pytest.mark.parametrize("way", WAYS)
async def test_configurable_alternatives(way: str) -> None:
    """One of several models is chosen by configuration."""
    with Loopback(HELLO) as server:
        llm = chat(server).configurable_alternatives(ConfigurableField(id="which"), big=chat(server, model="qwen-max"))
        await call(llm.with_config(configurable={"which": "big"}), way)
        assert sent(server)["model"] == "qwen-max"


async def test_an_injected_client_is_used_and_not_closed() -> None:
    """`http_client` and `http_async_client` carry the calls, stay open, and are no part of what is dumped."""
    with Loopback(HELLO) as server, httpx.Client(headers={"x-client": "sync"}) as client:
        async with httpx.AsyncClient(headers={"x-client": "async"}) as aclient:
            llm = chat(server, http_client=client, http_async_client=aclient)
            for way in WAYS:
                assert (await call(llm, way)).text == "hello"
            assert [request.headers["x-client"] for request in server.requests] == ["sync", "async"] * 2
            llm.close()
            await llm.aclose()
            assert not client.is_closed
            assert not aclient.is_closed
            assert "http_client" not in dumps(llm) + str(llm.model_dump()) + repr(llm)


async def test_a_model_closes_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The context managers close what is the object's own; it opens anew if it is used again."""
    with Loopback(HELLO) as server:
        own = pool.ConnectionPool()  # else idle connections of other tests' objects keep the shared one open
        monkeypatch.setattr(shared_pools, "_pool", own)
        monkeypatch.setattr(shared_pools, "_pool_by_loop", weakref.WeakKeyDictionary())
        with chat(server) as llm:
            assert llm.invoke("hello").text == "hello"
            assert server.open_connections == 1
        assert await asyncio.to_thread(server.wait_until, nobody)
        async with chat(server) as llm:
            assert (await llm.ainvoke("hello")).text == "hello"
        assert await asyncio.to_thread(server.wait_until, nobody)
        assert llm.invoke("hello").text == "hello"
        assert (await llm.ainvoke("hello")).text == "hello"
        llm.close()
        await llm.aclose()
        assert await asyncio.to_thread(server.wait_until, nobody)


def nobody(server: Loopback) -> bool:
    return server.open_connections == 0


def test_versions_are_known_to_traces() -> None:
    """LangSmith is told which version of this package made a run, beside LangChain's own."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY)
    assert llm.metadata is not None
    assert llm.metadata["lc_versions"].keys() >= {"modelstudio-integrations"}
    assert llm._llm_type == "modelstudio-chat"


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_for_langsmith_is_not_sent(way: str) -> None:
    """Options that start with ls_ are for traces: they are neither sent nor refused."""
    with Loopback(HELLO) as server:
        await call(chat(server), way, ls_structured_output_format={"kwargs": {}, "schema": None}, ls_other=1)
        assert not [name for name in sent(server) if name.startswith("ls_")]


def test_what_identifies_a_model() -> None:
    """Callbacks are told the model, where it is, and what was set, under the service's names."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY, region="beijing", temperature=0.5, enable_thinking=False)
    told = {"model": "qwen-plus", "base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1"}
    assert llm._identifying_params.items() >= {**told, "temperature": 0.5, "enable_thinking": False}.items()


def test_model_wins_over_its_other_name() -> None:
    """`model_name` is the same thing as `model`, which is what counts where both are given."""
    assert ChatModelStudio(model="a", model_name="b", api_key=KEY).model == "a"  # type: ignore[call-arg]
    assert ChatModelStudio(model_name="b", api_key=KEY).model == "b"  # type: ignore[call-arg]


async def test_a_changed_http_client_counts() -> None:
    """A client that is injected after a call is used from then on."""
    with Loopback(HELLO) as server:
        llm = chat(server)
        llm.invoke("x")
        with httpx.Client(headers={"x-client": "injected"}) as client:
            llm.http_client = client
            llm.invoke("x")
        assert [request.headers.get("x-client") for request in server.requests] == [None, "injected"]


class Watcher(BaseCallbackHandler, _V2StreamingCallbackHandler):
    """What LangGraph attaches to see the v3 events of an invoke."""


@pytest.mark.parametrize("answers", [1, 2])
async def test_several_answers_are_not_made_events(answers: int) -> None:
    """An invoke that LangGraph watches is streamed to it, unless it has several answers."""
    with Loopback(several) as server:
        llm = chat(server, n=answers)
        result = llm.generate([[HumanMessage("x")]], callbacks=[Watcher()])
        assert len(result.generations[0]) == answers
        assert sent(server).get("stream", False) is (answers == 1)
        result = await llm.agenerate([[HumanMessage("x")]], callbacks=[Watcher()])
        assert len(result.generations[0]) == answers
        assert sent(server).get("stream", False) is (answers == 1)


# ---------------------------------------------------------------- tokens

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def test_tokens_of_a_conversation_are_those_of_the_service() -> None:
    """As billed: 9 tokens for one word to qwen-plus, and 4 more for qwen-turbo's empty thought."""
    llm, turbo = (ChatModelStudio(model=model, api_key=KEY) for model in ("qwen-plus", "qwen-turbo"))
    assert llm.get_num_tokens_from_messages([HumanMessage("hi")]) == 9
    assert turbo.get_num_tokens_from_messages([HumanMessage("hi")]) == 13
    assert llm.get_num_tokens("hi") == len(llm.get_token_ids("hi")) == 1
    assert llm.get_num_tokens_from_messages([]) == 0  # as langchain-core's trim_messages asks
    assert llm.get_num_tokens_from_messages("hi") == llm.get_num_tokens_from_messages([("user", "hi")]) == 9


JSON_MODE = {"type": "json_object"}


@pytest.mark.parametrize(
    ("set_on_object", "bound", "given", "added"),
    [
        ({"response_format": JSON_MODE}, {}, {}, 2),
        ({}, {"response_format": JSON_MODE}, {}, 2),
        ({}, {}, {"response_format": JSON_MODE}, 2),
        ({"response_format": JSON_MODE}, {}, {"response_format": {"type": "text"}}, 0),
        ({}, {"tools": [WEATHER]}, {}, 111),
        ({}, {"tools": [WEATHER], "tool_choice": "any"}, {}, 114),
        ({}, {}, {"tools": [WEATHER]}, 111),
        ({}, {"tool_choice": "auto"}, {"tools": [WEATHER], "tool_choice": "required"}, 114),
        ({"response_format": JSON_MODE}, {}, {"tools": [WEATHER], "tool_choice": True}, 116),
        ({}, {"model": "qwen-turbo"}, {}, 4),
        ({"model": "qwen-flash"}, {"enable_thinking": False}, {}, 4),
        ({"model": "qwen-flash", "enable_thinking": True}, {}, {}, 0),
    ],
)
def test_all_that_counts_is_counted(
    set_on_object: dict[str, Any], bound: dict[str, Any], given: dict[str, Any], added: int
) -> None:
    """What is set on the object, bound, or given for the count costs what it would cost on a call.

    A tool adds 77 tokens of text, 29 of its schema and 5 of a system turn; a forced choice 3, JSON mode 2.
    """
    messages = [HumanMessage("json")]
    llm = ChatModelStudio(**{"model": "qwen-plus", "api_key": KEY, **set_on_object})
    model = llm.bind(**bound) if bound else llm
    plain = ChatModelStudio(model="qwen-plus", api_key=KEY).get_num_tokens_from_messages(messages)
    assert model.get_num_tokens_from_messages(messages, **given) == plain + added


def test_an_estimate_is_marked() -> None:
    """A count that may not be the service's says why."""
    llm = ChatModelStudio(model="qwen-max", api_key=KEY)
    counted = llm.bind_tools([WEATHER]).get_num_tokens_from_messages([HumanMessage("hi")])
    assert isinstance(counted, TokenEstimate)
    assert "tools of qwen-max" in counted.reason


def test_a_tokenizer_of_the_callers_own_is_used() -> None:
    """`custom_get_token_ids` wins, as langchain-core has it."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY, custom_get_token_ids=lambda text: [1, 2, 3])
    assert llm.get_num_tokens("anything") == 3
    assert llm.get_token_ids("anything") == [1, 2, 3]
    assert llm.get_num_tokens_from_messages([HumanMessage("hi")]) == 3
