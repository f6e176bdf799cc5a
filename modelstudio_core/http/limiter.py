"""Limit requests and tokens per minute across all calls of the process with the same host, key and model.

A token bucket with a capacity of one request: requests are sent in order at even intervals, because the service also
limits each second (limit per minute / 60) and rejects bursts. A request is sent when those before it are paid for. Its
own cost (seconds at the limits of its model object) delays only the next ones. So a request larger than the budget of a
minute is sent.

A waiting call polls (`Reservation.poll`) and sleeps with its own driver. So no thread or event loop has to wake
another, and a call that stops polling does not block the queue.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from time import monotonic
from typing import TypeAlias, TypeGuard
from urllib.parse import urlsplit

from modelstudio_core.config import Config
from modelstudio_core.errors import ModelStudioError, RateLimitError
from modelstudio_core.http.retry import FIRST_DELAY
from modelstudio_core.types import ChatRequest, Delta, TextPart, UsageDelta
from modelstudio_core.values import value_class

MAX_PAUSE = 60.0  # seconds; longer Retry-After values are capped, because the service limits per minute
_MAX_SLEEP = 1.0  # seconds between two polls of a call, or `_POLL_SPACING` for each call ahead of it, if that is longer
_POLL_SPACING = 0.005  # seconds; a long queue is polled about 200 times per second
_MAX_CATCH_UP = 0.5  # seconds of a late poll that the following requests make up for
_INITIAL_OUTPUT_TOKENS = 500  # estimate until the first response
_MEAN_WINDOW = 20  # responses in the moving average of output tokens

Costs: TypeAlias = tuple[float, float, float]
"""Seconds by which a request delays those behind it: by the request limit, and by the token limit.

