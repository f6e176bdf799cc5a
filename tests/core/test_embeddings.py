"""Encoding of embedding requests and decoding of vectors, in both protocols."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from modelstudio_core.config import resolve, service_url
from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError, RateLimitError
from modelstudio_core.http.local_files import image_address, read_contents
from modelstudio_core.limits import (
    check_contents,
    check_dimensions,
    check_texts,
    content_batches,
    fuse_contents,
    split,
    text_batches,
)
from modelstudio_core.protocols.embeddings import (
    EmbeddingRequest,
    Embeddings,
    MultimodalEmbeddingRequest,
    decode_contents,
    decode_texts,
    encode_contents,
    encode_texts,
)
from modelstudio_core.retrieval import embedding_model, multimodal_models
from modelstudio_core.tokens import count_tokens, min_tokens
from modelstudio_core.types import ResponseHead
from tests.ids import short

PROTOCOLS = ("openai", "dashscope")
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
HEAD = ResponseHead(200, {"x-request-id": "req-1"})
TWO = EmbeddingRequest("text-embedding-v4", ("a", "b"))


def decode(request: EmbeddingRequest, protocol: str, body: bytes) -> list[list[float]]:
    """The dense vectors of a response."""
    return decode_texts(request, protocol, HEAD, body).dense


def items_as(protocol: str, items: Any) -> bytes:
    """A response with these items. The name of their index depends on the protocol."""
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
    """By index, or without one by position."""
    assert decode(TWO, protocol, items_as(protocol, items)) == [[1.0], [2.0]]


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
    ids=short,
)
def test_a_missing_vector_is_an_error(protocol: str, items: Any) -> None:
    """So is an additional one, or one with an invalid index."""
    with pytest.raises(ProtocolError, match=r"expected 2 embeddings, got \d"):
        decode(TWO, protocol, items_as(protocol, items))


NO_VECTORS: list[Any] = [
    [], "AAAA", 1.0, {}, {"0": 1.0}, False, 0, "", ["1.0"], [1.0, "2"], [1.0, None], [True], [0.5, False], [[1.0]],
    [{"a": 1}], [10**400], [float("inf")], [float("nan")],
]  # fmt: skip


@every_protocol
@pytest.mark.parametrize("vector", NO_VECTORS, ids=lambda vector: repr(vector)[:30])
def test_invalid_vectors(protocol: str, vector: Any) -> None:
    """A vector must be a non-empty list of finite numbers."""
    with pytest.raises(ProtocolError, match="vector of numbers") as caught:
        decode(TWO, protocol, items_as(protocol, [ONE, {"index": 1, "embedding": vector}]))
    assert "input 1" in caught.value.message
    assert len(caught.value.message) < 300


@every_protocol
def test_integers_and_floats_in_a_vector(protocol: str) -> None:
    """Including small and negative ones."""
    items = [{"index": 0, "embedding": [0, -1, 1e-300]}, {"index": 1, "embedding": [2.5, 3, -0.0]}]
    assert decode(TWO, protocol, items_as(protocol, items)) == [[0, -1, 1e-300], [2.5, 3, -0.0]]


@every_protocol
def test_vectors_of_different_lengths(protocol: str) -> None:
    """The error has both lengths."""
    items = [{"index": 0, "embedding": [1.0, 2.0, 3.0]}, {"index": 1, "embedding": [1.0]}]
    with pytest.raises(ProtocolError, match="lengths: 1, 3"):
        decode(TWO, protocol, items_as(protocol, items))


@every_protocol
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"output": "x", "data": "x"}', b'{"output": []}'])
def test_invalid_responses(protocol: str, body: bytes) -> None:
    """No JSON, no object, or no vectors."""
    with pytest.raises(ProtocolError):
        decode(TWO, protocol, body)


@every_protocol
def test_an_error_with_status_200(protocol: str) -> None:
    """The typed error, with code and request ID."""
    with pytest.raises(RateLimitError, match="Busy") as caught:
        decode(TWO, protocol, b'{"code": "Throttling", "message": "Busy."}')
    assert (caught.value.code, caught.value.request_id) == ("Throttling", "req-1")


@pytest.mark.parametrize("own", [{"text_type": "query"}, {"instruct": "Find facts."}])
def test_native_parameters_with_the_compatible_protocol(own: Any) -> None:
    """The error has the name and the alternative."""
    request = EmbeddingRequest("text-embedding-v4", ("a",), **own)
    with pytest.raises(ConfigurationError, match=f'{next(iter(own))}.*protocol="dashscope"'):
        encode_texts(request, "openai")
    assert json.loads(encode_texts(request, "dashscope").body)["parameters"] == own


@pytest.mark.parametrize(("protocol", "within"), [("openai", None), ("dashscope", "parameters")])
def test_extra_body(protocol: str, within: str | None) -> None:
    """Its fields are sent where the protocol has its parameters."""
    request = EmbeddingRequest("text-embedding-v4", ("a",), extra_body={"new": 1})
    body = json.loads(encode_texts(request, protocol).body)
    assert (body[within] if within else body)["new"] == 1


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_a_success_code_is_no_error(protocol: str) -> None:
    """It may appear with a message beside vectors."""
    said = {"code": 200, "message": "success"}
    answer = {
        "data": [{"index": 0, "embedding": [0.5]}],
        "output": {"embeddings": [{"text_index": 0, "embedding": [0.5]}]},
    }
    if protocol == "openai":
        del answer["output"]
    body = json.dumps(said | answer).encode()
    assert decode(EmbeddingRequest("text-embedding-v4", ("a",)), protocol, body) == [[0.5]]


# ---------------------------------------------------------------- the service's own failures


@every_protocol
@pytest.mark.parametrize(
    "said",
    [
        {"code": "Throttling", "message": "Busy."},
        {"code": "Throttling", "message": ""},
        {"code": 429, "message": "Busy."},
        {"error": {"code": "Throttling", "message": "Busy."}},
    ],
    ids=short,
)
def test_an_error_beside_vectors(protocol: str, said: Any) -> None:
    """A partly failed request has status 200, a code and some vectors."""
    body = json.loads(items_as(protocol, [ONE, {"index": 1, "embedding": [2.0]}]))
    with pytest.raises(ModelStudioError) as caught:
        decode(TWO, protocol, json.dumps(body | said).encode())
    assert not isinstance(caught.value, ProtocolError)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([], "expected 3 embeddings, got 0"),
        ([0, 2], r"expected 3 embeddings, got 2 \(inputs 0, 2\)"),
        ([0, 1, 1], r"expected 3 embeddings, got 3 \(inputs 0, 1, 1\)"),
        ([0, 1, 3], r"expected 3 embeddings, got 3 \(inputs 0, 1, 3\)"),
    ],
    ids=["none", "missing", "duplicated", "unknown"],
)
def test_indices_in_the_error(indices: list[int], said: str) -> None:
    """Their number alone may be right."""
    request = MultimodalEmbeddingRequest("qwen3-vl-embedding", [{"image": "https://a/b.png"}] * 3)
    items = [{"index": index, "embedding": [1.0]} for index in indices]
    body = json.dumps({"output": {"embeddings": items}}).encode()
    with pytest.raises(ProtocolError, match=said):
        decode_contents(request, HEAD, body)


# ---------------------------------------------------------------- sparse vectors and usage

PAIR = {"index": 7149, "value": 0.829, "token": "wind"}


def sparse_body(*vectors: Any) -> bytes:
    items = [{"text_index": at, "sparse_embedding": vector} for at, vector in enumerate(vectors)]
    return json.dumps({"output": {"embeddings": items}, "usage": {"total_tokens": 27}}).encode()


def test_sparse_vectors() -> None:
    """Pairs of index and weight, possibly none. Dense vectors are optional."""
    request = EmbeddingRequest("text-embedding-v4", ("a", "b"), output_type="sparse")
    found = decode_texts(request, "dashscope", HEAD, sparse_body([PAIR, {"index": 3, "value": 1}], []))
    assert found == Embeddings([], [[(7149, 0.829), (3, 1.0)], []], 27)


@pytest.mark.parametrize(
    "vector",
    [
        {}, "x", [1], [[7149, 0.8]], [{**PAIR, "index": "1"}], [{**PAIR, "index": True}], [{"index": 1}],
        [{**PAIR, "value": None}], [{**PAIR, "value": "1"}], [{**PAIR, "value": 10**400}],
    ],
    ids=lambda vector: repr(vector)[:40],
)  # fmt: skip
def test_invalid_sparse_vectors(vector: Any) -> None:
    """The error names the input."""
    request = EmbeddingRequest("text-embedding-v4", ("a", "b"), output_type="sparse")
    with pytest.raises(ProtocolError, match="sparse embedding of input 1"):
        decode_texts(request, "dashscope", HEAD, sparse_body([PAIR], vector))


def test_dense_and_sparse() -> None:
    """Both are required."""
    request = EmbeddingRequest("text-embedding-v4", ("a",), output_type="dense&sparse")
    item = {"text_index": 0, "embedding": [1.0], "sparse_embedding": [PAIR]}
    found = decode_texts(request, "dashscope", HEAD, json.dumps({"output": {"embeddings": [item]}}).encode())
    assert found == Embeddings([[1.0]], [[(7149, 0.829)]], None)
    with pytest.raises(ProtocolError):
        decode_texts(request, "dashscope", HEAD, sparse_body([PAIR]))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"total_tokens": 7}, 7),
        ({"prompt_tokens": 7, "total_tokens": 8}, 8),
        ({"input_tokens": 5, "image_tokens": 40}, 45),
        ({"input_tokens": 5, "image_count": 3, "total_tokens": None}, 5),
        ({"total_tokens": "7"}, 7),
        ({"total_tokens": "many"}, None),
        ({}, None),
        (None, None),
        ("x", None),
    ],
    ids=short,
)
def test_tokens(usage: Any, tokens: int | None) -> None:
    """The total, or the sum of the parts. An invalid count does not affect the vectors."""
    body = json.dumps({"data": [ONE], "usage": usage}).encode()
    request = EmbeddingRequest("text-embedding-v4", ("a",))
    assert decode_texts(request, "openai", HEAD, body) == Embeddings([[1.0]], [], tokens)


# ---------------------------------------------------------------- images and video


def test_a_multimodal_request() -> None:
    """Contents and parameters follow the vendor's page."""
    contents = [{"text": "a"}, {"image": "https://x/y"}]
    request = MultimodalEmbeddingRequest(
        "qwen3-vl-embedding", contents, 512, "Find cats.", True, {"enable_fusion": True, "fps": 0.5}
    )
    call = encode_contents(request)
    assert call.path == "/services/embeddings/multimodal-embedding/multimodal-embedding"
    assert json.loads(call.body) == {
        "model": "qwen3-vl-embedding",
        "input": {"contents": contents},
        "parameters": {"dimension": 512, "instruct": "Find cats.", "enable_fusion": True, "fps": 0.5},
    }
    assert "x-dashscope-ossresourceresolve" not in call.headers
    for oss in ({"image": "oss://x/y"}, {"multi_images": ["https://x/y", "oss://x/y"]}):
        call = encode_contents(MultimodalEmbeddingRequest("m", [oss]))
        assert call.headers["x-dashscope-ossresourceresolve"] == "enable"


