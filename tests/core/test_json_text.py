"""Finding the JSON object in the text of an answer."""

from __future__ import annotations

import pytest

from modelstudio_core.json_text import object_start, object_text
from modelstudio_core.partial_json import PartialAnswer

OBJECT = '{"a": {"b": "```[1]"}}'
WHOLE = [
    OBJECT,
    f"\n {OBJECT} \n",
    f"```json\n{OBJECT}\n```",
    f"Of [1] and [2]:\n```\n{OBJECT}\n```\nSee [3].",
    f"Here: {OBJECT} Done.",
    f"```json\n{OBJECT}\n```\nFor {{x}}.",
    f"For {{x}}:\n```json\n{OBJECT}\n```",
]
BROKEN = {
    "": "no JSON object",
    "[]": "no JSON object",
    "3": "no JSON object",
    f"[{OBJECT}]": "no JSON object",
    f"```json\n[{OBJECT}]\n```": "no JSON object",
    "{": "not JSON",
    '{"a": 1,}': "not JSON",
    '{"a": {"b": 1}': "not JSON",
    "{'a': 1}": "not JSON",
    '{"code": "```json {}': "not JSON",
    '{"code": "```json\\n{}': "not JSON",
    '{"a": ' + "[" * 200_000: "not JSON",
    f"{OBJECT} {OBJECT}": "more than one",
    f"{OBJECT}}}": "more than one",
    f"{OBJECT}]": "more than one",
    f"{OBJECT}, 1": "more than one",
    f"```json\n{OBJECT}\n{OBJECT}\n```": "more than one",
    f"```json\n{OBJECT}\n```\n```json\n{OBJECT}\n```": "more than one",
}


@pytest.mark.parametrize("text", WHOLE)
def test_the_one_object(text: str) -> None:
    """Alone, in a code fence, or surrounded by words."""
    assert object_text(text) == OBJECT
    assert text[object_start(text) :].startswith(OBJECT)


@pytest.mark.parametrize(("text", "why"), BROKEN.items(), ids=[text[:30] for text in BROKEN])
def test_no_single_object(text: str, why: str) -> None:
    """Nothing is repaired. The error has the reason and quotes the text."""
    with pytest.raises(ValueError, match=why) as raised:
        object_text(text)
    assert repr(text[:200]) in str(raised.value)


@pytest.mark.parametrize("text", WHOLE[:-1])
@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_growing_object(text: str, size: int) -> None:
    """Its parts are available from the first brace on."""
    growing = PartialAnswer()
    values = [growing.value for at in range(0, len(text), size) if growing.add(text[at : at + size])]
    assert values
    assert growing.value is not None
    assert growing.value["a"] in ({}, {"b": "```[1]"})


@pytest.mark.parametrize("text", [f"[{OBJECT}, {OBJECT}]", "no object", "[1]"])
def test_a_list_shows_nothing(text: str) -> None:
    """A list, or text without an object, has no parts."""
    growing = PartialAnswer()
    assert not any(growing.add(letter) for letter in text)
    assert growing.value is None
