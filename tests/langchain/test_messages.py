"""What goes in: every form of a message that LangChain knows, as the body that the service gets.

The service's forms are those of the vendor's chat reference; L and C numbers are rows of
test_peer_matrix.py.
"""

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
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.prompts import ChatPromptTemplate

from langchain_modelstudio.errors import ConfigurationError
from langchain_modelstudio.messages import to_core_content, to_core_messages
from modelstudio_core.types import AudioPart, ImagePart, TextPart, VideoPart
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import Answer, sent

PNG = "iVBORw0KGgo="
WAV = "UklGRiQA"
URL = "https://example.com/it"
EPHEMERAL = {"type": "ephemeral"}
OK = Answer(text=["ok"])


async def wire(messages: Any, way: str = "invoke", **settings: Any) -> list[dict[str, Any]]:
    """The messages of the body that goes out for `messages`, which stay as they were."""
    before = copy.deepcopy(messages)
    with Loopback(OK) as server:
        await call(chat(server, **settings), way, messages)
        assert messages == before
        wired: list[dict[str, Any]] = sent(server)["messages"]
        return wired


def user(*blocks: Any) -> list[BaseMessage]:
    return [HumanMessage(content=list(blocks))]


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, **more}


def audio(url: str, format: str | None = None) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": url} | ({"format": format} if format else {})}


# ---------------------------------------------------------------- whole messages

CALL = {"id": "call_1", "name": "get", "args": {"city": "上海"}, "type": "tool_call"}
WIRE_CALL = {
    "id": "call_1",
    "type": "function",
    "index": 0,
    "function": {"name": "get", "arguments": '{"city": "上海"}'},
}
CALLED = {"role": "assistant", "content": "", "tool_calls": [WIRE_CALL]}
ANSWER = ToolMessage("21", tool_call_id="call_1")
RESULT = {"role": "tool", "content": "21", "tool_call_id": "call_1"}
HI = {"role": "user", "content": "hi"}

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
async def test_a_message_is_sent_in_the_service_s_form(messages: Any, expected: list[dict[str, Any]]) -> None:
    """Each message goes out as the chat reference has it, and the caller's stays as it was."""
    assert await wire(messages) == expected


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_the_four_ways_send_the_same(way: str) -> None:
    """What is sent does not depend on how the model is called."""
    messages = [SystemMessage("s"), AIMessage("", tool_calls=[CALL]), ToolMessage("21", tool_call_id="call_1")]
    assert await wire(messages, way) == [{"role": "system", "content": "s"}, CALLED, RESULT]


@both_protocols
async def test_non_ascii_is_sent_as_itself() -> None:
    """Neither text nor the arguments of a call are escaped on the wire."""
    with Loopback(OK) as server:
        chat(server).invoke([HumanMessage("天气"), AIMessage("", tool_calls=[CALL]), ANSWER])
        assert "天气".encode() in server.requests[0].body
        assert "上海".encode() in server.requests[0].body


# ---------------------------------------------------------------- content blocks of a user turn

TEXTS: dict[str, Any] = {
    "text": {"type": "text", "text": "hi"},
    "a bare string in a list": "hi",
    "text-plain": {"type": "text-plain", "text": "hi", "mime_type": "text/plain"},
}


@pytest.mark.parametrize("block", TEXTS.values(), ids=TEXTS)
async def test_a_text_block_is_sent_as_a_string(block: Any) -> None:
    """Each form of text is content that every model reads."""
    assert await wire(user(block)) == [HI]