def test_multimodal_vectors() -> None:
    """One per content by index, or one for all."""
    items = [{"index": 1, "embedding": [2.0], "type": "vl"}, {"index": 0, "embedding": [1.0], "type": "vl"}]
    body = json.dumps({"output": {"embeddings": items}}).encode()
    two = MultimodalEmbeddingRequest("qwen3-vl-embedding", [{"text": "a"}, {"text": "b"}])
    assert decode_contents(two, HEAD, body).dense == [[1.0], [2.0]]
    one = MultimodalEmbeddingRequest("qwen3-vl-embedding", two.contents, one_vector=True)
    with pytest.raises(ProtocolError):
        decode_contents(one, HEAD, body)
    body = json.dumps({"output": {"embeddings": [{"index": 0, "embedding": [1.0], "type": "fusion"}]}}).encode()
    assert decode_contents(one, HEAD, body).dense == [[1.0]]


IMAGE, VIDEO = {"image": "https://x/y"}, {"video": "https://x/z"}
FUSED = [
    ("qwen3-vl-embedding", [{"text": "a"}, IMAGE], [{"text": "a"}, IMAGE], {"enable_fusion": True}),
    ("qwen3-vl-embedding", [{"text": "a", **IMAGE}], [{"text": "a"}, IMAGE], {"enable_fusion": True}),
    ("qwen2.5-vl-embedding", [{"text": "a"}, IMAGE, VIDEO], [{"text": "a"}, IMAGE, VIDEO], {}),
    ("tongyi-embedding-vision-plus-2026-03-06", [{"text": "a"}, IMAGE, VIDEO], [{"text": "a", **IMAGE, **VIDEO}], {}),
    (
        "tongyi-embedding-vision-flash-2026-03-06",
        [IMAGE, {"text": "a"}, IMAGE],
        [{"text": "a", "multi_images": ["https://x/y"] * 2}],
        {},
    ),
]


