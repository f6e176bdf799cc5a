"""Convert LangChain messages to core messages.

Tool calls are read from `AIMessage.tool_calls`, and from content blocks only if they are not there, so that histories
of other providers work; copies in `additional_kwargs` do not count. Unsupported content raises an error that names it,
except in tool results, which the caller cannot correct: there, a text replaces it.
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
from modelstudio_core.history import base64_size, has_content, replacement
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
# calls, and where their arguments are: LangChain fills `tool_calls` from the first kind alone, and not always
_CALL_BLOCKS = {"tool_call": "args", "invalid_tool_call": "args", "tool_use": "input"}
# what only an assistant's turn holds: its reasoning, its calls, which stand elsewhere in the message, and what it did
# on its provider's servers. An agent's answer may come back in a turn of any role
_LEFT_OUT = (*_REASONING_BLOCKS, "redacted_thinking", "citation", "executable_code", "code_execution_result",
             "container_upload", "tool_use", "server_tool_use", "mcp_list_tools",
             "mcp_approval_request")  # fmt: skip
_LEFT_OUT_ENDINGS = ("_call", "_call_chunk", "tool_result")  # in OpenAI's, Anthropic's and LangChain's form
# left out of every turn but a tool's result, of which they may be all there is
_ALSO_LEFT_OUT = ("non_standard", "_call_output")


def to_core_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Return the conversation as the core has it. Raises ConfigurationError naming the message and its fault."""
    core: list[Message] = []
    for position, message in enumerate(with_tool_messages(messages)):
        try:
            core += _to_core_message(message)
        except ConfigurationError as error:
            raise ConfigurationError(f"messages[{position}] ({message.type}): {error.message}") from None
    return tuple(core)


def _to_core_message(message: BaseMessage) -> list[Message]:
    if isinstance(message, AIMessage):
        return [_assistant(message)]
    if isinstance(message, ToolMessage):
        return [Message("tool", _result_content(message.content), tool_call_id=message.tool_call_id)]
    if isinstance(message, HumanMessage):
        results, content = _split_tool_results(message.content)
        return results if results and not content else [*results, *_turn("user", content, message.name)]
    if isinstance(message, SystemMessage):
        return _turn("system", message.content, message.name)
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        role = _ROLES[message.role]
        if role == "tool":
            return [Message(role, _result_content(message.content))]
        return _turn(role, message.content, message.name)
    kind = f"role {message.role!r}" if isinstance(message, ChatMessage) else type(message).__name__
    raise ConfigurationError(f"{kind} is not a kind of message that the service takes")


def _turn(role: Role, content: str | list[str | dict[Any, Any]], name: str | None) -> list[Message]:
    """Return a turn without what only an assistant's turn holds; nothing if it held nothing else."""
    said = _said(content)
    return [] if content and not said else [Message(role, to_core_content(said), name or None)]


