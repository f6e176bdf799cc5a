"""Check inputs of embedding and rerank models against their limits, and split them into requests.

Only inputs that certainly exceed a limit are rejected, never on an estimated token count. Positions count from 0.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelstudio_core.errors import ConfigurationError, for_each
from modelstudio_core.protocols.embeddings import Content
from modelstudio_core.protocols.rerank import Document, Ranked, Ranking, RerankRequest
from modelstudio_core.retrieval import EmbeddingModel, RerankModel
from modelstudio_core.tokens import count_tokens, min_tokens

_IMAGE_KINDS = ("image", "multi_images")
_MB = 2**20


def split(weights: Sequence[Sequence[int]], limits: Sequence[int | None]) -> list[range]:
    """Return consecutive ranges of items, as long as the limits allow.

    Args:
        weights: for each item, its size for each limit. An item that exceeds a limit alone gets its own range.
        limits: maximum sum of a range for each size; None for no limit.
    """
    ranges: list[range] = []
    start, sums = 0, [0] * len(limits)
    for at, weight in enumerate(weights):
        sums = [total + more for total, more in zip(sums, weight, strict=True)]
        if at > start and any(most is not None and total > most for total, most in zip(sums, limits, strict=True)):
            ranges.append(range(start, at))
            start, sums = at, list(weight)
    return [*ranges, range(start, len(weights))] if weights else []


# ---------------------------------------------------------------- texts


def check_texts(texts: Sequence[str], model: EmbeddingModel) -> None:
    """Raise ConfigurationError, with the position, for a text that is empty or certainly exceeds the limit."""
    if isinstance(texts, str):
        raise ConfigurationError(f"expected a list of texts, not one text: {texts!r:.60}")
    for_each("text", texts, lambda name, text: _check_text(name, text, model.max_tokens, model))


def text_batches(texts: Sequence[str], model: EmbeddingModel, size: int | None = None) -> list[range]:
    """Return the ranges of `texts` that go into one request each: within the model's limits, and at most `size`."""
    rows = min(size or model.max_rows, model.max_rows)
    if model.max_request_tokens is None:
        return [range(at, min(at + rows, len(texts))) for at in range(0, len(texts), rows)]
    return split([(1, count_tokens(text, model.id)) for text in texts], (rows, model.max_request_tokens))


def check_dimensions(dimensions: int | None, model: EmbeddingModel) -> None:
    """Raise ConfigurationError if the vendor's page of the model does not list the size."""
    if dimensions is not None and model.dimensions is not None and dimensions not in model.dimensions:
        sizes = ", ".join(map(str, model.dimensions))
        raise ConfigurationError(f"dimensions={dimensions}: {model.id} has {sizes} (the default first)")


def _check_text(name: str, text: Any, most: int | None, model: EmbeddingModel) -> None:
    size = _checked_size(name, text)
    if most is not None and size > most:  # a token has at least one byte
        tokens = min_tokens(text, model.id, qwen_vocabulary=model.qwen_vocabulary)
        if tokens > most:
            raise ConfigurationError(
                f"{name} has at least {tokens} tokens, but {model.id} accepts {most} per text: split the text"
            )


def _checked_size(name: str, text: Any) -> int:
    """Return the size of a text in bytes. Raises ConfigurationError if it is blank or not valid text."""
    if not isinstance(text, str):
        raise ConfigurationError(f"{name} is of type {type(text).__name__}, not str: send texts, not token ids")
    if not text or text.isspace():
        raise ConfigurationError(f"{name} is empty: omit or replace it")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} has a lone surrogate at character {error.start}") from None


# ---------------------------------------------------------------- images and video


def check_contents(contents: Sequence[Content], model: EmbeddingModel) -> None:
    """Raise ConfigurationError, naming the position, for a content that the model cannot embed."""
    for_each("content", contents, lambda name, content: _check_content(name, content, model))


