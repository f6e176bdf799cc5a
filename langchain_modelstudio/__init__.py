"""Alibaba Cloud Model Studio (Qwen and the other models it serves) for LangChain and LangGraph.

from langchain_modelstudio import ChatModelStudio

llm = ChatModelStudio(model="qwen-plus", enable_thinking=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    # import this first: other orders make the import of langchain-core 40 ms slower
    import langchain_core.language_models.chat_models  # noqa: F401
except ImportError as error:
    raise ImportError(
        "langchain_modelstudio needs: pip install 'modelstudio-integrations[langchain]' "
        "(in a clone: pip install '.[langchain]')"
    ) from error

from langchain_modelstudio.binding import ModelStudioBinding
from langchain_modelstudio.chat_models import ChatModelStudio
from langchain_modelstudio.content_blocks import register_blocks
from langchain_modelstudio.serialization import register
from modelstudio_core import __version__

if TYPE_CHECKING:
    from langchain_modelstudio.embeddings import ModelStudioEmbeddings
    from langchain_modelstudio.rerank import ModelStudioRerank

register(ChatModelStudio)
register(ModelStudioBinding)
register_blocks()

__all__ = ["ChatModelStudio", "ModelStudioEmbeddings", "ModelStudioRerank", "__version__"]

# imported at first use: they take 35 ms, which a chat model need not wait for
_LAZY = {"ModelStudioEmbeddings": "embeddings", "ModelStudioRerank": "rerank"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
