"""Embeddings, in both protocols: a request becomes bytes, bytes become vectors.

Source: the vendor's references of the compatible and of the native text-embedding API. The compatible one calls the
size `dimensions`, the native one `dimension`; `text_type` and `instruct` are native only.
"""

from __future__ import annotations

from contextlib import suppress
from math import isfinite
from typing import Any

from modelstudio_core.embedding import EmbeddingRequest
from modelstudio_core.errors import ConfigurationError, ProtocolError
from modelstudio_core.protocols.codec import read_object, write_json
from modelstudio_core.protocols.errors import error_of_object, says_error
from modelstudio_core.types import ResponseHead, WireCall

Vector = list[float]

COMPATIBLE = "/embeddings"
NATIVE = "/services/embeddings/text-embedding/text-embedding"
_HEADERS = {"content-type": "application/json", "accept": "application/json"}


def encode(request: EmbeddingRequest, protocol: str) -> WireCall:
    """The HTTP request. Raises ConfigurationError for what the protocol cannot carry."""
    if protocol == "openai":
        for name in ("instruct", "text_type"):
            if getattr(request, name) is not None:
                raise ConfigurationError(f'{name} is of the native protocol: give protocol="dashscope"')
        said: dict[str, Any] = {"model": request.model, "input": list(request.texts), "encoding_format": "float"}
        if request.dimensions is not None:
            said["dimensions"] = request.dimensions
        return WireCall(COMPATIBLE, _HEADERS, write_json({**said, **request.extra_body}))
    named = {"dimension": request.dimensions, "text_type": request.text_type, "instruct": request.instruct}
    parameters = {**{name: value for name, value in named.items() if value is not None}, **request.extra_body}
    body: dict[str, Any] = {"model": request.model, "input": {"texts": list(request.texts)}}
    return WireCall(NATIVE, _HEADERS, write_json(body | ({"parameters": parameters} if parameters else {})))


def decode(request: EmbeddingRequest, protocol: str, head: ResponseHead, body: bytes) -> list[Vector]:
    """A vector for each text, in their order, all of one length.

    Raises the typed error that the body says, or ProtocolError.
    """
    value = read_object(body)
    if says_error(value):
        raise error_of_object(value, None, head)
    output = value if protocol == "openai" else value.get("output")
    items = output.get("data" if protocol == "openai" else "embeddings") if isinstance(output, dict) else None
    index = "index" if protocol == "openai" else "text_index"
    found: dict[int, Vector] = {}
    for position, item in enumerate(items if isinstance(items, list) else ()):
        if not isinstance(item, dict):
            continue
        vector, at = item.get("embedding"), item.get(index)
        if vector is not None and isinstance(at, int | None):
            at = position if at is None else at
            found[at] = _vector(vector, at)
    if sorted(found) != [*range(len(request.texts))]:
        raise ProtocolError(f"the service sent {len(found)} embeddings for {len(request.texts)} texts")
    if len(lengths := {len(vector) for vector in found.values()}) > 1:
        raise ProtocolError(f"the service sent vectors of the lengths {', '.join(map(str, sorted(lengths)))}")
    return [found[position] for position in range(len(request.texts))]


def _vector(value: Any, at: int) -> Vector:
    """The vector of text number `at`. Raises ProtocolError for what is no list of numbers that a float can hold."""
    if isinstance(value, list) and value and {*map(type, value)} <= {int, float}:
        with suppress(OverflowError):
            if all(map(isfinite, value)):
                return value
    raise ProtocolError(f"the embedding of text {at} is no vector of numbers but {value!r:.100}")
