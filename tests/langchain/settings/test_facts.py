"""What is known of the model, the key, and tokens."""

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
from modelstudio_core.tokens import TokenEstimate
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
