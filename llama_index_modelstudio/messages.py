"""Convert LlamaIndex messages to core messages.

Blocks take precedence. `tool_calls` and `reasoning_content` in `additional_kwargs`, from older classes, are used if
there are no blocks of that kind, so that histories of other providers work. Unsupported content raises an error that
names it, except in tool results, which the caller cannot correct: there, a text replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
from modelstudio_core.media import audio_format, checked_address, data_uri
from modelstudio_core.tools import arguments_text
from modelstudio_core.types import (
    AudioPart,
    FunctionCall,
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    VideoPart,
)

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "tool": "tool",
                           "function": "tool", "assistant": "assistant", "chatbot": "assistant",
                           "model": "assistant"}  # fmt: skip
# what only an assistant's turn knows. An agent's answer may come back in a turn of any role
_LEFT_OUT = (ThinkingBlock, ToolCallBlock, CitationBlock)


_NO_TITLE = "input_document"  # the title that LlamaIndex gives a document without one


def to_core_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Return the conversation as the core has it. Reads the files that its blocks name, nothing else.

    Raises ConfigurationError naming the message and its fault.
    """
    core: list[Message] = []
    for position, message in enumerate(messages):
        try:
            core += _to_core_message(message)
        except ConfigurationError as error:
            raise ConfigurationError(f"messages[{position}] ({message.role.value}): {error.message}") from None
    return tuple(core)


def read_files(messages: Iterable[ChatMessage]) -> bool:
    """Return True if `to_core_messages` reads files for these messages, which is slow."""
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
    """Return an assistant's turn with all its calls, the invalid ones as they are written."""
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
    if not has_content(content):  # the service takes neither its audio nor its refusal back, but the text of either
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
    )


def _call(block: ToolCallBlock) -> FunctionCall:
    return FunctionCall(block.tool_call_id, block.tool_name, _arguments(block.tool_name, block.tool_kwargs))


def _legacy_call(call: Any) -> FunctionCall:
    """Return a call in OpenAI's form, a dict or an object of its SDK."""
    function = _field(call, "function")
    name = _field(function, "name") or ""
    return FunctionCall(_id(_field(call, "id")), name, _arguments(name, _field(function, "arguments")))


def _arguments(name: str, arguments: object) -> str:
    """Return arguments as the model wrote them, which are text where they could not be read."""
    return arguments if isinstance(arguments, str) else arguments_text(name, {} if arguments is None else arguments)


def _id(id: object) -> str | None:
    """Return the id of a call as text: some servers number their calls."""
    return None if id is None else str(id)


def _field(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


# ---------------------------------------------------------------- blocks


def to_core_parts(blocks: Sequence[ContentBlock], *, result: bool = False) -> tuple[Part, ...]:
    """Return content blocks as parts, without those that only an assistant's turn holds.

    A `CachePoint` marks the part before it. In a tool's `result` a text stands for each block that cannot be sent.
    """
    parts: list[Part] = []
    for position, block in enumerate(blocks):
        if isinstance(block, _LEFT_OUT):
            continue
        if result and isinstance(block, CitableBlock):
            parts += to_core_parts(block.content, result=True)
        elif not isinstance(block, CachePoint):
            parts.append(_result_part(block) if result else _to_core_part(block))
        elif parts:
            parts[-1] = _marked(parts[-1], {"type": block.cache_control.type})
        elif position == 0 and not result:
            raise ConfigurationError("a CachePoint marks the end of what comes before it, and nothing does")
    return tuple(parts)


def _result_part(block: ContentBlock) -> Part:
    try:
        return _to_core_part(block)
    except ConfigurationError:
        return _replacement(block)


def _replacement(block: ContentBlock) -> TextPart:
    """Return the text for a block."""
    kind: str = block.block_type
    data, path, url = (getattr(block, name, None) for name in ("data" if kind == "document" else kind, "path", "url"))
    title, size = getattr(block, "title", None), None
    if isinstance(data, bytes):  # LlamaIndex keeps base64
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
        name=Path(path).name if path is not None else None if url and title == _NO_TITLE else title,
    )


def _marked(part: Part, mark: Mapping[str, Any]) -> Part:
    fields = {name: getattr(part, name) for name in part.__slots__}
    return type(part)(**{**fields, "cache_control": mark})


def _to_core_part(block: ContentBlock) -> Part:
    """Return a block as a part. Raises ConfigurationError naming the block and its fault."""
    if isinstance(block, TextBlock):
        return TextPart(block.text)
    try:
        if isinstance(block, ImageBlock):
            return ImagePart(_address(block, block.image_mimetype or "image/png"), block.detail)
        if isinstance(block, VideoBlock):
            return VideoPart(_address(block, block.video_mimetype or "video/mp4"), fps=block.fps)
        if isinstance(block, AudioBlock):
            format = audio_format(block.format)
            return AudioPart(_address(block, f"audio/{format or 'wav'}"), format)
    except ConfigurationError as error:
        raise ConfigurationError(f"{type(block).__name__} {error.message}") from None
    raise ConfigurationError(
        f"a {type(block).__name__} cannot be sent here: the chat service takes text, images, video and audio. Put a "
        "document's text into a TextBlock, or upload it for a document model"
    )


def _address(block: ImageBlock | VideoBlock | AudioBlock, mime_type: str) -> str:
    """Return the URL of a block, which is not fetched, or its data or file inline."""
    data = _data(block)
    if block.url is not None and data is None:
        return checked_address(str(block.url))
    if data is None and block.path is None:
        raise ConfigurationError("has neither data nor path nor url")
    try:
        if isinstance(data, IOBase):  # LlamaIndex's own resolve_* leave buffers as they are
            data.seek(0)
            data = data.read()
        if not isinstance(data, bytes | None):
            raise ConfigurationError(f"holds {type(data).__name__}, not bytes: open files in binary mode")
        inline = resolve_binary(data, block.path, as_base64=True).read().decode("ascii")
    except (OSError, ValueError) as error:  # a ValueError where the buffer is closed
        raise ConfigurationError(f"cannot be read: {error}") from error
    if not inline:
        raise ConfigurationError("is empty")
    return data_uri(mime_type, inline)


def _data(block: ImageBlock | VideoBlock | AudioBlock) -> bytes | IOBase | None:
    if isinstance(block, ImageBlock):
        return block.image
    return block.video if isinstance(block, VideoBlock) else block.audio
