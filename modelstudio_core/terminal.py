"""Make text of a server or a model safe to print: it must not move the cursor, set the title or fill the clipboard."""

from __future__ import annotations

_CONTROLS = (*range(0x20), 0x7F, *range(0x80, 0xA0))
_VISIBLE: dict[int, str | None] = {code: f"\\x{code:02x}" for code in _CONTROLS}
_VISIBLE |= {ord("\n"): "\n", ord("\t"): "\t", ord("\r"): ""}


def printable(text: str) -> str:
    r"""Return `text` with its control characters as \x1b and the like, except line breaks and tabs."""
    return text.translate(_VISIBLE)
