"""Helpers shared by the tests of messages."""

from __future__ import annotations

import copy
from typing import Any

from langchain_core.messages import (
    BaseMessage,
    HumanMessage,
)

from tests.langchain.service import call, chat
from tests.loopback import Loopback
from tests.service import Answer, sent

URL = "https://example.com/it"
EPHEMERAL = {"type": "ephemeral"}
OK = Answer(text=["ok"])


async def wire(messages: Any, way: str = "invoke", **settings: Any) -> list[dict[str, Any]]:
    """Return the sent messages for `messages`, which must not be changed."""
    before = copy.deepcopy(messages)
    with Loopback(OK) as server:
        await call(chat(server, **settings), way, messages)
        assert messages == before
        wired: list[dict[str, Any]] = sent(server)["messages"]
        return wired


def user(*blocks: Any) -> list[BaseMessage]:
    return [HumanMessage(content=list(blocks))]


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}, **more}


CALL = {"id": "call_1", "name": "get", "args": {"city": "上海"}, "type": "tool_call"}
HI = {"role": "user", "content": "hi"}
