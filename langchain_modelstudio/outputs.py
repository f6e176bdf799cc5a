"""Convert core deltas and results to LangChain messages and chunks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, cast

from langchain_core.callbacks import BaseRunManager
from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall, UsageMetadata
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.outputs import ChatResult as LangChainResult
from langchain_core.utils.utils import LC_ID_PREFIX

from langchain_modelstudio import server_tools
from langchain_modelstudio.chunks import ModelStudioMessageChunk, generation_chunk, message_chunk, text_generation
from langchain_modelstudio.content_blocks import PROVIDER, audio_piece, citations, text_block
from langchain_modelstudio.message_objects import ai_message
from langchain_modelstudio.server_tools import ServerTools
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.usage import openai_usage
from modelstudio_core.tools import log_invalid_calls
from modelstudio_core.types import (
    AudioDelta,
    ChatResult,
    Choice,
    Delta,
    ExtraDelta,
    FinishDelta,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    ResponseDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)

logger = logging.getLogger("langchain_modelstudio")


def from_core_usage(usage: Usage | None) -> UsageMetadata | None:
    """Return the counts and details in LangChain's format, or None if `total_tokens` is unknown.

    LangChain requires input and output totals, so a missing one becomes 0.
    """
    if usage is None or usage.total_tokens is None:
        return None
    input_details = (
        ("audio", usage.input_audio_tokens),
        ("cache_creation", usage.cache_creation_tokens),
        ("cache_read", usage.cached_tokens),
        ("image", usage.input_image_tokens),
        ("video", usage.input_video_tokens),
    )
    output_details = (("audio", usage.output_audio_tokens), ("reasoning", usage.reasoning_tokens))
    metadata: UsageMetadata = {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens,
    }
    if inputs := {name: count for name, count in input_details if count is not None}:
        metadata["input_token_details"] = cast("InputTokenDetails", inputs)
    if outputs := {name: count for name, count in output_details if count is not None}:
        metadata["output_token_details"] = cast("OutputTokenDetails", outputs)
    return metadata


def from_core_response(
    response: ResponseDelta, finish_reason: str | None, extras: Mapping[str, Any], usage: Usage | None
) -> dict[str, Any]:
    """Return the response metadata: ids, model, finish reason, service-specific data and the raw usage object."""
    metadata = {
        "model_provider": PROVIDER,
        "finish_reason": finish_reason,
        "model_name": response.model,
        "id": response.id,
        "request_id": response.request_id,
        "created": response.created,
        "system_fingerprint": response.system_fingerprint,
        **extras,
        "usage": None if usage is None else usage.raw or None,
    }
    return {name: value for name, value in metadata.items() if value is not None}


def from_core_choice(choice: Choice, result: ChatResult) -> AIMessage:
    """Return a choice as a message, and log a warning for each invalid tool call.

    Usage counts the whole response, so only the message of the first choice has it.
    """
    log_invalid_calls(choice.invalid_tool_calls, logger)
    extras = deepcopy(result.extras) if result.extras else {}  # each message gets its own copy
    usage = result.usage if not result.choices or choice is result.choices[0] else None
    metadata = from_core_response(result.response, choice.finish_reason, extras, usage)
    if choice.logprobs:
        metadata["logprobs"] = _logprobs(choice.logprobs)
    kwargs: dict[str, Any] = {}
    if choice.reasoning:
        kwargs["reasoning_content"] = choice.reasoning
    if choice.refusal:
        kwargs["refusal"] = choice.refusal
    if choice.audio is not None:
        audio = choice.audio
        kwargs["audio"] = _audio_fields(AudioDelta(audio.data, audio.transcript, audio.id, audio.expires_at))
    calls: list[ToolCall] = [tool_call(name=c.name, args=c.args, id=c.id) for c in choice.tool_calls]
    invalid: list[InvalidToolCall] = [
        invalid_tool_call(name=c.name, args=c.arguments, id=c.id, error=c.error) for c in choice.invalid_tool_calls
    ]
    return ai_message(
        content=choice.text,
        additional_kwargs=kwargs,
        tool_calls=calls,
        invalid_tool_calls=invalid,
        response_metadata=metadata,
        usage_metadata=from_core_usage(usage),
    )


def from_core_delta(delta: Delta, *, v1: bool = False) -> ModelStudioMessageChunk | None:
    """Return a delta as a chunk, or None for metadata, which `last_chunk` returns.

    Each delta gets its own chunk, because langchain-core treats a tool fragment in a chunk with text as a finished
    call. `v1`: content is typed blocks with explicit indices, because langchain-core would assign the same index to the
    first block and the first tool call and merge them.
    """
    text = ""
    blocks: list[str | dict[Any, Any]] = []
    fields: dict[str, Any] = {}
    if isinstance(delta, TextDelta):
        text = delta.text
        blocks = [{"type": "text", "text": delta.text, "index": "lc_text"}]
    elif isinstance(delta, ReasoningDelta):
        fields = {"additional_kwargs": {"reasoning_content": delta.text}}
        blocks = [{"type": "reasoning", "reasoning": delta.text, "index": "lc_reasoning"}]
    elif isinstance(delta, RefusalDelta):
        fields = {"additional_kwargs": {"refusal": delta.text}, "response_metadata": {"model_provider": PROVIDER}}
        blocks = [{"type": "refusal", "refusal": delta.text, "index": "lc_refusal"}]
    elif isinstance(delta, ToolCallDelta):
        fragment = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
        fields = {"tool_call_chunks": [fragment], "response_metadata": {"model_provider": PROVIDER}}
        blocks = [{**fragment, "index": f"lc_tool_call_{delta.index}"}]
    elif isinstance(delta, AudioDelta):
        audio = _audio_fields(delta)
        fields = {"additional_kwargs": {"audio": audio}, "response_metadata": {"model_provider": PROVIDER}}
        blocks = [{**audio_piece(audio), "index": "lc_audio"}]
    elif isinstance(delta, LogprobsDelta):
        fields = {"response_metadata": {"logprobs": _logprobs(delta.content)}}
    else:
        return None
    if v1:
        fields["response_metadata"] = {**fields.get("response_metadata", {}), "output_version": "v1"}
    return message_chunk(content=blocks if v1 else text, **fields)


def _logprobs(content: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return log probabilities as metadata. langchain-core concatenates the lists when chunks are added.

    An `index` added by a server is dropped, because langchain-core merges items with the same index (`merge_lists`).
    """
    return {"content": [{name: value for name, value in item.items() if name != "index"} for item in content]}


