"""Build the parts of requests that several protocols share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.parameters import POLICY_PARAMETERS, RESPONSES_PARAMETERS
from modelstudio_core.tools import inline_response_format, inline_tool
from modelstudio_core.types import (
    AudioPart,
    ChatRequest,
    FunctionCall,
    ImagePart,
    MediaSource,
    Message,
    Part,
    TextPart,
    VideoPart,
)

_NAMELESS = "unknown"  # the service requires a name, even for replayed calls that had none


def request_headers(request: ChatRequest, stream: bool) -> dict[str, str]:
    """Return the request headers. `oss://` URLs need a header to be resolved (vendor's temporary upload page)."""
    headers = {"content-type": "application/json", "accept": "text/event-stream" if stream else "application/json"}
    parts = (part for message in request.messages if not isinstance(message.content, str) for part in message.content)
    if any(map(_uses_oss, parts)):
        headers["x-dashscope-ossresourceresolve"] = "enable"
    return headers


def _uses_oss(part: Part) -> bool:
    match part:
        case ImagePart(url=url) | AudioPart(url=url):
            return url_of(url).startswith("oss://")
        case VideoPart(source=source):
            return any(url_of(url).startswith("oss://") for url in (source if isinstance(source, tuple) else (source,)))
    return False


def url_of(media: MediaSource) -> str:
    """Return the URL of an image, video or audio.

    Raises ConfigurationError for a local file, because files are replaced by URLs before a request is encoded.
    """
    if isinstance(media, str):
        return media
    raise ConfigurationError(
        f"the local file {media.name!r} was not read: only chats and batch jobs read files. Pass its URL or base64"
    )


def policy_parameters(request: ChatRequest) -> dict[str, Any]:
    """Return the policy parameters that are set, with `$ref`s in their schemas inlined."""
    reject_parameters(request.parameters, RESPONSES_PARAMETERS, "responses")
    values = {name: getattr(request, name) for name in POLICY_PARAMETERS}
    found = {name: value for name, value in values.items() if value is not None and value != ()}
    if request.tools:
        found["tools"] = [inline_tool(tool) for tool in request.tools]
    if request.response_format is not None:
        found["response_format"] = inline_response_format(request.response_format)
    return found


def joined_text(message: Message) -> str | tuple[Part, ...]:
    """Return the content of a message as one string if it is only text, else its parts (media or `cache_control`).

    Text parts are concatenated; those of a tool message are separated by newlines.
    """
    if isinstance(message.content, str):
        return message.content
    texts = [part.text for part in message.content if isinstance(part, TextPart) and part.cache_control is None]
    if len(texts) < len(message.content):
        return message.content
    return ("\n" if message.role == "tool" else "").join(texts)


def wire_message(message: Message, content: Any) -> dict[str, Any]:
    """Return a message on the wire with the given content.

    The other fields are the same in the OpenAI-compatible and the native protocol.
    """
    wire: dict[str, Any] = {"role": message.role, "content": content}
    if message.name is not None and message.role != "tool":
        wire["name"] = message.name
    if message.reasoning_content:
        wire["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        wire["tool_calls"] = [_call(position, call) for position, call in enumerate(message.tool_calls)]
    if message.role == "tool":
        if not message.tool_call_id:
            raise ConfigurationError("a tool message requires a tool_call_id")
        wire["tool_call_id"] = message.tool_call_id
    if message.partial:
        wire["partial"] = True
    return wire


def _call(position: int, call: FunctionCall) -> dict[str, Any]:
    function = {"name": call.name or _NAMELESS, "arguments": call.arguments}
    return {"id": call.id or "", "type": "function", "index": position, "function": function}


def set_fields(part: Part, *names: str) -> dict[str, Any]:
    """Return the hints in `names` that are set on a part (vendor's chat reference)."""
    return {name: getattr(part, name) for name in names if getattr(part, name) is not None}


def merge_extra_body(body: dict[str, Any], extra: Mapping[str, Any], taken: Mapping[str, str]) -> dict[str, Any]:
    """Return `body` merged with the caller's extra_body.

    Raises:
        ConfigurationError: if `extra` contains a name in `taken`, whose value says what to use instead.
    """
    if replaced := sorted(taken.keys() & extra.keys()):
        advice = ", ".join(dict.fromkeys(taken[name] for name in replaced))
        raise ConfigurationError(f"extra_body must not set {', '.join(replaced)}: {advice}")
    return body | dict(extra)


def reject_parameters(given: Mapping[str, Any], names: frozenset[str], protocol: str, *, within: str = "") -> None:
    """Raise ConfigurationError for a parameter in `names` that only `protocol` supports."""
    if foreign := sorted(name for name in names & given.keys() if given[name] is not None):
        what = ", ".join(f"{within}{name}" for name in foreign)
        raise ConfigurationError(
            f"{what}: only protocol={protocol!r} is known to support this. To send it anyway, use extra_body"
        )
