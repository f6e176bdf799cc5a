"""Requests and tokens per minute: one queue for all calls of the process with the same host, key and model."""

from __future__ import annotations

import asyncio
import heapq
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from modelstudio_core.catalogue import model_info
from modelstudio_core.config import Config
from modelstudio_core.errors import APIConnectionError, BadRequestError, ModelStudioError, RateLimitError, ServerError
from modelstudio_core.http import limiter
from modelstudio_core.http.client import Client
from modelstudio_core.http.limiter import Demand, Reservation, chat_demand, reserve, retrieval_demand
from modelstudio_core.http.transport import Transport
from modelstudio_core.types import ChatRequest, Delta, ImagePart, Message, TextDelta, TextPart, Usage, UsageDelta
from tests.core.client.script import OK, REQUEST, WAYS, FakeTransport, error, run

CONFIG = Config("https://host/v1", SecretStr("sk-one"), requests_per_minute=60)
TOKENS = replace(CONFIG, requests_per_minute=None, tokens_per_minute=6000)  # 100 a second


class Clock:
    """A fake clock that tests advance."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A fake clock for the limiter, without limits of other tests."""
    fake = Clock()
    monkeypatch.setattr(limiter, "monotonic", fake)
    monkeypatch.setattr(limiter, "_limits", {})
    return fake


def enter(config: Config = CONFIG, tokens: int = 0, *, is_retry: bool = False, model: str = "qwen-plus") -> Reservation:
    return reserve(config, Demand(model, tokens), is_retry=is_retry)


def drain(clock: Clock, reservations: Sequence[Reservation], seconds: float = 1e9) -> list[tuple[int, float]]:
    """Poll until all are sent or `seconds` have passed. Return (index, seconds) in sending order."""
    began = clock.now
    polls = [(clock.now, number) for number in range(len(reservations))]
    sent = []
    while polls and polls[0][0] <= began + seconds:
        clock.now, number = heapq.heappop(polls)
        wait = reservations[number].poll()
        assert wait >= 0
        if wait:
            heapq.heappush(polls, (clock.now + wait, number))
        else:
            sent.append((number, round(clock.now - began, 6)))
    return sent


def times(sent: list[tuple[int, float]]) -> list[float]:
    return [seconds for _, seconds in sorted(sent)]


# ---------------------------------------------------------------- one queue


def test_requests_are_sent_evenly_in_order(clock: Clock) -> None:
    """One per second at 60 per minute, the first immediately."""
    assert drain(clock, [enter() for _ in range(5)]) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]


def test_no_burst_after_idle_time(clock: Clock) -> None:
    """Unused capacity is not saved up, because the service also limits each second."""
    drain(clock, [enter()])
    clock.now += 600
    assert times(drain(clock, [enter() for _ in range(3)])) == [0, 1, 2]


def test_late_polls(clock: Clock) -> None:
    """Requests make up for slightly late polls, but not for very late ones, which would be a burst."""
    config = replace(CONFIG, requests_per_minute=600)
    reservations = [enter(config) for _ in range(20)]
    assert [reservation.poll() for reservation in reservations[:2]] == [0, pytest.approx(0.1)]
    clock.now += 0.35
    assert times(drain(clock, reservations[1:6])) == [0, 0, 0, 0.05, 0.15]
    clock.now += 10
    assert times(drain(clock, reservations[6:])) == pytest.approx([0] * 6 + [0.1 * n for n in range(1, 9)])


def test_a_call_that_stops_polling_blocks_no_other(clock: Clock) -> None:
    """As when its event loop is blocked or closed."""
    reservations = [enter() for _ in range(4)]
    assert reservations[0].poll() == 0
    assert times(drain(clock, reservations[2:])) == [2, 3]
    assert times(drain(clock, [enter()])) == [1]
    clock.now += 100
    last = enter()
    assert times(drain(clock, [last])) == [0]
    last.settle([], busy(9))
    assert times(drain(clock, [enter()])) == [9]


def test_calls_of_a_blocked_event_loop(clock: Clock) -> None:
    """They are sent evenly once it runs again, and delay others by no more than the blocked time."""
    reservations = [enter() for _ in range(20)]
    blocked, others = reservations[:10], reservations[10:]
    assert times(drain(clock, others[:5])) == [10, 11, 12, 13, 14]
    done = times(drain(clock, [*blocked, *others[5:]]))
    assert done == pytest.approx([*range(10), *range(15, 20)], abs=1)


