"""The table of known models: `modelstudio models` prints it, and the documentation has it as a page."""

from __future__ import annotations

from modelstudio_core.catalogue import ModelInfo

UNKNOWN = "?"
_THINKS = {
    None: UNKNOWN,
    "none": "no",
    "only": "always",
    "hybrid-default-on": "on by default",
    "hybrid-default-off": "if enabled",
}


def cells(info: ModelInfo) -> dict[str, str]:
    """Return the cells of a model by column. A fact that no source says is a question mark."""
    return {
        "model": info.id,
        "thinks": _THINKS[info.thinking],
        "sees": _sees(info),
        "hears": _known(info.input_audio),
        "tools": _known(info.tools),
        "json_schema": _known(info.json_schema),
        "context": _tokens(info.context_window),
        "output": _tokens(max(filter(None, (info.max_output, info.max_output_thinking)), default=None)),
        "regions": ", ".join(info.regions or ()) or UNKNOWN,
        "retired on": info.retired_on or "",
    }


def _sees(info: ModelInfo) -> str:
    facts = {"images": info.input_image, "video": info.input_video}
    seen = ", ".join(name for name, fact in facts.items() if fact)
    return seen or (UNKNOWN if None in facts.values() else "no")


def _known(fact: bool | None) -> str:
    return {True: "yes", False: "no", None: UNKNOWN}[fact]


def _tokens(number: int | None) -> str:
    return f"{number:,}" if number else UNKNOWN
