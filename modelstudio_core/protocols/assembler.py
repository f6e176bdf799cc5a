"""Assembles deltas from what either protocol sends: in order, metadata once, nothing of the answer lost.

The rules, with their evidence in recorded traffic of the service and of servers of the same dialect:
- usage may come on every event, twice, or never: the last wins, handed on once, at the end; over the native protocol
  with n > 1 each event counts one choice, so the last of each choice counts;
- the finish may be sent twice: said again only where it differs;
- a tool call's id and name come once, later as "" or null, or again: "" and null are absence;
- a call that is whole and never received an id gets a generated one, since it cannot be answered without;
- a name may come in pieces, or grow, until the arguments begin; only what is new of it is handed on;
- a tool fragment belongs to the call of its `index`; a missing or negative one (Z.ai sends -1) is given by order; a
  known id with no name continues its call, whatever the index; arguments with an unknown id and no name continue the
  call that is there; once a call has arguments, another name without its id is another call;
- a choice that was not asked for is not handed on;
- what the service adds of its own (sources of a search) may be said once, or on every event, and be empty later: what
  is not empty is handed on when it comes and when it changes;
- an answer is whole when every choice that began has a finish reason; else it was cut;
- metadata that cannot be read is left out and logged; the answer stands.
"""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from modelstudio_core.errors import ModelStudioError, ProtocolError, StreamTruncatedError
from modelstudio_core.protocols.codec import index_of, log_unreadable, whole_number, word_of
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

NOTHING: tuple[Any, ...] = (None, "", [])
"""What a content is that says nothing. Anything else is text, or a wrong shape."""


def generated_call_id() -> str:
    """Return an id for a call that the service gave none."""
    return "call_" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(24))


class _Call:
    __slots__ = ("begun", "id", "index", "name", "named_in", "seen")

    def __init__(self, index: int) -> None:
        self.index = index
        self.begun = False  # whether arguments have come, so that its name is whole
        self.named_in: Any = None  # the fragments of the event that named it last
        self.seen = 0  # how much of the arguments that each event repeats was handed on
        self.id: str | None = None
        self.name: str | None = None

    def may_be(self, id: str | None, name: str | None, event: Any, *, pieces: bool) -> bool:
        """Whether a fragment of this name may be of this call: one of another name is only where the id says so, or
        while the name may still come in `pieces`, or grow.
        """
        if not name or self.name in (None, name) or (id is not None and id == self.id):
            return True
        return self.goes_on(event) and (pieces or name.startswith(self.name or ""))

    def goes_on(self, event: Any) -> bool:
        """Whether the name may go on: until there are arguments, and not within one event."""
        return not self.begun and self.named_in is not event

    def named(self, name: str | None, event: Any, *, pieces: bool) -> str | None:
        """What is new of a name."""
        if name:
            self.named_in = event
        known = self.name or ""
        if not name or name == known or (known and self.begun):
            return None
        if name.startswith(known):
            new = name[len(known) :]
        elif pieces:
            new = name
        else:
            return None
        self.name = known + new
        return new


class _Choice:
    __slots__ = ("by_id", "by_index", "calls", "finish", "next_index", "seen")

    def __init__(self) -> None:
        self.calls: list[_Call] = []
        self.by_index: dict[int, _Call] = {}
        self.next_index = 0
        self.by_id: dict[str, _Call] = {}
        self.finish: str | None = None
        self.seen: dict[type, int] = {}  # how much of what each event repeats was handed on, by kind

    def call(
        self, index: int | None, id: str | None, name: str | None, event: Any, *, more: bool, pieces: bool
    ) -> _Call:
        """The call that a fragment of an event belongs to, a new one where it begins one.

        `more`: it has arguments. `pieces`: a name may come in pieces.
        """
        known = self.by_id.get(id) if id else None
        if index is not None and index >= 0:
            call = self.by_index.get(index)
            if call is not None and (not id or call.id in (None, id)) and call.may_be(id, name, event, pieces=pieces):
                return call
            if known is not None and (call is not None or not name):
                return known
        else:
            index = None
            call = self.calls[-1] if self.calls else None
            if known is not None:
                return known
            if call is not None and not (id and call.id):
                another = name and call.name and not call.goes_on(event)
                if not another and call.may_be(id, name, event, pieces=pieces):
                    return call
        if call is not None and more and not name:  # some servers make a new id for each fragment
            return call
        return self._open(index)

    def _open(self, index: int | None) -> _Call:
        if index is None or index in self.by_index:  # an index used again for another call: the next free one
            call = _Call(self.next_index)
            if index is not None:
                self.by_index[index] = call
        else:
            call = _Call(index)
        self.by_index[call.index] = call
        self.next_index = max(self.next_index, call.index + 1)
        self.calls.append(call)
        return call