@pytest.mark.parametrize(("model", "contents", "sent", "parameters"), FUSED)
def test_fusion(model: str, contents: Any, sent: Any, parameters: Any) -> None:
    """By a parameter, by a single object, or always, depending on the model."""
    assert fuse_contents(contents, embedding_model(model)) == (sent, parameters)


@pytest.mark.parametrize(
    ("model", "contents", "message"),
    [
        ("tongyi-embedding-vision-plus", [{"text": "a"}], "not known to fuse"),
        ("multimodal-embedding-v1", [{"text": "a"}], "not known to fuse"),
        ("some-new-model", [{"text": "a"}], "capabilities"),
        ("qwen3-vl-embedding", [], "contents is empty"),
        ("qwen3-vl-embedding", [IMAGE] * 11, "11 images for one vector, but qwen3-vl-embedding accepts 10"),
        ("qwen3-vl-embedding", [VIDEO] * 2, "2 videos for one vector"),
        ("qwen3-vl-embedding", [{"text": "a"}] * 21, "21 contents for one vector"),
        ("qwen2.5-vl-embedding", [{"text": "a"}] * 2, "accepts one of each kind"),
        ("tongyi-embedding-vision-plus-2026-03-06", [{"text": "a"}] * 2, "more than one text"),
    ],
)
def test_unsupported_fusion(model: str, contents: Any, message: str) -> None:
    """The error has the limit."""
    with pytest.raises(ConfigurationError, match=message):
        fuse_contents(contents, embedding_model(model))


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ([{"text": ""}], "content 0 is empty"),
        ([{"text": "a"}, {}], "content 1 is nothing, but"),
        ([{"text": "a"}, {"audio": "https://x/y"}], "content 1 is audio"),
        ([{"multi_images": ["https://x/y"]}], "content 0 is multi_images"),
        ([{"text": "a", **IMAGE}], "content 0 has text and image: .*embed_fused"),
        ([{"text": "word " * 33000}], "content 0 has .* tokens"),
        ([{"image": "data:image/png;base64," + "A" * 15_000_000}], "content 0 is an image of .* accepts 10 MB"),
    ],
    ids=short,
)
def test_invalid_contents(contents: Any, message: str) -> None:
    """The errors have their positions."""
    with pytest.raises(ConfigurationError, match=message):
        check_contents(contents, embedding_model("qwen3-vl-embedding"))