def _audio_fields(audio: AudioDelta) -> dict[str, Any]:
    """Return the fields of audio output that are set."""
    fields = {"id": audio.id, "data": audio.data, "transcript": audio.transcript, "expires_at": audio.expires_at}
    return {name: value for name, value in fields.items() if value}


def last_chunk(
    response: ResponseDelta,
    finish_reason: str | None,
    usage: Usage | None,
    extras: Mapping[str, Any],
    *,
    v1: bool = False,
    has_text: bool = False,
) -> ModelStudioMessageChunk:
    """Return the last chunk.

    IDs, finish reason and usage are only in it, because langchain-core concatenates repeated strings when chunks are
    added. `v1`: content is typed blocks. If `has_text`, citations for the text block are added.
    """
    content: str | list[str | dict[Any, Any]] = ""
    metadata = from_core_response(response, finish_reason, extras, usage)
    if v1:
        cited = citations(extras) if has_text else []
        content = [{**text_block("", cited), "index": "lc_text"}] if cited else []
        metadata["output_version"] = "v1"
    return ModelStudioMessageChunk(
        content=content,
        response_metadata=metadata,
        usage_metadata=from_core_usage(usage),
        chunk_position="last",
    )


class ChunkConverter:
    """Convert the deltas of one stream to chunks, with a last chunk for the metadata."""

    def __init__(self, *, v1: bool) -> None:
        self.v1 = v1
        self.response = ResponseDelta()
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.extras: dict[str, Any] = {}
        self.has_text = False  # a text block was emitted
        self._call_deltas: list[Delta] = []  # tool call fragments and the finish reason
        self._tools = ServerTools()

    def convert(self, delta: Delta) -> ChatGenerationChunk | None:
        """Return the chunk of a delta, or None if its data belongs to the last chunk."""
        if type(delta) is TextDelta and not self.v1:  # the most frequent case
            return text_generation(delta.text)
        message = from_core_delta(delta, v1=self.v1)
        if message is not None:
            if isinstance(delta, ToolCallDelta):
                self._call_deltas.append(delta)
            elif self.v1 and isinstance(delta, TextDelta):
                self.has_text = True
            return generation_chunk(message=message, text=message.text)
        if isinstance(delta, ResponseDelta):
            self.response = delta
        elif isinstance(delta, FinishDelta):
            self.finish_reason = delta.reason
            self._call_deltas.append(delta)
        elif isinstance(delta, UsageDelta):
            self.usage = delta.usage
        elif isinstance(delta, ExtraDelta):
            self.extras[delta.name] = delta.value
            if delta.name == server_tools.NAME:
                return self._ran(delta.value)
        return None

    def _ran(self, tools: Any) -> ChatGenerationChunk | None:
        """Return a chunk for built-in tools: v1 blocks, or the tools that have ended as metadata."""
        metadata: dict[str, Any] = {"model_provider": PROVIDER}
        if self.v1:
            blocks: Any = self._tools.fragments(tools)
            metadata["output_version"] = "v1"
        else:
            blocks, ended = "", [tool for tool in tools if server_tools.ended(tool)]
            metadata[server_tools.NAME] = [tool for _, tool, _ in self._tools.changed(ended)]
            self.extras[server_tools.NAME] = [tool for tool in tools if tool not in ended]  # tools that have ended
        if not blocks and not metadata.get(server_tools.NAME):
            return None
        return generation_chunk(message=message_chunk(content=blocks, response_metadata=metadata), text="")

    def last(self) -> ChatGenerationChunk:
        """Return the last chunk of the stream, and log a warning for each invalid tool call."""
        for choice in fold(self._call_deltas).choices:
            log_invalid_calls(choice.invalid_tool_calls, logger)
        metadata = (self.response, self.finish_reason, self.usage, self.extras)
        info = {"finish_reason": self.finish_reason, "model_name": self.response.model}
        return ChatGenerationChunk(
            message=last_chunk(*metadata, v1=self.v1, has_text=self.has_text),
            generation_info={name: value for name, value in info.items() if value is not None},
        )


def message_id(run_manager: BaseRunManager | None) -> str:
    """Return the id that langchain-core assigns to a message without one, or "" without a run manager."""
    return "" if run_manager is None else f"{LC_ID_PREFIX}-{run_manager.run_id}"


def from_core_result(result: ChatResult) -> LangChainResult:
    """Return a complete response: a generation per choice, and `llm_output` for callbacks and tracers."""
    generations = []
    for choice in result.choices:
        message = from_core_choice(choice, result)
        info = {name: message.response_metadata.get(name) for name in ("finish_reason", "logprobs")}
        generations.append(
            ChatGeneration(message=message, generation_info={k: v for k, v in info.items() if v is not None})
        )
    output = {
        "id": result.response.id,
        "model_name": result.response.model,
        "token_usage": None if result.usage is None else openai_usage(result.usage),
    }
    return LangChainResult(generations=generations, llm_output={k: v for k, v in output.items() if v})


def add_usage(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sum of two `token_usage` objects, including nested details."""
    total = dict(left)
    for name, count in right.items():
        known = total.get(name)
        total[name] = add_usage(known or {}, count) if isinstance(count, Mapping) else (known or 0) + count
    return total
