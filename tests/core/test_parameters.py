"""Every documented parameter is sent under its name. Unknown names raise an error."""

from __future__ import annotations

import copy
import re
from dataclasses import fields
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.parameters import (
    LOCAL_PARAMETERS,
    PLAIN_PARAMETERS,
    POLICY_PARAMETERS,
    chat_request,
    unknown_argument,
)
from modelstudio_core.retrieval_settings import EmbeddingSettings, RerankSettings
from modelstudio_core.settings import ChatSettings
from modelstudio_core.types import CallOptions, ChatRequest, Message

USER = Message("user", "hello")
# The vendor's chat reference, its Deep thinking page, and what both adapters offer besides.
DOCUMENTED = """
    temperature top_p top_k presence_penalty repetition_penalty max_tokens max_completion_tokens seed stop logprobs
    top_logprobs n tools tool_choice parallel_tool_calls tool_stream response_format enable_thinking thinking_budget
    preserve_thinking reasoning_effort clear_thinking thinking enable_search search_options enable_code_interpreter
    modalities audio vl_high_resolution_images translation_options ocr_options skill vl_enable_image_hw_output
    incremental_output streaming reasoning_replay native_endpoint extra_body
    store conversation previous_response_id use_previous_response_id session_cache"""
TOOLS = ({"type": "function", "function": {"name": "f"}},)


def test_the_names() -> None:
    """The known parameters are those that the service documents. Each has one kind."""
    names = [*POLICY_PARAMETERS, *PLAIN_PARAMETERS, *LOCAL_PARAMETERS]
    assert sorted(names) == sorted(DOCUMENTED.split())
    assert {*POLICY_PARAMETERS, *LOCAL_PARAMETERS} <= {known.name for known in fields(ChatRequest)}


VALUES: dict[str, Any] = {"tools": TOOLS, "reasoning_replay": "never", "streaming": False, "extra_body": {"x": 1}}


@pytest.mark.parametrize("name", DOCUMENTED.split())
def test_a_parameter_reaches_the_request(name: str) -> None:
    """Also a falsy value. None means not set."""
    value = VALUES.get(name, 0)
    request = chat_request("qwen-plus", [USER], {"tools": TOOLS, name: value})
    expected = {"model": "qwen-plus", "messages": (USER,), "tools": TOOLS}
    expected |= {"parameters": {name: value}} if name in PLAIN_PARAMETERS else {name: value}
    assert request == ChatRequest(**expected)
    assert chat_request("qwen-plus", [USER], {name: None}) == ChatRequest("qwen-plus", (USER,))


LIFTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("a policy sees it", {"extra_body": {"enable_thinking": False}}, {"enable_thinking": False}),
    (
        "it is a parameter",
        {"extra_body": {"top_k": 1, "new": 2}},
        {"parameters": {"top_k": 1}, "extra_body": {"new": 2}},
    ),
    ("it wins", {"seed": 1, "extra_body": {"seed": 2}}, {"parameters": {"seed": 2}}),
    ("how the request is made does not", {"extra_body": {"streaming": True}}, {"extra_body": {"streaming": True}}),
    (
        "what one protocol only is known to carry stays",
        {"extra_body": {"modalities": ["text"], "search_options": {"enable_source": True}}},
        {"extra_body": {"modalities": ["text"], "search_options": {"enable_source": True}}},
    ),
    ("what is new stays", {"extra_body": {"new": [1]}}, {"extra_body": {"new": [1]}}),
]


@pytest.mark.parametrize(("values", "expected"), [c[1:] for c in LIFTED], ids=[c[0] for c in LIFTED])
def test_a_known_name_in_extra_body(values: dict[str, Any], expected: dict[str, Any]) -> None:
    """It counts as if passed as a parameter."""
    before = copy.deepcopy(values)
    assert chat_request("qwen-plus", [USER], values) == ChatRequest("qwen-plus", (USER,), **expected)
    assert values == before


def test_an_empty_list_is_not_set() -> None:
    """LangChain passes `stop=[]` for no stop sequences."""
    assert chat_request("qwen-plus", [USER], {"stop": []}) == ChatRequest("qwen-plus", (USER,))


