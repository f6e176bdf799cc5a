"""Convert core deltas and results to LlamaIndex responses.

Each response of a stream holds the content so far. Finished blocks and calls in OpenAI's format are shared between the
responses, and only growing ones are rebuilt. The lists that hold them are not shared.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    LogProb,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_index_modelstudio.built_in_tools import KEPT, citation_blocks
from llama_index_modelstudio.chat_objects import chat_response, text_block, thinking_block, whole_response
from modelstudio_core.partial_json import PartialObject
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.usage import openai_usage
from modelstudio_core.tools import log_invalid_calls
from modelstudio_core.types import (
    Audio,
    ChatResult,
    Choice,
    Delta,
    ExtraDelta,
    InvalidToolCall,
    ReasoningDelta,
    RefusalDelta,
    ResponseDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

logger = logging.getLogger("llama_index_modelstudio")


# ---------------------------------------------------------------- whole responses


def from_core_usage(usage: Usage) -> dict[str, int]:
    """Return the counts under the names that LlamaIndex reads, with only the details that the service sent."""
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_creation_tokens": usage.cache_creation_tokens,
        "image_tokens": usage.input_image_tokens,
        "video_tokens": usage.input_video_tokens,
        "audio_tokens": usage.input_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
    }
    return {name: count for name, count in counts.items() if count is not None}


def usage_in_raw(usage: Usage) -> dict[str, Any]:
    """Return the raw usage object, with the names that LlamaIndex's token counter and tracers read.

    Unreadable counts are omitted, because readers add them up.
    """
    counts = {
        "prompt_tokens": usage.input_tokens,
        "input_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    own = {name: value for name, value in usage.raw.items() if name not in counts or counts[name] is not None}
    known = {name: value for name, value in openai_usage(usage).items() if name in counts or not own.get(name)}
    return own | known


def from_core_response(response: ResponseDelta) -> dict[str, Any]:
    """Return the response metadata."""
    fields = {
        "id": response.id,
        "request_id": response.request_id,
        "model": response.model,
        "created": response.created,
        "system_fingerprint": response.system_fingerprint,
    }
    return {name: value for name, value in fields.items() if value is not None}


def from_core_result(result: ChatResult) -> ChatResponse:
    """Return a whole response. Invalid calls are logged, and are in `additional_kwargs["invalid_tool_calls"]`."""
    choice = result.choices[0] if result.choices else Choice()
    usage = from_core_usage(result.usage) if result.usage is not None else {}
    raw = from_core_response(result.response) | {"finish_reason": choice.finish_reason}
    extra: dict[str, Any] = {**result.extras, **usage, "finish_reason": choice.finish_reason}
    if choice.reasoning:
        extra["reasoning_content"] = choice.reasoning
    if choice.refusal:
        extra["refusal"] = choice.refusal
    if choice.invalid_tool_calls:
        extra["invalid_tool_calls"] = [_invalid(call) for call in choice.invalid_tool_calls]
    blocks, message_kwargs = _content(choice, result.usage)
    blocks += citation_blocks(result.extras)
    message_kwargs |= {name: result.extras[name] for name in KEPT if name in result.extras}
    if result.usage is not None:
        raw["usage"] = usage_in_raw(result.usage)
    return whole_response(
        blocks=blocks,
        message_kwargs=message_kwargs,
        raw=raw,
        logprobs=_logprobs(choice),
        additional_kwargs=extra,
    )


def _content(choice: Choice, usage: Usage | None) -> tuple[list[ContentBlock], dict[str, Any]]:
    """Return blocks (reasoning, text and tool calls, in this order) and other fields of the message of an answer."""
    blocks: list[ContentBlock] = []
    extra: dict[str, Any] = {}
    if choice.reasoning:
        tokens = usage.reasoning_tokens if usage is not None else None
        blocks.append(ThinkingBlock(content=choice.reasoning, num_tokens=tokens))
        extra["reasoning_content"] = choice.reasoning
    if choice.text:
        blocks.append(text_block(text=choice.text))
    if choice.refusal:
        extra["refusal"] = choice.refusal
    if choice.audio is not None:
        blocks.append(AudioBlock(audio=choice.audio.data.encode("ascii"), format="wav"))
        extra["audio"] = _audio(choice.audio)
    for call in choice.tool_calls:
        blocks.append(ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.args))
    if choice.tool_calls:
        extra["tool_calls"] = [_legacy(call.id, call.name, call.arguments) for call in choice.tool_calls]
    if choice.invalid_tool_calls:
        extra["invalid_tool_calls"] = [_invalid(call) for call in choice.invalid_tool_calls]
    log_invalid_calls(choice.invalid_tool_calls, logger)
    return blocks, extra


def _invalid(call: InvalidToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "args": call.arguments, "error": call.error}


def _legacy(id: str | None, name: str, arguments: str) -> dict[str, Any]:
    """Return a call in OpenAI's format with its raw arguments, which LlamaIndex's programs read."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _audio(audio: Audio) -> dict[str, Any]:
    fields = {"id": audio.id, "transcript": audio.transcript, "expires_at": audio.expires_at}
    return {name: value for name, value in fields.items() if value}


