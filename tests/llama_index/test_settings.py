"""Settings of the object, metadata of the model, and secrecy of the key."""

from __future__ import annotations

import asyncio
import json
import pickle
from copy import deepcopy
from typing import Any

import httpx
import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.tools import FunctionTool
from llama_index.core.utilities.token_counting import TokenCounter
from pydantic import BaseModel

from llama_index_modelstudio import ModelStudio, errors
from modelstudio_core.catalogue import UNKNOWN_WINDOW, model_info
from tests.llama_index.service import COMPLETIONS, WAYS, call, chat
from tests.loopback import Loopback
from tests.service import Answer, sent

KEY = "sk-marked-key-for-tests"
HELLO = Answer(reasoning=["Hm."], text=["Hello"])


def settings(**given: Any) -> ModelStudio:
    return ModelStudio(**{"model": "qwen-plus", "api_key": KEY, **given})


# ---------------------------------------------------------------- what is sent


@pytest.mark.parametrize("way", WAYS)
async def test_no_parameters_are_sent_by_default(way: str) -> None:
    """No max_tokens, no temperature: the model's defaults apply."""
    with Loopback(HELLO) as server:
        await call(chat(server), way)
        body = sent(server)
    assert body.pop("stream_options", {"include_usage": True}) == {"include_usage": True}
    assert body.pop("stream", True) is True
    assert body == {"model": "qwen-plus", "messages": [{"role": "user", "content": "hello"}]}


def test_a_missing_model() -> None:
    """The error names a model, because there is no default."""
    create: Any = ModelStudio
    with pytest.raises(errors.ConfigurationError, match=r'model is missing: .*model="qwen-plus"') as raised:
        create(api_key=KEY)
    assert KEY not in str(raised.value)


FIELDS: dict[str, Any] = {
    "enable_thinking": True, "thinking_budget": 64, "preserve_thinking": True, "temperature": 0.5, "top_p": 0.9,
    "top_k": 5, "max_tokens": 99, "seed": 7, "stop": ["x"], "presence_penalty": 0.1, "repetition_penalty": 1.1,
    "enable_search": True,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS + COMPLETIONS)
async def test_settings_of_the_object_and_of_a_call(way: str) -> None:
    """Each parameter is accepted by the object and by a call, which has priority and does not change the object."""
    with Loopback(HELLO) as server:
        llm = chat(server, **FIELDS, extra_body={"new": 1})
        await call(llm, way)
        assert {name: sent(server)[name] for name in FIELDS} == FIELDS
        assert sent(server)["new"] == 1
        await call(llm, way, temperature=0.1, enable_thinking=False, thinking_budget=None, model="qwen-flash")
        body = sent(server)
    assert (body["temperature"], body["enable_thinking"], body["model"]) == (0.1, False, "qwen-flash")
    assert "thinking_budget" not in body
    assert (llm.temperature, llm.enable_thinking, llm.model) == (0.5, True, "qwen-plus")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("temprature", "temperature"),
        ("api_base", "base_url"),
        ("additional_kwargs", "extra_body"),
        ("nonsense", "extra_body"),
    ],
)
def test_unknown_arguments_are_rejected(wrong: str, hint: str) -> None:
    """The error has a suggestion."""
    with pytest.raises(errors.ConfigurationError, match=f"{wrong}.*{hint}"):
        settings(**{wrong: 1})


@pytest.mark.parametrize("way", WAYS)
async def test_each_object_has_its_own_connection_settings(way: str) -> None:
    """URL, key and headers are per object; nothing is global."""
    with Loopback(HELLO) as one, Loopback(HELLO) as other:
        first = chat(one, api_key=KEY, default_headers={"x-mine": "1"})
        second = chat(other, api_key="sk-another-key-for-tests")
        for llm in (first, second, first):
            await call(llm, way)
        assert [len(server.requests) for server in (one, other)] == [2, 1]
        assert one.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert one.requests[0].headers["x-mine"] == "1"
        assert other.requests[0].headers["authorization"] == "Bearer sk-another-key-for-tests"
        assert "x-mine" not in other.requests[0].headers


