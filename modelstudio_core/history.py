"""Adapt a conversation to the rules of the service: omit or replace what it rejects in a history.

The service returns 400 for a tool call without a result, a tool message without its call and a message without content
(vendor's Function calling and error-code pages), so every later request with that history fails too. Messages are never
changed in place.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelstudio_core.catalogue import ModelInfo, NativeEndpoint
from modelstudio_core.protocols.accumulate import parse_arguments
from modelstudio_core.protocols.codec import without_surrogates
from modelstudio_core.types import AudioPart, FunctionCall, ImagePart, LocalFile, Message, Part, TextPart, VideoPart
from modelstudio_core.values import value_class

INVALID_ARGUMENTS = "invalid_arguments"
"""Key of the object that wraps replayed arguments that are not a JSON object."""
_MAX_NAME = 200  # maximum length of a file name or URL in a replacement text


@value_class
class History:
    """The messages to send. `omitted` describes dropped calls and results, `replaced` blocks replaced by text."""

    messages: tuple[Message, ...]
    omitted: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def prepare_history(
    messages: Sequence[Message], model: ModelInfo, *, text_only: bool = False, continues: bool = False
) -> History:
    """Return the conversation in a form that the service accepts.

    - Empty system and assistant messages are dropped.
    - Tool calls without a result directly after them are dropped.
    - Tool messages without such a call (late, duplicate, or with a trimmed call) are dropped.
    - Tool arguments that are not a JSON object are wrapped in one.
    - Media in tool messages are replaced by text if the model does not accept them.
    - Lone surrogates in tool arguments and tool results become U+FFFD.

    Messages without such a change are returned as is.

    Args:
        messages: the conversation, oldest first.
        model: capabilities of the model.
        text_only: whether the endpoint accepts only text; see `is_text_only`.
        continues: whether the service has the turns before these messages, and with them the calls.
    """
    kept: list[Message] = []
    omitted: list[str] = []
    replaced: list[str] = []
    all_have_ids = all(call.id for message in messages for call in message.tool_calls)
    # if there are only tool messages, they are kept: dropping them would leave nothing to send
    only_results = all(message.role == "tool" for message in messages)
    for turn, results in _turns(message for message in messages if not _is_empty(message)):
        calls, matched, unmatched = _match_calls(turn.tool_calls if turn else (), results, f"call_{len(kept)}")
        omitted += [f"the call of {call.name} ({call.id}), which has no result" for call in unmatched]
        if turn is not None and calls != turn.tool_calls:
            # the service has the turn with all its calls, so it must not be continued from there
            id = turn.response_id if len(calls) == len(turn.tool_calls) else None
            turn = replace(turn, tool_calls=calls, response_id=id)
        if turn is not None and not _is_empty(turn):
            kept.append(turn)
        for index, result in enumerate(results):
            # a result without an id is kept if all calls have ids, so that encoding raises a clear error
            without_id = not result.tool_call_id and all_have_ids
            if index in matched or without_id or only_results or (turn is None and continues):
                kept.append(_with_replacements(matched.get(index, result), model, text_only, replaced))
            else:
                omitted.append(f"the result for {result.tool_call_id}, which matches no pending tool call")
    return History(tuple(kept), tuple(omitted), tuple(replaced))


def has_content(content: str | tuple[Part, ...]) -> bool:
    """Return True if a message's content is more than empty text."""
    if isinstance(content, str):
        return bool(content)
    return any(not isinstance(part, TextPart) or part.text for part in content)


def is_text_only(protocol: str, endpoint: NativeEndpoint | None) -> bool:
    """Return True if a tool's result can only be text.

    This is so at the native text endpoint, which is the default one, and with the Responses protocol.
    """
    return protocol == "responses" or (protocol == "dashscope" and endpoint != "multimodal-generation")


def accepts_in_results(model: ModelInfo, part: type[Part], *, text_only: bool) -> bool:
    """Return True if a tool message can have such a part. Unlisted models are assumed to accept it.

    The vendor's pages describe a tool's result as text, but its own Qwen Code (0.15) and Qwen-Agent (0.0.34) send media
    in tool messages to the models that accept them.
    """
    accepted = {ImagePart: model.input_image, VideoPart: model.input_video, AudioPart: model.input_audio}
    return part is TextPart or (not text_only and accepted[part] is not False)