The third value delays no request. Its sum over the calls ahead limits the sleep of a call between two polls.
"""
_ZERO: Costs = (0.0, 0.0, 0.0)


@value_class
class Demand:
    """The model and the estimated tokens of a request.

    Attributes:
        model: the model ID, because the service limits each model separately.
        input_tokens: estimated input tokens, without media; 0 if `tokens_per_minute` is not set.
        max_output_tokens: upper limit of the output tokens; None if the request sets none.
    """

    model: str
    input_tokens: int = 0
    max_output_tokens: int | None = 0


def chat_demand(config: Config, request: ChatRequest) -> Demand:
    """Return the demand of a chat request. Estimating tokens takes a few microseconds per message."""
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
    return Demand(request.model, _estimate(texts), _max_output_tokens(request))


def _max_output_tokens(request: ChatRequest) -> int | None:
    total, answer = (request.parameters.get(name) for name in ("max_completion_tokens", "max_tokens"))
    if not isinstance(total, int):
        if not isinstance(answer, int):
            return None
        total = answer + (request.thinking_budget or 0)
    return total * (request.n or 1)


def retrieval_demand(config: Config, model: str, inputs: Iterable[object]) -> Demand:
    """Return the demand of an embedding or rerank request. Only the texts of its inputs are counted."""
    if config.tokens_per_minute is None:
        return Demand(model)
    texts: list[str] = []
    for value in inputs:
        texts += [value] if isinstance(value, str) else [str(value["text"])] if _has_text(value) else []
    return Demand(model, _estimate(texts))


def _has_text(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping) and "text" in value


def _estimate(texts: Iterable[str]) -> int:
    from modelstudio_core.tokens import estimate_tokens  # imported at first use, as few programs have limits

    return sum(map(estimate_tokens, texts))


# ---------------------------------------------------------------- one limit


class Reservation:
    """A request in the queue of its limit, with the tokens reserved for it."""

    def __init__(self, limit: Limit, demand: Demand, rates: tuple[float, float]) -> None:
        self._limit = limit
        self._demand = demand
        self._rates = rates
        self._tokens = 0.0
        self.offset = self.costs = _ZERO  # `offset` is the sum of the costs ahead; see `Limit`
        self.is_released = False
        self.update_costs(limit.mean_output_tokens)

    def update_costs(self, mean_output_tokens: float) -> None:
        """Set the costs from the estimated input and the mean or maximum output, whichever is smaller."""
        limit = self._demand.max_output_tokens
        self._tokens = self._demand.input_tokens + (
            mean_output_tokens if limit is None else min(limit, mean_output_tokens)
        )
        self.costs = (self._rates[0], self._rates[1] * self._tokens, _POLL_SPACING)

    def poll(self) -> float:
        """Return 0.0 if the request may be sent now, otherwise the seconds to sleep before the next poll."""
        return self._limit.poll(self)

    def release(self) -> None:
        """Leave the queue without sending the request."""
        self._limit.release(self)

    def settle(self, deltas: Sequence[Delta], failure: ModelStudioError | None = None) -> None:
        """Replace the estimated tokens with the actual usage, if known.

        After a 429 or Retry-After, pause all requests under this limit.
        """
        usage = next((delta.usage for delta in reversed(deltas) if isinstance(delta, UsageDelta)), None)
        if usage is not None and usage.total_tokens is not None:
            self._limit.adjust(self._rates[1] * (usage.total_tokens - self._tokens), usage.output_tokens)
        elif failure is not None and not deltas:
            self._limit.adjust(-self._rates[1] * self._tokens, None)
        if failure is not None and (isinstance(failure, RateLimitError) or failure.retry_after is not None):
            self._limit.pause(FIRST_DELAY if failure.retry_after is None else failure.retry_after)


class Limit:
    """The limit of one host, key and model. Thread-safe.

    A reservation is due at `_start` plus its offset. Moving `_start` delays all requests, for example after a late poll
    or if a response used more tokens than estimated.

    A retry goes before the queue: it is due when the first of the queue was. `_start` moves by the costs of the retry,
    which delays the queue. The offset of the retry is smaller by the same, so it may be negative, and those of the
    other retries become smaller too, so that these are not delayed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: OrderedDict[Reservation, None] = OrderedDict()
        self._retries: OrderedDict[Reservation, None] = OrderedDict()  # sent before the queue
        self._start = self._end = _ZERO  # `_end` is the sum of all costs
        self._paused_until = 0.0
        self._is_stale = False  # costs changed or reservations were released, so offsets are outdated
        self._responses = 0
        self.mean_output_tokens: float = _INITIAL_OUTPUT_TOKENS
        self._scheduled_mean: float = _INITIAL_OUTPUT_TOKENS  # the mean with which the offsets were computed

    @property
    def is_idle(self) -> bool:
        """Return True if the limit can be discarded: nothing is queued or was sent recently."""
        return (
            not self._queue
            and not self._retries
            and (max(self._due(self._end), self._paused_until) < monotonic() - MAX_PAUSE)
        )

    def enter(self, reservation: Reservation, *, is_retry: bool) -> None:
        """Append a reservation to the queue, or to the retries, which are sent first."""
        with self._lock:
            if self._is_stale:
                self._reschedule()
            if not self._queue and not self._retries:
                self._delay_until(monotonic(), self._end)
            if is_retry:
                reservation.offset = _difference(self._first_offset(self._queue), reservation.costs)
                self._start = _sum(self._start, reservation.costs)
                for other in self._retries:
                    other.offset = _difference(other.offset, reservation.costs)
                self._retries[reservation] = None
            else:
                reservation.offset = self._end
                self._end = _sum(self._end, reservation.costs)
                self._queue[reservation] = None

    def poll(self, reservation: Reservation) -> float:
        """Return 0.0 and dequeue `reservation` if it is due, otherwise the seconds until its next poll.

        Requests make up for slightly late polls. After very late ones, such as those of a blocked event loop, they do
        not, because that would be a burst.
        """
        with self._lock:
            if self._is_stale:
                self._reschedule()
            now = monotonic()
            due = max(self._due(reservation.offset), now - _MAX_CATCH_UP, self._paused_until)
            if due > now:
                ahead = reservation.offset[2] - self._first_offset(self._retries or self._queue)[2]
                return min(due - now, max(_MAX_SLEEP, ahead))
            queue = self._retries if reservation in self._retries else self._queue
            queue.pop(reservation, None)
            while queue and self._due(self._first_offset(queue)) < now - MAX_PAUSE:
                queue.popitem(last=False)  # not polled for a minute: its event loop is blocked or gone
            self._delay_until(due, reservation.offset)
            scheduled = reservation.costs
            reservation.update_costs(self.mean_output_tokens)
            self._start = _sum(self._start, _difference(reservation.costs, scheduled))
            return 0.0

    def release(self, reservation: Reservation) -> None:
        """Remove a reservation. Those behind it move up."""
        with self._lock:
            reservation.is_released = self._is_stale = True  # removed at the next poll, as many may be released at once

    def adjust(self, seconds: float, output_tokens: int | None) -> None:
        """Delay the token limit by `seconds`, and add a response to the mean of output tokens."""
        with self._lock:
            self._start = _sum(self._start, (0.0, seconds, 0.0))
            if output_tokens is not None:
                self._responses = min(self._responses + 1, _MEAN_WINDOW)
                self.mean_output_tokens += (output_tokens - self.mean_output_tokens) / self._responses
                change = abs(self.mean_output_tokens - self._scheduled_mean)
                self._is_stale |= change > 0.1 * self._scheduled_mean

    def pause(self, seconds: float) -> None:
        """Send no request for `seconds`, at most `MAX_PAUSE`."""
        with self._lock:
            self._paused_until = max(self._paused_until, monotonic() + min(seconds, MAX_PAUSE))

    def _first_offset(self, queue: OrderedDict[Reservation, None]) -> Costs:
        return next(iter(queue)).offset if queue else self._end

    def _due(self, offset: Costs) -> float:
        return max(self._start[0] + offset[0], self._start[1] + offset[1])

    def _delay_until(self, time: float, offset: Costs) -> None:
        """Move the start so that `offset` is due at `time` or later."""
        requests, tokens, polls = self._start
        self._start = (max(requests, time - offset[0]), max(tokens, time - offset[1]), polls)

    def _reschedule(self) -> None:
        """Compute all costs and offsets again, which takes about a microsecond per reservation."""
        end = self._first_offset(self._retries or self._queue)
        for queue in (self._retries, self._queue):
            for reservation in list(queue):
                if reservation.is_released:
                    del queue[reservation]
                    continue
                reservation.update_costs(self.mean_output_tokens)
                reservation.offset = end
                end = _sum(end, reservation.costs)
        self._end = end
        self._scheduled_mean, self._is_stale = self.mean_output_tokens, False


