"""Requests and tokens per minute: one line for all calls of the process with the same host, key and model."""

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
from modelstudio_core.http.limiter import Demand, Place, chat_demand, place_in_line, retrieval_demand
from modelstudio_core.http.transport import Transport
from modelstudio_core.types import ChatRequest, Delta, ImagePart, Message, TextDelta, TextPart, Usage, UsageDelta
from tests.core.client.script import OK, REQUEST, WAYS, FakeTransport, error, run

CONFIG = Config("https://host/v1", SecretStr("sk-one"), requests_per_minute=60)
TOKENS = replace(CONFIG, requests_per_minute=None, tokens_per_minute=6000)  # 100 a second


class Clock:
    """A clock that only moves when something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock of the limiter's own, and no line from other tests."""
    fake = Clock()
    monkeypatch.setattr(limiter, "monotonic", fake)
    monkeypatch.setattr(limiter, "_limit_by_line", {})
    return fake


def enter(config: Config = CONFIG, tokens: int = 0, *, again: bool = False, model: str = "qwen-plus") -> Place:
    return place_in_line(config, Demand(model, tokens), again=again)


def leave_line(clock: Clock, places: Sequence[Place], seconds: float = 1e9) -> list[tuple[int, float]]:
    """Let each place sleep and look until it may go. Return their numbers in that order, with the seconds passed."""
    began = clock.now
    looks = [(clock.now, number) for number in range(len(places))]
    gone = []
    while looks and looks[0][0] <= began + seconds:
        clock.now, number = heapq.heappop(looks)
        wait = places[number].wait()
        assert wait >= 0
        if wait:
            heapq.heappush(looks, (clock.now + wait, number))
        else:
            gone.append((number, round(clock.now - began, 6)))
    return gone


def times(gone: list[tuple[int, float]]) -> list[float]:
    return [seconds for _, seconds in sorted(gone)]


# ---------------------------------------------------------------- one line


def test_requests_go_evenly_in_their_order(clock: Clock) -> None:
    """One a second at 60 a minute, the first at once."""
    assert leave_line(clock, [enter() for _ in range(5)]) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]


def test_no_burst_after_a_rest(clock: Clock) -> None:
    """The service limits each second too, so what was not used in the last minute does not count."""
    leave_line(clock, [enter()])
    clock.now += 600
    assert times(leave_line(clock, [enter() for _ in range(3)])) == [0, 1, 2]


def test_late_looks(clock: Clock) -> None:
    """Nothing is lost where calls look a little late; very late ones are not made up for by a burst."""
    config = replace(CONFIG, requests_per_minute=600)
    places = [enter(config) for _ in range(20)]
    assert [place.wait() for place in places[:2]] == [0, pytest.approx(0.1)]
    clock.now += 0.35
    assert times(leave_line(clock, places[1:6])) == [0, 0, 0, 0.05, 0.15]
    clock.now += 10
    assert times(leave_line(clock, places[6:])) == pytest.approx([0] * 6 + [0.1 * n for n in range(1, 9)])


def test_a_call_that_never_looks_again_holds_up_none(clock: Clock) -> None:
    """An event loop that is blocked, or has been left."""
    places = [enter() for _ in range(4)]
    assert places[0].wait() == 0
    assert times(leave_line(clock, places[2:])) == [2, 3]
    assert times(leave_line(clock, [enter()])) == [1]
    clock.now += 100
    last = enter()
    assert times(leave_line(clock, [last])) == [0]
    last.settle([], busy(9))
    assert times(leave_line(clock, [enter()])) == [9]


def test_calls_of_a_blocked_event_loop(clock: Clock) -> None:
    """When it runs again, its calls go evenly, and delay the others by no more than it was blocked."""
    places = [enter() for _ in range(20)]
    blocked, others = places[:10], places[10:]
    assert times(leave_line(clock, others[:5])) == [10, 11, 12, 13, 14]
    gone = times(leave_line(clock, [*blocked, *others[5:]]))
    assert gone == pytest.approx([*range(10), *range(15, 20)], abs=1)


