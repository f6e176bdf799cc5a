"""Look up facts of embedding and rerank models. None means that a fact has no source.

The facts are in `retrieval.json`, where each model names the vendor pages it was read from. The file is loaded at the
first lookup. An unlisted id has only the facts of the longest listed id before a hyphen that are harmless if wrong: the
inputs per request and the endpoint, but no limits on tokens and dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from modelstudio_core.catalogue import most_similar
from modelstudio_core.errors import ConfigurationError

RerankEndpoint: TypeAlias = Literal["compatible", "native"]
Fusion: TypeAlias = Literal["enable_fusion", "one_object", "always", "never"]

MIN_ROWS: Final = 10
"""Inputs per request of unknown models: the smallest number of the listed models that accept several."""
_SAFE: Final = (
    "endpoint",
    "max_rows",
    "max_documents",
    "modalities",
    "fusion",
    "max_images",
    "max_videos",
)


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Facts of one embedding model."""

    id: str
    dimensions: tuple[int, ...] | None = None
    """Supported lengths of vectors, the model's default first."""
    max_rows: int = MIN_ROWS
    """Inputs per request."""
    max_tokens: int | None = None
    """Tokens per input."""
    max_request_tokens: int | None = None
    """Tokens per request, over all inputs."""
    sparse: bool | None = None
    """Whether the native protocol returns sparse vectors."""
    modalities: tuple[str, ...] = ("text",)
    """Kinds of content. Models with more than text use the native multimodal service."""
    fusion: Fusion | None = None
    """How contents are fused into one vector: by the parameter `enable_fusion`, in one object, always, or never."""
    max_images: int | None = None
    max_videos: int | None = None
    """Images and videos per request."""
    max_image_mb: int | None = None
    qwen_vocabulary: bool = False
    """Whether the model has the vocabulary of Qwen's chat models."""
    source: tuple[str, ...] = field(default=(), repr=False)

    @property
    def multimodal(self) -> bool:
        """Return True if the model embeds more than text."""
        return len(self.modalities) > 1


@dataclass(frozen=True, slots=True)
class RerankModel:
    """Facts of one rerank model."""

    id: str
    endpoint: RerankEndpoint = "native"
    """Endpoint of the model."""
    max_documents: int | None = None
    """Documents per request; for multimodal models, texts per request."""
    max_item_tokens: int | None = None
    """Tokens per query or document. The service truncates longer ones."""
    max_request_tokens: int | None = None
    """Tokens per request: query tokens times documents, plus document tokens."""
    instruct: bool | None = None
    """Whether the model supports `instruct`."""
    modalities: tuple[str, ...] = ("text",)
    max_images: int | None = None
    max_videos: int | None = None
    qwen_vocabulary: bool = False
    source: tuple[str, ...] = field(default=(), repr=False)


ModelT = TypeVar("ModelT", EmbeddingModel, RerankModel)
_FUSIONS: Final[tuple[str, ...]] = get_args(Fusion)
_CHOICES: Final = {"endpoint": get_args(RerankEndpoint), "fusion": _FUSIONS}


def embedding_model(model: str, overrides: Mapping[str, Any] | None = None) -> EmbeddingModel:
    """Return the facts of an embedding model, with the caller's `overrides` by field name.

    Raises:
        ConfigurationError: for an unknown field or an invalid value.
    """
    return _overridden(_look_up(EmbeddingModel, "embeddings", model), overrides)


def rerank_model(model: str, overrides: Mapping[str, Any] | None = None) -> RerankModel:
    """Return the facts of a rerank model; see `embedding_model`."""
    return _overridden(_look_up(RerankModel, "rerank", model), overrides)


def similar_embedding_model(model: str) -> str | None:
    """Return the listed id most similar to an unlisted one, or None if the id is listed or none is similar."""
    return _similar("embeddings", model)


def similar_rerank_model(model: str) -> str | None:
    """Return the listed id most similar to an unlisted one; see `similar_embedding_model`."""
    return _similar("rerank", model)


def multimodal_models(*fusions: Fusion) -> list[str]:
    """Return the ids of the listed multimodal embedding models, optionally only those with one of `fusions`."""
    return [model for model, facts in _data()["embeddings"].items() if facts.get("fusion") in (fusions or _FUSIONS)]


@lru_cache(maxsize=1)
def _data() -> dict[str, dict[str, dict[str, Any]]]:
    # imported here to keep the import of this module fast
    import json
    from importlib.resources import files

    raw = json.loads(files("modelstudio_core").joinpath("retrieval.json").read_text(encoding="utf-8"))
    return {kind: {line.pop("id"): line for line in raw[kind]} for kind in ("embeddings", "rerank")}


def _look_up(cls: type[ModelT], kind: str, model: str) -> ModelT:
    listed = _data()[kind]
    facts = listed.get(model)
    if facts is None:
        bases = [known for known in listed if model.startswith(f"{known}-")]
        base = listed[max(bases, key=len)] if bases else {}
        facts = {name: base[name] for name in _SAFE if name in base}
    return cls(id=model, **{name: _frozen(value) for name, value in facts.items()})


def _similar(kind: str, model: str) -> str | None:
    listed = _data()[kind]
    return None if model in listed else most_similar(model, listed)


def _overridden(known: ModelT, overrides: Mapping[str, Any] | None) -> ModelT:
    if not overrides:
        return known
    types = {each.name: str(each.type) for each in fields(known) if each.name not in ("id", "source")}
    for name, value in overrides.items():
        if name not in types:
            raise ConfigurationError(f"capabilities: {name!r} is unknown. Known: {', '.join(types)}")
        _check(name, value, types[name])
    return replace(known, **{name: _frozen(value) for name, value in overrides.items()})


def _check(name: str, value: Any, kind: str) -> None:
    """Raise ConfigurationError unless `value` is of the field type `kind`."""
    if value is None:
        fits = "None" in kind
    elif name in _CHOICES:
        fits = value in _CHOICES[name]
    elif kind.startswith("tuple"):
        item = int if "int" in kind else str
        fits = isinstance(value, list | tuple) and bool(value) and all(type(each) is item for each in value)
    elif kind.startswith("int"):
        fits = type(value) is int and value > 0
    else:
        fits = isinstance(value, bool)
    if not fits:
        kinds = " or ".join(map(repr, _CHOICES[name])) if name in _CHOICES else kind.replace("...", "any number")
        raise ConfigurationError(f"capabilities: {name}={value!r:.100} is not {kinds}")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
