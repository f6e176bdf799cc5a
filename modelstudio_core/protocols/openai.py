"""The OpenAI-compatible protocol of Model Studio: `POST {base}/chat/completions`.

Sources: the vendor's "OpenAI compatible - Chat" reference, and recorded responses of Model Studio (which has sent two
variants since early 2026) and of compatible servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from modelstudio_core.errors import ModelStudioError, ProtocolError
from modelstudio_core.protocols.assembler import EMPTY, DeltaWriter
from modelstudio_core.protocols.codec import read_index, read_object, write_json
from modelstudio_core.protocols.decoding import EventStreamDecoder, NotAnAnswer, decode_value
from modelstudio_core.protocols.errors import check_finish_reason, error_of_response, request_id_of
from modelstudio_core.protocols.requests import (
    joined_text,
    merge_extra_body,
    policy_parameters,
    reject_parameters,
    request_headers,
    set_fields,
    url_of,
    wire_message,
)
from modelstudio_core.protocols.usage import read_counts, total_of
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    Delta,
    ImagePart,
    Message,
    Part,
    ResponseHead,
    TextPart,
    Usage,
    VideoPart,
    WireCall,
)

_PATH = "/chat/completions"
_RESERVED = dict.fromkeys(("model", "messages", "stream"), "use the argument")
_NATIVE = frozenset({"vl_enable_image_hw_output"})  # documented for the native protocol only
# native only; not sent, because it does not change the deltas
_WITHOUT_EFFECT = frozenset({"incremental_output"})
# this protocol returns no search sources (native API reference)
_NATIVE_SEARCH = frozenset({"enable_source", "enable_citation", "citation_format", "prepend_search_result"})


class OpenAICodec:
    """Codec of the OpenAI-compatible protocol; see `modelstudio_core.protocols.codec.Codec`."""

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Return the HTTP request, with the parameters set and, if streaming, `stream_options.include_usage`."""
        return WireCall(_PATH, request_headers(request, stream), self.encode_body(request, stream=stream))

    def encode_body(self, request: ChatRequest, *, stream: bool) -> bytes:
        """Return the body of the HTTP request, which is also that of a line of a batch job. Raises as `encode` does."""
        reject_parameters(request.parameters, _NATIVE, "dashscope")
        search = request.parameters.get("search_options")
        if isinstance(search, Mapping):
            reject_parameters(search, _NATIVE_SEARCH, "dashscope", within="search_options.")
        body: dict[str, Any] = {"model": request.model, "messages": [_message(m) for m in request.messages]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= {name: value for name, value in request.parameters.items() if name not in _WITHOUT_EFFECT}
        body |= policy_parameters(request)
        return write_json(merge_extra_body(body, request.extra_body, _RESERVED))

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """Return the deltas of a whole response."""
        return self.decode_object(request, head, read_object(body))

    def decode_object(self, request: ChatRequest, head: ResponseHead, value: dict[str, Any]) -> list[Delta]:
        """Return the deltas of a whole response that is decoded from JSON. Raises as `decode` does."""
        return decode_value(DeltaWriter(request.n or 1, read_usage), value, head, partial(_read, field="message"))

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> EventStreamDecoder:
        """Return a decoder for one streamed response."""
        writer = DeltaWriter(request.n or 1, read_usage, cumulative=request.cumulative_stream)
        return EventStreamDecoder(writer, head, max_event_bytes, _read)

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """Return the typed error for a response whose status is not 2xx."""
        return error_of_response(head, body)


# ---------------------------------------------------------------- reading


def _read(writer: DeltaWriter, value: Mapping[str, Any], head: ResponseHead, field: str = "delta") -> None:
    """Read one chunk (`field` "delta") or one whole response ("message")."""
    choices = value.get("choices")
    usage = value.get("usage")
    if usage is None and "choices" not in value:
        raise NotAnAnswer(f"the service sent an object with neither choices nor usage nor error: {value!r:.200}")
    if not writer.has_response:
        writer.response(
            value.get("id"),
            request_id_of(head, value),
            value.get("model"),
            value.get("created"),
            value.get("system_fingerprint"),
        )
    if isinstance(choices, list):
        for position, choice in enumerate(choices):
            _read_choice(writer, choice, field, position, value, head)
    elif choices is not None:
        raise ProtocolError(f"choices is not a list but {choices!r:.100}")
    if usage:  # usually on a chunk without choices
        writer.usage(usage)


def _read_choice(
    writer: DeltaWriter, choice: Any, field: str, position: int, value: Mapping[str, Any], head: ResponseHead
) -> None:
    if not isinstance(choice, dict):
        raise ProtocolError(f"a choice is not an object but {choice!r:.100}")
    index = choice.get("index")
    message = choice.get(field)
    if not message:
        if field not in choice and ("message" in choice or "delta" in choice):
            _read_other(writer, choice, field, position, value, head)
            return
        message = {}
    if not isinstance(message, dict):
        raise ProtocolError(f"a choice without {field}: {choice!r:.100}")
    if type(index) is not int and index is not None:
        index = read_index(index, "choice")
    if index is None or index < 0:  # assigned by order
        index = position
    if index not in writer.choices and not writer.begin(index):
        return
    content = message.get("content")
    if content and (len(message) == 1 or (len(message) == 2 and None in message.values())):  # only text: most chunks
        writer.text(index, content)
    else:
        _read_message(writer, index, message, complete="message" in choice)
    if logprobs := choice.get("logprobs"):
        writer.logprobs(index, logprobs)
    if reason := choice.get("finish_reason"):
        check_finish_reason(reason, choice, value, head)
        writer.finish(index, reason)


def _read_message(writer: DeltaWriter, index: int, message: Mapping[str, Any], *, complete: bool) -> None:
    reasoning = message.get("reasoning_content")
    if reasoning is None or (not reasoning and reasoning in EMPTY):
        reasoning = message.get("reasoning")  # the name in vLLM and other servers
    if reasoning or (reasoning is not None and reasoning not in EMPTY):
        writer.reasoning(index, reasoning)
    content = message.get("content")
    if content or (content is not None and content not in EMPTY):
        writer.text(index, content)
    if refusal := message.get("refusal"):
        writer.refusal(index, refusal)
    if calls := message.get("tool_calls"):
        writer.tool_calls(index, calls, complete=complete)
    if audio := message.get("audio"):
        writer.audio(index, audio)


def _read_other(
    writer: DeltaWriter,
    choice: Mapping[str, Any],
    field: str,
    position: int,
    value: Mapping[str, Any],
    head: ResponseHead,
) -> None:
    """Read a choice with a message in place of a delta, or the reverse.

    Some servers end a stream with the whole message, whose content is ignored if deltas preceded it. A message that
    was not preceded by deltas may be continued by another message.
    """
    has_output = writer.has_output
    if field == "message":
        choice = {**choice, field: choice["delta"] or {}}
    elif has_output:
        choice = {name: choice.get(name) for name in ("index", "finish_reason", "error", field)}
    else:
        choice = {**choice, field: choice["message"] or {}}
    _read_choice(writer, choice, field, position, value, head)
    writer.has_output = has_output  # so that the next message does not count as a repetition of this one


_TOTALS = ("prompt_tokens", "completion_tokens")
_INPUT_DETAILS = (
    "cached_tokens", "cache_creation_input_tokens", "text_tokens", "image_tokens", "video_tokens", "audio_tokens"
)  # fmt: skip
_OUTPUT_DETAILS = ("reasoning_tokens", "text_tokens", "audio_tokens")


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the counts of a compatible `usage` object."""
    input, output = read_counts(usage, _TOTALS)
    total = total_of(usage, input, output)
    cached, created, text, image, video, audio = read_counts(usage.get("prompt_tokens_details"), _INPUT_DETAILS)
    reasoning, output_text, output_audio = read_counts(usage.get("completion_tokens_details"), _OUTPUT_DETAILS)
    return Usage(
        input, output, total, reasoning, cached, created, text, image, video, audio, output_text, output_audio, usage
    )


# ---------------------------------------------------------------- writing


def _message(message: Message) -> dict[str, Any]:
    content = joined_text(message)
    return wire_message(message, content if isinstance(content, str) else [_encode_part(part) for part in content])


def _encode_part(part: Part) -> dict[str, Any]:
    """Return a content part. Hints such as min_pixels and fps are siblings of `type` (vendor's chat reference)."""
    match part:
        case TextPart():
            wire: dict[str, Any] = {"type": "text", "text": part.text}
        case ImagePart():
            image = {"url": url_of(part.url)} | ({"detail": part.detail} if part.detail else {})
            wire = {"type": "image_url", "image_url": image} | set_fields(part, "min_pixels", "max_pixels")
        case VideoPart():
            if not isinstance(part.source, tuple):
                wire = {"type": "video_url", "video_url": {"url": url_of(part.source)}}
            else:
                wire = {"type": "video", "video": [*map(url_of, part.source)]}
            wire |= set_fields(part, "fps", "min_pixels", "max_pixels", "total_pixels", "max_frames")
        case AudioPart():
            audio = {"data": url_of(part.url)} | ({"format": part.format} if part.format else {})
            wire = {"type": "input_audio", "input_audio": audio}
    if part.cache_control is not None:
        wire["cache_control"] = dict(part.cache_control)
    return wire
