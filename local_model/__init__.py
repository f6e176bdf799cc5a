"""A real small language model behind Model Studio's dialect, on loopback, without a key.

    with local_model.running(thinking="on") as server:
        ...  # any client of the OpenAI-compatible endpoint, at server.base_url

llama.cpp's server answers: chat by SmolLM2-135M-Instruct, embeddings and rerank by all-MiniLM-L6-v2, which reads
English, takes 512 tokens of a text, and makes vectors of 384 dimensions, whatever model is asked for.
`server.native_base_url` is for embeddings in the native protocol.
"""

from local_model.options import Options, Thinking
from local_model.process import RunningModel, running
from local_model.server import LocalModelError

__all__ = ["LocalModelError", "Options", "RunningModel", "Thinking", "running"]
