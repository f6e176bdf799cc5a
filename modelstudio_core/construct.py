"""Pydantic objects made by writing their state down: the same object at a fraction of the cost.

A stream makes two or three of a framework's objects an event, and validating them is most of what an event costs,
though nothing that is put into them can be invalid. What is written down is only right as long as nothing else happens
in the making. So at import objects are made both ways and compared, field by field; where they differ, because the
framework or pydantic changed, they are made the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_UNCHANGING = (str, int, float, bool, type(None))
_new = object.__new__


def _setter(slot: str) -> Callable[[BaseModel, Any], None]:
    """Writes a slot itself: the way by __setattr__ is pydantic's, which validates names and keeps a record."""
    found: Callable[[BaseModel, Any], None] = getattr(BaseModel.__dict__.get(slot), "__set__", _no_such_slot)
    return found


def _no_such_slot(made: BaseModel, value: Any) -> None:
    raise TypeError("this pydantic keeps the state of an object elsewhere")  # which `quick` heeds


_set_state = _setter("__dict__")
_set_fields = _setter("__pydantic_fields_set__")
_set_extra = _setter("__pydantic_extra__")
_set_private = _setter("__pydantic_private__")


def shell(cls: type[M], state: dict[str, Any], given: set[str], extra: dict[str, Any] | None = None) -> M:
    """An object with this state, as if made from the fields in `given`. All containers become its own."""
    made = _new(cls)
    _set_state(made, state)
    _set_fields(made, given)
    _set_extra(made, extra)
    _set_private(made, None)
    return made


def quick(make: Callable[..., M], ordinary: Callable[..., M], samples: Sequence[Mapping[str, Any]]) -> Callable[..., M]:
    """`make`, if it makes what `ordinary` makes; else `ordinary`.

    Args:
        make: takes what `ordinary` takes.
        ordinary: the class, or whatever makes the object through pydantic.
        samples: fields to try; for each field that follows from another one, two at least.
    """
    try:
        same = all(_makes_the_same(make, ordinary, sample) for sample in samples)
    except Exception:  # whatever a changed class does
        same = False
    return make if same else ordinary


def _makes_the_same(make: Callable[..., M], ordinary: Callable[..., M], sample: Mapping[str, Any]) -> bool:
    quickly, again = make(**sample), make(**sample)
    if _whole_state(quickly) != _whole_state(ordinary(**sample)):
        return False
    shared = (name for name, value in quickly.__dict__.items() if value is again.__dict__[name] and name not in sample)
    return all(isinstance(quickly.__dict__[name], _UNCHANGING) for name in shared)


def _whole_state(made: BaseModel) -> Any:
    """All that pydantic keeps of an object, in order and with the types, deep."""
    slots = (made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__)
    return type(made), [(name, _comparable(value)) for name, value in made.__dict__.items()], slots


def _comparable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _whole_state(value)
    if isinstance(value, list):
        return list, [_comparable(item) for item in value]
    return type(value), value