class DeltaWriter:
    """Collects the deltas of one read, in the order in which they are written.

    Args:
        n: how many choices were asked for.
        read_usage: reads the last usage object, of each choice where they are counted one by one.
        cumulative: each event repeats all that was said so far (text, reasoning, arguments, log probabilities); only
            what is new, by position, is handed on.
    """

    __slots__ = (
        "_choices", "_extras", "_read_usage", "_usages", "answered", "cumulative", "finished", "n", "out", "spoke",
    )  # fmt: skip

    def __init__(self, n: int, read_usage: Callable[..., Usage], *, cumulative: bool = False) -> None:
        self.n = n
        self._read_usage = read_usage
        self.finished = 0  # how many choices have their finish reason
        self.cumulative = cumulative
        self.out: list[Delta] = []
        self._choices: dict[int, _Choice] = {}
        self._extras: dict[str, Any] = {}
        self._usages: dict[int, Mapping[str, Any]] = {}  # the last usage object of each choice
        self.answered = False
        self.spoke = False  # whether anything of an answer was handed on

    def take(self) -> list[Delta]:
        """The deltas written since the last take."""
        out, self.out = self.out, []
        return out

    def response(self, id: Any, request_id: str | None, model: Any, created: Any, fingerprint: Any) -> None:
        """Take who answers. Only the first time counts."""
        if not self.answered:
            self.answered = True
            read = ResponseDelta(word_of(id), request_id, word_of(model), whole_number(created), word_of(fingerprint))
            said = {"id": id, "model": model, "created": created, "system_fingerprint": fingerprint}
            for name, value in said.items():
                if value not in NOTHING and getattr(read, name) is None:
                    log_unreadable(name, value)
            self.out.append(read)

    def begin(self, choice: int) -> bool:
        """A choice has something to say; false where it was not asked for."""
        if choice not in self._choices:
            if choice >= self.n:
                return False
            self._choices[choice] = _Choice()
        return True

    def reasoning(self, choice: int, text: Any) -> None:
        """More of the chain of thought."""
        if type(text) is not str:
            text = _string(text, "reasoning_content")
        if self.cumulative:
            text = self._new(ReasoningDelta, choice, text)
        if text:
            self.spoke = True
            self.out.append(ReasoningDelta(text, choice))

    def text(self, choice: int, text: Any) -> None:
        """Take more of the answer. A list may also hold parts of a refusal, in OpenAI's form."""
        if type(text) is not str:
            if refused := _refused(text):
                self.refusal(choice, refused)
            text = _string(text, "content")
        if self.cumulative:
            text = self._new(TextDelta, choice, text)
        if text:
            self.spoke = True
            self.out.append(TextDelta(text, choice))

    def refusal(self, choice: int, text: Any) -> None:
        """Take more of the text with which the model declines to answer."""
        text = _string(text, "refusal")
        if self.cumulative:
            text = self._new(RefusalDelta, choice, text)
        if text:
            self.spoke = True
            self.out.append(RefusalDelta(text, choice))

    def _new(self, kind: type[ReasoningDelta | TextDelta | RefusalDelta], choice: int, text: str) -> str:
        """Return what of a text that is repeated from its beginning was not handed on yet."""
        seen = self._choices[choice].seen
        known = seen.get(kind, 0)
        seen[kind] = max(known, len(text))
        return text[known:]

    def tool_calls(self, choice: int, fragments: Any, *, whole: bool = False) -> None:
        """Tool-call fragments as the wire has them; `whole`: each is a call of its own."""
        if not isinstance(fragments, list):
            raise ProtocolError(f"tool_calls is not a list but {fragments!r:.100}")
        state = self._choices[choice]
        for position, fragment in enumerate(fragments):
            if not isinstance(fragment, dict):
                raise ProtocolError(f"a tool call is not an object but {fragment!r:.100}")
            function = fragment.get("function") or {}
            if not isinstance(function, dict):
                raise ProtocolError(f"the function of a tool call is not an object but {function!r:.100}")
            id, name, arguments = word_of(fragment.get("id")), function.get("name"), function.get("arguments")
            name = (_string(name, "name") or None) if name else None
            if type(arguments) is not str:
                if isinstance(arguments, dict):
                    arguments = json.dumps(arguments, ensure_ascii=False)
                arguments = _string(arguments, "arguments")
            if whole:
                call = state._open(position)
            else:
                index = fragment.get("index")
                if index is not None:
                    index = index_of(index, "tool call")
                elif self.cumulative:  # all calls so far, in their order
                    index = position
                call = state.call(index, id, name, fragments, more=bool(arguments), pieces=not self.cumulative)
            new_name = call.named(name, fragments, pieces=not self.cumulative)
            self._fragment(state, call, id, new_name, arguments, choice)

    def _fragment(
        self, state: _Choice, call: _Call, id: str | None, new_name: str | None, arguments: str, choice: int
    ) -> None:
        new_id = id if call.id is None else None
        if new_id:
            call.id = new_id
            state.by_id.setdefault(new_id, call)
        if self.cumulative:
            arguments, call.seen = arguments[call.seen :], max(call.seen, len(arguments))
        if arguments:
            call.begun = True
        if new_id or new_name or arguments:
            self.spoke = True
            self.out.append(ToolCallDelta(call.index, new_id, new_name, arguments, choice))

    def audio(self, choice: int, audio: Any) -> None:
        if not isinstance(audio, Mapping):
            raise ProtocolError(f"audio is not an object but {audio!r:.100}")
        data, transcript = (
            _string(audio.get("data"), "audio.data"),
            _string(audio.get("transcript"), "audio.transcript"),
        )
        if not data.isascii():
            raise ProtocolError(f"audio.data is no base64, which is ASCII, but {data!r:.100}")
        id, expires = word_of(audio.get("id")), whole_number(audio.get("expires_at"))
        if data or transcript or id or expires:
            self.spoke = True
            self.out.append(AudioDelta(data, transcript, id, expires, choice))

    def logprobs(self, choice: int, logprobs: Any) -> None:
        """Take log probabilities of more tokens."""
        content = logprobs.get("content") if isinstance(logprobs, Mapping) else logprobs
        if not isinstance(content, list) or content is logprobs:
            if content is not None:
                log_unreadable("logprobs", content)
            return
        if self.cumulative:
            seen = self._choices[choice].seen
            content, seen[LogprobsDelta] = content[seen.get(LogprobsDelta, 0) :], len(content)
        if read := read_logprobs(content):
            self.out.append(LogprobsDelta(read, choice))

    def extra(self, name: str, value: Any) -> None:
        """Something of the service's own. Within an object, what is empty leaves what was said before as it is."""
        known = self._extras.get(name)
        if isinstance(value, Mapping):
            said = {key: item for key, item in value.items() if item not in (None, "", [], {})}
            value = {**known, **said} if isinstance(known, Mapping) and said else said
        if value and value != known:
            self._extras[name] = value
            self.out.append(ExtraDelta(name, value))

    def finish(self, choice: int, reason: Any) -> None:
        """The choice's finish reason; None, "" and the native protocol's "null" say that it goes on."""
        if not reason or reason == "null":
            return
        state = self._choices[choice]
        if reason != state.finish:
            self.finished += state.finish is None
            state.finish = _string(reason, "finish_reason")
            self.out.append(FinishDelta(state.finish, choice))

    def usage(self, usage: Any, choice: int | None = 0) -> None:
        """Take what was used so far. It may come with every event; the last is read and handed on at the end.

        Args:
            usage: the usage object.
            choice: the choice that it counts, where each has its own. None: not known, so that others count first.
        """
        if not isinstance(usage, dict):
            log_unreadable("usage", usage)
        elif choice is not None:
            self._usages[choice] = usage
        elif not self._usages:
            self._usages[0] = usage

    def flush_usage(self) -> None:
        """Hand on the usage that is known, if any, since nothing more comes."""
        if self._usages:
            self.out.append(UsageDelta(self._read_usage(*self._usages.values())))
            self._usages = {}

    def end(self) -> ModelStudioError | None:
        """Hand on what is known only at the end of the response; return the error where the answer is not whole."""
        whole = bool(self._choices) and all(choice.finish for choice in self._choices.values())
        if whole:
            self._identify_calls()
        self.flush_usage()
        if whole:
            return None
        return StreamTruncatedError(
            "the answer ended before it was finished: no finish reason came. What had arrived is in `partial`; "
            "ask again"
        )

    def _identify_calls(self) -> None:
        """Hand on an id for each call that never received one."""
        for number, choice in self._choices.items():
            for call in choice.calls:
                if call.id is None and (call.name or call.begun):
                    self.out.append(ToolCallDelta(call.index, generated_call_id(), choice=number))


def _string(value: Any, field: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(part, Mapping) for part in value):
        return "".join(_texts(value, field))
    raise ProtocolError(f"{field} is not text but {value!r:.100}")


def _refused(content: Any) -> str:
    """Return the refusals among the parts of a content."""
    parts = content if isinstance(content, list) else ()
    return "".join(_string(part.get("refusal"), "refusal") for part in parts if isinstance(part, Mapping))


def _texts(parts: Iterable[Mapping[str, Any]], field: str) -> Iterable[str]:
    for part in parts:
        text = part.get("text")
        if isinstance(text, str):
            yield text
        elif text is not None:
            raise ProtocolError(f"the text of a part of {field} is not text but {text!r:.100}")
