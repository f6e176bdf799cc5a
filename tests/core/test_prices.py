"""Costs computed by hand from listed and given prices. Unknown costs are None."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from modelstudio_core.catalogue import model_info
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.prices import Cost, Price, PriceList, estimate_cost, price_list
from modelstudio_core.types import Usage

RAW = json.loads(files("modelstudio_core").joinpath("prices.json").read_text(encoding="utf-8"))
OWN: dict[str, Any] = {
    "mine": {
        "currency": "EUR",
        "tiers": [
            {"up_to": 1000, "input": 1, "output": 10, "cached_input": 0.5},
            {"up_to": 5000, "input": 2, "output": 20, "thinking_output": 30},
        ],
    },
    "plain": {"input": 1, "output": "2.5"},
}


def amount(model: str, usage: Any, **more: Any) -> Decimal | None:
    """Return the cost in millionths of the currency, which is easier to read."""
    cost = estimate_cost(model, usage, prices=OWN, **more)
    return None if cost is None else cost.amount * 1_000_000


def used(given: int | None, taken: int | None, **details: Any) -> Usage:
    return Usage(given, taken, None, **details)


def test_a_listed_price_names_its_source_and_date() -> None:
    """200,000 input tokens at $0.05 and 500,000 output tokens at $0.40 per million cost $0.01 and $0.20."""
    cost = estimate_cost("qwen-flash", used(200_000, 500_000))
    assert cost == Cost(
        Decimal("0.21"), "USD", datetime.date(2026, 11, 29), "price table of litellm 1.110.2 for the international site"
    )
    beijing = estimate_cost("text-embedding-v4", {"total_tokens": 2_000_000}, region="beijing")
    assert beijing is not None
    assert (beijing.amount, beijing.currency) == (1, "CNY")


@pytest.mark.parametrize(
    "usage",
    [
        used(100, 40, reasoning_tokens=0, cached_tokens=60),
        {"input_tokens": 100, "output_tokens": 40, "total_tokens": 140, "input_token_details": {"cache_read": 60}},
        {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140, "cached_tokens": 60},
        {"prompt_tokens": 100, "completion_tokens": 40, "prompt_tokens_details": {"cached_tokens": 60}},
        {"prompt_tokens": 100, "total_tokens": 140, "prompt_tokens_details": {"cached_tokens": 60}},
        {"input_tokens": 100, "output_tokens": 40, "input_tokens_details": {"cached_tokens": 60}},
    ],
    ids=["core", "LangChain", "LlamaIndex", "service", "service, no output", "responses"],
)
def test_a_usage_in_any_form(usage: Any) -> None:
    """40 tokens at 1, 60 cached at 0.5 and 40 output tokens at 10."""
    assert amount("mine", usage) == 40 + 30 + 400


@pytest.mark.parametrize(
    ("usage", "more", "expected"),
    [
        (used(1000, 1), {}, 1010),  # the tier holds for up to 1000 tokens of input
        (used(1001, 1), {}, 2022),
        (used(5001, 1), {}, None),  # more than any tier has
        (used(2000, 1, reasoning_tokens=1), {}, 4030),  # thinking has its own price, of the whole output
        (used(2000, 3, reasoning_tokens=1), {}, 4090),
        (used(2000, 3), {"thinking": True}, 4090),
        (used(2000, 3, reasoning_tokens=1), {"thinking": False}, 4060),
        (used(100, 1, reasoning_tokens=1), {}, 110),  # or none
        (used(2000, 1, cached_tokens=5), {}, None),  # the second tier has no price of cached tokens
        (used(2000, 1, cached_tokens=0), {}, 4020),
        (used(2000, 0, cache_creation_tokens=1000), {}, 4500),  # explicit cache: 125 % to write
        (used(2000, 0, cache_creation_tokens=1000, cached_tokens=500), {}, 3600),  # and 10 % to read
        (used(2000, 0, cached_tokens=500, raw={"prompt_tokens_details": {"cache_type": "ephemeral"}}), {}, 3100),
        (used(2000, 10), {"batch": True}, 2100),  # half price
        (used(100, 0, cached_tokens=60), {"batch": True}, 50),  # and no cache
    ],
)
def test_the_rules_of_the_service(usage: Usage, more: dict[str, Any], expected: int | None) -> None:
    """Tiers, thinking, both caches, batch jobs."""
    assert amount("mine", usage, **more) == expected


@pytest.mark.parametrize(
    ("model", "usage", "more"),
    [
        ("no-such-model", used(1, 1), {}),
        ("qwen-flash", None, {}),
        ("qwen-flash", {}, {}),
        ("qwen-flash", used(None, 5), {}),
        ("qwen-flash", used(5, None), {}),
        ("qwen-flash", {"input_tokens": 0, "output_tokens": 5, "total_tokens": 5}, {}),  # LangChain's 0 for no count
        ("qwen-flash", used(5, 5), {"region": "beijing"}),
        ("qwen-flash", used(5, 5, cached_tokens=1), {}),
        ("qwen-flash", used(1_000_001, 5), {}),
        ("qwen-plus", used(5, 5, reasoning_tokens=1), {}),
        ("qwen3.8-omni-flash", used(5, 5, input_audio_tokens=1), {}),
        ("qwen3.8-omni-flash", {"prompt_tokens": 5, "completion_tokens": 5, "output_audio_tokens": 1}, {}),
        ("text-embedding-v4", used(5, 5), {"region": "beijing"}),
    ],
)
def test_unknown_costs(model: str, usage: Any, more: dict[str, Any]) -> None:
    """They are None, never 0 or a partial sum."""
    assert estimate_cost(model, usage, **more) is None


def test_prices_of_the_caller() -> None:
    """They override listed prices, in any region. Their default source is "caller"."""
    own = {"qwen-flash": {"input": 1, "output": 1, "currency": "CNY", "source": "contract"}}
    for region in ("singapore", "beijing"):
        cost = estimate_cost("qwen-flash", used(500_000, 500_000), prices=own, region=region)
        assert cost == Cost(Decimal(1), "CNY", None, "contract")
    assert amount("plain", used(2, 2)) == 7
    made = PriceList((Price(Decimal(1), Decimal(1)),))
    assert estimate_cost("mine", used(1_000_000, 0), prices={"mine": made}) == Cost(Decimal(1), "USD", None, "caller")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"input": 1, "ouput": 2}, "prices of mine: ouput unknown; known: input, output"),
        ({"output": 2}, "prices of mine: 'input'.* is missing"),
        ({"input": "free"}, "prices of mine: not all values are numbers: .*free"),
    ],
)
def test_invalid_prices(wrong: dict[str, Any], message: str) -> None:
    """The error has the model and the key."""
    with pytest.raises(ConfigurationError, match=message):
        estimate_cost("mine", used(1, 1), prices={"mine": wrong})


def test_the_list() -> None:
    """Each list has source, date and currency. Tiers increase. Chat models are in the catalogue."""
    for each in RAW["lists"]:
        assert datetime.date.fromisoformat(each["date"]) <= datetime.date(2026, 11, 29)
        assert each["source"]
        assert each["currency"] in ("USD", "CNY")
        for model in each["models"]:
            found = price_list(model, each["region"])
            assert found is not None
            limits = [tier.up_to for tier in found.tiers]
            assert limits == sorted(limits, key=lambda limit: limit or 10**9)
            assert all(tier.input > 0 and (tier.output or 1) > 0 for tier in found.tiers)
            if found.currency == "USD" and found.tiers[0].output is not None:
                assert model_info(model).matched == model
