"""Run the Python snippets of the documentation unchanged against a simulated service."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from tests.batch_service import PATHS, BatchService, succeeded
from tests.file_service import UploadService
from tests.loopback import Exchange, Loopback, Received, Script, reply_json, sse
from tests.responses import speaks_responses
from tests.retrieval import service
from tests.service import Answer

ROOT = Path(__file__).parent.parent
USAGE = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}
TEXT, THOUGHT, CITY = "Scattered light.", "Light scatters.", "Hangzhou"


_SNIPPET = re.compile(r"(?:<!-- needs ([^>]+) -->\n)?```python\n(.*?)```", re.DOTALL)
MARKED = re.compile(r"<!-- needs [^>]+ -->\n```python\n")
"""The mark of a snippet that is type-checked only, because it needs another package, a service or a key."""


def snippets(page: str, *, marked: bool = True) -> list[str]:
    """Return the Python snippets of a page, given its path in the project, in order."""
    found = _SNIPPET.findall((ROOT / page).read_text(encoding="utf-8"))
    return [code for needs, code in found if marked or not needs]


def markers(page: str) -> list[str]:
    """Return what the marked snippets of a page need."""
    return [needs for needs, _ in _SNIPPET.findall((ROOT / page).read_text(encoding="utf-8")) if needs]


def run(snippet: str, page: str, monkeypatch: pytest.MonkeyPatch, script: Any = None) -> list[Received]:
    """Run a snippet against a server with `script` (default: `answer`), and return its requests.

    The URL and a key are in the environment. The level of the logger is restored.
    """
    logger = logging.getLogger("modelstudio_core")
    level = logger.level
    with Loopback(script or with_files()) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-for-the-snippets")
        try:
            code = compile(snippet, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            awaited = eval(code, {"__name__": "snippet"})
            if awaited is not None:  # there is an `await` at the top
                asyncio.run(awaited)
            return server.requests
        finally:
            logger.setLevel(level)


def with_files() -> Script:
    """Return a script that serves files, batch jobs and temporary uploads, and passes other requests to `answer`."""
    jobs = BatchService(answer=lambda line: succeeded(line, {"role": "assistant", "content": TEXT}))
    uploads = UploadService(answer)
    return lambda exchange: (jobs if exchange.request.path.startswith(PATHS) else uploads)(exchange)


def answer(exchange: Exchange) -> None:
    """Send a call of the first tool after a user message, JSON if requested, otherwise text, with thinking if enabled.

    For retrieval requests, send vectors or scores.
    """
    request = exchange.request.json()
    if speaks_responses(exchange.request):
        Answer(text=[TEXT])(exchange)
        return
    if "messages" not in request:
        service(exchange)
        return
    message: dict[str, Any] = {"role": "assistant", "content": TEXT}
    finish = "stop"
    asked = request.get("response_format") or {}
    if "json_schema" in asked:
        message["content"] = filled(asked["json_schema"]["schema"])
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        function = request["tools"][0]["function"]
        call = {"index": 0, "id": "call_1", "type": "function"}
        call["function"] = {"name": function["name"], "arguments": filled(function["parameters"])}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        finish = "tool_calls"
    if request.get("enable_thinking"):
        message["reasoning_content"] = THOUGHT
    head = {"id": "chatcmpl-1", "model": request["model"]}
    if request.get("stream"):
        said = {"index": 0, "delta": message, "finish_reason": None}
        ended = {"index": 0, "delta": {}, "finish_reason": finish}
        sse(
            {**head, "choices": [said], "usage": None},
            {**head, "choices": [ended], "usage": None},
            {**head, "choices": [], "usage": USAGE},
        )(exchange)
    else:
        reply_json(
            200, {**head, "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}
        )(exchange)


def filled(schema: dict[str, Any]) -> str:
    """Return an object for a schema with string fields."""
    return "{" + ", ".join(f'"{name}": "{CITY}"' for name in schema["properties"]) + "}"
