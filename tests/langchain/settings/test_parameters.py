"""Parameters are sent under the service's names, with the precedence call, binding, object."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.exceptions import ModelError
from langchain_core.load import dumps, load
from pydantic import SecretStr, ValidationError

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError
from modelstudio_core.http.timeouts import Timeouts, timeouts
from modelstudio_core.parameters import PLAIN_PARAMETERS, POLICY_PARAMETERS
from tests.ids import short
from tests.langchain.service import WAYS, call, chat, pieces_of
from tests.langchain.settings.models import HELLO, KEY
from tests.loopback import Loopback
from tests.protocols import both_protocols, spoken
from tests.service import sent

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
# tested in test_tools.py, in tests/core (only streams have incremental_output) and in tests/langchain/test_responses.py
ELSEWHERE = {
    *("tools", "tool_choice", "parallel_tool_calls", "incremental_output"),
    *("conversation", "previous_response_id", "session_cache", "store", "use_previous_response_id"),
}
PARAMETERS = list(VALUES)


def test_no_parameter_is_forgotten() -> None:
    """The table has every parameter of the core."""
    assert VALUES.keys() | {name for of in OF_ONE.values() for name in of} | ELSEWHERE == {
        *POLICY_PARAMETERS,
        *PLAIN_PARAMETERS,
    }


@both_protocols
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.rotated
async def test_a_parameter_reaches_the_wire(name: str, which: int) -> None:
    """As a field, bound, and per call, including falsy values (L7, L8)."""
    await reaches_the_wire(name, VALUES[name][which], VALUES[name][1 - which])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("protocol", "name"), [(protocol, name) for protocol in OF_ONE for name in OF_ONE[protocol]])
async def test_a_parameter_of_one_protocol(protocol: str, name: str, which: int) -> None:
    """The other protocol raises an error that names the right one."""
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
    """All methods send the same parameters, and no others."""
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
    """`stop` of a call overrides the object's. An empty list removes it."""
    with Loopback(HELLO) as server:
        llm = chat(server, stop=["a"])
        await call(llm, way)
        await call(llm, way, stop=["b"])
        await call(llm, way, stop=[])
        assert [sent(server, at).get("stop") for at in range(3)] == [["a"], ["b"], None]


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_extra_body_is_merged(way: str) -> None:
    """Unknown parameters are sent. Those of a call are merged into the object's."""
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
    """It is sent, and its facts apply."""
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
    """The error of a misspelt parameter has a suggestion, and nothing is sent (L7)."""
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
    "client": "did you mean http_client",
    "num_output": "did you mean max_tokens?",
    "result_format": "remove it",
    "return_documents": "remove it",
    "model_kwargs": "pass its entries as arguments (temperature=, ...), others in extra_body=",
    "stop_sequences": "did you mean stop?",
    "openai_proxy": "did you mean http_client or http_async_client?",
    "brand_new": "extra_body",
}


@pytest.mark.parametrize(("name", "hint"), MEANT.items())
def test_an_unknown_argument_is_refused(name: str, hint: str) -> None:
    """The error of a misspelt argument has a suggestion. Other packages ignore it (L7)."""
    with pytest.raises(ConfigurationError) as raised:
        ChatModelStudio(model="qwen-plus", api_key=KEY, **{name: KEY})
    assert f"unknown argument {name}: " in str(raised.value)
    assert hint in str(raised.value)
    assert ("did you mean" in str(raised.value)) == ("did you mean" in hint)
    assert KEY not in str(raised.value)


def test_several_unknown_arguments() -> None:
    """The error has all of them."""
    with pytest.raises(ConfigurationError) as raised:
        ChatModelStudio(model="qwen-plus", api_key=KEY, api_base="x", brand_new=1)  # type: ignore[call-arg]
    assert "unknown argument api_base: did you mean base_url?" in str(raised.value)
    assert "unknown argument brand_new: " in str(raised.value)


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)], ids=["str", "SecretStr"])
async def test_the_key_is_a_secret_str(key: Any) -> None:
    """A str is converted, so that no repr shows it."""
    with Loopback(HELLO) as server:
        for llm in (chat(server, api_key=key), ChatModelStudio(**{**chat(server).model_dump(), "api_key": key})):
            assert type(llm.api_key) is SecretStr
            assert llm.api_key == SecretStr(KEY)
            assert KEY not in repr(llm) + str(llm) + str(llm.model_dump()) + llm.model_dump_json()
            llm.invoke("hello")
            assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert chat(server, api_key=None).api_key is None


@pytest.mark.parametrize(
    "wrong", [{"model": 1}, {"model": "m", "temperature": "x"}, {"model": "m", "protocol": "x"}], ids=str
)
@pytest.mark.parametrize("first", [True, False])
def test_validation_errors_show_no_key(wrong: dict[str, Any], first: bool) -> None:
    """Errors of the constructor contain no input."""
    key = {"api_key": "sk-" + "0123456789abcdef"}
    with pytest.raises(ValidationError) as raised:
        ChatModelStudio(**({**key, **wrong} if first else {**wrong, **key}))
    assert "0123" not in str(raised.value)
    assert "cdef" not in str(raised.value)


def test_a_missing_model() -> None:
    """The error names a model, because there is no default."""
    create: Any = ChatModelStudio
    with pytest.raises(ConfigurationError, match=r'model is missing: .*model="qwen-plus"') as raised:
        create(api_key=KEY)
    assert KEY not in str(raised.value)


def test_invalid_field_types() -> None:
    """Creating the object raises an error."""
    for wrong in ({"temperature": "hot"}, {"reasoning_replay": "sometimes"}, {"extra_body": 1}, {"protocol": "soap"}):
        with pytest.raises(ValidationError):
            ChatModelStudio(**{"model": "qwen-plus", "api_key": KEY, **wrong})


LATE = [{"timeout": 0}, {"max_retries": "3"}, {"max_retries": -3}, {"region": "x"}, {"base_url": "ftp://x"}]


@pytest.mark.parametrize("late", LATE, ids=short)
@pytest.mark.parametrize(
    "use", [lambda llm: llm.invoke("hi"), lambda llm: next(llm.stream("hi")), lambda llm: llm.close()]
)
def test_a_setting_changed_to_an_invalid_value(late: dict[str, Any], use: Callable[[Any], Any]) -> None:
    """Its use raises the error of the constructor, which is also LangChain's."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-0123456789")
    for name, value in late.items():
        setattr(llm, name, value)
    with pytest.raises(ConfigurationError) as caught:
        use(llm)
    assert isinstance(caught.value, ModelError)


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_an_httpx_timeout_can_be_serialized(monkeypatch: pytest.MonkeyPatch) -> None:
    """As JSON and by LangChain."""
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
    """Both names are accepted as arguments and attributes."""
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
async def test_whether_a_request_is_streamed(
    settings: dict[str, Any], options: dict[str, Any], invoked: bool, streamed: bool, pieces: int, a: str
) -> None:
    """`streaming` unset does not affect `stream()`, False makes it one whole answer, True always streams (L35)."""
    with Loopback(HELLO) as server:
        llm = chat(server, **settings)
        assert (await call(llm, f"{a}invoke", **options)).text == "hello"
        assert bool(sent(server).get("stream")) == invoked
        came = await pieces_of(llm, f"{a}stream", **options)
        assert bool(sent(server).get("stream")) == streamed
    assert (len(came), "".join(piece.text for piece in came)) == (pieces, "hello")
    assert sum((piece.usage_metadata or {}).get("total_tokens", 0) for piece in came) == 30
