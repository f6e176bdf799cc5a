"""Define the settings of the local model, for the command line and `running()`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

_EXAMPLES = Path(__file__).parent.parent / "examples" / "data" / "texts"
TEXTS = str(_EXAMPLES) if _EXAMPLES.is_dir() else ""
Thinking = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the local model.

    `thinking` is the default of `enable_thinking`: "on", "off", or "auto" (on if the model name is that of a
    thinking model). `budget` is the maximum number of thinking tokens, which a request can only lower.
    `max_tokens` limits answers of requests without a limit, `max_string` strings, in characters, without a
    limit in the schema. `force_auto` turns a tool choice of "auto" into a call after a user message and an
    answer after a tool result, because a model this small never calls tools by itself. `api_key` and `models`,
    if given, are the only accepted key and model names. `model_name` is the name in llama.cpp's responses.
    `texts` is the folder that web_search and file_search search, "" for none; default: that of the examples.
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
    texts: str = TEXTS


_DEFAULT = Options()


def parser() -> argparse.ArgumentParser:
    """Return the argument parser of `python -m local_model`."""
    made = argparse.ArgumentParser(prog="python -m local_model", description="A real small model.")
    made.add_argument("--port", type=int, default=_DEFAULT.port, help="0 selects a free port")
    made.add_argument("--thinking", choices=("auto", "on", "off"), default=_DEFAULT.thinking)
    made.add_argument("--budget", type=int, default=_DEFAULT.budget, help="maximum number of thinking tokens")
    made.add_argument("--force-auto", action="store_true", help="call a tool after each user message")
    made.add_argument("--max-tokens", type=int, default=_DEFAULT.max_tokens)
    made.add_argument("--max-string", type=int, default=_DEFAULT.max_string)
    made.add_argument("--api-key", default=_DEFAULT.api_key, help="reject other keys with 401")
    made.add_argument("--models", type=_names, default=_DEFAULT.models, help="a,b: reject other models with 404")
    made.add_argument("--model-name", default=_DEFAULT.model_name, help="model name in responses")
    made.add_argument("--texts", default=_DEFAULT.texts, help="folder of texts for web_search and file_search")
    made.add_argument("--end-with-stdin", action="store_true", help="exit when standard input is closed")
    return made


def from_arguments(parsed: argparse.Namespace) -> Options:
    """Return the Options of parsed arguments."""
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def to_arguments(options: Options) -> list[str]:
    """Return the command-line arguments for `options`."""
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