BLOCKS: list[tuple[str, Any, dict[str, Any]]] = [
    (
        "a cache mark on text (L51)",
        {"type": "text", "text": "hi", "cache_control": EPHEMERAL},
        {"type": "text", "text": "hi", "cache_control": EPHEMERAL},
    ),
    (
        "a cache mark in extras",
        {"type": "text", "text": "hi", "extras": {"cache_control": EPHEMERAL}},
        {"type": "text", "text": "hi", "cache_control": EPHEMERAL},
    ),
    # images (L41)
    ("v1 image by URL", {"type": "image", "url": URL}, image(URL)),
    (
        "v1 image in base64",
        {"type": "image", "base64": PNG, "mime_type": "image/jpeg"},
        image(f"data:image/jpeg;base64,{PNG}"),
    ),
    (
        "v1 image with a data URI",
        {"type": "image", "url": f"data:image/png;base64,{PNG}"},
        image(f"data:image/png;base64,{PNG}"),
    ),
    (
        "v0 image",
        {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/gif"},
        image(f"data:image/gif;base64,{PNG}"),
    ),
    ("v0 image by URL", {"type": "image", "source_type": "url", "url": URL}, image(URL)),
    ("OpenAI's image", image(URL), image(URL)),
    ("OpenAI's image, in short", {"type": "image_url", "image_url": URL}, image(URL)),
    (
        "OpenAI's image with a detail",
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
    ),
    (
        "Anthropic's image in base64",
        {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PNG}},
        image(f"data:image/webp;base64,{PNG}"),
    ),
    ("Anthropic's image by URL", {"type": "image", "source": {"type": "url", "url": URL}}, image(URL)),
    ("an image that was uploaded", {"type": "image", "url": "oss://bucket/it.png"}, image("oss://bucket/it.png")),
    (
        "pixel bounds beside the type",
        {"type": "image", "url": URL, "min_pixels": 1, "max_pixels": 2, "cache_control": EPHEMERAL},
        image(URL, min_pixels=1, max_pixels=2, cache_control=EPHEMERAL),
    ),
    (
        "pixel bounds in extras",
        {"type": "image", "url": URL, "extras": {"min_pixels": 1, "max_pixels": 2, "cache_control": EPHEMERAL}},
        image(URL, min_pixels=1, max_pixels=2, cache_control=EPHEMERAL),
    ),
    ("pixel bounds on OpenAI's form", {**image(URL), "max_pixels": 2}, image(URL, max_pixels=2)),
    # video (L42)
    ("v1 video by URL", {"type": "video", "url": URL}, {"type": "video_url", "video_url": {"url": URL}}),
    (
        "v1 video in base64",
        {"type": "video", "base64": "AAAA", "mime_type": "video/webm"},
        {"type": "video_url", "video_url": {"url": "data:video/webm;base64,AAAA"}},
    ),
    (
        "the service's own form, with its hints",
        {"type": "video_url", "video_url": {"url": URL}, "fps": 2, "max_pixels": 9, "total_pixels": 99},
        {"type": "video_url", "video_url": {"url": URL}, "fps": 2, "max_pixels": 9, "total_pixels": 99},
    ),
    (
        "a video as frames, hints in extras",
        {"type": "video", "video": [URL, f"data:image/jpeg;base64,{PNG}"], "extras": {"fps": 0.5, "max_frames": 8}},
        {"type": "video", "video": [URL, f"data:image/jpeg;base64,{PNG}"], "fps": 0.5, "max_frames": 8},
    ),
    (
        "a cache mark on a video",
        {"type": "video", "url": URL, "min_pixels": 3, "cache_control": EPHEMERAL},
        {"type": "video_url", "video_url": {"url": URL}, "min_pixels": 3, "cache_control": EPHEMERAL},
    ),
    # audio (L43, C18: the service refuses bare base64)
    (
        "v1 audio in base64",
        {"type": "audio", "base64": WAV, "mime_type": "audio/wav"},
        audio(f"data:audio/wav;base64,{WAV}", "wav"),
    ),
    (
        "v1 audio, mp3 by its other name",
        {"type": "audio", "base64": WAV, "mime_type": "audio/mpeg"},
        audio(f"data:audio/mpeg;base64,{WAV}", "mp3"),
    ),
    (
        "v1 audio, wav by its other name",
        {"type": "audio", "base64": WAV, "mime_type": "audio/x-wav"},
        audio(f"data:audio/x-wav;base64,{WAV}", "wav"),
    ),
    ("v1 audio by URL", {"type": "audio", "url": URL}, audio(URL)),
    ("v1 audio by URL with a format", {"type": "audio", "url": URL, "extras": {"format": "amr"}}, audio(URL, "amr")),
    (
        "OpenAI's audio, bare base64",
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        audio(f"data:audio/wav;base64,{WAV}", "wav"),
    ),
    (
        "OpenAI's audio with a URL, which is the service's own form",
        {"type": "input_audio", "input_audio": {"data": URL, "format": "mp3"}},
        audio(URL, "mp3"),
    ),
    (
        "OpenAI's audio with a data URI",
        {"type": "input_audio", "input_audio": {"data": f"data:;base64,{WAV}", "format": "wav"}},
        audio(f"data:;base64,{WAV}", "wav"),
    ),
    (
        "OpenAI's audio without a format",
        {"type": "input_audio", "input_audio": {"data": f"data:;base64,{WAV}"}},
        audio(f"data:;base64,{WAV}"),
    ),
]