def test_a_long_line_takes_few_looks(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 calls at 6,000 a minute: done in 10 s, with some ten looks each."""
    looks = 0
    look = limiter.Limit.look

    def counted(self: limiter.Limit, place: Place) -> float:
        nonlocal looks
        looks += 1
        return look(self, place)

    monkeypatch.setattr(limiter.Limit, "look", counted)
    config = replace(CONFIG, requests_per_minute=6000)
    gone = leave_line(clock, [enter(config) for _ in range(1000)])
    assert [number for number, _ in gone] == list(range(1000))
    assert gone[-1][1] == pytest.approx(9.99)
    assert looks < 1000 * 15


def test_tokens_are_paid_before_the_next_goes(clock: Clock) -> None:
    """A call of 50 tokens takes half a second at 6,000 a minute, and a larger one than the budget is not stuck."""
    assert times(leave_line(clock, [enter(TOKENS, n) for n in (50, 10_000, 50, 0)])) == [0, 0.5, 100.5, 101]


def test_both_limits_hold(clock: Clock) -> None:
    """The stricter one counts at each call."""
    both = replace(CONFIG, tokens_per_minute=6000)
    assert times(leave_line(clock, [enter(both, n) for n in (0, 300, 0, 0)])) == [0, 1, 4, 5]


def test_each_call_takes_its_time_by_its_own_figure(clock: Clock) -> None:
    """Objects with other figures for the same host, key and model share the line."""
    configs = [replace(CONFIG, requests_per_minute=rate) for rate in (60, 30, 120, 60)]
    assert times(leave_line(clock, [enter(config) for config in configs])) == [0, 1, 3, 3.5]


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
def test_what_shares_a_line(clock: Clock, config: Config, model: str, shares: bool) -> None:
    """Equal host, key and model."""
    assert enter().wait() == 0
    assert bool(enter(config, model=model).wait()) is shares


def test_a_function_is_one_key(clock: Clock) -> None:
    """Keys that a function provides may differ from call to call."""

    class Vault:
        __hash__ = None  # type: ignore[assignment]  # as that of a dataclass

        def __call__(self) -> str:
            return "sk-" + os.urandom(4).hex()

    @dataclass(frozen=True)
    class Settings(Vault):
        names: list[str]

    for provider in (Vault(), Settings([]), lambda: "sk-other"):
        config = replace(CONFIG, api_key=provider)
        assert times(leave_line(clock, [enter(config), enter(config)])) == [0, 1]


def test_unused_limits_are_forgotten(clock: Clock) -> None:
    """Nothing is kept for keys that were used long ago."""
    waiting = enter(replace(CONFIG, api_key=SecretStr("sk-waiting")))
    for number in range(100):
        enter(replace(CONFIG, api_key=SecretStr(f"sk-{number}"))).wait()
        clock.now += 30
    assert len(limiter._limit_by_line) <= 5
    assert waiting.wait() == 0


# ---------------------------------------------------------------- what changes the line


def usage(total: int | None, output: int | None) -> list[Delta]:
    return [UsageDelta(Usage(None, output, total))]


def busy(retry_after: float | None = None) -> RateLimitError:
    return RateLimitError("busy", retry_after=retry_after)


SETTLED: list[tuple[str, list[Delta], ModelStudioError | None, float]] = [
    ("as estimated", usage(100, 100), None, 1),
    ("fewer", usage(20, 20), None, 0.2),
    ("more", usage(500, 10), None, 5),
    ("not known", [], None, 1),
    ("a count that is none", usage(None, None), None, 1),
    ("refused", [], BadRequestError("no"), 0),
    ("cut", [TextDelta("It")], APIConnectionError("lost"), 1),
    ("throttled", [], busy(), 0.5),
    ("throttled, and told for how long", [], busy(9), 9),
    ("throttled for an hour", [], busy(3600), 60),
    ("throttled, at once", [], busy(0), 0),
    ("overloaded, and told for how long", [], ServerError("busy", retry_after=3), 3),
]


@pytest.mark.parametrize(("deltas", "failure", "when"), [row[1:] for row in SETTLED], ids=[row[0] for row in SETTLED])
def test_what_a_call_used_counts(
    clock: Clock, deltas: list[Delta], failure: ModelStudioError | None, when: float
) -> None:
    """The estimate of 100 tokens is corrected for those that wait already, and all of them heed a Retry-After."""
    first, second = enter(TOKENS, 100), enter(TOKENS)
    assert first.wait() == 0
    assert second.wait() == 1
    first.settle(deltas, failure)
    assert times(leave_line(clock, [second])) == [when]


def test_no_burst_after_a_pause(clock: Clock) -> None:
    """What could not be sent while the service was busy is not made up for."""
    first, *rest = (enter() for _ in range(4))
    assert first.wait() == 0
    first.settle([], busy(30))
    assert times(leave_line(clock, rest)) == [30, 31, 32]


def test_a_call_that_is_sent_again_goes_first(clock: Clock) -> None:
    """It has waited before; of several such, the one that came first."""
    places = [enter(), enter(), enter(again=True), enter(again=True)]
    assert leave_line(clock, places) == [(2, 0), (3, 1), (0, 2), (1, 3)]


@pytest.mark.parametrize("leaver", [1, 2, 3])
def test_a_place_is_given_back(clock: Clock, leaver: int) -> None:
    """Those behind move up."""
    places = [enter() for _ in range(5)]
    assert places[0].wait() == 0
    assert places[4].wait() == 1  # it looks again after a second at the latest
    places[leaver].give_back()
    rest = [place for place in places[1:] if place is not places[leaver]]
    assert times(leave_line(clock, rest)) == [1, 2, 3]


def test_a_long_line_that_breaks_up(clock: Clock) -> None:
    """When 400 of 500 leave, the others do not wait for them."""
    config = replace(CONFIG, requests_per_minute=600)
    places = [enter(config) for _ in range(500)]
    assert all(place.wait() for place in places[1:])
    for place in places[50:450]:
        place.give_back()
    rest = places[:50] + places[450:]
    assert times(leave_line(clock, rest))[-1] == pytest.approx(9.9)


def test_the_usual_length_of_an_answer(clock: Clock) -> None:
    """Where max_tokens is not set, 500 tokens are taken, then the average of the answers; max_tokens if it is less."""
    answers = [place_in_line(TOKENS, Demand("qwen-plus", 0, most), again=False) for most in (None, None, 7, None)]
    for place in answers[:2]:
        assert times(leave_line(clock, [place])) in ([0], [5])
    answers[0].settle(usage(10, 10))
    answers[1].settle(usage(20, 20))
    assert times(leave_line(clock, [*answers[2:], enter(TOKENS)])) == [0, 0.07, 0.22]


class Steps:
    """What happens to a line, in the words of Hypothesis."""

    enter = st.tuples(st.just("enter"), st.booleans())
    leave = st.tuples(st.just("leave"), st.integers(0, 50))
    sleep = st.tuples(st.just("sleep"), st.floats(0.01, 5))
    any = st.lists(st.one_of(enter, leave, sleep), max_size=60)


@example([("enter", False), ("leave", 0), ("sleep", 1.0), ("enter", False), ("enter", False)])
@given(steps=Steps.any)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_to_a_line(steps: list[tuple[str, Any]]) -> None:
    """Requests are a second apart, and nobody waits longer than those ahead take, where all look in time."""
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(limiter, "monotonic", clock)
        patch.setattr(limiter, "_limit_by_line", {})
        places: list[Place] = []
        sent: list[float] = []
        for kind, value in [*steps, ("sleep", 100.0)]:
            if kind == "enter":
                places.append(enter(again=value))
            elif kind == "leave" and value < len(places):
                places.pop(value).give_back()
            elif kind == "sleep":
                began, waiting = clock.now, len(places)
                gone = leave_line(clock, places, seconds=value)
                places = [place for number, place in enumerate(places) if number not in dict(gone)]
                sent += [began + passed for _, passed in gone]
                clock.now = began + value
                assert len(gone) >= min(waiting, int(value))
    assert not places
    assert all(later - earlier > 0.9999 for earlier, later in pairwise(sent))


# ---------------------------------------------------------------- estimates


def test_what_a_request_needs() -> None:
    """Texts, reasoning, arguments and tools are estimated; media is not, and nothing is where no tokens are limited."""
    parts = Message("user", (TextPart("one two three"), ImagePart("https://example.com/a.png")))
    request = ChatRequest("qwen-plus", (Message("user", "one two"), parts), parameters={"max_tokens": 9}, n=2)
    assert chat_demand(CONFIG, request) == Demand("qwen-plus")
    assert chat_demand(TOKENS, request) == Demand("qwen-plus", 5, 18)
    tools = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)
    assert chat_demand(TOKENS, replace(request, tools=tools)).input_tokens > 10
    assert chat_demand(TOKENS, replace(request, thinking_budget=100)).most_output == 218
    assert chat_demand(TOKENS, replace(request, parameters={"max_completion_tokens": 3})).most_output == 6
    assert chat_demand(TOKENS, replace(request, parameters={})).most_output is None
    documents = ["one two", {"text": "three"}, {"image": "https://example.com/a.png"}]
    assert retrieval_demand(TOKENS, "rerank", documents) == Demand("rerank", 3)
    assert retrieval_demand(CONFIG, "rerank", documents) == Demand("rerank")


# ---------------------------------------------------------------- calls


class SleepingTransport(FakeTransport):
    """Moves the clock by what it sleeps."""

    def __init__(self, clock: Clock, *script: Any) -> None:
        super().__init__(*script)
        self.clock = clock

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.clock.now += seconds


CALLED: list[tuple[str, list[Any], type[Exception] | None, tuple[float, ...]]] = [
    ("well at once", [OK], None, (1, 0.5)),
    # a retry is one more request; a Retry-After beyond the cap of a retry counts for the line
    ("throttled", [error(429, "limit_requests"), OK], None, (1, 0.5, 0.25, 0.75)),
    ("told to wait", [error(429, "limit_requests", retry_after="20"), OK], None, (1, 0.5, 8, 1, 1)),
    ("a wrong request", [error(400, "InvalidParameter")], BadRequestError, (1, 0.5)),
]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("script", "failure", "slept"), [row[1:] for row in CALLED], ids=[row[0] for row in CALLED])
def test_a_call_waits_for_its_turn(
    clock: Clock, way: Any, script: list[Any], failure: type[Exception] | None, slept: tuple[float, ...]
) -> None:
    """Before it opens a connection, and again before a retry; sync and async, whole and streamed."""
    for _ in range(2):
        assert leave_line(clock, [enter()])
    clock.now -= 0.5  # half a second into the first of two seconds
    transport = SleepingTransport(clock, *script)
    _, raised = run(way, transport, replace(REQUEST, model="qwen-plus"), CONFIG)
    assert type(raised) is (failure or type(None))
    assert transport.slept[: len(slept)] == list(slept)
    assert transport.log[:3] == ["sleep 1.0", "sleep 0.5", "open"]


def test_a_retry_goes_before_the_calls_that_wait(clock: Clock) -> None:
    """Another call has come meanwhile."""

    class Busy(SleepingTransport):
        def open(self, *arguments: Any) -> Any:
            waiting.append(enter())
            return super().open(*arguments)

    waiting: list[Place] = []
    transport = Busy(clock, error(500, "InternalError"), OK)
    Client(CONFIG, transport).complete(replace(REQUEST, model="qwen-plus"), model_info("qwen-plus"))
    assert sum(transport.slept) == 1
    assert waiting[0].wait() == 1


async def test_a_cancelled_call_gives_its_place_back(clock: Clock) -> None:
    """A task that is cancelled while it waits, and a stream that is left before it began."""
    assert enter().wait() == 0
    client = Client(CONFIG, FakeTransport())
    client.transport.asleep = lambda seconds: asyncio.sleep(9)  # type: ignore[method-assign,assignment]
    request, model = replace(REQUEST, model="qwen-plus"), model_info("qwen-plus")
    task = asyncio.create_task(client.acomplete(request, model))
    left = client.astream(request, model)
    leaving = asyncio.create_task(anext(left))  # type: ignore[arg-type]
    await asyncio.sleep(0.01)
    last = enter()
    assert last.wait() == 1
    for cancelled in (task, leaving):
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert times(leave_line(clock, [last])) == [1]


def test_threads_and_event_loops_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 calls at 100 a second from two threads and two event loops take 0.4 s by the real clock."""
    monkeypatch.setattr(limiter, "_limit_by_line", {})
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
def test_a_forked_child_has_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither waits for the parent's calls nor for a lock that one of its threads held."""
    monkeypatch.setattr(limiter, "_limit_by_line", {})
    monkeypatch.setattr(limiter, "_lock", threading.Lock())
    assert enter().wait() == 0
    with limiter._lock:
        child = os.fork()
        if not child:
            os._exit(0 if enter().wait() == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert enter().wait() > 0
