"""Conversion of Model Studio's request fields for llama.cpp, without a server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from local_model import Options
from local_model.dialect import (
    Thought,
    counted,
    opens_again,
    reasoning_request,
    reasoning_then_answer,
    to_llama,
    with_reasoning,
)
from local_model.retrieval import InvalidRequest

USER = {"role": "user", "content": "Weather in Paris?"}
TOOL_RESULT = {"role": "tool", "tool_call_id": "1", "content": "sunny"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
BOUNDED = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 80}}}
ABSENT = object()


def tool(name: str, parameters: Any = PARAMETERS) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def rewritten(asked: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return `to_llama` of a request with one user message and `asked`. The request must not be changed."""
    body = {"model": "qwen-plus", "messages": [USER], **asked}
    before = copy.deepcopy(body)
    made = to_llama(body, Options(**options))
    assert body == before
    return made


FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("plain fields stay", {"temperature": 0.5, "stop": ["a"]}, {"temperature": 0.5, "stop": ["a"]}),
    (
        "streaming stays",
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"include_usage": True}},
    ),
    ("repetition_penalty is renamed", {"repetition_penalty": 1.1}, {"repeat_penalty": 1.1}),
    ("no repetition_penalty, no repeat_penalty", {"repetition_penalty": None}, {"repeat_penalty": ABSENT}),
    ("top_k stays", {"top_k": 20}, {"top_k": 20}),
    ("top_k null disables", {"top_k": None}, {"top_k": 0}),
    ("top_k of 100 does not", {"top_k": 100}, {"top_k": 100}),
    ("top_k above 100 disables", {"top_k": 101}, {"top_k": 0}),
    (
        "a thought's grammar is bounded",
        {"enable_thinking": True, "thinking_budget": 7},
        {"grammar": 'root ::= [^<]{1,28} "</think>\\n\\n" [^< \\n] [^<]*'},
    ),
    ("the service's own fields go", {"enable_search": True, "metadata": {}}, {"enable_search": ABSENT}),
    ("no tools, nothing about tools", {"tools": []}, {"tools": [], "parallel_tool_calls": ABSENT}),
    ("tools null", {"tools": None}, {"tools": None}),
    ("one call at a time by default", {"tools": [tool("a")]}, {"parallel_tool_calls": False}),
    (
        "parallel calls where asked",
        {"tools": [tool("a")], "parallel_tool_calls": True},
        {"parallel_tool_calls": True},
    ),
    ("auto stays", {"tools": [tool("a")], "tool_choice": "auto"}, {"tool_choice": "auto"}),
    ("none stays", {"tools": [tool("a")], "tool_choice": "none"}, {"tool_choice": "none"}),
    ("no choice stays none", {"tools": [tool("a")]}, {"tool_choice": ABSENT}),
    ("any is required", {"tools": [tool("a")], "tool_choice": "any"}, {"tool_choice": "required"}),
    ("strings in tools are bounded", {"tools": [tool("a")]}, {"tools": [tool("a", BOUNDED)]}),
    (
        "a named function is the only one offered",
        {"tools": [tool("a"), tool("b")], "tool_choice": choice("b")},
        {"tools": [tool("b", BOUNDED)], "tool_choice": "required"},
    ),
    (
        "an unknown function is left to llama.cpp",
        {"tools": [tool("a")], "tool_choice": choice("z")},
        {"tools": [tool("a", BOUNDED)], "tool_choice": choice("z")},
    ),
    (
        "json_object is an object",
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
    ),
    (
        "strings in json_schema are bounded",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": BOUNDED}}},
    ),
    (
        "response_format text stays",
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "text"}},
    ),
    ("response_format null stays", {"response_format": None}, {"response_format": None}),
    (
        "without thought no grammar",
        {"enable_thinking": False},
        {"grammar": ABSENT, "enable_thinking": ABSENT},
    ),
    ("max_tokens without thought", {"max_tokens": 9}, {"max_tokens": 9}),
    (
        "max_tokens leaves room for thought",
        {"max_tokens": 9, "enable_thinking": True},
        {"max_tokens": 9 + 32 + 5},
    ),
    (
        "max_completion_tokens counts the thought",
        {"max_completion_tokens": 9, "enable_thinking": True},
        {"max_completion_tokens": 9},
    ),
    (
        "a thought is held to its grammar and budget",
        {"enable_thinking": True, "thinking_budget": 7},
        {"grammar": reasoning_then_answer(7), "thinking_budget_tokens": -1, "thinking_budget": ABSENT},
    ),
    (
        "a thought is never longer than the option",
        {"enable_thinking": True, "thinking_budget": 9000, "max_tokens": 9},
        {"grammar": reasoning_then_answer(32), "max_tokens": 9 + 32 + 5},
    ),
    ("the caller's grammar wins", {"enable_thinking": True, "grammar": "g"}, {"grammar": "g"}),
    ("no grammar beside tools", {"enable_thinking": True, "tools": [tool("a")]}, {"grammar": ABSENT}),
    (
        "a grammar where tools are not to be called",
        {"enable_thinking": True, "tools": [tool("a")], "tool_choice": "none"},
        {"grammar": reasoning_then_answer(32)},
    ),
    (
        "no grammar beside a schema",
        {"enable_thinking": True, "response_format": {"type": "json_object"}},
        {"grammar": ABSENT},
    ),
]


