"""Distribute the lines of a batch job to files. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from modelstudio_core.batches.journal import File
from modelstudio_core.batches.lines import Group
from modelstudio_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a file, below those of the service."""

    lines: int
    bytes: int


class Packer:
    """Distribute lines to files: one group per file, and no more lines or bytes than the limits."""

    def __init__(self, files: list[File], limits: Limits) -> None:
        self._limits = limits
        self._next = max((file.number for file in files), default=0) + 1
        self._open = {file.grp: file for file in files if not file.closed}
        self._most: dict[str, Limits] = {}
        self._changed: dict[int, File] = {}

    def place(self, position: int, group: Group, size: int) -> int:
        """Return the number of the file that the line of an input goes to. `size` is its length in bytes."""
        file = self._open.get(group.key)
        most = self._most.get(group.key)
        if most is None:
            most = Limits(min(self._limits.lines, group.max_lines), min(self._limits.bytes, group.max_bytes))
            self._most[group.key] = most
        if file is None or file.lines >= most.lines or file.bytes + size > most.bytes:
            file = self._begin(position, group, size, most)
        file.last = position
        file.lines += 1
        file.bytes += size
        self._changed[file.number] = file
        return file.number

    def _begin(self, position: int, group: Group, size: int, most: Limits) -> File:
        """Begin another file of a group."""
        if size > most.bytes:
            raise ConfigurationError(
                f"prompts[{position}] makes a line of {size} bytes, and a file may have {most.bytes} (bytes_per_file): "
                "shorten it. Nothing was uploaded"
            )
        if (full := self._open.get(group.key)) is not None:
            full.closed = 1
            self._changed[full.number] = full
        file = self._open[group.key] = File(self._next, group.key, group.endpoint, position, position, 0, 0)
        self._next += 1
        return file

    def changed(self) -> list[File]:
        """Return the files that have changed since the last call."""
        changed, self._changed = list(self._changed.values()), {}
        return changed
