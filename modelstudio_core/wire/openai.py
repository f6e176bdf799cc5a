"""The OpenAI-compatible protocol of Model Studio: `POST {base}/chat/completions`.

Source of the fields: the vendor's "OpenAI compatible - Chat" reference; of what servers really send: recorded
exchanges of Model Studio (two dialects at once, since early 2026) and of other servers that speak the same dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.accumulate import fold
from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.parameters import POLICY_PARAMETERS
from modelstudio_core.sse import EventDecoder, ServerSentEvent
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    Delta,
    FunctionCall,
    ImagePart,
    Message,
    Part,
    ResponseHead,
    TextPart,
    Usage,
    VideoPart,
    WireCall,
)
from modelstudio_core.wire.codec import read_json, shown, write_json
from modelstudio_core.wire.failures import error_of_object, error_of_response, request_id_of, says_error
from modelstudio_core.wire.writer import DeltaWriter

_OURS = frozenset({"model", "messages", "stream"})  # extra_body may add to a request, not replace what it is
_REASONING_FIELDS = ("reasoning_content", "reasoning")  # vLLM and others renamed it


class OpenAICodec:
    """The compatible codec; see `modelstudio_core.wire.codec.Codec`."""

    path = "/chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """The HTTP request. Sends what the caller set, and `stream_options.include_usage` where it streams."""
        body: dict[str, Any] = {"model": request.model, "messages": [_message(m) for m in request.messages]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= request.parameters
        for name in POLICY_PARAMETERS:
            value = getattr(request, name)
            if value is not None and value != ():
                body[name] = value
        if taken := _OURS & request.extra_body.keys():
            raise ConfigurationError(f"extra_body may not set {', '.join(sorted(taken))}: use the argument")
        body |= request.extra_body
        return WireCall(self.path, _headers(request, stream), write_json(body))

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """A whole response as deltas."""
        value = _object(body)
        if says_error(value):
            raise error_of_object(value, None, head)
        writer = DeltaWriter(request.n or 1)
        failure: ModelStudioError | None = None
        try:
            _read(writer, value, head, "message")
        except ProtocolError as error:
            failure = error
        failure = failure or writer.end()
        deltas = writer.take()
        if failure is not None:
            failure.partial = fold(deltas)
            raise failure
        return deltas

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> OpenAIStreamDecoder:
        """A decoder for one streamed response."""
        writer = DeltaWriter(request.n or 1, cumulative=request.cumulative_stream)
        return OpenAIStreamDecoder(writer, head, max_event_bytes)

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """The typed error for a response whose status is not 2xx."""
        return error_of_response(head, body)


class OpenAIStreamDecoder:
    """Reads a stream of `chat.completion.chunk`s; see `modelstudio_core.wire.codec.StreamDecoder`."""

    __slots__ = ("_events", "_head", "_writer", "ended", "failure")

    def __init__(self, writer: DeltaWriter, head: ResponseHead, max_event_bytes: int) -> None:
        self.failure: ModelStudioError | None = None
        self.ended = False
        self._writer = writer
        self._head = head
        self._events = EventDecoder(max_event_bytes)

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes."""
        for event in self._events.feed(data):
            if self.failure is not None or self.ended:
                break
            self._event(event)
        if self._events.overflowed and self.failure is None and not self.ended:
            limit = self._events.max_event_bytes
            self.failure = ProtocolError(f"the service sent an event of more than {limit} bytes (max_event_bytes)")
        return self._writer.take()

    def finish(self) -> list[Delta]:
        """The last deltas, at the end of the body."""
        if self.failure is None and not self.ended and (event := self._events.flush()):
            self._event(event)
            if isinstance(self.failure, ProtocolError):  # the body ended inside the event
                self.failure = None
        if self.failure is None and not self.ended:
            self._end()
        return self._writer.take()

    def _event(self, event: ServerSentEvent) -> None:
        if event.data.strip().startswith(b"[DONE]"):
            self._end()
            return
        if not event.data or event.data.isspace():  # a heartbeat
            return
        try:
            chunk = _object(event.data)
            if event.name == "error" or says_error(chunk):
                raise error_of_object(chunk, event.status, self._head)
            _read(self._writer, chunk, self._head, "delta")
        except ModelStudioError as failure:
            self.failure = failure

    def _end(self) -> None:
        self.ended = True
        self.failure = self._writer.end()


# ---------------------------------------------------------------- reading


def _object(data: bytes) -> dict[str, Any]:
    value = read_json(data)
    if not isinstance(value, dict):
        raise ProtocolError(f"the service sent no JSON object: {shown(data)}")
    return value


def _read(writer: DeltaWriter, value: Mapping[str, Any], head: ResponseHead, field: str) -> None:
    """One chunk (`field` "delta") or one whole answer ("message")."""
    choices = value.get("choices")
    usage = value.get("usage")
    if choices is None and usage is None:
        raise ProtocolError(f"the service sent an object with neither choices nor usage nor error: {value!r:.200}")
    if not writer.answered:
        writer.response(
            value.get("id"),
            request_id_of(head, value),
            value.get("model"),
            value.get("created"),
            value.get("system_fingerprint"),
        )
    if not isinstance(choices, list | None):
        raise ProtocolError(f"choices is not a list but {choices!r:.100}")
    for position, choice in enumerate(choices or ()):
        _read_choice(writer, choice, field, position)
    if usage:  # whatever the choices are: it mostly comes on a chunk that has none
        writer.usage(read_usage(usage))


