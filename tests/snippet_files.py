"""Write the snippets of the README and the documentation as modules: `python -m tests.snippet_files FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.snippets import ROOT, snippets

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def write(folder: Path, *, marked: bool = True) -> int:
    """Write a module for each snippet, named for its page and number, and return how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for page in PAGES:
        for number, code in enumerate(snippets(page, marked=marked)):
            name = f"{Path(page).stem.lower().replace('-', '_')}_{number}.py"
            (folder / name).write_text(code, encoding="utf-8")
            written += 1
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]))