WRONG: list[tuple[str, str]] = [
    ("temprature", "did you mean temperature?"),
    ("max_token", "did you mean max_tokens?"),
    ("enable_thinkin", "did you mean enable_thinking?"),
    ("frequency_penalty", "extra_body"),
    ("something_new", "extra_body"),
    ("result_format", "remove it"),
    ("prefix_messages", "before the others"),
    ("model_kwargs", "pass its entries as arguments (temperature=, ...), others in extra_body="),
]


@pytest.mark.parametrize(("name", "says"), WRONG)
def test_an_unknown_name(name: str, says: str) -> None:
    """It raises an error even if None, with a suggestion."""
    for value in (1, None):
        with pytest.raises(ConfigurationError) as caught:
            chat_request("qwen-plus", [USER], {name: value})
        assert caught.value.message.startswith(f"unknown argument {name}: ")
        assert says in caught.value.message


@pytest.mark.parametrize("settings", [ChatSettings, EmbeddingSettings, RerankSettings])
def test_advice_names_arguments_of_the_class(settings: Any) -> None:
    """Embeddings and rerank have no `max_tokens`, for example."""
    names = ("client", "model_kwargs", "num_output", "reasoning", "stop_sequences", "use_responses_api", "audio_config")
    for name in names:
        says = unknown_argument(name, settings.model_fields).removeprefix(f"unknown argument {name}: ")
        meant = re.findall(r"mean (\w+)|or (\w+)\?|(\w+)=", says)
        assert meant
        assert {"".join(groups) for groups in meant} <= settings.model_fields.keys()
        assert ('protocol="responses"' in says) == (name == "use_responses_api" and settings is ChatSettings)


def test_several_unknown_names() -> None:
    """One error has all of them."""
    with pytest.raises(ConfigurationError, match=r"(?s)max_toks: .*temprature: "):
        chat_request("qwen-plus", [USER], {"temprature": 1, "max_toks": 1})


def test_an_empty_conversation() -> None:
    """The service's `messages` must be non-empty."""
    with pytest.raises(ConfigurationError, match="message"):
        chat_request("qwen-plus", [], {})


@pytest.mark.parametrize("tools", [None, [], ()])
def test_no_tools_no_parallel_calls(tools: Any) -> None:
    """Without tools, `parallel_tool_calls` is omitted. An empty list of tools is the same as none."""
    request = chat_request("qwen-plus", [USER], {"tools": tools, "parallel_tool_calls": True, "seed": 1})
    assert request == ChatRequest("qwen-plus", (USER,), parameters={"seed": 1})


def test_inputs_are_not_changed() -> None:
    """Lists are converted to tuples of the request."""
    values = {"tools": [*TOOLS], "stop": ["a"], "extra_body": {"x": [1]}, "seed": None}
    before = copy.deepcopy(values)
    request = chat_request("qwen-plus", [USER, USER], values)
    assert values == before
    assert request.tools == TOOLS
    assert request.messages == (USER, USER)


SETTINGS: list[tuple[str, str]] = [
    ("api_key", "api_key is a setting of the model object, not of a call"),
    ("http_client", "http_client is a setting of the model object, not of a call"),
    ("capabilities", "capabilities is a setting of the model object, not of a call"),
    ("default_headers", "for one call, use extra_headers"),
]


@pytest.mark.parametrize(("name", "says"), SETTINGS)
def test_settings_of_the_object(name: str, says: str) -> None:
    """The error says where to set them, and does not suggest extra_body."""
    with pytest.raises(ConfigurationError, match=says):
        chat_request("qwen-plus", [USER], {name: 1}, of_object=ChatSettings.model_fields)


def test_options_of_a_call() -> None:
    """Headers, with lower-case names, and timeouts are not part of the body."""
    values = {"extra_headers": {"X-Team": "a"}, "timeout": 5, "include_response_headers": True}
    request = chat_request("qwen-plus", [USER], values)
    assert request.options == CallOptions(SecretHeaders({"x-team": "a"}), Timeouts(5, 5.0, 5.0, 5.0), True)
    assert request.parameters == {}
    assert "'a'" not in repr(request)
    assert chat_request("qwen-plus", [USER], dict.fromkeys(values)).options == CallOptions()