@pytest.mark.parametrize(("block", "expected"), [case[1:] for case in BLOCKS], ids=[case[0] for case in BLOCKS])
async def test_a_content_block_is_sent_in_the_service_s_form(block: Any, expected: dict[str, Any]) -> None:
    """Each block of a user turn goes out as the chat reference has it, hints beside `type`."""
    assert await wire(user(block)) == [{"role": "user", "content": [expected]}]


async def test_blocks_keep_their_order() -> None:
    """Text and media of a turn stay in the order in which they were given."""
    blocks = ["one", {"type": "image", "url": URL}, {"type": "text", "text": "two"}]
    expected = [{"type": "text", "text": "one"}, image(URL), {"type": "text", "text": "two"}]
    assert await wire(user(*blocks)) == [{"role": "user", "content": expected}]


async def test_oss_content_asks_for_its_resolution() -> None:
    """A part at oss:// adds the header that the service needs to read it."""
    with Loopback(OK) as server:
        chat(server).invoke(user({"type": "image", "url": "oss://bucket/it.png"}))
        chat(server).invoke(user({"type": "image", "url": URL}))
        name = "x-dashscope-ossresourceresolve"
        assert [request.headers.get(name) for request in server.requests] == ["enable", None]


RAW: list[tuple[str, Any, Any]] = [
    (
        "OpenAI's audio",
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "mp3"}},
        AudioPart(f"data:audio/wav;base64,{WAV}", "mp3"),
    ),
    ("an image without a mime type", {"type": "image", "base64": PNG}, ImagePart(f"data:image/png;base64,{PNG}")),
    ("a video without one", {"type": "video", "base64": "AA"}, VideoPart("data:video/mp4;base64,AA")),
    ("an audio without one", {"type": "audio", "base64": WAV}, AudioPart(f"data:audio/wav;base64,{WAV}")),
    ("an image as its own field", {"type": "image", "image": URL}, ImagePart(URL)),
    ("null for text", {"type": "text", "text": None}, TextPart("")),
    ("plain text", {"type": "text-plain", "text": "上海"}, TextPart("上海")),
    ("plain text in base64", {"type": "text-plain", "base64": "5LiK5rW3", "mime_type": "text/plain"}, TextPart("上海")),
    (
        "plain text in base64, marked",
        {"type": "text-plain", "base64": "aGk=", "cache_control": EPHEMERAL},
        TextPart("hi", EPHEMERAL),
    ),
    (
        "plain text beside base64 and a URL",
        {"type": "text-plain", "text": "a", "base64": "Yg==", "url": URL},
        TextPart("a"),
    ),
]


