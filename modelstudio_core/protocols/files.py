"""Encode requests and decode responses of the Files API (vendor's "OpenAI compatible - File" page).

It is used with all chat protocols. The native file API offers the same operations in another format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from modelstudio_core.config import Config, service_url
from modelstudio_core.errors import ProtocolError
from modelstudio_core.media import mime_type_of
from modelstudio_core.protocols.codec import as_integer, as_string, excerpt, read_object
from modelstudio_core.types import Form, ResponseHead, WireCall

_PATH = "/compatible-mode/v1"
_JSON = {"accept": "application/json"}
_DONE = frozenset({"processed", "error"})


@dataclass(frozen=True, slots=True)
class FileObject:
    """A file stored at the service.

    Attributes:
        id: the ID, such as "file-fe-..." (file-extract), "file-batch-..." or "file-batch_output-...".
        filename: its name.
        bytes: its size; None if unknown.
        created_at: seconds since 1970; None if unknown.
        purpose: "file-extract", "batch", "batch_output", "fine-tune".
        status: "processed" once it can be used; "error" if it never can; before that "uploaded" or "processing".
        status_details: details of the status, such as the reason of an error.
        raw: the object as the service sent it; ignored in comparisons.
    """

    id: str
    filename: str = ""
    bytes: int | None = None
    created_at: int | None = None
    purpose: str | None = None
    status: str | None = None
    status_details: Any = None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_parsed(self) -> bool:
        """Return True if parsing has ended, successfully or with an error."""
        return self.status in _DONE


@dataclass(frozen=True, slots=True)
class FilePage:
    """A page of a list of files. `has_more` is True if another page follows."""

    files: tuple[FileObject, ...]
    has_more: bool


def file_url(config: Config, id: str = "", part: str = "") -> str:
    """Return the URL of all files, of one file, or of a part of it, for any chat protocol."""
    root = config.base_url if config.protocol == "openai" else service_url(config.base_url, _PATH)
    return "/".join([f"{root}/files", *(quote(piece, safe="") for piece in (id, part) if piece)])


def content_type_of(filename: str) -> str:
    """Return the MIME type for the extension of a file name."""
    return mime_type_of(filename) or "application/octet-stream"


def upload_call(file: BinaryIO, filename: str, purpose: str) -> WireCall:
    """Return the request that uploads a file."""
    return WireCall("/files", _JSON, Form({"purpose": purpose}, file, filename, content_type_of(filename)))


def get_call() -> WireCall:
    """Return a GET request, for a file, a list or content."""
    return WireCall("/files", {"accept": "*/*"}, method="GET")


def delete_call() -> WireCall:
    """Return the request that deletes a file."""
    return WireCall("/files", _JSON, method="DELETE")


def with_query(url: str, query: Mapping[str, Any]) -> str:
    """Return `url` with the query parameters that are not None."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{url}?{urlencode(given)}" if given else url


def read_file(head: ResponseHead, body: bytes) -> FileObject:
    """Return the file that a response describes. Raises ProtocolError if it has no ID."""
    return _file(read_object(body), body)


def read_page(head: ResponseHead, body: bytes) -> FilePage:
    """Return a page of a list. Raises ProtocolError if the response has no list."""
    value = read_object(body)
    data = value.get("data")
    if not isinstance(data, list):
        raise ProtocolError(f"the service sent no list of files: {excerpt(body)}")
    return FilePage(tuple(_file(item, body) for item in data), value.get("has_more") is True)


def read_deleted(head: ResponseHead, body: bytes) -> bool:
    """Return False if a response says that the file was not deleted."""
    return read_object(body).get("deleted") is not False


def _file(value: Any, body: bytes) -> FileObject:
    id = as_string(value.get("id")) if isinstance(value, Mapping) else None
    if id is None:
        raise ProtocolError(f"the service sent a file without an ID: {excerpt(body)}")
    return FileObject(
        id=id,
        filename=as_string(value.get("filename")) or "",
        bytes=as_integer(value.get("bytes")),
        created_at=as_integer(value.get("created_at")),
        purpose=as_string(value.get("purpose")),
        status=as_string(value.get("status")),
        status_details=value.get("status_details"),
        raw=dict(value),
    )
