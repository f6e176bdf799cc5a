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

    `thinking`: default of `enable_thinking`: "on", "off", or "auto" (on if the model name is that of a thinking model).
    `budget`: maximum number of thinking tokens, which a request can only lower.
    `max_tokens`: default for requests that set none.
    `max_string`: maximum length, in characters, of strings whose schema sets none.
    `force_auto`: with a tool choice of "auto", a tool call is forced after a user message and forbidden after a tool
    result, because a model this small never calls tools by itself.
    `api_key`, `models`: if given, the only accepted key and model names.
    `model_name`: the name in llama.cpp's responses.
    `texts`: the folder that web_search and file_search search, "" for none; default: that of the examples.
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
    result = argparse.ArgumentParser(
        prog="python -m local_model",
        usage="python -m local_model [OPTIONS] [-- COMMAND ...]",
        description="Run a small local model with Model Studio's API, until Ctrl-C or while a command runs.",
    )
    result.add_argument("--port", type=int, default=_DEFAULT.port, help="0 selects a free port")
    result.add_argument("--thinking", choices=("auto", "on", "off"), default=_DEFAULT.thinking)
    result.add_argument("--budget", type=int, default=_DEFAULT.budget, help="maximum number of thinking tokens")
    result.add_argument("--force-auto", action="store_true", help="call a tool after each user message")
    result.add_argument("--max-tokens", type=int, default=_DEFAULT.max_tokens)
    result.add_argument("--max-string", type=int, default=_DEFAULT.max_string)
    result.add_argument("--api-key", default=_DEFAULT.api_key, help="reject other keys with 401")
    result.add_argument("--models", type=_names, default=_DEFAULT.models, help="a,b: reject other models with 404")
    result.add_argument("--model-name", default=_DEFAULT.model_name, help="model name in responses")
    result.add_argument("--texts", default=_DEFAULT.texts, help="folder of texts for web_search and file_search")
    result.add_argument(
        "command",
        nargs="*",
        help="run this with DASHSCOPE_BASE_URL set to the model, and --force-auto; `python` is this Python",
    )
    result.add_argument("--end-with-stdin", action="store_true", help="exit when standard input is closed")
    return result


def from_arguments(parsed: argparse.Namespace) -> Options:
    """Return the Options of parsed arguments."""
    return Options(**{field.name: getattr(parsed, field.name) for field in fields(Options)})


def to_arguments(options: Options) -> list[str]:
    """Return the command-line arguments for `options`."""
    arguments = []
    for field in fields(Options):
        value, flag = getattr(options, field.name), "--" + field.name.replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value is not None and value is not False and value != ():
            arguments.append(f"{flag}={','.join(value) if isinstance(value, tuple) else value}")
    return arguments


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
