"""The native DashScope protocol: `POST {base}/services/aigc/{text-generation|multimodal-generation}/generation`.

Sources: the vendor's DashScope API reference and its Deep thinking, Streaming and Visual reasoning pages, and recorded
responses. Differences from the compatible protocol:
- everything but the model and messages is in `parameters`, and a header enables streaming;
- content is a string on text-generation and a list of parts on multimodal-generation;
- every event has the usage so far, a pending finish reason is the string "null", and no event marks the end;
- search sources are on the first event only, and empty afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelstudio_core.catalogue import NativeEndpoint
from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.protocols.assembler import EMPTY, DeltaWriter
from modelstudio_core.protocols.codec import as_integer, read_index, write_json
from modelstudio_core.protocols.decoding import EventStreamDecoder, NotAnAnswer, decode_response
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
from modelstudio_core.protocols.usage import first_count, read_count, read_details, total_of
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

TEXT: NativeEndpoint = "text-generation"
MULTIMODAL: NativeEndpoint = "multimodal-generation"
_RESERVED = {
    **dict.fromkeys(("model", "messages", "stream"), "use the argument"),
    **dict.fromkeys(("input", "parameters"), "set the parameters inside it by name instead"),
    "stream_options": "this protocol always returns usage",
}
# Omni models output audio in the compatible protocol only (vendor's Omni page)
_COMPATIBLE = frozenset({"modalities", "audio"})
_PART_EXTRAS = ("ocr_result", "image_hw")  # results about an image, in the same part as the text


class DashScopeCodec:
    """Codec of the native protocol; see `modelstudio_core.protocols.codec.Codec`."""

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Return the HTTP request, with the parameters set, `result_format` and, if streaming, `incremental_output`."""
        reject_parameters(request.parameters, _COMPATIBLE, "openai")
        endpoint = endpoint_of(request)
        parameters: dict[str, Any] = {"result_format": "message"}
        if stream:
            parameters["incremental_output"] = not request.cumulative_stream
        parameters |= request.parameters
        parameters |= policy_parameters(request)
        headers = request_headers(request, stream)
        if stream:
            headers["x-dashscope-sse"] = "enable"
        else:
            parameters.pop("incremental_output", None)  # applies to streams only
        write = _parts_message if endpoint == MULTIMODAL else _text_message
        body = {
            "model": request.model,
            "input": {"messages": [write(message) for message in request.messages]},
            "parameters": merge_extra_body(parameters, request.extra_body, _RESERVED),
        }
        return WireCall(f"/services/aigc/{endpoint}/generation", headers, write_json(body))

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """Return the deltas of a whole response."""
        reader = _Reader(request, whole=True)
        return decode_response(DeltaWriter(request.n or 1, read_usage), body, head, reader)

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> EventStreamDecoder:
        """Return a decoder for one streamed response, cumulative if `incremental_output` is False."""
        cumulative = request.cumulative_stream or request.parameters.get("incremental_output") is False
        writer = DeltaWriter(request.n or 1, read_usage, cumulative=cumulative)
        return EventStreamDecoder(writer, head, max_event_bytes, _Reader(request))

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """Return the typed error for a response whose status is not 2xx."""
        return error_of_response(head, body)


def endpoint_of(request: ChatRequest) -> NativeEndpoint:
    """Return the endpoint of a request: `native_endpoint` if set, else text-generation."""
    endpoint = request.native_endpoint or TEXT
    if endpoint not in (TEXT, MULTIMODAL):
        raise ConfigurationError(f'native_endpoint={endpoint!r:.80} is unknown: use "{TEXT}" or "{MULTIMODAL}"')
    return endpoint


# ---------------------------------------------------------------- reading


