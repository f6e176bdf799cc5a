"""Report the figures as a table for the terminal, as RESULTS.md, and as a chart for the README."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.rows import ALLOWANCE, ROWS

HERE = Path(__file__).parent
SIDES = {"langchain": "LangChain", "llama_index": "LlamaIndex"}
PROTOCOLS = {"openai": "compatible", "dashscope": "native"}
Result = dict[str, Any]  # side, protocol, versions, rows: name -> contender -> figure

_CHART = ("burst", "aburst", "invoke_over_stream", "invoke", "ainvoke", "threads", "first_token", "tools")
_COLOURS = {"ours": "#615ced", "floor": "#999999"}


def met(row: str, figure: dict[str, Any]) -> bool:
    """Return whether our figure is within its limit, with the allowance."""
    return bool(figure["median"] <= ROWS[row].most * ALLOWANCE)


def table(result: Result) -> str:
    """Return the table of one side and protocol as Markdown."""
    names = list(dict.fromkeys(name for figures in result["rows"].values() for name in figures if name != "floor"))
    lines = [f"### {SIDES[result['side']]}, {PROTOCOLS[result['protocol']]} protocol", ""]
    lines += ["| measure | ours, at most | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for row, figures in result["rows"].items():
        cells = [_cell(figures.get(name)) for name in names]
        if not met(row, figures["ours"]):
            cells[0] = f"**{cells[0]}**"
        unit = figures["ours"]["unit"]
        most = f"{ROWS[row].most:g}" + (f" {unit}" if unit in ("F", "ms", "MB", "us") else "")
        lines.append(f"| {ROWS[row].title} | {most} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    digits = 0 if figure["unit"] in ("ms", "us") or figure["unit"].startswith("of") else 2
    span = f" ({figure['least']:.{digits}f} to {figure['most']:.{digits}f})"
    if figure["unit"].startswith("of"):
        return f"{figure['median']:.0f} {figure['unit']}"
    return f"{figure['median']:.{digits}f}{span}" + (f"; {figure['note']}" if figure["note"] else "")


def results(measured: list[Result]) -> str:
    """Return the contents of RESULTS.md."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    missed = list(_missed(measured))
    lines = [
        "# Results of the last run",
        "",
        f"{time.strftime('%Y-%m-%d', time.gmtime())}; {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}. Made by `make bench`.",
        "",
        "F is the floor: plain httpx, one split of the bytes, one JSON parse and the framework's own chunk objects, in",
        "the same process. Figures in F are ratios to it of CPU time (the first token's: of time), medians of",
        "interleaved rounds, with least and greatest. In the rows on Responses, F is our own compatible protocol, and",
        "ChatOpenAI has `use_responses_api=True`.",
        "What is not in F has its unit. A figure beyond what ours may be, by more than 5 %, is bold.",
        "",
        "Not met: " + ("; ".join(missed) if missed else "none") + ".",
        "",
    ]
    for result in measured:
        lines += [table(result), ""]
        lines += [", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".", ""]
    return "\n".join(lines)


def _missed(measured: list[Result]) -> Iterator[str]:
    for result in measured:
        for row, figures in result["rows"].items():
            if not met(row, figures["ours"]):
                where = f"{SIDES[result['side']]}, {PROTOCOLS[result['protocol']]}"
                yield f"{ROWS[row].title} ({where}): {figures['ours']['median']:.2f}"


def chart(measured: list[Result], path: Path) -> None:
    """Draw CPU time and first-token delay as multiples of the floor, one panel per side and protocol."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(measured), figsize=(4 * len(measured), 5), sharey=True, squeeze=False)
    for panel, result in zip(panels[0], measured, strict=True):
        rows = [row for row in _CHART if row in ROWS]
        names = [name for name in result["rows"]["burst"] if name != "floor"]
        height = 0.8 / len(names)
        for position, name in enumerate(names):
            found = [result["rows"].get(row, {}).get(name, {}).get("median", 0.0) for row in rows]
            places = [-index - (position + 0.5) * height for index in range(len(rows))]
            panel.barh(places, found, height, label=name, color=_COLOURS.get(name))
        panel.axvline(1, color=_COLOURS["floor"], linewidth=1)
        panel.set_xscale("log")
        panel.set_xticks([0.5, 1, 2, 5, 10, 20], labels=["0.5", "1", "2", "5", "10", "20"])
        panel.minorticks_off()
        panel.set_yticks([-index - 0.4 for index in range(len(rows))], labels=[ROWS[row].title for row in rows])
        panel.set_title(f"{SIDES[result['side']]}, {PROTOCOLS[result['protocol']]}")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=len(names), frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle("CPU time as multiples of the floor (httpx, one JSON parse, one chunk object): less is better")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
