"""Encode embedding requests and decode vectors: texts in both protocols, images and video in the native one.

Source: the vendor's references of the compatible embedding API and of the native text and multimodal embedding APIs.
The vector length is `dimensions` in the compatible API and `dimension` in the native ones. `text_type`, `instruct` and
`output_type` are native only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, TypeAlias

from modelstudio_core.errors import ConfigurationError, ProtocolError
from modelstudio_core.protocols.codec import as_integer, read_object, write_json
from modelstudio_core.protocols.errors import error_of_object, reports_failure
from modelstudio_core.types import ResponseHead, WireCall

TextType: TypeAlias = Literal["query", "document"]
OutputType: TypeAlias = Literal["dense", "sparse", "dense&sparse"]
Vector: TypeAlias = list[float]
SparseVector: TypeAlias = list[tuple[int, float]]
Content: TypeAlias = Mapping[str, Any]

COMPATIBLE = "/embeddings"
NATIVE = "/services/embeddings/text-embedding/text-embedding"
MULTIMODAL = "/services/embeddings/multimodal-embedding/multimodal-embedding"
_HEADERS = {"content-type": "application/json", "accept": "application/json"}
_RESOLVE_OSS = {"x-dashscope-ossresourceresolve": "enable"}


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts of one request. Parameters that are None are not sent.

    `positions` are the indices of the texts in the caller's list, for error messages.
    """

    model: str
    texts: Sequence[str]
    dimensions: int | None = None
    text_type: TextType | None = None
    instruct: str | None = None
    output_type: OutputType | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    positions: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class MultimodalEmbeddingRequest:
    """Contents of one request, each an object such as {"text": ...}, {"image": URL or data URI} or {"video": URL}.

    `one_vector`: the contents are fused into one vector. `parameters` are further ones, such as `enable_fusion`.
    """

    model: str
    contents: Sequence[Content]
    dimensions: int | None = None
    instruct: str | None = None
    one_vector: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    positions: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of one response, in the order of the inputs. `dense` or `sparse` is empty if not requested.

    `tokens` is the number of billed tokens, or None if the service did not report it.
    """

    dense: list[Vector]
    sparse: list[SparseVector]
    tokens: int | None


def encode_texts(request: EmbeddingRequest, protocol: str) -> WireCall:
    """Return the HTTP request. Raises ConfigurationError for a parameter that the protocol does not support."""
    check_protocol(protocol, {name: getattr(request, name) for name in ("instruct", "text_type", "output_type")})
    if protocol != "dashscope":
        body: dict[str, Any] = {"model": request.model, "input": list(request.texts), "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        return WireCall(COMPATIBLE, _HEADERS, write_json({**body, **request.extra_body}))
    named = {
        "dimension": request.dimensions,
        "text_type": request.text_type,
        "output_type": request.output_type,
        "instruct": request.instruct,
    }
    return _native(NATIVE, request.model, {"texts": list(request.texts)}, named, request.extra_body)


def check_protocol(protocol: str, native: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if a parameter in `native` is set and `protocol` is not the native protocol."""
    for name, value in native.items():
        if value is not None and protocol != "dashscope":
            raise ConfigurationError(f'{name} is supported by the native protocol only: set protocol="dashscope"')


def encode_contents(request: MultimodalEmbeddingRequest) -> WireCall:
    """Return the HTTP request, which exists in the native protocol only."""
    named = {"dimension": request.dimensions, "instruct": request.instruct}
    contents = [dict(content) for content in request.contents]
    uses_oss = '"oss://' in str(contents) or "'oss://" in str(contents)
    call = _native(MULTIMODAL, request.model, {"contents": contents}, named, request.parameters)
    return WireCall(call.path, _HEADERS | _RESOLVE_OSS, call.body) if uses_oss else call


def _native(
    path: str, model: str, given: dict[str, Any], named: Mapping[str, Any], extra: Mapping[str, Any]
) -> WireCall:
    parameters = {**{name: value for name, value in named.items() if value is not None}, **extra}
    body = {"model": model, "input": given}
    return WireCall(path, _HEADERS, write_json(body | ({"parameters": parameters} if parameters else {})))


