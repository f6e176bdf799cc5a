"""Assign the lines of a batch job to files. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from modelstudio_core.batches.journal import File
from modelstudio_core.batches.lines import Group
from modelstudio_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a file. They do not exceed those of the service."""

    lines: int
    bytes: int


class Packer:
    """Assign lines to files: one group per file, within the limits."""

    def __init__(self, files: list[File], limits: Limits) -> None:
        self._limits = limits
        self._next = max((file.number for file in files), default=0) + 1
        self._open = {file.grp: file for file in files if not file.closed}
        self._limits_by_group: dict[str, Limits] = {}
        self._changed: dict[int, File] = {}

    def assign(self, position: int, group: Group, size: int) -> int:
        """Assign the line of an input to a file, and return its number. `size` is the length in bytes."""
        file = self._open.get(group.key)
        limits = self._limits_by_group.get(group.key)
        if limits is None:
            limits = Limits(min(self._limits.lines, group.max_lines), min(self._limits.bytes, group.max_bytes))
            self._limits_by_group[group.key] = limits
        if file is None or file.lines >= limits.lines or file.bytes + size > limits.bytes:
            file = self._new_file(position, group, size, limits)
        file.last = position
        file.lines += 1
        file.bytes += size
        self._changed[file.number] = file
        return file.number

    def _new_file(self, position: int, group: Group, size: int, limits: Limits) -> File:
        """Close the open file of a group, and create the next one."""
        if size > limits.bytes:
            raise ConfigurationError(
                f"prompts[{position}] makes a line of {size} bytes, and a file is limited to {limits.bytes} "
                "(bytes_per_file): shorten it. Nothing was uploaded"
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
