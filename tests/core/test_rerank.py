"""Encoding of rerank requests, decoding of scores, and splitting of many documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.limits import rerank_rounds
from modelstudio_core.protocols.rerank import Ranked, Ranking, RerankRequest, decode, encode
from modelstudio_core.retrieval import RerankEndpoint, rerank_model
from modelstudio_core.types import ResponseHead
from tests.ids import short

HEAD = ResponseHead(200, {"x-request-id": "req-1"})
THREE = RerankRequest("qwen3-rerank", "q", ("a", "b", "c"))
ENDPOINTS: tuple[RerankEndpoint, ...] = ("compatible", "native")
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


def results(endpoint: str, *scores: tuple[Any, Any], **more: Any) -> bytes:
    """A response with these pairs of index and score."""
    items = [{"index": index, "relevance_score": score} for index, score in scores]
    said = {"results": items} if endpoint == "compatible" else {"output": {"results": items}}
    return json.dumps({**said, **more}).encode()


@every_endpoint
def test_scores_are_sorted(endpoint: RerankEndpoint) -> None:
    """The best first, stable for equal scores. Usage is read."""
    body = results(endpoint, (2, 0.25), (0, 0.5), (1, 1), usage={"total_tokens": 79})
    assert decode(THREE, endpoint, HEAD, body) == Ranking([Ranked(1, 1.0), Ranked(0, 0.5), Ranked(2, 0.25)], 79)
    assert decode(THREE, endpoint, HEAD, results(endpoint, (2, 0.5), (0, 0.5), (1, 0.5))).documents == [
        Ranked(2, 0.5), Ranked(0, 0.5), Ranked(1, 0.5),
    ]  # fmt: skip


@every_endpoint
@pytest.mark.parametrize(
    "scores",
    [
        [], [(0, 0.5)], [(0, 0.5), (1, 0.5), (1, 0.5)], [(0, 0.5), (1, 0.5), (3, 0.5)], [(0, 0.5), (1, 0.5), (-1, 0.5)],
        [(0, 0.5), (1, 0.5), ("2", 0.5)], [(0, 0.5), (1, 0.5), (True, 0.5)], [(0, 0.5), (1, 0.5), (2, None)],
        [(0, 0.5), (1, 0.5), (2, "0.5")], [(0, 0.5), (1, 0.5), (2, float("nan"))], [(0, 0.5), (1, 0.5), (2, 10**400)],
    ],
    ids=lambda scores: repr(scores)[:60],
)  # fmt: skip
def test_missing_or_invalid_scores(endpoint: RerankEndpoint, scores: Any) -> None:
    """No document is left out or scored twice."""
    with pytest.raises(ProtocolError):
        decode(THREE, endpoint, HEAD, results(endpoint, *scores))


def test_documents_in_the_error() -> None:
    """Those with a score are listed."""
    with pytest.raises(ProtocolError, match=r"expected scores for 3 of the 3 documents, got 2 \(documents 0, 2\)"):
        decode(THREE, "native", HEAD, results("native", (0, 0.5), (2, 0.25)))


@every_endpoint
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"output": [], "results": "x"}', b'{"results": [7]}'])
def test_invalid_responses(endpoint: RerankEndpoint, body: bytes) -> None:
    """No JSON, no object, or no results."""
    with pytest.raises(ProtocolError):
        decode(THREE, endpoint, HEAD, body)


@every_endpoint
@pytest.mark.parametrize("said", [{"code": "InternalError.Algo", "message": "Some failed."}, {"code": 500},
                                  {"error": {"message": "Some failed."}}], ids=short)  # fmt: skip
def test_an_error_beside_results(endpoint: RerankEndpoint, said: Any) -> None:
    """A partly failed request has status 200 and a code."""
    with pytest.raises(ModelStudioError) as caught:
        decode(THREE, endpoint, HEAD, results(endpoint, (0, 0.5), (1, 0.5), (2, 0.5), **said))
    assert not isinstance(caught.value, ProtocolError)
    assert caught.value.request_id == "req-1"


@every_endpoint
def test_a_success_code_is_no_error(endpoint: RerankEndpoint) -> None:
    """Some gateways send one."""
    body = results(endpoint, (0, 0.5), (1, 0.5), (2, 0.5), code=200, message="success")
    assert len(decode(THREE, endpoint, HEAD, body).documents) == 3


def test_documents_that_are_not_text() -> None:
    """They are sent unchanged to a multimodal model. Other models reject them, with the position."""
    documents = ["a", {"text": "b"}, {"image": "https://x/y"}, {"video": "https://x/z"}]
    request = RerankRequest("qwen3-vl-rerank", {"image": "https://x/q"}, documents, 2, extra_body={"fps": 0.5})
    body = json.loads(encode(request, "native").body)
    assert body["input"] == {"query": {"image": "https://x/q"}, "documents": documents}
    assert body["parameters"] == {"top_n": 2, "fps": 0.5}
    assert next(rerank_rounds(request, rerank_model("qwen3-vl-rerank"), tournament=False)) == [request]
    for bad, message in (({"image": "x"}, "document 1 is image"), ({}, "document 1 is nothing"), (7, "of type int")):
        with pytest.raises(ConfigurationError, match=message):
            next(rerank_rounds(RerankRequest("m", "q", ("a", bad)), rerank_model("m"), tournament=False))  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ConfigurationError, match="text, image"):
        next(rerank_rounds(RerankRequest("m", "q", ({"text": "a", "image": "b"},)), rerank_model("qwen3-vl-rerank"),
                           tournament=False))  # fmt: skip


def test_images_and_videos_have_their_own_limits() -> None:
    """40 images and 4 videos, besides 100 texts."""
    model = rerank_model("qwen3-vl-rerank")
    image, video = {"image": "https://x/y"}, {"video": "https://x/z"}
    fits = ["a"] * 100 + [image] * 40 + [video] * 4
    assert len(next(rerank_rounds(RerankRequest("m", "q", fits), model, tournament=False))) == 1
    for more in ("a", image, video):
        with pytest.raises(ConfigurationError, match="100 documents, 40 images, 4 videos"):
            next(rerank_rounds(RerankRequest("m", "q", [*fits, more]), model, tournament=False))


def test_a_tournament_splits_by_tokens_too() -> None:
    """Groups are limited by the tokens of query and documents."""
    model = rerank_model("m", {"max_request_tokens": 100, "max_item_tokens": 30})
    request = RerankRequest("m", "word " * 10, ["word " * 40] * 6, top_n=1)
    rounds = rerank_rounds(request, model, tournament=True)
    sizes = [len(each.documents) for each in next(rounds)]
    assert sizes == [2, 2, 2]  # 40 tokens a document: 30 of its own, which is all that is read, and 10 of the query
    second = rounds.send([Ranking([Ranked(1, 0.5)], None)] * 3)
    assert [list(each.positions) for each in second] == [[1, 3]]  # 5 is alone, and goes on
    [last] = rounds.send([Ranking([Ranked(0, 0.5)], None)])
    assert list(last.positions) == [1, 5]
    with pytest.raises(StopIteration) as finished:
        rounds.send([Ranking([Ranked(1, 0.9)], 7)])
    assert finished.value.value == [Ranked(5, 0.9)]
    with pytest.raises(ConfigurationError, match="top_n=3 is too large"):
        next(rerank_rounds(RerankRequest("m", "q", ["word " * 40] * 9, 3), model, tournament=True))


def test_an_unlisted_model() -> None:
    """It has the endpoint of the ID that its own starts with, or the native one."""
    assert rerank_model("qwen3-rerank-2027-01-01").endpoint == "compatible"
    assert rerank_model("new").endpoint == "native"
    assert rerank_model("new").max_documents is None
    assert rerank_model("new", {"endpoint": "compatible", "max_documents": 3}).endpoint == "compatible"
    with pytest.raises(ConfigurationError, match="'compatible' or 'native'"):
        rerank_model("new", {"endpoint": "flat"})
