"""Policies on thinking, as a table: the caller's settings, and what is sent, for models of the catalogue.

The classes: qwen3.7-max, qwen3.8-max and glm-5.2 think by default; qwen-plus and qwen3-max on request; qwq-plus,
qvq-max, deepseek-r1 and kimi/kimi-k3 always; qwen-max never. made-up is unknown, and assumed to be able to think.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import replace
from typing import Any

import pytest

from modelstudio_core.catalogue import model_info
from modelstudio_core.errors import BadRequestError, ConfigurationError, ModelStudioError
from modelstudio_core.policies import JSON_INSTRUCTION, Plan, asks_for_stream, may_think, plan
from modelstudio_core.types import ChatRequest, ImagePart, Message, TextPart
from tests.ids import short

USER = Message("user", "hello")
F, G = ({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg")
THE_F = {"type": "function", "function": {"name": "f"}}
OFF = {"enable_thinking": False}
ON = {"enable_thinking": True}
NONE = {"enable_thinking": None}
NO_EFFORT = {"reasoning_effort": "none"}
SEED = {"parameters": {"seed": 1}}
AUTO = {"tool_choice": "auto"}
DISABLED = {"parameters": {"thinking": {"type": "disabled"}}}
ADAPTIVE = {"parameters": {"thinking": {"type": "adaptive"}}}
JSON = {"response_format": {"type": "json_object"}}
SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}


def one(choice: Any) -> dict[str, Any]:
    return {"tools": (F,), "tool_choice": choice}


def two(choice: Any) -> dict[str, Any]:
    return {"tools": (F, G), "tool_choice": choice}


def planned(model: str, given: dict[str, Any], *, stream: bool = False) -> tuple[ChatRequest, Plan]:
    request = ChatRequest(**{"model": model, "messages": (USER,), **given})
    before = copy.deepcopy(request)
    result = plan(request, model_info(model), stream=stream)
    assert request == before
    return request, result


# ---------------------------------------------------------------- whether the wire streams

STREAMS: list[tuple[str, dict[str, Any], bool]] = [
    # what may think streams (vendor: thinking "must be set to false for non-streaming calls")
    ("qwen3.7-max", {}, True),
    ("qwen3.7-max", ON, True),
    ("qwen3.7-max", OFF, False),
    ("qwen3.8-max", {"reasoning_effort": "none"}, False),
    ("qwen3.8-max", {"reasoning_effort": "low"}, True),
    ("qwen-plus", {}, False),
    ("qwen-plus", ON, True),
    ("qwen-plus", OFF, False),
    ("qwen3-32b", {}, True),
    ("qwen-max", {}, False),
    ("deepseek-r1", {}, True),
    ("made-up", {}, True),
    ("made-up", OFF, False),
    # streaming-only models, thinking or not (vendor's Streaming page)
    ("qwq-plus", {}, True),
    ("qvq-max", {}, True),
    ("qwen-omni-turbo", {}, True),
    ("qwen3-omni-flash", OFF, True),
    # the caller's explicit wish
    ("qwen3.7-max", {"streaming": False}, False),
    ("qwen3.7-max", ON | {"streaming": False}, False),
    ("deepseek-r1", {"streaming": False}, False),
    ("made-up", {"streaming": False}, False),
    ("qwq-plus", {"streaming": False}, True),
    ("qwen-omni-turbo", {"streaming": False}, True),
    ("qwen-max", {"streaming": True}, True),
    ("qwen-plus", OFF | {"streaming": True}, True),
    # what was decided for the request counts, not the model's default
    ("qwen3.7-max", JSON, False),
    ("qwen3.7-max", one(THE_F), False),
    ("qwen3.7-max", {"tools": (F,)}, True),
    ("MiniMax/MiniMax-M3", OFF, False),
    ("MiniMax/MiniMax-M3", DISABLED, False),
    ("MiniMax/MiniMax-M3", {}, True),
]


@pytest.mark.parametrize(("model", "given", "streams"), STREAMS)
def test_whether_a_request_is_streamed(model: str, given: dict[str, Any], streams: bool) -> None:
    """Whole answers are streamed if the model must stream or may think, unless the caller disables that."""
    assert planned(model, given)[1].stream is streams


@pytest.mark.parametrize(("model", "given", "streams"), STREAMS)
def test_streams_are_always_streamed(model: str, given: dict[str, Any], streams: bool) -> None:
    """Whatever the settings."""
    assert planned(model, given, stream=True)[1].stream is True


# ---------------------------------------------------------------- what is sent

PARTIAL = {"messages": (Message("user", "hi"), Message("assistant", "Well, ", partial=True))}
SENT: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    # where the caller says nothing, enable_thinking is not sent
    ("default on", "qwen3.7-max", {}, {}, ""),
    ("default off", "qwen-plus", {}, {}, ""),
    ("always", "qwq-plus", {}, {}, ""),
    ("never", "qwen-max", {}, {}, ""),
    ("unknown", "made-up", {}, {}, ""),
    # what the caller says is sent
    ("on", "qwen-plus", ON | {"thinking_budget": 9}, {}, ""),
    ("off", "qwen3.7-max", OFF, {}, ""),
    ("off, unknown model", "made-up", OFF, {}, ""),
    ("on, a model without thinking: the service may say no", "qwen-max", ON, {}, ""),
    # "none" is thinking off, in the word that the model is listed for
    ("no effort, default on", "qwen3.7-max", NO_EFFORT, OFF | {"reasoning_effort": None}, ""),
    ("no effort, default off", "qwen-plus", NO_EFFORT, OFF | {"reasoning_effort": None}, ""),
    ("no effort, a hybrid whose levels have no none", "glm-5.2", NO_EFFORT, OFF | {"reasoning_effort": None}, ""),
    ("no effort, listed for none", "qwen3.8-max", NO_EFFORT, {}, ""),
    ("no effort, its own switch", "MiniMax/MiniMax-M3", NO_EFFORT, DISABLED | {"reasoning_effort": None}, ""),
    ("no effort, never thinks", "qwen-max", NO_EFFORT, {"reasoning_effort": None}, ""),
    ("no effort, unknown", "made-up", NO_EFFORT, {}, ""),
    ("no effort, off said too", "qwen-plus", NO_EFFORT | OFF, {"reasoning_effort": None}, ""),
    ("effort and preserving", "qwen3.8-max", {"reasoning_effort": "low", "preserve_thinking": False}, {}, ""),
    ("on is not sent to a thinking-only model", "qwq-plus", ON, NONE, ""),
    ("nor to one that streams or not", "kimi/kimi-k3", ON, NONE, ""),
    # MiniMax-M3 has an object for a switch (vendor's chat reference)
    ("its switch, off", "MiniMax/MiniMax-M3", OFF, NONE | DISABLED, ""),
    (
        "its switch, on",
        "MiniMax/MiniMax-M3",
        ON | {"parameters": {"top_p": 1}},
        NONE | {"parameters": ADAPTIVE["parameters"] | {"top_p": 1}},
        "",
    ),
    ("its switch, untouched", "MiniMax/MiniMax-M3", {}, {}, ""),
    ("its switch, set by the caller", "MiniMax/MiniMax-M3", DISABLED, {}, ""),
    ("its switch, set twice: the wire's own name wins", "MiniMax/MiniMax-M3", OFF | ADAPTIVE, NONE, ""),
    ("another model's switch is sent as it is", "qwen3.7-max", DISABLED, {}, ""),
    # cumulative streams (qwen-mt)
    ("each event repeats the text", "qwen-mt-plus", {}, {"cumulative_stream": True}, ""),
    ("so does this one", "qwen-mt-turbo", {}, {"cumulative_stream": True}, ""),
    # GLM brings tool calls in a stream only if asked to (vendor's Function calling page)
    ("tool_stream", "glm-5.1", {"tools": (F,)}, {"parameters": {"tool_stream": True}}, ""),
    (
        "tool_stream, beside others",
        "glm-5.1",
        {"tools": (F,), **SEED},
        {"parameters": {"tool_stream": True, "seed": 1}},
        "",
    ),
    ("tool_stream, set by the caller", "glm-5.1", {"tools": (F,), "parameters": {"tool_stream": False}}, {}, ""),
    ("no tools, no tool_stream", "glm-5.1", {}, {}, ""),
    ("no stream, no tool_stream", "glm-5.1", {"tools": (F,), **OFF}, {}, ""),
    # tool choices that every model takes
    ("auto", "qwen3.7-max", two("auto"), {}, ""),
    ("none", "qwen3.7-max", two("none"), {}, ""),
    ("unsaid", "qwen3.7-max", {"tools": (F, G)}, {}, ""),
    ("a choice without tools is not sent", "qwen-plus", {"tool_choice": "required"}, {"tool_choice": None}, ""),
    ("nor auto", "qwen-plus", {"tool_choice": "auto"}, {"tool_choice": None}, ""),
    # a forced choice while thinking may be on is a 400: 'one of the strings that should be ["none", "auto"]'
    ("named, default on: off for this request", "qwen3.7-max", two(THE_F), OFF, "is disabled"),
    ("named, default off: certainty", "qwen-plus", two(THE_F), OFF, ""),
    (
        "its budget goes with it",
        "qwen3.7-max",
        one(THE_F) | {"thinking_budget": 9},
        OFF | {"thinking_budget": None},
        "is disabled",
    ),
    (
        "an effort asks for thinking",
        "qwen3.8-max",
        one(THE_F) | {"reasoning_effort": "xhigh"},
        AUTO,
        "think",
    ),
    ("partial mode, default on", "qwen3.7-max", PARTIAL, OFF, "is disabled"),
    ("partial mode, on by the caller", "qwen3.7-max", PARTIAL | ON, {}, ""),
    ("partial mode, default off: certainty", "qwen-plus", PARTIAL, OFF, ""),
    ("partial mode, default off, on by the caller", "qwen-plus", PARTIAL | ON, {}, ""),
    ("partial mode, off by the caller", "qwen3.7-max", PARTIAL | OFF, {}, ""),
    (
        "partial mode, its budget goes with it",
        "qwen3-32b",
        PARTIAL | {"thinking_budget": 9},
        OFF | {"thinking_budget": None},
        "is disabled",
    ),
    ("partial mode, an effort asks for thinking", "qwen3.8-max", PARTIAL | {"reasoning_effort": "low"}, {}, ""),
    ("partial mode, always thinks", "qwq-plus", PARTIAL, {}, ""),
    ("partial mode, never thinks", "qwen-max", PARTIAL, {}, ""),
    ("partial mode, unknown", "made-up", PARTIAL, {}, ""),
    ("a partial turn that is not the last", "qwen3.7-max", {"messages": (*PARTIAL["messages"], USER)}, {}, ""),
    ("named, off by the caller", "qwen3.7-max", two(THE_F) | OFF, {}, ""),
    ("named, on by the caller", "qwen3.7-max", two(THE_F) | ON, AUTO, "think"),
    ("named, on by the caller, default off", "qwen-plus", one(THE_F) | ON, AUTO, "think"),
    ("named, always thinks", "qwq-plus", two(THE_F), AUTO, "think"),
    ("named, never thinks", "qwen-max", two(THE_F), {}, ""),
    ("named, unknown", "made-up", two(THE_F), AUTO, "think"),
    ("named, unknown, off by the caller", "made-up", one(THE_F) | OFF, {}, ""),
    ("named, switch of its own", "MiniMax/MiniMax-M3", one(THE_F), DISABLED, "is disabled"),
    ("named, its own switch off by the caller", "MiniMax/MiniMax-M3", one(THE_F) | DISABLED, {}, ""),
    ("named, its own switch on by the caller", "MiniMax/MiniMax-M3", one(THE_F) | ADAPTIVE, AUTO, "think"),
    # "required" is no choice of Qwen's (vendor's Function calling page)
    ("any, one tool: its name", "qwen3.7-max", one("any"), OFF | {"tool_choice": THE_F}, "is disabled"),
    ("required, one tool: its name", "qwen-max", one("required"), {"tool_choice": THE_F}, ""),
    ("required, one tool, always thinks", "qwq-plus", one("required"), AUTO, "think"),
    ("required, several: auto", "qwen-max", two("required"), AUTO, "2 tools"),
    ("any, several: auto, thinking as it was", "qwen3.7-max", two("any"), AUTO, "2 tools"),
    ("required, several, kimi-k3 of Moonshot takes it", "kimi/kimi-k3", two("required"), {}, ""),
    ("any is its required", "kimi/kimi-k3", two("any"), {"tool_choice": "required"}, ""),
    ("the name of its one tool", "kimi/kimi-k3", one(THE_F), {"tool_choice": "required"}, ""),
    ("a name among several, it always thinks", "kimi/kimi-k3", two(THE_F), AUTO, "think"),
    ("the other kimi-k3 does not take required", "kimi-k3", two("required"), AUTO, "2 tools"),
    # JSON mode: 'must contain the word json'; "not supported when enable_thinking is true"
    (
        "JSON mode, default on",
        "qwen3.7-max",
        JSON | {"messages": (Message("user", "As JSON"),)},
        OFF,
        "is disabled",
    ),
    ("JSON mode, default off: certainty", "qwen-plus", JSON | {"messages": (Message("user", "json"),)}, OFF, ""),
    ("JSON mode, on by the caller", "qwen-plus", JSON | ON | {"messages": (Message("user", "json"),)}, {}, ""),
    ("JSON mode, always thinks", "qwq-plus", JSON | {"messages": (Message("user", "json"),)}, {}, ""),
    ("JSON mode, never thinks", "qwen-max", JSON | {"messages": (Message("user", "json"),)}, {}, ""),
    ("JSON mode, unknown", "made-up", JSON | {"messages": (Message("user", "json"),)}, {}, ""),
    ("json_schema is sent as asked", "qwen3.7-max", SCHEMA, {}, ""),
    ("text is sent as asked", "qwen3.7-max", {"response_format": {"type": "text"}}, {}, ""),
    # n
    ("n without tools", "qwen-plus", {"n": 4}, {}, ""),
    ("n=1 with tools", "qwen-plus", {"n": 1, "tools": (F,)}, {}, ""),
]


@pytest.mark.parametrize(("model", "given", "sent", "notice"), [c[1:] for c in SENT], ids=[c[0] for c in SENT])
def test_what_is_sent(model: str, given: dict[str, Any], sent: dict[str, Any], notice: str) -> None:
    """The caller's request except for these fields. Decisions against the caller are reported."""
    request, result = planned(model, given)
    assert result.request == replace(request, **sent)
    assert len(result.notices) == bool(notice)
    if notice:
        assert notice in result.notices[0].text
        assert model in result.notices[0].text
        assert (result.notices[0].level == logging.INFO) == (notice == "is disabled")


