"""Convert LlamaIndex messages to core messages.

Blocks take precedence. `tool_calls` and `reasoning_content` in `additional_kwargs`, which older integrations set, are
used if the message has no ToolCallBlock or ThinkingBlock. Unsupported content raises an error that names it. In tool
results, which the caller does not control, it is replaced with a text instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from io import SEEK_END, IOBase
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    ContentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.utils import resolve_binary

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.history import base64_size, has_content, replacement
from modelstudio_core.http.local_files import local_file, path_of
from modelstudio_core.media import audio_format, check_url, data_uri
from modelstudio_core.protocols.codec import as_string
from modelstudio_core.tools import arguments_text
from modelstudio_core.types import (
    AudioPart,
    FunctionCall,
    ImagePart,
    MediaSource,
    Message,
    Part,
    Role,
    TextPart,
    VideoPart,
)

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "tool": "tool",
                           "function": "tool", "assistant": "assistant", "chatbot": "assistant",
                           "model": "assistant"}  # fmt: skip
# blocks of assistant messages that are not sent as content; they are omitted in messages of every role, because agents
# may copy an answer into a user message
_OMITTED_BLOCKS = (ThinkingBlock, ToolCallBlock, CitationBlock)


_DEFAULT_TITLE = "input_document"  # the title that LlamaIndex gives a document without one


def to_core_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Return the conversation as core messages.

    Local files are checked here and read when the request is sent; buffers are read now. URLs are not fetched.

    Raises:
        ConfigurationError: if a message is invalid. The message names its position.
    """
    core: list[Message] = []
    for position, message in enumerate(messages):
        try:
            core += _to_core_message(message)
        except ConfigurationError as error:
            raise ConfigurationError(f"messages[{position}] ({message.role.value}): {error.message}") from None
    return tuple(core)


def reads_files(messages: Iterable[ChatMessage]) -> bool:
    """Return True if `to_core_messages` would check local files or read buffers, which may block."""
    return any(
        isinstance(block, ImageBlock | AudioBlock | VideoBlock) and (block.path or isinstance(_data(block), IOBase))
        for message in messages
        for block in message.blocks
    )


def _to_core_message(message: ChatMessage) -> list[Message]:
    role = _ROLES[message.role.value]
    name = message.additional_kwargs.get("name")
    if role == "assistant":
        return [_assistant(message, name)]
    if role == "tool":
        call_id = _id(message.additional_kwargs.get("tool_call_id"))
        return [Message("tool", to_core_parts(message.blocks, result=True) or "", tool_call_id=call_id)]
    parts = to_core_parts(message.blocks)
    return [Message(role, parts or "", name)] if parts or not message.blocks else []


def _assistant(message: ChatMessage, name: str | None) -> Message:
    """Return an assistant message with its valid and invalid calls. Arguments of invalid calls are kept verbatim."""
    extra = message.additional_kwargs
    calls = [_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    calls = calls or [_legacy_call(call) for call in extra.get("tool_calls") or ()]
    known = {call.id for call in calls if call.id}
    calls += [
        FunctionCall(call["id"], call["name"] or "", call["args"] or "")
        for call in extra.get("invalid_tool_calls") or ()
        if call["id"] not in known
    ]
    thoughts = [block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock)]
    reasoning = "".join(thoughts) or extra.get("reasoning_content")
    content: str | tuple[Part, ...]
    content = to_core_parts([block for block in message.blocks if not isinstance(block, AudioBlock)]) or ""
    if not has_content(content):  # audio and refusals cannot be sent back, so their text is sent instead
        audio = extra.get("audio")
        transcript = audio.get("transcript") if isinstance(audio, Mapping) else None
        content = str(transcript or extra.get("refusal") or "")
    return Message(
        "assistant",
        content,
        name=name,
        tool_calls=tuple(calls),
        reasoning_content=reasoning or None,
        partial=bool(extra.get("partial")),
        response_id=as_string(extra.get("response_id")),
    )


def _call(block: ToolCallBlock) -> FunctionCall:
    return FunctionCall(block.tool_call_id, block.tool_name, _arguments(block.tool_name, block.tool_kwargs))


def _legacy_call(call: Any) -> FunctionCall:
    """Return a call in OpenAI's format, given as a dict or as an object of its SDK."""
    function = _field(call, "function")
    name = _field(function, "name") or ""
    return FunctionCall(_id(_field(call, "id")), name, _arguments(name, _field(function, "arguments")))


def _arguments(name: str, arguments: object) -> str:
    """Return arguments as JSON text. Arguments that could not be parsed are already text."""
    return arguments if isinstance(arguments, str) else arguments_text(name, {} if arguments is None else arguments)


