"""The messages that are sent: turns of every kind, media, cache points, and invalid content."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.memory import ChatMemoryBuffer

from llama_index_modelstudio import errors
from llama_index_modelstudio import messages as module
from tests.llama_index.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.service import Answer, sent

HELLO = Answer(text=["Hello"])
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PIXEL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00"
SOUND = f"data:audio/wav;base64,{base64.b64encode(WAV).decode()}"
CALL = ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs={"city": "上海"})
RESULT = ChatMessage(role="tool", content="Sunny.", additional_kwargs={"tool_call_id": "call_1"})


def assistant(*blocks: Any, **extra: Any) -> ChatMessage:
    return ChatMessage(role="assistant", blocks=list(blocks), additional_kwargs=extra)


async def sent_messages(way: str, *messages: ChatMessage, **settings: Any) -> list[dict[str, Any]]:
    """Return the sent messages for these messages."""
    before = [message.model_dump_json() for message in messages]
    with Loopback(HELLO) as server:
        await call(chat(server, **settings), way, messages)
        assert [message.model_dump_json() for message in messages] == before
        wire: list[dict[str, Any]] = sent(server)["messages"]
        return wire


# ---------------------------------------------------------------- tool loops


@pytest.mark.parametrize("way", WAYS)
async def test_a_tool_loop(way: str) -> None:
    """Thought and call are sent as the service requires, beside the content; the result has the call's ID."""
    turn = assistant(
        ThinkingBlock(content="I need "), ThinkingBlock(content="the weather."), TextBlock(text="Wait."), CALL
    )
    question, said, result = await sent_messages(way, ChatMessage("Weather?"), turn, RESULT)
    assert question == {"role": "user", "content": "Weather?"}
    assert said["reasoning_content"] == "I need the weather."
    assert said["content"] == "Wait."
    [made] = said["tool_calls"]
    assert (made["id"], made["function"]) == ("call_1", {"name": "weather", "arguments": '{"city": "上海"}'})
    assert result == {"role": "tool", "content": "Sunny.", "tool_call_id": "call_1"}


@pytest.mark.parametrize(("policy", "kept"), [("auto", False), ("always", True), ("never", False)])
async def test_earlier_thoughts_are_sent_by_policy(policy: str, kept: bool) -> None:
    """Reasoning before the last user message is sent only if the policy or the caller requires it."""
    turn = assistant(ThinkingBlock(content="Hm."), TextBlock(text="Hi."))
    messages = await sent_messages("chat", ChatMessage("hello"), turn, ChatMessage("And?"), reasoning_replay=policy)
    assert ("reasoning_content" in messages[1]) is kept
    [_, said, _] = await sent_messages("chat", ChatMessage("hello"), turn, ChatMessage("?"), preserve_thinking=True)
    assert said["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    ("arguments", "text"), [('{"city": "A"}', '{"city": "A"}'), ("", "{}"), ({}, "{}"), ({"n": 1.5}, '{"n": 1.5}')]
)
async def test_arguments_as_text_or_dict(arguments: Any, text: str) -> None:
    """A ToolCallBlock has arguments as a dict or JSON text; both are sent as text."""
    turn = assistant(ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs=arguments))
    [_, said, _] = await sent_messages("chat", ChatMessage("?"), turn, RESULT)
    assert said["tool_calls"][0]["function"]["arguments"] == text


@pytest.mark.parametrize("way", WAYS)
async def test_text_is_not_escaped(way: str) -> None:
    """Non-ASCII arguments and texts, which saves tokens and bytes."""
    with Loopback(HELLO) as server:
        await call(chat(server), way, [ChatMessage("天气?"), assistant(CALL), RESULT])
        body = server.requests[0].body
    assert "上海".encode() in body
    assert "天气?".encode() in body
    assert b"\\u" not in body


async def test_the_history_of_an_older_class() -> None:
    """Calls only in `additional_kwargs`, as dicts or SDK objects, are sent. Beside blocks they are ignored."""
    function = {"name": "weather", "arguments": '{"city": "A"}'}
    as_object = SimpleNamespace(id="call_1", type="function", function=SimpleNamespace(**function))
    for made in ({"id": "call_1", "type": "function", "function": function}, as_object):
        message = assistant()
        message.additional_kwargs["tool_calls"] = [made]
        message.additional_kwargs["reasoning_content"] = "Hm."
        with Loopback(HELLO) as server:
            chat(server).chat([ChatMessage("?"), message, RESULT])
            said = sent(server)["messages"][1]
        assert (said["tool_calls"][0]["id"], said["tool_calls"][0]["function"]) == ("call_1", function)
        assert said["reasoning_content"] == "Hm."
    stale = {"id": "old", "function": {"name": "old", "arguments": "{}"}}
    [_, said, _] = await sent_messages("chat", ChatMessage("?"), assistant(CALL, tool_calls=[stale]), RESULT)
    assert [made["id"] for made in said["tool_calls"]] == ["call_1"]


