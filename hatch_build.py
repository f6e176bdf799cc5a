"""Make the README's relative links absolute for the package index, by `project.urls.Repository` of pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"(!\[[^\]]*\]\()(?!https?:|#)([^)\s]+)")
_LINK = re.compile(r"((?<!!)\[[^\]]*\]\()(?!https?:|#|mailto:)([^)\s]+)")


def absolute_links(text: str, repository: str) -> str:
    """Return Markdown with absolute links: images as raw files, and everything else as pages of the repository."""
    text = _IMAGE.sub(rf"\g<1>{repository}/raw/main/\g<2>", text)
    return _LINK.sub(rf"\g<1>{repository}/blob/main/\g<2>", text)


class ReadmeHook(MetadataHookInterface):
    """Set the field `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read README.md, and set it with absolute links."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata["urls"]["Repository"].rstrip("/")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute_links(text, repository)}
