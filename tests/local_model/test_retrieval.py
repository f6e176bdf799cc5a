"""Embeddings and rerank of the local model, in the formats of both protocols."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local_model.retrieval import (
    COMPATIBLE_RERANK,
    EMBED,
    RERANK,
    InvalidRequest,
    check_compatible,
    failure,
    fitted,
    must_be_counted,
    task,
)

COMPATIBLE = "/compatible-mode/v1/embeddings"
DOCUMENTS = [
    "Dogs bark at strangers.",
    "The moon pulls the sea. Cats purr when they are content.",
    "Bread needs yeast.",
]
QUERY = "What sound does a happy kitten make?"
# a sentence of the model's card, and the first numbers of its vector there
CARD = "This is an example sentence"
FIRST = [0.067657, 0.063496, 0.048713]


@pytest.fixture(scope="module")
def client(local_model_url: str) -> Iterator[httpx.Client]:
    origin = local_model_url.removesuffix("/compatible-mode/v1")
    with httpx.Client(base_url=origin, timeout=60, trust_env=False) as made:
        yield made


def post(client: httpx.Client, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    response = client.post(path, json={"model": "text-embedding-v4", **body})
    assert response.status_code == status, response.text
    content: dict[str, Any] = response.json()
    return content


def test_vectors_match_the_model_card(client: httpx.Client) -> None:
    """The conversion preserves the weights."""
    compatible = post(client, COMPATIBLE, {"input": [CARD, "b"]})
    native = post(client, EMBED, {"input": {"texts": [CARD, "b"]}, "parameters": {"text_type": "query"}})
    assert compatible["usage"]["total_tokens"] == native["usage"]["total_tokens"] == 10
    assert [item["text_index"] for item in native["output"]["embeddings"]] == [0, 1]
    for vector in (compatible["data"][0]["embedding"], native["output"]["embeddings"][0]["embedding"]):
        assert len(vector) == 384
        assert sum(number * number for number in vector) == pytest.approx(1, abs=1e-4)
        assert vector[:3] == pytest.approx(FIRST, abs=1e-3)


@pytest.mark.parametrize("top_n", [None, 2])
def test_rerank(client: httpx.Client, top_n: int | None) -> None:
    """A document has the score of its most similar sentence, from 0 to 1."""
    given = {"query": QUERY, "documents": DOCUMENTS}
    asked = {} if top_n is None else {"top_n": top_n}
    compatible = post(client, COMPATIBLE_RERANK, {**given, **asked})
    native = post(client, RERANK, {"input": given, "parameters": asked})
    for results in (compatible["results"], native["output"]["results"]):
        assert len(results) == (top_n or 3)
        assert results[0]["index"] == 1
        scores = [each["relevance_score"] for each in results]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
    assert compatible["usage"]["total_tokens"] == native["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("words", [511, 600, 6000])
@pytest.mark.parametrize("path", [EMBED, COMPATIBLE])
def test_a_text_that_is_too_long_to_embed(client: httpx.Client, path: str, words: int) -> None:
    """The model supports 512 tokens. A longer text is rejected, with its length and beginning, not truncated."""
    texts = ["word " * 510, "Moon. " + "word " * (words - 2)]
    body = {"input": {"texts": texts}} if path == EMBED else {"input": texts}
    refused = post(client, path, body, 400)
    message = refused.get("error", refused)["message"]
    assert f"accepts 512 tokens per text, and this one has {words + 2}: split the text" in message
    assert "begins with 'Moon. word" in message


@pytest.mark.parametrize("path", [EMBED, COMPATIBLE])
@pytest.mark.parametrize("text", ["word " * 510, "한" * 510, "." * 510, "\u1f82" * 510, "\ufdfa" * 510])
def test_the_longest_texts(client: httpx.Client, path: str, text: str) -> None:
    """512 tokens are embedded, and a text of 510 characters never has more."""
    body = {"input": {"texts": [text]}} if path == EMBED else {"input": text}
    assert post(client, path, body)["usage"]["total_tokens"] <= 512


def test_the_tokens_of_long_texts() -> None:
    """A text of more than 510 characters may have more than 512 tokens. What is truncated keeps the mark of its end."""
    assert [must_be_counted("a" * length) for length in (510, 511)] == [False, True]
    assert fitted("a", [*range(513)], truncate=True) == [*range(511), 512]
    for truncate in (False, True):
        assert fitted("a", [*range(512)], truncate=truncate) == [*range(512)]
    with pytest.raises(InvalidRequest, match="this one has 513"):
        fitted("a", [*range(513)], truncate=False)


@pytest.mark.parametrize(
    ("body", "texts"),
    [({"input": "a"}, ["a"]), ({"input": ["a", "b"]}, ["a", "b"]), ({"input": [[1, 2]]}, []), ({}, []), ([], [])],
    ids=str,
)
def test_texts_of_a_compatible_request(body: Any, texts: list[str]) -> None:
    """One or several. What is not a text is left to llama.cpp."""
    assert check_compatible(body) == texts


@pytest.mark.parametrize("path", [RERANK, COMPATIBLE_RERANK])
def test_long_documents_are_truncated_to_rerank(client: httpx.Client, path: str) -> None:
    """As by the service, and long queries and sentences. The rest does not count."""
    head = "Cats purr when they are content, " * 80
    given = {"query": QUERY, "documents": ["Bread needs yeast.", head, head + "and bread needs yeast " * 1000]}
    ranked = post(client, path, {"input": given} if path == RERANK else given)
    results = ranked.get("output", ranked)["results"]
    assert {each["index"] for each in results[:2]} == {1, 2}
    assert results[0]["relevance_score"] == pytest.approx(results[1]["relevance_score"], abs=1e-3)
    assert post(client, path, {"input": {**given, "query": head}} if path == RERANK else {**given, "query": head})


REFUSED: list[tuple[str, str, Any, str]] = [
    ("no object", EMBED, [], "not a JSON object"),
    ("no texts", EMBED, {"input": {}}, "texts is not a list"),
    ("texts are no list", EMBED, {"input": {"texts": "a"}}, "texts is not a list"),
    ("an empty text", EMBED, {"input": {"texts": ["a", ""]}}, "supports text only"),
    ("other dimensions", EMBED, {"input": {"texts": ["a"]}, "parameters": {"dimension": 64}}, "384 dimensions"),
    ("sparse", EMBED, {"input": {"texts": ["a"]}, "parameters": {"output_type": "sparse"}}, "'sparse'"),
    ("parameters", EMBED, {"input": {"texts": ["a"]}, "parameters": 1}, "parameters is not a JSON object"),
    ("no query", COMPATIBLE_RERANK, {"documents": ["a"]}, "query contains None"),
    ("no documents", RERANK, {"input": {"query": "a", "documents": []}}, "documents is not a list"),
    ("an image", RERANK, {"input": {"query": "a", "documents": [{"image": "x"}]}}, "supports text only"),
    ("top_n", COMPATIBLE_RERANK, {"query": "a", "documents": ["b"], "top_n": 0}, "top_n is 0"),
]


@pytest.mark.parametrize(("path", "body", "said"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_unsupported_requests(path: str, body: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        task(path, body)


def test_errors_have_the_format_of_the_protocol(client: httpx.Client) -> None:
    with pytest.raises(InvalidRequest, match="384 dimensions, not 64"):
        check_compatible({"dimensions": 64})
    assert "384" in post(client, COMPATIBLE, {"input": "a", "dimensions": 64}, 400)["error"]["message"]
    assert "384" in post(client, EMBED, {"input": {"texts": ["a"]}, "parameters": {"dimension": 64}}, 400)["message"]
    assert failure(COMPATIBLE_RERANK, "no")["error"]["code"] == "invalid_parameter_error"


def test_multimodal_documents_may_be_texts() -> None:
    made = task(RERANK, {"input": {"query": {"text": "a"}, "documents": [{"text": "One. Two."}, "b"]}})
    assert made is not None
    assert made.texts == ["a", "One. Two.", "One.", "Two.", "b"]
    answer = made.answer([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]], 7)
    assert answer["output"]["results"] == [
        {"index": 0, "relevance_score": 0.8},
        {"index": 1, "relevance_score": 0.0},
    ]


def test_other_paths_are_not_handled() -> None:
    assert task("/v1/chat/completions", {}) is None
