"""Extend LlamaIndex's `StructuredLLM`, which `as_structured_llm` returns. Imported at its first use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from llama_index.core.base.llms.types import ChatResponse
from llama_index.core.llms.structured_llm import StructuredLLM

from llama_index_modelstudio.tracing import hide_headers

if TYPE_CHECKING:
    from llama_index_modelstudio.llm import ModelStudio
    from modelstudio_core.batches import BatchJob
else:
    from llama_index_modelstudio.batches import BatchJob


@hide_headers("chat", "achat", "stream_chat", "astream_chat", "complete", "acomplete")
class ModelStudioStructuredLLM(StructuredLLM):
    """A `StructuredLLM` around a `ModelStudio`, which keeps `extra_headers` out of its traces as well."""

    def batch_job(self, prompts: Iterable[Any] | None = None, **options: Any) -> BatchJob[ChatResponse]:
        """Return a batch job whose responses have an object as `raw`; see `ModelStudio.batch_job`.

        An answer that holds no such object is a StructuredOutputError among the results.
        """
        return cast("ModelStudio", self.llm).batch_job(prompts, output_cls=self.output_cls, **options)
