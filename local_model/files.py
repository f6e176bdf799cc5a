"""Keep files and temporary uploads in memory until the server ends, in Model Studio's formats.

Source of the formats: the vendor's pages on the Files API, on Qwen-Long and on temporary URLs. The chat model accepts
text only, so the text of a `fileid://` document is inserted into the conversation, and an `oss://` image, video or
audio is described by its kind and size.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from local_model.retrieval import InvalidRequest, failure

FILES = "/v1/files"
POLICY = "/api/v1/uploads"
STORE = "/oss"
_RESOLVE = "x-dashscope-ossresourceresolve"
_KINDS = {"file-extract": "fe", "batch": "batch", "batch_output": "batch_output", "batch_error": "batch_error"}
_MAX_PAGE = 2000
_MAX_MB = 1024
_POLICY_SECONDS = 300
_LIFETIME = 48 * 3600
_MAX_DOCUMENT_CHARACTERS = 6000  # fits in the model's context
_FILE_ID = "fileid://"
_MEDIA = {"image_url": "image", "video_url": "video", "video": "video", "input_audio": "audio"}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response: a JSON object, or raw bytes."""

    status: int
    content: dict[str, Any] | bytes


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the Files API."""

    id: str
    filename: str
    purpose: str
    content: bytes
    created_at: int
    status: str = "processed"
    status_details: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the file object of the Files API."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.content),
            "created_at": self.created_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
            "status_details": self.status_details,
        }


@dataclass(frozen=True, slots=True)
class _Policy:
    model: str
    folder: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Temporary:
    model: str
    size: int
    expires_at: float


class FileStore:
    """The files of one server. Thread-safe: each change is a single operation on a dict."""

    def __init__(self) -> None:
        self._files: dict[str, StoredFile] = {}
        self._policies: dict[str, _Policy] = {}
        self._temporary: dict[str, _Temporary] = {}
        self._numbers = itertools.count(1)

    def add(self, filename: str, content: bytes, purpose: str) -> StoredFile:
        """Store a file. A file for `file-extract` that is not UTF-8 text gets the status "error"."""
        id = f"file-{_KINDS.get(purpose, purpose)}-{next(self._numbers)}{secrets.token_hex(8)}"
        file = StoredFile(id, filename, purpose, content, int(time.time()))
        if purpose == "file-extract" and _text_of(content) is None:
            file = replace(file, status="error", status_details="the local model reads UTF-8 text only")
        self._files[id] = file
        return file

    def get(self, id: str) -> StoredFile | None:
        """Return a file, or None if the ID is unknown."""
        return self._files.get(id)

    def reply(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Return the response to a request, or None if this class does not handle the path.

        Args:
            method: GET, POST or DELETE.
            path: with the query, without `/compatible-mode`.
            headers: with lower-case names.
            body: the bytes of the request.
        """
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if parts.path == POLICY:
                return self._policy(query, headers)
            if parts.path == STORE:
                return self._store(headers, body)
            if parts.path == FILES:
                return self._upload(headers, body) if method == "POST" else self._list(query)
            if parts.path.startswith(f"{FILES}/"):
                id, _, what = parts.path.removeprefix(f"{FILES}/").partition("/")
                return self._file_request(method, id, what)
        except InvalidRequest as error:
            return Reply(400, failure(parts.path, str(error)))
        return None

    def resolve(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        """Return a chat request with the text of its documents, and descriptions of its temporary uploads.

        Raises InvalidRequest, with the vendor's message, for a file that cannot be read.
        """
        messages = request.get("messages")
        if not isinstance(messages, list):
            return dict(request)
        return {**request, "messages": [self._message(message, request, headers) for message in messages]}

    # ---------------------------------------------------------------- the Files API

    def _upload(self, headers: Mapping[str, str], body: bytes) -> Reply:
        fields = {name: (filename, content) for name, filename, content in _form(headers, body)}
        purpose = fields.get("purpose", (None, b""))[1].decode("utf-8", "replace")
        if purpose not in ("file-extract", "batch", "fine-tune"):
            raise InvalidRequest("'purpose' must be 'file-extract'")
        if "file" not in fields:
            raise InvalidRequest("the form has no file")
        filename, content = fields["file"]
        return Reply(200, self.add(filename or "file", content, purpose).to_json())

    def _list(self, query: Mapping[str, str]) -> Reply:
        files = [file for file in self._files.values() if query.get("purpose") in (None, file.purpose)]
        ids = [file.id for file in files]
        if (after := query.get("after")) is not None and after not in ids:
            raise InvalidRequest(f"No such File object: {after}")
        limit = query.get("limit", str(_MAX_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= _MAX_PAGE:
            raise InvalidRequest(f"limit is {limit!r}, not 1 to {_MAX_PAGE}")
        begin = 0 if after is None else ids.index(after) + 1
        end = begin + int(limit)
        data = [file.to_json() for file in files[begin:end]]
        return Reply(200, {"object": "list", "data": data, "has_more": end < len(files)})

    def _file_request(self, method: str, id: str, what: str) -> Reply:
        """Return the response to a request about one file: retrieve, content or delete."""
        file = self._files.get(id)
        if file is None:
            message = f"No such File object: {id}"
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
            return Reply(404, {"error": error, "request_id": str(uuid4())})
        if what == "content":
            if not file.purpose.startswith("batch_"):
                raise InvalidRequest(f"the content of a file with the purpose {file.purpose} cannot be downloaded")
            return Reply(200, file.content)
        if method == "DELETE":
            self._files.pop(id, None)
            return Reply(200, {"object": "file", "deleted": True, "id": id})
        return Reply(200, file.to_json())

    # ---------------------------------------------------------------- temporary uploads

    def _policy(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        if query.get("action") != "getPolicy" or not query.get("model"):
            raise InvalidRequest("action must be getPolicy, and model the name of a model")
        policy = secrets.token_urlsafe(24)
        folder = f"dashscope-instant/local/{time.strftime('%Y-%m-%d')}/{uuid4()}"
        self._policies[policy] = _Policy(query["model"], folder, time.time() + _POLICY_SECONDS)
        data = {
            "policy": policy,
            "signature": secrets.token_urlsafe(16),
            "upload_dir": folder,
            "upload_host": f"http://{headers.get('host', '127.0.0.1')}{STORE}",
            "expire_in_seconds": _POLICY_SECONDS,
            "max_file_size_mb": _MAX_MB,
            "capacity_limit_mb": 999999999,
            "oss_access_key_id": f"LTAI-{secrets.token_hex(8)}",
            "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }
        return Reply(200, {"request_id": str(uuid4()), "data": data})

    def _store(self, headers: Mapping[str, str], body: bytes) -> Reply:
        fields = {name: content for name, _, content in _form(headers, body)}
        policy = self._policies.get(fields.get("policy", b"").decode("utf-8", "replace"))
        key = fields.get("key", b"").decode("utf-8", "replace")
        if policy is None or not key.startswith(f"{policy.folder}/"):
            return _oss_error("Invalid according to Policy: the policy does not allow this key.")
        if policy.expires_at < time.time():
            return _oss_error("Invalid according to Policy: Policy expired.")
        if [*fields][-1] != "file":
            return _oss_error("The file must be the last field of the form.")
        stored = _Temporary(policy.model, len(fields["file"]), time.time() + _LIFETIME)
        if self._temporary.setdefault(f"oss://{key}", stored) is not stored:
            return _oss_error(
                "The object you specified already exists and can not be overwritten.", "FileAlreadyExists"
            )
        return Reply(200, b"")

    # ---------------------------------------------------------------- chats

    def _message(self, message: Any, request: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str) and message.get("role") == "system" and content.startswith(_FILE_ID):
            ids = [id.removeprefix(_FILE_ID) for id in content.split(",")]
            return {**message, "content": "\n\n".join(self._document(id) for id in ids)[:_MAX_DOCUMENT_CHARACTERS]}
        if isinstance(content, list):
            return {**message, "content": [self._part(part, request, headers) for part in content]}
        return message

    def _document(self, id: str) -> str:
        file = self._files.get(id)
        if file is None:
            raise InvalidRequest(f"File [id:{id}] cannot be found.")
        text = _text_of(file.content)
        if text is None:
            raise InvalidRequest(f"File [id:{id}] format is not supported.")
        return f"{file.filename}:\n{text}"

    def _part(self, part: Any, request: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        kind = str(part.get("type")) if isinstance(part, dict) else ""
        if kind not in _MEDIA:
            return part
        addresses = [address for address in _addresses(part.get(kind)) if address.startswith("oss://")]
        if not addresses:
            return part
        size = 0
        for address in addresses:
            stored = self._temporary.get(address)
            if headers.get(_RESOLVE) != "enable" or stored is None or stored.expires_at < time.time():
                raise InvalidRequest("The provided URL does not appear to be valid. Ensure it is correctly formatted.")
            if stored.model != request.get("model"):  # the vendor documents no message for this
                raise InvalidRequest(f"the file was uploaded for {stored.model}, not for {request.get('model')}")
            size += stored.size
        return {"type": "text", "text": f"[{_MEDIA[kind]} of {size} bytes]"}


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _addresses(value.get("url") or value.get("data"))
    elif isinstance(value, list):
        for item in value:
            yield from _addresses(item)


def _form(headers: Mapping[str, str], body: bytes) -> list[tuple[str, str | None, bytes]]:
    """Return the fields of a multipart form in order: name, file name, content."""
    head = f"content-type: {headers.get('content-type', '')}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise InvalidRequest("the body is not a multipart form")
    found = []
    for part in message.iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        found.append((str(name), part.get_filename(), content if isinstance(content, bytes) else b""))
    return found


def _text_of(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _oss_error(message: str, code: str = "AccessDenied") -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(409 if code == "FileAlreadyExists" else 403, body.encode())
