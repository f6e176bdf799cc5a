"""Convert LangChain messages to core messages.

Tool calls are read from `AIMessage.tool_calls`, and from content blocks if `tool_calls` does not list them, so that
histories from other providers work. Tool calls in `additional_kwargs` are ignored. Unsupported content raises an error
that names it. In tool results, which the caller does not control, it is replaced with a text instead.
"""

from __future__ import annotations

import base64
import os
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
from modelstudio_core.http.local_files import local_file
from modelstudio_core.media import URL_SCHEMES, audio_format, check_url, data_uri
from modelstudio_core.protocols.codec import as_string
from modelstudio_core.tools import arguments_text
from modelstudio_core.types import (
    AudioPart,
    FunctionCall,
    ImagePart,
    LocalFile,
    MediaSource,
    Message,
    Part,
    Role,
    TextPart,
    VideoPart,
)

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "human": "user",
                           "assistant": "assistant", "ai": "assistant", "tool": "tool"}  # fmt: skip
_REASONING_BLOCKS = ("reasoning", "thinking", "reasoning_content")  # the last is Bedrock's
# block types of tool calls, with the key of their arguments; LangChain does not copy all of them to `tool_calls`
_CALL_BLOCKS = {"tool_call": "args", "invalid_tool_call": "args", "tool_use": "input"}
# block types of assistant messages that are not sent as content: reasoning, calls (which are sent as `tool_calls`) and
# actions on the provider's servers. They are omitted in messages of every role, because agents may copy an answer into
# a user message
_OMITTED_TYPES = (*_REASONING_BLOCKS, "redacted_thinking", "citation", "executable_code", "code_execution_result",
             "container_upload", "tool_use", "server_tool_use", "mcp_list_tools",
             "mcp_approval_request")  # fmt: skip
_OMITTED_SUFFIXES = ("_call", "_call_chunk", "tool_result")  # type names of OpenAI, LangChain and Anthropic
_NATIVE_KINDS = ("text", "image", "video", "audio")  # keys of the native protocol's blocks, which have no type
# omitted in all messages except tool results, which may contain nothing else
_ALLOWED_IN_RESULTS_ONLY = ("non_standard", "_call_output")