@pytest.mark.parametrize(("block", "part"), [case[1:] for case in RAW], ids=[case[0] for case in RAW])
def test_a_block_that_langchain_did_not_tidy_is_read(block: Any, part: Any) -> None:
    """Content that did not pass through langchain-core's own clean-up, which refuses some of it, is read as well."""
    assert to_core_content([block]) == (part,)


# ---------------------------------------------------------------- what cannot be sent

REFUSED: list[tuple[str, Any, tuple[str, ...]]] = [
    (
        "a PDF (C32)",
        user({"type": "file", "base64": "JVBERg==", "mime_type": "application/pdf"}),
        ("messages[0] (human)", "'file'", "text block"),
    ),
    (
        "OpenAI's file",
        [SystemMessage("s"), *user({"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBERg=="}})],
        ("messages[1] (human)", "'file'"),
    ),
    ("Anthropic's document", user({"type": "document", "source": {}}), ("messages[0]", "'document'")),
    (
        "what is bad in the middle of a history (C35)",
        [HumanMessage("a"), AIMessage("b"), *user({"type": "image"}), AIMessage("c")],
        ("messages[2] (human)", "image", "neither url nor base64"),
    ),
    ("an uploaded image by id", user({"type": "image", "file_id": "f1"}), ("messages[0]", "file_id", "url or base64")),
    ("a video without content", user({"type": "video"}), ("messages[0]", "video")),
    ("an audio without content", user({"type": "audio", "mime_type": "audio/wav"}), ("messages[0]", "audio")),
    (
        "a block of no type",
        user({"image": URL}),
        ("messages[0]", "with the keys 'image' has no type", '"type": "image", "url"'),
    ),
    (
        "text by URL",
        user({"type": "text-plain", "url": URL}),
        ("messages[0] (human)", "url", "'text-plain'", "pass its text"),
    ),
    ("text by id", user({"type": "text-plain", "file_id": "f1"}), ("messages[0]", "file_id", "'text-plain'")),
    *(
        (
            f"a local path, {form}: {path}",
            user(block(path)),
            ("messages[0] (human)", *(("cannot be read", path[7:]) if "://" in path else (repr(path), "base64"))),
        )
        for path in ("/home/me/it.png", "it.png", "C:\\it.png", "file:///home/me/it.png", "~/it.png")
        for form, block in (
            ("v1", lambda path: {"type": "image", "url": path}),
            ("OpenAI's form", lambda path: image(path)),
            ("a bare string", lambda path: {"type": "image_url", "image_url": path}),
            ("a video", lambda path: {"type": "video", "url": path}),
        )
    ),
    *(
        (f"bytes as {field} of {kind}", user({"type": kind, field: b"\x89PNG", "mime_type": "x/y"}), words)
        for kind, field in (("image", "base64"), ("video", "base64"), ("audio", "base64"), ("image", "data"))
        for words in [("messages[0] (human)", kind, "bytes", "base64.b64encode")]
    ),
    (
        "in an assistant's turn",
        [AIMessage([{"type": "file", "base64": "x"}])],
        ("messages[0] (ai)", "'file'"),
    ),
    ("a role that the service lacks", [ChatMessage("x", role="critic")], ("messages[0] (chat)", "role 'critic'")),
    (
        "a function message that answers no call",
        [FunctionMessage("x", name="f")],
        ("messages[0] (function)", "FunctionMessage"),
    ),
    ("a message that removes one", [RemoveMessage(id="1")], ("messages[0] (remove)", "RemoveMessage")),
    ("a tool's result that answers no call", [ChatMessage("x", role="tool")], ("tool_call_id",)),
    ("nothing at all", [], ("no message",)),
]


def function_call(arguments: str) -> AIMessage:
    return AIMessage("", additional_kwargs={"function_call": {"name": "get", "arguments": arguments}})


def made_call(id: str, name: str, args: dict[str, Any]) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args=args, id=id)])