async def test_truncated_calls_are_sent_only_if_answered() -> None:
    """The service requires a result for each call."""
    invalid = {"id": "call_1", "name": "weather", "args": '{"ci', "error": "cut"}
    turn = assistant(TextBlock(text="Wait."), invalid_tool_calls=[invalid])
    [_, said, _] = await sent_messages("chat", ChatMessage("?"), turn, RESULT)
    function = said["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("weather", {"invalid_arguments": '{"ci'})
    [_, said, _] = await sent_messages("chat", ChatMessage("?"), turn, ChatMessage("Well?"))
    assert "tool_calls" not in said


async def test_extra_fields_of_agents_are_not_sent() -> None:
    """FunctionAgent adds a tool ID to assistant turns (`return_direct`)."""
    turn = ChatMessage(role="assistant", content="Sunny.", additional_kwargs={"tool_call_id": "call_1"})
    messages = await sent_messages("chat", ChatMessage("?"), assistant(CALL), RESULT, turn, ChatMessage("Thanks."))
    assert messages[3] == {"role": "assistant", "content": "Sunny."}


async def test_partial_mode() -> None:
    """The last assistant message is continued."""
    [_, said] = await sent_messages("chat", ChatMessage("?"), assistant(TextBlock(text="Once"), partial=True))
    assert said == {"role": "assistant", "content": "Once", "partial": True}


# ---------------------------------------------------------------- roles and texts


@pytest.mark.parametrize(
    ("role", "wire"),
    [("system", "system"), ("developer", "system"), ("user", "user"), ("chatbot", "assistant"), ("model", "assistant")],
)
async def test_roles(role: str, wire: str) -> None:
    """Each role of LlamaIndex is converted to one of the service."""
    [message, _] = await sent_messages("chat", ChatMessage(role=role, content="text"), ChatMessage("?"))
    assert message == {"role": wire, "content": "text"}


async def test_joining_texts() -> None:
    """Texts of a turn are concatenated, those of a tool result joined by newlines."""
    two: Any = [TextBlock(text="a"), TextBlock(text="b")]
    result = ChatMessage(role="tool", blocks=two, additional_kwargs={"tool_call_id": "call_1"})
    messages = await sent_messages(
        "chat", ChatMessage(role="user", blocks=two), assistant(*two, CALL), result, ChatMessage(role="user")
    )
    assert [message["content"] for message in messages] == ["ab", "ab", "a\nb", ""]


async def test_a_tool_result_without_a_call_is_rejected() -> None:
    """The error has the message."""
    with Loopback(HELLO) as server:
        with pytest.raises(errors.ConfigurationError, match="tool_call_id"):
            chat(server).chat([ChatMessage("?"), ChatMessage(role="tool", content="Sunny.")])
        assert not server.requests


async def test_invalid_json_arguments_are_rejected() -> None:
    """Before anything is sent. The error has the message and the function."""
    turn = assistant(ToolCallBlock(tool_call_id="call_1", tool_name="weather", tool_kwargs={"x": b"y"}))
    with pytest.raises(errors.ConfigurationError, match=r"messages\[1\] \(assistant\): .*weather"):
        await sent_messages("chat", ChatMessage("?"), turn)


# ---------------------------------------------------------------- media


@pytest.mark.parametrize("way", WAYS)
async def test_images(way: str, tmp_path: Path) -> None:
    """By URL unchanged, or inlined from bytes, a buffer or a file."""
    path = tmp_path / "pixel.png"
    path.write_bytes(PNG)
    blocks: Any = [
        ImageBlock(url="https://example.com/a.png", detail="high"),
        ImageBlock(image=PNG),
        ImageBlock(image=base64.b64encode(PNG)),
        ImageBlock(path=path),
        ImageBlock(url="oss://bucket/a.png"),
        ImageBlock(url=PIXEL),
        TextBlock(text="What is it?"),
    ]
    [message] = await sent_messages(way, ChatMessage(role="user", blocks=blocks))
    urls = [part["image_url"]["url"] for part in message["content"][:-1]]
    assert urls == ["https://example.com/a.png", PIXEL, PIXEL, PIXEL, "oss://bucket/a.png", PIXEL]
    assert message["content"][0]["image_url"]["detail"] == "high"
    assert message["content"][-1] == {"type": "text", "text": "What is it?"}


async def test_an_image_in_a_buffer() -> None:
    """It is read from its start, and again for the next call."""
    message = ChatMessage(role="user", blocks=[ImageBlock(image=BytesIO(PNG), image_mimetype="image/png")])
    with Loopback(HELLO) as server:
        for way in WAYS:
            await call(chat(server), way, message)
            assert sent(server)["messages"][0]["content"][0]["image_url"]["url"] == PIXEL


@pytest.mark.parametrize("way", WAYS)
async def test_videos(way: str) -> None:
    """By URL or inlined, with the frame rate."""
    blocks: Any = [
        VideoBlock(url="https://example.com/a.mp4", fps=2),
        VideoBlock(video=b"\x00\x00\x00\x18ftypmp42", video_mimetype="video/mp4"),
    ]
    [message] = await sent_messages(way, ChatMessage(role="user", blocks=blocks))
    first, second = message["content"]
    assert first == {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}, "fps": 2}
    assert second["video_url"]["url"].startswith("data:video/mp4;base64,")


