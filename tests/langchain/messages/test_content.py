"""Content blocks of user turns, and invalid content."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call

from langchain_modelstudio.errors import ConfigurationError
from langchain_modelstudio.messages import to_core_content
from modelstudio_core.types import AudioPart, ImagePart, TextPart, VideoPart
from tests.langchain.messages.turns import CALL, EPHEMERAL, HI, OK, URL, image, user, wire
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.protocols import both_protocols

PNG = "iVBORw0KGgo="
WAV = "UklGRiQA"


def audio(url: str, format: str | None = None) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": url} | ({"format": format} if format else {})}


# ---------------------------------------------------------------- content blocks of a user turn

TEXTS: dict[str, Any] = {
    "text": {"type": "text", "text": "hi"},
    "a bare string in a list": "hi",
    "text-plain": {"type": "text-plain", "text": "hi", "mime_type": "text/plain"},
}


@pytest.mark.parametrize("block", TEXTS.values(), ids=TEXTS)
async def test_a_text_block_is_sent_as_a_string(block: Any) -> None:
    """In every form of a text block."""
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
    # the native protocol's form, which ChatTongyi accepts and returns
    (
        "a native text",
        {"text": "hi", "cache_control": EPHEMERAL},
        {"type": "text", "text": "hi", "cache_control": EPHEMERAL},
    ),
    ("a native image", {"image": URL, "min_pixels": 1}, image(URL, min_pixels=1)),
    ("a native image in base64", {"image": f"data:image/png;base64,{PNG}"}, image(f"data:image/png;base64,{PNG}")),
    ("a native video", {"video": URL, "fps": 2}, {"type": "video_url", "video_url": {"url": URL}, "fps": 2}),
    ("a native video as frames", {"video": [URL]}, {"type": "video", "video": [URL]}),
    ("a native audio", {"audio": URL}, {"type": "input_audio", "input_audio": {"data": URL}}),
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
async def test_content_blocks(block: Any, expected: dict[str, Any]) -> None:
    """Each block is sent in the format of the chat reference, with hints beside `type`."""
    assert await wire(user(block)) == [{"role": "user", "content": [expected]}]


async def test_blocks_keep_their_order() -> None:
    """Text and media are sent in the given order."""
    blocks = ["one", {"type": "image", "url": URL}, {"type": "text", "text": "two"}]
    expected = [{"type": "text", "text": "one"}, image(URL), {"type": "text", "text": "two"}]
    assert await wire(user(*blocks)) == [{"role": "user", "content": expected}]


async def test_the_header_for_oss_urls() -> None:
    """It is sent if a part has an oss:// URL."""
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
def test_blocks_not_normalized_by_langchain(block: Any, part: Any) -> None:
    """langchain-core's normalization rejects some of them."""
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
        user({"city": "x"}),
        ("messages[0]", "with the keys 'city' has no type", '"type": "image", "url"', '"video"'),
    ),
    (
        "a native block with two contents, one of which would be lost",
        user({"image": URL, "text": "?"}),
        ("messages[0]", "with the keys 'image, text' has no type"),
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
    """Each answers the first open call of its name, legacy or not."""
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
async def test_audio_answers_are_sent_as_text(message: AIMessage, content: str) -> None:
    """The text, or else the transcript."""
    assert await wire([HumanMessage("a"), message, HumanMessage("b")]) == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "b"},
    ]


@pytest.mark.parametrize(("messages", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("way", ["invoke", "astream"])
async def test_invalid_content(messages: Any, words: tuple[str, ...], way: str) -> None:
    """The error has the message and the reason. Nothing is sent."""
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
async def test_arguments_that_cannot_be_serialized(way: str, args: dict[str, Any]) -> None:
    """The error has the message and the tool. Nothing is sent."""
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
