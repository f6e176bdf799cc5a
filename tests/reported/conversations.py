"""A conversation in the messages of each framework, and a service that rejects histories like the real one."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock

from tests.langchain import service as langchain
from tests.llama_index import service as llama_index
from tests.loopback import Exchange, Loopback, Script, reply_json
from tests.native import as_compatible, is_native
from tests.service import Answer, sent

OK = Answer(text=["ok"])
WAYS = ("whole", "async", "stream", "async stream")
ADAPTERS = ("langchain", "llama_index")
every_adapter = pytest.mark.parametrize("adapter", ADAPTERS)
every_way = pytest.mark.parametrize("way", WAYS)


@dataclass(frozen=True)
class Turn:
    """A turn. `content` is text, a list of texts, or a list with {"image": url}; a call is (id, name, arguments)."""

    role: str
    content: Any = ""
    calls: tuple[tuple[Any, str, Any], ...] = ()
    call_id: str | None = None
    partial: bool = False


def user(content: Any = "hi") -> Turn:
    return Turn("user", content)


def system(content: Any) -> Turn:
    return Turn("system", content)


def said(content: Any = "", *calls: tuple[Any, str, Any], partial: bool = False) -> Turn:
    return Turn("assistant", content, calls, partial=partial)


def result(call_id: str | None, content: Any = "21") -> Turn:
    return Turn("tool", content, call_id=call_id)


def messages_of(adapter: str, turns: Sequence[Turn]) -> list[Any]:
    """Return the turns as messages of a framework."""
    return [(_langchain if adapter == "langchain" else _llama_index)(turn) for turn in turns]


def _langchain(turn: Turn) -> BaseMessage:
    content = turn.content
    if not isinstance(content, str):
        content = [
            {"type": "text", "text": block} if isinstance(block, str) else {"type": "image", "url": block["image"]}
            for block in content
        ]
    if turn.role == "tool":
        return ToolMessage(content, tool_call_id=turn.call_id or "")
    if turn.role != "assistant":
        return (HumanMessage if turn.role == "user" else SystemMessage)(content)
    valid = [tool_call(id=id, name=name, args=args) for id, name, args in turn.calls if isinstance(args, dict)]
    cut = [
        invalid_tool_call(id=id, name=name, args=args, error="bad")
        for id, name, args in turn.calls
        if not isinstance(args, dict)
    ]
    partial = {"partial": True} if turn.partial else {}
    return AIMessage(content, tool_calls=valid, invalid_tool_calls=cut, additional_kwargs=partial)


def _llama_index(turn: Turn) -> ChatMessage:
    content = [turn.content] if isinstance(turn.content, str) and turn.content else turn.content
    blocks: list[Any] = [
        TextBlock(text=block) if isinstance(block, str) else ImageBlock(url=block["image"]) for block in content
    ]
    for id, name, args in turn.calls:
        made = ToolCallBlock(tool_call_id=id, tool_name=name)
        made.tool_kwargs = args  # of any type: LlamaIndex does not check assignments
        blocks.append(made)
    extra = {"tool_call_id": turn.call_id} if turn.role == "tool" else {"partial": True} if turn.partial else {}
    return ChatMessage(role=turn.role, blocks=blocks, additional_kwargs=extra)


def chat(adapter: str, server: Loopback, **settings: Any) -> Any:
    """Return a model of an adapter for `server`."""
    return (langchain if adapter == "langchain" else llama_index).chat(server, **settings)


async def call(adapter: str, llm: Any, way: str, messages: Any) -> Any:
    """Return the whole answer to `messages`, requested with the method `way`."""
    service = langchain if adapter == "langchain" else llama_index
    return await service.call(llm, service.WAYS[WAYS.index(way)], messages)


async def wire(adapter: str, messages: Sequence[Any], way: str = "whole", **settings: Any) -> list[dict[str, Any]]:
    """Return the sent messages for those of a framework, or for turns, which must not be changed."""
    if messages and isinstance(messages[0], Turn):
        messages = messages_of(adapter, messages)
    before = copy.deepcopy(messages)
    with Loopback(OK) as server:
        await call(adapter, chat(adapter, server, **settings), way, messages)
        assert messages == before
        wired: list[dict[str, Any]] = sent(server)["messages"]
        return wired


def brief(messages: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return messages as (role, content), followed by (ID, arguments) of each call or the ID of the answered call."""
    return [
        (
            message["role"],
            message["content"],
            *((made["id"], json.loads(made["function"]["arguments"])) for made in message.get("tool_calls", ())),
            *([message["tool_call_id"]] if message["role"] == "tool" else ()),
        )
        for message in messages
    ]


# ---------------------------------------------------------------- a service that refuses


def strict(*answers: Answer) -> list[Script]:
    """Return scripts that answer in turn, and reject invalid histories with the service's 400."""
    return [_strict(answer) for answer in answers]


def _strict(answer: Answer) -> Script:
    def script(exchange: Exchange) -> None:
        request = exchange.request
        body = as_compatible(request) if is_native(request) else request.json()
        if fault := fault_of(body["messages"]):
            reply_json(400, {"error": {"message": fault, "code": "invalid_parameter_error"}})(exchange)
        else:
            answer(exchange)

    return script


def fault_of(messages: Sequence[dict[str, Any]]) -> str | None:
    """Return the service's error for an invalid history (its error-code page), or None."""
    waiting: list[str] = []
    for message in messages:
        calls = message.get("tool_calls", [])
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return 'messages with role "tool" must be a response to a preceeding message with "tool_calls"'
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            return 'An assistant message with "tool_calls" must be followed by tool messages'
        if not message["content"] and not calls:
            return "Role must be user or assistant and Content length must be greater than 0"
        for made in calls:
            if not _is_object(made["function"]["arguments"]):
                return 'The "function.arguments" parameter of the code model must be in JSON format.'
        waiting = [made["id"] for made in calls]
    return 'An assistant message with "tool_calls" must be followed by tool messages' if waiting else None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False
