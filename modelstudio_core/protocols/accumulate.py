"""Fold deltas into a result, in time linear in their number, for streams and whole responses alike.

Tool arguments are parsed only here, once, at the end, and strictly: arguments that are not a JSON object make an
invalid call with the original text. Truncated JSON is never repaired, as that could change the call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn

from modelstudio_core.types import (
    Audio,
    AudioDelta,
    ChatResult,
    Choice,
    Delta,
    ExtraDelta,
    FinishDelta,
    InvalidToolCall,
    JsonObject,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    ResponseDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
)


def fold(deltas: Iterable[Delta]) -> ChatResult:
    """Return the result of folding `deltas`. A choice without a finish reason has None."""
    accumulator = Accumulator()
    accumulator.extend(deltas)
    return accumulator.result()


def parse_arguments(arguments: str, finish_reason: str | None) -> JsonObject | str:
    """Parse the arguments of a finished call. Return the object, or a string that says why they are invalid.

    Empty arguments are {}, unless the answer is truncated (`finish_reason` "length" or None).
    """
    if not arguments.strip():
        truncated = finish_reason is None or finish_reason == "length"
        return "the answer is truncated before the arguments" if truncated else {}
    try:
        value = json.loads(arguments, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        truncated = finish_reason is None or finish_reason == "length"
        return f"the answer is truncated inside the arguments: {error}" if truncated else f"not JSON: {error}"
    return value if isinstance(value, dict) else f"not a JSON object but {type(value).__name__}"


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Accumulator:
    """Accumulate deltas one at a time. `result` can be called at any time."""

    __slots__ = ("_choices", "_extras", "_response", "_usage")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._response = ResponseDelta()
        self._extras: dict[str, Any] = {}

    def extend(self, deltas: Iterable[Delta]) -> None:
        """Add deltas."""
        choices = self._choices
        for delta in deltas:
            if type(delta) is TextDelta and delta.choice in choices:  # the most frequent case
                choices[delta.choice].text.append(delta.text)
            else:
                self.add(delta)

    def add(self, delta: Delta) -> None:
        """Add one delta."""
        if isinstance(delta, UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, ResponseDelta):
            self._response = delta
        elif isinstance(delta, ExtraDelta):
            self._extras[delta.name] = delta.value
        else:
            choice = self._choices.get(delta.choice)
            if choice is None:
                choice = self._choices[delta.choice] = _Choice()
            choice.add(delta)

    def result(self) -> ChatResult:
        """Return the result so far, with choices sorted by index."""
        choices = tuple(choice.result(index) for index, choice in sorted(self._choices.items()))
        return ChatResult(choices, self._usage, self._response, dict(self._extras))


class _Call:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id: str | None = None
        self.name: str | None = None
        self.arguments: list[str] = []


class _Choice:
    __slots__ = ("audio", "calls", "finish", "logprobs", "reasoning", "refusal", "text")

    def __init__(self) -> None:
        self.reasoning: list[str] = []
        self.text: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.logprobs: list[Any] = []
        self.audio: list[AudioDelta] = []
        self.finish: str | None = None

    def add(
        self,
        delta: ReasoningDelta | TextDelta | RefusalDelta | ToolCallDelta | AudioDelta | LogprobsDelta | FinishDelta,
    ) -> None:
        if isinstance(delta, ToolCallDelta):
            call = self.calls.get(delta.index)
            if call is None:
                call = self.calls[delta.index] = _Call()
            call.id = delta.id or call.id
            if delta.name:  # may be split over several fragments
                call.name = (call.name or "") + delta.name
            call.arguments.append(delta.arguments)
        elif isinstance(delta, TextDelta):
            self.text.append(delta.text)
        elif isinstance(delta, ReasoningDelta):
            self.reasoning.append(delta.text)
        elif isinstance(delta, FinishDelta):
            self.finish = delta.reason
        elif isinstance(delta, AudioDelta):
            self.audio.append(delta)
        elif isinstance(delta, RefusalDelta):
            self.refusal.append(delta.text)
        else:
            self.logprobs.extend(delta.content)

    def result(self, index: int) -> Choice:
        calls: list[ToolCall] = []
        invalid: list[InvalidToolCall] = []
        for position, call in sorted(self.calls.items()):
            arguments = "".join(call.arguments)
            args = parse_arguments(arguments, self.finish) if call.name else "the call has no name"
            if isinstance(args, str):
                invalid.append(InvalidToolCall(call.id, call.name, arguments, args, position))
            elif call.name:
                calls.append(ToolCall(call.id, call.name, arguments, args, position))
        return Choice(
            index=index,
            reasoning="".join(self.reasoning),
            text="".join(self.text),
            tool_calls=tuple(calls),
            invalid_tool_calls=tuple(invalid),
            finish_reason=self.finish,
            logprobs=tuple(self.logprobs),
            audio=_audio(self.audio),
            refusal="".join(self.refusal),
        )


def _audio(pieces: list[AudioDelta]) -> Audio | None:
    if not pieces:
        return None
    return Audio(
        data="".join(piece.data for piece in pieces),
        transcript="".join(piece.transcript for piece in pieces),
        id=next((piece.id for piece in pieces if piece.id), None),
        expires_at=next((piece.expires_at for piece in pieces if piece.expires_at), None),
    )
