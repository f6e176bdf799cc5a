"""Estimate the cost of an answer from its usage and a list of prices.

The service does not return costs. `prices.json` has the prices of each region, with source and date. Prices of the
caller override them. If a price or count is unknown, the estimate is None, never 0.

The rules (vendor's pricing, context cache and batch pages): the number of input tokens determines the price tier.
Cached tokens are part of the input, and reasoning tokens part of the output. If a model has a price for thinking, it
applies to the whole output. With the explicit cache (`cache_control`), writing costs 125 % of the input price and
reading 10 %. Batch jobs cost half, without cache discounts.
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
    """Prices of one tier per million tokens. None means unknown."""

    input: Decimal
    output: Decimal | None = None
    thinking_output: Decimal | None = None
    """Price of all output tokens of a request with thinking. Default: `output`."""
    thinking_output_unknown: bool = False
    """True if the price of output with thinking differs from `output`, but is unknown."""
    cached_input: Decimal | None = None
    """Price of implicit cache hits."""
    explicit_cache_write: Decimal | None = None
    """Price of tokens written to the explicit cache. Default: 125 % of `input`."""
    explicit_cache_read: Decimal | None = None
    """Price of explicit cache hits. Default: 10 % of `input`."""
    up_to: int | None = None
    """Maximum input tokens of a request in this tier. Default: no limit."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of a model, in tiers of increasing `up_to`, with source and date."""

    tiers: tuple[Price, ...]
    currency: str = "USD"
    date: datetime.date | None = None
    source: str = "caller"


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimated cost in `currency`, with the source and date of the prices."""

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
    """Return the estimated cost of one request, or None if a required price or count is unknown.

    Args:
        model: the model ID of the request.
        usage: token counts of the answer: LangChain's `usage_metadata`, the `additional_kwargs` of a LlamaIndex
            response, the service's own usage object, or a core `Usage`.
        region: region of the prices. `prices.json` has chat models for "singapore" only.
        prices: the caller's prices per million tokens by model ID, such as `{"qwen-plus": {"input": 0.4, "output":
            1.2}}`. Keys are the fields of `Price`, or "tiers" with a list of them, and `currency`, `date` and
            `source`. For these models they replace the listed prices, in any region.
        thinking: whether the model was thinking. Default: whether the usage has reasoning tokens.
        batch: whether the request was part of a batch job.

    Raises:
        ConfigurationError: if `prices` is invalid.
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
    """Return the listed prices of a model in a region, or None if they are unknown."""
    return _listed(region).get(model)


# ---------------------------------------------------------------- counts


def _parts(
    tier: Price, counts: Usage, *, thinking: bool | None, batch: bool
) -> list[tuple[int, Decimal | None]] | None:
    """Return pairs of tokens and price, or None for audio tokens, whose prices are not listed."""
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
    """Return the counts of a usage object in any format that `estimate_cost` accepts."""
    if isinstance(usage, Usage):
        return usage
    found = usage or {}
    input_details = _details(found, "input_token_details", "prompt_tokens_details", "input_tokens_details")
    output_details = _details(found, "output_token_details", "completion_tokens_details", "output_tokens_details")
    total = _count(found, "total_tokens")
    output_tokens = _count(found, "output_tokens", "completion_tokens")
    input_tokens = _count(found, "input_tokens", "prompt_tokens")
    if input_tokens is None and output_tokens is None:  # embeddings and rerank
        input_tokens, output_tokens = total, 0
    elif output_tokens is None and input_tokens is not None and total is not None:
        output_tokens = total - input_tokens
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total,
        reasoning_tokens=_count(output_details, "reasoning", "reasoning_tokens") or _count(found, "reasoning_tokens"),
        cached_tokens=_count(input_details, "cache_read", "cached_tokens") or _count(found, "cached_tokens"),
        cache_creation_tokens=_count(input_details, "cache_creation", "cache_creation_input_tokens")
        or _count(found, "cache_creation_tokens"),
        input_audio_tokens=_count(input_details, "audio", "audio_tokens") or _count(found, "audio_tokens"),
        output_audio_tokens=_count(output_details, "audio", "audio_tokens") or _count(found, "output_audio_tokens"),
        raw=found,
    )


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((found for name in names if isinstance(found := usage.get(name), Mapping)), {})


def _count(holder: Mapping[str, Any], *names: str) -> int | None:
    return next((found for name in names if isinstance(found := holder.get(name), int)), None)


# ---------------------------------------------------------------- prices


@lru_cache(maxsize=8)
def _listed(region: str) -> dict[str, PriceList]:
    # imported here, so that importing this module stays fast
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
        raise ConfigurationError(f"prices of {model}: 'input', the price per million input tokens, is missing")
    try:
        values: dict[str, Any] = {name: _decimal(value) for name, value in given.items() if name not in _NO_PRICES}
        return Price(**values, **{name: given[name] for name in _NO_PRICES if name in given})
    except InvalidOperation:
        raise ConfigurationError(f"prices of {model}: not all values are numbers: {dict(given)!r:.80}") from None


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(str(value))