def _id(id: object) -> str | None:
    """Return the id of a call as a string, because some servers send integers."""
    return None if id is None else str(id)


def _field(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


# ---------------------------------------------------------------- blocks


def to_core_parts(blocks: Sequence[ContentBlock], *, result: bool = False) -> tuple[Part, ...]:
    """Return content blocks as parts. Blocks that occur in assistant messages only are omitted.

    A `CachePoint` sets the `cache_control` of the part before it. In a tool `result`, blocks that cannot be sent are
    replaced with a text.
    """
    parts: list[Part] = []
    for position, block in enumerate(blocks):
        if isinstance(block, _OMITTED_BLOCKS):
            continue
        if result and isinstance(block, CitableBlock):
            parts += to_core_parts(block.content, result=True)
        elif not isinstance(block, CachePoint):
            parts.append(_result_part(block) if result else _to_core_part(block))
        elif parts:
            parts[-1] = replace(parts[-1], cache_control={"type": block.cache_control.type})
        elif position == 0 and not result:
            raise ConfigurationError("a CachePoint must follow the content to cache, but it is the first block")
    return tuple(parts)


def _result_part(block: ContentBlock) -> Part:
    try:
        return _to_core_part(block)
    except ConfigurationError:
        return _replacement(block)


def _replacement(block: ContentBlock) -> TextPart:
    """Return the text that replaces a block."""
    kind: str = block.block_type
    data, path, url = (getattr(block, name, None) for name in ("data" if kind == "document" else kind, "path", "url"))
    title, size = getattr(block, "title", None), None
    if isinstance(data, bytes):  # LlamaIndex stores bytes as base64
        size = base64_size(data.decode("ascii", "replace"))
    elif isinstance(data, IOBase):
        before = data.tell()
        size = data.seek(0, SEEK_END)
        data.seek(before)
    elif path is not None and Path(path).is_file():
        size = Path(path).stat().st_size
    return replacement(
        kind,
        str(url or ""),
        mime_type=getattr(block, f"{kind}_mimetype", None),
        size=size,
        name=Path(path).name if path is not None else None if url and title == _DEFAULT_TITLE else title,
    )


def _to_core_part(block: ContentBlock) -> Part:
    """Return a block as a part. Raises ConfigurationError if it is invalid or not supported."""
    if isinstance(block, TextBlock):
        return TextPart(block.text)
    try:
        if isinstance(block, ImageBlock):
            return ImagePart(_media_source(block, "image", block.image_mimetype or "image/png"), block.detail)
        if isinstance(block, VideoBlock):
            return VideoPart(_media_source(block, "video", block.video_mimetype or "video/mp4"), fps=block.fps)
        if isinstance(block, AudioBlock):
            format = audio_format(block.format)
            return AudioPart(_media_source(block, "audio", f"audio/{format or 'wav'}"), format)
    except ConfigurationError as error:
        raise ConfigurationError(f"{type(block).__name__} {error.message}") from None
    raise ConfigurationError(
        f"{type(block).__name__} is not supported by the chat service, which accepts text, images, video and audio. "
        "Send the text of a document as a TextBlock, or store the file with llm.files.upload and use a document model, "
        "such as qwen-long"
    )


def _media_source(block: ImageBlock | VideoBlock | AudioBlock, kind: str, mime_type: str) -> MediaSource:
    """Return the URL of a block, its data as a data URI, or its file, which is read when the request is sent."""
    data = _data(block)
    if block.url is not None and data is None:
        return check_url(str(block.url))
    if data is None and block.path is None:
        raise ConfigurationError("has no data, path or url")
    path = block.path if data is None else path_of(data)
    if path is not None:
        return local_file(path, kind, mime_type)
    try:
        if isinstance(data, IOBase):  # LlamaIndex's resolve_* functions do not rewind buffers
            data.seek(0)
            data = data.read()
        if not isinstance(data, bytes | None):
            raise ConfigurationError(f"has data of type {type(data).__name__}, not bytes: open files in binary mode")
        inline = resolve_binary(data, as_base64=True).read().decode("ascii")
    except (OSError, ValueError) as error:  # ValueError: the buffer is closed
        raise ConfigurationError(f"cannot be read: {error}") from error
    if not inline:
        raise ConfigurationError("is empty")
    return data_uri(mime_type, inline)


def _data(block: ImageBlock | VideoBlock | AudioBlock) -> bytes | IOBase | None:
    if isinstance(block, ImageBlock):
        return block.image
    return block.video if isinstance(block, VideoBlock) else block.audio