def test_a_long_queue_takes_few_polls(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 calls at 6,000 per minute are sent in 10 s, with about ten polls each."""
    polls = 0
    poll = limiter.Limit.poll

    def counted(self: limiter.Limit, reservation: Reservation) -> float:
        nonlocal polls
        polls += 1
        return poll(self, reservation)

    monkeypatch.setattr(limiter.Limit, "poll", counted)
    config = replace(CONFIG, requests_per_minute=6000)
    done = drain(clock, [enter(config) for _ in range(1000)])
    assert [number for number, _ in done] == list(range(1000))
    assert done[-1][1] == pytest.approx(9.99)
    assert polls < 1000 * 15


def test_tokens_delay_the_next_request(clock: Clock) -> None:
    """50 tokens delay it by half a second at 6,000 per minute. A request larger than the budget is sent, too."""
    assert times(drain(clock, [enter(TOKENS, n) for n in (50, 10_000, 50, 0)])) == [0, 0.5, 100.5, 101]


def test_both_limits_hold(clock: Clock) -> None:
    """The stricter limit decides for each call."""
    both = replace(CONFIG, tokens_per_minute=6000)
    assert times(drain(clock, [enter(both, n) for n in (0, 300, 0, 0)])) == [0, 1, 4, 5]


def test_each_call_counts_at_its_own_rate(clock: Clock) -> None:
    """Objects with different rates for the same host, key and model share the queue."""
    configs = [replace(CONFIG, requests_per_minute=rate) for rate in (60, 30, 120, 60)]
    assert times(drain(clock, [enter(config) for config in configs])) == [0, 1, 3, 3.5]


@pytest.mark.parametrize(
    ("config", "model", "shares"),
    [
        (CONFIG, "qwen-plus", True),
        (replace(CONFIG, base_url="https://host/api/v1", protocol="dashscope"), "qwen-plus", True),
        (replace(CONFIG, api_key=SecretStr("sk-one")), "qwen-plus", True),
        (CONFIG, "qwen-max", False),
        (replace(CONFIG, base_url="https://other/v1"), "qwen-plus", False),
        (replace(CONFIG, api_key=SecretStr("sk-two")), "qwen-plus", False),
        (replace(CONFIG, api_key=None), "qwen-plus", False),
    ],
    ids=["same", "other protocol", "equal key", "other model", "other host", "other key", "no key"],
)
def test_which_calls_share_a_queue(clock: Clock, config: Config, model: str, shares: bool) -> None:
    """Those with the same host, key and model."""
    assert enter().poll() == 0
    assert bool(enter(config, model=model).poll()) is shares


def test_a_key_function_counts_as_one_key(clock: Clock) -> None:
    """It may return a different key for each call."""

    class Vault:
        __hash__ = None  # type: ignore[assignment]  # as that of a dataclass

        def __call__(self) -> str:
            return "sk-" + os.urandom(4).hex()

    @dataclass(frozen=True)
    class Settings(Vault):
        names: list[str]

    for provider in (Vault(), Settings([]), lambda: "sk-other"):
        config = replace(CONFIG, api_key=provider)
        assert times(drain(clock, [enter(config), enter(config)])) == [0, 1]


def test_unused_limits_are_discarded(clock: Clock) -> None:
    """Keys that were used long ago take no memory."""
    waiting = enter(replace(CONFIG, api_key=SecretStr("sk-waiting")))
    for number in range(100):
        enter(replace(CONFIG, api_key=SecretStr(f"sk-{number}"))).poll()
        clock.now += 30
    assert len(limiter._limits) <= 5
    assert waiting.poll() == 0


# ---------------------------------------------------------------- changes of the queue


def usage(total: int | None, output: int | None) -> list[Delta]:
    return [UsageDelta(Usage(None, output, total))]


def busy(retry_after: float | None = None) -> RateLimitError:
    return RateLimitError("busy", retry_after=retry_after)


SETTLED: list[tuple[str, list[Delta], ModelStudioError | None, float]] = [
    ("as estimated", usage(100, 100), None, 1),
    ("fewer tokens", usage(20, 20), None, 0.2),
    ("more tokens", usage(500, 10), None, 5),
    ("no usage", [], None, 1),
    ("usage without a total", usage(None, None), None, 1),
    ("rejected", [], BadRequestError("no"), 0),
    ("truncated", [TextDelta("It")], APIConnectionError("lost"), 1),
    ("throttled", [], busy(), 0.5),
    ("throttled with retry_after", [], busy(9), 9),
    ("retry_after of an hour", [], busy(3600), 60),
    ("retry_after of 0", [], busy(0), 0),
    ("server error with retry_after", [], ServerError("busy", retry_after=3), 3),
]


@pytest.mark.parametrize(("deltas", "failure", "when"), [row[1:] for row in SETTLED], ids=[row[0] for row in SETTLED])
def test_usage_replaces_the_estimate(
    clock: Clock, deltas: list[Delta], failure: ModelStudioError | None, when: float
) -> None:
    """The estimate of 100 tokens is corrected for waiting calls. Retry-After pauses all of them."""
    first, second = enter(TOKENS, 100), enter(TOKENS)
    assert first.poll() == 0
    assert second.poll() == 1
    first.settle(deltas, failure)
    assert times(drain(clock, [second])) == [when]


def test_no_burst_after_a_pause(clock: Clock) -> None:
    """Capacity lost during a pause is not made up for."""
    first, *rest = (enter() for _ in range(4))
    assert first.poll() == 0
    first.settle([], busy(30))
    assert times(drain(clock, rest)) == [30, 31, 32]


def test_retries_are_sent_first(clock: Clock) -> None:
    """In the order of their failures."""
    reservations = [enter(), enter(), enter(is_retry=True), enter(is_retry=True)]
    assert drain(clock, reservations) == [(2, 0), (3, 1), (0, 2), (1, 3)]


@pytest.mark.parametrize("released", [1, 2, 3])
def test_a_released_reservation_leaves_no_gap(clock: Clock, released: int) -> None:
    """Those behind move up."""
    reservations = [enter() for _ in range(5)]
    assert reservations[0].poll() == 0
    assert reservations[4].poll() == 1  # it polls again after a second at the latest
    reservations[released].release()
    rest = [reservation for reservation in reservations[1:] if reservation is not reservations[released]]
    assert times(drain(clock, rest)) == [1, 2, 3]


def test_many_released_reservations(clock: Clock) -> None:
    """When 400 of 500 are released, the others do not wait for them."""
    config = replace(CONFIG, requests_per_minute=600)
    reservations = [enter(config) for _ in range(500)]
    assert all(reservation.poll() for reservation in reservations[1:])
    for reservation in reservations[50:450]:
        reservation.release()
    rest = reservations[:50] + reservations[450:]
    assert times(drain(clock, rest))[-1] == pytest.approx(9.9)


def test_estimates_of_output_tokens(clock: Clock) -> None:
    """500 before the first response, then the mean of the responses, or max_tokens if that is less."""
    answers = [reserve(TOKENS, Demand("qwen-plus", 0, most), is_retry=False) for most in (None, None, 7, None)]
    for reservation in answers[:2]:
        assert times(drain(clock, [reservation])) in ([0], [5])
    answers[0].settle(usage(10, 10))
    answers[1].settle(usage(20, 20))
    assert times(drain(clock, [*answers[2:], enter(TOKENS)])) == [0, 0.07, 0.22]


class Steps:
    """Hypothesis strategies for the events of a queue."""

    enter = st.tuples(st.just("enter"), st.booleans())
    leave = st.tuples(st.just("leave"), st.integers(0, 50))
    sleep = st.tuples(st.just("sleep"), st.floats(0.01, 5))
    any = st.lists(st.one_of(enter, leave, sleep), max_size=60)


@example([("enter", False), ("leave", 0), ("sleep", 1.0), ("enter", False), ("enter", False)])
@given(steps=Steps.any)
@settings(max_examples=60, deadline=None)
def test_any_sequence_of_events(steps: list[tuple[str, Any]]) -> None:
    """Requests are a second apart, and no call waits longer than the calls ahead take."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(limiter, "monotonic", clock)
        patch.setattr(limiter, "_limits", {})
        reservations: list[Reservation] = []
        sent: list[float] = []
        for kind, value in [*steps, ("sleep", 100.0)]:
            if kind == "enter":
                reservations.append(enter(is_retry=value))
            elif kind == "leave" and value < len(reservations):
                reservations.pop(value).release()
            elif kind == "sleep":
                began, waiting = clock.now, len(reservations)
                done = drain(clock, reservations, seconds=value)
                reservations = [
                    reservation for number, reservation in enumerate(reservations) if number not in dict(done)
                ]
                sent += [began + passed for _, passed in done]
                clock.now = began + value
                assert len(done) >= min(waiting, int(value))
    assert not reservations
    assert all(later - earlier > 0.9999 for earlier, later in pairwise(sent))


# ---------------------------------------------------------------- estimates


def test_the_demand_of_a_request() -> None:
    """Texts, reasoning, arguments and tools count, media does not. Without a token limit, nothing is estimated."""
    parts = Message("user", (TextPart("one two three"), ImagePart("https://example.com/a.png")))
    request = ChatRequest("qwen-plus", (Message("user", "one two"), parts), parameters={"max_tokens": 9}, n=2)
    assert chat_demand(CONFIG, request) == Demand("qwen-plus")
    assert chat_demand(TOKENS, request) == Demand("qwen-plus", 5, 18)
    tools = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)
    assert chat_demand(TOKENS, replace(request, tools=tools)).input_tokens > 10
    assert chat_demand(TOKENS, replace(request, thinking_budget=100)).max_output_tokens == 218
    assert chat_demand(TOKENS, replace(request, parameters={"max_completion_tokens": 3})).max_output_tokens == 6
    assert chat_demand(TOKENS, replace(request, parameters={})).max_output_tokens is None
    documents = ["one two", {"text": "three"}, {"image": "https://example.com/a.png"}]
    assert retrieval_demand(TOKENS, "rerank", documents) == Demand("rerank", 3)
    assert retrieval_demand(CONFIG, "rerank", documents) == Demand("rerank")