async def test_clients_and_timeouts() -> None:
    """Injected clients are not closed. `timeout` limits the time without data."""
    with Loopback(HELLO) as server, httpx.Client(headers={"x-client": "mine"}) as client:
        with chat(server, http_client=client) as llm:
            llm.chat([ChatMessage("hello")])
        assert server.requests[0].headers["x-client"] == "mine"
        assert not client.is_closed
    with Loopback(lambda exchange: exchange.wait(30)) as server:
        async with chat(server, timeout=0.05) as llm:
            with pytest.raises(errors.APITimeoutError):
                await llm.achat([ChatMessage("hello")])


@pytest.mark.parametrize("ending", ["close", "aclose"])
async def test_an_object_that_is_closed_has_no_connections(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They close unless shared. It opens new ones if used again."""
    monkeypatch.setattr("modelstudio_core.http.shared_pools._pool", None)  # those of other tests
    with Loopback(HELLO) as server:
        llm = chat(server)
        for number in (1, 2):
            await call(llm, "chat" if ending == "close" else "achat")
            assert (server.open_connections, server.connections) == (1, number)
            if ending == "close":
                llm.close()
            else:
                await llm.aclose()
            assert await asyncio.to_thread(server.wait_until, lambda it: it.open_connections == 0)


def test_a_missing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating the object raises an error with the variable, which is the default."""
    with pytest.raises(errors.ConfigurationError, match="DASHSCOPE_API_KEY"):
        ModelStudio(model="qwen-plus")
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert "singapore" in ModelStudio(model="qwen-plus")._core_client().config.where


def test_prompts_of_the_object() -> None:
    """`system_prompt` and `completion_to_prompt` work as for other LLMs."""
    with Loopback(HELLO) as server:
        llm = chat(server, system_prompt="Be brief.", completion_to_prompt=lambda prompt: f"<{prompt}>")
        llm.complete("hello")
        assert sent(server)["messages"] == [{"role": "user", "content": "<hello>"}]
        llm.complete("hello", formatted=True)
        assert sent(server)["messages"] == [{"role": "user", "content": "hello"}]
        from llama_index.core.prompts import PromptTemplate

        assert llm.predict(PromptTemplate("Say {what}."), what="hello") == "Hello"
        assert [message["content"] for message in sent(server)["messages"]] == ["Be brief.", "Say hello."]


# ---------------------------------------------------------------- what LlamaIndex is told


@pytest.mark.parametrize("model", ["qwen-plus", "qwen-turbo", "qwen-max", "qwen3.7-plus", "qwen-mt-plus", "kimi-k3"])
def test_the_context_window_of_a_model(model: str) -> None:
    """The context window is that of the catalogue, and leaves room for the model's maximum input."""
    info, metadata = model_info(model), settings(model=model).metadata
    assert (metadata.context_window, metadata.model_name, metadata.is_chat_model) == (info.context_window, model, True)
    assert info.context_window
    limit = info.max_input_thinking if info.may_think_by_default and info.max_input_thinking else info.max_input
    assert 0 < metadata.context_window - metadata.num_output <= (limit or info.context_window)
    helper = PromptHelper.from_llm_metadata(metadata, tokenizer=str.split)
    assert helper._get_available_context_size(100) > 0


def test_context_windows_of_the_caller_and_of_unknown_models() -> None:
    """The caller's value has priority. Unknown models have a default that PromptHelper supports."""
    assert settings(context_window=5000).metadata.context_window == 5000
    info = model_info("qwen-plus")
    for limit in ("max_tokens", "max_completion_tokens"):
        metadata = settings(**{limit: 500}).metadata
        assert metadata.num_output == 500
        assert metadata.context_window - 500 <= (info.max_input or 0)
    unknown = settings(model="no-such-model").metadata
    assert unknown.context_window == UNKNOWN_WINDOW
    assert 0 < unknown.num_output < UNKNOWN_WINDOW
    assert settings(capabilities={"context_window": 9000, "max_input": 8000}).metadata.context_window == 9000


def test_whether_a_model_supports_tools() -> None:
    """By the catalogue, True if unknown. The caller's value has priority."""
    takes = {model: settings(model=model).metadata.is_function_calling_model for model in
             ("qwen-plus", "qwen-vl-ocr", "qwen-mt-plus", "no-such-model")}  # fmt: skip
    assert takes == {"qwen-plus": True, "qwen-vl-ocr": False, "qwen-mt-plus": False, "no-such-model": True}
    assert settings(model="qwen-mt-plus", is_function_calling_model=True).metadata.is_function_calling_model
    assert not settings(is_function_calling_model=False).metadata.is_function_calling_model
    assert not settings(capabilities={"tools": False}).metadata.is_function_calling_model


# ---------------------------------------------------------------- the key


class Word(BaseModel):
    """A word."""

    word: str


async def test_the_key_is_not_shown() -> None:
    """Not in dumps, reprs, payloads, events, traces and dumped headers."""
    seen: list[Any] = []

    class Events(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            seen.append(event.model_dump_json() + repr(event))

    debug = LlamaDebugHandler(print_trace_on_end=False)
    handler, root = Events(), get_dispatcher()
    root.add_event_handler(handler)
    try:
        with Loopback(HELLO) as server:
            headers = {"x-secret": KEY}
            llm = chat(server, api_key=KEY, default_headers=headers, callback_manager=CallbackManager([debug]))
            for way in WAYS + COMPLETIONS:
                await call(llm, way)
            structured = StructuredLLM(llm=llm, output_cls=Word)
    finally:
        root.event_handlers.remove(handler)
    assert seen
    pairs = debug.get_llm_inputs_outputs()
    assert pairs
    shown = [
        *seen,
        repr(llm),
        str(llm),
        llm.to_json(),
        llm.model_dump_json(),
        str(llm.model_dump()),
        str(getattr(llm, "to_payload", dict)()),
    ]
    shown += [structured.to_json(), str([event.payload for pair in pairs for event in pair])]
    assert not [text for text in shown if KEY in text]


def test_it_can_be_loaded_from_its_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all settings, and the key from the environment."""
    llm = settings(temperature=0.5, enable_thinking=True, context_window=5000, system_prompt="Be brief.")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-key-of-the-environment")
    again = ModelStudio.from_json(llm.to_json())
    assert again.to_dict() == llm.to_dict()
    assert json.loads(llm.to_json())["class_name"] == "ModelStudio"
    assert again._core_client().config.api_key.get_secret_value() == "sk-key-of-the-environment"  # type: ignore[union-attr]


def test_it_can_be_copied_and_pickled() -> None:
    """Changing a copy does not change the original."""
    with Loopback(HELLO) as server:
        llm = chat(server, temperature=0.5)
        llm.chat([ChatMessage("hello")])
        for other in (deepcopy(llm), llm.model_copy(), pickle.loads(pickle.dumps(llm))):
            other.temperature = 0.1
            other.chat([ChatMessage("hello")])
            assert sent(server)["temperature"] == 0.1
        assert llm.temperature == 0.5


def test_it_is_an_llm_of_llamaindex(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be the default LLM, and has its own class name."""
    llm = settings()
    assert isinstance(llm, FunctionCallingLLM)
    assert llm.class_name() == "ModelStudio"
    monkeypatch.setattr(Settings, "_llm", None)
    Settings.llm = llm
    assert Settings.llm is llm


# ---------------------------------------------------------------- tokens


def weather() -> str:
    """Return the weather."""
    return "sunny"


def test_tokens_of_a_request() -> None:
    """Counts equal LangChain's for the same request, with settings of the object or the call.

    The tool costs 77 tokens of text, 5 of a system turn and 44 of its schema; a forced choice costs 3, JSON mode 2.
    """
    llm, messages = settings(), [ChatMessage("json")]
    assert llm.get_num_tokens_from_messages(messages) == 9
    assert llm.get_num_tokens_from_messages([]) == 0
    assert settings(response_format={"type": "json_object"}).get_num_tokens_from_messages(messages) == 11
    assert llm.get_num_tokens_from_messages(messages, response_format={"type": "json_object"}) == 11
    assert llm.get_num_tokens_from_messages(messages, model="qwen-turbo") == 13
    tool = FunctionTool.from_defaults(weather)
    assert llm.get_num_tokens_from_messages(messages, [tool]) == 9 + 126
    assert llm.get_num_tokens_from_messages(messages, [tool], tool_choice="required") == 9 + 129


def test_the_tokenizer_for_llamaindex(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be `Settings.tokenizer`, so that texts are split by the model's tokens."""
    monkeypatch.setattr(Settings, "_tokenizer", None)
    Settings.tokenizer = settings().tokenizer
    assert TokenCounter().get_string_tokens("hello world") == 2
