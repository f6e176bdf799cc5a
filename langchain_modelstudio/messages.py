"""LangChain messages to core messages: translation only. The way back is `answers`.

`AIMessage.tool_calls` is the truth about tool calls, whatever stale copies `additional_kwargs` or content blocks hold;
so a history from another provider comes across whole. What the service cannot take is refused by name.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_modelstudio.functions import with_tool_messages
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.media import ADDRESSES, audio_format, checked_address, data_uri
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

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "human": "user",
                           "assistant": "assistant", "ai": "assistant", "tool": "tool"}  # fmt: skip
_REASONING_BLOCKS = ("reasoning", "thinking", "reasoning_content")  # the last is Bedrock's
# what an assistant turn may hold that is said elsewhere in the message (its calls), or is another provider's own: its
# tools, whose blocks end so in OpenAI's, Anthropic's and Google's form, and what only it can read
_DROPPED_FROM_ASSISTANT = ("redacted_thinking", "non_standard", "audio", "executable_code", "container_upload",
                           *_REASONING_BLOCKS)  # fmt: skip
_TOOL_BLOCKS = ("tool_use", "_call", "_call_chunk", "_result", "_call_output")


def to_core_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """The conversation as the core has it. Raises ConfigurationError naming the message and what is wrong with it."""
    messages = with_tool_messages(messages)
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    core: list[Message] = []
    for position, message in enumerate(messages):
        try:
            core += _to_core_message(message, answered)
        except ConfigurationError as error:
            raise ConfigurationError(f"messages[{position}] ({message.type}): {error.message}") from None
    return tuple(core)


def _to_core_message(message: BaseMessage, answered: set[str]) -> list[Message]:
    name = message.name or None
    if isinstance(message, AIMessage):
        return [_assistant(message, answered)]
    if isinstance(message, ToolMessage):
        return [Message("tool", _tool_content(message.content), tool_call_id=message.tool_call_id)]
    if isinstance(message, HumanMessage):
        results, blocks = _split_tool_results(message.content)
        return [*results, Message("user", to_core_content(blocks), name)] if blocks or not results else results
    if isinstance(message, SystemMessage):
        return [Message("system", to_core_content(message.content), name)]
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        return [Message(_ROLES[message.role], to_core_content(message.content), name)]
    kind = f"role {message.role!r}" if isinstance(message, ChatMessage) else type(message).__name__
    raise ConfigurationError(f"{kind} is not a kind of message that the service takes")


def _assistant(message: AIMessage, answered: set[str]) -> Message:
    """An assistant turn. A call that was cut off goes back only if it was answered, since the service wants an answer
    to each call."""
    calls = [
        FunctionCall(call["id"], call["name"], arguments_text(call["name"], call["args"]))
        for call in message.tool_calls
    ]
    calls += [
        FunctionCall(call["id"], call["name"] or "", call["args"] or "")
        for call in message.invalid_tool_calls
        if call["id"] in answered
    ]
    blocks = message.content
    reasoning = message.additional_kwargs.get("reasoning_content")
    if not isinstance(reasoning, str):
        reasoning = "".join(_reasoning(block) for block in blocks) if isinstance(blocks, list) else None
    if isinstance(blocks, list):
        blocks = [_said(block) for block in blocks if isinstance(block, str) or not _is_dropped(block)]
    content = to_core_content(blocks)
    if not content and isinstance(audio := message.additional_kwargs.get("audio"), Mapping):
        content = str(audio.get("transcript") or "")  # the service takes no audio of its own back, but what it said
    if not isinstance(content, str) and all(isinstance(p, TextPart) and p.cache_control is None for p in content):
        content = "".join(part.text for part in content if isinstance(part, TextPart))
    return Message(
        "assistant",
        content,
        name=message.name or None,
        tool_calls=tuple(calls),
        reasoning_content=reasoning or None,
        partial=bool(message.additional_kwargs.get("partial")),
    )


def _is_dropped(block: dict[Any, Any]) -> bool:
    kind = str(block.get("type"))
    return kind in _DROPPED_FROM_ASSISTANT or kind.endswith(_TOOL_BLOCKS)


def _said(block: str | dict[Any, Any]) -> str | dict[Any, Any]:
    """A refusal is what the assistant said."""
    if isinstance(block, dict) and block.get("type") == "refusal":
        return {"type": "text", "text": block.get("refusal") or ""}
    return block


def _reasoning(block: str | dict[Any, Any]) -> str:
    if isinstance(block, dict) and block.get("type") in _REASONING_BLOCKS:
        text = block.get(str(block["type"]))
        text = text.get("text") if isinstance(text, Mapping) else text
        return text if isinstance(text, str) else ""
    return ""


def _tool_content(content: str | list[Any]) -> str | tuple[Part, ...]:
    """A tool's result: text as one string, the form that the service documents; other media as parts."""
    parts = to_core_content(content)
    if isinstance(parts, str) or not all(isinstance(p, TextPart) and p.cache_control is None for p in parts):
        return parts
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))


