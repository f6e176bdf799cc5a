"""Measure all classes, each framework in its own environment, and write the table into README.md: `make peers`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.peers.service import ROWS

ROOT = Path(__file__).parents[2]
OURS = ("ChatModelStudio", "ModelStudio")
FRAMEWORKS = {"langchain": "langchain", "llama-index": "llama_index"}
START, END = "<!-- peers: written by `make peers` -->\n", "<!-- end of peers -->\n"


def table(measured: Mapping[str, Mapping[str, str]]) -> str:
    """Return the table of the README. Our two classes share a column."""
    others = [name for name in measured if name not in OURS]
    lines = [
        f"| | this package | {' | '.join(others)} |",
        f"|---|{':-:|' * (len(others) + 1)}",
    ]
    for row in ROWS:
        ours = "yes" if all(measured[name][row] == "yes" for name in OURS) else "no"
        lines.append(f"| {row} | {' | '.join([ours, *(measured[name][row] for name in others)])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and replace it in the README."""
    measured: dict[str, dict[str, str]] = {}
    for framework, module in FRAMEWORKS.items():
        python = ROOT / f".venv-bench-{framework}/bin/python"
        command = [str(python), "-W", "ignore", "-m", f"tests.peers.{module}"]
        measured |= json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    text = table(measured)
    print(text, end="")
    page = ROOT / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{START}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
