"""The Celery worker of docs/scaling.md."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker

from tests.loopback import Loopback
from tests.service import USAGE, Answer
from tests.snippets import snippets

PAGE = "docs/scaling.md"
[SNIPPET] = [text for text in snippets(PAGE) if "celery" in text]


def test_a_celery_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unchanged snippet with an in-memory broker: a worker processes prompts, and returns errors."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-for-the-worker")
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    module: Any = ModuleType("night")
    monkeypatch.setitem(sys.modules, "night", module)
    with Loopback(Answer(text=["Scattered ", "light."], usage=USAGE)) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        exec(compile(SNIPPET, PAGE, "exec"), module.__dict__)
        with start_worker(module.app, pool="threads", concurrency=4, perform_ping_check=False):
            results = [module.ask.delay(f"Why is the sky blue? {number}") for number in range(8)]
            assert [result.get(timeout=30) for result in results] == ["Scattered light."] * 8
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-for-the-worker"}
        assert len(server.requests) == 8
