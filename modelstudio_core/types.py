"""The values that cross the core's borders: frozen, free of any framework, and never changed once made.

An adapter turns its framework's messages into a `ChatRequest` and turns `Delta`s, or the `ChatResult` folded from
them, back. A codec turns a `ChatRequest` into bytes and bytes into `Delta`s. Nothing else passes between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from typing_extensions import dataclass_transform

from modelstudio_core.catalogue import NativeEndpoint

if TYPE_CHECKING:
    from modelstudio_core.headers import SecretHeaders
    from modelstudio_core.http.timeouts import Timeouts

Role = Literal["system", "user", "assistant", "tool"]
ReasoningReplay = Literal["auto", "always", "never"]
JsonObject = dict[str, Any]
T = TypeVar("T")

# ---------------------------------------------------------------- what goes in


@dataclass(frozen=True, slots=True)
class TextPart:
    """Text. `cache_control` ({"type": "ephemeral"}) marks the end of a prefix for the explicit context cache.

    `replaces_block`: the text stands in a tool message for a block that cannot be sent.
    """

    text: str
    cache_control: Mapping[str, Any] | None = None
    replaces_block: bool = False


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image by https URL, `oss://` URL or data URI; pixel bounds as the vendor's `min_pixels` / `max_pixels`."""

    url: str
    detail: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    cache_control: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class VideoPart:
    """A video: one URL or data URI, or a tuple of frame images; `fps` is frames a second."""

    source: str | tuple[str, ...]
    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None
    max_frames: int | None = None
    cache_control: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class AudioPart:
    """Audio by URL or data URI (the service refuses bare base64); `format` such as "wav" or "mp3"."""

    url: str
    format: str | None = None
    cache_control: Mapping[str, Any] | None = None


Part: TypeAlias = TextPart | ImagePart | VideoPart | AudioPart


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call the assistant made in an earlier turn; `arguments` as the model wrote them, valid JSON or not."""

    id: str | None
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation.

    `reasoning_content` is what the assistant thought; whether it goes on the wire is decided in `thinking`.
    `partial` asks the service to continue this, the last, assistant message (partial mode).
    """

    role: Role
    content: str | tuple[Part, ...]
    name: str | None = None
    tool_calls: tuple[FunctionCall, ...] = ()
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How one call is sent: headers beside those of the model object, and other time limits, if any.

    `response_headers`: hand the headers of the response on, as the `ExtraDelta` "headers".
    """

    headers: SecretHeaders | None = None
    timeout: Timeouts | None = None
    response_headers: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything one call asks for. None, or an empty collection, means: not sent.

    `parameters` holds the documented parameters that no policy looks at, under their wire names; `extra_body` what
    the caller wants sent besides. `streaming` is the caller's explicit wish; None leaves it to the policy.
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
    cumulative_stream: bool = False  # set by the policy: each event of the stream repeats the whole text so far
    native_endpoint: NativeEndpoint | None = None  # of the native protocol; None: the model's, by the catalogue
    options: CallOptions = CallOptions()


# ---------------------------------------------------------------- what comes out, piece by piece


@dataclass_transform(frozen_default=True)
def _delta(cls: type[T]) -> type[T]:
    """A frozen slots dataclass to the type checker. At run time nothing freezes it: there is one an event, and to make
    a frozen one costs three times as much, a twentieth of all that an event costs the core."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@_delta
class ReasoningDelta:
    """More of the chain of thought. Never empty."""

    text: str
    choice: int = 0


@_delta
class TextDelta:
    """More of the answer. Never empty."""

    text: str
    choice: int = 0


@_delta
class RefusalDelta:
    """More of the text with which the model declines to answer. Never empty."""

    text: str
    choice: int = 0


@_delta
class ToolCallDelta:
    """More of the tool call `index`.

    `id` comes once, with the first fragment that has it; for a call that the service gave none, a generated one comes
    at the end of the answer. `name` comes once, or in pieces. None and "" add nothing.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    choice: int = 0


@dataclass(slots=True, frozen=True)
class AudioDelta:
    """More of the spoken answer (Omni models): base64 `data` and its `transcript`, each in pieces."""

    data: str = ""
    transcript: str = ""
    id: str | None = None
    expires_at: int | None = None
    choice: int = 0


@dataclass(slots=True, frozen=True)
class LogprobsDelta:
    """Log probabilities of the answer's next tokens, as the service gives them; items that cannot be read are omitted.

    Each has `token` (text) and `logprob` (a number), and may have `bytes` and `top_logprobs` (alternatives).
    """

    content: tuple[Mapping[str, Any], ...]
    choice: int = 0


@dataclass(slots=True, frozen=True)
class FinishDelta:
    """Why the choice ended: "stop", "length" or "tool_calls". Said again only if the service corrects itself."""

    reason: str
    choice: int = 0


@dataclass(slots=True, frozen=True)
class Usage:
    """Tokens, as the service counted them; None where it gave no count, or none that can be read.

    Details are parts of the totals. `raw` is the service's own object, unchanged, in the protocol's own names; it does
    not count in comparisons.
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


@dataclass(slots=True, frozen=True)
class UsageDelta:
    """The usage of the whole response. Comes at most once, at its end."""

    usage: Usage


@dataclass(slots=True, frozen=True)
class ResponseDelta:
    """Who answered, handed on once, first: the response's id, the request id (for support), the model."""

    id: str | None = None
    request_id: str | None = None
    model: str | None = None
    created: int | None = None
    system_fingerprint: str | None = None


@dataclass(slots=True, frozen=True)
class ExtraDelta:
    """What only this service has, as it gives it: never empty; again only where it changed, and then the last counts.

    `name` is "search_info" (`search_results`: the sources of a web search), "tool_info" (what the code interpreter
    ran), "plugins" (what was searched, for the bill), "ocr_result", "image_hw", "deep_research" or, if the caller asked
    for them, "headers" (of the response).
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

# ---------------------------------------------------------------- what comes out, whole


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model made, whole and valid: `arguments` its JSON text, `args` the object it says.

    `index` is its place among all calls of the answer, valid or not.
    """

    id: str | None
    name: str
    arguments: str
    args: JsonObject
    index: int = 0


@dataclass(frozen=True, slots=True)
class InvalidToolCall:
    """A call that must not run: cut off, not JSON, not an object, or without a name. `error` says which."""

    id: str | None
    name: str | None
    arguments: str
    error: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Audio:
    """A spoken answer: base64 `data` and its `transcript`."""

    data: str
    transcript: str
    id: str | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer. `finish_reason` is None only in the partial result that an error carries.

    `refusal` is the text with which the model declined to answer, "" if it did not.
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


@dataclass(frozen=True, slots=True)
class ChatResult:
    """A whole response, or what had arrived of it. `usage` is None when the service sent none.

    `extras` are what only this service has, by the names of `ExtraDelta`.
    """

    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    response: ResponseDelta = ResponseDelta()
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the first choice; "" where there is none."""
        return self.choices[0].text if self.choices else ""


# ---------------------------------------------------------------- what the transport carries


@dataclass(frozen=True, slots=True)
class WireCall:
    """One HTTP request, but for the key: `path` follows the base URL, `body` is JSON in UTF-8."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers (names in lower case) of an HTTP response."""

    status: int
    headers: Mapping[str, str]
