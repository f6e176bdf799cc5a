"""Make classes of immutable values, cheaper to import and to create than frozen dataclasses.

A dataclass compiles each of its methods at import, which is most of the import time of `modelstudio_core.types`. Here,
only `__init__` is compiled, and all classes share the other methods. They are frozen only for type checkers, because
creating a frozen one takes three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_class(cls: type[T]) -> type[T]:
    """Make a slots dataclass with the `==`, `hash` and `repr` of a frozen one."""
    cls.__eq__ = _equal  # type: ignore[method-assign]
    cls.__hash__ = _hash  # type: ignore[method-assign]
    cls.__repr__ = _repr  # type: ignore[method-assign]
    return dataclass(slots=True, eq=False, repr=False)(cls)


def _compared(made: Any) -> tuple[Any, ...]:
    return tuple(getattr(made, each.name) for each in fields(made) if each.compare)


def _equal(self: Any, other: Any) -> bool:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