@pytest.mark.parametrize(("asked", "wanted"), [case[1:] for case in FIELDS], ids=[case[0] for case in FIELDS])
def test_fields(asked: dict[str, Any], wanted: dict[str, Any]) -> None:
    made = rewritten(asked)
    for name, value in wanted.items():
        assert made.get(name, ABSENT) == value


@pytest.mark.parametrize(
    ("asked", "setting", "thinks"),
    [
        ({}, "auto", False),
        ({}, "on", True),
        ({"enable_thinking": False}, "on", False),
        ({"enable_thinking": True}, "off", True),
        ({"enable_thinking": True, "thinking_budget": 0}, "on", False),
        ({"enable_thinking": None}, "on", True),
        ({"model": "qwen3-30b-a3b-thinking-2507"}, "auto", True),
        ({"model": "qwq-plus"}, "auto", True),
        ({"model": "qwq-plus"}, "off", False),
        ({"reasoning_effort": "high"}, "off", True),
        ({"reasoning_effort": "none"}, "on", False),
        ({"enable_thinking": True, "reasoning_effort": "none"}, "off", True),
    ],
)
def test_thinking(asked: dict[str, Any], setting: str, thinks: bool) -> None:
    """The request decides, then the option, and with "auto" the model's name."""
    assert rewritten(asked, thinking=setting)["chat_template_kwargs"]["enable_thinking"] is thinks


@pytest.mark.parametrize(
    ("last", "asked", "wanted"),
    [
        (USER, None, "required"),
        (USER, "auto", "required"),
        (USER, "none", "none"),
        (TOOL_RESULT, "auto", "none"),
        (TOOL_RESULT, None, "none"),
        (TOOL_RESULT, "required", "required"),
        ({"role": "system", "content": "x"}, "auto", "auto"),
    ],
)
def test_forced_auto(last: dict[str, Any], asked: str | None, wanted: str) -> None:
    """With force_auto, "auto" calls a tool after a user message, and answers after a tool result."""
    made = rewritten({"messages": [USER, last], "tools": [tool("a")], "tool_choice": asked}, force_auto=True)
    assert made["tool_choice"] == wanted
    assert made["chat_template_kwargs"].get("force_tool", False) is (wanted == "required")


def test_text_parts_are_joined() -> None:
    parts = [
        {"type": "text", "text": "Say "},
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
    ]
    assert rewritten({"messages": [{"role": "user", "content": parts}]})["messages"][0]["content"] == "Say hi"


def test_an_image_is_refused() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}]
    with pytest.raises(InvalidRequest, match="the local model reads text only, not image_url"):
        rewritten({"messages": messages})


@pytest.mark.parametrize("parts", [[7], [{"type": "text"}], [{"text": "a"}], []], ids=str)
def test_malformed_parts_are_left_to_llama(parts: list[Any]) -> None:
    messages = [{"role": "user", "content": parts}]
    assert rewritten({"messages": messages})["messages"] == messages


def test_partial_mode_continues_the_last_message() -> None:
    messages = [USER, {"role": "assistant", "content": "It is", "partial": True}]
    made = rewritten({"messages": messages, "enable_thinking": True})
    assert made["messages"][1] == {"role": "assistant", "content": "It is"}
    assert made["add_generation_prompt"] is False
    assert made["chat_template_kwargs"]["open_answer"] is True
    assert made["chat_template_kwargs"]["enable_thinking"] is False


