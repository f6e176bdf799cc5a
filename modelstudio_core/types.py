"""Define the immutable values exchanged between adapters, codecs and the transport. No framework types.

An adapter converts its framework's messages into a `ChatRequest`, and `Delta`s or a `ChatResult` into its framework's
outputs. A codec encodes a `ChatRequest` as bytes and decodes bytes into `Delta`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

from pydantic import SecretStr

from modelstudio_core.catalogue import NativeEndpoint
from modelstudio_core.values import value_class

if TYPE_CHECKING:
    from modelstudio_core.headers import SecretHeaders
    from modelstudio_core.http.timeouts import Timeouts

UploadMode = Literal["auto", "always", "never"]
Role = Literal["system", "user", "assistant", "tool"]
ReasoningReplay = Literal["auto", "always", "never"]
JsonObject = dict[str, Any]

# ---------------------------------------------------------------- requests


@value_class
class TextPart:
    """Text. `cache_control` ({"type": "ephemeral"}) marks the end of a prefix for the explicit context cache.

    `replaces_block`: in a tool message, the text replaces a block that cannot be sent.
    """

    text: str
    cache_control: Mapping[str, Any] | None = None
    replaces_block: bool = False


@value_class
class LocalFile:
    """A media file of this machine: its path, or its bytes.

    It is read when the request is sent, and goes inside the request or is uploaded; see `CallOptions.upload`.
    """

    source: str | bytes = field(repr=False)
    mime_type: str
    name: str


MediaSource: TypeAlias = str | LocalFile
"""An https URL, `oss://` URL or data URI, or a local file, which is replaced by a URL when the request is sent."""


@value_class
class ImagePart:
    """An image as https URL, `oss://` URL, data URI or local file, with the vendor's `min_pixels` and `max_pixels`."""

    url: MediaSource
    detail: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    cache_control: Mapping[str, Any] | None = None


@value_class
class VideoPart:
    """A video: one URL, data URI or local file, or a tuple of frame images. `fps` is in frames per second."""

    source: MediaSource | tuple[MediaSource, ...]
    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None
    max_frames: int | None = None
    cache_control: Mapping[str, Any] | None = None


@value_class
class AudioPart:
    """Audio as URL, data URI or local file (the service rejects bare base64). `format` is such as "wav" or "mp3"."""

    url: MediaSource
    format: str | None = None
    cache_control: Mapping[str, Any] | None = None


Part: TypeAlias = TextPart | ImagePart | VideoPart | AudioPart


@value_class
class FunctionCall:
    """A tool call of an earlier turn. `arguments` is the model's original text, which may be invalid JSON."""

    id: str | None
    name: str
    arguments: str


@value_class
class Message:
    """One turn of the conversation.

    `reasoning_content` is the assistant's reasoning; `modelstudio_core.policies` decides whether it is sent.
    `partial` asks the service to continue this message, which must be the last (partial mode).
    `response_id` is the id of the response that an assistant message was, if the service stores it.
    """

    role: Role
    content: str | tuple[Part, ...]
    name: str | None = None
    tool_calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    partial: bool = False
    response_id: str | None = None


@value_class
class CallOptions:
    """Transport options of one call: additional headers and timeouts that override the model object's.

    `response_headers`: return the response headers as the `ExtraDelta` "headers". `upload`: which local media are
    uploaded: those that are too large for the request ("auto"), all, or none.
    """

    headers: SecretHeaders | None = None
    timeout: Timeouts | None = None
    response_headers: bool = False
    upload: UploadMode = "auto"


@value_class
class ChatRequest:
    """A chat request. Parameters that are None or empty are not sent.

    `parameters` holds documented parameters that no policy reads, by wire name. `extra_body` holds the caller's
    additional parameters. `streaming` sets whether the response is streamed; None leaves it to the policy.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = None
    enable_thinking: bool | None = None
    thinking_budget: int | None = None
    preserve_thinking: bool | None = None
    reasoning_effort: str | None = None
    n: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    streaming: bool | None = None
    reasoning_replay: ReasoningReplay = "auto"
    cumulative_stream: bool = False  # set by the policy: events repeat the text so far
    native_endpoint: NativeEndpoint | None = None  # None: from the catalogue
    options: CallOptions = CallOptions()


# ---------------------------------------------------------------- deltas


@value_class
class ReasoningDelta:
    """Reasoning text. Never empty."""

    text: str
    choice: int = 0


@value_class
class TextDelta:
    """Answer text. Never empty."""

    text: str
    choice: int = 0


@value_class
class RefusalDelta:
    """Refusal text. Never empty."""

    text: str
    choice: int = 0


@value_class
class ToolCallDelta:
    """Fragment of the tool call at `index`.

    `id` is set once; for a call that the service sent without one, a generated id follows at the end of the answer.
    `name` may be split over fragments. None and "" add nothing.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0


