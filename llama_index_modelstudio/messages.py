"""LlamaIndex messages to core messages. Translation only; what the service cannot take is refused by name.

A message's blocks are the truth. What older classes left in `additional_kwargs` (`tool_calls`, `reasoning_content`)
counts where the blocks say nothing of the kind, so a history from another provider comes across whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import IOBase
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
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
# what an assistant turn may hold that is said elsewhere, or that only its own provider takes back
_DROPPED_FROM_ASSISTANT = (ThinkingBlock, ToolCallBlock, CitationBlock, AudioBlock)


def to_core_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The conversation as the core has it. Reads the files that its blocks name, nothing else.

    Raises ConfigurationError naming the message and what is wrong with it.
    """
    answered = {message.additional_kwargs.get("tool_call_id") for message in messages if message.role == "tool"}
    core: list[Message] = []
    for position, message in enumerate(messages):
        try:
            core.append(_to_core_message(message, answered))
        except ConfigurationError as error:
            raise ConfigurationError(f"messages[{position}] ({message.role.value}): {error.message}") from None
    return tuple(core)


def read_files(messages: Iterable[ChatMessage]) -> bool:
    """Whether `to_core_messages` reads files for these messages, which takes a while."""
    return any(
        isinstance(block, ImageBlock | AudioBlock | VideoBlock) and (block.path or isinstance(_data(block), IOBase))
        for message in messages
        for block in message.blocks
    )


def _to_core_message(message: ChatMessage, answered: set[Any]) -> Message:
    role = _ROLES[message.role.value]
    name = message.additional_kwargs.get("name")
    if role == "assistant":
        return _assistant(message, name, answered)
    if role == "tool":
        parts = to_core_parts(message.blocks)
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))  # the form the service documents
        only_text = all(isinstance(part, TextPart) and part.cache_control is None for part in parts)
        call_id = message.additional_kwargs.get("tool_call_id")
        return Message("tool", text if only_text else parts, tool_call_id=call_id)
    parts = to_core_parts(message.blocks)
    match parts:
        case ():
            return Message(role, "", name)
        case (TextPart(text=text, cache_control=None),):
            return Message(role, text, name)
    return Message(role, parts, name)


def _assistant(message: ChatMessage, name: str | None, answered: set[Any]) -> Message:
    """An assistant turn. A call that was cut off goes back only if it was answered, since the service wants an answer
    to each call."""
    extra = message.additional_kwargs
    calls = [_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    calls = calls or [_legacy_call(call) for call in extra.get("tool_calls") or ()]
    calls += [
        FunctionCall(call["id"], call["name"] or "", call["args"] or "")
        for call in extra.get("invalid_tool_calls") or ()
        if call["id"] in answered
    ]
    thoughts = [block.content or "" for block in message.blocks if isinstance(block, ThinkingBlock)]
    reasoning = "".join(thoughts) or extra.get("reasoning_content")
    parts = to_core_parts([block for block in message.blocks if not isinstance(block, _DROPPED_FROM_ASSISTANT)])
    content: str | tuple[Part, ...] = parts
    if all(isinstance(part, TextPart) and part.cache_control is None for part in parts):
        content = "".join(part.text for part in parts if isinstance(part, TextPart))
    if not content and isinstance(audio := extra.get("audio"), Mapping):
        content = str(audio.get("transcript") or "")  # the service takes no audio of its own back, but what it said
    return Message(
        "assistant",
        content,
        name=name,
        tool_calls=tuple(calls),
        reasoning_content=reasoning or None,
        partial=bool(extra.get("partial")),
    )


def _call(block: ToolCallBlock) -> FunctionCall:
    arguments = block.tool_kwargs
    text = arguments if isinstance(arguments, str) else arguments_text(block.tool_name, arguments)
    return FunctionCall(block.tool_call_id, block.tool_name, text or "{}")


def _legacy_call(call: Any) -> FunctionCall:
    """A call in OpenAI's form, as a dict or as an object of its SDK."""
    function = _field(call, "function")
    return FunctionCall(_field(call, "id"), _field(function, "name") or "", _field(function, "arguments") or "{}")


def _field(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


# ---------------------------------------------------------------- blocks


def to_core_parts(blocks: Sequence[ContentBlock]) -> tuple[Part, ...]:
    """Content blocks as parts; a `CachePoint` marks the part before it."""
    parts: list[Part] = []
    for block in blocks:
        if isinstance(block, CachePoint):
            if not parts:
                raise ConfigurationError("a CachePoint marks the end of what comes before it, and nothing does")
            parts[-1] = _marked(parts[-1], {"type": block.cache_control.type})
        else:
            parts.append(_to_core_part(block))
    return tuple(parts)


def _marked(part: Part, mark: Mapping[str, Any]) -> Part:
    fields = {name: getattr(part, name) for name in part.__slots__}
    return type(part)(**{**fields, "cache_control": mark})


def _to_core_part(block: ContentBlock) -> Part:
    if isinstance(block, TextBlock):
        return TextPart(block.text)
    if isinstance(block, ImageBlock):
        return ImagePart(_address(block, block.image_mimetype or "image/png"), block.detail)
    if isinstance(block, VideoBlock):
        return VideoPart(_address(block, block.video_mimetype or "video/mp4"), fps=block.fps)
    if isinstance(block, AudioBlock):
        format = audio_format(block.format)
        return AudioPart(_address(block, f"audio/{format or 'wav'}"), format)
    raise ConfigurationError(
        f"a {type(block).__name__} cannot be sent here: the chat service takes text, images, video and audio. Put a "
        "document's text into a TextBlock, or upload it for a document model"
    )


def _address(block: ImageBlock | VideoBlock | AudioBlock, mime_type: str) -> str:
    """The URL of a block, which is not fetched, or its data or file inline."""
    if block.url is not None and _data(block) is None:
        return checked_address(str(block.url))
    data = _data(block)
    kind = type(block).__name__
    if data is None and block.path is None:
        raise ConfigurationError(f"a {kind} has neither data nor path nor url")
    try:
        if isinstance(data, IOBase):  # LlamaIndex's own resolve_* leave buffers as they are
            data.seek(0)
            data = data.read()
        inline = resolve_binary(data, block.path, as_base64=True).read().decode("ascii")
    except OSError as error:
        raise ConfigurationError(f"a {kind} cannot be read: {error}") from error
    if not inline:
        raise ConfigurationError(f"a {kind} is empty")
    return data_uri(mime_type, inline)


def _data(block: ImageBlock | VideoBlock | AudioBlock) -> bytes | IOBase | None:
    if isinstance(block, ImageBlock):
        return block.image
    return block.video if isinstance(block, VideoBlock) else block.audio
