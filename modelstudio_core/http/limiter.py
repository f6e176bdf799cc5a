"""Limit requests and tokens per minute over all calls of the process that have the same host, key and model.

A token bucket that holds one request: calls are sent evenly, in the order in which they came, because the service
limits each second too (its limit per minute / 60) and refuses bursts. A call may go as soon as the calls before it are
paid for, at its own object's rates; its own cost delays those behind it. So a call that is larger than the budget of a
minute waits for its turn and no longer.

A waiting call sleeps and looks again (`Place.wait`), by whatever its driver sleeps with. So there are no wake-ups
between threads and event loops, and a call that never looks again holds up no other.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias, TypeGuard
from urllib.parse import urlsplit

from modelstudio_core.config import Config
from modelstudio_core.errors import ModelStudioError, RateLimitError
from modelstudio_core.http.retry import FIRST_DELAY
from modelstudio_core.tokens import estimate_tokens
from modelstudio_core.types import ChatRequest, Delta, TextPart, UsageDelta

LONGEST_PAUSE = 60.0  # seconds that a Retry-After counts, the period of the service's limits
_LONGEST_SLEEP = 1.0  # seconds until a waiting call looks again, or 5 ms for each call ahead of it, if more
_LATENESS = 0.5  # seconds that a look may be late without a loss
_LOOK = 0.005  # so there are at most some hundred looks a second
_USUAL_OUTPUT = 500  # tokens of an answer, until one has come
_ANSWERS = 20  # over which the mean of output tokens is taken then

Costs: TypeAlias = tuple[float, float, float]
"""Seconds that a call takes of the requests' line and of the tokens' line, and that others need not look for it."""
_NOTHING: Costs = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Demand:
    """What a call needs of a limit.

    Attributes:
        model: the model id, since the service limits each model for itself.
        input_tokens: the estimated tokens of the input, without media; 0 where no tokens are limited.
        most_output: how many tokens the answer may have at most; None if no limit is set.
    """

    model: str
    input_tokens: int = 0
    most_output: int | None = 0


def chat_demand(config: Config, request: ChatRequest) -> Demand:
    """Return what a chat request needs. Tokens are estimated, which takes some us a message."""
    if config.tokens_per_minute is None:
        return Demand(request.model)
    texts = [json.dumps(request.tools, ensure_ascii=False)] if request.tools else []
    for message in request.messages:
        texts.append(message.reasoning_content or "")
        texts += [call.arguments for call in message.tool_calls]
        content = message.content
        texts += (
            [content] if isinstance(content, str) else [part.text for part in content if isinstance(part, TextPart)]
        )
    return Demand(request.model, _estimated(texts), _most_output(request))


def _most_output(request: ChatRequest) -> int | None:
    whole, answer = (request.parameters.get(name) for name in ("max_completion_tokens", "max_tokens"))
    if not isinstance(whole, int):
        if not isinstance(answer, int):
            return None
        whole = answer + (request.thinking_budget or 0)
    return whole * (request.n or 1)


def retrieval_demand(config: Config, model: str, inputs: Iterable[object]) -> Demand:
    """Return what an embedding or rerank request needs, whose inputs are texts, or objects of texts and media."""
    if config.tokens_per_minute is None:
        return Demand(model)
    texts: list[str] = []
    for value in inputs:
        texts += [value] if isinstance(value, str) else [str(value["text"])] if _has_text(value) else []
    return Demand(model, _estimated(texts))


def _has_text(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping) and "text" in value


def _estimated(texts: Iterable[str]) -> int:
    return sum(map(estimate_tokens, texts))


# ---------------------------------------------------------------- one limit


class Place:
    """The place of one request in the line of its limit."""

    def __init__(self, limit: Limit, demand: Demand, rates: tuple[float, float]) -> None:
        self._limit = limit
        self._demand = demand
        self._rates = rates
        self._reserved = 0.0
        self.before = self.costs = _NOTHING  # `before` is the sum of the costs of those ahead
        self.has_left = False
        self.price(limit.usual_output)

    def price(self, usual_output: float) -> None:
        """Set the costs, with an answer of the usual length, or the longest that there may be."""
        most = self._demand.most_output
        self._reserved = self._demand.input_tokens + (usual_output if most is None else min(most, usual_output))
        self.costs = (self._rates[0], self._rates[1] * self._reserved, _LOOK)

    def wait(self) -> float:
        """Return the seconds to sleep before the next look; 0.0: the request may be sent."""
        return self._limit.look(self)

    def give_back(self) -> None:
        """Leave the line, without sending the request."""
        self._limit.leave(self)

    def settle(self, deltas: Sequence[Delta], failure: ModelStudioError | None = None) -> None:
        """Replace the estimated tokens by those that were used, as far as they are known.

        Where the service is busy, no call of this limit goes for as long as it asks.
        """
        usage = next((delta.usage for delta in reversed(deltas) if isinstance(delta, UsageDelta)), None)
        if usage is not None and usage.total_tokens is not None:
            self._limit.correct(self._rates[1] * (usage.total_tokens - self._reserved), usage.output_tokens)
        elif failure is not None and not deltas:
            self._limit.correct(-self._rates[1] * self._reserved, None)
        if failure is not None and (isinstance(failure, RateLimitError) or failure.retry_after is not None):
            self._limit.pause(FIRST_DELAY if failure.retry_after is None else failure.retry_after)


class Limit:
    """The limit of one host, key and model. Thread-safe.

    It is a timetable: the time of a place is the sum of the costs before it, counted from `_start`. What delays all
    calls (a late one, more tokens than were estimated) moves the start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: OrderedDict[Place, None] = OrderedDict()
        self._again: OrderedDict[Place, None] = OrderedDict()  # requests that are sent again, ahead of the line
        self._start = self._end = _NOTHING  # `_end` is the sum of all costs
        self._paused_until = 0.0
        self._is_stale = False  # costs have changed, or places have left
        self._answers = 0
        self.usual_output: float = _USUAL_OUTPUT
        self._priced_at: float = _USUAL_OUTPUT  # the usual output by which the line is counted

    @property
    def is_idle(self) -> bool:
        """Return True if nothing would be lost with this limit."""
        return (
            not self._line
            and not self._again
            and (max(self._time(self._end), self._paused_until) < monotonic() - LONGEST_PAUSE)
        )

    def enter(self, place: Place, *, again: bool) -> None:
        """Put a place at the end of the line, or at the end of those that are sent again."""
        with self._lock:
            if self._is_stale:
                self._count()
            if not self._line and not self._again:
                self._not_before(monotonic(), self._end)
            if again:
                place.before = _difference(self._first(self._line), place.costs)
                self._start = _sum(self._start, place.costs)
                for other in self._again:
                    other.before = _difference(other.before, place.costs)
                self._again[place] = None
            else:
                place.before = self._end
                self._end = _sum(self._end, place.costs)
                self._line[place] = None

    def look(self, place: Place) -> float:
        """Let `place` go and return 0.0 if its time has come, else the seconds until it should look again.

        Nothing is lost where calls look a little late. Where they look very late, since their event loop is busy, the
        rest is not made up for, which would be a burst.
        """
        with self._lock:
            if self._is_stale:
                self._count()
            now = monotonic()
            time = max(self._time(place.before), now - _LATENESS, self._paused_until)
            if time > now:
                ahead = place.before[2] - self._first(self._again or self._line)[2]
                return min(time - now, max(_LONGEST_SLEEP, ahead))
            line = self._again if place in self._again else self._line
            line.pop(place, None)
            while line and self._time(self._first(line)) < now - LONGEST_PAUSE:
                line.popitem(last=False)  # it has not looked for a minute, so its event loop is blocked or gone
            self._not_before(time, place.before)
            counted = place.costs
            place.price(self.usual_output)
            self._start = _sum(self._start, _difference(place.costs, counted))
            return 0.0

    def leave(self, place: Place) -> None:
        """Remove a place. Those behind it move up."""
        with self._lock:
            place.has_left = self._is_stale = True  # counted at the next look or entry, as many may leave at once

    def correct(self, seconds: float, output_tokens: int | None) -> None:
        """Delay the tokens' line by `seconds`, and count the output of an answer."""
        with self._lock:
            self._start = _sum(self._start, (0.0, seconds, 0.0))
            if output_tokens is not None:
                self._answers = min(self._answers + 1, _ANSWERS)
                self.usual_output += (output_tokens - self.usual_output) / self._answers
                self._is_stale |= abs(self.usual_output - self._priced_at) > 0.1 * self._priced_at

    def pause(self, seconds: float) -> None:
        """Let no call go for so many seconds, a minute at most."""
        with self._lock:
            self._paused_until = max(self._paused_until, monotonic() + min(seconds, LONGEST_PAUSE))

    def _first(self, line: OrderedDict[Place, None]) -> Costs:
        return next(iter(line)).before if line else self._end

    def _time(self, before: Costs) -> float:
        return max(self._start[0] + before[0], self._start[1] + before[1])

    def _not_before(self, time: float, before: Costs) -> None:
        """Delay the lines so that what has these costs before it comes at `time` or later."""
        requests, tokens, looks = self._start
        self._start = (max(requests, time - before[0]), max(tokens, time - before[1]), looks)

    def _count(self) -> None:
        """Price and count all places anew, which takes a us each."""
        end = self._first(self._again or self._line)
        for line in (self._again, self._line):
            for place in list(line):
                if place.has_left:
                    del line[place]
                    continue
                place.price(self.usual_output)
                place.before = end
                end = _sum(end, place.costs)
        self._end = end
        self._priced_at, self._is_stale = self.usual_output, False