def decode_texts(request: EmbeddingRequest, protocol: str, head: ResponseHead, body: bytes) -> Embeddings:
    """Return a vector for each text, in order. Dense vectors all have the same length.

    Raises the typed error that the body reports, or ProtocolError if the body is malformed.
    """
    value = _answer(body, head)
    output = value.get("output") if protocol == "dashscope" else value
    items = output.get("embeddings" if protocol == "dashscope" else "data") if isinstance(output, dict) else None
    index = "text_index" if protocol == "dashscope" else "index"
    wanted = len(request.texts)
    output_type = request.output_type or "dense"
    dense = [] if output_type == "sparse" else _dense(_ordered(items, index, "embedding", wanted))
    sparse = [] if output_type == "dense" else _sparse(_ordered(items, index, "sparse_embedding", wanted))
    return Embeddings(dense, sparse, tokens_of(value))


def decode_contents(request: MultimodalEmbeddingRequest, head: ResponseHead, body: bytes) -> Embeddings:
    """Return a vector for each content, or one for all; see `decode_texts`."""
    value = _answer(body, head)
    output = value.get("output")
    items = output.get("embeddings") if isinstance(output, dict) else None
    wanted = 1 if request.one_vector else len(request.contents)
    return Embeddings(_dense(_ordered(items, "index", "embedding", wanted)), [], tokens_of(value))


def check_lengths(vectors: Sequence[Vector]) -> None:
    """Raise ProtocolError unless all vectors have the same length."""
    if len(lengths := {*map(len, vectors)}) > 1:
        raise ProtocolError(f"the service sent vectors of different lengths: {', '.join(map(str, sorted(lengths)))}")


def _answer(body: bytes, head: ResponseHead) -> dict[str, Any]:
    value = read_object(body)
    if reports_failure(value):
        raise error_of_object(value, None, head)
    return value


def _ordered(items: Any, index: str, name: str, wanted: int) -> list[Any]:
    """Return the field `name` of each item, ordered by its `index` or, without one, by position."""
    found: dict[int, Any] = {}
    inputs: list[int] = []
    for position, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict) and item.get(name) is not None:
            at = item.get(index)
            if at is None or type(at) is int:
                inputs.append(position if at is None else at)
                found[inputs[-1]] = item[name]
    if len(found) != wanted or any(position not in found for position in range(wanted)):
        which = f" (inputs {', '.join(map(str, inputs[:20]))})" if inputs else ""
        raise ProtocolError(f"expected {wanted} embeddings, got {len(inputs)}{which}")
    return [found[position] for position in range(wanted)]


def _dense(vectors: list[Any]) -> list[Vector]:
    """Return the vectors as floats. Raises ProtocolError for a value that is not a list of finite numbers."""
    checked = [_vector(vector, at) for at, vector in enumerate(vectors)]
    check_lengths(checked)
    return checked


def _vector(value: Any, at: int) -> Vector:
    if isinstance(value, list) and value and (kinds := {*map(type, value)}) <= {float, int}:
        with suppress(OverflowError):
            vector = value if kinds == {float} else [float(number) for number in value]
            if isfinite(sum(vector)) or all(map(isfinite, vector)):  # the sum is faster, and rarely overflows
                return vector
    raise ProtocolError(f"the embedding of input {at} is not a vector of numbers: {value!r:.100}")


def _sparse(vectors: list[Any]) -> list[SparseVector]:
    return [[_pair(item, at) for item in _listed(vector, at)] for at, vector in enumerate(vectors)]


def _listed(value: Any, at: int) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ProtocolError(f"the sparse embedding of input {at} is not a list: {value!r:.100}")


def _pair(item: Any, at: int) -> tuple[int, float]:
    """Return the index and weight of an item, such as {"index": 7149, "value": 0.829, "token": "..."}."""
    if isinstance(item, dict) and type(item.get("index")) is int and type(item.get("value")) in (int, float):
        with suppress(OverflowError):
            if isfinite(weight := float(item["value"])):
                return item["index"], weight
    raise ProtocolError(f"the sparse embedding of input {at} has an item without index and weight: {item!r:.100}")


def tokens_of(value: Mapping[str, Any]) -> int | None:
    """Return the billed tokens of a response: the total or, if there is none, the sum of its parts.

    Some multimodal models send no total.
    """
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    total = as_integer(usage.get("total_tokens"))
    if total is not None:
        return total
    parts = [as_integer(count) for name, count in usage.items() if name.endswith("_tokens")]
    known = [count for count in parts if count is not None]
    return sum(known) if known else None
