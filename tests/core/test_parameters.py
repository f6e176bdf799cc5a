"""Every documented parameter reaches the request under its own name, and a misspelt one is an error that says so."""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.parameters import LOCAL_PARAMETERS, PLAIN_PARAMETERS, POLICY_PARAMETERS, chat_request
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
    """The parameters known here are those the service documents; each is of one kind only."""
    names = [*POLICY_PARAMETERS, *PLAIN_PARAMETERS, *LOCAL_PARAMETERS]
    assert sorted(names) == sorted(DOCUMENTED.split())
    assert {*POLICY_PARAMETERS, *LOCAL_PARAMETERS} <= {known.name for known in fields(ChatRequest)}


VALUES: dict[str, Any] = {"tools": TOOLS, "reasoning_replay": "never", "streaming": False, "extra_body": {"x": 1}}


@pytest.mark.parametrize("name", DOCUMENTED.split())
def test_a_parameter_reaches_the_request(name: str) -> None:
    """A value, also a falsy one, is in the field that policies read or among those sent as is; None is not set."""
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
    """What `extra_body` says under a name that is known here counts as said by that name."""
    before = copy.deepcopy(values)
    assert chat_request("qwen-plus", [USER], values) == ChatRequest("qwen-plus", (USER,), **expected)
    assert values == before


def test_an_empty_list_is_not_set() -> None:
    """LangChain hands `stop=[]` on for nothing."""
    assert chat_request("qwen-plus", [USER], {"stop": []}) == ChatRequest("qwen-plus", (USER,))


WRONG: list[tuple[str, str]] = [
    ("temprature", "did you mean temperature?"),
    ("max_token", "did you mean max_tokens?"),
    ("enable_thinkin", "did you mean enable_thinking?"),
    ("frequency_penalty", "extra_body"),
    ("something_new", "extra_body"),
    ("model_kwargs", "extra_body"),
]


@pytest.mark.parametrize(("name", "says"), WRONG)
def test_an_unknown_name(name: str, says: str) -> None:
    """An unknown name is an error, also with None as its value, that says which was meant or where it goes."""
    for value in (1, None):
        with pytest.raises(ConfigurationError) as caught:
            chat_request("qwen-plus", [USER], {name: value})
        assert caught.value.message.startswith(f"unknown argument {name}: ")
        assert says in caught.value.message


def test_all_unknown_names_are_told_at_once() -> None:
    """Two mistakes are told in one error."""
    with pytest.raises(ConfigurationError, match=r"(?s)max_toks: .*temprature: "):
        chat_request("qwen-plus", [USER], {"temprature": 1, "max_toks": 1})


def test_an_empty_conversation() -> None:
    """The service's `messages` must be non-empty."""
    with pytest.raises(ConfigurationError, match="message"):
        chat_request("qwen-plus", [], {})


@pytest.mark.parametrize("tools", [None, [], ()])
def test_no_tools_no_parallel_calls(tools: Any) -> None:
    """`parallel_tool_calls` without tools means nothing and is left out; empty tools are none."""
    request = chat_request("qwen-plus", [USER], {"tools": tools, "parallel_tool_calls": True, "seed": 1})
    assert request == ChatRequest("qwen-plus", (USER,), parameters={"seed": 1})


def test_nothing_given_is_changed() -> None:
    """Lists become tuples of the request; the caller's values are not touched."""
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
def test_what_belongs_to_the_object_is_not_taken_for_a_new_parameter(name: str, says: str) -> None:
    """The error says where it is set, instead of sending the caller to extra_body."""
    with pytest.raises(ConfigurationError, match=says):
        chat_request("qwen-plus", [USER], {name: 1}, of_object=ChatSettings.model_fields)


def test_options_of_a_call() -> None:
    """Headers, their names in lower case, and time limits go with the request and not into it."""
    values = {"extra_headers": {"X-Team": "a"}, "timeout": 5, "include_response_headers": True}
    request = chat_request("qwen-plus", [USER], values)
    assert request.options == CallOptions(SecretHeaders({"x-team": "a"}), Timeouts(5, 5.0, 5.0, 5.0), True)
    assert request.parameters == {}
    assert "'a'" not in repr(request)
    assert chat_request("qwen-plus", [USER], dict.fromkeys(values)).options == CallOptions()
