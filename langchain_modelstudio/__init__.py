"""Alibaba Cloud Model Studio (Qwen and the other models it serves) for LangChain and LangGraph.

from langchain_modelstudio import ChatModelStudio

llm = ChatModelStudio(model="qwen-plus", enable_thinking=True)
"""

try:
    # this first: langchain-core's own import takes 40 ms more where its parts are asked for in another order
    import langchain_core.language_models.chat_models  # noqa: F401
except ImportError as error:
    raise ImportError("langchain_modelstudio needs: pip install 'modelstudio-integrations[langchain]'") from error

from langchain_modelstudio.binding import ModelStudioBinding
from langchain_modelstudio.chat_models import ChatModelStudio
from langchain_modelstudio.content_blocks import register_blocks
from langchain_modelstudio.serialization import register
from modelstudio_core import __version__

register(ChatModelStudio)
register(ModelStudioBinding)
register_blocks()

__all__ = ["ChatModelStudio", "__version__"]
