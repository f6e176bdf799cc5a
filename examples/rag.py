"""Answer from a folder of texts: index, retrieve, rerank, then answer with thinking and sources, streamed.

Run it with a key in DASHSCOPE_API_KEY:            python examples/rag.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/rag.py

STORE=chroma uses Chroma in place of LangChain's store in memory (pip install langchain-chroma).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank

TEXTS = Path(__file__).with_name("data") / "texts"
QUESTION = "How can a weak lamp guide ships from far off?"
PROMPT = ChatPromptTemplate.from_template(
    "Answer from these passages only, and cite them by number, such as [1].\n\n{passages}\n\nQuestion: {question}"
)


def a_store(embeddings: Embeddings) -> VectorStore:
    """Return a vector store of the texts in the folder."""
    store: VectorStore = InMemoryVectorStore(embeddings)
    if os.environ.get("STORE") == "chroma":
        from langchain_chroma import Chroma

        store = Chroma(embedding_function=embeddings, collection_metadata={"hnsw:space": "cosine"})
    texts = sorted(TEXTS.glob("*.txt"))
    store.add_documents([Document(path.read_text("utf-8").strip(), metadata={"source": path.name}) for path in texts])
    return store


def chain(llm: BaseChatModel, store: VectorStore, rerank: ModelStudioRerank) -> Runnable[Any, dict[str, Any]]:
    """Return a chain from {"question"} to {"question", "documents", "passages", "answer"}, which can stream."""

    def find(given: dict[str, str]) -> Sequence[Document]:
        return rerank.compress_documents(store.similarity_search(given["question"], k=8), given["question"])

    async def afind(given: dict[str, str]) -> Sequence[Document]:
        found = await store.asimilarity_search(given["question"], k=8)
        return await rerank.acompress_documents(found, given["question"])

    def numbered(given: dict[str, Any]) -> str:
        return "\n".join(f"[{number}] {document.page_content}" for number, document in enumerate(given["documents"], 1))

    return RunnablePassthrough.assign(documents=RunnableLambda(find, afind)).assign(passages=numbered).assign(
        answer=PROMPT | llm
    )  # fmt: skip


def answered(rag: Runnable[Any, dict[str, Any]], question: str = QUESTION) -> tuple[list[Document], str]:
    """Print the answer as it streams, and return the documents that were found, best first, and the answer."""
    print(f"Question: {question}\n")
    found: list[Document] = []
    pieces = []
    for part in rag.stream({"question": question}):
        found += part.get("documents", ())
        if chunk := part.get("answer"):
            # thinking dim, answer plain
            if thinking := chunk.additional_kwargs.get("reasoning_content"):
                print(f"\033[2m{thinking}\033[0m", end="", flush=True)
            print(chunk.text, end="", flush=True)
            pieces.append(chunk.text)
    print("\n\nSources")
    for number, document in enumerate(found, 1):
        print(f"[{number}] {document.metadata['source']} ({document.metadata['relevance_score']:.2f})")
    return found, "".join(pieces)


def main() -> None:
    """Ask one question."""
    llm = ChatModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=256)
    # the native protocol embeds queries and documents differently
    store = a_store(ModelStudioEmbeddings(protocol="dashscope"))
    answered(chain(llm, store, ModelStudioRerank(top_n=3)))


if __name__ == "__main__":
    main()
