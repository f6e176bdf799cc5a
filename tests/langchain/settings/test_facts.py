"""Profile, key, serialization and token counts."""

from __future__ import annotations

import json
import pickle
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError
from modelstudio_core.policies import may_think
from modelstudio_core.tokens import TokenEstimate
from modelstudio_core.types import Message
from tests.ids import short
from tests.langchain.service import WAYS, call, chat
from tests.langchain.settings.models import HELLO, KEY
from tests.loopback import Loopback
from tests.service import sent

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


THINKING: list[dict[str, Any]] = [
    {}, {"enable_thinking": True}, {"enable_thinking": False}, {"thinking_budget": 100},
    {"reasoning_effort": "none"}, {"reasoning_effort": "high"}, {"reasoning_effort": "none", "enable_thinking": True},
    {"thinking": {"type": "disabled"}}, {"thinking": {"type": "enabled"}}, {"thinking": {}},
    {"extra_body": {"enable_thinking": False}}, {"extra_body": {"reasoning_effort": "none"}},
    {"extra_body": {"thinking": {"type": "disabled"}}},
]  # fmt: skip


@pytest.mark.parametrize("model", PROFILES)
def test_the_profile(model: str) -> None:
    """That of the catalogue, with langchain-core's keys only, because it warns about others (L29)."""
    profile: Any = ChatModelStudio(model=model, api_key=KEY).profile
    assert {name: profile.get(name) for name in PROFILES[model]} == PROFILES[model]
    assert profile.keys() <= ModelProfile.__annotations__.keys()
    assert (profile["text_inputs"], profile["pdf_inputs"]) == (True, False)


@pytest.mark.parametrize(
    "model",
    [
        "qwen-plus", "qwen3.7-max", "qwen3.8-max", "qwq-plus", "qwen-max", "glm-5.2", "kimi-k2.6",
        "MiniMax/MiniMax-M3",  # controlled by the object `thinking`
        "made-up",
    ],
)  # fmt: skip
@pytest.mark.parametrize("given", THINKING, ids=short)
def test_the_thinking_mode_of_an_object_is_that_of_its_requests(model: str, given: dict[str, Any]) -> None:
    """So is that of a call. It decides the token limits in `profile` and in LlamaIndex's `metadata`."""
    llm = ChatModelStudio(model=model, api_key=KEY, **given)
    asked = may_think(*llm._core_request((Message("user", "hello"),), None, {}))
    assert llm._core_may_think() == asked
    assert llm._core_may_think({"temperature": 1}) == asked
    assert ChatModelStudio(model=model, api_key=KEY)._core_may_think(given) == asked


def test_the_profile_does_not_depend_on_settings() -> None:
    """Such as disabled thinking."""
    plain = ChatModelStudio(model="qwen3.7-max", api_key=KEY)
    asked = ChatModelStudio(model="qwen3.7-max", api_key=KEY, enable_thinking=False, max_tokens=10, streaming=True)
    assert plain.profile == asked.profile


def test_the_profile_of_an_unknown_model() -> None:
    """It has only what every model of the chat service supports."""
    assert ChatModelStudio(model="made-up", api_key=KEY).profile == {
        "text_inputs": True,
        "text_outputs": True,
        "pdf_inputs": False,
        "image_tool_message": True,
        "pdf_tool_message": False,
    }


async def test_capabilities_override_the_catalogue() -> None:
    """Each fact can be set, and affects both requests and profile."""
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
def test_facts_in_the_profile(fact: str) -> None:
    """Each fact determines its entry and those derived from it."""
    given = 7 if fact.startswith("max") else True
    profile: Any = ChatModelStudio(model="made-up", api_key=KEY, capabilities={fact: given}).profile
    nothing: Any = ChatModelStudio(model="made-up", api_key=KEY).profile
    follows = {
        "image_inputs": {"image_url_inputs": True},
        "tool_calling": {"tool_choice": True, "tool_call_streaming": True},
    }
    assert profile == nothing | {FACTS[fact]: given} | follows.get(FACTS[fact], {})


def test_a_profile_set_by_the_caller() -> None:
    """It is kept."""
    own: Any = {"max_input_tokens": 7}
    assert ChatModelStudio(model="qwen-plus", api_key=KEY, profile=own).profile == own


# ---------------------------------------------------------------- the key


def test_a_key_is_needed() -> None:
    """Without a key, creating the object raises an error that names the variable."""
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        ChatModelStudio(model="qwen-plus")


async def test_the_key_is_sent_with_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument overrides the environment. Other headers are kept."""
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
    """No repr, dump, trace or cache key contains it (L47)."""
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
    """All settings are loaded, with the key from the environment (L47)."""
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
    """Also after use, as workers and checkpoints require."""
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
async def test_changed_settings(way: str) -> None:
    """A changed key or URL applies to the following requests."""
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


# ---------------------------------------------------------------- tokens

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def test_token_counts_equal_the_service() -> None:
    """9 tokens for one word with qwen-plus, and 4 more for the empty thought of qwen-turbo."""
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
def test_settings_are_counted(
    set_on_object: dict[str, Any], bound: dict[str, Any], given: dict[str, Any], added: int
) -> None:
    """Those of the object, of a binding and of the call.

    A tool adds 77 tokens of text, 29 of its schema and 5 of a system turn; a forced choice 3, JSON mode 2.
    """
    messages = [HumanMessage("json")]
    llm = ChatModelStudio(**{"model": "qwen-plus", "api_key": KEY, **set_on_object})
    model = llm.bind(**bound) if bound else llm
    plain = ChatModelStudio(model="qwen-plus", api_key=KEY).get_num_tokens_from_messages(messages)
    assert model.get_num_tokens_from_messages(messages, **given) == plain + added


def test_an_estimate_is_marked() -> None:
    """It has the reason why it may differ from the service's count."""
    llm = ChatModelStudio(model="qwen-max", api_key=KEY)
    counted = llm.bind_tools([WEATHER]).get_num_tokens_from_messages([HumanMessage("hi")])
    assert isinstance(counted, TokenEstimate)
    assert "tools of qwen-max" in counted.reason


def test_a_custom_tokenizer() -> None:
    """`custom_get_token_ids` has priority, as in langchain-core."""
    llm = ChatModelStudio(model="qwen-plus", api_key=KEY, custom_get_token_ids=lambda text: [1, 2, 3])
    assert llm.get_num_tokens("anything") == 3
    assert llm.get_token_ids("anything") == [1, 2, 3]
    assert llm.get_num_tokens_from_messages([HumanMessage("hi")]) == 3