def to_core_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Return the conversation as core messages. Raises ConfigurationError with the position of an invalid message."""
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
        return results if results and not content else [*results, *_message("user", content, message.name)]
    if isinstance(message, SystemMessage):
        return _message("system", message.content, message.name)
    if isinstance(message, ChatMessage) and message.role in _ROLES:
        role = _ROLES[message.role]
        if role == "tool":
            # ChatMessage has no tool_call_id; core history matches it by order
            return [Message(role, _result_content(message.content))]
        return _message(role, message.content, message.name)
    kind = f"role {message.role!r}" if isinstance(message, ChatMessage) else type(message).__name__
    raise ConfigurationError(f"{kind} is not supported: use a system, user, assistant or tool message")


def _message(role: Role, content: str | list[str | dict[Any, Any]], name: str | None) -> list[Message]:
    """Return a message without the omitted blocks, or an empty list if it has no other blocks."""
    sendable = _sendable_blocks(content)
    return (
        []
        if content and not sendable
        else [Message(role, to_core_content(sendable, local=role == "user"), name or None)]
    )


def _assistant(message: AIMessage) -> Message:
    """Return an assistant message with its valid and invalid calls. Arguments of invalid calls are kept verbatim."""
    calls = [
        FunctionCall(call["id"], call["name"], arguments_text(call["name"], call["args"]))
        for call in message.tool_calls
    ]
    calls += [FunctionCall(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    blocks = message.content
    listed = {call.id for call in calls}
    calls += [call for block in blocks if (call := _block_call(block)) is not None and call.id not in listed]
    reasoning = message.additional_kwargs.get("reasoning_content")
    if not isinstance(reasoning, str):
        reasoning = "".join(_reasoning(block) for block in blocks) if isinstance(blocks, list) else None
    if isinstance(blocks, list):
        blocks = [block for block in blocks if _block_type(block) != "audio"]
    content = to_core_content(_sendable_blocks(blocks))
    if not has_content(content):  # audio and refusals cannot be sent back, so their text is sent instead
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
        response_id=as_string(message.response_metadata.get("response_id")),
    )


def _block_call(block: str | Mapping[str, Any]) -> FunctionCall | None:
    """Return a content block as a tool call, or None if it is not one or has no id."""
    if isinstance(block, str) or (kind := _block_type(block)) not in _CALL_BLOCKS or not block.get("id"):
        return None
    name, args = block.get("name") or "", block.get(_CALL_BLOCKS[kind])
    return FunctionCall(block["id"], name, args if isinstance(args, str) else arguments_text(name, args or {}))


def _sendable_blocks(content: str | list[str | dict[Any, Any]]) -> str | list[str | dict[Any, Any]]:
    """Return content without the blocks that are omitted in all messages except tool results."""
    if isinstance(content, str):
        return content
    return [
        block
        for block in content
        if not _is_omitted(_block_type(block)) and not _block_type(block).endswith(_ALLOWED_IN_RESULTS_ONLY)
    ]


def _is_omitted(kind: str) -> bool:
    return kind in _OMITTED_TYPES or kind.endswith(_OMITTED_SUFFIXES)


def _block_type(block: str | Mapping[Any, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type"))


def _reasoning(block: str | dict[Any, Any]) -> str:
    if isinstance(block, dict) and block.get("type") in _REASONING_BLOCKS:
        text = block.get(str(block["type"]))
        text = text.get("text") if isinstance(text, Mapping) else text
        return text if isinstance(text, str) else ""
    return ""


def _result_content(content: str | list[Any]) -> str | tuple[Part, ...]:
    """Return the content of a tool result.

    Blocks that cannot be sent are replaced with a text, such as "[file left out: it cannot be sent to the model]".
    """
    if isinstance(content, str):
        return content
    return tuple(_result_part(block) for block in content if not _is_omitted(_block_type(block))) or ""


def _result_part(block: str | dict[str, Any]) -> Part:
    if isinstance(block, str):
        return TextPart(block)
    try:
        return to_core_part(block)
    except ConfigurationError:
        return _replacement(block)


def _replacement(block: Mapping[str, Any]) -> TextPart:
    """Return the text that replaces a block. Its fields may be nested, depending on the provider."""
    fields: dict[str, Any] = {}
    for name in ("metadata", "extras", "source", str(block.get("type"))):
        if isinstance(inner := block.get(name), Mapping):
            fields |= inner
    fields |= block

    def first_string(*names: str) -> str:
        return next((fields[name] for name in names if isinstance(fields.get(name), str)), "")

    data = first_string("base64", "data", "file_data")
    inline = data.startswith("data:")
    return replacement(
        str(block.get("type") or "content without a type"),
        data if inline else first_string("url"),
        mime_type=first_string("mime_type", "media_type"),
        size=base64_size(data) if data and not inline else None,
        name=first_string("name", "filename", "title", "file_id"),
    )


def _split_tool_results(content: str | list[Any]) -> tuple[list[Message], str | list[Any]]:
    """Return the tool results in a user message (Anthropic's format) as tool messages, and the other blocks."""
    if isinstance(content, str):
        return [], content
    found = [block for block in content if isinstance(block, dict) and block.get("type") == "tool_result"]
    results = [
        Message("tool", _result_content(block.get("content") or ""), tool_call_id=block.get("tool_use_id"))
        for block in found
    ]
    return results, [block for block in content if block not in found] if found else content


def to_core_content(content: str | Sequence[str | Mapping[str, Any]], *, local: bool = False) -> str | tuple[Part, ...]:
    """Convert content to a string or parts. Blocks may have the format of LangChain v0 or v1, OpenAI or Anthropic.

    `local`: whether blocks may name local files, by `path` or `file://` URL. Only those of user messages may: a tool's
    result must not read a file.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise ConfigurationError(f"content is {content!r:.80}: use a string or a list of blocks")
    parts = tuple(TextPart(block) if isinstance(block, str) else to_core_part(block, local=local) for block in content)
    return parts or ""


def to_core_part(block: Mapping[str, Any], *, local: bool = False) -> Part:
    """Return a content block as a part.

    A block without a type is read as one of the native protocol, such as `{"image": url}`, which ChatTongyi accepts. It
    must have exactly one of these keys; any others would be lost.
    Options such as min_pixels, fps and `cache_control` are read from the block or its `extras`.

    Raises:
        ConfigurationError: if the block is invalid or not supported. The message names its type.
    """
    if not isinstance(block, Mapping):
        raise ConfigurationError(f"{block!r:.80} is not a content block: use a string or a dict with a type")
    kind = block.get("type")
    if kind is None and len(native := [name for name in _NATIVE_KINDS if name in block]) == 1:
        [kind] = native
    if kind is None:
        raise ConfigurationError(
            f"a content block with the keys {', '.join(map(str, block))!r:.80} has no type: use "
            '{"type": "text", "text": ...}, or {"type": "image", "url": ...}, or "video" or "audio"'
        )
    try:
        return _part(kind, block, local)
    except ConfigurationError as error:
        raise ConfigurationError(f"content block of type {kind!r}: {error.message}") from None


def _part(kind: Any, block: Mapping[str, Any], local: bool) -> Part:
    cache_control = _optional_field(block, "cache_control", Mapping)
    if kind in ("text", "text-plain"):
        return TextPart(_text(kind, block), cache_control)
    if kind == "refusal":  # the text of a refusal is sent as text
        return TextPart(str(block.get("refusal") or ""))
    pixels = {name: _optional_field(block, name, int) for name in ("min_pixels", "max_pixels")}
    if kind in ("image", "image_url"):
        inner = block.get("image_url")
        detail = _optional_field(inner, "detail", str) if isinstance(inner, Mapping) else None
        url = _media_source(block, "image", "image/png", local)
        return ImagePart(url, detail, **pixels, cache_control=cache_control)
    if kind in ("video", "video_url"):
        more = {name: _optional_field(block, name, int) for name in ("total_pixels", "max_frames")}
        fps = _optional_field(block, "fps", int | float)
        return VideoPart(_video(block, local), fps, **pixels, **more, cache_control=cache_control)
    if kind in ("audio", "input_audio"):
        return _audio_part(block, cache_control, local)
    raise ConfigurationError(
        "not supported by the chat service, which accepts text, images, video and audio. Send the text of a document "
        "as a text block, or store the file with llm.files.upload and use a document model, such as qwen-long"
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
            raise ConfigurationError(f"base64={data!r:.80} is not base64-encoded text: {error}") from None
    if block.get("url") or block.get("file_id"):
        raise ConfigurationError("text cannot be sent by url or file_id: read the file and pass its text")
    if kind == "text-plain":
        raise ConfigurationError("neither text nor base64 is set")
    return ""


def _video(block: Mapping[str, Any], local: bool) -> MediaSource | tuple[MediaSource, ...]:
    frames = block.get("video")
    if not isinstance(frames, list | tuple):
        return _media_source(block, "video", "video/mp4", local)
    if not frames:
        raise ConfigurationError("video has no frames: pass image URLs, or the url or base64 of a video")
    return tuple(_url(frame, "image", local) for frame in frames)


def _audio_part(block: Mapping[str, Any], cache_control: Any, local: bool) -> AudioPart:
    inner = block.get("input_audio")
    inner = inner if isinstance(inner, Mapping) else {}
    media = _media_source(block if not inner else {"data": inner.get("data")}, "audio", "audio/wav", local)
    format = inner.get("format") or _optional_field(block, "format", str) or block.get("mime_type")
    format = audio_format(format or (media.mime_type if isinstance(media, LocalFile) else None))
    return AudioPart(media, format, cache_control)


def _media_source(block: Mapping[str, Any], kind: str, default_mime_type: str, local: bool) -> MediaSource:
    """Return the URL, data URI or local file of a media block in any of the formats."""
    inner = block.get(f"{kind}_url", block.get("source"))
    if isinstance(inner, str):
        return _url(inner, kind, local)
    source = inner if isinstance(inner, Mapping) else block
    mime_type = source.get("mime_type") or source.get("media_type")
    if url := source.get("url"):
        return _url(url, kind, local, mime_type)
    if local and (path := source.get("path")):
        return _file(path, kind, mime_type)
    if local and isinstance(content := source.get("bytes"), bytes | bytearray | memoryview) and content:
        return LocalFile(bytes(content), mime_type or default_mime_type, f"bytes of the {kind}")
    data = source.get("base64") or source.get("data") or block.get(kind)
    if isinstance(data, str) and data.startswith((*URL_SCHEMES, "file:")):
        return _url(data, kind, local, mime_type)
    if data:
        return data_uri(mime_type or default_mime_type, data)
    if source.get("file_id") or source.get("id"):
        raise ConfigurationError(f"the chat service does not accept {kind} by id or file_id: pass url or base64")
    raise ConfigurationError(f"neither url nor base64 is set; the block has the keys {', '.join(map(str, block))}")


def _url(url: Any, kind: str, local: bool, mime_type: Any = None) -> MediaSource:
    """Return a URL that the service accepts, or the local file of a `file://` URL."""
    if local and isinstance(url, str) and url.startswith("file:"):
        return _file(url, kind, mime_type)
    return check_url(url)


def _file(path: Any, kind: str, mime_type: Any) -> LocalFile:
    if not isinstance(path, str | os.PathLike):
        raise ConfigurationError(f"path={path!r:.80} is not a path")
    if mime_type is not None and not isinstance(mime_type, str):
        raise ConfigurationError(f'mime_type={mime_type!r:.80} is not a MIME type, such as "{kind}/..."')
    try:
        return local_file(path, kind, mime_type)
    except ConfigurationError as error:
        raise ConfigurationError(f"the file {error.message}") from None


def _optional_field(block: Mapping[str, Any], name: str, kind: Any) -> Any:
    """Return a field of a block or its `extras`, or None. Raises ConfigurationError if its type is not `kind`."""
    extras = block.get("extras")
    value = block.get(name, extras.get(name) if isinstance(extras, Mapping) else None)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ConfigurationError(f"{name}={value!r:.80} is not of type {getattr(kind, '__name__', kind)}")
    return value


def traceable(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return messages without the blocks on which langchain-core fails while it prepares a trace.

    In tool results, such blocks are replaced.

    Raises:
        ConfigurationError: if another message has such a block.
    """
    checked = list(messages)
    for position, message in enumerate(messages):
        faults = {index: fault for index, block in enumerate(message.content) if (fault := _tracing_fault(block))}
        if faults and isinstance(message, ToolMessage):
            blocks: list[Any] = [*message.content]
            for index in faults:
                blocks[index] = _traceable_block(blocks[index])
            checked[position] = message.model_copy(update={"content": blocks})
        elif faults:
            index, fault = next(iter(faults.items()))
            kind = _block_type(message.content[index])
            raise ConfigurationError(f"messages[{position}] ({message.type}): content block of type {kind!r}: {fault}")
    return checked


def _traceable_block(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block that langchain-core can trace, or only the block's type if that is not possible.

    It is the image with the MIME type image/png, which stands in for the missing one.
    """
    image = {**block, "mime_type": "image/png"}
    return {"type": _block_type(block)} if _tracing_fault(image) else image


def _tracing_fault(block: Any) -> str | None:
    """Return the reason why langchain-core cannot trace a block, or None."""
    if not isinstance(block, Mapping):
        return None
    kind, source_type = block.get("type"), block.get("source_type")
    for name, value in (("type", kind), ("source_type", source_type)):
        if value is not None and not isinstance(value, str):
            return f"{name}={value!r:.80} is not a string"
    if kind == "input_audio":
        inner = block.get("input_audio")
        return "input_audio has no data: pass base64" if isinstance(inner, Mapping) and not inner.get("data") else None
    if kind != "image" or source_type == "id" or block.keys() & {"url", "file_id"}:
        return None
    if "base64" in block or (source_type == "base64" and "data" in block):
        return None if "mime_type" in block else 'base64 requires a mime_type, such as "image/png"'
    return "neither url nor base64 is set" if "text" in block else None