def test_contents_per_request() -> None:
    """Rows, images and videos have separate limits."""
    model = embedding_model("qwen3-vl-embedding")
    assert content_batches([{"text": "a"}] * 45, model) == [range(20), range(20, 40), range(40, 45)]
    assert content_batches([IMAGE] * 12, model) == [range(10), range(10, 12)]
    assert content_batches([VIDEO, IMAGE, VIDEO], model) == [range(2), range(2, 3)]
    assert content_batches([IMAGE] * 3, embedding_model("qwen2.5-vl-embedding")) == [range(1), range(1, 2), range(2, 3)]


# ---------------------------------------------------------------- local images

SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff\xe0", "image/gif": b"GIF89a",
    "image/bmp": b"BM\x00", "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/tiff": b"II*\x00",
}  # fmt: skip


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_image_format_is_detected_from_the_bytes(kind: str, tmp_path: Path) -> None:
    """Regardless of the file name."""
    path = tmp_path / "image.dat"
    path.write_bytes(SIGNATURES[kind])
    uri = f"data:{kind};base64,{b64encode(SIGNATURES[kind]).decode()}"
    for image in (path, str(path), SIGNATURES[kind], bytearray(SIGNATURES[kind]), io.BytesIO(SIGNATURES[kind])):
        assert image_address(image) == uri
    with path.open("rb") as file:
        file.read(2)
        assert image_address(file) == uri
        assert file.tell() == 2