def _sum(a: Costs, b: Costs) -> Costs:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _difference(a: Costs, b: Costs) -> Costs:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


# ---------------------------------------------------------------- shared by the process

_lock = threading.Lock()
_limits: dict[Hashable, Limit] = {}


def reserve(config: Config, demand: Demand, *, is_retry: bool) -> Reservation:
    """Queue a request under the limit of its host, key and model, and return its reservation.

    A key function counts as one key, even if it returns different keys.
    """
    key = (urlsplit(config.base_url).netloc, _key_identity(config.api_key), demand.model)
    requests, tokens = config.requests_per_minute, config.tokens_per_minute
    rates = (60 / requests if requests else 0.0, 60 / tokens if tokens else 0.0)
    with _lock:
        limit = _limits.get(key)
        if limit is None:
            for idle in [known for known, other in _limits.items() if other.is_idle]:
                del _limits[idle]
            limit = _limits[key] = Limit()
        reservation = Reservation(limit, demand, rates)
        limit.enter(reservation, is_retry=is_retry)
    return reservation


def _key_identity(key: object) -> Hashable:
    """Return the key or key function, or the id of a function that is not hashable."""
    try:
        hash(key)
    except TypeError:
        return id(key)
    return key


def _in_forked_child() -> None:
    """Discard the parent's limits: its threads do not exist here, and one may hold a lock."""
    global _lock, _limits
    _lock, _limits = threading.Lock(), {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
