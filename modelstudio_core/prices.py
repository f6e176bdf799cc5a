"""Estimate the cost of an answer from its usage and a list of prices.

The answers of the service carry no cost. The list in `prices.json` names its source and date for each region; the
caller's own prices come first. What is not known makes the estimate None, never 0.

The rules (vendor's pricing, context cache and batch pages): the input of a request chooses the price tier. Cached
tokens are part of the input and reasoning is part of the output. Where a model has a price for thinking, it is that of
the whole output. In the explicit cache (`cache_control`) writing costs 125 % of the input price and reading 10 %.
Batches cost half, without the discount of a cache.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.types import Usage

_PER = 1_000_000
_EXPLICIT_WRITE, _EXPLICIT_READ = Decimal("1.25"), Decimal("0.1")
_BATCH = Decimal("0.5")
_NO_PRICES = ("up_to", "thinking_output_unknown")


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of one tier for a million tokens. None means that a price is not known."""

    input: Decimal
    output: Decimal | None = None
    thinking_output: Decimal | None = None
    """Price of all output tokens of a request on which the model thought. Default: that of `output`."""
    thinking_output_unknown: bool = False
    """The price of thinking is known to differ from that of `output`, but not known."""
    cached_input: Decimal | None = None
    """Price of hits of the implicit cache."""
    explicit_cache_write: Decimal | None = None
    """Price of tokens written to the explicit cache. Default: 125 % of `input`."""
    explicit_cache_read: Decimal | None = None
    """Price of hits of the explicit cache. Default: 10 % of `input`."""
    up_to: int | None = None
    """Most input tokens of a request in this tier. Default: any number."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of a model, in tiers of growing `up_to`, with where and when they were read."""

    tiers: tuple[Price, ...]
    currency: str = "USD"
    date: datetime.date | None = None
    source: str = "caller"


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate of a cost in `currency`, from the prices that `source` had on `date`."""

    amount: Decimal
    currency: str
    date: datetime.date | None
    source: str


def estimate_cost(
    model: str,
    usage: Usage | Mapping[str, Any] | None,
    *,
    region: str = "singapore",
    prices: Mapping[str, PriceList | Mapping[str, Any]] | None = None,
    thinking: bool | None = None,
    batch: bool = False,
) -> Cost | None:
    """Return the estimated cost of one request, or None if a price or a count that it needs is not known.

    Args:
        model: the model id of the request.
        usage: token counts of the answer: LangChain's `usage_metadata`, the `additional_kwargs` of a LlamaIndex
            response, the service's own usage object, or a core `Usage`.
        region: whose prices count. The list has chat models for "singapore" only.
        prices: the caller's prices by model id, for a million tokens, such as `{"qwen-plus": {"input": 0.4, "output":
            1.2}}`; the keys are the fields of `Price`, or "tiers" with a list of such, and `currency`, `date` and
            `source`. They are used for these models instead of the list, in any region.
        thinking: whether the model thought. Default: if the usage has reasoning tokens.
        batch: whether the request was part of a batch.

    Raises:
        ConfigurationError: if `prices` cannot be read.
    """
    given = (prices or {}).get(model)
    found = _listed(region).get(model) if given is None else _price_list(model, given)
    counts = _read(usage)
    if found is None or not counts.input_tokens:
        return None
    tier = next((each for each in found.tiers if each.up_to is None or counts.input_tokens <= each.up_to), None)
    parts = None if tier is None else _parts(tier, counts, thinking=thinking, batch=batch)
    if parts is None or any(tokens and price is None for tokens, price in parts):
        return None
    total = sum((tokens * price for tokens, price in parts if price is not None), Decimal(0)) / _PER
    return Cost(total * _BATCH if batch else total, found.currency, found.date, found.source)


def price_list(model: str, region: str = "singapore") -> PriceList | None:
    """Return the listed prices of a model in a region, or None if they are not known."""
    return _listed(region).get(model)


# ---------------------------------------------------------------- counts


def _parts(
    tier: Price, counts: Usage, *, thinking: bool | None, batch: bool
) -> list[tuple[int, Decimal | None]] | None:
    """Return tokens and their prices, or None if audio is among them, whose prices are not listed."""
    if counts.input_audio_tokens or counts.output_audio_tokens or counts.output_tokens is None:
        return None
    written, cached = counts.cache_creation_tokens or 0, counts.cached_tokens or 0
    if batch:
        written = cached = 0
    is_explicit = bool(written) or _details(counts.raw, "prompt_tokens_details").get("cache_type") == "ephemeral"
    write = tier.input * _EXPLICIT_WRITE if tier.explicit_cache_write is None else tier.explicit_cache_write
    read = tier.input * _EXPLICIT_READ if tier.explicit_cache_read is None else tier.explicit_cache_read
    thought = bool(counts.reasoning_tokens) if thinking is None else thinking
    output = tier.output
    if thought and (tier.thinking_output_unknown or tier.thinking_output is not None):
        output = tier.thinking_output
    return [
        ((counts.input_tokens or 0) - written - cached, tier.input),
        (written, write),
        (cached, read if is_explicit else tier.cached_input),
        (counts.output_tokens, output),
    ]


def _read(usage: Usage | Mapping[str, Any] | None) -> Usage:
    """Return the counts of a usage object in any of the forms that `estimate_cost` takes."""
    if isinstance(usage, Usage):
        return usage
    found = usage or {}
    given = _details(found, "input_token_details", "prompt_tokens_details", "input_tokens_details")
    taken = _details(found, "output_token_details", "completion_tokens_details", "output_tokens_details")
    total = _count(found, "total_tokens")
    output = _count(found, "output_tokens", "completion_tokens")
    taken_in = _count(found, "input_tokens", "prompt_tokens")
    if taken_in is None and output is None:  # embeddings and rerank
        taken_in, output = total, 0
    elif output is None and taken_in is not None and total is not None:
        output = total - taken_in
    return Usage(
        input_tokens=taken_in,
        output_tokens=output,
        total_tokens=total,
        reasoning_tokens=_count(taken, "reasoning", "reasoning_tokens") or _count(found, "reasoning_tokens"),
        cached_tokens=_count(given, "cache_read", "cached_tokens") or _count(found, "cached_tokens"),
        cache_creation_tokens=_count(given, "cache_creation", "cache_creation_input_tokens")
        or _count(found, "cache_creation_tokens"),
        input_audio_tokens=_count(given, "audio", "audio_tokens") or _count(found, "audio_tokens"),
        output_audio_tokens=_count(taken, "audio", "audio_tokens") or _count(found, "output_audio_tokens"),
        raw=found,
    )


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((found for name in names if isinstance(found := usage.get(name), Mapping)), {})


def _count(holder: Mapping[str, Any], *names: str) -> int | None:
    return next((found for name in names if isinstance(found := holder.get(name), int)), None)


# ---------------------------------------------------------------- prices


@lru_cache(maxsize=8)
def _listed(region: str) -> dict[str, PriceList]:
    # Imported here because an import of this module should cost next to nothing.
    import json
    from importlib.resources import files

    raw = json.loads(files("modelstudio_core").joinpath("prices.json").read_text(encoding="utf-8"), parse_float=Decimal)
    return {
        model: PriceList(
            tuple(_price(model, tier) for tier in tiers),
            each["currency"],
            datetime.date.fromisoformat(each["date"]),
            each["source"],
        )
        for each in raw["lists"]
        if each["region"] == region
        for model, tiers in each["models"].items()
    }


def _price_list(model: str, given: PriceList | Mapping[str, Any]) -> PriceList:
    if isinstance(given, PriceList):
        return given
    about = {name: given[name] for name in ("currency", "date", "source") if name in given}
    rest = {name: value for name, value in given.items() if name not in about}
    tiers: Sequence[Mapping[str, Any]] = rest.pop("tiers", None) or [rest]
    return PriceList(tuple(_price(model, tier) for tier in tiers), **about)


def _price(model: str, given: Mapping[str, Any]) -> Price:
    known = [field.name for field in fields(Price)]
    if unknown := given.keys() - known:
        raise ConfigurationError(f"prices of {model}: {', '.join(sorted(unknown))} unknown; known: {', '.join(known)}")
    if given.get("input") is None:
        raise ConfigurationError(f"prices of {model}: 'input', the price of a million input tokens, is missing")
    try:
        values: dict[str, Any] = {name: _decimal(value) for name, value in given.items() if name not in _NO_PRICES}
        return Price(**values, **{name: given[name] for name in _NO_PRICES if name in given})
    except InvalidOperation:
        raise ConfigurationError(f"prices of {model}: {dict(given)} are not all numbers") from None


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))
