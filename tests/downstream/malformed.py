"""Malformed tool calls as models write them, shared by the tests of all frameworks."""

from __future__ import annotations

from tests.service import Answer, Call

ARGUMENTS = {
    "truncated": '{"city": "Ro',
    "trailing comma": '{"city": "Rome",}',
    "single quotes": "{'city': 'Rome'}",
    "list": '["Rome"]',
    "number": "5",
    "double-encoded": '"{\\"city\\": \\"Rome\\"}"',
}
"""The arguments of a call of `weather`; none is the text of a JSON object."""


def malformed(name: str, id: str = "call_bad") -> Answer:
    """Return an answer with one call that has these malformed arguments."""
    text = ARGUMENTS[name]
    call = Call(id, "weather", [text[:5], text[5:]])
    return Answer(calls=[call], finish="length" if name == "truncated" else "tool_calls")


def correct(id: str = "call_good", name: str = "weather", arguments: str = '{"city": "Rome"}') -> Answer:
    """Return an answer with one valid call."""
    return Answer(calls=[Call(id, name, [arguments[:5], arguments[5:]])])