@pytest.mark.parametrize("address", ["https://x/y", "http://x/y", "oss://x/y", "data:image/png;base64,AAAA"])
def test_urls_are_unchanged(address: str) -> None:
    """Nothing is downloaded."""
    assert image_address(address) == address


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("no-such-file.png", "cannot be read"),
        (b"text", "unknown image format"),
        (7, "is of type int"),
        (b"", "unknown image"),
    ],
)
def test_invalid_images(image: Any, message: str) -> None:
    """The error states the reason."""
    with pytest.raises(ConfigurationError, match=message):
        image_address(image)


def test_videos_are_urls() -> None:
    """The service accepts nothing else."""
    assert read_contents([VIDEO, "a"]) == [VIDEO, {"text": "a"}]
    for video in ("film.mp4", "data:video/mp4;base64,AAAA", b"film", None):
        with pytest.raises(ConfigurationError, match="content 1 is a video, which the service accepts by URL only"):
            read_contents(["a", {"video": video}])
    with pytest.raises(ConfigurationError, match="content 0 is of type int"):
        read_contents([7])  # type: ignore[list-item]  # that is the test


# ---------------------------------------------------------------- limits


def test_ranges() -> None:
    """As long as the limits allow. A text that exceeds them is alone."""
    assert split([], (3,)) == []
    assert split([(1,)] * 7, (3,)) == [range(3), range(3, 6), range(6, 7)]
    assert split([(1, 60), (1, 40), (1, 1), (1, 200), (1, 5)], (10, 100)) == [
        range(2), range(2, 3), range(3, 4), range(4, 5),
    ]  # fmt: skip
    assert split([(1, 9)] * 4, (None, None)) == [range(4)]


LIMITS = [
    ("text-embedding-v1", 25, 2048), ("text-embedding-v2", 25, 2048), ("text-embedding-v3", 10, 8192),
    ("text-embedding-v4", 10, 8192), ("qwen3.7-text-embedding", 20, 128_000),
    ("qwen3.7-text-embedding-flash", 20, 131_072),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "tokens"), LIMITS)
