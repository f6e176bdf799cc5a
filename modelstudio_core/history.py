"""Make a conversation sendable: leave out, or describe in words, what the service refuses in a history.

The service answers 400 to a call that its turn does not answer, to a tool message without its call and to a turn
without content (vendor's Function calling and error-code pages), and again on every later turn, since a history keeps
what was in it. Messages are never changed in place.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from modelstudio_core.catalogue import ModelInfo, NativeEndpoint
from modelstudio_core.protocols.accumulate import parse_arguments
from modelstudio_core.protocols.codec import encodable
from modelstudio_core.types import AudioPart, FunctionCall, ImagePart, Message, Part, TextPart, VideoPart

INVALID_ARGUMENTS = "invalid_arguments"
"""The one field of the object that carries replayed arguments which are not a JSON object."""
_MAX_NAME = 200  # characters of a file's name or address in a text


@dataclass(frozen=True, slots=True)
class History:
    """What to send. `left_out` names dropped calls and results, `replaced` the blocks that became text."""

    messages: tuple[Message, ...]
    left_out: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


def sendable(messages: Sequence[Message], model: ModelInfo, *, text_only: bool = False) -> History:
    """Return the conversation as the service takes it.

    Left out are empty system and assistant messages, each call that no tool message answers before anything else
    follows, and each tool message that does not answer such a call: it came too late or twice, or its call was trimmed.
    The arguments of calls become the text of a JSON object, and media in tool messages a text where the model takes
    none. Half of a surrogate pair in either becomes U+FFFD. Messages that need no change are the same objects.

    Args:
        messages: the conversation, oldest first.
        model: what the model takes.
        text_only: whether the endpoint takes text alone; see `is_text_only`.
    """
    kept: list[Message] = []
    left_out: list[str] = []
    replaced: list[str] = []
    all_have_ids = all(call.id for message in messages for call in message.tool_calls)
    only_results = all(message.role == "tool" for message in messages)
    for turn, results in _turns(message for message in messages if not _is_empty(message)):
        calls, answers, unanswered = _paired(turn.tool_calls if turn else (), results, f"call_{len(kept)}")
        left_out += [f"the call of {call.name} ({call.id}), which no tool message answers" for call in unanswered]
        if turn is not None and calls != turn.tool_calls:
            turn = replace(turn, tool_calls=calls)
        if turn is not None and not _is_empty(turn):
            kept.append(turn)
        for place, result in enumerate(results):
            # one without an id, where all calls have theirs, stays: its encoding raises an error that says so
            without_id = not result.tool_call_id and all_have_ids
            if place in answers or without_id or only_results:
                kept.append(_described(answers.get(place, result), model, text_only, replaced))
            else:
                left_out.append(f"a result of {result.tool_call_id}, which is no open call of the turn before it")
    return History(tuple(kept), tuple(left_out), tuple(replaced))


def has_content(content: str | tuple[Part, ...]) -> bool:
    """Return whether a message's content is more than empty text."""
    if isinstance(content, str):
        return bool(content)
    return any(not isinstance(part, TextPart) or part.text for part in content)


def is_text_only(protocol: str, endpoint: NativeEndpoint | None) -> bool:
    """Return whether requests go to the native endpoint for text, which is also the default one."""
    return protocol == "dashscope" and endpoint != "multimodal-generation"


def takes_in_results(model: ModelInfo, part: type[Part], *, text_only: bool) -> bool:
    """Return whether a tool message may hold such a part; a model that is not listed is taken to accept it.

    The vendor's pages describe a tool's result as text, but its own Qwen Code (0.15) and Qwen-Agent (0.0.34) send media
    in tool messages to the models that accept them.
    """
    accepted = {ImagePart: model.input_image, VideoPart: model.input_video, AudioPart: model.input_audio}
    return part is TextPart or (not text_only and accepted[part] is not False)


