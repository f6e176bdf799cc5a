"""Every setting of the local model is a field here; the command line and `running()` fill the same fields."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from typing import Literal

Thinking = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the local model is started with.

    `thinking` is what a request without `enable_thinking` gets: "on", "off", or "auto" (on where the model's
    name is that of a thinking model). `budget` is the tokens that a thought may take; a request can only lower
    it. `max_tokens` bounds an answer that names no bound; `max_string` is the length, in characters, of strings
    for which a schema gives no bound. `force_auto` makes a tool choice of "auto" a call after a user message
    and an answer after a tool's result, since a model this small never calls of its own accord.
    `api_key` and `models`, where given, are the only key and the only model names that are not refused.
    `model_name` is what llama.cpp writes into its answers, whatever name was asked for.
    """

    port: int = 0
    thinking: Thinking = "auto"
    budget: int = 32
    force_auto: bool = False
    max_tokens: int = 256
    max_string: int = 80
    api_key: str | None = None
    models: tuple[str, ...] = ()
    model_name: str = "qwen-plus"


_DEFAULT = Options()


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m local_model`."""
    made = argparse.ArgumentParser(prog="python -m local_model", description="A real small model.")
    made.add_argument("--port", type=int, default=_DEFAULT.port, help="0 takes a free one")
    made.add_argument("--thinking", choices=("auto", "on", "off"), default=_DEFAULT.thinking)
    made.add_argument("--budget", type=int, default=_DEFAULT.budget, help="tokens of a thought, at most")
    made.add_argument("--force-auto", action="store_true", help="auto calls a tool after a user message")
    made.add_argument("--max-tokens", type=int, default=_DEFAULT.max_tokens)
    made.add_argument("--max-string", type=int, default=_DEFAULT.max_string)
    made.add_argument("--api-key", default=_DEFAULT.api_key, help="refuse every other key with a 401")
    made.add_argument("--models", type=_names, default=_DEFAULT.models, help="a,b: refuse others with a 404")
    made.add_argument("--model-name", default=_DEFAULT.model_name, help="the name in the answers")
    made.add_argument("--end-with-stdin", action="store_true", help="end as soon as standard input ends")
    return made


def from_arguments(parsed: argparse.Namespace) -> Options:
    """The Options in parsed arguments of `parser()`."""
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def to_arguments(options: Options) -> list[str]:
    """The arguments that `parser()` reads back as `options`."""
    made = []
    for field in fields(Options):
        value, flag = getattr(options, field.name), "--" + field.name.replace("_", "-")
        if value is True:
            made.append(flag)
        elif value is not None and value is not False and value != ():
            made.append(f"{flag}={','.join(value) if isinstance(value, tuple) else value}")
    return made


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