def _logprobs(choice: Choice) -> list[list[LogProb]] | None:
    """Return for each token its alternatives, or the token itself if none were requested."""
    if not choice.logprobs:
        return None
    return [
        [
            LogProb(token=item["token"], logprob=item["logprob"], bytes=item.get("bytes") or [])
            for item in (token.get("top_logprobs") or [token])
        ]
        for token in choice.logprobs
    ]


# ---------------------------------------------------------------- streamed responses


class Responses:
    """Convert the deltas of one stream to responses, with a last response that has everything."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_content",
        "_deltas",
        "_extra",
        "_extras",
        "_legacy",
        "_order",
        "_raw",
        "_reasoning",
        "_refusal",
        "_text",
        "_thought",
    )

    def __init__(self) -> None:
        self._deltas: list[Delta] = []
        self._reasoning = ""
        self._text = ""
        self._refusal = ""
        self._thought: ThinkingBlock | None = None
        self._content: TextBlock | None = None
        self._calls: dict[int, _Call] = {}
        self._order: list[int] = []  # sorted indices of the named calls; parallel to _blocks and _legacy
        self._blocks: list[ToolCallBlock] = []
        self._legacy: list[dict[str, Any]] = []
        self._extra: dict[str, Any] = {}  # of the responses; replaced, never mutated, because responses share it
        self._extras: dict[str, Any] = {}  # service-specific data received so far
        self._raw: dict[str, Any] = {}

    def convert(self, delta: Delta) -> ChatResponse | None:
        """Return the response of a delta, or None if its data belongs to the last response."""
        self._deltas.append(delta)
        if isinstance(delta, TextDelta):
            self._text += delta.text
            self._content = text_block(text=self._text)
            return self._response(delta.text, self._extra)
        if isinstance(delta, ReasoningDelta):
            self._reasoning += delta.text
            self._thought = thinking_block(content=self._reasoning)
            self._extra = {"reasoning_content": self._reasoning}
            return self._response("", {"thinking_delta": delta.text, **self._extra})
        if isinstance(delta, ToolCallDelta):
            self._call(delta)
            return self._response("", self._extra)
        if isinstance(delta, RefusalDelta):
            self._refusal += delta.text
            return self._response("", self._extra)
        if isinstance(delta, ResponseDelta):
            self._raw = from_core_response(delta)
        elif isinstance(delta, ExtraDelta):
            self._extras = {**self._extras, delta.name: delta.value}
            if delta.name == "server_tools":  # a tool began or ended
                return self._response("", self._extra)
        return None

    def last(self) -> ChatResponse:
        """Return the last response, which equals that of a whole answer."""
        response = from_core_result(fold(self._deltas))
        response.delta = ""
        return response

    def _call(self, delta: ToolCallDelta) -> None:
        """Add a fragment, and rebuild only its call. Calls without a name are not shown."""
        index = delta.index
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _Call()
        begins = call.block is None
        call.add(delta)
        block = call.block
        if block is None:
            return
        legacy = _legacy(call.id, call.name, call.arguments.text)
        if begins:
            at = bisect_left(self._order, index)
            self._order.insert(at, index)
            self._blocks.insert(at, block)
            self._legacy.insert(at, legacy)
        else:
            at = -1 if self._order[-1] == index else bisect_left(self._order, index)
            self._blocks[at] = block
            self._legacy[at] = legacy

    def _response(self, delta: str, extra: dict[str, Any]) -> ChatResponse:
        blocks: list[ContentBlock] = []
        if self._thought is not None:
            blocks.append(self._thought)
        if self._content is not None:
            blocks.append(self._content)
        kwargs: dict[str, Any] = {"reasoning_content": self._reasoning} if self._reasoning else {}
        if self._refusal:
            kwargs["refusal"] = self._refusal
        if self._calls:
            blocks += self._blocks
            kwargs["tool_calls"] = [*self._legacy]
        return chat_response(blocks, kwargs, self._raw, delta, {**self._extras, **extra})


class _Call:
    """A streamed call. Its block has the arguments as far as they can be parsed."""

    __slots__ = ("arguments", "block", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments = PartialObject()
        self.block: ToolCallBlock | None = None

    def add(self, delta: ToolCallDelta) -> None:
        self.id = delta.id or self.id
        self.name += delta.name or ""
        read = self.arguments.add(delta.arguments) if delta.arguments else self.block is None
        if self.name and (read or delta.id or delta.name or self.block is None):
            self.block = ToolCallBlock(
                tool_call_id=self.id, tool_name=self.name, tool_kwargs=self.arguments.value or {}
            )


def to_completion(response: ChatResponse) -> CompletionResponse:
    """Convert a chat response to a completion response."""
    text = "".join(block.text for block in response.message.blocks if isinstance(block, TextBlock))
    extra = response.additional_kwargs
    if calls := response.message.additional_kwargs.get("tool_calls"):
        extra = {**extra, "tool_calls": calls}
    return CompletionResponse(
        text=text, additional_kwargs=extra, raw=response.raw, logprobs=response.logprobs, delta=response.delta
    )
