"""Answers from documents: what fits the question is looked up in a vector store and given to the model.

python -m examples.rag
"""

from __future__ import annotations

import re
from typing import Any
from zlib import crc32

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from examples.model import a_model
from examples.place import console
from examples.terminal import asked, write

FACTS = (
    "The workshop opens at nine in the morning and closes at six.",
    "The loom in the back room weaves silk; the two in front weave wool.",
    "Guests park behind the mill, not in the street.",
    "Dye is stored in the cellar, at twelve degrees.",
)
QUESTION = "Where do guests park?"
PROMPT = ChatPromptTemplate.from_template("Answer from these facts only.\n\n{facts}\n\nQuestion: {question}")


class SharedWords(Embeddings):
    """Texts are near each other as far as they share words. No embedding model, only enough to look something up."""

    def embed_query(self, text: str) -> list[float]:
        """How often each word is there, the words numbered by a checksum."""
        counts = [0.0] * 512
        for word in re.findall(r"\w+", text.lower()):
            counts[crc32(word.encode()) % len(counts)] += 1
        return counts

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Each text as a query would be."""
        return [self.embed_query(text) for text in texts]


def chain(llm: BaseChatModel) -> Runnable[dict[str, str], dict[str, Any]]:
    """From {"question"} to {"question", "documents", "facts", "answer"}."""
    documents = InMemoryVectorStore.from_texts(list(FACTS), SharedWords()).as_retriever(search_kwargs={"k": 2})
    return (
        RunnablePassthrough.assign(documents=(lambda given: given["question"]) | documents)
        .assign(facts=lambda given: "\n".join(document.page_content for document in given["documents"]))
        .assign(answer=PROMPT | llm | StrOutputParser())
    )


def answered(llm: BaseChatModel, question: str = QUESTION) -> tuple[list[Document], str]:
    """The documents that were found, and the answer, shown as it streams."""
    asked(question)
    found: list[Document] = []
    pieces: list[str] = []
    for part in chain(llm).stream({"question": question}):
        for document in part.get("documents", ()):
            console.print(f"found: {document.page_content}", style="cyan", markup=False)
            found.append(document)
        write(part.get("answer", ""))
        pieces.append(part.get("answer", ""))
    console.print()
    return found, "".join(pieces)


def main() -> None:
    """Ask one question."""
    with a_model() as llm:
        answered(llm)


if __name__ == "__main__":
    main()
