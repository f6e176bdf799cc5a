"""LlamaIndex's index, pipeline and splitter with the real local embedding model."""

from __future__ import annotations

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SemanticSplitterNodeParser, SentenceSplitter
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index_modelstudio import ModelStudioEmbedding, ModelStudioRerank
from llama_index_modelstudio.errors import BadRequestError

pytestmark = pytest.mark.slow

TEXTS = ("Cats purr when they are content.", "The stock market fell sharply on Monday.", "Bread rises by yeast.")
QUERY = "How does a happy kitten sound?"


@pytest.fixture(params=["openai", "dashscope"])
def embedding(request: pytest.FixtureRequest, local_model_url: str) -> ModelStudioEmbedding:
    """Return an embedding object for the local model, in each protocol."""
    path = {"openai": "/compatible-mode/v1", "dashscope": "/api/v1"}[request.param]
    base_url = local_model_url.replace("/compatible-mode/v1", path)
    return ModelStudioEmbedding(base_url=base_url, protocol=request.param)


async def test_an_index_finds_and_reranks(embedding: ModelStudioEmbedding, local_model_url: str) -> None:
    """The text with the same meaning is the first, although it shares no word with the query."""
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=3)
    rerank = ModelStudioRerank(base_url=local_model_url, top_n=1)
    for found in (retriever.retrieve(QUERY), await retriever.aretrieve(QUERY)):
        assert found[0].text == TEXTS[0]
        [best] = rerank.postprocess_nodes(found[::-1], query_str=QUERY)
        assert best.text == TEXTS[0]


def test_a_pipeline_embeds_in_two_processes(embedding: ModelStudioEmbedding) -> None:
    """Each worker has a copy of the object. The vectors are the same."""
    splitter = SentenceSplitter(tokenizer=str.split)  # its own tokenizer is loaded in each worker, from the internet
    pipeline = IngestionPipeline(transformations=[splitter, embedding])
    documents = [Document(text=text) for text in TEXTS]
    nodes = pipeline.run(documents=documents, num_workers=2)
    assert [node.get_content() for node in nodes] == [*TEXTS]
    alone = embedding.get_text_embedding_batch([*TEXTS])
    for node, vector in zip(nodes, alone, strict=True):
        assert node.embedding == pytest.approx(vector, abs=1e-3)


def test_a_semantic_splitter_splits_between_subjects(embedding: ModelStudioEmbedding) -> None:
    """Between sentences about cats and about the market."""
    cats = "Cats purr when they are content. Kittens purr while they drink their mother's milk. "
    market = "The stock market fell sharply on Monday. Share prices of banks fell most."
    splitter = SemanticSplitterNodeParser(embed_model=embedding, buffer_size=0, breakpoint_percentile_threshold=60)
    first, second = splitter.get_nodes_from_documents([Document(text=cats + market)])
    assert first.get_content().strip() == cats.strip()
    assert second.get_content() == market


def test_a_long_document_needs_smaller_chunks(embedding: ModelStudioEmbedding, local_model_url: str) -> None:
    """As docs/rag-llama-index.md says. The reranker accepts the whole document."""
    document = Document(text="Cats purr when they are content, and dogs bark at strangers near the old gate. " * 130)
    with pytest.raises(BadRequestError, match=r"accepts 512 tokens per text, and this one has \d+: split the text"):
        VectorStoreIndex.from_documents([document], embed_model=embedding)
    splitter = SentenceSplitter(chunk_size=400, chunk_overlap=20)
    index = VectorStoreIndex.from_documents([document], transformations=[splitter], embed_model=embedding)
    assert len(index.as_retriever(similarity_top_k=3).retrieve(QUERY)) == 3
    [best] = ModelStudioRerank(base_url=local_model_url).postprocess_nodes(
        [NodeWithScore(node=TextNode(text=document.text))], query_str=QUERY
    )
    assert 0 < (best.score or 0) <= 1