FUNCTIONS: list[tuple[str, list[BaseMessage], list[tuple[str, str, str]], list[tuple[str, str]]]] = [
    (
        "a call of today, answered as before",
        [made_call("c1", "get", {"a": 1}), FunctionMessage("21", name="get")],
        [("c1", "get", '{"a": 1}')],
        [("c1", "21")],
    ),
    (
        "two calls of one name, one answered as today",
        [
            made_call("c1", "get", {}),
            ToolMessage("1", tool_call_id="c1"),
            made_call("c2", "get", {}),
            FunctionMessage("2", name="get"),
        ],
        [("c1", "get", "{}"), ("c2", "get", "{}")],
        [("c1", "1"), ("c2", "2")],
    ),
    (
        "two calls as before, each answered",
        [
            function_call('{"a": 1}'),
            FunctionMessage("1", name="get"),
            function_call(""),
            FunctionMessage("2", name="get"),
        ],
        [("function_call_0", "get", '{"a": 1}'), ("function_call_2", "get", "{}")],
        [("function_call_0", "1"), ("function_call_2", "2")],
    ),
    (
        "a call of today, beside a stale copy of the old form",
        [
            AIMessage(
                "",
                tool_calls=[tool_call(name="get", args={}, id="c1")],
                additional_kwargs={"function_call": {"name": "old", "arguments": "{}"}},
            ),
            FunctionMessage("21", name="get"),
        ],
        [("c1", "get", "{}")],
        [("c1", "21")],
    ),
    (
        "a call as before that was cut off",
        [function_call('{"a": '), FunctionMessage("no", name="get")],
        [("function_call_0", "get", '{"invalid_arguments": "{\\"a\\": "}')],
        [("function_call_0", "no")],
    ),
]


@both_protocols
@pytest.mark.parametrize(("messages", "calls", "answers"), [c[1:] for c in FUNCTIONS], ids=[c[0] for c in FUNCTIONS])
async def test_function_messages_are_tool_messages(
    messages: list[BaseMessage], calls: list[tuple[str, str, str]], answers: list[tuple[str, str]]
) -> None:
    """A result from before there were tools answers the first open call of its name, of the old form or the new."""
    wired = await wire(messages)
    assert [
        (made["id"], made["function"]["name"], made["function"]["arguments"])
        for message in wired
        for made in message.get("tool_calls", ())
    ] == calls
    assert [(m["tool_call_id"], m["content"]) for m in wired if m["role"] == "tool"] == answers


SPOKEN = {"id": "audio_1", "data": "AAAA", "transcript": "It is.", "expires_at": 1770000600}


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (AIMessage("", additional_kwargs={"audio": SPOKEN}), "It is."),
        (AIMessage("So.", additional_kwargs={"audio": SPOKEN}), "So."),
        (AIMessage([{"type": "audio", "base64": "AAAA"}], additional_kwargs={"audio": SPOKEN}), "It is."),
        (AIMessage([{"type": "text", "text": "So."}, {"type": "audio", "base64": "AAAA"}]), "So."),
    ],
    ids=["transcript only", "text beside it", "v1", "v1 with text"],
)
async def test_a_spoken_answer_goes_back_as_what_was_said(message: AIMessage, content: str) -> None:
    """Audio of an assistant is not sent back: its text is, or the transcript where that is all there is."""
    assert await wire([HumanMessage("a"), message, HumanMessage("b")]) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "b"},
    ]