# ---------------------------------------------------------------- calls


class SleepingTransport(FakeTransport):
    """Advance the clock by the seconds slept."""

    def __init__(self, clock: Clock, *script: Any) -> None:
        super().__init__(*script)
        self.clock = clock

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.clock.now += seconds


CALLED: list[tuple[str, list[Any], type[Exception] | None, tuple[float, ...]]] = [
    ("success", [OK], None, (1, 0.5)),
    # a retry waits in the queue again; the queue honours a Retry-After that is longer than the retry delay limit
    ("throttled", [error(429, "limit_requests"), OK], None, (1, 0.5, 0.25, 0.75)),
    ("throttled with Retry-After", [error(429, "limit_requests", retry_after="20"), OK], None, (1, 0.5, 8, 1, 1)),
    ("bad request", [error(400, "InvalidParameter")], BadRequestError, (1, 0.5)),
]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("script", "failure", "slept"), [row[1:] for row in CALLED], ids=[row[0] for row in CALLED])
def test_a_call_waits_for_its_turn(
    clock: Clock, way: Any, script: list[Any], failure: type[Exception] | None, slept: tuple[float, ...]
) -> None:
    """Before it opens a connection, and again before a retry."""
    for _ in range(2):
        assert drain(clock, [enter()])
    clock.now -= 0.5  # half a second into the first of two seconds
    transport = SleepingTransport(clock, *script)
    _, raised = run(way, transport, replace(REQUEST, model="qwen-plus"), CONFIG)
    assert type(raised) is (failure or type(None))
    assert transport.slept[: len(slept)] == list(slept)
    assert transport.log[:3] == ["sleep 1.0", "sleep 0.5", "open"]


