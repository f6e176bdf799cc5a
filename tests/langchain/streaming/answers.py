"""Answers shared by the tests of streaming."""

from __future__ import annotations

from typing import Any

from tests.native import native_usage
from tests.protocols import spoken
from tests.service import CREATED, ID, REQUEST_ID, USAGE, Answer, Call

VERSIONS = (None, "v0", "v1")
FULL = Answer(
    reasoning=["Let", " me ", "see"],
    text=["It ", "is ", " 21"],
    calls=[Call("call_1", "get", ['{"city"', ': "New ', 'York"}']), Call("call_2", "put", ['{"a": [1', ", 2]}"])],
    usage=USAGE,
)
CALLS = [("call_1", "get", {"city": "New York"}), ("call_2", "put", {"a": [1, 2]})]
_METADATA = {
    "model_provider": "modelstudio",
    "finish_reason": "tool_calls",
    "model_name": "qwen-plus",
    "id": ID,
    "request_id": REQUEST_ID,
    "created": CREATED,
}


def metadata() -> dict[str, Any]:
    """Return the metadata of a message. Native answers have neither ID nor time."""
    native = spoken.get() == "dashscope"
    known = {name: value for name, value in _METADATA.items() if not (native and name in ("id", "created"))}
    return known | {"usage": native_usage(USAGE) if native else USAGE}


def types(blocks: Any) -> list[str]:
    return [block["type"] for block in blocks]