@pytest.mark.parametrize("given", [{}, ON, SEED, {"tools": (F,)}, one("auto"), one("none")], ids=short)
def test_a_request_that_needs_no_change_is_not_copied(given: dict[str, Any]) -> None:
    request, result = planned("qwen-plus", given)
    assert result.request is request


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("thinking off where it cannot be", "qwq-plus", OFF, "enable_thinking=False"),
    ("the same, not streaming-only", "deepseek-r1", OFF, "enable_thinking=False"),
    ("the same, Moonshot's", "kimi/kimi-k3", OFF, "enable_thinking=False"),
    ("no effort where it always thinks", "qwq-plus", NO_EFFORT, "reasoning_effort=.none"),
    ("the same, a model with levels", "glm-5.3", NO_EFFORT, "reasoning_effort=.none"),
    ("two words that contradict each other", "qwen-plus", NO_EFFORT | ON, "contradict"),
    ("n > 1 with tools", "qwen-plus", {"n": 2, "tools": (F,)}, "n=2"),
]


@pytest.mark.parametrize(("model", "given", "named"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_documented_rejections(model: str, given: dict[str, Any], named: str) -> None:
    """Only documented errors are raised before sending."""
    with pytest.raises(ConfigurationError, match=named):
        planned(model, given)


OVERRIDES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"thinking": "none"}, {}, False),
    ({"thinking": "hybrid-default-off"}, {}, False),
    ({"thinking": "only"}, {}, True),
    ({"thinking": "none", "streaming_only": True}, {}, True),
    ({"thinking": "hybrid-default-on"}, {"reasoning_effort": "none"}, False),
    ({"thinking": "only", "reasoning_effort": {"values": ["none"]}}, {"reasoning_effort": "none"}, True),
]


