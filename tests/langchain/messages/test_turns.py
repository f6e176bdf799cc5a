"""Every form of LangChain message, as documented in the chat reference. L and C numbers: test_peer_matrix.py."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.prompts import ChatPromptTemplate

from langchain_modelstudio.messages import to_core_messages
from tests.langchain.messages.turns import CALL, EPHEMERAL, HI, OK, URL, image, user, wire
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import sent

# ---------------------------------------------------------------- whole messages

WIRE_CALL = {
    "id": "call_1",
    "type": "function",
    "index": 0,
    "function": {"name": "get", "arguments": '{"city": "上海"}'},
}
CALLED = {"role": "assistant", "content": "", "tool_calls": [WIRE_CALL]}
ANSWER = ToolMessage("21", tool_call_id="call_1")
RESULT = {"role": "tool", "content": "21", "tool_call_id": "call_1"}
MESSAGES: list[tuple[str, Any, list[dict[str, Any]]]] = [
    ("a string", "hi", [HI]),
    ("pairs", [("system", "s"), ("human", "hi")], [{"role": "system", "content": "s"}, HI]),
    ("dicts in OpenAI's form", [{"role": "user", "content": "hi"}], [HI]),
    ("a prompt value", ChatPromptTemplate.from_messages([("human", "{x}")]).invoke({"x": "hi"}), [HI]),
    ("a name", [HumanMessage("hi", name="Ann")], [{**HI, "name": "Ann"}]),
    ("the name of a system turn", [SystemMessage("s", name="x")], [{"role": "system", "content": "s", "name": "x"}]),
    ("the name of an assistant", [AIMessage("a", name="Bo")], [{"role": "assistant", "content": "a", "name": "Bo"}]),
    ("ChatMessage user", [ChatMessage("hi", role="user")], [HI]),
    ("ChatMessage human", [ChatMessage("hi", role="human")], [HI]),
    ("ChatMessage system", [ChatMessage("s", role="system")], [{"role": "system", "content": "s"}]),
    ("ChatMessage developer", [ChatMessage("s", role="developer")], [{"role": "system", "content": "s"}]),
    ("ChatMessage assistant", [ChatMessage("a", role="assistant")], [{"role": "assistant", "content": "a"}]),
    ("ChatMessage ai", [ChatMessage("a", role="ai")], [{"role": "assistant", "content": "a"}]),
    ("a user's content [] is no content", [HumanMessage([])], [{"role": "user", "content": ""}]),
    ("unescaped", [HumanMessage("上海 \u2028 🌧")], [{"role": "user", "content": "上海 \u2028 🌧"}]),
    # tool calls (L44: peers lose those that additional_kwargs does not repeat)
    ("tool_calls, arguments unescaped", [AIMessage("", tool_calls=[CALL]), ANSWER], [CALLED, RESULT]),
    (
        "several calls",
        [
            AIMessage("now", tool_calls=[CALL, tool_call(name="put", args={}, id="call_2")]),
            ANSWER,
            ToolMessage("put", tool_call_id="call_2"),
        ],
        [
            {
                "role": "assistant",
                "content": "now",
                "tool_calls": [
                    WIRE_CALL,
                    {"id": "call_2", "type": "function", "index": 1, "function": {"name": "put", "arguments": "{}"}},
                ],
            },
            RESULT,
            {"role": "tool", "content": "put", "tool_call_id": "call_2"},
        ],
    ),
    (
        "stale calls in additional_kwargs are not heard",
        [
            AIMessage(
                "",
                tool_calls=[CALL],
                additional_kwargs={"tool_calls": [{"id": "old", "function": {"name": "old", "arguments": "{}"}}]},
            ),
            ANSWER,
        ],
        [CALLED, RESULT],
    ),
    ("a chunk", [AIMessageChunk(content="a", tool_calls=[CALL]), ANSWER], [{**CALLED, "content": "a"}, RESULT]),
    # tool results
    (
        "an error's content goes, its artifact and name do not",
        [ToolMessage("no", tool_call_id="call_1", name="get", status="error", artifact={"big": 1})],
        [{**RESULT, "content": "no"}],
    ),
    ("a result of no text", [ToolMessage("", tool_call_id="call_1")], [{**RESULT, "content": ""}]),
    (
        "a result of text blocks is one text, which the service documents",
        [ToolMessage([{"type": "text", "text": "2"}, "1"], tool_call_id="call_1")],
        [{**RESULT, "content": "2\n1"}],
    ),
    (
        "a cache mark on a result stays",
        [ToolMessage([{"type": "text", "text": "21", "cache_control": EPHEMERAL}], tool_call_id="call_1")],
        [{**RESULT, "content": [{"type": "text", "text": "21", "cache_control": EPHEMERAL}]}],
    ),
    # Anthropic's form of them
    (
        "tool_result in a user turn, before what else it says",
        [
            AIMessage("", tool_calls=[CALL]),
            *user({"type": "text", "text": "hi"}, {"type": "tool_result", "tool_use_id": "call_1", "content": "21"}),
        ],
        [CALLED, RESULT, HI],
    ),
    (
        "a user turn of nothing but tool_result",
        user(
            {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "21"}]},
            {"type": "tool_result", "tool_use_id": "call_2"},
        ),
        [RESULT, {"role": "tool", "content": "", "tool_call_id": "call_2"}],
    ),
    # list content of other providers (L45), cleaned of what is said elsewhere
    (
        "Anthropic: thinking, text, tool_use",
        [
            AIMessage(
                [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "now"},
                    {"type": "tool_use", "id": "call_1", "name": "get", "input": {"city": "?"}},
                ],
                tool_calls=[CALL],
            ),
            ANSWER,
        ],
        [{**CALLED, "content": "now", "reasoning_content": "hm"}, RESULT],
    ),
    (
        "v1: reasoning, text, tool_call",
        [
            AIMessage(
                [
                    {"type": "reasoning", "reasoning": "h"},
                    {"type": "reasoning", "reasoning": "m"},
                    {"type": "text", "text": "n"},
                    {"type": "text", "text": "ow"},
                    {"type": "tool_call", "id": "call_1", "name": "get", "args": {"city": "?"}},
                    {"type": "invalid_tool_call", "id": "call_2", "name": "get", "args": "{", "error": "cut"},
                    {"type": "non_standard", "value": {}},
                ],
                tool_calls=[CALL],
                response_metadata={"output_version": "v1"},
            ),
            ANSWER,
        ],
        [{**CALLED, "content": "now", "reasoning_content": "hm"}, RESULT],
    ),
    (
        "v1: what a provider did on its own server is not the service's to know",
        [
            AIMessage(
                [
                    {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {"q": "x"}},
                    {"type": "server_tool_call_chunk", "id": "s1", "name": "web_search", "args": "{}"},
                    {"type": "server_tool_result", "tool_call_id": "s1", "status": "success", "output": []},
                    {"type": "text", "text": "found", "annotations": []},
                ]
            )
        ],
        [{"role": "assistant", "content": "found"}],
    ),
    (
        "Bedrock: reasoning in an object of its own",
        [
            AIMessage(
                [
                    {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "x"}},
                    {"type": "text", "text": "hi"},
                ]
            )
        ],
        [{"role": "assistant", "content": "hi", "reasoning_content": "hm"}],
    ),
    (
        "Anthropic: a file for its own code execution",
        [AIMessage([{"type": "container_upload", "file_id": "x"}, {"type": "text", "text": "hi"}])],
        [{"role": "assistant", "content": "hi"}],
    ),
    (
        "OpenAI Responses: a reasoning item without its text",
        [AIMessage([{"type": "reasoning", "summary": []}, {"type": "function_call", "name": "x"}, "hi"])],
        [{"role": "assistant", "content": "hi"}],
    ),
    (
        "OpenAI Responses: its own tools, and a refusal",
        [
            AIMessage(
                [
                    {"type": "web_search_call", "id": "w1", "status": "completed"},
                    {"type": "mcp_call", "id": "m1", "name": "x", "arguments": "{}"},
                    {"type": "custom_tool_call", "call_id": "c1", "input": "x"},
                    {"type": "text", "text": "No: "},
                    {"type": "refusal", "refusal": "I will not."},
                ]
            )
        ],
        [{"role": "assistant", "content": "No: I will not."}],
    ),
    (
        "Anthropic and Google: their own tools",
        [
            AIMessage(
                [
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
                    {"type": "executable_code", "executable_code": "1 + 1"},
                    {"type": "code_execution_result", "code_execution_result": "2"},
                    {"type": "text", "text": "two"},
                ]
            )
        ],
        [{"role": "assistant", "content": "two"}],
    ),
    (
        "a cache mark on an assistant's text stays",
        [AIMessage([{"type": "text", "text": "a", "cache_control": EPHEMERAL}])],
        [{"role": "assistant", "content": [{"type": "text", "text": "a", "cache_control": EPHEMERAL}]}],
    ),
    (
        "an assistant's image stays",
        [AIMessage(["see", {"type": "image", "url": URL}])],
        [{"role": "assistant", "content": [{"type": "text", "text": "see"}, image(URL)]}],
    ),
    # partial mode
    (
        "a beginning of the answer to go on from",
        [HumanMessage("hi"), AIMessage("def ", additional_kwargs={"partial": True})],
        [HI, {"role": "assistant", "content": "def ", "partial": True}],
    ),
]


@pytest.mark.parametrize(("messages", "expected"), [case[1:] for case in MESSAGES], ids=[case[0] for case in MESSAGES])
async def test_messages(messages: Any, expected: list[dict[str, Any]]) -> None:
    """Each message is sent in the format of the chat reference, and not changed."""
    assert await wire(messages) == expected


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_the_four_ways_send_the_same(way: str) -> None:
    """Requests do not depend on the method."""
    messages = [SystemMessage("s"), AIMessage("", tool_calls=[CALL]), ToolMessage("21", tool_call_id="call_1")]
    assert await wire(messages, way) == [{"role": "system", "content": "s"}, CALLED, RESULT]


@both_protocols
async def test_non_ascii_is_not_escaped() -> None:
    """Neither in text nor in arguments."""
    with Loopback(OK) as server:
        chat(server).invoke([HumanMessage("天气"), AIMessage("", tool_calls=[CALL]), ANSWER])
        assert "天气".encode() in server.requests[0].body
        assert "上海".encode() in server.requests[0].body


# ---------------------------------------------------------------- calls that were cut off

CUT = invalid_tool_call(id="call_2", name="put", args='{"a": "x', error="cut")


@both_protocols
async def test_truncated_calls_are_sent_only_if_answered() -> None:
    """Their raw arguments are sent in an object."""
    turn = AIMessage("", tool_calls=[CALL], invalid_tool_calls=[CUT])
    answered = [turn, ToolMessage("21", tool_call_id="call_1"), ToolMessage("cut off", tool_call_id="call_2")]
    function = {"name": "put", "arguments": '{"invalid_arguments": "{\\"a\\": \\"x"}'}
    cut = {"id": "call_2", "type": "function", "index": 1, "function": function}
    assert (await wire(answered[:2]))[0] == CALLED
    assert (await wire(answered))[0] == {**CALLED, "tool_calls": [WIRE_CALL, cut]}


async def test_a_call_without_a_name() -> None:
    """It is sent as "unknown", because the service requires a name."""
    turn = AIMessage("", invalid_tool_calls=[invalid_tool_call(id="call_1", name=None, args=None, error="cut")])
    [sent_turn, _] = await wire([turn, ToolMessage("no", tool_call_id="call_1")])
    assert sent_turn["tool_calls"] == [
        {"id": "call_1", "type": "function", "index": 0, "function": {"name": "unknown", "arguments": "{}"}}
    ]


# ---------------------------------------------------------------- reasoning, sent back (L5, L6, C2)


def thought(text: str, reasoning: Any, **more: Any) -> AIMessage:
    return AIMessage(text, additional_kwargs={"reasoning_content": reasoning}, **more)


HISTORY: Sequence[BaseMessage] = [
    HumanMessage("one"),
    thought("first", "early"),
    HumanMessage("two"),
    thought("", "late", tool_calls=[CALL]),
    ToolMessage("21", tool_call_id="call_1"),
]
REPLAYED: list[tuple[str, dict[str, Any], list[str | None]]] = [
    ("after the last user message, always", {}, [None, "late"]),
    ("earlier ones, if the caller preserves thinking", {"preserve_thinking": True}, ["early", "late"]),
    ("by the model's default (qwen3.8-max)", {"model": "qwen3.8-max"}, ["early", "late"]),
    ("not if the caller says no to it", {"model": "qwen3.8-max", "preserve_thinking": False}, [None, "late"]),
    ("by the model's habit (GLM)", {"model": "glm-5.2"}, ["early", "late"]),
    ("by the model's habit (Kimi)", {"model": "kimi/kimi-k3"}, ["early", "late"]),
    ("all, if the caller says so", {"reasoning_replay": "always"}, ["early", "late"]),
    ("none, if the caller says so", {"reasoning_replay": "never"}, [None, None]),
    ("none, whatever the model", {"model": "glm-5.2", "reasoning_replay": "never"}, [None, None]),
]


@pytest.mark.parametrize(("settings", "expected"), [case[1:] for case in REPLAYED], ids=[case[0] for case in REPLAYED])
async def test_replayed_reasoning(settings: dict[str, Any], expected: list[str | None]) -> None:
    """In its own field: of the current turn always, of earlier ones by policy; never in content."""
    wired = await wire(list(HISTORY), **settings)
    turns = [message for message in wired if message["role"] == "assistant"]
    assert [turn.get("reasoning_content") for turn in turns] == expected
    assert [turn["content"] for turn in turns] == ["first", ""]


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_reasoning_replay_per_call(way: str) -> None:
    """It overrides the object's, and is not sent itself."""
    with Loopback(OK) as server:
        await call(chat(server), way, list(HISTORY), reasoning_replay="always")
        assert sent(server)["messages"][1]["reasoning_content"] == "early"
        assert "reasoning_replay" not in sent(server)


NO_REASONING = [None, "", 3, ["x"]]


@pytest.mark.parametrize("reasoning", NO_REASONING)
async def test_empty_or_invalid_reasoning(reasoning: Any) -> None:
    """The field is omitted."""
    assert "reasoning_content" not in (await wire([HumanMessage("x"), thought("a", reasoning)]))[1]


async def test_reasoning_in_additional_kwargs_has_priority() -> None:
    """Reasoning that is also a block is sent once."""
    turn = AIMessage(
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a"}],
        additional_kwargs={"reasoning_content": "hm"},
    )
    assert await wire([turn]) == [{"role": "assistant", "content": "a", "reasoning_content": "hm"}]


def test_messages_are_not_changed() -> None:
    """Neither blocks nor arguments. Converting twice gives the same result."""
    messages = [*HISTORY, *user({"type": "image", "url": URL, "extras": {"max_pixels": 1}}, "x")]
    before = copy.deepcopy(messages)
    assert to_core_messages(messages) == to_core_messages(messages)
    assert messages == before