class _Reader:
    """Read one event, or one `whole` response, in result_format "message" or "text"."""

    __slots__ = ("_model", "_whole")

    def __init__(self, request: ChatRequest, *, whole: bool = False) -> None:
        self._model = request.model  # responses do not name the model
        self._whole = whole

    def __call__(self, writer: DeltaWriter, value: Mapping[str, Any], head: ResponseHead) -> None:
        output, usage = value.get("output"), value.get("usage")
        if usage is None and "output" not in value:
            raise NotAnAnswer(f"the service sent an object with neither output nor usage nor error: {value!r:.200}")
        if output is None:
            output = {}
        elif not isinstance(output, dict):
            raise ProtocolError(f"output is not an object but {output!r:.100}")
        if not writer.has_response:
            writer.response(None, request_id_of(head, value), output.get("model_name") or self._model, None, None)
        if len(output) > 1:  # most events have only choices
            if extra := output.get("search_info"):
                writer.extra("search_info", extra)
            if extra := output.get("tool_info"):
                writer.extra("tool_info", extra)
        choices = output.get("choices")
        if choices is not None and not isinstance(choices, list):
            raise ProtocolError(f"output.choices is not a list but {choices!r:.100}")
        if choices:
            for position, choice in enumerate(choices):
                self._choice(writer, choice, position, output, value, head)
        elif isinstance(output.get("message"), dict):
            _read_deep_research(writer, output["message"])
        elif "text" in output or "finish_reason" in output:  # result_format text
            writer.begin(0)
            _read_message(writer, 0, {**output, "content": output.get("text")}, whole=self._whole)
            check_finish_reason(output.get("finish_reason"), output, value, head)
            writer.finish(0, output.get("finish_reason"))
        if usage:
            writer.usage(usage, _choice_of_usage(choices) if writer.n > 1 else 0)
            if isinstance(usage, dict) and (plugins := usage.get("plugins")):
                writer.extra("plugins", plugins)

    def _choice(
        self,
        writer: DeltaWriter,
        choice: Any,
        position: int,
        output: Mapping[str, Any],
        value: Mapping[str, Any],
        head: ResponseHead,
    ) -> None:
        if not isinstance(choice, dict):
            raise ProtocolError(f"a choice is not an object but {choice!r:.100}")
        index = choice.get("index")
        message = choice.get("message") or {}
        if not isinstance(message, dict):
            raise ProtocolError(f"a choice without message: {choice!r:.100}")
        if type(index) is not int and index is not None:
            index = read_index(index, "choice")
        if index is None or index < 0:  # assigned by order
            index = position
        if index not in writer.choices and not writer.begin(index):
            return
        _read_message(writer, index, message, whole=self._whole)
        if logprobs := choice.get("logprobs"):
            writer.logprobs(index, logprobs)
        reason = choice.get("finish_reason") or output.get("finish_reason")
        if reason != "null":
            check_finish_reason(reason, choice, value, head)
            writer.finish(index, reason)


def _read_message(writer: DeltaWriter, index: int, message: Mapping[str, Any], *, whole: bool) -> None:
    reasoning, content = message.get("reasoning_content"), message.get("content")
    if reasoning or (reasoning is not None and reasoning not in EMPTY):
        writer.reasoning(index, reasoning)
    if content or (content is not None and content not in EMPTY):
        writer.text(index, content)
        if isinstance(content, list):
            for part in content:
                for name in _PART_EXTRAS:
                    if extra := part.get(name):
                        writer.extra(name, extra)
    if refusal := message.get("refusal"):
        writer.refusal(index, refusal)
    if calls := message.get("tool_calls"):
        writer.tool_calls(index, calls, complete=whole)


def _read_deep_research(writer: DeltaWriter, message: Mapping[str, Any]) -> None:
    """Read an event of qwen-deep-research: search phases, keep-alives, then the answer, without choices.

    The end of the answer is marked by `status` only, as `finish_reason` is misspelt in these events and stays "null".
    """
    writer.begin(0)
    answers = message.get("phase") == "answer"
    (writer.text if answers else writer.reasoning)(0, message.get("content"))
    extra = message.get("extra")
    if isinstance(extra, Mapping):
        writer.extra("deep_research", extra.get("deep_research"))
    if answers and message.get("status") == "finished":
        writer.finish(0, "stop")


def _choice_of_usage(choices: list[Any] | None) -> int | None:
    """Return the index of the choice that an event's usage counts: the first, as in the vendor's SDK 2.0.2."""
    return (as_integer(choices[0].get("index")) or 0) if choices else None