@pytest.mark.parametrize(("facts", "given", "thinks"), OVERRIDES)
def test_overrides_decide(facts: dict[str, Any], given: dict[str, Any], thinks: bool) -> None:
    """Policies depend on facts, which the caller can override, not on names."""
    request = ChatRequest("made-up", (USER,), **given)
    model = model_info("made-up", facts)
    assert plan(request, model, stream=False).stream is thinks
    assert may_think(request, model) is (thinks and "streaming_only" not in facts)


# ---------------------------------------------------------------- the word "json"

WORD: list[tuple[str, tuple[Message, ...], tuple[Message, ...] | None]] = [
    ("in the user's text", (Message("user", "give me JSON"),), None),
    ("in the system's text", (Message("system", "Use Json."), USER), None),
    ("in a part", (Message("user", (ImagePart("x"), TextPart("as json"))),), None),
    ("in an earlier turn", (Message("user", "json"), Message("assistant", "{}"), USER), None),
    ("missing, no system message", (USER,), (Message("system", JSON_INSTRUCTION), USER)),
    (
        "missing, a system message",
        (Message("system", "Be brief."), USER),
        (Message("system", f"Be brief.\n\n{JSON_INSTRUCTION}"), USER),
    ),
    ("missing, an empty system message", (Message("system", ""), USER), (Message("system", JSON_INSTRUCTION), USER)),
    (
        "missing, a system message in parts",
        (Message("system", (TextPart("Be brief."),)), USER),
        (Message("system", (TextPart("Be brief."), TextPart(JSON_INSTRUCTION))), USER),
    ),
    (
        "only the assistant and a tool said it",
        (USER, Message("assistant", "json"), Message("tool", "json", tool_call_id="c"), USER),
        (
            Message("system", JSON_INSTRUCTION),
            USER,
            Message("assistant", "json"),
            Message("tool", "json", tool_call_id="c"),
            USER,
        ),
    ),
    (
        "only an image's address says it",
        (Message("user", (ImagePart("https://a/json.png"),)),),
        (Message("system", JSON_INSTRUCTION), Message("user", (ImagePart("https://a/json.png"),))),
    ),
]


