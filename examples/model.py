"""The model that the examples talk to: Model Studio where there is a key for it, else a small one on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from langchain_modelstudio import ChatModelStudio

console = Console(highlight=False)


@contextmanager
def a_model(**settings: Any) -> Iterator[ChatModelStudio]:
    """A chat model for as long as the block runs. Says which of the two it is.

    Args:
        **settings: of `ChatModelStudio`. The environment's MODEL (default qwen-plus) says which model.
    """
    name = os.environ.get("MODEL", "qwen-plus")
    if os.environ.get("DASHSCOPE_API_KEY", "").strip():
        with ChatModelStudio(model=name, **settings) as llm:
            console.print(f"Talking to [bold]Model Studio[/]: {name} at {llm.core_client().config.where}.")
            yield llm
        return
    import local_model

    console.print("No DASHSCOPE_API_KEY is set, so a small model is started on this machine...")
    with local_model.running(force_auto=True, budget=48, max_tokens=160, model_name="SmolLM2-135M") as server:
        console.print(f"Talking to [bold]the local model[/]: {server.version}.", soft_wrap=True)
        console.print(
            "It is very small: the traffic is real, what it says is often nonsense, and it is made to call tools.\n"
            "With a key, the same code talks to Qwen: set DASHSCOPE_API_KEY.",
            soft_wrap=True,
        )
        with ChatModelStudio(model=name, base_url=server.base_url, temperature=0, **settings) as llm:
            yield llm
