"""Simulate a service with a given answer, whole or streamed as requested, in the protocol of the request.

The compatible protocol is implemented here, the native one in `tests.native`. The format is that of recorded traffic:
the first delta of a stream has empty texts, a call's ID and name are sent once and then empty or not at all, missing
text is null, and usage is on the last chunk with `choices: []`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.loopback import Exchange, Loopback, reply_json, sse
from tests.native import answer_natively, as_compatible, is_native
from tests.responses import answer_responses, speaks_responses
from tests.responses import as_compatible as responses_as_compatible

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 10,
    "total_tokens": 30,
    "completion_tokens_details": {"reasoning_tokens": 6, "text_tokens": 4},
    "prompt_tokens_details": {"cached_tokens": 8, "cache_creation_input_tokens": 4, "text_tokens": 20},
}
ID, REQUEST_ID, CREATED = "chatcmpl-6c0ffee1", "6c0ffee1-0000-9000-8000-000000000001", 1770000000


@dataclass(frozen=True)
class Call:
    """A tool call. `pieces` are the fragments of its arguments on the wire."""

    id: str
    name: str
    pieces: Sequence[str] = ("{}",)

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True)
class Answer:
    """An answer of the service. A script for `Loopback`, streamed or whole as requested.

    `reasoning`, `text` and `logprobs` (one per text) are lists of the fragments in a stream. `others` are further
    choices, for n > 1. `failure` ends a stream with an error event, whose `status` exists in the native protocol only;
    `cut` ends it without an event. `extras` exist only in the native protocol (`search_info`), and `items` only in the
    Responses protocol: the tools that the service ran.
    """

    reasoning: Sequence[str] = ()
    text: Sequence[str] = ()
    calls: Sequence[Call] = ()
    finish: str | None = None
    usage: Mapping[str, Any] | None = None
    model: str = "qwen-plus"
    logprobs: Sequence[Mapping[str, Any]] = ()
    audio: Sequence[Mapping[str, Any]] = ()
    others: Sequence[str] = ()
    failure: Mapping[str, Any] | None = None
    status: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)
    cut: bool = False
    items: Sequence[Mapping[str, Any]] = ()

    @property
    def finish_reason(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")

    def __call__(self, exchange: Exchange) -> None:
        if is_native(exchange.request):
            answer_natively(self, exchange, REQUEST_ID)
            return
        if speaks_responses(exchange.request):
            answer_responses(self, exchange, REQUEST_ID)
            return
        headers = {"x-request-id": REQUEST_ID}
        if exchange.request.json().get("stream"):
            sse(*self.events(), done=not (self.failure or self.cut), headers=headers)(exchange)
        else:
            reply_json(200, self.whole(), headers)(exchange)

    def events(self) -> list[dict[str, Any]]:
        """Return the events of a stream."""
        first = {"content": None if self.reasoning else "", "role": "assistant"}
        deltas: list[dict[str, Any]] = [first | ({"reasoning_content": ""} if self.reasoning else {})]
        deltas += [{"content": None, "reasoning_content": text} for text in self.reasoning]
        deltas += [{"content": text, "reasoning_content": None} for text in self.text]
        deltas += [{"content": "", "audio": dict(piece)} for piece in self.audio]
        for index, made in enumerate(self.calls):
            deltas.append(_fragment(index, id=made.id, function={"name": made.name, "arguments": ""}))
            for number, piece in enumerate(made.pieces):
                again = made.id if number == 0 else ""  # the second fragment repeats the id, with an empty name
                function = {"name": "", "arguments": piece} if number == 0 else {"arguments": piece}
                deltas.append(_fragment(index, id=again, function=function))
            deltas.append(_fragment(index, id="", function={"name": None, "arguments": None}))
        events = [self._event(delta) for delta in deltas]
        if self.logprobs:
            at = 1 + len(self.reasoning)
            for event, item in zip(events[at:], self.logprobs, strict=False):
                event["choices"][0]["logprobs"] = {"content": [dict(item)]}
        if self.failure is not None:
            return [*events, dict(self.failure)]
        if self.cut:
            return events
        events.append(self._event({"content": "", "reasoning_content": None}, self.finish_reason))
        if self.usage is not None:
            events.append({**self._event({}), "choices": [], "usage": dict(self.usage)})
        return events

    def whole(self) -> dict[str, Any]:
        """Return the whole response."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text)}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = [
                _call(index, made.id, {"name": made.name, "arguments": made.arguments})
                for index, made in enumerate(self.calls)
            ]
        if self.audio:
            message["audio"] = {name: value for piece in self.audio for name, value in piece.items()}
        choice: dict[str, Any] = {"message": message, "finish_reason": self.finish_reason, "index": 0, "logprobs": None}
        if self.logprobs:
            choice["logprobs"] = {"content": [dict(item) for item in self.logprobs]}
        choices = [choice] + [
            {"message": {"role": "assistant", "content": text}, "finish_reason": "stop", "index": index + 1}
            for index, text in enumerate(self.others)
        ]
        usage = {} if self.usage is None else {"usage": dict(self.usage)}
        return {**self._top("chat.completion"), "choices": choices, **usage}

    def _top(self, kind: str) -> dict[str, Any]:
        return {"object": kind, "created": CREATED, "system_fingerprint": None, "model": self.model, "id": ID}

    def _event(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"delta": dict(delta), "index": 0, "logprobs": None, "finish_reason": finish}
        return {"choices": [choice], "usage": None, **self._top("chat.completion.chunk")}


def _call(index: int, id: str, function: Mapping[str, Any]) -> dict[str, Any]:
    return {"index": index, "id": id, "type": "function", "function": dict(function)}


def _fragment(index: int, *, id: str, function: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": None, "tool_calls": [_call(index, id, function)]}


def sent(server: Loopback, at: int = -1) -> dict[str, Any]:
    """Return the body of a request, by default the last one. Native requests are converted to the compatible format."""
    request = server.requests[at]
    body: dict[str, Any] = request.json()
    if speaks_responses(request):
        return responses_as_compatible(request)
    return as_compatible(request) if is_native(request) else body
