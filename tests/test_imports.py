"""An import of an adapter loads only what a chat model needs. Other modules are imported at their first use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.loopback import Loopback
from tests.service import Answer

NOT_NEEDED = (
    "batches", "chat_format", "cli", "doctor", "files", "http.advice", "http.limiter", "http.temporary", "prices",
    "protocols.dashscope", "protocols.responses", "protocols.responses_requests", "retrieval", "retrieval_settings",
    "tokens",
)  # fmt: skip
ADAPTERS = [
    (
        "langchain_modelstudio",
        "langchain_core.language_models.chat_models",
        ("batches", "embeddings", "rerank", "structured"),
        ("difflib", "langchain_core.tools.base", "langchain_core.utils.function_calling", "httpcore", "sqlite3"),
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


@pytest.mark.parametrize("model", ["langchain_modelstudio.ChatModelStudio", "llama_index_modelstudio.ModelStudio"])
@pytest.mark.parametrize("protocol", ["openai", "dashscope", "responses"])
def test_an_error_needs_no_import(model: str, protocol: str) -> None:
    """A process that is out of file descriptors cannot import, and would get an OSError instead of the error."""
    package, _, name = model.partition(".")
    code = f"""
import sys
from {package} import {name}
from {package}.errors import APIConnectionError

def call(url):
    llm = {name}(model="qwen-plus", api_key="k", base_url=url, protocol={protocol!r}, max_retries=1)
    llm.invoke("Hi") if hasattr(llm, "invoke") else llm.complete("Hi")

call(sys.argv[1])
before = set(sys.modules)
try:
    call("http://127.0.0.1:1")
except APIConnectionError:
    print(sorted(set(sys.modules) - before))
"""
    with Loopback(Answer(text=["Hello."])) as server:
        command = [sys.executable, "-W", "ignore", "-c", code, server.url]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert said.stdout == "[]\n"


CALLS = {
    "langchain_modelstudio": "print(adapter.ChatModelStudio(**settings).invoke('?').text)",
    "llama_index_modelstudio": "print(adapter.ModelStudio(**settings).complete('?').text)",
}


@pytest.mark.parametrize("adapter", CALLS)
def test_a_first_call_without_limits_loads_no_others(adapter: str) -> None:
    """It loads the advice of errors, as the test above says."""
    message = {"role": "assistant", "content": "Yes."}
    answer = {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    code = f"""
import json, sys
import httpx
import {adapter} as adapter
service = httpx.MockTransport(lambda request: httpx.Response(200, json={answer!r}))
settings = dict(model="qwen-max", api_key="sk-1", http_client=httpx.Client(transport=service))
{CALLS[adapter]}
print(json.dumps(sorted(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    text, loaded = said.stdout.splitlines()
    assert text == "Yes."
    assert {*NOT_NEEDED} & {name.removeprefix("modelstudio_core.") for name in json.loads(loaded)} == {"http.advice"}