def _assistant(message: AIMessage) -> Message:
    """Return an assistant's turn with all its calls, the invalid ones as they are written."""
    calls = [
        FunctionCall(call["id"], call["name"], arguments_text(call["name"], call["args"]))
        for call in message.tool_calls
    ]
    calls += [FunctionCall(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    blocks = message.content
    listed = {call.id for call in calls}
    calls += [call for block in blocks if (call := _call_in(block)) is not None and call.id not in listed]
    reasoning = message.additional_kwargs.get("reasoning_content")
    if not isinstance(reasoning, str):
        reasoning = "".join(_reasoning(block) for block in blocks) if isinstance(blocks, list) else None
    if isinstance(blocks, list):
        blocks = [block for block in blocks if _kind(block) != "audio"]
    content = to_core_content(_said(blocks))
    if not has_content(content):  # the service takes neither its audio nor its refusal back, but the text of either
        audio = message.additional_kwargs.get("audio")
        transcript = audio.get("transcript") if isinstance(audio, Mapping) else None
        content = str(transcript or message.additional_kwargs.get("refusal") or "")
    return Message(
        "assistant",
        content,
        name=message.name or None,
        tool_calls=tuple(calls),
        reasoning_content=reasoning or None,
        partial=bool(message.additional_kwargs.get("partial")),
    )


def _call_in(block: str | Mapping[str, Any]) -> FunctionCall | None:
    """Return the call that a content block is, if it has an id."""
    if isinstance(block, str) or (kind := _kind(block)) not in _CALL_BLOCKS or not block.get("id"):
        return None
    name, args = block.get("name") or "", block.get(_CALL_BLOCKS[kind])
    return FunctionCall(block["id"], name, args if isinstance(args, str) else arguments_text(name, args or {}))


def _said(content: str | list[str | dict[Any, Any]]) -> str | list[str | dict[Any, Any]]:
    """Return content without the blocks that are left out of every turn but a tool's result."""
    if isinstance(content, str):
        return content
    return [block for block in content if not _is_left_out(_kind(block)) and not _kind(block).endswith(_ALSO_LEFT_OUT)]


def _is_left_out(kind: str) -> bool:
    return kind in _LEFT_OUT or kind.endswith(_LEFT_OUT_ENDINGS)


def _kind(block: str | Mapping[Any, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


def _reasoning(block: str | dict[Any, Any]) -> str:
    if isinstance(block, dict) and block.get("type") in _REASONING_BLOCKS:
        text = block.get(str(block["type"]))
        text = text.get("text") if isinstance(text, Mapping) else text
        return text if isinstance(text, str) else ""
    return ""


def _result_content(content: str | list[Any]) -> str | tuple[Part, ...]:
    """Return a tool's result, with a text in the place of each block that cannot be sent."""
    if isinstance(content, str):
        return content
    return tuple(_result_part(block) for block in content if not _is_left_out(_kind(block))) or ""


def _result_part(block: str | dict[str, Any]) -> Part:
    if isinstance(block, str):
        return TextPart(block)
    try:
        return to_core_part(block)
    except ConfigurationError:
        return _replacement(block)


def _replacement(block: Mapping[str, Any]) -> TextPart:
    """Return the text for a block. Its facts are beside its type, in `extras`, or where other providers put them."""
    facts: dict[str, Any] = {}
    for name in ("metadata", "extras", "source", str(block.get("type"))):
        if isinstance(inner := block.get(name), Mapping):
            facts |= inner
    facts |= block

    def fact(*names: str) -> str:
        return next((facts[name] for name in names if isinstance(facts.get(name), str)), "")

    data = fact("base64", "data", "file_data")
    inline = data.startswith("data:")
    return replacement(
        str(block.get("type") or "content without a type"),
        data if inline else fact("url"),
        mime_type=fact("mime_type", "media_type"),
        size=base64_size(data) if data and not inline else None,
        name=fact("name", "filename", "title", "file_id"),
    )


def _split_tool_results(content: str | list[Any]) -> tuple[list[Message], str | list[Any]]:
    """Return the tool results that Anthropic's form has in a user turn, each as a message, and the rest of the turn."""
    if isinstance(content, str):
        return [], content
    found = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_result"]
    results = [
        Message("tool", _result_content(block.get("content") or ""), tool_call_id=block.get("tool_use_id"))
        for block in found
    ]
    return results, [block for block in content if block not in found] if found else content


def to_core_content(content: str | Sequence[str | Mapping[str, Any]]) -> str | tuple[Part, ...]:
    """Return text, or parts from blocks in LangChain's v0 or v1 form, OpenAI's or Anthropic's."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise ConfigurationError(f"content is {content!r:.80}: give text or a list of blocks")
    parts = tuple(TextPart(block) if isinstance(block, str) else to_core_part(block) for block in content)
    return parts or ""


def to_core_part(block: Mapping[str, Any]) -> Part:
    """Return one content block as a part. Raises ConfigurationError naming the block's type and its fault.

    Pixel and frame hints and `cache_control` are read beside its type and in its `extras`.
    """
    if not isinstance(block, Mapping):
        raise ConfigurationError(f"{block!r:.80} is no content block: give text or a dict with a type")
    kind = block.get("type")
    if kind is None:
        raise ConfigurationError(
            f"a content block of {', '.join(map(str, block))} has no type: write "
            '{"type": "text", "text": ...} or {"type": "image", "url": ...}'
        )
    try:
        return _part(kind, block)
    except ConfigurationError as error:
        raise ConfigurationError(f"a block of type {kind!r}: {error.message}") from None


def _part(kind: Any, block: Mapping[str, Any]) -> Part:
    mark = _hint(block, "cache_control", Mapping)
    if kind in ("text", "text-plain"):
        return TextPart(_text(kind, block), mark)
    if kind == "refusal":  # what an assistant said
        return TextPart(str(block.get("refusal") or ""))
    pixels = {name: _hint(block, name, int) for name in ("min_pixels", "max_pixels")}
    if kind in ("image", "image_url"):
        inner = block.get("image_url")
        detail = _hint(inner, "detail", str) if isinstance(inner, Mapping) else None
        return ImagePart(_address(block, "image", "image/png"), detail, **pixels, cache_control=mark)
    if kind in ("video", "video_url"):
        more = {name: _hint(block, name, int) for name in ("total_pixels", "max_frames")}
        fps = _hint(block, "fps", int | float)
        return VideoPart(_video(block), fps, **pixels, **more, cache_control=mark)
    if kind in ("audio", "input_audio"):
        return _audio_part(block, mark)
    raise ConfigurationError(
        "it cannot be sent: the chat service takes text, image, video and audio. Put a document's text into a text "
        "block, or upload it for a document model"
    )


def _text(kind: str, block: Mapping[str, Any]) -> str:
    text, data = block.get("text"), block.get("base64")
    if isinstance(text, str):
        return text
    if text is not None:
        raise ConfigurationError(f"text={text!r:.80} is not a string")
    if data is not None:
        try:
            return base64.b64decode(data, validate=True).decode("utf-8")
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"base64={data!r:.80} is no text in base64: {error}") from None
    if block.get("url") or block.get("file_id"):
        raise ConfigurationError("text by url or file_id cannot be sent: read it and give text")
    if kind == "text-plain":
        raise ConfigurationError("it has neither text nor base64: give one of them")
    return ""


def _video(block: Mapping[str, Any]) -> str | tuple[str, ...]:
    frames = block.get("video")
    if not isinstance(frames, list | tuple):
        return _address(block, "video", "video/mp4")
    if not frames:
        raise ConfigurationError("it has no frames: give the addresses of images, or url or base64 of a video")
    return tuple(map(checked_address, frames))


def _audio_part(block: Mapping[str, Any], mark: Any) -> AudioPart:
    inner = block.get("input_audio")
    inner = inner if isinstance(inner, Mapping) else {}
    address = _address(block if not inner else {"data": inner.get("data")}, "audio", "audio/wav")
    format = audio_format(inner.get("format") or _hint(block, "format", str) or block.get("mime_type"))
    return AudioPart(address, format, mark)


def _address(block: Mapping[str, Any], kind: str, mime: str) -> str:
    """Return the URL or data URI of a media block, in any of the forms."""
    inner = block.get(f"{kind}_url", block.get("source"))
    if isinstance(inner, str):
        return checked_address(inner)
    holder = inner if isinstance(inner, Mapping) else block
    if url := holder.get("url"):
        return checked_address(url)
    data = holder.get("base64") or holder.get("data") or block.get(kind)
    if isinstance(data, str) and data.startswith(ADDRESSES):
        return checked_address(data)
    if data:
        return data_uri(holder.get("mime_type") or holder.get("media_type") or mime, data)
    if holder.get("file_id") or holder.get("id"):
        raise ConfigurationError(f"{kind} by id or file_id cannot be sent to the chat service: give url or base64")
    raise ConfigurationError(f"it has neither url nor base64, but {', '.join(map(str, block))}")


def _hint(block: Mapping[str, Any], name: str, kind: Any) -> Any:
    """Return a hint, beside the type of a block or in its extras. Raises ConfigurationError for one of a wrong kind."""
    extras = block.get("extras")
    hint = block.get(name, extras.get(name) if isinstance(extras, Mapping) else None)
    if hint is not None and (not isinstance(hint, kind) or isinstance(hint, bool)):
        raise ConfigurationError(f"{name}={hint!r:.80} is not of the type {getattr(kind, '__name__', kind)}")
    return hint


def traceable(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages without the blocks on which langchain-core itself fails, while it prepares a trace.

    Raises ConfigurationError for such a block, except in the result of a tool, where another stands for it.
    """
    given = list(messages)
    for position, message in enumerate(messages):
        faults = {place: fault for place, block in enumerate(message.content) if (fault := _untraceable(block))}
        if faults and isinstance(message, ToolMessage):
            blocks: list[Any] = [*message.content]
            for place in faults:
                blocks[place] = _traceable(blocks[place])
            given[position] = message.model_copy(update={"content": blocks})
        elif faults:
            place, fault = next(iter(faults.items()))
            kind = _kind(message.content[place])
            raise ConfigurationError(f"messages[{position}] ({message.type}): a block of type {kind!r}: {fault}")
    return given


def _traceable(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block of a result as it can be traced: an image with a MIME type, or the bare type."""
    image = {**block, "mime_type": "image/png"}
    return {"type": _kind(block)} if _untraceable(image) else image


def _untraceable(block: Any) -> str | None:
    """Return why langchain-core cannot trace a block, None if it can."""
    if not isinstance(block, Mapping):
        return None
    kind, source_type = block.get("type"), block.get("source_type")
    for name, word in (("type", kind), ("source_type", source_type)):
        if word is not None and not isinstance(word, str):
            return f"{name}={word!r:.80} is not a string"
    if kind == "input_audio":
        inner = block.get("input_audio")
        return "it has no data: give base64" if isinstance(inner, Mapping) and not inner.get("data") else None
    if kind != "image" or source_type == "id" or block.keys() & {"url", "file_id"}:
        return None
    if "base64" in block or (source_type == "base64" and "data" in block):
        return None if "mime_type" in block else 'base64 needs a mime_type, such as "image/png"'
    return "it has neither url nor base64" if "text" in block else None
