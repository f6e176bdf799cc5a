"""Alibaba Cloud Model Studio (Qwen and the other models it serves) for LlamaIndex.

from llama_index_modelstudio import ModelStudio

llm = ModelStudio(model="qwen-plus", enable_thinking=True)
"""

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise ImportError("llama_index_modelstudio needs: pip install 'modelstudio-integrations[llama-index]'") from error

from llama_index_modelstudio.embeddings import ModelStudioEmbedding
from llama_index_modelstudio.llm import ModelStudio
from modelstudio_core import __version__

__all__ = ["ModelStudio", "ModelStudioEmbedding", "__version__"]
