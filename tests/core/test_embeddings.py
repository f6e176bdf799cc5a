"""Requests for embeddings as bytes, and vectors out of bytes, in both protocols."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.embedding import EmbeddingRequest
from modelstudio_core.errors import ConfigurationError, ProtocolError, RateLimitError
from modelstudio_core.protocols.embeddings import decode, encode
from modelstudio_core.types import ResponseHead

PROTOCOLS = ("openai", "dashscope")
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
HEAD = ResponseHead(200, {"x-request-id": "req-1"})
TWO = EmbeddingRequest("text-embedding-v4", ("a", "b"))


def items_as(protocol: str, items: Any) -> bytes:
    """A response with these items, whose `index` has the protocol's own name."""
    if protocol == "openai":
        return json.dumps({"data": items}).encode()
    named = [
        {"text_index" if name == "index" else name: value for name, value in item.items()}
        if isinstance(item, dict)
        else item
        for item in items
    ]
    return json.dumps({"output": {"embeddings": named}}).encode()


@every_protocol
@pytest.mark.parametrize(
    "items",
    [
        [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
        [{"embedding": [1.0]}, {"embedding": [2.0]}],
        [{"index": None, "embedding": [1.0]}, {"index": None, "embedding": [2.0]}],
    ],
    ids=["by index", "without an index", "index null"],
)
def test_each_text_gets_its_vector(protocol: str, items: Any) -> None:
    """By its index, or where there is none by its place."""
    assert decode(TWO, protocol, HEAD, items_as(protocol, items)) == [[1.0], [2.0]]


ONE: dict[str, Any] = {"index": 0, "embedding": [1.0]}


@every_protocol
@pytest.mark.parametrize(
    "items",
    [
        [],
        [ONE],
        [ONE, ONE],
        [ONE, {"index": 2, "embedding": [1.0]}],
        [ONE, {"index": [], "embedding": [1.0]}],
        [ONE, {"index": "1", "embedding": [1.0]}],
        [ONE, {"index": 1, "embedding": None}],
        [ONE, {"index": 1}],
        [ONE, "x"],
        [ONE, {"index": 1, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
    ],
    ids=repr,
)
def test_a_missing_vector_is_an_error(protocol: str, items: Any) -> None:
    """As is one too many, or one whose index is none."""
    with pytest.raises(ProtocolError, match="for 2 texts"):
        decode(TWO, protocol, HEAD, items_as(protocol, items))


NO_VECTORS: list[Any] = [
    [], "AAAA", 1.0, {}, {"0": 1.0}, False, 0, "", ["1.0"], [1.0, "2"], [1.0, None], [True], [0.5, False], [[1.0]],
    [{"a": 1}], [10**400], [float("inf")], [float("nan")],
]  # fmt: skip


@every_protocol
@pytest.mark.parametrize("vector", NO_VECTORS, ids=lambda vector: repr(vector)[:30])
def test_what_is_no_vector_is_an_error_that_names_it(protocol: str, vector: Any) -> None:
    """A vector is a list of numbers that a float can hold, and not an empty one."""
    with pytest.raises(ProtocolError, match="vector of numbers") as caught:
        decode(TWO, protocol, HEAD, items_as(protocol, [ONE, {"index": 1, "embedding": vector}]))
    assert "text 1" in caught.value.message
    assert len(caught.value.message) < 300


@every_protocol
def test_numbers_of_both_kinds_make_a_vector(protocol: str) -> None:
    """Whole ones, small ones and those below 0 too."""
    items = [{"index": 0, "embedding": [0, -1, 1e-300]}, {"index": 1, "embedding": [2.5, 3, -0.0]}]
    assert decode(TWO, protocol, HEAD, items_as(protocol, items)) == [[0, -1, 1e-300], [2.5, 3, -0.0]]


@every_protocol
def test_vectors_of_two_lengths_are_an_error(protocol: str) -> None:
    """What is compared with each other has one length; the error names both."""
    items = [{"index": 0, "embedding": [1.0, 2.0, 3.0]}, {"index": 1, "embedding": [1.0]}]
    with pytest.raises(ProtocolError, match="lengths 1, 3"):
        decode(TWO, protocol, HEAD, items_as(protocol, items))


@every_protocol
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"output": "x", "data": "x"}', b'{"output": []}'])
def test_what_is_no_answer_is_an_error(protocol: str, body: bytes) -> None:
    """No JSON, no object, nothing that holds vectors."""
    with pytest.raises(ProtocolError):
        decode(TWO, protocol, HEAD, body)


@every_protocol
def test_an_error_with_status_200(protocol: str) -> None:
    """It is the error that the body says, by its code and request id."""
    with pytest.raises(RateLimitError, match="Busy") as caught:
        decode(TWO, protocol, HEAD, b'{"code": "Throttling", "message": "Busy."}')
    assert (caught.value.code, caught.value.request_id) == ("Throttling", "req-1")


@pytest.mark.parametrize("own", [{"text_type": "query"}, {"instruct": "Find facts."}])
def test_what_only_the_native_protocol_has_is_refused_by_the_other(own: Any) -> None:
    """By its name, and with the way to have it."""
    request = EmbeddingRequest("text-embedding-v4", ("a",), **own)
    with pytest.raises(ConfigurationError, match=f'{next(iter(own))}.*protocol="dashscope"'):
        encode(request, "openai")
    assert json.loads(encode(request, "dashscope").body)["parameters"] == own


@pytest.mark.parametrize(("protocol", "within"), [("openai", None), ("dashscope", "parameters")])
def test_what_has_no_field_is_sent_as_it_is(protocol: str, within: str | None) -> None:
    """`extra_body` stands where the protocol has its parameters."""
    request = EmbeddingRequest("text-embedding-v4", ("a",), extra_body={"new": 1})
    body = json.loads(encode(request, protocol).body)
    assert (body[within] if within else body)["new"] == 1


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_a_code_that_says_success_is_no_error(protocol: str) -> None:
    """Beside the vectors, where it may stand with a message."""
    said = {"code": 200, "message": "success"}
    answer = {
        "data": [{"index": 0, "embedding": [0.5]}],
        "output": {"embeddings": [{"text_index": 0, "embedding": [0.5]}]},
    }
    if protocol == "openai":
        del answer["output"]
    body = json.dumps(said | answer).encode()
    assert decode(EmbeddingRequest("text-embedding-v4", ("a",)), protocol, ResponseHead(200, {}), body) == [[0.5]]
