"""Construct pydantic objects without validation, by setting their state directly.

A stream creates two or three framework objects per event, and validating them takes most of the time, although their
values are always valid. Setting the state directly is correct only while construction has no other effects. So at
import, objects are constructed both ways and compared; if they differ, because the framework or pydantic changed, the
validating constructor is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_IMMUTABLE = (str, int, float, bool, type(None))
_new = object.__new__


def _setter(slot: str) -> Callable[[BaseModel, Any], None]:
    """Return a setter of a slot that bypasses pydantic's __setattr__."""
    found: Callable[[BaseModel, Any], None] = getattr(BaseModel.__dict__.get(slot), "__set__", _no_such_slot)
    return found


def _no_such_slot(made: BaseModel, value: Any) -> None:
    raise TypeError("this pydantic version stores the state elsewhere")  # handled in `fast_if_equal`


_set_state = _setter("__dict__")
_set_fields = _setter("__pydantic_fields_set__")
_set_extra = _setter("__pydantic_extra__")
_set_private = _setter("__pydantic_private__")


def construct(cls: type[M], state: dict[str, Any], given: set[str], extra: dict[str, Any] | None = None) -> M:
    """Return an object with this state, as if constructed with the fields in `given`. Containers are not copied."""
    made = _new(cls)
    _set_state(made, state)
    _set_fields(made, given)
    _set_extra(made, extra)
    _set_private(made, None)
    return made


def fast_if_equal(
    make: Callable[..., M], validating: Callable[..., M], samples: Sequence[Mapping[str, Any]]
) -> Callable[..., M]:
    """Return `make` if it constructs the same objects as `validating`, else `validating`.

    Args:
        make: the fast constructor, with the parameters of `validating`.
        validating: the class, or a function that constructs the object through pydantic.
        samples: arguments to compare; at least two for each field that is derived from another one.
    """
    try:
        same = all(_constructs_equal(make, validating, sample) for sample in samples)
    except Exception:  # a changed class can raise anything
        same = False
    return make if same else validating


def _constructs_equal(make: Callable[..., M], validating: Callable[..., M], sample: Mapping[str, Any]) -> bool:
    quickly, again = make(**sample), make(**sample)
    if _complete_state(quickly) != _complete_state(validating(**sample)):
        return False
    shared = (name for name, value in quickly.__dict__.items() if value is again.__dict__[name] and name not in sample)
    return all(isinstance(quickly.__dict__[name], _IMMUTABLE) for name in shared)


def _complete_state(made: BaseModel) -> Any:
    """Return the complete pydantic state of an object, recursively, with order and types."""
    slots = (made.__pydantic_fields_set__, made.__pydantic_extra__, made.__pydantic_private__)
    return type(made), [(name, _comparable(value)) for name, value in made.__dict__.items()], slots


def _comparable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _complete_state(value)
    if isinstance(value, list):
        return list, [_comparable(item) for item in value]
    return type(value), value
