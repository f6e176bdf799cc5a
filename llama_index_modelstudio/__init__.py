"""Alibaba Cloud Model Studio (Qwen and the other models it serves) for LlamaIndex.

from llama_index_modelstudio import ModelStudio

llm = ModelStudio(model="qwen-plus", enable_thinking=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise ImportError(
        "llama_index_modelstudio needs: pip install 'modelstudio-integrations[llama-index]' "
        "(in a clone: pip install '.[llama-index]')"
    ) from error

from llama_index_modelstudio.llm import ModelStudio
from modelstudio_core import __version__

if TYPE_CHECKING:
    from llama_index_modelstudio.embeddings import ModelStudioEmbedding
    from llama_index_modelstudio.multi_modal_embeddings import ModelStudioMultiModalEmbedding
    from llama_index_modelstudio.rerank import ModelStudioRerank

__all__ = [
    "ModelStudio",
    "ModelStudioEmbedding",
    "ModelStudioMultiModalEmbedding",
    "ModelStudioRerank",
    "__version__",
]

# imported at first use: they take 40 ms, which an LLM need not wait for
_LAZY = {
    "ModelStudioEmbedding": "embeddings",
    "ModelStudioMultiModalEmbedding": "multi_modal_embeddings",
    "ModelStudioRerank": "rerank",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
