"""Encoding of OpenAI-compatible requests, following the vendor's chat reference."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import AudioPart, ChatRequest, FunctionCall, ImagePart, Message, TextPart, VideoPart

CODEC = OpenAICodec()
USER = Message("user", "hello")
REQUEST = ChatRequest("qwen-plus", (USER,))


def written(stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request with these fields."""
    request = ChatRequest(**{"model": "qwen-plus", "messages": (USER,), **fields})
    return json.loads(CODEC.encode(request, stream=stream).body)


BARE = {"model": "qwen-plus", "messages": [{"role": "user", "content": "hello"}]}
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nothing that was not set", {}, {}),
    ("enable_thinking on", {"enable_thinking": True}, {"enable_thinking": True}),
    ("enable_thinking off is said", {"enable_thinking": False}, {"enable_thinking": False}),
    ("thinking_budget", {"thinking_budget": 50}, {"thinking_budget": 50}),
    ("preserve_thinking", {"preserve_thinking": False}, {"preserve_thinking": False}),
    ("reasoning_effort", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
    ("n", {"n": 2}, {"n": 2}),
    ("response_format", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ("tools as they are", {"tools": (TOOL,)}, {"tools": [TOOL]}),
    ("tools [] is omitted", {"tools": ()}, {}),
    ("tool_choice", {"tools": (TOOL,), "tool_choice": "none"}, {"tools": [TOOL], "tool_choice": "none"}),
    (
        "plain parameters, falsy ones too",
        {"parameters": {"temperature": 0, "seed": 0, "stop": []}},
        {"temperature": 0, "seed": 0, "stop": []},
    ),
    ("how a native stream grows has no effect", {"parameters": {"incremental_output": False, "seed": 1}}, {"seed": 1}),
    ("extra_body on the top level", {"extra_body": {"new_switch": {"a": [1]}}}, {"new_switch": {"a": [1]}}),
    ("extra_body wins", {"extra_body": {"top_k": 1}, "parameters": {"top_k": 20}}, {"top_k": 1}),
    (
        "how it is asked is not on the wire",
        {"streaming": True, "reasoning_replay": "always", "cumulative_stream": True},
        {},
    ),
]


@pytest.mark.parametrize(("fields", "sent"), [c[1:] for c in FIELDS], ids=[c[0] for c in FIELDS])
def test_fields(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    """Fields that were set are sent under their wire names, and no others."""
    assert written(**fields) == BARE | sent


@pytest.mark.parametrize(("fields", "sent"), [c[1:] for c in FIELDS], ids=[c[0] for c in FIELDS])
def test_a_stream_adds_two_fields(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    """`stream` and `stream_options`, which a whole answer must not have (vendor's chat reference)."""
    assert written(stream=True, **fields) == BARE | sent | {"stream": True, "stream_options": {"include_usage": True}}


IMAGE = "https://example.com/cat.png"
MESSAGES: list[tuple[str, Message, dict[str, Any]]] = [
    ("system", Message("system", "Be brief."), {"role": "system", "content": "Be brief."}),
    ("empty content stays, the key must exist", Message("assistant", ""), {"role": "assistant", "content": ""}),
    ("name", Message("user", "hi", name="Ann"), {"role": "user", "content": "hi", "name": "Ann"}),
    (
        "reasoning in its own field, never inside content",
        Message("assistant", "42", reasoning_content="6 * 7"),
        {"role": "assistant", "content": "42", "reasoning_content": "6 * 7"},
    ),
    ("no empty reasoning", Message("assistant", "42", reasoning_content=""), {"role": "assistant", "content": "42"}),
    (
        "partial mode goes out as it is",
        Message("assistant", "def ", partial=True),
        {"role": "assistant", "content": "def ", "partial": True},
    ),
    (
        "tool calls, arguments verbatim, as broken as they were",
        Message(
            "assistant", "", tool_calls=(FunctionCall("call_1", "f", '{"a": 1}'), FunctionCall(None, "g", "{oops"))
        ),
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "", "type": "function", "index": 1, "function": {"name": "g", "arguments": "{oops"}},
            ],
        },
    ),
    (
        "tool result: with its id, without a name",
        Message("tool", "sunny", tool_call_id="call_1", name="weather"),
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    ),
    (
        "text parts",
        Message("user", (TextPart("a"), TextPart("b", cache_control={"type": "ephemeral"}))),
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ),
    (
        "image",
        Message("user", (ImagePart(IMAGE),)),
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    ),
    (
        "image: pixel bounds beside the type, detail inside",
        Message("user", (ImagePart(IMAGE, "high", 4096, 0, {"type": "ephemeral"}),)),
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": IMAGE, "detail": "high"},
                    "min_pixels": 4096,
                    "max_pixels": 0,
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ),
    (
        "video by URL",
        Message("user", (VideoPart("data:video/mp4;base64,AAAA", 0.5, 1, 2, 3, 4),)),
        {
            "role": "user",
            "content": [
                {
                    "type": "video_url",
                    "video_url": {"url": "data:video/mp4;base64,AAAA"},
                    "fps": 0.5,
                    "min_pixels": 1,
                    "max_pixels": 2,
                    "total_pixels": 3,
                    "max_frames": 4,
                }
            ],
        },
    ),
    (
        "video by frames",
        Message("user", (VideoPart(("https://a/1.png", "https://a/2.png"), cache_control={"type": "ephemeral"}),)),
        {
            "role": "user",
            "content": [
                {
                    "type": "video",
                    "video": ["https://a/1.png", "https://a/2.png"],
                    "cache_control": {"type": "ephemeral"},
                }
            ],
        },
    ),
    (
        "audio",
        Message("user", (AudioPart("data:;base64,AAAA"), AudioPart("https://a/b.wav", "wav", {"type": "ephemeral"}))),
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": {"data": "data:;base64,AAAA"}},
                {
                    "type": "input_audio",
                    "input_audio": {"data": "https://a/b.wav", "format": "wav"},
                    "cache_control": {"type": "ephemeral"},
                },
            ],
        },
    ),
]


