"""Send embedding and rerank requests concurrently.

The sync and async code have the same structure; change both together. Requests are encoded and decoded in `protocols`,
and inputs are split into requests in `limits`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from modelstudio_core.config import Config, service_url
from modelstudio_core.errors import ConfigurationError, ModelStudioError, NotFoundError
from modelstudio_core.http.client import Client
from modelstudio_core.http.concurrent import arun_all, run_all
from modelstudio_core.http.limiter import Demand, retrieval_demand
from modelstudio_core.limits import rerank_rounds
from modelstudio_core.protocols import embeddings, rerank
from modelstudio_core.protocols.embeddings import (
    EmbeddingRequest,
    Embeddings,
    MultimodalEmbeddingRequest,
    check_lengths,
)
from modelstudio_core.protocols.rerank import Ranked, Ranking, RerankRequest
from modelstudio_core.retrieval import RerankEndpoint, RerankModel, similar_embedding_model, similar_rerank_model
from modelstudio_core.types import ResponseHead, WireCall

AnyEmbeddingRequest: TypeAlias = EmbeddingRequest | MultimodalEmbeddingRequest
Report: TypeAlias = Callable[[int | None], None]
"""Called with the tokens of each response, or None if unknown, in the caller's thread."""

_NATIVE_ROOT = "/api/v1"


def embed(client: Client, request: AnyEmbeddingRequest) -> Embeddings:
    """Return the vectors of one request. Raises ModelStudioError, with the positions of the inputs."""
    with _add_context_to_errors(request, similar_embedding_model):
        return client.request(*_embedding_call(client.config, request))


async def aembed(client: Client, request: AnyEmbeddingRequest) -> Embeddings:
    """Async version of `embed`."""
    with _add_context_to_errors(request, similar_embedding_model):
        return await client.arequest(*_embedding_call(client.config, request))


def embed_all(
    client: Client,
    requests: Sequence[AnyEmbeddingRequest],
    max_concurrency: int,
    deliver: Callable[[int, Embeddings], None],
    admit: Callable[[], None] | None = None,
) -> None:
    """Send `requests` concurrently, and call `deliver` with the index and the vectors of each response.

    Args:
        client: sends the requests.
        requests: see `embed`.
        max_concurrency: maximum number of concurrent requests.
        deliver: called in the caller's thread, in the order in which responses arrive.
        admit: called before each request, in its thread; may block until the request may be sent (rate limiter).

    Raises:
        ModelStudioError: the first error, which stops the rest.
    """

    def job(request: AnyEmbeddingRequest) -> Embeddings:
        if admit is not None:
            admit()
        return embed(client, request)

    run_all(job, requests, max_concurrency, deliver)


