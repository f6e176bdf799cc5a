"""Extraction and memory packages work with thinking models, for which tool calls cannot be forced."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.store.memory import InMemoryStore
from langmem import create_manage_memory_tool, create_memory_manager
from langmem.short_term import summarize_messages
from pydantic import BaseModel
from trustcall import create_extractor

from tests.downstream.malformed import correct
from tests.langchain.service import chat
from tests.protocols import both_protocols
from tests.service import Answer, sent
from tests.strict_service import StrictService

pytestmark = both_protocols
MODELS = ["qwen-plus", "qwen3.7-max", "qwq-plus"]
"""Thinks when asked to, thinks unless told not to, and always thinks."""


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", ["Person", "any"])
async def test_an_extractor(model: str, choice: str) -> None:
    """Trustcall gets the object, whatever tool choices the model supports."""
    with StrictService(correct(name="Person", arguments='{"name": "Ada", "age": 36}')) as server:
        async with chat(server, model=model) as llm:
            extractor = create_extractor(llm, tools=[Person], tool_choice=choice)
            found = await extractor.ainvoke({"messages": [("user", "Ada is 36.")]})
    assert found["responses"] == [Person(name="Ada", age=36)]


@pytest.mark.parametrize("model", MODELS)
async def test_a_patch_of_a_wrong_object(model: str) -> None:
    """Trustcall shows the model its invalid object, and applies the model's patch."""
    patch = (
        '{"json_doc_id": "call_1", "planned_edits": "fix the age",'
        ' "patches": [{"op": "replace", "path": "/age", "value": 36}]}'
    )
    answers = (
        correct("call_1", "Person", '{"name": "Ada", "age": "many"}'),
        correct("call_2", "PatchFunctionErrors", patch),
    )
    with StrictService(*answers) as server:
        async with chat(server, model=model) as llm:
            extractor = create_extractor(llm, tools=[Person], tool_choice="Person")
            found = await extractor.ainvoke({"messages": [("user", "Ada is 36.")]})
        assert len(server.requests) == 2
    assert found["responses"] == [Person(name="Ada", age=36)]


@pytest.mark.parametrize("model", MODELS)
async def test_memories_of_a_conversation(model: str) -> None:
    """Langmem's manager stores what the model extracts."""
    with StrictService(correct(name="Person", arguments='{"name": "Ada", "age": 36}')) as server:
        async with chat(server, model=model) as llm:
            manager = create_memory_manager(llm, schemas=[Person], enable_inserts=True)
            found = await manager.ainvoke({"messages": [{"role": "user", "content": "Ada is 36."}], "max_steps": 1})
    assert [memory.content for memory in found] == [Person(name="Ada", age=36)]


async def test_a_running_summary() -> None:
    """Langmem's summary is sent as a system message of the next turn."""
    talk: list[Any] = [
        HumanMessage("Weather in Rome?", id="1"),
        AIMessage("Sunny.", id="2"),
        HumanMessage("And Paris?", id="3"),
    ]
    with StrictService(Answer(text=["They asked about Rome."]), Answer(text=["Rainy."])) as server:
        async with chat(server) as llm:
            short = summarize_messages(
                talk,
                running_summary=None,
                model=llm,
                max_tokens=4,
                max_summary_tokens=2,
                token_counter=len,
                max_tokens_before_summary=2,
            )
            assert isinstance(short.messages[0], SystemMessage)
            assert (await llm.ainvoke(short.messages)).text == "Rainy."
        assert "They asked about Rome." in str(sent(server)["messages"])


async def test_a_memory_tool() -> None:
    """Langmem's tool, with optional and generated fields, can be called."""
    store = InMemoryStore()
    tool = create_manage_memory_tool(("memories",), store=store)
    arguments = '{"content": "Ada is 36.", "action": "create"}'
    with StrictService(correct(name=tool.name, arguments=arguments)) as server:
        async with chat(server) as llm:
            message = await llm.bind_tools([tool]).ainvoke("Ada is 36.")
            await tool.ainvoke(message.tool_calls[0])
    assert [item.value for item in store.search(("memories",))] == [{"content": "Ada is 36."}]
