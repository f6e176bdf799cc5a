"""Every Python snippet of the README runs, as it stands, against a server that answers as the service does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Exchange, Loopback, reply_json, sse

README = Path(__file__).parent.parent / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
USAGE = {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}


def answer(exchange: Exchange) -> None:
    """A call of the first tool after a user turn, else text; thinking where it is asked for."""
    request = exchange.request.json()
    message: dict[str, Any] = {"role": "assistant", "content": "Scattered light."}
    finish = "stop"
    if request.get("enable_thinking"):
        message["reasoning_content"] = "Light scatters."
    if request.get("tools") and request["messages"][-1]["role"] == "user":
        function = request["tools"][0]["function"]
        arguments = ", ".join(f'"{name}": "Hangzhou"' for name in function["parameters"]["properties"])
        call = {"index": 0, "id": "call_1", "type": "function"}
        message = {"role": "assistant", "content": ""}
        message["tool_calls"] = [{**call, "function": {"name": function["name"], "arguments": f"{{{arguments}}}"}}]
        finish = "tool_calls"
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


def test_there_are_snippets() -> None:
    """The README shows the main job first."""
    assert len(SNIPPETS) >= 5
    assert "enable_thinking=True" in SNIPPETS[0]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A snippet runs to its end, calls the service, and prints what it says it prints."""
    with Loopback(answer) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-for-the-readme")
        exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})
        assert server.requests
    printed = capsys.readouterr().out
    assert "Scattered light." in printed or "Hangzhou" in printed
