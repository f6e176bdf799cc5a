"""Build `content_blocks` of this package's messages, which langchain-core looks up by provider name.

Without this, langchain-core omits audio output, and treats a fragment of a tool call beside text as a finished call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.content import ContentBlock

from langchain_modelstudio import server_tools
from langchain_modelstudio.server_tools import server_tool_blocks

PROVIDER = "modelstudio"
_CITED = ("url", "title", "cited_text", "start_index", "end_index")
_WAV = "UklGR"  # base64 of "RIFF", the start of a WAV file


def register_blocks() -> None:
    """Register this translator for messages with our `model_provider`."""
    register_translator(PROVIDER, content_blocks, content_blocks)


def content_blocks(message: AIMessage) -> list[ContentBlock]:
    """Return the blocks of a message with string content: reasoning, text, audio, calls, invalid calls, refusal.

    Blocks of built-in tools are between reasoning and text.
    Raises NotImplementedError if content is a list, so that langchain-core handles the message.
    """
    if not isinstance(message.content, str):
        raise NotImplementedError
    blocks: list[Any] = []
    if isinstance(reasoning := message.additional_kwargs.get("reasoning_content"), str):
        blocks.append({"type": "reasoning", "reasoning": reasoning})
    blocks += server_tool_blocks(message.response_metadata.get(server_tools.NAME))
    if message.content:
        blocks.append(text_block(message.content, citations(message.response_metadata)))
    if isinstance(audio := message.additional_kwargs.get("audio"), Mapping):
        running = isinstance(message, AIMessageChunk) and message.chunk_position != "last"
        blocks.append(audio_piece(audio) if running else with_mime_type(audio_piece(audio)))
    blocks += _calls(message)
    if refusal := message.additional_kwargs.get("refusal"):
        blocks.append({"type": "refusal", "refusal": refusal})
    return cast("list[ContentBlock]", blocks)


def text_block(text: str, cited: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a text block with its citations, if any."""
    return {"type": "text", "text": text, **({"annotations": cited} if cited else {})}


def citations(extras: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sources of a web search, from `search_info` in the response metadata, as citations.

    The service does not report positions. With `enable_citation`, it inserts numbered marks into the text; the number
    is the `index` in a citation's `extras`.
    """
    info = extras.get("search_info")
    results = info.get("search_results") if isinstance(info, Mapping) else None
    if not isinstance(results, list):
        return []
    return [_citation(result) for result in results if isinstance(result, Mapping)]


def _citation(result: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in result.items() if value not in (None, "")}
    cited: dict[str, Any] = {name: fields.pop(name) for name in _CITED if name in fields}
    return {"type": "citation", **cited, **({"extras": fields} if fields else {})}


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    if isinstance(message, AIMessageChunk) and message.chunk_position != "last":
        return [dict(chunk) for chunk in message.tool_call_chunks]
    return [dict(call) for call in (*message.tool_calls, *message.invalid_tool_calls)]


def audio_piece(audio: Mapping[str, Any]) -> dict[str, Any]:
    """Return `additional_kwargs["audio"]`, whole or a fragment, as an audio block with other fields in `extras`.

    Fragments have no MIME type, because langchain-core would concatenate it.
    """
    block: dict[str, Any] = {"type": "audio", "base64": audio.get("data") or ""}
    if audio.get("id"):
        block["id"] = audio["id"]
    if extras := {name: audio[name] for name in ("transcript", "expires_at") if audio.get(name)}:
        block["extras"] = extras
    return block


def with_mime_type(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole audio block with its MIME type: WAV if it has a WAV header, else raw PCM samples.

    The service streams PCM (16 bit, mono; 24 kHz in the vendor's Omni examples) even with `audio={"format": "wav"}`.
    """
    return {**block, "mime_type": "audio/wav" if block["base64"].startswith(_WAV) else "audio/pcm"}