@pytest.mark.parametrize("way", WAYS)
async def test_audio(way: str) -> None:
    """By URL or as a data URI, with its format. The service rejects bare base64."""
    blocks: Any = [AudioBlock(audio=WAV, format="wav"), AudioBlock(url="https://example.com/a.mp3")]
    [message] = await sent_messages(way, ChatMessage(role="user", blocks=blocks))
    assert message["content"] == [
        {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "https://example.com/a.mp3", "format": "mp3"}},
    ]


REFUSED: list[tuple[Any, str]] = [
    (DocumentBlock(data=b"%PDF-1.7 x"), "DocumentBlock"),
    (CitableBlock(title="t", source="s", content="c"), "CitableBlock"),
    (ImageBlock(url="ftp://example.com/a.png"), "ftp"),
    (ImageBlock(), "ImageBlock has no data, path or url"),
    (AudioBlock(audio=BytesIO(b"")), "AudioBlock is empty"),
    (CachePoint(cache_control=CacheControl(type="ephemeral")), "CachePoint"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("block", "named"), REFUSED, ids=[named for _, named in REFUSED])
async def test_unsupported_blocks_are_named(way: str, block: Any, named: str) -> None:
    """The error has the message and the block, and nothing is sent."""
    with Loopback(HELLO) as server:
        with pytest.raises(errors.ConfigurationError, match=rf"messages\[1\] \(user\): .*{named}"):
            await call(chat(server), way, [ChatMessage("?"), ChatMessage(role="user", blocks=[block])])
        assert not server.requests


async def test_citations_in_assistant_turns_are_omitted() -> None:
    """They only repeat the cited text."""
    citation = CitationBlock(cited_content="c", source="s", title="t", additional_location_info={})
    [_, said, _] = await sent_messages(
        "chat", ChatMessage("?"), assistant(TextBlock(text="a"), citation), ChatMessage("?")
    )
    assert said == {"role": "assistant", "content": "a"}


async def test_cache_points() -> None:
    """`cache_control` is set on the part right before it, in a turn of any role."""
    point = CachePoint(cache_control=CacheControl(type="ephemeral"))
    blocks: Any = [TextBlock(text="long"), point, TextBlock(text="short")]
    system, user = await sent_messages(
        "chat",
        ChatMessage(role="system", blocks=blocks),
        ChatMessage(role="user", blocks=[TextBlock(text="this"), ImageBlock(url=PIXEL), point]),
    )
    mark = {"cache_control": {"type": "ephemeral"}}
    assert system["content"] == [{"type": "text", "text": "long"} | mark, {"type": "text", "text": "short"}]
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    assert user["content"] == [{"type": "text", "text": "this"}, image | mark]
    said, result = (
        await sent_messages(
            "chat",
            ChatMessage("?"),
            assistant(TextBlock(text="a"), point, CALL),
            ChatMessage(role="tool", blocks=[TextBlock(text="b"), point], additional_kwargs={"tool_call_id": "call_1"}),
        )
    )[1:]
    assert said["content"] == [{"type": "text", "text": "a"} | mark]
    assert result["content"] == [{"type": "text", "text": "b"} | mark]


@pytest.mark.parametrize("way", ["achat", "astream_chat"])
async def test_files_are_read_off_the_event_loop(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and buffers are read in a thread. Other calls use none."""
    path, threads = tmp_path / "pixel.png", []
    path.write_bytes(PNG)

    def noted(messages: Any) -> Any:
        threads.append(threading.current_thread())
        return module.to_core_messages(messages)

    monkeypatch.setattr("llama_index_modelstudio.llm.to_core_messages", noted)
    buffer = ImageBlock(image=BytesIO(PNG), image_mimetype="image/png")
    with Loopback(HELLO) as server:
        for block in (ImageBlock(path=path), buffer, ImageBlock(image=PNG)):
            await call(chat(server), way, ChatMessage(role="user", blocks=[block]))
    assert [thread is threading.main_thread() for thread in threads] == [False, False, True]
    await asyncio.sleep(0)


# ---------------------------------------------------------------- memory


async def test_a_memory_can_be_stored() -> None:
    """As JSON, with thoughts and calls; the same messages are sent."""
    memory = ChatMemoryBuffer.from_defaults(token_limit=10_000, tokenizer_fn=str.split)
    turn = assistant(ThinkingBlock(content="Hm.", num_tokens=2), CALL, reasoning_content="Hm.")
    with Loopback(HELLO) as server:
        llm = chat(server)
        for message in (ChatMessage("?"), turn, RESULT):
            await memory.aput(message)
        await memory.aput((await llm.achat(await memory.aget())).message)
        restored = [ChatMessage.model_validate_json(message.model_dump_json()) for message in memory.get_all()]
        llm.chat(restored)
        first, second = (sent(server, at)["messages"] for at in (0, 1))
    assert second[:3] == first
    assert second[1]["reasoning_content"] == "Hm."
    assert second[3] == {"role": "assistant", "content": "Hello"}
