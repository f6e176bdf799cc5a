"""Track one embedding call: cached and new vectors, LlamaIndex events per batch, and a progress bar.

No I/O, so sync and async calls share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index_instrumentation import get_dispatcher
from typing_extensions import Self

from modelstudio_core.http.retrieval import AnyEmbeddingRequest
from modelstudio_core.protocols.embeddings import Embeddings, Vector, check_lengths

_dispatcher = get_dispatcher(__name__)


def progress_bar(total: int, description: str) -> Any:
    """Return a progress bar. tqdm is a dependency of LlamaIndex."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it has no types

    return tqdm(total=total, desc=description)


class EmbeddingRun:
    """State of a call. Enter it, `use` cached vectors, send `requests`, `deliver` each response, return the `result`.

    Args:
        texts: the checked texts.
        batches: ranges of texts, with one request and one pair of events each.
        request: returns the request for some of the texts, given their positions.
        namespace: prefix of the cache keys, for everything that the vectors depend on besides the text.
        model: description of the model in events.
        report: called with the tokens of each response.
        callbacks: LlamaIndex's legacy callback manager.
        show_progress: show a progress bar.
    """

    def __init__(
        self,
        *,
        texts: Sequence[str],
        batches: list[range],
        request: Callable[[list[str], Sequence[int]], AnyEmbeddingRequest],
        namespace: str,
        model: dict[str, Any],
        report: Callable[[int | None], None],
        callbacks: CallbackManager,
        show_progress: bool,
    ) -> None:
        self._texts = texts
        self._batches = batches
        self._request = request
        self._namespace = namespace
        self._model = model
        self._report = report
        self._callbacks = callbacks
        self._show_progress = show_progress
        self._bar: Any = None
        self._vectors: list[Vector | None] = [None] * len(texts)
        self._sent: list[tuple[int, list[int]]] = []  # batch and text positions of each request
        self._new: list[int] = []
        self._open: dict[int, str] = {}  # ids of open events, by batch

    def __enter__(self) -> Self:
        if self._show_progress:
            self._bar = progress_bar(len(self._texts), "Generating embeddings")
        payload: dict[str, Any] = {EventPayload.SERIALIZED: self._model}
        for number in range(len(self._batches)):
            _dispatcher.event(EmbeddingStartEvent(model_dict=self._model))
            self._open[number] = self._callbacks.on_event_start(CBEventType.EMBEDDING, payload=payload)
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._bar is not None:
            self._bar.close()
        payload: dict[str, Any] | None = None if error is None else {EventPayload.EXCEPTION: error}
        for event_id in self._open.values():
            self._callbacks.on_event_end(CBEventType.EMBEDDING, payload=payload, event_id=event_id)

    @property
    def keys(self) -> list[str]:
        """Return the cache keys of all texts."""
        return [self._namespace + text for text in self._texts]

    def use_cached(self, entries: Sequence[dict[str, Vector] | None]) -> None:
        """Use the cache entry of each key, which is {any id: vector} or None."""
        self._vectors = [next(iter(entry.values())) if entry else None for entry in entries]

    def requests(self) -> list[AnyEmbeddingRequest]:
        """Return the requests for uncached texts, at most one per batch."""
        made: list[AnyEmbeddingRequest] = []
        for number, batch in enumerate(self._batches):
            missing = [position for position in batch if self._vectors[position] is None]
            if missing:
                self._sent.append((number, missing))
                positions = missing if len(self._batches) > 1 else ()
                made.append(self._request([self._texts[position] for position in missing], positions))
            else:
                self._end(number, None)
        return made

    def add_response(self, index: int, answer: Embeddings) -> None:
        """Add the response to request number `index`."""
        number, positions = self._sent[index]
        for position, vector in zip(positions, answer.dense, strict=True):
            self._vectors[position] = vector
        self._new += positions
        self._report(answer.tokens)
        self._end(number, answer.tokens)

    def new_entries(self) -> Iterator[tuple[str, dict[str, Vector]]]:
        """Yield keys and values of new vectors in the cache format of LlamaIndex."""
        for position in self._new:
            vector = self._vectors[position]
            if vector is not None:
                yield self._namespace + self._texts[position], {str(uuid4()): vector}

    def result(self) -> list[Vector]:
        """Return all vectors. Raises ProtocolError if their lengths differ."""
        vectors = [vector for vector in self._vectors if vector is not None]
        check_lengths(vectors)
        return vectors

    def _end(self, number: int, tokens: int | None) -> None:
        batch = self._batches[number]
        chunks = list(self._texts[batch.start : batch.stop])
        vectors = [vector for vector in self._vectors[batch.start : batch.stop] if vector is not None]
        tags = {} if tokens is None else {"model": self._model["model_name"], "total_tokens": tokens}
        _dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors, tags=tags))
        payload: dict[str, Any] = {EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors}
        self._callbacks.on_event_end(CBEventType.EMBEDDING, payload=payload, event_id=self._open.pop(number))
        if self._bar is not None:
            self._bar.update(len(batch))