def replacement(
    kind: str, address: str = "", *, mime_type: str | None = None, size: int | None = None, name: str | None = None
) -> TextPart:
    """Return the text that stands in a tool message for a block that cannot be sent.

    Args:
        kind: the type of the block, such as "file".
        address: its data URI, which gives the MIME type and the size, or its URL, which is the name where it has no
            other. The query of a URL, which may hold a credential, is left out.
        mime_type: its MIME type, if known.
        size: its size in bytes, if known.
        name: its file name or title, if known.
    """
    if address.startswith("data:"):
        head, _, data = address.removeprefix("data:").partition(",")
        mime_type, size = mime_type or head.partition(";")[0], base64_size(data)
    else:
        name = name or address.partition("?")[0]
    facts = (mime_type, None if size is None else f"{size} bytes", (name or "")[:_MAX_NAME])
    details = ", ".join(fact for fact in facts if fact)
    known = f" ({details})" if details else ""
    return TextPart(f"[{kind} left out: it cannot be sent to the model{known}]", replaces_block=True)


def base64_size(data: str) -> int:
    """Return the number of bytes that base64 text stands for."""
    return len(data.rstrip("=")) * 3 // 4


# ---------------------------------------------------------------- turns


def _is_empty(message: Message) -> bool:
    """Return whether a message says nothing, so that the service would refuse it. A user's is never left out."""
    if message.role not in ("system", "assistant") or message.tool_calls or message.partial:
        return False
    return not has_content(message.content)


def _turns(messages: Iterator[Message]) -> Iterator[tuple[Message | None, list[Message]]]:
    """Yield each message with the tool messages that follow it; None where the conversation begins with some."""
    turn: Message | None = None
    results: list[Message] = []
    for message in messages:
        if message.role == "tool":
            results.append(message)
        else:
            yield turn, results
            turn, results = message, []
    yield turn, results


def _paired(
    made: Sequence[FunctionCall], results: Sequence[Message], made_up: str
) -> tuple[tuple[FunctionCall, ...], dict[int, Message], list[FunctionCall]]:
    """Return the calls of a turn that are answered, their answers by their place in `results`, and the other calls.

    Of two answers to one call the last counts. Calls and answers without an id belong together by their order, and get
    an id that begins with `made_up`.
    """
    if not made:
        return (), {}, []
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, result in enumerate(results):
        places[result.tool_call_id or ""].append(place)
    for id, count in Counter(call.id or "" for call in made).items():
        places[id] = places[id][-count:]
    calls: list[FunctionCall] = []
    answers: dict[int, Message] = {}
    unanswered: list[FunctionCall] = []
    for number, call in enumerate(made):
        if waiting := places[call.id or ""]:
            place = waiting.pop(0)
            answer = results[place]
            if not call.id:
                call = replace(call, id=f"{made_up}_{number}")
                answer = replace(answer, tool_call_id=call.id)
            calls.append(_replayed(call))
            answers[place] = answer
        else:
            unanswered.append(call)
    return tuple(calls), answers, unanswered


def _replayed(call: FunctionCall) -> FunctionCall:
    """Return a call as the service takes it: the model sees arguments that are not a JSON object as text in one."""
    arguments = encodable(call.arguments) if call.arguments.strip() else "{}"
    if isinstance(parse_arguments(arguments, "stop"), str):
        arguments = json.dumps({INVALID_ARGUMENTS: arguments}, ensure_ascii=False)
    return call if arguments == call.arguments else replace(call, arguments=arguments)


# ---------------------------------------------------------------- media in the results of tools


def _described(result: Message, model: ModelInfo, text_only: bool, replaced: list[str]) -> Message:
    """Return a tool message with text for what cannot be sent, and add each such text to `replaced`."""
    if isinstance(result.content, str):
        text = encodable(result.content)
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
        text = encodable(part.text)
        return part if text == part.text else replace(part, text=text)
    return part if takes_in_results(model, type(part), text_only=text_only) else _description(part)


def _description(part: Part) -> TextPart:
    kind = type(part).__name__.removesuffix("Part").lower()
    address = part.source if isinstance(part, VideoPart) else getattr(part, "url", "")
    text = replacement(kind, address if isinstance(address, str) else "")  # and not the frames of a video
    return replace(text, cache_control=part.cache_control)
