"""Parse JSON that grows in fragments, in time linear in its length.

Parsing the whole text for every fragment is quadratic: 0.25 s for 1,000 fragments of tool arguments, 4.3 s for 4,000
(measured with a pure Python parser). Here, a text over 1 KiB is parsed again only when it has grown by a sixteenth, so
the total work is at most 17 times its length. In between, `value` is slightly out of date.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from modelstudio_core.json_text import object_start

_SHORT = 1024
_GROWTH = 16


class PartialObject:
    """The JSON object in a growing text.

    Attributes:
        text: the text added so far.
        value: the object as last parsed; None before the first one. Incomplete strings are included, incomplete names
            and literals are not.
    """

    __slots__ = ("_read", "text", "value")

    def __init__(self) -> None:
        self.text = ""
        self.value: dict[str, Any] | None = None
        self._read = 0  # length of the text when last parsed

    def add(self, fragment: str) -> bool:
        """Add a fragment. Return True if `value` was updated."""
        self.text += fragment
        size = len(self.text)
        if size > _SHORT and size - self._read < self._read // _GROWTH:
            return False
        return self.read()

    def read(self) -> bool:
        """Parse the text. Return True if it is an object; otherwise `value` is unchanged."""
        self._read = len(self.text)
        try:
            value = from_json(self.text, allow_partial="trailing-strings")
        except ValueError:
            return False
        if not isinstance(value, dict):
            return False
        self.value = value
        return True


class PartialAnswer(PartialObject):
    """The JSON object in a growing answer, which may be in a code fence or surrounded by text."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        super().__init__()
        self._before: list[str] | None = []  # text before the first brace

    def add(self, fragment: str) -> bool:
        """Add a fragment of the answer. Return True if `value` was updated."""
        if self._before is None:
            return bool(self.text) and super().add(fragment)
        self._before.append(fragment)
        if "{" not in fragment:
            return False
        text, self._before = "".join(self._before), None
        start = object_start(text)
        return start is not None and super().add(text[start:])


def read_partial(text: str) -> dict[str, Any]:
    """Return the object in an incomplete JSON text, or {} if there is none."""
    growing = PartialObject()
    growing.add(text)
    return growing.value or {}