def replacement(
    kind: str, media: str = "", *, mime_type: str | None = None, size: int | None = None, name: str | None = None
) -> TextPart:
    """Return the text that replaces a block that cannot be sent in a tool message.

    Args:
        kind: the type of the block, such as "file".
        media: its data URI or URL. A data URI provides the MIME type and the size. A URL provides the name if `name`
            is not given. The query of a URL, which may contain a credential, is omitted.
        mime_type: its MIME type, if known.
        size: its size in bytes, if known.
        name: its file name or title, if known.
    """
    if media.startswith("data:"):
        head, _, data = media.removeprefix("data:").partition(",")
        mime_type, size = mime_type or head.partition(";")[0], base64_size(data)
    else:
        name = name or media.partition("?")[0]
    details = (mime_type, None if size is None else f"{size} bytes", (name or "")[:_MAX_NAME])
    described = ", ".join(detail for detail in details if detail)
    known = f" ({described})" if described else ""
    return TextPart(f"[{kind} left out: it cannot be sent to the model{known}]", replaces_block=True)


def base64_size(data: str) -> int:
    """Return the number of bytes encoded by a base64 text."""
    return len(data.rstrip("=")) * 3 // 4


# ---------------------------------------------------------------- turns


def _is_empty(message: Message) -> bool:
    """Return True for a system or assistant message without content, which the service rejects."""
    if message.role not in ("system", "assistant") or message.tool_calls or message.partial:
        return False
    return not has_content(message.content)


def _turns(messages: Iterator[Message]) -> Iterator[tuple[Message | None, list[Message]]]:
    """Yield each message with the tool messages after it. The message is None for tool messages at the start."""
    turn: Message | None = None
    results: list[Message] = []
    for message in messages:
        if message.role == "tool":
            results.append(message)
        else:
            yield turn, results
            turn, results = message, []
    yield turn, results


def _match_calls(
    calls: Sequence[FunctionCall], results: Sequence[Message], id_prefix: str
) -> tuple[tuple[FunctionCall, ...], dict[int, Message], list[FunctionCall]]:
    """Return the calls of a turn that have a result, their results by index in `results`, and the other calls.

    The last of several results of a call is used. Calls and results without an id are matched by order, and get an id
    that begins with `id_prefix`.
    """
    if not calls:
        return (), {}, []
    positions: defaultdict[str, list[int]] = defaultdict(list)
    for position, result in enumerate(results):
        positions[result.tool_call_id or ""].append(position)
    for id, count in Counter(call.id or "" for call in calls).items():
        positions[id] = positions[id][-count:]
    matched: list[FunctionCall] = []
    results_by_index: dict[int, Message] = {}
    unmatched: list[FunctionCall] = []
    for number, call in enumerate(calls):
        if pending := positions[call.id or ""]:
            position = pending.pop(0)
            result = results[position]
            if not call.id:
                call = replace(call, id=f"{id_prefix}_{number}")
                result = replace(result, tool_call_id=call.id)
            matched.append(_with_valid_arguments(call))
            results_by_index[position] = result
        else:
            unmatched.append(call)
    return tuple(matched), results_by_index, unmatched


def _with_valid_arguments(call: FunctionCall) -> FunctionCall:
    """Return a call with valid arguments: text that is not a JSON object is wrapped in one."""
    arguments = without_surrogates(call.arguments) if call.arguments.strip() else "{}"
    if isinstance(parse_arguments(arguments, "stop"), str):
        arguments = json.dumps({INVALID_ARGUMENTS: arguments}, ensure_ascii=False)
    return call if arguments == call.arguments else replace(call, arguments=arguments)


# ---------------------------------------------------------------- media in tool results


def _with_replacements(result: Message, model: ModelInfo, text_only: bool, replaced: list[str]) -> Message:
    """Return a tool message with parts that are not accepted replaced by text, and add each text to `replaced`."""
    if isinstance(result.content, str):
        text = without_surrogates(result.content)
        return result if text == result.content else replace(result, content=text)
    parts = tuple(_sendable_part(part, model, text_only) for part in result.content)
    replaced += [
        f"in the result of {result.tool_call_id}: {part.text}"
        for part in parts
        if isinstance(part, TextPart) and part.replaces_block
    ]
    return result if parts == result.content else replace(result, content=parts)


def _sendable_part(part: Part, model: ModelInfo, text_only: bool) -> Part:
    if isinstance(part, TextPart):
        text = without_surrogates(part.text)
        return part if text == part.text else replace(part, text=text)
    return part if accepts_in_results(model, type(part), text_only=text_only) else _media_replacement(part)


def _media_replacement(part: Part) -> TextPart:
    kind = type(part).__name__.removesuffix("Part").lower()
    media = part.source if isinstance(part, VideoPart) else getattr(part, "url", "")
    if isinstance(media, LocalFile):
        text = replacement(kind, mime_type=media.mime_type, name=media.name)
        return replace(text, cache_control=part.cache_control)
    text = replacement(kind, media if isinstance(media, str) else "")  # video frames have no single URL
    return replace(text, cache_control=part.cache_control)