def _check_content(name: str, content: Content, model: EmbeddingModel) -> None:
    if not content or (unknown := content.keys() - {*model.modalities}):
        found = ", ".join(sorted(unknown)) if content else "nothing"
        raise ConfigurationError(f"{name} is {found}, but {model.id} embeds {', '.join(model.modalities)}")
    if len(content) > 1 and model.fusion != "one_object":
        raise ConfigurationError(f"{name} has {' and '.join(content)}: for one vector of several, use embed_fused")
    if "text" in content:
        _check_text(name, content["text"], model.max_tokens, model)
    for url in _urls(content):
        size = len(url) * 3 // 4 if url.startswith("data:") else 0
        if model.max_image_mb is not None and size > model.max_image_mb * _MB:
            raise ConfigurationError(
                f"{name} is an image of {size / _MB:.1f} MB, but {model.id} accepts {model.max_image_mb} MB"
            )


def content_batches(contents: Sequence[Content], model: EmbeddingModel, size: int | None = None) -> list[range]:
    """Return the ranges of `contents` that go into one request each; see `text_batches`."""
    rows = min(size or model.max_rows, model.max_rows)
    return split([(1, *_media(content)) for content in contents], (rows, model.max_images, model.max_videos))


def fuse_contents(contents: Sequence[Content], model: EmbeddingModel) -> tuple[list[Content], dict[str, Any]]:
    """Return the contents and parameters of a request for one vector of all `contents`.

    Raises ConfigurationError if the model cannot fuse them.
    """
    if not contents:
        raise ConfigurationError("contents is empty: at least one content is required")
    parts: list[Content] = [{kind: value} for content in contents for kind, value in content.items()]
    images, videos = (sum(counts) for counts in zip(*map(_media, parts), strict=True))
    for count, most, kind in ((images, model.max_images, "images"), (videos, model.max_videos, "videos")):
        if most is not None and count > most:
            raise ConfigurationError(f"{count} {kind} for one vector, but {model.id} accepts {most} per request")
    if model.fusion == "one_object":
        return [_merge_parts(parts, model)], {}
    if model.fusion == "enable_fusion":
        if len(parts) > model.max_rows:
            raise ConfigurationError(f"{len(parts)} contents for one vector, but {model.id} accepts {model.max_rows}")
        return parts, {"enable_fusion": True}
    if model.fusion == "always":
        kinds = [kind for part in parts for kind in part]
        if len(kinds) > len({*kinds}):
            raise ConfigurationError(f"{', '.join(kinds)} for one vector, but {model.id} accepts one of each kind")
        return parts, {}
    raise ConfigurationError(
        f"{model.id} is not known to fuse contents into one vector: use qwen3-vl-embedding, or set "
        'capabilities={"fusion": "enable_fusion"}'
    )


def _merge_parts(parts: Iterable[Content], model: EmbeddingModel) -> dict[str, Any]:
    """Return one object with all parts; several images are its `multi_images`."""
    merged: dict[str, Any] = {}
    images = [url for part in parts for url in _urls(part)]
    for part in parts:
        for kind, value in part.items():
            if kind in merged:
                raise ConfigurationError(f"more than one {kind}: {model.id} fuses one with images")
            if kind not in _IMAGE_KINDS:
                merged[kind] = value
    return merged | ({"multi_images": images} if len(images) > 1 else {"image": images[0]} if images else {})


def _media(content: Content) -> tuple[int, int]:
    """Return the number of images and videos in a content."""
    return len(_urls(content)), int("video" in content)


def _urls(content: Content) -> list[str]:
    return [*([content["image"]] if "image" in content else []), *content.get("multi_images", ())]


# ---------------------------------------------------------------- documents


def rerank_rounds(
    request: RerankRequest, model: RerankModel, *, tournament: bool
) -> Generator[list[RerankRequest], list[Ranking], list[Ranked]]:
    """Yield the concurrent requests of each round, receive their rankings, and return the documents, best first.

    Scores are comparable within one request only. Documents that do not fit into one request are rejected, unless
    `tournament` is set: then they are split into requests, the `top_n` best of each go on to the next round, and the
    scores of the final, single request are returned.

    Raises ConfigurationError for an empty query or document, with its position, and for too many documents.
    """
    _check_documents(request, model)
    left = [*range(len(request.documents))]
    while left:
        groups = _groups(request, left, model, certain=not tournament)
        if len(groups) == 1:
            [ranking] = yield [_subset(request, left) if len(left) < len(request.documents) else request]
            return [Ranked(left[each.index], each.score) for each in ranking.documents]
        if not tournament:
            raise ConfigurationError(_too_many_documents(request, model))
        if request.top_n is None:
            raise ConfigurationError(f"split=True needs top_n: {_too_many_documents(request, model)}")
        _check_progress(request.top_n, [len(group) for group in groups], model)
        contested = [group for group in groups if len(group) > request.top_n]
        best = yield [_subset(request, group) for group in contested]
        winners = [group[each.index] for group, won in zip(contested, best, strict=True) for each in won.documents]
        left = sorted([*winners, *(at for group in groups if len(group) <= request.top_n for at in group)])
    return []


