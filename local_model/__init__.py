"""Run a real small language model on loopback, with Model Studio's API and without a key.

    with local_model.running(thinking="on") as server:
        ...  # any client of the OpenAI-compatible endpoint, at server.base_url

The models run in llama.cpp's server, whatever model is requested: SmolLM2-135M-Instruct for chat, and all-MiniLM-L6-v2
for embeddings and rerank (English, 512 tokens per text, 384 dimensions). `server.native_base_url` is for embeddings in
the native protocol.
"""

from local_model.options import Options, Thinking
from local_model.process import RunningModel, running
from local_model.server import LocalModelError

__all__ = ["LocalModelError", "Options", "RunningModel", "Thinking", "running"]
