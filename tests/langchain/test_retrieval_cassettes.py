"""The cassettes of embeddings and rerank, played through LangChain."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_modelstudio import ModelStudioEmbeddings, ModelStudioRerank
from tests.cassette_format import CassetteFormat, cassette_names, cassette_path, leaks, play, read
from tests.retrieval_scenarios import SCENARIOS, RetrievalScenario, expected, tokens

NAMES = cassette_names(retrieval=True)
METHODS = {"documents": "embed_documents", "query": "embed_query", "sparse": "embed_sparse",
           "dense_and_sparse": "embed_dense_and_sparse", "contents": "embed_contents", "fused": "embed_fused",
           "rerank": "compress_documents"}  # fmt: skip


async def run(scenario: RetrievalScenario, way: str, told: list[int]) -> Any:
    """Return the result of a scenario's operation. `told` receives its tokens."""
    common: dict[str, Any] = {
        "base_url": "http://127.0.0.1", "max_retries": 0, "usage_callback": lambda model, tokens: told.append(tokens)
    }  # fmt: skip
    method, given = METHODS[scenario.operation], [scenario.given]
    model: Any
    if scenario.operation == "rerank":
        model = ModelStudioRerank(**common, **scenario.settings)
        given = [[Document(text) for text in scenario.given["documents"]], scenario.given["query"]]
    else:
        model = ModelStudioEmbeddings(**common, **scenario.settings)
    found = getattr(model, method)(*given) if way == "sync" else await getattr(model, f"a{method}")(*given)
    if scenario.operation == "rerank":
        return [(document.page_content, document.metadata["relevance_score"]) for document in found]
    return found


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("name", NAMES)
def test_results_match_the_bytes(name: str, way: str) -> None:
    """Vectors, scores and tokens, or the typed error."""
    scenario, told = SCENARIOS[name.rpartition("/")[2]], list[int]()
    [interaction] = read(name)[1]
    with play(name):
        if scenario.fails is not None:
            with pytest.raises(scenario.fails):
                asyncio.run(run(scenario, way, told))
            return
        assert asyncio.run(run(scenario, way, told)) == expected(interaction, scenario.operation)
    assert told == [tokens(interaction)]


def test_every_scenario_has_a_cassette() -> None:
    """And vice versa."""
    assert {name.rpartition("/")[2] for name in NAMES} == SCENARIOS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_cassette_is_documented_and_clean(name: str) -> None:
    """It names its page, has no secrets, and is in the canonical format."""
    origin, _ = read(name)
    assert (origin.kind, origin.source) == ("documented", SCENARIOS[name.rpartition("/")[2]].page)
    text = cassette_path(name).read_text("utf-8")
    assert leaks(text) == []
    assert CassetteFormat(origin).serialize(CassetteFormat().deserialize(text)) == text
    assert "base64:" not in text
