"""Answer from a folder of texts: index, retrieve, rerank, then answer with thinking and sources, streamed.

python -m examples.llama_index.rag                 with LlamaIndex's own store
STORE=chroma python -m examples.llama_index.rag    with Chroma (pip install llama-index-vector-stores-chroma)
"""

from __future__ import annotations

import os
from typing import Any

from llama_index.core import SimpleDirectoryReader, StorageContext, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import MetadataMode, NodeWithScore

from examples.llama_index.model import show
from examples.place import TEXTS, a_place, embedding_settings, rerank_settings
from examples.terminal import print_question, sources
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding, ModelStudioRerank

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


def answered(llm: ModelStudio, place: dict[str, Any], question: str = QUESTION) -> tuple[list[NodeWithScore], str]:
    """Print the answer as it streams, and return the nodes that were found, best first, and the answer."""
    print_question(question)
    index = an_index(ModelStudioEmbedding(**embedding_settings(place)))
    rerank = ModelStudioRerank(**rerank_settings(place), top_n=3)
    found = index.as_retriever(similarity_top_k=8).retrieve(question)
    best = rerank.postprocess_nodes(found, query_str=question)
    passages = "\n".join(
        f"[{number}] {node.get_content(MetadataMode.NONE).strip()}" for number, node in enumerate(best, 1)
    )
    answer = show(llm.stream_chat([ChatMessage(PROMPT.format(passages, question))]))
    sources((node.metadata["file_name"], node.score or 0) for node in best)
    return best, answer.message.content or ""


def main() -> None:
    """Ask one question."""
    with a_place() as place, ModelStudio(**place, enable_thinking=True, thinking_budget=256) as llm:
        answered(llm, place)


if __name__ == "__main__":
    main()
