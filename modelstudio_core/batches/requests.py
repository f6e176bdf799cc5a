"""Encode requests and decode responses of the batch API (`/batches`). Pure.

Source: the vendor's Batch File API page (October 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from modelstudio_core.batches.journal import File
from modelstudio_core.config import BATCH_CHAT_HOST, Config
from modelstudio_core.errors import ConfigurationError, ProtocolError
from modelstudio_core.protocols.codec import as_integer, as_string, excerpt, read_object, write_json
from modelstudio_core.protocols.errors import is_error_object
from modelstudio_core.protocols.files import with_query
from modelstudio_core.types import ResponseHead, WireCall

_JSON = {"accept": "application/json", "content-type": "application/json"}
_KNOWN_STATES = frozenset({"validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling",
                           "cancelled"})  # fmt: skip
_REGIONS = (None, "beijing", "singapore")
_HOURS, _MIN_HOURS, _MAX_HOURS = {"h": 1, "d": 24}, 24, 336
_PAGE_SIZE = 100  # the maximum


def check_window(window: str) -> None:
    """Raise ConfigurationError for a completion window that the service does not accept."""
    found = re.fullmatch(r"(\d{1,3})([hd])", str(window), re.ASCII)
    if found is None or not _MIN_HOURS <= int(found[1]) * _HOURS[found[2]] <= _MAX_HOURS:
        raise ConfigurationError(f'completion_window={window!r} must be "24h" to "336h" or "1d" to "14d"')


def batches_url(config: Config, id: str = "", part: str = "", query: Mapping[str, Any] | None = None) -> str:
    """Return the URL of all jobs, or of one. Raises ConfigurationError if the settings do not support batch jobs."""
    if config.protocol != "openai":
        raise ConfigurationError(f"protocol={config.protocol!r} does not support batch jobs: use protocol='openai'")
    if urlsplit(config.base_url).hostname == BATCH_CHAT_HOST:
        raise ConfigurationError(
            f"{BATCH_CHAT_HOST} (Batch Chat) takes single calls only: use region='beijing' for batch jobs"
        )
    if config.region not in _REGIONS:
        raise ConfigurationError(f"region={config.region!r} does not support batch jobs: use beijing or singapore")
    parts = "/".join(quote(piece, safe="") for piece in ("batches", id, part) if piece)
    return with_query(f"{config.base_url}/{parts}", query or {})


def create_call(file: File, name: str, window: str) -> WireCall:
    """Return the request that submits a file as a job with this name."""
    body = {
        "input_file_id": file.file_id,
        "endpoint": file.endpoint,
        "completion_window": window,
        "metadata": {"ds_name": name},
    }
    return WireCall("/batches", _JSON, write_json(body))


def get_call() -> WireCall:
    """Return a request for a job or a list."""
    return WireCall("/batches", _JSON, method="GET")


def cancel_call() -> WireCall:
    """Return the request that cancels a job."""
    return WireCall("/batches", _JSON, b"{}")


def search_queries(file: File, name: str) -> list[dict[str, Any]]:
    """Return the queries that find the job of a file if the reply to its creation was lost."""
    return [{"input_file_ids": file.file_id, "limit": _PAGE_SIZE}, {"ds_name": name, "limit": _PAGE_SIZE}]


def is_job_of(batch: Mapping[str, Any], file: File, name: str) -> bool:
    """Return True if a job belongs to the file. A search by name is fuzzy, and a server may ignore the query."""
    metadata = batch.get("metadata")
    named = isinstance(metadata, Mapping) and metadata.get("ds_name") == name
    return batch.get("input_file_id") == file.file_id or named


def read_batch(head: ResponseHead, body: bytes) -> dict[str, Any]:
    """Return a job. Raises ProtocolError if it has no ID."""
    value = read_object(body)
    if as_string(value.get("id")) is None:
        raise ProtocolError(f"the service sent a batch job without an ID: {excerpt(body)}")
    return value


def read_batches(head: ResponseHead, body: bytes) -> list[dict[str, Any]]:
    """Return the jobs of a list. Raises ProtocolError if the response has no list."""
    data = read_object(body).get("data")
    if not isinstance(data, list):
        raise ProtocolError(f"the service sent no list of batch jobs: {excerpt(body)}")
    return [item for item in data if isinstance(item, dict)]


def update_file(file: File, batch: Mapping[str, Any]) -> None:
    """Copy the state of a job to its file. An unknown state counts as in progress."""
    file.batch_id = as_string(batch.get("id")) or file.batch_id
    state = batch.get("status")
    file.state = state if state in _KNOWN_STATES else "in_progress"
    counts = batch.get("request_counts")
    if isinstance(counts, Mapping):
        file.completed = as_integer(counts.get("completed")) or 0
        file.failed = as_integer(counts.get("failed")) or 0
    file.output_file_id = as_string(batch.get("output_file_id"))
    file.error_file_id = as_string(batch.get("error_file_id"))
    errors = batch.get("errors")
    if errors and is_error_object({"error": errors}):
        file.reason = f"{errors!r:.500}"