@pytest.mark.parametrize("thinks", [False, True])
def test_json_without_thinking_starts_after_an_empty_thought(thinks: bool) -> None:
    made = rewritten({"enable_thinking": thinks, "response_format": {"type": "json_object"}})
    assert ("no_thought" in made["chat_template_kwargs"]) is not thinks


def test_reasoning_is_requested_before_a_forced_call() -> None:
    asked = {"tools": [tool("a")], "tool_choice": "required", "enable_thinking": True, "thinking_budget": 9}
    call = rewritten({**asked, "max_tokens": 50})
    assert call["max_tokens"] == 50
    before = reasoning_request(call)
    assert before is not None
    assert before["max_tokens"] == 9
    assert (before["stream"], before["stream_options"]) == (True, {"include_usage": True})
    assert not {"tools", "tool_choice"} & before.keys()
    assert with_reasoning(call, " hm \n")["chat_template_kwargs"]["thought"] == "hm"


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def test_chunks_of_reasoning_before_a_forced_call() -> None:
    """They begin the stream of the whole answer, so its end and its usage do not; the call does not repeat them."""
    thought = Thought()
    chunks = [delta(role="assistant"), delta(reasoning_content=" h"), delta(reasoning_content="m"), delta("length")]
    assert [thought.read_before(chunk) for chunk in chunks] == [True, True, True, False]
    assert thought.read_before({"choices": [], "usage": {"completion_tokens": 2}}) is False
    assert thought == Thought(" hm", 2)
    new = [delta(reasoning_content=None, tool_calls=[{}]), delta("tool_calls"), {"choices": [], "usage": {}}]
    assert [opens_again(chunk) for chunk in (*chunks[:3], *new)] == [True, True, True, False, False, False]


def test_reasoning_of_chunks_and_of_a_whole_answer() -> None:
    thought = Thought()
    for content in (delta(reasoning_content="a"), delta(content="no"), {"choices": []}):
        thought.read(content)
    thought.read({"choices": [{"message": {"content": "no", "reasoning_content": "b"}}]})
    assert thought == Thought("ab", 0)


def test_reasoning_before_a_forced_call_counts_as_output() -> None:
    """llama.cpp read it as part of the prompt, so the sum is the same."""
    usage = {"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 38}
    cached = {"prompt_tokens_details": {"cached_tokens": 25}}
    assert counted({"id": "1", "usage": {**usage, **cached}}, 9, 9) == {
        "id": "1",
        "usage": {
            "prompt_tokens": 21,
            "completion_tokens": 17,
            "total_tokens": 38,
            "prompt_tokens_details": {"cached_tokens": 21},
            "completion_tokens_details": {"reasoning_tokens": 9},
        },
    }
    assert counted({"usage": usage}, 0) == {"usage": usage}
    assert counted({"choices": []}, 9) == {"choices": []}


@pytest.mark.parametrize(("tokens", "wanted"), [(3, 3), (9, 8)], ids=["some", "never more than the output"])
def test_reasoning_within_an_answer_is_part_of_the_output(tokens: int, wanted: int) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 8, "total_tokens": 38}
    found = counted({"usage": usage}, tokens)["usage"]
    assert {name: found[name] for name in usage} == usage
    assert found["completion_tokens_details"] == {"reasoning_tokens": wanted}


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [tool("a")], "tool_choice": "required"},
        {"tools": [tool("a")], "tool_choice": "auto", "enable_thinking": True},
        {"enable_thinking": True},
    ],
)
def test_reasoning_is_not_requested_otherwise(asked: dict[str, Any]) -> None:
    assert reasoning_request(rewritten(asked)) is None


@pytest.mark.parametrize(
    "asked",
    [
        {"messages": 3},
        {"messages": [3]},
        {"messages": []},
        {"messages": [{"role": "user", "content": [3]}]},
        {"tools": 3},
        {"tools": [3]},
        {"tools": [{"function": 3}]},
        {"tools": [tool("a", 3)]},
        {"response_format": 3},
        {"response_format": {"type": "json_schema", "json_schema": 3}},
        {"top_k": "many"},
        {"max_tokens": "many"},
    ],
)
def test_invalid_values_are_unchanged(asked: dict[str, Any]) -> None:
    made = rewritten({**asked, "enable_thinking": True})
    for name, value in asked.items():
        assert made[name] == value


def test_undocumented_tool_choices_are_unchanged() -> None:
    for asked in (7, {"function": 3}, {}):
        assert rewritten({"tools": [tool("a")], "tool_choice": asked})["tool_choice"] == asked
