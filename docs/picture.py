"""Run the demo on the local model, and save what it prints as docs/images/demo.svg: `make picture`.

The picture has the parts on LangChain: thinking with answer and usage, and a tool call.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from modelstudio_core.config import API_KEY_VARIABLE, BASE_URL_VARIABLE

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/images/demo.svg"
WIDTH = 90
_ANSI = re.compile(r"\x1b\[[\d;]*m")
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def demo() -> str:
    """Return what the demo prints, with its colours."""
    hidden = (API_KEY_VARIABLE, BASE_URL_VARIABLE)
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    command = ["make", "--silent", "demo"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def langchain_parts(output: str) -> str:
    """Return the parts whose headings begin with LangChain, which come first."""
    lines = output.splitlines()
    plain = [_ANSI.sub("", line).lstrip("123456789. ") for line in lines]
    begins = [next(n for n, line in enumerate(plain) if line.startswith(name)) for name in ("LangChain", "LlamaIndex")]
    return "\n".join(lines[slice(*begins)]).rstrip()


def main() -> None:
    """Write the picture."""
    console = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print("$ make demo", style="bold")
    console.print(Text.from_ansi(langchain_parts(demo())))
    svg = console.export_svg(title="make demo", theme=MONOKAI)
    svg = _FONT.sub("", svg)  # from a web server, which pages of pictures may not ask
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(re.sub(r"terminal-\d+", "demo", svg), encoding="utf-8")
    print(f"wrote {PICTURE}, {len(svg) // 1024} kB")


if __name__ == "__main__":
    main()
