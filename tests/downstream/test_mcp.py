"""Tools of an MCP server return documents and images. The conversation continues after each."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.memory import Memory
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

from langchain_modelstudio import ChatModelStudio
from tests.downstream.malformed import correct
from tests.downstream.mcp_server import PDF, PNG
from tests.langchain.service import chat
from tests.llama_index.service import chat as llama_index_chat
from tests.protocols import both_protocols
from tests.service import Answer, sent
from tests.strict_service import StrictService

pytestmark = both_protocols
SERVER = Path(__file__).with_name("mcp_server.py")
ROOT = Path(__file__).parents[2]
TURN = {"configurable": {"thread_id": "1"}}


@asynccontextmanager
async def mcp_tools() -> AsyncIterator[list[Any]]:
    """Yield the server's tools, converted by LangChain's adapters."""
    connection = {"transport": "stdio", "command": sys.executable, "args": [str(SERVER)], "cwd": str(ROOT)}
    async with MultiServerMCPClient({"documents": connection}).session("documents") as session:
        yield await load_mcp_tools(session)


async def tool_turn(tool: str, model: str) -> tuple[list[Any], dict[str, Any]]:
    """Let an agent call the tool and answer, then ask again. Return its messages and the last request."""
    answers = correct(name=tool), Answer(text=["Sunny."]), Answer(text=["Bye."])
    async with mcp_tools() as tools:
        with StrictService(*answers) as server:
            async with chat(server, model=model) as llm:
                agent = create_agent(llm, tools, checkpointer=InMemorySaver())
                await agent.ainvoke({"messages": [("user", "Rome?")]}, TURN)
                state = await agent.ainvoke({"messages": [("user", "Thanks.")]}, TURN)
            assert len(server.requests) == 3
            return state["messages"], sent(server)


async def test_a_document(caplog: pytest.LogCaptureFixture) -> None:
    """The model gets a note about the omitted document, which the agent's history keeps."""
    with caplog.at_level(logging.WARNING, "langchain_modelstudio"):
        messages, body = await tool_turn("report", "qwen-plus")
    assert messages[-1].text == "Bye."
    kept = next(message for message in messages if isinstance(message, ToolMessage))
    assert PDF in json.dumps(kept.content)
    told = next(message for message in body["messages"] if message["role"] == "tool")["content"]
    assert isinstance(told, str)
    assert "file" in told
    assert "application/pdf" in told
    assert PDF not in json.dumps(body)
    assert "application/pdf" in caplog.text


async def test_an_image() -> None:
    """The model gets the image, as its profile says."""
    messages, body = await tool_turn("photo", "qwen3-vl-plus")
    assert messages[-1].text == "Bye."
    told = next(message for message in body["messages"] if message["role"] == "tool")["content"]
    assert PNG in json.dumps(told)
    profile = ChatModelStudio(model="qwen3-vl-plus", api_key="unused").profile
    assert profile is not None
    assert profile["image_tool_message"] is True


async def test_text_image_and_document() -> None:
    """The text is always sent."""
    messages, body = await tool_turn("everything", "qwen3-vl-plus")
    assert messages[-1].text == "Bye."
    told = json.dumps(next(message for message in body["messages"] if message["role"] == "tool")["content"])
    assert "It is sunny in Rome." in told
    assert "application/pdf" in told
    assert PDF not in told


@pytest.mark.parametrize("tool", ["report", "photo", "everything"])
async def test_llama_index(tool: str) -> None:
    """The tool's result is sent, and the next turn with the same memory succeeds."""
    answers = correct(name=tool), Answer(text=["Sunny."]), Answer(text=["Bye."])
    client = BasicMCPClient(sys.executable, args=["-m", "tests.downstream.mcp_server"])
    tools = await McpToolSpec(client).to_tool_list_async()
    memory = Memory.from_defaults(token_limit=100_000)
    with StrictService(*answers) as server:
        async with llama_index_chat(server, model="qwen3-vl-plus") as llm:
            agent = FunctionAgent(tools=tools, llm=llm)
            assert str(await agent.run("Rome?", memory=memory)) == "Sunny."
            assert str(await agent.run("Thanks.", memory=memory)) == "Bye."
        assert len(server.requests) == 3
