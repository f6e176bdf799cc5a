"""The cassettes of embeddings and rerank, played through LlamaIndex."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index_modelstudio import ModelStudioMultiModalEmbedding, ModelStudioRerank
from tests.cassette_format import cassette_names, play, read
from tests.retrieval_scenarios import SCENARIOS, RetrievalScenario, expected, tokens

METHODS = {"documents": "get_text_embedding_batch", "query": "get_query_embedding", "sparse": "embed_sparse",
           "dense_and_sparse": "embed_dense_and_sparse", "contents": "embed_contents", "fused": "embed_fused",
           "rerank": "postprocess_nodes"}  # fmt: skip


async def run(scenario: RetrievalScenario, way: str, told: list[int]) -> Any:
    """Return the result of a scenario's operation. `told` receives its tokens."""
    common: dict[str, Any] = {
        "base_url": "http://127.0.0.1", "max_retries": 0, "usage_callback": lambda model, tokens: told.append(tokens)
    }  # fmt: skip
    method, given, options = METHODS[scenario.operation], scenario.given, dict[str, Any]()
    model: Any
    if scenario.operation == "rerank":
        model = ModelStudioRerank(**common, **scenario.settings)
        given = [NodeWithScore(node=TextNode(text=text)) for text in scenario.given["documents"]]
        options = {"query_str": scenario.given["query"]}
    else:
        model = ModelStudioMultiModalEmbedding(**common, **scenario.settings)
    call = getattr(model, method if way == "sync" else f"a{method}")
    found = call(given, **options) if way == "sync" else await call(given, **options)
    if scenario.operation == "rerank":
        return [(node.text, node.score) for node in found]
    return found


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("name", cassette_names(retrieval=True))
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
