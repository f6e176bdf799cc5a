"""JSON that is still being written, read as far as it goes, in time linear in its length.

To parse the whole text anew at each piece is quadratic: 0.25 s for 1,000 pieces of a call's arguments, 4.3 s for 4,000
(measured with a pure Python parser). Here a text is parsed anew only once it has grown by a sixteenth, which adds up to
17 times its length; short texts, where that costs nothing, at each piece. What is shown in between is a little older.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from modelstudio_core.json_text import object_start

_SHORT = 1024
_GROWTH = 16


class GrowingObject:
    """The object that a growing text says so far.

    Attributes:
        text: all that was added.
        value: the object as far as it was read last; None while there is none. Strings that are not finished are
            there as far as they go, a name or literal that is not is left out.
    """

    __slots__ = ("_read", "text", "value")

    def __init__(self) -> None:
        self.text = ""
        self.value: dict[str, Any] | None = None
        self._read = 0  # how much of the text was read last

    def add(self, piece: str) -> bool:
        """Take the next piece; whether `value` was read anew."""
        self.text += piece
        size = len(self.text)
        if size > _SHORT and size - self._read < self._read // _GROWTH:
            return False
        return self.read()

    def read(self) -> bool:
        """Read all that is there; whether it is an object. What is none leaves `value` as it was."""
        self._read = len(self.text)
        try:
            value = from_json(self.text, allow_partial="trailing-strings")
        except ValueError:
            return False
        if not isinstance(value, dict):
            return False
        self.value = value
        return True


class GrowingAnswer(GrowingObject):
    """The object that a growing answer holds so far, alone, in a code fence or with words around it."""

    __slots__ = ("_before",)

    def __init__(self) -> None:
        super().__init__()
        self._before: list[str] | None = []  # what comes before the first brace, which decides

    def add(self, piece: str) -> bool:
        """Take the next piece of the answer. Return True if `value` was read anew."""
        if self._before is None:
            return bool(self.text) and super().add(piece)
        self._before.append(piece)
        if "{" not in piece:
            return False
        text, self._before = "".join(self._before), None
        start = object_start(text)
        return start is not None and super().add(text[start:])


def read_partial(text: str) -> dict[str, Any]:
    """The object that an unfinished text says so far; {} where there is none."""
    growing = GrowingObject()
    growing.add(text)
    return growing.value or {}