def _check_progress(top_n: int, sizes: Sequence[int], model: RerankModel) -> None:
    """Raise ConfigurationError if a round with requests of these sizes eliminates too few documents."""
    before, after = sum(sizes), sum(min(top_n, size) for size in sizes)
    fits = after < before and (model.max_documents is None or after <= model.max_documents)
    if not fits and 4 * after > 3 * before:
        raise ConfigurationError(
            f"top_n={top_n} is too large for a tournament of {before} documents in {len(sizes)} requests: {after} "
            "would remain. Reduce top_n"
        )


def _subset(request: RerankRequest, places: Sequence[int]) -> RerankRequest:
    return replace(request, documents=[request.documents[at] for at in places], positions=places)


def _check_documents(request: RerankRequest, model: RerankModel) -> None:
    _check_document("the query", request.query, model)
    for_each("document", request.documents, lambda name, document: _check_document(name, document, model))
    if request.instruct is not None and model.instruct is False:
        raise ConfigurationError(f"{model.id} does not support instruct, but qwen3-rerank does")


def _check_document(name: str, document: Document, model: RerankModel) -> None:
    if isinstance(document, Mapping):
        if len(document) != 1 or not document.keys() <= {*model.modalities}:
            found = ", ".join(document) or "nothing"
            raise ConfigurationError(f"{name} is {found}, but {model.id} ranks {', '.join(model.modalities)}")
        document = next(iter(document.values()))
    _checked_size(name, document)


def _groups(request: RerankRequest, left: Sequence[int], model: RerankModel, *, certain: bool) -> list[list[int]]:
    """Return the indices in `left` in groups that fit into one request each.

    `certain`: count a lower bound of the tokens instead of an estimate.
    """

    def tokens(document: Document) -> int:
        text = document if isinstance(document, str) else document.get("text", "")
        counted = (
            min_tokens(text, model.id, qwen_vocabulary=model.qwen_vocabulary)
            if certain
            else count_tokens(text, model.id)
        )
        return counted if model.max_item_tokens is None else min(counted, model.max_item_tokens)

    documents = [request.documents[at] for at in left]
    kinds = [[int(kind == _kind(document)) for kind in ("text", "image", "video")] for document in documents]
    most = model.max_request_tokens
    if most is None or not _may_exceed_tokens(request.query, documents, most):
        weights, most = [(*kind, 0) for kind in kinds], None
    else:
        query = tokens(request.query)
        weights = [(*kind, query + tokens(document)) for kind, document in zip(kinds, documents, strict=True)]
    limits = (model.max_documents, model.max_images, model.max_videos, most)
    return [[left[at] for at in group] for group in split(weights, limits)]


def _kind(document: Document) -> str:
    return "text" if isinstance(document, str) else next(iter(document))


def _may_exceed_tokens(query: Document, documents: Sequence[Document], tokens: int) -> bool:
    """Return False if the texts have fewer bytes than `tokens`, so that tokens need not be counted."""
    texts = (each if isinstance(each, str) else each.get("text", "") for each in (query, *documents))
    query_size, *sizes = (len(text.encode()) for text in texts)
    return query_size * len(sizes) + sum(sizes) > tokens


def _too_many_documents(request: RerankRequest, model: RerankModel) -> str:
    limits = {
        "documents": model.max_documents,
        "images": model.max_images,
        "videos": model.max_videos,
        "tokens (query tokens times documents, plus document tokens)": model.max_request_tokens,
    }
    known = ", ".join(f"{most} {what}" for what, most in limits.items() if most is not None)
    return (
        f"{len(request.documents)} documents do not fit into one request: {model.id} accepts {known}. Scores of "
        "several requests are not comparable: send fewer documents, or set split=True and top_n= for a tournament"
    )
