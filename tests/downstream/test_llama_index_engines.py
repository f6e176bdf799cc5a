"""LlamaIndex's extractors and chat engines."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.chat_engine import CondensePlusContextChatEngine, CondenseQuestionChatEngine, SimpleChatEngine
from llama_index.core.extractors import DocumentContextExtractor
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore

from tests.llama_index.service import chat
from tests.protocols import both_protocols
from tests.service import Answer, sent
from tests.strict_service import StrictService

pytestmark = both_protocols


async def test_contexts_of_a_document() -> None:
    """Each node gets the context written by the model. Requests have the extractor's header."""
    document = Document(text="Rome is sunny. " * 30, id_="doc")
    store = SimpleDocumentStore()
    store.add_documents([document])
    nodes = SentenceSplitter(chunk_size=64, chunk_overlap=0, tokenizer=str.split).get_nodes_from_documents([document])
    with StrictService(Answer(text=["About the", " weather."])) as server:
        async with chat(server) as llm:
            extractor = DocumentContextExtractor(docstore=store, llm=llm, max_output_tokens=100, num_workers=2)
            found = await extractor.aextract(nodes)
        assert len(server.requests) == len(nodes) > 1
        assert sent(server)["max_tokens"] == 100
        assert all("anthropic-beta" in request.headers for request in server.requests)
    assert found == [{"context": "About the weather."}] * len(nodes)


class Facts(BaseRetriever):
    """Returns the same fact for every question."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text="Rome is sunny."), score=1.0)]


class Echo(CustomQueryEngine):
    """Answers with the question."""

    def custom_query(self, query_str: str) -> str:
        return f"You asked: {query_str}"


def engine(kind: str, llm: Any) -> Any:
    """Return a new chat engine."""
    if kind == "simple":
        return SimpleChatEngine.from_defaults(llm=llm, system_prompt="")
    if kind == "condense":
        return CondenseQuestionChatEngine.from_defaults(query_engine=Echo(), llm=llm)
    return CondensePlusContextChatEngine.from_defaults(retriever=Facts(), llm=llm)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("kind", "answers", "expected"),
    [
        ("simple", ["Hello.", "Bye."], "Bye."),
        ("condense", ["Is Rome sunny today?"], "You asked: Is Rome sunny today?"),
        ("condense plus context", ["Sunny.", "Is Rome sunny today?", "Yes."], "Yes."),
    ],
)
async def test_a_chat_engine(kind: str, answers: list[str], expected: str, streamed: bool) -> None:
    """The second turn of a thinking model includes the first, and returns the text of the answer."""
    scripts = [Answer(reasoning=["Hm."], text=[text[:4], text[4:]]) for text in answers]
    with StrictService(*scripts) as server:
        async with chat(server, enable_thinking=True) as llm:
            talk = engine(kind, llm)
            await talk.achat("Weather in Rome?")
            if streamed and kind != "condense":
                response = await talk.astream_chat("And today?")
                said = "".join([token async for token in response.async_response_gen()])
            else:
                said = str(await talk.achat("And today?"))
    assert said == expected
    assert len(server.requests) == len(answers)
