"""Pydantic objects made by copying the state of one that pydantic made: the same object at a fraction of the cost.

A stream makes two or three of a framework's objects an event, and validating them is most of what an event costs,
though nothing that is put into them can be invalid. A copy is only right as long as nothing else happens in the
making. So at import objects are made both ways and compared, field by field; where they differ, because the framework
or pydantic changed, they are made the ordinary way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

_UNCHANGING = (str, int, float, bool, type(None))
_set = object.__setattr__  # pydantic's own would validate names and keep a record


def copier(
    cls: type[M], samples: Sequence[Mapping[str, Any]], *, after: Callable[[M], object] | None = None
) -> Callable[..., M]:
    """A quick `cls(**fields)`, for fields like those of `samples`; `cls` itself where a copy would not be the same.

    What is given becomes part of the object as it is: it has to be valid, and its containers the object's own.

    Args:
        cls: the class.
        samples: arguments to try; for each field that follows from another one, two at least.
        after: what the class does with an object at the end of its making, called with each copy.
    """
    try:
        copied = _copier(cls, samples[0], after)
        same = all(_whole_state(cls(**sample)) == _whole_state(copied(**sample)) for sample in samples)
    except Exception:  # whatever a changed class does
        return cls
    return copied if same else cls


def _copier(cls: type[M], sample: Mapping[str, Any], after: Callable[[M], object] | None) -> Callable[..., M]:
    made = cls(**sample)
    template = made.__dict__
    kept = {name: value for name, value in template.items() if name not in sample}
    fresh = [(name, type(value)) for name, value in kept.items() if type(value) in (list, dict) and not value]
    known = {name for name, _ in fresh}
    if any(name not in known and not isinstance(value, _UNCHANGING) for name, value in kept.items()):
        raise TypeError("copies would share what can change")
    no_extra = made.__pydantic_extra__ is None
    new = object.__new__

    def copied(**fields: Any) -> M:
        state = template.copy()
        for name, kind in fresh:
            state[name] = kind()
        state.update(fields)
        copy: M = new(cls)
        _set(copy, "__dict__", state)
        _set(copy, "__pydantic_fields_set__", set(fields))
        _set(copy, "__pydantic_extra__", None if no_extra else {})
        _set(copy, "__pydantic_private__", None)
        if after is not None:
            after(copy)
        return copy

    return copied


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