def _split_tool_results(content: str | list[Any]) -> tuple[list[Message], str | list[Any]]:
    """Anthropic's form has tool results inside a user turn; here each is a message of its own, before the rest."""
    if isinstance(content, str):
        return [], content
    found = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_result"]
    results = [
        Message("tool", _tool_content(block.get("content") or ""), tool_call_id=block.get("tool_use_id"))
        for block in found
    ]
    return results, [block for block in content if block not in found] if found else content


def to_core_content(content: str | Sequence[str | Mapping[str, Any]]) -> str | tuple[Part, ...]:
    """Text, or parts in LangChain's v1 form, OpenAI's or Anthropic's."""
    if isinstance(content, str):
        return content
    parts = tuple(TextPart(block) if isinstance(block, str) else to_core_part(block) for block in content)
    return parts or ""


def to_core_part(block: Mapping[str, Any]) -> Part:
    """One content block. Pixel and frame hints and `cache_control` are read beside its type and in its `extras`."""
    kind = block.get("type")
    mark = _hint(block, "cache_control")
    if kind in ("text", "text-plain"):
        return TextPart(_text(block), mark)
    pixels = {name: _hint(block, name) for name in ("min_pixels", "max_pixels")}
    if kind in ("image", "image_url"):
        inner = block.get("image_url")
        detail = inner.get("detail") if isinstance(inner, Mapping) else None
        return ImagePart(_address(block, "image", "image/png"), detail, **pixels, cache_control=mark)
    if kind in ("video", "video_url"):
        more = {name: _hint(block, name) for name in ("fps", "total_pixels", "max_frames")}
        frames = block.get("video")
        source = tuple(frames) if isinstance(frames, list | tuple) else _address(block, "video", "video/mp4")
        return VideoPart(source, **pixels, **more, cache_control=mark)
    if kind in ("audio", "input_audio"):
        return _audio_part(block, mark)
    if kind is None:
        raise ConfigurationError(
            f"a content block of {', '.join(map(str, block))} has no type: write "
            '{"type": "text", "text": ...} or {"type": "image", "url": ...}'
        )
    raise ConfigurationError(
        f"content of type {kind!r} cannot be sent: the chat service takes text, image, video and audio. "
        "Put a document's text into a text block, or upload it for a document model"
    )


def _text(block: Mapping[str, Any]) -> str:
    text, data = block.get("text"), block.get("base64")
    if isinstance(text, str):
        return text
    if isinstance(data, str):
        return base64.b64decode(data).decode("utf-8")
    if block.get("url") or block.get("file_id"):
        raise ConfigurationError(
            f"text by url or file_id cannot be sent: read it and give text, in {block.get('type')!r}"
        )
    return ""


def _audio_part(block: Mapping[str, Any], mark: Any) -> AudioPart:
    inner = block.get("input_audio")
    inner = inner if isinstance(inner, Mapping) else {}
    address = _address(block if not inner else {"data": inner.get("data")}, "audio", "audio/wav")
    format = audio_format(inner.get("format") or _hint(block, "format") or block.get("mime_type"))
    return AudioPart(address, format, mark)


def _address(block: Mapping[str, Any], kind: str, mime: str) -> str:
    """The URL or data URI of a media block, in any of the three forms."""
    inner = block.get(f"{kind}_url", block.get("source"))
    if isinstance(inner, str):
        return checked_address(inner)
    holder = inner if isinstance(inner, Mapping) else block
    url = holder.get("url")
    if isinstance(url, str) and url:
        return checked_address(url)
    data = holder.get("base64") or holder.get("data") or block.get(kind)
    if isinstance(data, str) and data:
        if data.startswith(ADDRESSES):
            return data
        return data_uri(holder.get("mime_type") or holder.get("media_type") or mime, data)
    if holder.get("file_id"):
        raise ConfigurationError(f"{kind} by file_id cannot be sent to the chat service: give url or base64")
    if isinstance(data, bytes):
        raise ConfigurationError(f"{kind} data is bytes: give base64 as text, base64.b64encode(data).decode()")
    raise ConfigurationError(f"a block of type {kind!r} has neither url nor base64, but {', '.join(map(str, block))}")


def _hint(block: Mapping[str, Any], name: str) -> Any:
    extras = block.get("extras")
    return block.get(name, extras.get(name) if isinstance(extras, Mapping) else None)
