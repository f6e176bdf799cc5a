"""A real small language model behind Model Studio's dialect, on loopback, without a key.

    with local_model.running(thinking="on") as server:
        ...  # any client of the OpenAI-compatible endpoint, at server.base_url

llama.cpp's server and SmolLM2-135M-Instruct do the answering; only requests are rewritten here.
"""

from local_model.options import Options, Thinking
from local_model.process import RunningModel, running
from local_model.server import LocalModelError

__all__ = ["LocalModelError", "Options", "RunningModel", "Thinking", "running"]