@pytest.mark.parametrize(("messages", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("way", ["invoke", "astream"])
async def test_what_cannot_be_sent_is_refused_by_name(messages: Any, words: tuple[str, ...], way: str) -> None:
    """What the service cannot take is refused before anything is sent, naming the message and what is wrong with it."""
    with Loopback(OK) as server:
        with pytest.raises(ConfigurationError) as raised:
            await call(chat(server), way, messages)
        assert all(word in str(raised.value) for word in words)
        assert server.requests == []


NOT_JSON: dict[str, Any] = {
    "a set": {"x": {1, 2}},
    "bytes": {"x": b"y"},
    "an object": {"x": [object()]},
}


@pytest.mark.parametrize("args", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("way", WAYS)
async def test_arguments_that_are_not_json_are_refused(way: str, args: dict[str, Any]) -> None:
    """A call in the history whose arguments cannot be written names its message and its tool, and is not sent."""
    history = [
        HumanMessage("a"),
        AIMessage("", tool_calls=[CALL, {**CALL, "id": "call_2", "name": "put", "args": args}]),
    ]
    with Loopback(OK) as server:
        with pytest.raises(ConfigurationError) as raised:
            await call(chat(server), way, history)
        assert all(word in str(raised.value) for word in ("messages[1] (ai)", "put", "JSON"))
        assert "get" not in str(raised.value)
        assert server.requests == []


# ---------------------------------------------------------------- calls that were cut off

CUT = invalid_tool_call(id="call_2", name="put", args='{"a": "x', error="cut")


@both_protocols
async def test_a_cut_call_goes_back_only_where_it_was_answered() -> None:
    """A call that has no answer is left out; the text of one that has goes within an object."""
    turn = AIMessage("", tool_calls=[CALL], invalid_tool_calls=[CUT])
    answered = [turn, ToolMessage("21", tool_call_id="call_1"), ToolMessage("cut off", tool_call_id="call_2")]
    function = {"name": "put", "arguments": '{"invalid_arguments": "{\\"a\\": \\"x"}'}
    cut = {"id": "call_2", "type": "function", "index": 1, "function": function}
    assert (await wire(answered[:2]))[0] == CALLED
    assert (await wire(answered))[0] == {**CALLED, "tool_calls": [WIRE_CALL, cut]}


async def test_a_call_without_a_name_is_sent_under_one() -> None:
    """The service requires a name of each call, so one that broke off before its name is "unknown"."""
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
async def test_which_reasoning_goes_back(settings: dict[str, Any], expected: list[str | None]) -> None:
    """Reasoning goes back in its own field: of the running turn always, of earlier ones by policy; never in content."""
    wired = await wire(list(HISTORY), **settings)
    turns = [message for message in wired if message["role"] == "assistant"]
    assert [turn.get("reasoning_content") for turn in turns] == expected
    assert [turn["content"] for turn in turns] == ["first", ""]


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_replay_may_be_said_per_call(way: str) -> None:
    """`reasoning_replay` of a call beats the object's, and is not on the wire itself."""
    with Loopback(OK) as server:
        await call(chat(server), way, list(HISTORY), reasoning_replay="always")
        assert sent(server)["messages"][1]["reasoning_content"] == "early"
        assert "reasoning_replay" not in sent(server)


NO_REASONING = [None, "", 3, ["x"]]


@pytest.mark.parametrize("reasoning", NO_REASONING)
async def test_what_is_no_reasoning_is_not_sent(reasoning: Any) -> None:
    """An empty or strange `reasoning_content` leaves the field out."""
    assert "reasoning_content" not in (await wire([HumanMessage("x"), thought("a", reasoning)]))[1]


async def test_reasoning_in_additional_kwargs_is_the_truth() -> None:
    """A message that has its reasoning both as text and as a block sends it once."""
    turn = AIMessage(
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a"}],
        additional_kwargs={"reasoning_content": "hm"},
    )
    assert await wire([turn]) == [{"role": "assistant", "content": "a", "reasoning_content": "hm"}]


def test_nothing_of_the_caller_s_is_changed() -> None:
    """Translating leaves messages, their blocks and their arguments as they were, and twice gives the same."""
    messages = [*HISTORY, *user({"type": "image", "url": URL, "extras": {"max_pixels": 1}}, "x")]
    before = copy.deepcopy(messages)
    assert to_core_messages(messages) == to_core_messages(messages)
    assert messages == before
