"""Answer from a folder of texts: index, retrieve, rerank, then answer with thinking and sources, streamed.

Run it with a key in DASHSCOPE_API_KEY:            python examples/llama_index_rag.py
or with a small model on this machine, from a clone: python -m local_model -- python examples/llama_index_rag.py

STORE=chroma uses Chroma in place of LlamaIndex's own store (pip install llama-index-vector-stores-chroma).
"""

from __future__ import annotations

import os
from pathlib import Path

from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import MetadataMode, NodeWithScore

from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding, ModelStudioRerank

TEXTS = Path(__file__).with_name("data") / "texts"
QUESTION = "How can a weak lamp guide ships from far off?"
PROMPT = "Answer from these passages only, and cite them by number, such as [1].\n\n{}\n\nQuestion: {}"


def an_index(embedding: ModelStudioEmbedding) -> VectorStoreIndex:
    """Return an index of the texts in the folder."""
    documents = SimpleDirectoryReader(str(TEXTS)).load_data()
    for document in documents:  # exclude path and dates from embedding and ranking
        document.excluded_embed_metadata_keys = [*document.metadata]
    return VectorStoreIndex.from_documents(documents, storage_context=a_storage(), embed_model=embedding)


def a_storage() -> StorageContext:
    """Return the storage of the index: LlamaIndex's own store, or Chroma."""
    if os.environ.get("STORE") != "chroma":
        return StorageContext.from_defaults()
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    collection = chromadb.EphemeralClient().get_or_create_collection("texts", metadata={"hnsw:space": "cosine"})
    return StorageContext.from_defaults(vector_store=ChromaVectorStore(chroma_collection=collection))


def answered(llm: ModelStudio, index: VectorStoreIndex, question: str = QUESTION) -> tuple[list[NodeWithScore], str]:
    """Print the answer as it streams, and return the nodes that were found, best first, and the answer."""
    print(f"Question: {question}\n")
    found = index.as_retriever(similarity_top_k=8).retrieve(question)
    best = ModelStudioRerank(top_n=3).postprocess_nodes(found, query_str=question)
    passages = "\n".join(
        f"[{number}] {node.get_content(MetadataMode.NONE).strip()}" for number, node in enumerate(best, 1)
    )
    answer = ""
    for response in llm.stream_chat([ChatMessage(PROMPT.format(passages, question))]):
        # thinking dim, answer plain
        if thinking := response.additional_kwargs.get("thinking_delta"):
            print(f"\033[2m{thinking}\033[0m", end="", flush=True)
        print(response.delta, end="", flush=True)
        answer = response.message.content or ""
    print("\n\nSources")
    for number, node in enumerate(best, 1):
        print(f"[{number}] {node.metadata['file_name']} ({node.score or 0:.2f})")
    return best, answer


def main() -> None:
    """Ask one question."""
    llm = ModelStudio(model="qwen-plus", enable_thinking=True, thinking_budget=256)
    # the native protocol embeds queries and documents differently
    answered(llm, an_index(ModelStudioEmbedding(protocol="dashscope")))


if __name__ == "__main__":
    main()
