"""Keep the values of per-call headers out of LlamaIndex's spans, events and callbacks, which record arguments."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.structured_llm import StructuredLLM

from modelstudio_core.parameters import hidden_arguments

if TYPE_CHECKING:
    from llama_index_modelstudio.llm import ModelStudio
    from modelstudio_core.batches import BatchJob
else:
    from llama_index_modelstudio.batches import BatchJob

C = TypeVar("C", bound=type)


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


@hide_headers("chat", "achat", "stream_chat", "astream_chat", "complete", "acomplete")
class ModelStudioStructuredLLM(StructuredLLM):
    """A `StructuredLLM` around a `ModelStudio`, which keeps `extra_headers` out of its traces as well."""

    def batch_job(self, prompts: Iterable[Any] | None = None, **options: Any) -> BatchJob[ChatResponse]:
        """Return a batch job whose responses have an object as `raw`; see `ModelStudio.batch_job`.

        An answer that holds no such object is a StructuredOutputError among the results.
        """
        return cast("ModelStudio", self.llm).batch_job(prompts, output_cls=self.output_cls, **options)
