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
_LATENESS = 0.25  # seconds that a look may be late without a loss
_LOOK = 0.005  # so there are at most some hundred looks a second
_USUAL_OUTPUT = 500  # tokens of an answer, until one has come
_ANSWERS = 20  # over which the mean of output tokens is taken then

Costs: TypeAlias = tuple[float, float, float]
"""Seconds that a call takes of the requests' line, of the tokens' line, and as one of those ahead of another."""
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
        self.came = monotonic()
        self.before = _NOTHING
        self.costs = _NOTHING
        self.may_go = False
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
        """Leave the line, or return what was taken for a request that was not sent."""
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


class _Line:
    """Places in their order, and the sums of their costs.

    Attributes:
        places: those that wait.
        is_stale: the sums have to be counted anew, since a place left the line, or its costs have changed.
    """

    def __init__(self) -> None:
        self.places: OrderedDict[Place, None] = OrderedDict()
        self.is_stale = False
        self._end = _NOTHING  # of all there were, by which `Place.before` counts
        self._gone = _NOTHING  # of those that were let go

    def append(self, place: Place) -> None:
        place.before = self._end
        self._end = _sum(self._end, place.costs)
        self.places[place] = None

    def remove_first(self) -> None:
        place, _ = self.places.popitem(last=False)
        self._gone = _sum(self._gone, place.costs)

    def ahead(self, place: Place | None = None) -> Costs:
        """Return the costs of the places ahead of `place`, or of all."""
        end = self._end if place is None else place.before
        return end[0] - self._gone[0], end[1] - self._gone[1], end[2] - self._gone[2]

    def count(self, usual_output: float) -> None:
        """Price and count all places anew, which takes a us each."""
        self._gone = self._end = _NOTHING
        for place in self.places:
            place.price(usual_output)
            place.before = self._end
            self._end = _sum(self._end, place.costs)
        self.is_stale = False


class Limit:
    """The limit of one host, key and model. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._again = _Line()  # of requests that are sent again, ahead of the other line
        self._line = _Line()
        self._free = (0.0, 0.0)  # when the requests and the tokens that were let go are paid for
        self._paused_until = 0.0
        self._answers = 0
        self.usual_output: float = _USUAL_OUTPUT
        self._priced_at: float = _USUAL_OUTPUT  # the usual output by which the lines are counted

    @property
    def is_idle(self) -> bool:
        """Return True if nothing would be lost with this limit."""
        waiting = self._again.places or self._line.places
        return not waiting and max(*self._free, self._paused_until) < monotonic() - LONGEST_PAUSE

    def enter(self, place: Place, *, again: bool) -> None:
        """Put a place at the end of its line."""
        with self._lock:
            (self._again if again else self._line).append(place)

    def look(self, place: Place) -> float:
        """Return the seconds until `place` should look again; 0.0: it may go."""
        with self._lock:
            now = monotonic()
            first = self._let_go(now)
            if place.may_go:
                return 0.0
            for line in (self._again, self._line):
                if line.is_stale:
                    line.count(self.usual_output)
            if place in self._again.places:
                ahead = self._again.ahead(place)
            else:
                ahead = _sum(self._again.ahead(), self._line.ahead(place))
            when = max(first, self._free[0] + ahead[0], self._free[1] + ahead[1])
            return min(when - now, max(_LONGEST_SLEEP, ahead[2]))

    def leave(self, place: Place) -> None:
        """Remove a place from its line, or return the costs of one that may go."""
        with self._lock:
            if place.may_go:
                self._free = (self._free[0] - place.costs[0], self._free[1] - place.costs[1])
            else:
                line = self._again if place in self._again.places else self._line
                del line.places[place]
                line.is_stale = True

    def correct(self, seconds: float, output_tokens: int | None) -> None:
        """Add `seconds` to what the tokens' line has to pay, and count the output of an answer."""
        with self._lock:
            self._free = (self._free[0], self._free[1] + seconds)
            if output_tokens is not None:
                self._answers = min(self._answers + 1, _ANSWERS)
                self.usual_output += (output_tokens - self.usual_output) / self._answers
                if abs(self.usual_output - self._priced_at) > 0.1 * self._priced_at:
                    self._priced_at = self.usual_output
                    self._again.is_stale = self._line.is_stale = True

    def pause(self, seconds: float) -> None:
        """Let no call go for so many seconds, a minute at most."""
        with self._lock:
            self._paused_until = max(self._paused_until, monotonic() + min(seconds, LONGEST_PAUSE))

    def _let_go(self, now: float) -> float:
        """Let go all whose time has come. Return when the next one may go; in the past if there is none.

        The scheduled time counts, not the one of the look, so nothing is lost where calls look a little late. Where
        they look very late, since their event loop is busy, the rest is not made up for: it would be a burst.
        """
        when = 0.0
        while waiting := self._again.places or self._line.places:
            place = next(iter(waiting))
            when = max(place.came, self._paused_until, now - _LATENESS, *self._free)
            if when > now:
                break
            (self._again if self._again.places else self._line).remove_first()
            place.price(self.usual_output)
            place.may_go = True
            self._free = (max(self._free[0], when) + place.costs[0], max(self._free[1], when) + place.costs[1])
        return when


def _sum(a: Costs, b: Costs) -> Costs:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


# ---------------------------------------------------------------- shared by the process

_lock = threading.Lock()
_limits: dict[Hashable, Limit] = {}


def place_in_line(config: Config, demand: Demand, *, again: bool) -> Place:
    """Return the place of a request in the line of its host, key and model.

    A function that provides the key counts as one key, since it may return another one for each call.

    Args:
        config: where the request goes, with which key and at which rates.
        demand: what it needs.
        again: whether it was let go before, and is sent again.
    """
    key = config.api_key if isinstance(config.api_key, Hashable) else id(config.api_key)
    name = (urlsplit(config.base_url).netloc, key, demand.model)
    requests, tokens = config.requests_per_minute, config.tokens_per_minute
    rates = (60 / requests if requests else 0.0, 60 / tokens if tokens else 0.0)
    with _lock:
        limit = _limits.get(name)
        if limit is None:
            for known in [known for known, other in _limits.items() if other.is_idle]:
                del _limits[known]
            limit = _limits[name] = Limit()
        place = Place(limit, demand, rates)
        limit.enter(place, again=again)
    return place


def _in_forked_child() -> None:
    """Forget the parent's lines: its threads, one of which may hold a lock, are not here."""
    global _lock, _limits
    _lock, _limits = threading.Lock(), {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
