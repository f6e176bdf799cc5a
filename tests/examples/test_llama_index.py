"""The LlamaIndex examples, on the local model and on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock

from examples import llama_index_agent as agent
from examples import llama_index_chat_engine as chat_engine
from examples import llama_index_rag as rag
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from tests.llama_index.service import chat
from tests.loopback import Loopback
from tests.service import USAGE, Answer, Call, sent

# LlamaIndex's workflows look at everything that a pydantic class has, what is deprecated too
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211"),
]
MakeLLM = Callable[..., ModelStudio]
MAKES = {"agent": agent.an_agent, "workflow": agent.a_workflow}
TWO_CALLS = [
    Answer(
        reasoning=["Both ", "tools."],
        calls=[
            Call("call_1", "weather", ['{"city"', ': "Hang', 'zhou"}']),
            Call("call_2", "local_time", ['{"city": "Hang', 'zhou"}']),
        ],
        usage=USAGE,
    ),
    Answer(reasoning=["Good."], text=["Sunny", " at noon."], usage=USAGE),
]


def text_of(message: ChatMessage) -> str:
    return "".join(block.text for block in message.blocks if isinstance(block, TextBlock))


@pytest.mark.parametrize("kind", MAKES)
async def test_an_agent_with_the_local_model(kind: str, a_local_llm: MakeLLM) -> None:
    """It thinks, calls a real tool, thinks again and answers."""
    async with a_local_llm(enable_thinking=True) as llm:
        called, answer = await agent.streamed(MAKES[kind](llm))
    assert any(isinstance(block, ToolCallBlock) for block in called.blocks)
    assert text_of(answer)
    for message in (called, answer):
        assert isinstance(message.blocks[0], ThinkingBlock)
        assert message.additional_kwargs["reasoning_content"] == message.blocks[0].content


@pytest.mark.parametrize("kind", MAKES)
async def test_an_agent_with_parallel_calls(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Both tools run with their own IDs. The second request has both, with the reasoning."""
    with Loopback(TWO_CALLS) as server:
        async with chat(server, enable_thinking=True) as llm:
            called, answer = await agent.streamed(MAKES[kind](llm))
        assert len(server.requests) == 2
        body: dict[str, Any] = sent(server)
    assert text_of(answer) == "Sunny at noon."
    assert [block.tool_kwargs for block in called.blocks if isinstance(block, ToolCallBlock)] == [
        {"city": "Hangzhou"}
    ] * 2
    _, question, turn, *results = body["messages"]
    assert question["content"] == agent.QUESTION
    assert turn["reasoning_content"] == "Both tools."
    assert [each["id"] for each in turn["tool_calls"]] == ["call_1", "call_2"]
    texts = {message["tool_call_id"]: message["content"] for message in results}
    assert texts["call_1"] == "It is sunny in Hangzhou, 24 degrees."
    assert texts["call_2"].endswith("UTC in Hangzhou.")
    printed = capsys.readouterr().out
    for shown in (
        "\033[2mBoth \033[0m\033[2mtools.\033[0m",
        "Call: weather",
        "Call: local_time",
        "Result: It is sunny",
        "\033[2mGood.\033[0m",
        "Sunny at noon.",
    ):
        assert shown in printed


def test_a_chat_with_the_local_model(a_local_llm: MakeLLM) -> None:
    """Both questions are answered."""
    with a_local_llm() as llm:
        assert len([answer for answer in chat_engine.talked(llm) if answer]) == 2


def test_a_chat_remembers() -> None:
    """The second request has the first question and answer, without reasoning."""
    with Loopback([Answer(reasoning=["Hm."], text=["It ", "points."]), Answer(text=["Ada."])]) as server:
        assert chat_engine.talked(chat(server)) == ["It points.", "Ada."]
        first, second = chat_engine.QUESTIONS
        roles_and_texts = [(turn["role"], turn["content"]) for turn in sent(server)["messages"]]
    system = ("system", "Answer in one short sentence.")
    assert roles_and_texts == [system, ("user", first), ("assistant", "It points."), ("user", second)]


def test_the_prompt(
    examples_model_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Passages found by the local models, numbered, the best first, and the question. Sources follow the answer."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", examples_model_url.removesuffix("/compatible-mode/v1"))
    index = rag.an_index(ModelStudioEmbedding(protocol="dashscope"))
    with Loopback(Answer(reasoning=["A lens."], text=["By ", "a lens [1]."])) as server:
        found, answer = rag.answered(chat(server), index)
        [message] = sent(server)["messages"]
    assert answer == "By a lens [1]."
    assert len(found) == 3
    assert found[0].metadata["file_name"] == "lighthouse.txt"
    assert "\n\n[1] The lens that Fresnel designed" in message["content"]
    assert message["content"].endswith(rag.QUESTION)
    printed = capsys.readouterr().out
    assert "\033[2mA lens.\033[0m" in printed
    assert printed.index("By a lens [1].") < printed.index("Sources\n[1] lighthouse.txt (0.")