def read_usage(usage: Mapping[str, Any], *others: Mapping[str, Any]) -> Usage:
    """Return the counts of a native `usage` object, some of which are nested for newer models only.

    `others` are the usage objects of further choices, if choices are counted separately.
    """
    if others:
        usage = _combined(usage, *others)
    input_details = read_details(usage, "input_tokens_details")
    output_details = read_details(usage, "output_tokens_details")
    cached = read_details(usage, "prompt_tokens_details")
    input_tokens, output_tokens = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")

    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_of(usage, input_tokens, output_tokens),
        reasoning_tokens=first_count("reasoning_tokens", output_details, usage),
        cached_tokens=first_count("cached_tokens", cached, input_details, usage),
        cache_creation_tokens=first_count("cache_creation_input_tokens", cached, input_details),
        input_text_tokens=first_count("text_tokens", input_details, cached),
        input_image_tokens=first_count("image_tokens", input_details, usage),
        input_video_tokens=first_count("video_tokens", input_details, usage),
        input_audio_tokens=first_count("audio_tokens", input_details, usage),
        output_text_tokens=read_count(output_details, "text_tokens"),
        output_audio_tokens=read_count(output_details, "audio_tokens"),
        raw=usage,
    )


def _combined(*usages: Mapping[str, Any]) -> dict[str, Any]:
    """Combine the usage objects of several choices: input counted once, output summed, total recomputed.

    The vendor's SDK 2.0.2 does the same (`merge_single_response`).
    """
    combined = {name: value for usage in reversed(usages) for name, value in usage.items() if name != "total_tokens"}
    combined |= _sums(usages, ("output_tokens", "reasoning_tokens"))
    written = [read_details(usage, "output_tokens_details") for usage in usages]
    if names := dict.fromkeys(name for each in written for name in each):
        combined["output_tokens_details"] = _sums(written, names)
    parts = (read_count(combined, "input_tokens"), read_count(combined, "output_tokens"))
    return combined if None in parts else combined | {"total_tokens": sum(part or 0 for part in parts)}


def _sums(holders: Iterable[Mapping[str, Any]], names: Iterable[str]) -> dict[str, int]:
    counts = {name: [n for holder in holders if (n := read_count(holder, name)) is not None] for name in names}
    return {name: sum(found) for name, found in counts.items() if found}


# ---------------------------------------------------------------- writing


def _text_message(message: Message) -> dict[str, Any]:
    """Return a message for text-generation, which requires string content ("input content must be a string.").

    Only text with `cache_control` is sent as parts, because `cache_control` belongs to a part.
    """
    content = joined_text(message)
    if isinstance(content, str):
        return wire_message(message, content)
    for part in content:
        if not isinstance(part, TextPart):
            kind = type(part).__name__.removesuffix("Part").lower()
            raise ConfigurationError(
                f"{kind} cannot be sent to the native endpoint {TEXT}, which accepts text only: "
                f'set native_endpoint="{MULTIMODAL}" if it serves the model, or protocol="openai"'
            )
    return wire_message(message, [_encode_part(part) for part in content])


def _parts_message(message: Message) -> dict[str, Any]:
    """Return a message for multimodal-generation. Content is always a list, [] for tool calls without text."""
    content = joined_text(message)
    if isinstance(content, str):
        content = () if not content and message.tool_calls else (TextPart(content),)
    return wire_message(message, [_encode_part(part) for part in content])


def _encode_part(part: Part) -> dict[str, Any]:
    """Return a content part: one key for its kind, and hints. The protocol has no image `detail` or audio `format`."""
    match part:
        case TextPart():
            wire: dict[str, Any] = {"text": part.text}
        case ImagePart():
            wire = {"image": url_of(part.url)} | set_fields(part, "min_pixels", "max_pixels")
        case VideoPart():
            source = [*map(url_of, part.source)] if isinstance(part.source, tuple) else url_of(part.source)
            wire = {"video": source} | set_fields(part, "fps", "min_pixels", "max_pixels", "total_pixels", "max_frames")
        case AudioPart():
            wire = {"audio": url_of(part.url)}
    if part.cache_control is not None:
        wire["cache_control"] = dict(part.cache_control)
    return wire
