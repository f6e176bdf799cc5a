"""Report the figures as a table for the terminal, as RESULTS.md, and as a chart for the README."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.rows import ALLOWANCE, ROWS

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
PAGE = HERE.parent / "docs/performance.md"
SIDES = {"langchain": "LangChain", "llama_index": "LlamaIndex"}
PROTOCOLS = {"openai": "compatible", "dashscope": "native"}
Result = dict[str, Any]  # side, protocol, versions, rows: name -> contender -> figure, failed: name -> reason

_UNITS = ("F", "ms", "MB", "kB", "us")  # that the column of limits shows
_COMPARISON = "\n## Against "
_BEGIN, _END = "<!-- figures: `make bench` writes this table -->\n", "<!-- end of figures -->"
_PAGE = (
    "burst", "aburst", "each", "aeach", "first_token", "invoke", "ainvoke", "invoke_over_stream", "tools_invoked",
    "threads", "tasks", "crowd_200", "crowd_1000", "v3", "held", "import_time", "construct",
)  # fmt: skip
_CHART = ("burst", "aburst", "invoke_over_stream", "invoke", "ainvoke", "threads", "first_token", "tools")
_COLOURS = {"ours": "#615ced", "floor": "#999999"}


def met(row: str, side: str, figure: dict[str, Any]) -> bool:
    """Return whether our figure is within its limit, with the allowance."""
    return bool(figure["value"] <= ROWS[row].limit(side) * ALLOWANCE)


# ---------------------------------------------------------------- the table


def table(result: Result) -> str:
    """Return the table of one side and protocol as Markdown."""
    side = result["side"]
    names = list(dict.fromkeys(name for figures in result["rows"].values() for name in figures if name != "floor"))
    lines = [f"### {SIDES[side]}, {PROTOCOLS[result['protocol']]} protocol", ""]
    lines += ["| measure | ours, at most | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for row, figures in result["rows"].items():
        cells = [_cell(figures.get(name)) for name in names]
        if not met(row, side, figures["ours"]):
            cells[names.index("ours")] = f"**{cells[names.index('ours')]}**"
        unit = figures["ours"]["unit"]
        most = f"{ROWS[row].limit(side):g}" + (f" {unit}" if unit in _UNITS else "")
        lines.append(f"| {ROWS[row].title} | {most} | " + " | ".join(cells) + " |")
    lines += ["", *(f"Not measured: {ROWS[row].title} ({why})." for row, why in result["failed"].items())]
    return "\n".join(lines).rstrip()


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    if figure["unit"].startswith("of"):
        return f"{figure['value']:.0f} {figure['unit']}"
    digits = 0 if figure["unit"] in ("ms", "us", "kB") else 2
    span = f" ({figure['least']:.{digits}f} to {figure['most']:.{digits}f})" if figure["least"] < figure["most"] else ""
    return f"{figure['value']:.{digits}f}{span}" + (f"; {figure['note']}" if figure["note"] else "")


def summary(measured: list[Result]) -> list[str]:
    """Return which limits are not met, and which rows a peer leads."""
    missed, behind = [], []
    for result in measured:
        for row, figures in result["rows"].items():
            ours = figures["ours"]
            where = f"{ROWS[row].title} ({SIDES[result['side']]}, {PROTOCOLS[result['protocol']]})"
            if not met(row, result["side"], ours):
                missed.append(f"{where}: {ours['value']:.2f}")
            peers = {name: each["value"] for name, each in figures.items() if name not in ("ours", "floor")}
            leader = min(peers, key=peers.__getitem__, default="")
            if leader and peers[leader] < ours["value"]:
                behind.append(f"{where}: {ours['value']:.2f}, {leader} {peers[leader]:.2f}")
    return [
        "Not met: " + ("; ".join(missed) or "none") + ".",
        "",
        "Behind a peer: " + ("; ".join(behind) or "none") + ".",
    ]


# ---------------------------------------------------------------- RESULTS.md


def results(measured: list[Result], seconds: float) -> str:
    """Return the contents of RESULTS.md, without a comparison of builds."""
    lines = [
        "# Results of the last run",
        "",
        f"{_machine()} Made by `make bench` in {seconds / 60:.0f} minutes.",
        "",
        "F is the floor: plain httpx, one split of the bytes, one JSON parse and the framework's own chunk objects,",
        "in the same process. Figures in F are multiples of it: of CPU time in user and kernel mode (first tokens and",
        "the slowest 1 %: of time). The contenders take turns, the peers in every third round. A figure is the median",
        "of the ratios of all rounds, followed by the smallest and the largest. In the rows on Responses, F is our",
        "own compatible protocol, and ChatOpenAI has `use_responses_api=True`. Instructions are counted by valgrind",
        "in user mode, so others do not change them. What is not in F has its unit. Of imports, model objects and",
        "memory per stream, which are paid once, it is the smallest of all rounds. Memory per stream does not include",
        "what the framework needs without a network. A figure above the limit of ours, by more than 5 %, is bold.",
        "",
        *summary(measured),
        "",
    ]
    for result in measured:
        lines += [table(result), ""]
        lines += [", ".join(f"{name} {version}" for name, version in result["versions"].items()) + ".", ""]
    return "\n".join(lines)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}; {os.cpu_count()} cores, {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}."
    )


def save(measured: list[Result], seconds: float) -> None:
    """Write RESULTS.md, except its comparison of builds, the chart, and the table of docs/performance.md."""
    _, mark, kept = RESULTS.read_text(encoding="utf-8").partition(_COMPARISON)
    RESULTS.write_text(results(measured, seconds) + mark + kept, encoding="utf-8")
    chart(measured, HERE / "chart.svg")
    _write_page(measured)


# ---------------------------------------------------------------- docs/performance.md


def page_table(measured: list[Result]) -> str:
    """Return the main rows of all sides: the worst figure of ours, and the best of any peer, over the protocols."""
    lines = ["| measure | " + " | ".join(f"{name} | best other package" for name in SIDES.values()) + " |"]
    lines.append("|---|" + "---:|---:|" * len(SIDES))
    for row in _PAGE:
        cells = []
        for side in SIDES:
            figures = [result["rows"].get(row, {}) for result in measured if result["side"] == side]
            ours = [each["ours"] for each in figures if "ours" in each]
            peers = [f for each in figures for name, f in each.items() if name not in ("ours", "floor")]
            cells += [_short(max(ours, key=_value, default=None)), _short(min(peers, key=_value, default=None))]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {ROWS[row].title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _value(figure: dict[str, Any]) -> float:
    return float(figure["value"])


def _short(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "-"
    unit = figure["unit"]
    return f"{figure['value']:.2f}" if unit == "F" else f"{figure['value']:,.0f} {unit}"


def _write_page(measured: list[Result]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert end, f"{PAGE} has no place for the table"
    PAGE.write_text(f"{before}{begin}{page_table(measured)}\n{end}{after}", encoding="utf-8")


# ---------------------------------------------------------------- two builds


def comparison(revision: str, found: dict[tuple[str, str], dict[str, Any]]) -> str:
    """Return a section of RESULTS.md, with a column for each side and protocol."""
    lines = [
        f"{_COMPARISON.strip()} {revision}",
        "",
        f"{_machine()} Made by `python -m benchmarks --vs {revision}`.",
        "",
        f"This build and that of {revision} take turns in one run, each in its own process. A figure is the cost of",
        "this build as a multiple of the other's: the median of the ratios of all rounds, with the smallest and the",
        "largest. Of what is paid once, it is the ratio of the smallest figures.",
        "",
        "| measure | " + " | ".join(f"{SIDES[s]}, {PROTOCOLS[p]}" for s, p in found) + " |",
        "|---|" + "---|" * len(found),
    ]
    rows = list(dict.fromkeys(row for each in found.values() for row in each))
    notes = {}
    for row in rows:
        cells = []
        for each in found.values():
            compared = each.get(row)
            if compared and "failed" in compared:
                notes[f"{ROWS[row].title}: {compared['failed']}"] = None
            cells.append(_ratio(compared))
        lines.append(f"| {ROWS[row].title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def _ratio(compared: dict[str, Any] | None) -> str:
    if compared is None:
        return "-"
    if "failed" in compared:
        return "cannot run"
    ratios = compared["ratios"]
    span = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.2f}{span}"


def save_comparison(section: str) -> None:
    """Write the comparison of builds into RESULTS.md."""
    before, _, _ = RESULTS.read_text(encoding="utf-8").partition(_COMPARISON)
    RESULTS.write_text(before.rstrip("\n") + "\n\n" + section, encoding="utf-8")


# ---------------------------------------------------------------- the chart


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
            found = [result["rows"].get(row, {}).get(name, {}).get("value", 0.0) for row in rows]
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
