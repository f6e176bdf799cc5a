"""An import of an adapter loads only what a chat model needs. Other modules are imported at their first use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NOT_NEEDED = (
    "batches", "chat_format", "cli", "doctor", "files", "http.advice", "http.limiter", "http.temporary", "prices",
    "protocols.dashscope", "protocols.responses", "retrieval", "retrieval_settings", "tokens",
)  # fmt: skip
ADAPTERS = [
    (
        "langchain_modelstudio",
        "langchain_core.language_models.chat_models",
        ("batches", "embeddings", "rerank", "structured"),
        ("difflib", "langchain_core.tools.base", "httpcore", "sqlite3"),
    ),
    (
        "llama_index_modelstudio",
        "llama_index.core",
        ("embeddings", "multi_modal_embeddings", "rerank", "structured_llm"),
        ("difflib",),
    ),
]


@pytest.mark.parametrize(("adapter", "framework", "own", "foreign"), ADAPTERS)
def test_a_bare_import_loads_only_what_a_chat_model_needs(
    adapter: str, framework: str, own: tuple[str, ...], foreign: tuple[str, ...]
) -> None:
    code = f"""
import importlib, json, sys
import httpx  # which loads httpcore, before 0.28
importlib.import_module({framework!r})
before = set(sys.modules)
importlib.import_module({adapter!r})
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    loaded = set(json.loads(said.stdout))
    unneeded = {f"modelstudio_core.{name}" for name in NOT_NEEDED} | {f"{adapter}.{name}" for name in own} | {*foreign}
    assert f"{adapter}.{'chat_models' if 'langchain' in adapter else 'llm'}" in loaded
    assert not loaded & unneeded