def _read_choice(writer: DeltaWriter, choice: Any, field: str, position: int) -> None:
    if not isinstance(choice, dict):
        raise ProtocolError(f"a choice is not an object but {choice!r:.100}")
    index = choice.get("index")
    other = "delta" if field == "message" else "message"  # some servers end a stream with the whole message
    said = choice.get(field, choice.get(other)) or {}
    if not isinstance(index, int | None) or not isinstance(said, dict):
        raise ProtocolError(f"a choice without index or {field}: {choice!r:.100}")
    if index is None or index < 0:  # given by order
        index = position
    if not writer.begin(index):
        return
    for name in _REASONING_FIELDS:
        if reasoning := said.get(name):
            writer.reasoning(index, reasoning)
            break
    if content := said.get("content"):
        writer.text(index, content)
    if calls := said.get("tool_calls"):
        writer.tool_calls(index, calls, whole="message" in choice)
    if audio := said.get("audio"):
        writer.audio(index, audio)
    if logprobs := choice.get("logprobs"):
        writer.logprobs(index, logprobs)
    writer.finish(index, choice.get("finish_reason"))


def read_usage(usage: Any) -> Usage:
    """The counts of a compatible `usage` object. Every detail is optional, and None where it is missing."""
    if not isinstance(usage, Mapping):
        raise ProtocolError(f"usage is not an object but {usage!r:.100}")
    given, taken = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
    input_tokens, output_tokens = _count(usage, "prompt_tokens") or 0, _count(usage, "completion_tokens") or 0
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=_count(usage, "total_tokens") or input_tokens + output_tokens,
        reasoning_tokens=_count(taken, "reasoning_tokens"),
        cached_tokens=_count(given, "cached_tokens"),
        cache_creation_tokens=_count(given, "cache_creation_input_tokens"),
        input_text_tokens=_count(given, "text_tokens"),
        input_image_tokens=_count(given, "image_tokens"),
        input_video_tokens=_count(given, "video_tokens"),
        input_audio_tokens=_count(given, "audio_tokens"),
        output_text_tokens=_count(taken, "text_tokens"),
        output_audio_tokens=_count(taken, "audio_tokens"),
    )


def _count(holder: Mapping[str, Any], name: str) -> int | None:
    value = holder.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise ProtocolError(f"usage.{name} is no number of tokens but {value!r:.100}")


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, Mapping) else {}


# ---------------------------------------------------------------- writing


def _headers(request: ChatRequest, stream: bool) -> dict[str, str]:
    headers = {"content-type": "application/json", "accept": "text/event-stream" if stream else "application/json"}
    parts = (part for message in request.messages if not isinstance(message.content, str) for part in message.content)
    if any(map(_uses_oss, parts)):
        headers["x-dashscope-ossresourceresolve"] = "enable"
    return headers


def _uses_oss(part: Part) -> bool:
    match part:
        case ImagePart(url=url) | AudioPart(url=url):
            return url.startswith("oss://")
        case VideoPart(source=source):
            return any(url.startswith("oss://") for url in ((source,) if isinstance(source, str) else source))
    return False


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    wire: dict[str, Any] = {"role": message.role}
    wire["content"] = content if isinstance(content, str) else [_part(part) for part in content]
    if message.name is not None and message.role != "tool":
        wire["name"] = message.name
    if message.reasoning_content:
        wire["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        wire["tool_calls"] = [_call(position, call) for position, call in enumerate(message.tool_calls)]
    if message.role == "tool":
        if not message.tool_call_id:
            raise ConfigurationError("a tool message needs the tool_call_id of the call that it answers")
        wire["tool_call_id"] = message.tool_call_id
    if message.partial:
        wire["partial"] = True
    return wire


def _call(position: int, call: FunctionCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id or "", "type": "function", "index": position, "function": function}


def _part(part: Part) -> dict[str, Any]:
    """A content part; hints such as min_pixels and fps stand beside `type`, not inside it (vendor's chat reference)."""
    match part:
        case TextPart():
            wire: dict[str, Any] = {"type": "text", "text": part.text}
        case ImagePart():
            image = {"url": part.url} | ({"detail": part.detail} if part.detail else {})
            wire = {"type": "image_url", "image_url": image} | _hints(part, "min_pixels", "max_pixels")
        case VideoPart():
            if isinstance(part.source, str):
                wire = {"type": "video_url", "video_url": {"url": part.source}}
            else:
                wire = {"type": "video", "video": list(part.source)}
            wire |= _hints(part, "fps", "min_pixels", "max_pixels", "total_pixels", "max_frames")
        case AudioPart():
            audio = {"data": part.url} | ({"format": part.format} if part.format else {})
            wire = {"type": "input_audio", "input_audio": audio}
    if part.cache_control is not None:
        wire["cache_control"] = dict(part.cache_control)
    return wire


def _hints(part: Part, *names: str) -> dict[str, Any]:
    return {name: getattr(part, name) for name in names if getattr(part, name) is not None}
