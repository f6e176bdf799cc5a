"""Values behave like frozen dataclasses, except that their fields can be set at run time."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field, fields, replace
from typing import Any
from unittest.mock import ANY

import pytest

from modelstudio_core import types
from modelstudio_core.values import value_class


@value_class
class Point:
    x: int
    y: int | None = None
    secret: str = field(default="", repr=False)
    note: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: int | None = None
    secret: str = field(default="", repr=False)
    note: list[str] = field(default_factory=list, compare=False)


CASES: list[dict[str, Any]] = [{"x": 1}, {"x": 1, "y": 2}, {"x": 1, "secret": "s"}, {"x": 1, "note": ["a"]}, {"x": 2}]


@pytest.mark.parametrize("case", CASES)
def test_values_compare_hash_and_show_like_frozen_dataclasses(case: dict[str, Any]) -> None:
    made, frozen = Point(**case), Frozen(**case)
    assert repr(made) == repr(frozen).replace("Frozen", "Point")
    assert hash(made) == hash(frozen)
    for other in CASES:
        assert (made == Point(**other)) is (frozen == Frozen(**other))
        assert (made != Point(**other)) is (frozen != Frozen(**other))
    assert made != frozen
    assert made == ANY  # the other side decides


def test_values_of_a_subclass_differ() -> None:
    class Pixel(Point):
        pass

    assert Point(1) != Pixel(1)
    assert Pixel(1) != Point(1)
    assert repr(Pixel(1)) == f"{Pixel.__qualname__}(x=1, y=None, note=[])"


@pytest.mark.parametrize("case", CASES)
def test_values_survive_copies_pickles_and_replacement(case: dict[str, Any]) -> None:
    made = Point(**case)
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), replace(made)):
        assert type(other) is Point
        assert [getattr(other, each.name) for each in fields(other)] == [
            getattr(made, each.name) for each in fields(made)
        ]
    assert replace(made, x=7) == Point(**{**case, "x": 7})


def test_values_have_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]


def test_values_with_unhashable_fields_cannot_be_hashed() -> None:
    with pytest.raises(TypeError):
        hash(types.ChatRequest("qwen-plus", ()))


def test_values_match_positionally() -> None:
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
