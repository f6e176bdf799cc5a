"""Encoding of native requests, following the vendor's API reference."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.parameters import PLAIN_PARAMETERS, RESPONSES_PARAMETERS
from modelstudio_core.protocols.dashscope import DashScopeCodec
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    FunctionCall,
    ImagePart,
    Message,
    TextPart,
    VideoPart,
)
from tests.ids import short

CODEC = DashScopeCodec()
USER = Message("user", "hello")
BARE = {
    "model": "qwen-plus",
    "input": {"messages": [{"role": "user", "content": "hello"}]},
    "parameters": {"result_format": "message"},
}
TEXT, MULTIMODAL = "text-generation", "multimodal-generation"
IMAGE, MARK = "https://example.com/cat.png", {"type": "ephemeral"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
ONLY_COMPATIBLE = {"modalities": ["text", "audio"], "audio": {"voice": "Cherry"}}


def written(*, stream: bool = False, **fields: Any) -> dict[str, Any]:
    """The body of a request."""
    request = ChatRequest(**{"model": "qwen-plus", "messages": (USER,), **fields})
    body: dict[str, Any] = json.loads(CODEC.encode(request, stream=stream).body)
    return body


FIELDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nothing set", {}, {}),
    ("tools", {"tools": (TOOL,), "tool_choice": "auto"}, {"tools": [TOOL], "tool_choice": "auto"}),
    ("no tools", {"tools": ()}, {}),
    (
        "thinking",
        {"enable_thinking": True, "thinking_budget": 50, "preserve_thinking": False, "reasoning_effort": "low"},
        {"enable_thinking": True, "thinking_budget": 50, "preserve_thinking": False, "reasoning_effort": "low"},
    ),
    ("falsy values are values", {"enable_thinking": False, "n": 0}, {"enable_thinking": False, "n": 0}),
    ("several answers", {"n": 2}, {"n": 2}),
    ("JSON", {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ("extra_body goes there too", {"extra_body": {"new": {"a": [1]}}}, {"new": {"a": [1]}}),
    ("extra_body wins", {"extra_body": {"top_k": 1}, "parameters": {"top_k": 20}}, {"top_k": 1}),
    ("another form of the answer", {"extra_body": {"result_format": "text"}}, {"result_format": "text"}),
    (
        "a search with its sources",
        {"parameters": {"enable_search": True, "search_options": {"enable_source": True}}},
        {"enable_search": True, "search_options": {"enable_source": True}},
    ),
    (
        "what only the compatible protocol is known to carry, in extra_body",
        {"extra_body": ONLY_COMPATIBLE},
        ONLY_COMPATIBLE,
    ),
    *(
        (name, {"parameters": {name: value}}, {name: value})
        for name in PLAIN_PARAMETERS
        if name not in (*ONLY_COMPATIBLE, *RESPONSES_PARAMETERS, "incremental_output")
        for value in ([1, {"a": "b"}],)
    ),
]


@pytest.mark.parametrize(("fields", "sent"), [c[1:] for c in FIELDS], ids=[c[0] for c in FIELDS])
def test_parameters(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    """Only parameters that were set are sent, with result_format, and incremental_output for streams."""
    assert written(**fields) == BARE | {"parameters": {"result_format": "message"} | sent}
    growing = {"result_format": "message", "incremental_output": True}
    assert written(stream=True, **fields) == BARE | {"parameters": growing | sent}


INCREMENTAL: list[tuple[str, dict[str, Any], bool]] = [
    ("not set", {}, True),
    ("as the caller says: no", {"parameters": {"incremental_output": False}}, False),
    ("as the caller says: yes", {"parameters": {"incremental_output": True}}, True),
    ("a model that can only repeat", {"cumulative_stream": True}, False),
    ("such a model, by the caller", {"cumulative_stream": True, "parameters": {"incremental_output": True}}, True),
]


@pytest.mark.parametrize(("fields", "sent"), [c[1:] for c in INCREMENTAL], ids=[c[0] for c in INCREMENTAL])
def test_incremental_output(fields: dict[str, Any], sent: bool) -> None:
    """It is sent for streams only."""
    assert written(stream=True, **fields)["parameters"]["incremental_output"] is sent
    assert "incremental_output" not in written(**fields)["parameters"]


CALLS = (FunctionCall("call_1", "f", '{"a": 1}'), FunctionCall(None, "g", "{oops"))
WIRE_CALLS = [
    {"id": "call_1", "type": "function", "index": 0, "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "", "type": "function", "index": 1, "function": {"name": "g", "arguments": "{oops"}},
]
MESSAGES: list[tuple[str, Message, Any, Any]] = [
    # a message, its content for the text endpoint (an exception: refused, naming this), and for the multimodal one
    ("user", USER, "hello", [{"text": "hello"}]),
    ("empty text", Message("user", ""), "", [{"text": ""}]),
    ("system", Message("system", "Be brief."), "Be brief.", [{"text": "Be brief."}]),
    ("text in parts", Message("user", (TextPart("a"), TextPart("b"))), "ab", [{"text": "ab"}]),
    (
        "text with a mark of the context cache",
        Message("user", (TextPart("a", MARK), TextPart("b"))),
        [{"text": "a", "cache_control": MARK}, {"text": "b"}],
        [{"text": "a", "cache_control": MARK}, {"text": "b"}],
    ),
    (
        "image",
        Message("user", (ImagePart(IMAGE, "high", 4096, 0, MARK), TextPart("?"))),
        ValueError("image"),
        [{"image": IMAGE, "min_pixels": 4096, "max_pixels": 0, "cache_control": MARK}, {"text": "?"}],
    ),
    (
        "video by URL",
        Message("user", (VideoPart("oss://bucket/a.mp4", 0.5, 1, 2, 3, 4),)),
        ValueError("video"),
        [{"video": "oss://bucket/a.mp4", "fps": 0.5, "min_pixels": 1, "max_pixels": 2, "total_pixels": 3,
          "max_frames": 4}],
    ),
    (
        "video by frames",
        Message("user", (VideoPart(("https://a/1.png", "https://a/2.png"), fps=2),)),
        ValueError("video"),
        [{"video": ["https://a/1.png", "https://a/2.png"], "fps": 2}],
    ),
    (
        "audio",
        Message("user", (AudioPart("data:audio/wav;base64,AAAA", "wav"),)),
        ValueError("audio"),
        [{"audio": "data:audio/wav;base64,AAAA"}],
    ),
    ("an answer", Message("assistant", "42"), "42", [{"text": "42"}]),
    ("an answer of calls only", Message("assistant", "", tool_calls=CALLS), "", []),
    ("a tool's result", Message("tool", "sunny", tool_call_id="call_1"), "sunny", [{"text": "sunny"}]),
    (
        "a tool's picture",
        Message("tool", (TextPart("sky"), ImagePart(IMAGE)), tool_call_id="call_1"),
        ValueError("image"),
        [{"text": "sky"}, {"image": IMAGE}],
    ),
]  # fmt: skip


@pytest.mark.parametrize("endpoint", [TEXT, MULTIMODAL])
@pytest.mark.parametrize(("message", "text", "parts"), [c[1:] for c in MESSAGES], ids=[c[0] for c in MESSAGES])
def test_content_per_endpoint(message: Message, text: Any, parts: Any, endpoint: Any) -> None:
    """A string for text-generation, which rejects media; a list of parts for multimodal-generation."""
    expected = text if endpoint == TEXT else parts
    if isinstance(expected, ValueError):
        with pytest.raises(ConfigurationError, match=f'{expected} cannot be sent.*native_endpoint="{MULTIMODAL}"'):
            written(messages=(message,), native_endpoint=endpoint)
        return
    (sent,) = written(messages=(message,), native_endpoint=endpoint)["input"]["messages"]
    assert (sent["role"], sent["content"]) == (message.role, expected)
    assert sent.get("tool_calls") == (WIRE_CALLS if message.tool_calls else None)


WHOLE_MESSAGES: list[tuple[str, Message]] = [
    ("name", Message("user", "hi", name="Ann")),
    ("reasoning in its own field", Message("assistant", "42", reasoning_content="6 * 7")),
    ("partial mode", Message("assistant", "def ", partial=True)),
    ("calls", Message("assistant", "", tool_calls=CALLS, reasoning_content="hm")),
    ("a tool's result: its id, no name", Message("tool", "sunny", tool_call_id="call_1", name="f")),
]


@pytest.mark.parametrize("message", [c[1] for c in WHOLE_MESSAGES], ids=[c[0] for c in WHOLE_MESSAGES])
def test_messages_equal_the_compatible_protocol(message: Message) -> None:
    """Except for media."""
    request = ChatRequest("qwen-plus", (message,))
    compatible = json.loads(OpenAICodec().encode(request, stream=False).body)["messages"]
    assert written(messages=(message,))["input"]["messages"] == compatible


def test_a_tool_result_needs_its_call() -> None:
    """A tool message without an ID raises an error before anything is sent."""
    with pytest.raises(ConfigurationError, match="tool_call_id"):
        written(messages=(Message("tool", "sunny"),))


ENDPOINTS: list[tuple[Any, str]] = [(None, TEXT), (TEXT, TEXT), (MULTIMODAL, MULTIMODAL)]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("endpoint", "service"), ENDPOINTS)
def test_path_and_headers(endpoint: Any, service: str, stream: bool) -> None:
    """The endpoint is in the path. A header requests a stream. There is no key, and no async header."""
    call = CODEC.encode(ChatRequest("qwen-plus", (USER,), native_endpoint=endpoint), stream=stream)
    assert call.path == f"/services/aigc/{service}/generation"
    sse = {"accept": "text/event-stream", "x-dashscope-sse": "enable"} if stream else {"accept": "application/json"}
    assert call.headers == {"content-type": "application/json", **sse}
    assert b'"stream"' not in call.body


def test_an_unknown_endpoint() -> None:
    """The error names the two endpoints."""
    with pytest.raises(ConfigurationError, match=f"'text'.*{TEXT}.*{MULTIMODAL}"):
        written(native_endpoint="text")


OSS: list[tuple[Any, bool]] = [
    (ImagePart("oss://a"), True),
    (ImagePart(IMAGE), False),
    (VideoPart("oss://a"), True),
    (VideoPart(("https://a", "oss://b")), True),
    (AudioPart("oss://a"), True),
    (TextPart("oss://a"), False),
]


@pytest.mark.parametrize(("part", "resolved"), OSS, ids=short)
def test_the_header_for_oss_urls(part: Any, resolved: bool) -> None:
    """The service resolves `oss://` only with this header."""
    request = ChatRequest("qwen-vl-max", (Message("user", (part,)),), native_endpoint="multimodal-generation")
    headers = CODEC.encode(request, stream=False).headers
    assert headers.get("x-dashscope-ossresourceresolve") == ("enable" if resolved else None)


def test_text_is_sent_unescaped_and_compact() -> None:
    """Non-ASCII text is sent as UTF-8, without spaces between fields."""
    call = CODEC.encode(ChatRequest("qwen-plus", (Message("user", "你好 🚀\n"),)), stream=False)
    expected = (
        '{"model":"qwen-plus","input":{"messages":[{"role":"user","content":"你好 🚀\\n"}]},'
        '"parameters":{"result_format":"message"}}'
    )
    assert call.body == expected.encode()


def test_inputs_are_not_changed() -> None:
    """The request, its schemas, cache marks and extra_body."""
    parts = (TextPart("a", {"type": "ephemeral"}), VideoPart(("https://a",)))
    request = ChatRequest(
        "qwen-vl-max",
        (Message("user", parts),),
        tools=(copy.deepcopy(TOOL),),
        parameters={"search_options": {"enable_source": True}},
        extra_body={"x": [1]},
        native_endpoint="multimodal-generation",
    )
    before = copy.deepcopy(request)
    CODEC.encode(request, stream=True)
    assert request == before


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("spoken answers", {"parameters": {"modalities": ["text", "audio"]}}, "modalities.*protocol='openai'"),
    ("the voice", {"parameters": {"audio": {"voice": "Cherry"}}}, "audio.*protocol='openai'"),
    ("stream_options", {"extra_body": {"stream_options": {"include_usage": True}}}, "stream_options.*usage"),
    ("the model", {"extra_body": {"model": "x"}}, "model: use the argument"),
    ("the messages", {"extra_body": {"messages": []}}, "messages: use the argument"),
    ("whether it streams", {"extra_body": {"stream": True}}, "stream: use the argument"),
    ("the input", {"extra_body": {"input": {}}}, "input"),
    ("the parameters as one", {"extra_body": {"parameters": {"top_k": 1}}}, "parameters.*inside it by name"),
    ("what is no JSON", {"extra_body": {"x": {1}}}, "JSON"),
]
REFUSED_BY_THE_OTHER: list[tuple[str, dict[str, Any], str]] = [
    ("the sizes of images", {"parameters": {"vl_enable_image_hw_output": True}}, "vl_enable_image_hw_output"),
    *(
        (name, {"parameters": {"search_options": {name: True, "forced_search": True}}}, rf"search_options\.{name}: ")
        for name in ("enable_source", "enable_citation", "citation_format", "prepend_search_result")
    ),
]


@pytest.mark.parametrize(("fields", "says"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_unsupported_parameters(fields: dict[str, Any], says: str) -> None:
    """The error names the parameter, and the protocol that supports it, if any."""
    with pytest.raises(ConfigurationError, match=says):
        written(**fields)


@pytest.mark.parametrize(
    ("fields", "says"), [c[1:] for c in REFUSED_BY_THE_OTHER], ids=[c[0] for c in REFUSED_BY_THE_OTHER]
)
def test_parameters_of_this_protocol_only(fields: dict[str, Any], says: str) -> None:
    """The compatible protocol rejects them, except null and values in extra_body."""
    codec = OpenAICodec()
    with pytest.raises(ConfigurationError, match=f"{says}.*protocol='dashscope'"):
        codec.encode(ChatRequest("qwen-plus", (USER,), **fields), stream=True)
    parameters = fields["parameters"]
    assert CODEC.encode(ChatRequest("qwen-plus", (USER,), **fields), stream=True).body
    sent = codec.encode(ChatRequest("qwen-plus", (USER,), extra_body=parameters), stream=True)
    assert json.loads(sent.body).items() >= parameters.items()
    unset = dict.fromkeys(parameters)
    assert codec.encode(ChatRequest("qwen-plus", (USER,), parameters=unset), stream=True).body
