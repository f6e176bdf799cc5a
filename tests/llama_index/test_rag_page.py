"""The snippets of docs/rag-llama-index.md run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from llama_index.core import Document, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline

from llama_index_modelstudio import ModelStudioEmbedding
from llama_index_modelstudio.errors import ConfigurationError
from tests.loopback import Loopback
from tests.retrieval import inputs, service
from tests.snippets import run, snippets

PAGE = "docs/rag-llama-index.md"
SNIPPETS = snippets(PAGE)
DOGS = "Dogs bark at strangers."
PRINTED = [DOGS, DOGS, DOGS, "100 nodes, 500 tokens in 10 requests", "0.5", "2 256 256"]


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It prints its result."""
    asyncio.set_event_loop(None)  # otherwise LlamaIndex makes one that it does not close
    monkeypatch.chdir(tmp_path)
    assert run(SNIPPETS[number], PAGE, monkeypatch)
    assert PRINTED[number] in capsys.readouterr().out


def test_the_metadata_of_a_file_can_be_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the loop of the page, the text alone is embedded."""
    monkeypatch.chdir(tmp_path)
    [snippet] = [code for code in SNIPPETS if "SimpleDirectoryReader" in code]
    requests = run(snippet, PAGE, monkeypatch)
    assert [inputs(request) for request in requests] == [["Dogs bark at strangers."], ["Why do dogs bark?"]]


def test_texts_of_files_and_empty_ones(tmp_path: Path) -> None:
    """As the page says: the path is embedded, dates are not, and an empty file is embedded by its path."""
    for name, text in (("cats.txt", "Cats purr."), ("empty.txt", "")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    with Loopback(service) as server:
        embedding = ModelStudioEmbedding(base_url=server.url)
        files = SimpleDirectoryReader(str(tmp_path)).load_data()
        index = VectorStoreIndex.from_documents(files, embed_model=embedding)
        assert [inputs(request) for request in server.requests] == [
            [f"file_path: {tmp_path / 'cats.txt'}\n\nCats purr.", f"file_path: {tmp_path / 'empty.txt'}"]
        ]
        assert {node.text for node in index.as_retriever().retrieve("Cats")} == {"Cats purr.", ""}
        documents = [Document(text="Cats purr."), Document(text="")]
        VectorStoreIndex.from_documents(documents, embed_model=embedding)
        assert inputs(server.requests[-1]) == ["Cats purr."]
        with pytest.raises(ConfigurationError, match="text 1 is empty"):
            embedding.get_text_embedding_batch(["Cats purr.", ""])
        with pytest.raises(ConfigurationError, match=f"text 1 is empty.*document {documents[1].node_id}"):
            IngestionPipeline(transformations=[embedding]).run(documents=documents)
