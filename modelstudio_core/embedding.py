"""Requests for embeddings, and the facts on the models that make them.

Source: the vendor's "Text embedding synchronous API" reference: one request holds 10 texts for text-embedding-v3 and
v4, 25 for v1 and v2. What is not listed is taken to allow the fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from modelstudio_core.errors import ConfigurationError

TextType = Literal["query", "document"]

_TEXTS_A_REQUEST = {"text-embedding-v1": 25, "text-embedding-v2": 25}
_FEWEST = 10


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to be embedded. None means: not sent.

    `text_type` (the vendor's default is "document") and `instruct` are of the native protocol alone.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    text_type: TextType | None = None
    instruct: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ConfigurationError for a text without a character to embed, by its position."""
        for position, text in enumerate(self.texts):
            if not text or text.isspace():
                raise ConfigurationError(f"text {position} is empty: leave it out, the service has no vector for it")

    def batches(self) -> Iterator[EmbeddingRequest]:
        """The request in parts that the service takes, in order."""
        size = texts_a_request(self.model)
        for at in range(0, len(self.texts), size):
            yield replace(self, texts=self.texts[at : at + size])


def texts_a_request(model: str) -> int:
    """How many texts one request of this model may hold."""
    return _TEXTS_A_REQUEST.get(model, _FEWEST)