async def aembed_all(
    client: Client,
    requests: Sequence[AnyEmbeddingRequest],
    max_concurrency: int,
    deliver: Callable[[int, Embeddings], None],
    admit: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Async version of `embed_all`."""

    async def job(request: AnyEmbeddingRequest) -> Embeddings:
        if admit is not None:
            await admit()
        return await aembed(client, request)

    await arun_all(job, requests, max_concurrency, deliver)


class JoinedEmbeddings:
    """Join the vectors of several requests in order, whatever the order of the responses."""

    def __init__(self, requests: int) -> None:
        self._parts: list[Embeddings | None] = [None] * requests

    def add(self, index: int, part: Embeddings) -> None:
        """Store the vectors of request number `index`."""
        self._parts[index] = part

    def result(self) -> Embeddings:
        """Return all vectors. Raises ProtocolError if their lengths differ."""
        parts = [part for part in self._parts if part is not None]
        dense = [vector for part in parts for vector in part.dense]
        check_lengths(dense)
        return Embeddings(dense, [vector for part in parts for vector in part.sparse], None)


def rank_documents(
    client: Client,
    request: RerankRequest,
    model: RerankModel,
    *,
    tournament: bool,
    max_concurrency: int,
    report: Report,
) -> list[Ranked]:
    """Return the best documents, best first. Raises ModelStudioError.

    The requests, and `tournament`, are those of `rerank_rounds`.
    """
    rounds = rerank_rounds(request, model, tournament=tournament)
    answers: list[Ranking] | None = None
    while True:
        try:
            # send() passes the answers of a round, and returns the requests of the next
            requests = next(rounds) if answers is None else rounds.send(answers)
        except StopIteration as finished:
            return list(finished.value)
        collected = _RerankRound(len(requests), report)
        run_all(lambda one: _rank(client, one, model.endpoint), requests, max_concurrency, collected.add)
        answers = collected.answers


async def arank_documents(
    client: Client,
    request: RerankRequest,
    model: RerankModel,
    *,
    tournament: bool,
    max_concurrency: int,
    report: Report,
) -> list[Ranked]:
    """Async version of `rank_documents`."""
    rounds = rerank_rounds(request, model, tournament=tournament)
    answers: list[Ranking] | None = None
    while True:
        try:
            # send() passes the answers of a round, and returns the requests of the next
            requests = next(rounds) if answers is None else rounds.send(answers)
        except StopIteration as finished:
            return list(finished.value)
        collected = _RerankRound(len(requests), report)
        await arun_all(lambda one: _arank(client, one, model.endpoint), requests, max_concurrency, collected.add)
        answers = collected.answers


class _RerankRound:
    """Collect the rankings of one round of rerank requests, in order."""

    def __init__(self, requests: int, report: Report) -> None:
        self._found: dict[int, Ranking] = {}
        self._requests = requests
        self._report = report

    def add(self, index: int, ranking: Ranking) -> None:
        self._found[index] = ranking
        self._report(ranking.tokens)

    @property
    def answers(self) -> list[Ranking]:
        return [self._found[index] for index in range(self._requests)]


def _rank(client: Client, request: RerankRequest, endpoint: RerankEndpoint) -> Ranking:
    with _add_context_to_errors(request, similar_rerank_model):
        return client.request(*_rerank_call(client.config, request, endpoint))


async def _arank(client: Client, request: RerankRequest, endpoint: RerankEndpoint) -> Ranking:
    with _add_context_to_errors(request, similar_rerank_model):
        return await client.arequest(*_rerank_call(client.config, request, endpoint))


def _embedding_call(
    config: Config, request: AnyEmbeddingRequest
) -> tuple[str, WireCall, Callable[[ResponseHead, bytes], Embeddings], Demand]:
    if isinstance(request, EmbeddingRequest):
        call = embeddings.encode_texts(request, config.protocol)
        url = config.base_url + call.path
        demand = retrieval_demand(config, request.model, request.texts)
        return url, call, lambda head, body: embeddings.decode_texts(request, config.protocol, head, body), demand
    call = embeddings.encode_contents(request)
    url = service_url(config.base_url, _NATIVE_ROOT + call.path)
    demand = retrieval_demand(config, request.model, request.contents)
    return url, call, lambda head, body: embeddings.decode_contents(request, head, body), demand


def _rerank_call(
    config: Config, request: RerankRequest, endpoint: RerankEndpoint
) -> tuple[str, WireCall, Callable[[ResponseHead, bytes], Ranking], Demand]:
    call = rerank.encode(request, endpoint)
    url = service_url(config.base_url, call.path)
    demand = retrieval_demand(config, request.model, [request.query, *request.documents])
    return url, call, lambda head, body: rerank.decode(request, endpoint, head, body), demand


@contextmanager
def _add_context_to_errors(
    request: AnyEmbeddingRequest | RerankRequest, similar: Callable[[str], str | None]
) -> Iterator[None]:
    """Add the positions of the request's inputs to errors, and the most similar model ID if the model is not found."""
    try:
        yield
    except ModelStudioError as error:
        if isinstance(error, NotFoundError) and (meant := similar(request.model)):
            error.add_sentence(f"Did you mean {meant}?")
        if request.positions and not isinstance(error, ConfigurationError):  # nothing was sent
            error.inputs = tuple(request.positions)
            error.add_sentence(f"The request contained inputs {request.positions[0]} to {request.positions[-1]}.")
        raise