@pytest.mark.parametrize(("message", "sent"), [c[1:] for c in MESSAGES], ids=[c[0] for c in MESSAGES])
def test_messages(message: Message, sent: dict[str, Any]) -> None:
    """Each role and part has the format of the vendor's chat reference."""
    assert written(messages=(message,))["messages"] == [sent]


def test_text_is_sent_unescaped_and_compact() -> None:
    """Non-ASCII text is sent as UTF-8, without spaces between fields."""
    call = CODEC.encode(ChatRequest("qwen-plus", (Message("user", "你好 🚀\n"),)), stream=False)
    assert call.body == '{"model":"qwen-plus","messages":[{"role":"user","content":"你好 🚀\\n"}]}'.encode()


@pytest.mark.parametrize(("stream", "accept"), [(True, "text/event-stream"), (False, "application/json")])
def test_path_and_headers(stream: bool, accept: str) -> None:
    """The path, content-type and accept. The key is added by the client."""
    call = CODEC.encode(REQUEST, stream=stream)
    assert call.path == "/chat/completions"
    assert call.headers == {"content-type": "application/json", "accept": accept}


OSS = "oss://bucket/cat.png"
OSS_CASES: list[tuple[str, str | tuple[Any, ...], bool]] = [
    ("image", (TextPart("what is this?"), ImagePart(OSS)), True),
    ("video", (VideoPart(OSS),), True),
    ("one frame of a video", (VideoPart((IMAGE, OSS)),), True),
    ("audio", (AudioPart(OSS),), True),
    ("image elsewhere", (ImagePart(IMAGE),), False),
    ("in the text", (TextPart(OSS),), False),
    ("as the text", OSS, False),
]


@pytest.mark.parametrize(("content", "needed"), [c[1:] for c in OSS_CASES], ids=[c[0] for c in OSS_CASES])
def test_uploaded_files_need_a_header(content: Any, needed: bool) -> None:
    """`X-DashScope-OssResourceResolve: enable` is sent if and only if a part has an oss:// URL."""
    request = ChatRequest("qwen-plus", (Message("user", content), Message("assistant", "")))
    headers = CODEC.encode(request, stream=True).headers
    assert (headers.get("x-dashscope-ossresourceresolve") == "enable") is needed


class LongText(str):
    """Text that raises an error if its characters are iterated."""

    def __iter__(self) -> Any:
        raise AssertionError("a text was read character by character")


def test_text_is_not_iterated() -> None:
    """Long prompts are not processed per character."""
    assert written(messages=(Message("user", LongText("long")),)) == BARE | {
        "messages": [{"role": "user", "content": "long"}]
    }


def test_inputs_are_not_changed() -> None:
    """The request, its schemas and extra_body."""
    request = ChatRequest(
        "qwen-plus",
        (Message("user", (TextPart("a", cache_control={"type": "ephemeral"}), VideoPart(("b",)))),),
        tools=(copy.deepcopy(TOOL),),
        tool_choice={"type": "function", "function": {"name": "look_up"}},
        parameters={"stop": ["x"]},
        extra_body={"search_options": {"forced_search": True}},
    )
    before = copy.deepcopy(request)
    first = CODEC.encode(request, stream=True)
    assert CODEC.encode(request, stream=True) == first
    assert request == before


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("extra_body may not change the model", {"extra_body": {"model": "x"}}, "model"),
    ("nor the messages", {"extra_body": {"messages": []}}, "messages"),
    ("nor whether it streams", {"extra_body": {"stream": False}}, "stream"),
    ("a tool message without id (400 at the service)", {"messages": (Message("tool", "x"),)}, "tool_call_id"),
    ("with an empty id", {"messages": (Message("tool", "x", tool_call_id=""),)}, "tool_call_id"),
    ("half an emoji", {"messages": (Message("user", "a\ud83d"),)}, "surrogates"),
    ("NaN, which is not JSON", {"parameters": {"temperature": float("nan")}}, "JSON"),
    ("infinity", {"extra_body": {"x": float("inf")}}, "JSON"),
    ("bytes", {"extra_body": {"x": b"raw"}}, "bytes"),
    ("an object", {"parameters": {"stop": object()}}, "JSON"),
]


@pytest.mark.parametrize(("fields", "named"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_invalid_requests(fields: dict[str, Any], named: str) -> None:
    """They raise an error with the reason before anything is sent."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        written(**fields)
    assert caught.value.__cause__ is None
    assert not caught.value.is_retryable


def test_a_cyclic_request() -> None:
    """It raises an error instead of crashing."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises(ConfigurationError, match="JSON"):
        written(extra_body=loop)