@pytest.mark.parametrize(("messages", "sent"), [c[1:] for c in WORD], ids=[c[0] for c in WORD])
def test_json_mode_requires_the_word_json(messages: tuple[Message, ...], sent: tuple[Message, ...] | None) -> None:
    """An instruction is added if no system or user text has the word."""
    assert "json" in JSON_INSTRUCTION.lower()
    _, result = planned("qwen-plus", {"messages": messages, **JSON})
    assert result.request.messages == (sent or messages)
    _, without = planned("qwen-plus", {"messages": messages, **SCHEMA})
    assert without.request.messages == messages


# ---------------------------------------------------------------- sending reasoning back

FIRST, LAST = "an earlier turn", "this turn"
HISTORY = (
    Message("user", "one"),
    Message("assistant", "1", reasoning_content=FIRST),
    Message("user", "two"),
    Message("assistant", "", reasoning_content=LAST),
    Message("tool", "2", tool_call_id="c"),
)
REPLAYED: list[tuple[str, str, dict[str, Any], list[str]]] = [
    # after the last user message always, in a tool loop (vendor: "pass it back"); earlier ones by policy
    ("Qwen by default", "qwen-plus", {}, [LAST]),
    ("preserve_thinking, default off", "qwen3.6-plus", {}, [LAST]),
    ("preserve_thinking, asked for", "qwen3.6-plus", {"preserve_thinking": True}, [FIRST, LAST]),
    ("preserve_thinking, default on", "qwen3.8-max", {}, [FIRST, LAST]),
    ("preserve_thinking, default on, switched off", "qwen3.8-max", {"preserve_thinking": False}, [LAST]),
    ("GLM reads all", "glm-5.2", {}, [FIRST, LAST]),
    ("glm-5.3 drops it by default", "glm-5.3", {}, [LAST]),
    ("glm-5.3, told not to clear it", "glm-5.3", {"parameters": {"clear_thinking": False}}, [FIRST, LAST]),
    ("glm-5.3, told to clear it", "glm-5.3", {"parameters": {"clear_thinking": True}}, [LAST]),
    ("glm-4.6, told not to clear it", "glm-4.6", {"parameters": {"clear_thinking": False}}, [FIRST, LAST]),
    ("glm-4.6, told to clear it", "glm-4.6", {"parameters": {"clear_thinking": True}}, [LAST]),
    ("glm-5.2, told to clear it", "glm-5.2", {"parameters": {"clear_thinking": True}}, [LAST]),
    ("a clearing that says nothing", "glm-5.3", {"parameters": {"clear_thinking": None}}, [LAST]),
    (
        "preserve_thinking is the nearer word",
        "glm-5.3",
        {"parameters": {"clear_thinking": True}, "preserve_thinking": True},
        [FIRST, LAST],
    ),
    (
        "the replay of the caller is nearer still",
        "glm-5.3",
        {"parameters": {"clear_thinking": False}, "reasoning_replay": "never"},
        [],
    ),
    ("Moonshot's kimi must keep all", "kimi/kimi-k2.6", {}, [FIRST, LAST]),
    ("the service's own kimi", "kimi-k2.6", {}, [LAST]),
    ("DeepSeek", "deepseek-v4-pro", {}, [LAST]),
    ("unknown", "made-up", {}, [LAST]),
    ("always", "qwen-plus", {"reasoning_replay": "always"}, [FIRST, LAST]),
    (
        "always, though not preserved",
        "qwen3.8-max",
        {"reasoning_replay": "always", "preserve_thinking": False},
        [FIRST, LAST],
    ),
]


