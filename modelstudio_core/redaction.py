"""Takes a secret out of what a server said, in whatever form it repeats it.

It may come as it is, cut off, in other case, or escaped for JSON, a URL or HTML, once or several times. Every form of a
character begins with a sign of its own and every repetition has a limit, so that a search is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from html.entities import html5
from typing import Any

_REDACTED = "[redacted]"
_SHORTEST_SECRET = 8  # what is shorter is no key, and may stand in any text
_SHORTEST_BEGINNING = 12  # of a secret that was cut off


class Cleaner:
    """Takes a secret out of values. Shows neither the secret nor a pattern of it, whoever prints it.

    A message may show the beginning of what came, so that a secret may be cut off: its beginning is taken out, too.
    """

    __slots__ = ("_begins", "_goes_on", "_secret")

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._begins: re.Pattern[str] | None = None  # made where it is needed
        self._goes_on: list[re.Pattern[str]] = []

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._text(value.decode("latin-1")).encode("latin-1")
        if isinstance(value, Mapping):
            return {self(key): self(item) for key, item in value.items()}
        for kind in (list, tuple, set, frozenset):
            if isinstance(value, kind):
                return kind(self(item) for item in value)
        if is_dataclass(value) and not isinstance(value, type):
            found = {field.name: getattr(value, field.name) for field in fields(value)}
            clean = {name: self(item) for name, item in found.items()}
            return value if clean == found else replace(value, **clean)
        return value

    def _text(self, text: str) -> str:
        if len(self._secret) < _SHORTEST_SECRET:
            return text
        known = self._secret[:_SHORTEST_BEGINNING].lower() in text.lower()
        if not known and not any(sign in text for sign in "\\%&"):
            return text
        try:
            return "".join(self._kept(text))
        except RecursionError:  # asked for deep down in a stack
            return _REDACTED

    def _kept(self, text: str) -> Iterator[str]:
        """The pieces of a text around the secret, and what stands in its place."""
        if self._begins is None:
            said = re.findall(r"\\+|[^\\]", self._secret)
            self._begins = re.compile("".join(map(_forms_of, said[:_SHORTEST_BEGINNING])))
            self._goes_on = [re.compile(_forms_of(each)) for each in said[_SHORTEST_BEGINNING:]]
        at = 0
        while found := self._begins.search(text, at):
            yield text[at : found.start()]
            yield _REDACTED
            at = found.end()
            for each in self._goes_on:
                if (more := each.match(text, at)) is None:
                    break
                at = more.end()
        yield text[at:]


# How often what begins an escape may be escaped itself: limits, so that no text takes long.
_BACKSLASHES, _PERCENTS, _AMPERSANDS = r"\\{0,7}", "(?:25){0,7}", r"(?:amp;|\#38;|\#[xX]26;){0,7}"


@lru_cache(maxsize=512)
def _forms_of(said: str) -> str:
    """A pattern for a character, or a run of backslashes, in any form: itself, or escaped for JSON, a URL or HTML, once
    or several times. Header names come in small letters, so case is no matter.

    Every form begins with a sign of its own, so that little is done where none can begin.
    """
    cases = sorted({case for case in (said[0], said[0].lower(), said[0].upper()) if len(case) == 1})
    literally = [re.escape(case) for case in cases]
    names = sorted({name.removesuffix(";") for name, known in html5.items() if known in cases})
    numbers = [form for case in cases for form in (rf"\#0{{0,7}}{ord(case)}", rf"\#[xX]0{{0,7}}{_hex(ord(case), 1)}")]
    in_html = f"{_AMPERSANDS}(?:{'|'.join(names + numbers)});?"
    in_url = _PERCENTS + _any(
        f"%{_PERCENTS}".join(_hex(octet) for octet in case.encode("utf-8", "surrogatepass")) for case in cases
    )
    in_json = [rf"\\{_BACKSLASHES}".join(f"u{_hex(unit, 4)}" for unit in _units(case)) for case in cases]
    in_json += [f"x{_hex(ord(case))}" for case in cases if ord(case) < 256]
    in_json += [f"u{_hex(ord('&'), 4)}{in_html}", f"u{_hex(ord('%'), 4)}{in_url}"]
    if said.startswith("\\"):
        escaped = _any([rf"\\{_BACKSLASHES}{_any(in_json)}", f"%{in_url}", f"&{in_html}"])
        return _any([f"{escaped}{{{len(said)}}}", rf"\\{{{len(said)},{8 * len(said)}}}"])
    return _any([rf"\\{_BACKSLASHES}{_any(in_json + literally)}", f"%{in_url}", f"&{in_html}", *literally])


def _any(forms: Iterable[str]) -> str:
    return f"(?:{'|'.join(forms)})"


def _hex(number: int, digits: int = 2) -> str:
    """A pattern for a number in base 16, in small letters or capitals."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{number:0{digits}x}")


def _units(character: str) -> list[int]:
    """The numbers of a character in UTF-16, which JSON escapes."""
    octets = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)]