def _sum(a: Costs, b: Costs) -> Costs:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _difference(a: Costs, b: Costs) -> Costs:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


# ---------------------------------------------------------------- shared by the process

_lock = threading.Lock()
_limit_by_line: dict[Hashable, Limit] = {}


def place_in_line(config: Config, demand: Demand, *, again: bool) -> Place:
    """Return the place of a request in the line of its host, key and model.

    A function that provides the key counts as one key, since it may return another one for each call.

    Args:
        config: where the request goes, with which key and at which rates.
        demand: what it needs.
        again: whether it has waited before, and is sent again.
    """
    line = (urlsplit(config.base_url).netloc, _key_identity(config.api_key), demand.model)
    requests, tokens = config.requests_per_minute, config.tokens_per_minute
    rates = (60 / requests if requests else 0.0, 60 / tokens if tokens else 0.0)
    with _lock:
        limit = _limit_by_line.get(line)
        if limit is None:
            for known in [known for known, other in _limit_by_line.items() if other.is_idle]:
                del _limit_by_line[known]
            limit = _limit_by_line[line] = Limit()
        place = Place(limit, demand, rates)
        limit.enter(place, again=again)
    return place


def _key_identity(key: object) -> Hashable:
    """Return the key or its function, or the id of a function that cannot be hashed."""
    try:
        hash(key)
    except TypeError:
        return id(key)
    return key


def _in_forked_child() -> None:
    """Forget the parent's lines: its threads, one of which may hold a lock, are not here."""
    global _lock, _limit_by_line
    _lock, _limit_by_line = threading.Lock(), {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
