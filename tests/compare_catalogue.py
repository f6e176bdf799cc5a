"""`make catalogue`: print the differences between the catalogue and prices and the service's list of models.

The list is the response of `GET /api/v1/models`: live for the key's region if DASHSCOPE_API_KEY is set, otherwise
`tests/model_list.json`, which has examples only, in the format that three independent clients read (2026).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from modelstudio_core import config
from modelstudio_core.catalogue import ModelInfo, model_info
from modelstudio_core.prices import Price, price_list

SAVED = Path(__file__).parent / "model_list.json"
CATALOGUE = files("modelstudio_core").joinpath("catalogue.json")
PAGE_SIZE = 100
# our names of the limits and prices by those of the list
LIMITS = {
    "context_window": "context_window",
    "max_input_tokens": "max_input",
    "max_output_tokens": "max_output",
    "max_reasoning_tokens": "max_cot",
    "reasoning_max_input_tokens": "max_input_thinking",
    "reasoning_max_output_tokens": "max_output_thinking",
}
PRICES = {
    "input_token": "input",
    "output_token": "output",
    "thinking_output_token": "thinking_output",
    "input_token_cache": "cached_input",
    "input_token_cache_creation_5m": "explicit_cache_write",
    "input_token_cache_read": "explicit_cache_read",
}
MODALITIES = {"Image": "input_image", "Video": "input_video", "Audio": "input_audio"}


def main() -> int:
    """Print the differences and their number."""
    key = os.environ.get(config.API_KEY_VARIABLE)
    if key:
        resolved = config.resolve(protocol="dashscope")
        region, models = resolved.region, fetched(resolved.base_url, key)
    else:
        print(f"{config.API_KEY_VARIABLE} is not set: comparing with the saved examples in {SAVED.name}")
        region, models = "singapore", json.loads(SAVED.read_text(encoding="utf-8"))["output"]["models"]
    found = list(differences(models, region))
    for line in found:
        print(line)
    print(f"{len(models)} models in the list, {len(found)} differences")
    return 0


def fetched(base_url: str, key: str) -> list[Mapping[str, Any]]:
    """Return the models of all pages of the list."""
    models: list[Mapping[str, Any]] = []
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for page in range(1, 100):
            response = client.get(f"{base_url}/models", params={"page_no": page, "page_size": PAGE_SIZE})
            response.raise_for_status()
            output = response.json()["output"]
            models += output["models"]
            if not output["models"] or len(models) >= output["total"]:
                break
    return models


def differences(models: list[Mapping[str, Any]], region: str | None) -> Iterator[str]:
    """Yield one line per difference: IDs first, then limits, modalities and prices by model."""
    listed = {model["model"]: model for model in models}
    ours = [line["id"] for line in json.loads(CATALOGUE.read_text(encoding="utf-8"))["models"]]
    for name in sorted(listed.keys() - set(ours)):
        yield f"{name}: not in the catalogue"
    known = [name for name in ours if name in listed]
    for name in known:
        info = model_info(name)
        if info.retired_on:
            yield f"{name}: listed, but retired on {info.retired_on} in the catalogue, as the {info.retired_by} says"
        yield from _facts(listed[name], info)
        if region is not None:
            yield from _prices(listed[name], region)
    unpriced = [name for name in known if region and listed[name].get("prices") and not price_list(name, region)]
    if unpriced:
        yield f"prices in the list alone: {', '.join(unpriced)}"
    missing = [name for name in ours if name not in listed and not model_info(name).retired_on]
    if missing:
        yield f"not in the list, which differs by region: {', '.join(missing)}"


def _facts(model: Mapping[str, Any], info: ModelInfo) -> Iterator[str]:
    for theirs, name in LIMITS.items():
        value = (model.get("model_info") or {}).get(theirs)
        if value is not None and value != getattr(info, name):
            yield f"{info.id}: {name} is {getattr(info, name)}, {value} in the list"
    modalities = (model.get("inference_metadata") or {}).get("request_modality")
    for theirs, name in MODALITIES.items():
        known = getattr(info, name)
        if modalities is not None and known is not None and known != (theirs in modalities):
            yield f"{info.id}: {name} is {known}, {theirs in modalities} in the list"


def _prices(model: Mapping[str, Any], region: str) -> Iterator[str]:
    name, tiers = model["model"], model.get("prices") or []
    known = price_list(name, region)
    if known is None:
        return
    if len(tiers) != len(known.tiers):
        yield f"{name}: {len(known.tiers)} price tiers, {len(tiers)} in the list"
        return
    for tier, ours in zip(tiers, known.tiers, strict=True):
        for price in tier.get("prices") or []:
            yield from _price(name, tier.get("range_name"), price, ours)


def _price(model: str, range_name: str | None, price: Mapping[str, Any], ours: Price) -> Iterator[str]:
    name = PRICES.get(price.get("type", ""))
    if name is None:
        return
    where = f"{model}{f' ({range_name})' if range_name else ''}: price of {name}"
    try:
        value = Decimal(str(price.get("price")))
    except InvalidOperation:
        yield f"{where} cannot be read: {price.get('price')!r}"
        return
    if value != getattr(ours, name):
        yield f"{where} is {getattr(ours, name)}, {value} {price.get('price_unit', '')} in the list".rstrip()


if __name__ == "__main__":
    sys.exit(main())
