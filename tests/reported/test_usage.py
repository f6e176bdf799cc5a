"""The service's usage object is passed on once, unchanged. With several choices, usage includes all of them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from tests.langchain.service import chat, pieces_of
from tests.langchain.ways import ALL_WAYS, STREAMS, by
from tests.loopback import Exchange, Loopback
from tests.native import frames
from tests.protocols import both_protocols, spoken
from tests.reported.wire import EVERY_WAY, Way, Wire, every_way
from tests.service import USAGE, Answer

# ---------------------------------------------------------------- the service's own object

OWN: dict[str, dict[str, Any]] = {
    "openai": USAGE | {
        "prompt_tokens_details": {
            "cached_tokens": 8,
            "text_tokens": 20,
            "cache_type": "ephemeral",
            "cache_creation": {"ephemeral_5m_input_tokens": 4},
        },
        "plugins": {"search": {"count": 1, "strategy": "standard"}},
        "x_note": None,
    },
    "dashscope": {
        "input_tokens": 20,
        "output_tokens": 10,
        "total_tokens": 30,
        "input_tokens_details": {"text_tokens": 20},
        "output_tokens_details": {"reasoning_tokens": 6, "text_tokens": 4},
        "prompt_tokens_details": {"cached_tokens": 8, "cache_type": "ephemeral"},
        "plugins": {"search": {"count": 1, "strategy": "standard"}},
        "models": [{"model_id": "qwen-plus", "input_tokens": 20}],
        "x_ratio": 0.5,
    },
}  # fmt: skip
report_18 = pytest.mark.report(18)


@report_18
@every_way
async def test_the_service_s_own_usage(way: Way) -> None:
    """In LangChain's `response_metadata["usage"]` and LlamaIndex's `raw["usage"]`."""
    own = OWN[way.protocol]
    with Loopback(Wire(usage=own)) as server:
        answer = await way(server)
    if way.langchain:
        assert answer.response_metadata["usage"] == own
        return
    usage = answer.raw["usage"]
    assert {name: usage[name] for name in own} == own
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (20, 10, 30)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 8
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 6
    assert way.native or usage == own


@report_18
@both_protocols
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("name", ALL_WAYS)
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.rotated
async def test_usage_is_the_same_with_every_langchain_method(name: str, version: str | None) -> None:
    """Streams, events and graphs do not add it up."""
    own = OWN[spoken.get()]
    with Loopback(Wire(usage=own)) as server:
        message = await by(name, chat(server, output_version=version))
    assert message.response_metadata["usage"] == own


@report_18
@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_usage_is_on_the_last_chunk_only(way: str) -> None:
    """langchain-core would add up repeated numbers."""
    with Loopback(Wire(usage=OWN[spoken.get()])) as server:
        *pieces, last = await pieces_of(chat(server), way)
    assert not any("usage" in piece.response_metadata for piece in pieces)
    assert last.response_metadata["usage"] == OWN[spoken.get()]
    assert (pieces[0] + [*pieces[1:], last]).response_metadata["usage"] == OWN[spoken.get()]


GROWING = [{"input_tokens": 20, "output_tokens": n, "total_tokens": 20 + n, "x": {"n": n}} for n in (1, 2, 3)]


@report_18
@pytest.mark.parametrize("way", [way for way in EVERY_WAY if way.streams and way.native], ids=lambda way: way.method)
async def test_the_last_usage_counts(way: Way) -> None:
    """If usage grows during a stream."""
    events = [
        {"output": {"choices": [{"message": {"content": "a"}, "finish_reason": reason}]}, "usage": usage}
        for usage, reason in zip(GROWING, ("null", "null", "stop"), strict=True)
    ]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        exchange.send_chunk(b"".join(frames(events)))
        exchange.end()

    with Loopback(script) as server:
        answer = await way(server)
    usage = answer.response_metadata["usage"] if way.langchain else answer.raw["usage"]
    assert {name: usage[name] for name in GROWING[-1]} == GROWING[-1]


@report_18
@every_way
async def test_no_usage(way: Way) -> None:
    """Nothing is invented if the service sends none."""
    with Loopback(Wire()) as server:
        answer = await way(server)
    known = answer.response_metadata if way.langchain else answer.raw
    assert "usage" not in known


@report_18
@pytest.mark.parametrize(
    "way", [way for way in EVERY_WAY if not way.langchain and way.native], ids=lambda it: it.method
)
async def test_cached_tokens_in_other_fields(way: Way) -> None:
    """They are copied to where tracers read them."""
    own = {"input_tokens": 20, "output_tokens": 10, "prompt_tokens_details": {}, "cached_tokens": 8}
    with Loopback(Wire(usage=own)) as server:
        usage = (await way(server)).raw["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 8}
    assert usage["cached_tokens"] == 8


# ---------------------------------------------------------------- several choices over the native protocol

report_27 = pytest.mark.report(27)


def used(given: Any, taken: Any, **more: Any) -> dict[str, Any]:
    """Return a native usage object."""
    return {"input_tokens": given, "output_tokens": taken, "total_tokens": (given or 0) + (taken or 0), **more}


def thought(tokens: int) -> dict[str, Any]:
    return {"output_tokens_details": {"reasoning_tokens": tokens, "text_tokens": 1}}


CHOICES: list[tuple[str, list[tuple[Any, str, dict[str, Any]]], tuple[int, int, int], dict[str, int]]] = [
    # name, events (choice, finish reason, usage), totals, details of the output
    ("one after the other",
     [(0, "null", used(9, 1)), (0, "stop", used(9, 2)), (1, "null", used(9, 1)), (1, "stop", used(9, 3))],
     (9, 5, 14), {}),
    ("in turn",
     [(0, "null", used(9, 1)), (1, "null", used(9, 1)), (1, "stop", used(9, 3)), (0, "stop", used(9, 2))],
     (9, 5, 14), {}),
    ("the second first", [(1, "stop", used(9, 3)), (0, "stop", used(9, 2))], (9, 5, 14), {}),
    ("three", [(0, "stop", used(9, 1)), (2, "stop", used(9, 4)), (1, "stop", used(9, 2))], (9, 7, 16), {}),
    ("a last event without usage", [(0, "null", used(9, 2)), (0, "stop", {}), (1, "stop", used(9, 3))], (9, 5, 14), {}),
    ("thinking", [(0, "stop", used(9, 4, **thought(3))), (1, "stop", used(9, 3, **thought(2)))], (9, 7, 16),
     {"reasoning": 5}),
    ("a count that cannot be read", [(0, "stop", {**used(9, 0), "output_tokens": "n/a"}),
                                     (1, "stop", used(9, 3))], (9, 3, 12), {}),
    ("no total", [(0, "stop", {"input_tokens": 9, "output_tokens": 2}), (1, "stop", {"output_tokens": 3})], (9, 5, 14),
     {}),
]  # fmt: skip


@report_27
@pytest.mark.parametrize("cumulative", [False, True], ids=["incremental", "each event repeats the text"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("events", "totals", "details"), [c[1:] for c in CHOICES], ids=[c[0] for c in CHOICES])
@pytest.mark.rotated
async def test_the_choices_of_a_stream_add_up(
    events: Any, totals: tuple[int, int, int], details: dict[str, int], way: str, cumulative: bool
) -> None:
    """The last event of each choice has its output. The input counts once."""
    told = [
        {
            "output": {"choices": [{"index": at, "message": {"content": f"{at}"}, "finish_reason": reason}]},
            "usage": usage,
        }
        for at, reason, usage in events
    ]

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        exchange.send_chunk(b"".join(frames(told)))
        exchange.end()

    n = len({at for at, _, _ in events})
    more = {"incremental_output": False} if cumulative else {}
    with Loopback(script) as server:
        llm = chat(server, protocol="dashscope", streaming=True, n=n, **more)
        given: Any = [[HumanMessage("hello")]]
        result: Any = await llm.agenerate(given) if way == "ainvoke" else llm.generate(given)
    answers = [generation.message for generation in result.generations[0]]
    assert len(answers) == n
    usage = answers[0].usage_metadata
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == totals
    assert usage.get("output_token_details", {}) == details
    assert all(answer.usage_metadata is None and "usage" not in answer.response_metadata for answer in answers[1:])
    own = answers[0].response_metadata["usage"]
    assert (own["input_tokens"], own["output_tokens"], own["total_tokens"]) == totals
    assert result.llm_output["token_usage"]["completion_tokens"] == totals[1]


@report_27
@both_protocols
async def test_a_whole_answer_counts_once() -> None:
    """Its usage object includes all choices."""
    answer = Answer(text=["heads"], others=["tails"], usage=USAGE)
    with Loopback(answer) as server:
        result: Any = await chat(server, n=2).agenerate([[HumanMessage("hello")]])
    assert [generation.text for generation in result.generations[0]] == ["heads", "tails"]
    assert result.generations[0][0].message.usage_metadata["total_tokens"] == 30
