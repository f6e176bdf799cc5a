"""Answers from documents: retrieval, prompt and printed results."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from examples import evaluation, rag, rag_agent
from examples.rag import TEXTS
from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, Call, sent

pytestmark = pytest.mark.slow

MakeModel = Callable[..., ChatModelStudio]
HEARTS = "Which sea creature has more than one heart?"


@pytest.fixture(autouse=True)
def place(examples_model_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return the URL of the local models."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", examples_model_url.removesuffix("/compatible-mode/v1"))


def embeddings() -> ModelStudioEmbeddings:
    return ModelStudioEmbeddings(protocol="dashscope")


def test_the_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    """Passages found by the local models, numbered, the best first, and the question. Sources follow the answer."""
    with Loopback(Answer(reasoning=["A lens."], text=["By ", "a lens [1]."])) as server:
        chain = rag.chain(chat(server, enable_thinking=True), rag.a_store(embeddings()), ModelStudioRerank(top_n=3))
        found, answer = rag.answered(chain)
        [message] = sent(server)["messages"]
    assert answer == "By a lens [1]."
    assert len(found) == 3
    assert found[0].metadata["source"] == "lighthouse.txt"
    assert "\n\n[1] The lens that Fresnel designed" in message["content"]
    assert message["content"].endswith(rag.QUESTION)
    printed = capsys.readouterr().out
    assert "\033[2mA lens.\033[0m" in printed
    assert printed.index("By a lens [1].") < printed.index("Sources\n[1] lighthouse.txt (0.")


async def test_async(a_local_model: MakeModel) -> None:
    """The same chain with async streaming."""
    chain = rag.chain(a_local_model(), rag.a_store(embeddings()), ModelStudioRerank(top_n=1))
    parts = [part async for part in chain.astream({"question": HEARTS})]
    [[document]] = [part["documents"] for part in parts if "documents" in part]
    assert document.metadata["source"] == "octopus.txt"
    assert len([part for part in parts if "answer" in part and part["answer"].text]) > 3


def test_the_agent_decides_whether_to_search(capsys: pytest.CaptureFixture[str]) -> None:
    """It greets without a search, and answers a question from the results of its search, which are shown once."""
    answers = [
        Answer(text=["Hello Ada."]),
        Answer(
            reasoning=["Search."], calls=[Call("call_1", "search", ['{"query": "', 'animal with several hearts"}'])]
        ),
        Answer(text=["An octopus."]),
    ]
    search = rag_agent.a_search(rag_agent.a_store(), ModelStudioRerank(top_n=2))
    with Loopback(answers) as server:
        graph = rag_agent.a_graph(chat(server, enable_thinking=True), search)
        [greeting] = rag_agent.talk(graph, "Hello! My name is Ada.")
        call, found, answer = rag_agent.talk(graph, HEARTS)
        *_, result = sent(server)["messages"]
    assert greeting.text == "Hello Ada."
    assert isinstance(call, AIMessage)
    assert call.tool_calls[0]["args"] == {"query": "animal with several hearts"}
    assert isinstance(found, ToolMessage)
    assert found.artifact[0].metadata["source"] == "octopus.txt"
    assert len(found.artifact) == 2
    assert result["content"] == found.content
    assert capsys.readouterr().out.count(found.text) == 1
    assert answer.text == "An octopus."


def test_retrieval_quality(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """For nine of ten questions, the text is among the first three, with and without rerank."""
    monkeypatch.setenv("PNG", str(path := tmp_path / "retrieval.png"))
    evaluation.main()
    rows = re.findall(r"(with\w* rerank) +([\d.]+) +([\d.]+)", capsys.readouterr().out)
    assert [name for name, *_ in rows] == ["without rerank", "with rerank"]
    for _, hit_rate, mrr in rows:
        assert float(hit_rate) >= 0.9
        assert float(hit_rate) >= float(mrr) >= 0.8
    assert path.exists() == bool(find_spec("matplotlib"))


def test_the_figures() -> None:
    """A text at rank four, or one that was not found, is no hit."""
    assert evaluation.figures([1, 2, 4, 0]) == evaluation.Figures(0.5, 0.375)


def test_each_text_has_one_question() -> None:
    """40 of both."""
    questions = (TEXTS.parent / "questions.tsv").read_text("utf-8").splitlines()
    assert sorted(line.split("\t")[0] for line in questions) == sorted(path.stem for path in TEXTS.glob("*.txt"))
    assert len({line.split("\t")[1] for line in questions}) == 40


def test_the_chart(tmp_path: Path) -> None:
    """A PNG with a bar per figure."""

    path = tmp_path / "chart.png"
    evaluation.draw({"without rerank": evaluation.Figures(0.9, 0.8)}, path)
    assert path.read_bytes().startswith(b"\x89PNG")