@value_class
class AudioDelta:
    """Fragment of audio output (Omni models): base64 `data` and its `transcript`."""

    data: str = ""
    transcript: str = ""
    id: str | None = None
    expires_at: int | None = None
    choice: int = 0


@value_class
class LogprobsDelta:
    """Log probabilities of the answer's next tokens, in the service's format. Unreadable items are omitted.

    Each has `token` (text) and `logprob` (a number), and may have `bytes` and `top_logprobs` (alternatives).
    """

    content: tuple[Mapping[str, Any], ...]
    choice: int = 0


@value_class
class FinishDelta:
    """Finish reason of a choice: "stop", "length" or "tool_calls". Repeated only if the service changes it."""

    reason: str
    choice: int = 0


@value_class
class Usage:
    """Token counts reported by the service; None if missing or unreadable.

    Details are parts of the totals. `raw` is the unchanged usage object in the names of the protocol, and is ignored in
    comparisons.
    """

    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None
    input_text_tokens: int | None = None
    input_image_tokens: int | None = None
    input_video_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@value_class
class UsageDelta:
    """Usage of the whole response. Emitted at most once, at the end."""

    usage: Usage


@value_class
class ResponseDelta:
    """Response metadata, emitted once, first: response id, request id (for support requests) and model."""

    id: str | None = None
    request_id: str | None = None
    model: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None


@value_class
class ExtraDelta:
    """Service-specific data, unchanged and never empty. Emitted again if it changes; the last value applies.

    `name` is "search_info" (`search_results`: the sources of a web search), "tool_info" (code interpreter runs),
    "plugins" (billed searches), "ocr_result", "image_hw", "deep_research" or, if requested, response "headers". With
    the Responses protocol also "server_tools" (each built-in tool that ran: id, name, args, status "in_progress",
    "success" or "error", and then output), "response_id" (of a stored response) and "other_items" (unknown ones).
    """

    name: str
    value: Any


Delta: TypeAlias = (
    ReasoningDelta
    | TextDelta
    | RefusalDelta
    | ToolCallDelta
    | AudioDelta
    | LogprobsDelta
    | FinishDelta
    | UsageDelta
    | ResponseDelta
    | ExtraDelta
)

# ---------------------------------------------------------------- results


@value_class
class ToolCall:
    """A complete, valid tool call: `arguments` is the JSON text, `args` the parsed object.

    `index` is its position among all calls of the answer, valid or not.
    """

    id: str | None
    name: str
    arguments: str
    args: JsonObject
    index: int = 0


@value_class
class InvalidToolCall:
    """A tool call that must not run: truncated, not a JSON object, or without a name. `error` is the reason."""

    id: str | None
    name: str | None
    arguments: str
    error: str
    index: int = 0


@value_class
class Audio:
    """Audio output: base64 `data` and its `transcript`."""

    data: str
    transcript: str
    id: str | None = None
    expires_at: int | None = None


@value_class
class Choice:
    """One completion. `finish_reason` is None only in the partial result of an error.

    `refusal` is the model's refusal text, or "".
    """

    index: int = 0
    reasoning: str = ""
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()
    finish_reason: str | None = None
    logprobs: tuple[Mapping[str, Any], ...] = ()
    audio: Audio | None = None
    refusal: str = ""


@value_class
class ChatResult:
    """A whole or partial response. `usage` is None if the service sent none.

    `extras` holds service-specific data by the names of `ExtraDelta`.
    """

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    response: ResponseDelta = ResponseDelta()
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the text of the first choice, or "" if there is none."""
        return self.choices[0].text if self.choices else ""


# ---------------------------------------------------------------- transport


@value_class
class Form:
    """A multipart form: `fields`, then the file, which comes last and is read from its start at each attempt.

    A field that is a SecretStr is redacted wherever the server repeats it.
    """

    fields: Mapping[str, str | SecretStr]
    file: BinaryIO = field(repr=False)
    filename: str
    content_type: str


@value_class
class WireCall:
    """One HTTP request without the key. `path` is relative to the base URL, `body` is JSON in UTF-8 or a form.

    `to_service`: the key and the caller's default headers are sent too; False for another host, such as the store of
    temporary uploads.
    `secrets` are credentials in the body, which are redacted in errors.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes | Form = b""
    method: Literal["GET", "POST", "DELETE"] = "POST"
    to_service: bool = True
    secrets: tuple[SecretStr, ...] = field(default=(), repr=False)


@value_class
class ResponseHead:
    """Status and headers (with lower-case names) of an HTTP response."""

    status: int
    headers: Mapping[str, str]
