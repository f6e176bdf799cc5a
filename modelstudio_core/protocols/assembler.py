"""Assemble deltas from the events of any protocol. Deltas keep their order, and no requested content is dropped.

The rules follow recorded traffic of the service and of compatible servers:
- usage may be sent on every event, twice, or never. The last one is emitted once, at the end. In the native protocol
  with n > 1, the usage of each event covers one choice, so the last one of each choice is used;
- a repeated finish reason is emitted again only if it differs;
- the id and name of a tool call may be sent once, repeated, or be "" or null later. Empty values are ignored;
- a complete call without an id gets a generated one, because its result must refer to an id;
- a name may be split over fragments, or grow, until the arguments begin. Only new text is emitted;
- a tool fragment belongs to the call that `_ChoiceState.call` finds by index, id and name;
- choices beyond n, which were not requested, are dropped;
- service-specific data (such as search sources) may be sent once or on every event, and be empty later. Non-empty
  values are emitted when first received and when they change;
- an answer is complete when every choice that began has a finish reason, and truncated otherwise;
- unreadable metadata is omitted and logged.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any

from modelstudio_core.errors import ModelStudioError, ProtocolError, StreamTruncatedError
from modelstudio_core.protocols.codec import as_integer, as_string, log_unreadable, read_index, read_refusal, read_text
from modelstudio_core.protocols.logprobs import read_logprobs
from modelstudio_core.types import (
    AudioDelta,
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

EMPTY: tuple[Any, ...] = (None, "", [])
"""Empty content values. Any other value is text or invalid."""


def generated_call_id() -> str:
    """Return a random id for a call that the service sent without one."""
    return "call_" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))


class _CallState:
    __slots__ = ("emitted_length", "has_arguments", "id", "index", "name", "name_event", "name_may_be_split")

    def __init__(self, index: int, *, name_may_be_split: bool) -> None:
        self.index = index
        self.name_may_be_split = name_may_be_split  # over fragments
        self.has_arguments = False  # arguments have been received, so the name is complete
        self.name_event: Any = None  # the last event with a name (its list of fragments, compared by identity)
        self.emitted_length = 0  # length of the arguments emitted, if events are cumulative
        self.id: str | None = None
        self.name: str | None = None

    def accepts(self, id: str | None, name: str | None, event: Any) -> bool:
        """Return True if a fragment may belong to this call: its id is the same, or its name fits.

        A name fits if it is empty, equal, the first one, or a continuation.
        """
        if not name or self.name in (None, name) or (id is not None and id == self.id):
            return True
        return self.name_may_grow(event) and (self.name_may_be_split or name.startswith(self.name or ""))

    def name_may_grow(self, event: Any) -> bool:
        """Return True until arguments arrive, except within the event that last sent a name.

        Two fragments with names in one event are two calls, not parts of one name.
        """
        return not self.has_arguments and self.name_event is not event

    def extend_name(self, name: str | None, event: Any) -> str | None:
        """Extend the name; return the added text or None."""
        if name:
            self.name_event = event
        known = self.name or ""
        if not name or name == known or (known and self.has_arguments):
            return None
        if name.startswith(known):
            new = name[len(known) :]
        elif self.name_may_be_split:
            new = name
        else:
            return None
        self.name = known + new
        return new


class _ChoiceState:
    __slots__ = ("by_id", "by_index", "calls", "emitted_lengths", "finish", "name_may_be_split", "next_index")

    def __init__(self, *, name_may_be_split: bool) -> None:
        self.name_may_be_split = name_may_be_split
        self.calls: list[_CallState] = []
        self.by_index: dict[int, _CallState] = {}
        self.next_index = 0
        self.by_id: dict[str, _CallState] = {}
        self.finish: str | None = None
        self.emitted_lengths: dict[type, int] = {}  # length emitted per kind, if events are cumulative

    def call(
        self, index: int | None, id: str | None, name: str | None, event: Any, *, has_arguments: bool
    ) -> _CallState:
        """Return the call that a fragment belongs to, which may be a new one.

        With an index, this is the first that exists of:
        1. the call at the index, if neither its id nor its name contradicts the fragment's;
        2. the call with the fragment's id, if 1 failed for the call at the index, or the fragment has no name;
        3. the call at the index, if the fragment has arguments and no name;
        4. a new call at the index.

        With no index or a negative one (Z.ai sends -1):
        1. the call with the fragment's id;
        2. the last call, unless both have an id, or the name is that of another call;
        then 3 and 4, for the last call and the next free index.
        """
        known = self.by_id.get(id) if id else None
        if index is not None and index >= 0:
            call = self.by_index.get(index)
            if call is not None and (not id or call.id in (None, id)) and call.accepts(id, name, event):
                return call  # 1
            if known is not None and (call is not None or not name):
                return known  # 2
        else:
            index = None
            call = self.calls[-1] if self.calls else None
            if known is not None:
                return known  # 1
            if call is not None and not (id and call.id):
                another = name and call.name and not call.name_may_grow(event)
                if not another and call.accepts(id, name, event):
                    return call  # 2
        if call is not None and has_arguments and not name:  # 3: some servers generate an id per fragment
            return call
        return self._open(index)  # 4

    def _open(self, index: int | None) -> _CallState:
        """Create a call at `index`, or at the next free index if it is None or used."""
        if index is None or index in self.by_index:  # an index reused for another call
            call = _CallState(self.next_index, name_may_be_split=self.name_may_be_split)
            if index is not None:
                self.by_index[index] = call
        else:
            call = _CallState(index, name_may_be_split=self.name_may_be_split)
        self.by_index[call.index] = call
        self.next_index = max(self.next_index, call.index + 1)
        self.calls.append(call)
        return call


class DeltaWriter:
    """Build the deltas of one response. `pop_deltas` returns those added since the last call.

    Args:
        n: number of choices requested.
        read_usage: parses the last usage object, or the last one of each choice.
        cumulative: each event repeats the text, reasoning, arguments and log probabilities so far. Only the part beyond
            the known length is emitted.
    """

    __slots__ = (
        "_extras", "_read_usage", "_usages",
        "choices", "cumulative", "deltas", "finished", "has_output", "has_response", "n",
    )  # fmt: skip

    def __init__(self, n: int, read_usage: Callable[..., Usage], *, cumulative: bool = False) -> None:
        self.n = n
        self._read_usage = read_usage
        self.finished = 0  # number of choices with a finish reason
        self.cumulative = cumulative
        self.deltas: list[Delta] = []
        self.choices: dict[int, _ChoiceState] = {}
        self._extras: dict[str, Any] = {}
        self._usages: dict[int, Mapping[str, Any]] = {}  # the last usage object of each choice
        self.has_response = False
        self.has_output = False  # whether any content has been emitted

    def pop_deltas(self) -> list[Delta]:
        """Return the deltas written since the last call, and clear them."""
        deltas, self.deltas = self.deltas, []
        return deltas

    def response(self, id: Any, request_id: str | None, model: Any, created: Any, fingerprint: Any) -> None:
        """Add the response metadata. Later calls are ignored."""
        if not self.has_response:
            self.has_response = True
            read = ResponseDelta(
                as_string(id), request_id, as_string(model), as_integer(created), as_string(fingerprint)
            )
            given = {"id": id, "model": model, "created": created, "system_fingerprint": fingerprint}
            for name, value in given.items():
                if value not in EMPTY and getattr(read, name) is None:
                    log_unreadable(name, value)
            self.deltas.append(read)

    def begin(self, choice: int) -> bool:
        """Register a choice. Return False if its index is beyond n."""
        if choice not in self.choices:
            if choice >= self.n:
                return False
            self.choices[choice] = _ChoiceState(name_may_be_split=not self.cumulative)
        return True

    def reasoning(self, choice: int, text: Any) -> None:
        """Add reasoning text."""
        if type(text) is not str:
            text = read_text(text, "reasoning_content")
        if self.cumulative:
            text = self._unseen(ReasoningDelta, choice, text)
        if text:
            self.has_output = True
            self.deltas.append(ReasoningDelta(text, choice))

    def text(self, choice: int, text: Any) -> None:
        """Add answer text. A list may also hold parts of a refusal, in OpenAI's form."""
        if type(text) is not str:
            if refused := read_refusal(text):
                self.refusal(choice, refused)
            text = read_text(text, "content")
        if self.cumulative:
            text = self._unseen(TextDelta, choice, text)
        if text:
            self.has_output = True
            self.deltas.append(TextDelta(text, choice))

    def refusal(self, choice: int, text: Any) -> None:
        """Add refusal text."""
        text = read_text(text, "refusal")
        if self.cumulative:
            text = self._unseen(RefusalDelta, choice, text)
        if text:
            self.has_output = True
            self.deltas.append(RefusalDelta(text, choice))

    def _unseen(self, kind: type[ReasoningDelta | TextDelta | RefusalDelta], choice: int, text: str) -> str:
        """Return the part of a cumulative text that has not been emitted yet."""
        lengths = self.choices[choice].emitted_lengths
        known = lengths.get(kind, 0)
        lengths[kind] = max(known, len(text))
        return text[known:]

    def tool_calls(self, choice: int, fragments: Any, *, complete: bool = False) -> None:
        """Add tool-call fragments in wire format. `complete`: each fragment is a complete call."""
        if not isinstance(fragments, list):
            raise ProtocolError(f"tool_calls is not a list but {fragments!r:.100}")
        state = self.choices[choice]
        for position, fragment in enumerate(fragments):
            if not isinstance(fragment, dict):
                raise ProtocolError(f"a tool call is not an object but {fragment!r:.100}")
            function = fragment.get("function") or {}
            if not isinstance(function, dict):
                raise ProtocolError(f"the function of a tool call is not an object but {function!r:.100}")
            id, name, arguments = as_string(fragment.get("id")), function.get("name"), function.get("arguments")
            name = (read_text(name, "name") or None) if name else None
            if type(arguments) is not str:
                if isinstance(arguments, dict):
                    arguments = json.dumps(arguments, ensure_ascii=False)
                arguments = read_text(arguments, "arguments")
            index: Any = fragment.get("index")
            is_plain = arguments and not (id or name or complete or self.cumulative) and type(index) is int
            if is_plain and (call := state.by_index.get(index)) is not None:  # more arguments: most fragments
                call.has_arguments = self.has_output = True
                self.deltas.append(ToolCallDelta(call.index, None, None, arguments, choice))
                continue
            if complete:
                call = state._open(position)
            else:
                if index is not None:
                    index = read_index(index, "tool call")
                elif self.cumulative:  # events list all calls so far, in order
                    index = position
                call = state.call(index, id, name, fragments, has_arguments=bool(arguments))
            new_name = call.extend_name(name, fragments)
            self._add_fragment(state, call, id, new_name, arguments, choice)

    def _add_fragment(
        self, state: _ChoiceState, call: _CallState, id: str | None, new_name: str | None, arguments: str, choice: int
    ) -> None:
        new_id = id if call.id is None else None
        if new_id:
            call.id = new_id
            state.by_id.setdefault(new_id, call)
        if self.cumulative:
            arguments, call.emitted_length = arguments[call.emitted_length :], max(call.emitted_length, len(arguments))
        if arguments:
            call.has_arguments = True
        if new_id or new_name or arguments:
            self.has_output = True
            self.deltas.append(ToolCallDelta(call.index, new_id, new_name, arguments, choice))

    def audio(self, choice: int, audio: Any) -> None:
        """Add audio data and transcript."""
        if not isinstance(audio, Mapping):
            raise ProtocolError(f"audio is not an object but {audio!r:.100}")
        data = read_text(audio.get("data"), "audio.data")
        transcript = read_text(audio.get("transcript"), "audio.transcript")
        if not data.isascii():
            raise ProtocolError(f"audio.data is not base64 but {data!r:.100}")
        id, expires = as_string(audio.get("id")), as_integer(audio.get("expires_at"))
        if data or transcript or id or expires:
            self.has_output = True
            self.deltas.append(AudioDelta(data, transcript, id, expires, choice))

    def logprobs(self, choice: int, logprobs: Any) -> None:
        """Add log probabilities of tokens."""
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else logprobs
        if not isinstance(content, list) or content is logprobs:
            if content is not None:
                log_unreadable("logprobs", content)
            return
        if self.cumulative:
            lengths = self.choices[choice].emitted_lengths
            content, lengths[LogprobsDelta] = content[lengths.get(LogprobsDelta, 0) :], len(content)
        if read := read_logprobs(content):
            self.deltas.append(LogprobsDelta(read, choice))

    def extra(self, name: str, value: Any) -> None:
        """Add service-specific data. In an object, an empty value does not overwrite an earlier one."""
        known = self._extras.get(name)
        if isinstance(value, Mapping):
            new = {key: item for key, item in value.items() if item not in (None, "", [], {})}
            value = {**known, **new} if isinstance(known, Mapping) and new else new
        if value and value != known:
            self._extras[name] = value
            self.deltas.append(ExtraDelta(name, value))

    def finish(self, choice: int, reason: Any) -> None:
        """Set the finish reason of a choice. None, "" and the native protocol's "null" are ignored."""
        if not reason or reason == "null":
            return
        state = self.choices[choice]
        if reason != state.finish:
            self.finished += state.finish is None
            state.finish = read_text(reason, "finish_reason")
            self.deltas.append(FinishDelta(state.finish, choice))

    def usage(self, usage: Any, choice: int | None = 0) -> None:
        """Store a usage object. Only the last one (per choice) is parsed and emitted, at the end.

        Args:
            usage: the usage object.
            choice: the choice that it belongs to, if choices are counted separately. None means unknown; a usage object
                of a known choice takes precedence.
        """
        if not isinstance(usage, dict):
            log_unreadable("usage", usage)
        elif choice is not None:
            self._usages[choice] = usage
        elif not self._usages:
            self._usages[0] = usage

    def flush_usage(self) -> None:
        """Emit the usage, combined over the choices, if any."""
        if self._usages:
            self.deltas.append(UsageDelta(self._read_usage(*self._usages.values())))
            self._usages = {}

    def end(self) -> ModelStudioError | None:
        """Emit generated ids and usage at the end of the response. Return an error if the answer is truncated."""
        complete = bool(self.choices) and all(choice.finish for choice in self.choices.values())
        if complete:
            self._emit_missing_ids()
        self.flush_usage()
        if complete:
            return None
        return StreamTruncatedError(
            "the answer is truncated: the response ended without a finish reason. The error's `partial` attribute has "
            "the content received; send the request again"
        )

    def _emit_missing_ids(self) -> None:
        """Emit a generated id for each call without one."""
        for number, choice in self.choices.items():
            for call in choice.calls:
                if call.id is None and (call.name or call.has_arguments):
                    self.deltas.append(ToolCallDelta(call.index, generated_call_id(), choice=number))
