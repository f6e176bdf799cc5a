"""Keep the values of per-call headers out of LlamaIndex's spans, events and callbacks, which record arguments.

Methods that call the overridden one do so without its span, because they have one.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from modelstudio_core.parameters import hidden_arguments

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])


def without_span(method: F) -> F:
    """Return a method of a base class without the span that LlamaIndex wraps around it.

    If another package has replaced or wrapped the method, return it as it is.
    """
    inner = getattr(method, "__wrapped__", None)
    return cast(F, inner) if inspect.ismethod(inner) and not hasattr(inner, "__wrapped__") else method


def hide_headers(*methods: str) -> Callable[[C], C]:
    """Return a class decorator that hides the values of `extra_headers` (also in `llm_kwargs`) passed to `methods`.

    This is a class decorator because LlamaIndex wraps the methods for its spans when the class is created.
    """

    def decorate(cls: C) -> C:
        for name in methods:
            setattr(cls, name, _hiding(inspect.getattr_static(cls, name)))
        return cls

    return decorate


def _hiding(method: Any) -> Callable[..., Any]:
    takes_prompt = (
        "prompt_args" in inspect.signature(method).parameters
    )  # whose variables are named; else arguments of the call

    @functools.wraps(method)
    def hiding(self: Any, *args: Any, **kwargs: Any) -> Any:
        if "llm_kwargs" in kwargs:
            kwargs["llm_kwargs"] = _hidden(kwargs["llm_kwargs"])
        return method.__get__(self)(*map(_hidden, args), **(kwargs if takes_prompt else hidden_arguments(kwargs)))

    @functools.wraps(method)
    async def ahiding(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await hiding(self, *args, **kwargs)

    return ahiding if inspect.iscoroutinefunction(method) else hiding


def _hidden(argument: Any) -> Any:
    """Return an argument; if it is a mapping of a call's arguments, such as `llm_kwargs`, a copy that hides secrets."""
    return hidden_arguments(argument) if isinstance(argument, Mapping) else argument
