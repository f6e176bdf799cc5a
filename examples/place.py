"""Choose the model of the examples: Model Studio if a key or an address is set, else a small local model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from modelstudio_core import config

console = Console(highlight=False)
TEXTS = Path(__file__).parent / "data" / "texts"
"""Folder of 40 short texts. `questions.tsv` next to it has a question for each text."""


@contextmanager
def a_place() -> Iterator[dict[str, Any]]:
    """Yield the settings of a model that is available during the block, and print which one it is.

    The environment variable MODEL (default qwen-plus) selects the model.
    """
    name = os.environ.get("MODEL", "qwen-plus")
    if any(os.environ.get(given, "").strip() for given in (config.API_KEY_VARIABLE, config.BASE_URL_VARIABLE)):
        console.print(f"Talking to [bold]Model Studio[/]: {name} at {config.resolve().where}.")
        yield {"model": name}
        return
    import local_model

    console.print(f"{config.API_KEY_VARIABLE} is not set: starting a small local model...")
    with local_model.running(force_auto=True, budget=48, max_tokens=160, model_name="SmolLM2-135M") as server:
        console.print(f"Talking to [bold]the local model[/]: {server.version}.", soft_wrap=True)
        console.print(
            "It is very small: the traffic is real, what it says is often nonsense, and it is made to call tools.\n"
            f"With a key, the same code talks to Qwen: set {config.API_KEY_VARIABLE}.",
            soft_wrap=True,
        )
        yield {"model": name, "base_url": server.base_url, "temperature": 0}


def embedding_settings(place: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an embedding object. The native protocol distinguishes queries from documents."""
    native = {"base_url": place["base_url"].replace("/compatible-mode/v1", "/api/v1")} if "base_url" in place else {}
    return {"protocol": "dashscope", **native}


def rerank_settings(place: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a rerank object at `place`."""
    return {name: place[name] for name in ("base_url",) if name in place}