@pytest.mark.parametrize(("model", "given", "kept"), [c[1:] for c in REPLAYED], ids=[c[0] for c in REPLAYED])
def test_replayed_reasoning(model: str, given: dict[str, Any], kept: list[str]) -> None:
    """Reasoning of the current turn is always sent, that of earlier turns by policy."""
    _, result = planned(model, {"messages": HISTORY, **given})
    sent = result.request.messages
    assert [message.reasoning_content for message in sent if message.reasoning_content] == kept
    assert [replace(m, reasoning_content=None) for m in sent] == [replace(m, reasoning_content=None) for m in HISTORY]


def test_reasoning_replay_never() -> None:
    """It overrides the model's policy."""
    _, result = planned("qwen3.8-max", {"messages": HISTORY, "reasoning_replay": "never"})
    assert FIRST not in [message.reasoning_content for message in result.request.messages]


def test_reasoning_without_any_user_message() -> None:
    """All turns are the current turn."""
    _, result = planned("qwen-plus", {"messages": HISTORY[3:]})
    assert result.request.messages == HISTORY[3:]


# ---------------------------------------------------------------- asked to stream after all

ASKED: list[tuple[int | None, str, bool]] = [
    (400, "parameter.enable_thinking must be set to false for non-streaming calls", True),
    (400, "<400> InternalError.Algo.InvalidParameter: parameter.enable_thinking only support stream call", True),
    (400, "This model only support stream mode, please enable the stream parameter to access the model.", True),
    (400, "current user api does not support http call.", True),
    (400, "parameter.enable_thinking must be a boolean", False),
    (500, "parameter.enable_thinking must be set to false for non-streaming calls", False),
    (None, "parameter.enable_thinking must be set to false for non-streaming calls", False),
]


@pytest.mark.parametrize(("status", "message", "asks"), ASKED)
def test_which_error_asks_for_a_stream(status: int | None, message: str, asks: bool) -> None:
    """Only the 400 with the message that the call must stream."""
    error: ModelStudioError = BadRequestError(message, status_code=status)
    assert asks_for_stream(error) is asks
