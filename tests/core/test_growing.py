"""Incremental parsing of JSON: partial values, and linear time."""

from __future__ import annotations

import pytest

from modelstudio_core import partial_json as growing
from modelstudio_core.partial_json import PartialObject, read_partial


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("{", {}),
        ('{"ci', {}),
        ('{"city":', {}),
        ('{"city": "New ', {"city": "New "}),
        ('{"city": "Hang", "days": [1, 2', {"city": "Hang", "days": [1, 2]}),
        ('{"city": "Hang", "sunny": tr', {"city": "Hang"}),
        ('{"a": {"b": "c', {"a": {"b": "c"}}),
        ("[1, 2]", {}),
        ("no JSON", {}),
        ('{"city": "杭', {"city": "杭"}),
    ],
)
def test_incomplete_json(text: str, value: dict[str, object]) -> None:
    """Strings are included as far as received; incomplete names and literals are not."""
    assert read_partial(text) == value


def test_invalid_json_keeps_the_last_object() -> None:
    """If the text turns out to be invalid."""
    object_ = PartialObject()
    assert object_.add('{"a": 1')
    assert not object_.add(", oops")
    assert object_.value == {"a": 1}
    assert object_.text == '{"a": 1, oops'


def test_a_long_text_is_read_in_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """For 20,000 fragments, less than twenty times the text is parsed, and the value stays up to date."""
    read = 0

    def counting(text: str, **how: object) -> object:
        nonlocal read
        read += len(text)
        return real(text, **how)  # type: ignore[arg-type]

    real = growing.from_json
    monkeypatch.setattr(growing, "from_json", counting)
    object_ = PartialObject()
    object_.add('{"text": "')
    for _ in range(20_000):
        object_.add("word ")
    assert read < 20 * len(object_.text) + growing._SHORT**2
    assert object_.value is not None
    assert len(object_.value["text"]) > 0.9 * len(object_.text)
    assert object_.read()
    assert object_.value["text"] == "word " * 20_000


def test_short_texts_are_parsed_at_each_fragment() -> None:
    """Because that is cheap."""
    object_ = PartialObject()
    object_.add('{"text": "')
    for letter in "hello":
        assert object_.add(letter)
        assert object_.value is not None
        assert object_.value["text"].endswith(letter)
