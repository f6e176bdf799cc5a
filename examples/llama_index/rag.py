"""Answers from documents: what fits the question is looked up in an index in memory and given to the model.

python -m examples.llama_index.rag
"""

from __future__ import annotations

import re
from zlib import crc32

from llama_index.core import VectorStoreIndex
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.query_engine import BaseQueryEngine
from llama_index.core.schema import TextNode

from examples.llama_index.model import an_llm
from examples.place import console
from examples.terminal import asked, write
from llama_index_modelstudio import ModelStudio

FACTS = (
    "The workshop opens at nine in the morning and closes at six.",
    "The loom in the back room weaves silk; the two in front weave wool.",
    "Guests park behind the mill, not in the street.",
    "Dye is stored in the cellar, at twelve degrees.",
)
QUESTION = "Where do guests park?"


class SharedWords(BaseEmbedding):
    """Texts are near each other as far as they share words. No embedding model, only enough to look something up."""

    def _get_text_embedding(self, text: str) -> list[float]:
        counts = [0.0] * 512
        for word in re.findall(r"\w+", text.lower()):
            counts[crc32(word.encode()) % len(counts)] += 1
        return counts

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def an_engine(llm: ModelStudio) -> BaseQueryEngine:
    """It looks up two facts for each question; how much of them fits is worked out from `llm.metadata`."""
    index = VectorStoreIndex([TextNode(text=fact) for fact in FACTS], embed_model=SharedWords())
    return index.as_query_engine(llm=llm, similarity_top_k=2, streaming=True)


def answered(llm: ModelStudio, question: str = QUESTION) -> tuple[list[str], str]:
    """The facts that were found, and the answer, shown as it streams."""
    asked(question)
    response = an_engine(llm).query(question)
    assert isinstance(response, StreamingResponse)
    found = [node.text for node in response.source_nodes]
    for fact in found:
        console.print(f"found: {fact}", style="cyan", markup=False)
    pieces = []
    for token in response.response_gen:
        write(token)
        pieces.append(token)
    console.print()
    return found, "".join(pieces)


def main() -> None:
    """Ask one question."""
    with an_llm() as llm:
        answered(llm)


if __name__ == "__main__":
    main()