def test_a_retry_is_sent_before_waiting_calls(clock: Clock) -> None:
    """Even if they were queued before the failure."""

    class Busy(SleepingTransport):
        def open(self, *arguments: Any) -> Any:
            waiting.append(enter())
            return super().open(*arguments)

    waiting: list[Reservation] = []
    transport = Busy(clock, error(500, "InternalError"), OK)
    Client(CONFIG, transport).complete(replace(REQUEST, model="qwen-plus"), model_info("qwen-plus"))
    assert sum(transport.slept) == 1
    assert waiting[0].poll() == 1


async def test_a_cancelled_call_releases_its_reservation(clock: Clock) -> None:
    """A task cancelled while it waits, and a stream closed before it began."""
    assert enter().poll() == 0
    client = Client(CONFIG, FakeTransport())
    client.transport.asleep = lambda seconds: asyncio.sleep(9)  # type: ignore[method-assign,assignment]
    request, model = replace(REQUEST, model="qwen-plus"), model_info("qwen-plus")
    task = asyncio.create_task(client.acomplete(request, model))
    left = client.astream(request, model)
    leaving = asyncio.create_task(anext(left))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    last = enter()
    assert last.poll() == 1
    for cancelled in (task, leaving):
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert times(drain(clock, [last])) == [1]


def test_threads_and_event_loops_share_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 calls at 100 per second from two threads and two event loops take 0.4 s of real time."""
    monkeypatch.setattr(limiter, "_limits", {})
    config = replace(CONFIG, requests_per_minute=6000)
    request, model, sent = replace(REQUEST, model="qwen-plus"), model_info("qwen-plus"), []

    class Real(FakeTransport):
        sleep = Transport.sleep
        asleep = Transport.asleep

        def open(self, *arguments: Any) -> Any:
            sent.append(time.monotonic())
            return super().open(*arguments)

    def in_a_thread() -> None:
        for _ in range(10):
            Client(config, Real(OK)).complete(request, model)

    async def on_a_loop() -> None:
        await asyncio.gather(*(Client(config, Real(OK)).acomplete(request, model) for _ in range(10)))

    threads = [threading.Thread(target=each) for each in (in_a_thread, lambda: asyncio.run(on_a_loop())) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sent) == 40
    assert 0.39 <= max(sent) - min(sent) < 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_its_own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for the parent's calls, or for a lock held by one of the parent's threads."""
    monkeypatch.setattr(limiter, "_limits", {})
    monkeypatch.setattr(limiter, "_lock", threading.Lock())
    assert enter().poll() == 0
    with limiter._lock:
        child = os.fork()
        if not child:
            os._exit(0 if enter().poll() == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert enter().poll() > 0