def test_the_limits_of_a_model(name: str, rows: int, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and tokens: a text with as many words is rejected, one with fewer is not."""
    monkeypatch.setattr("modelstudio_core.tokens._tokenizer", lambda generation: None)  # which takes a while
    model = embedding_model(name)
    assert text_batches(["a"] * (rows + 1), model) == [range(rows), range(rows, rows + 1)]
    check_texts(["word " * (tokens - 1)], model)
    with pytest.raises(ConfigurationError, match=f"text 1 .* {name} accepts {tokens}"):
        check_texts(["a", "word " * (tokens + 1)], model)


def test_an_unlisted_model() -> None:
    """It has the rows of the ID that its own starts with, or the minimum, but no limits of tokens or dimensions."""
    for name, rows in (("text-embedding-v2-next", 25), ("qwen3.7-text-embedding-2027", 20), ("new", 10)):
        model = embedding_model(name)
        assert (model.max_rows, model.max_tokens, model.dimensions) == (rows, None, None)
        check_texts(["word " * 200_000], model)
        check_dimensions(7, model)


def test_facts_are_overridden() -> None:
    """By name. The type must be valid."""
    model = embedding_model("new", {"max_rows": 3, "max_tokens": None, "modalities": ["text", "image"], "sparse": True})
    assert (model.max_rows, model.multimodal, model.sparse) == (3, True, True)
    for overrides in ({"rows": 3}, {"max_rows": 0}, {"max_rows": "3"}, {"max_rows": None}, {"sparse": 1},
                      {"fusion": "yes"}, {"modalities": "text"}, {"dimensions": ["a"]}, {"id": "x"}):  # fmt: skip
        with pytest.raises(ConfigurationError, match="capabilities"):
            embedding_model("new", overrides)


def test_the_listed_models_have_sources() -> None:
    """And every source is used."""
    raw = json.loads(files("modelstudio_core").joinpath("retrieval.json").read_text(encoding="utf-8"))
    lines = raw["embeddings"] + raw["rerank"]
    assert {key for line in lines for key in line["source"]} == set(raw["_meta"]["sources"])
    assert set(multimodal_models()) == {line["id"] for line in lines if "fusion" in line}
    assert len({line["id"] for line in lines}) == len(lines)


TEXTS = {
    "prose": "The quick brown fox jumps over the lazy dog, doesn't it? ",
    "Chinese": "今天天气很好，我们去公园散步吧。",
    "boilerplate": "转载请附上原文出处链接和本声明",
    "code": "def f(x):\n    return {'a': [1, 2, 345]}  # AutoresizingMaskIntoConstraints\n",
    "one letter": "a",
    "spaces": " \n",
    "marks": "-=",
    "no-break spaces": "\xa0 a",
    "Thai": "อย่างต่อเนื่อง ",
    "emoji": "🚀",
}


@pytest.mark.parametrize("model", ["text-embedding-v4", "qwen3.7-text-embedding"])
@pytest.mark.parametrize("name", TEXTS)
def test_minimum_token_counts(name: str, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the vocabulary, they never exceed the real count."""
    exact = [count_tokens(TEXTS[name] * times, model) for times in (1, 50)]
    assert [min_tokens(TEXTS[name] * times, model, qwen_vocabulary=True) for times in (1, 50)] == exact
    monkeypatch.setattr("modelstudio_core.tokens._tokenizer", lambda generation: None)
    for times, tokens in zip((1, 50), exact, strict=True):
        assert min_tokens(TEXTS[name] * times, model, qwen_vocabulary=True) <= tokens


def test_limits_without_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only texts that certainly exceed the limit are rejected: 9,000 words, but not 8,000 tokens of Chinese."""
    monkeypatch.setattr("modelstudio_core.tokens._tokenizer", lambda generation: None)
    model = embedding_model("text-embedding-v4")
    check_texts(["转载请附上原文出处链接和本声明" * 3000], model)
    check_texts(["a" * 60_000, " " * 60_000 + "a", "-" * 60_000], model)
    with pytest.raises(ConfigurationError, match="text 0"):
        check_texts(["word " * 9000], model)


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "https://dashscope-intl.aliyuncs.com/x"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1", "https://ws-1.cn-beijing.maas.aliyuncs.com/x"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/x"),
        ("https://gateway.example/llm/compatible-mode/v1", "https://gateway.example/llm/x"),
        ("https://gateway.example/llm/api/v1", "https://gateway.example/llm/x"),
        ("https://gateway.example/llm", "https://gateway.example/llm/x"),
    ],
)
def test_the_url_of_another_service(base_url: str, url: str) -> None:
    """It replaces a known suffix, on any host."""
    for protocol in PROTOCOLS:
        resolved = resolve(base_url=base_url, api_key="k", protocol=protocol)  # type: ignore[arg-type]  # a str
        assert service_url(resolved.base_url, "/x") == url
