"""A character escaped in two halves, as `\\ud83d` at the end of one event and `\\ude80` at the beginning of another.

JSON may say so, and a server that cuts its text by UTF-16 units does. Neither half is text. So the first is held back
until its fellow comes, in the same part of the same answer; a half that stays alone becomes U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from modelstudio_core.types import AudioDelta, Delta, FinishDelta, ReasoningDelta, TextDelta, ToolCallDelta

SURROGATES = re.compile("[\ud800-\udfff]")
_FIRST_HALF = re.compile("[\ud800-\udbff]$")
# in which fields of an event a text may be cut
_TORN = frozenset(("content", "text", "reasoning_content", "reasoning", "arguments", "transcript"))
_FIELDS: dict[type, str] = {TextDelta: "text", ReasoningDelta: "text", ToolCallDelta: "arguments",
                            AudioDelta: "transcript"}  # fmt: skip
_OTHERS = ("id", "name", "data", "expires_at")  # what else such a delta may say
_Part: TypeAlias = tuple[type, int, int]


class Halves:
    """Joins the halves of one stream. Idle until an event has half a character, which `keep` notes."""

    __slots__ = ("_held", "torn")

    def __init__(self) -> None:
        self.torn = False
        self._held: dict[_Part, Any] = {}  # the delta that ended with a half, with nothing but it

    def keep(self, value: Any, name: str = "") -> Any:
        """The value of an event with the halves that may have a fellow, and U+FFFD in place of all others."""
        self.torn = True
        if isinstance(value, str):
            return value if name in _TORN else SURROGATES.sub("\ufffd", value)
        if isinstance(value, list):
            return [self.keep(item, name) for item in value]
        if isinstance(value, dict):
            return {self.keep(key): self.keep(item, key) for key, item in value.items()}
        return value

    def joined(self, deltas: Iterable[Delta], *, ended: bool) -> list[Delta]:
        """The deltas, with each half where its fellow is. A half is given up where its answer, or the stream, ends."""
        whole: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, FinishDelta):
                whole += self._given_up(delta.choice)
            whole += self._joined(delta)
        return whole + self._given_up(None) if ended else whole

    def _given_up(self, choice: int | None) -> list[Delta]:
        parts = [part for part in self._held if choice is None or part[1] == choice]
        return [replace(self._held.pop(part), **{_FIELDS[part[0]]: "\ufffd"}) for part in parts]

    def _joined(self, delta: Any) -> list[Any]:
        field = _FIELDS.get(type(delta))
        if field is None:
            return [delta]
        part: _Part = (type(delta), delta.choice, getattr(delta, "index", 0))
        text = getattr(delta, field)
        if (held := self._held.pop(part, None)) is not None:
            text = getattr(held, field) + text
        if _FIRST_HALF.search(text):
            said = {name: type(getattr(delta, name))() for name in _OTHERS if getattr(delta, name, None)}
            self._held[part] = replace(delta, **said, **{field: text[-1]})
            text = text[:-1]
        if not text and not any(getattr(delta, name, None) for name in _OTHERS):
            return []
        return [replace(delta, **{field: text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")})]
