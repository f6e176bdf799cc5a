"""A fake service on 127.0.0.1 that stores files, after the vendor's pages. A script for `Loopback`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.loopback import Exchange, Received, reply, reply_json

CREATED = 1770000000
ROOT = "/compatible-mode/v1/files"


def form_of(request: Received) -> list[tuple[str, str | None, bytes]]:
    """Return the parts of a multipart body in order, as (name, file name, content)."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    return [
        (
            part.get_param("name", header="content-disposition"),
            part.get_filename(),
            part.get_payload(decode=True),
        )
        for part in message.iter_parts()  # type: ignore[attr-defined]
    ]


class FileService:
    """Stores files in memory.

    Attributes:
        stored: the file objects by ID.
        contents: the contents by ID.
        parsing: number of polls until a file is parsed.
        refuses: returns a script that answers the request instead, or None.
    """

    def __init__(self, *, parsing: int = 0, page: int = 2000) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.parsing = parsing
        self.page = page
        self.instead: list[Callable[[Exchange], None] | None] = []
        self._numbers = itertools.count(1)

    def __call__(self, exchange: Exchange) -> None:
        if self.instead and (script := self.instead.pop(0)) is not None:
            script(exchange)
            return
        parts = urlsplit(exchange.request.path)
        assert parts.path.startswith(ROOT), parts.path
        id, _, what = parts.path.removeprefix(ROOT).strip("/").partition("/")
        if not id:
            answer = self._upload(exchange.request) if exchange.request.method == "POST" else self._list(parts.query)
            reply_json(200, answer)(exchange)
        elif id not in self.stored:
            error = {"message": f"No such File object: {id}", "type": "invalid_request_error", "code": None}
            reply_json(404, {"error": error, "request_id": "r-404"})(exchange)
        elif what == "content":
            reply(200, self.contents[id], {"Content-Type": "application/octet-stream"})(exchange)
        elif exchange.request.method == "DELETE":
            del self.stored[id]
            reply_json(200, {"object": "file", "deleted": True, "id": id})(exchange)
        else:
            reply_json(200, self._looked_at(self.stored[id]))(exchange)

    def add(self, name: str, content: bytes, purpose: str = "batch_output") -> str:
        """Store a file, and return its ID."""
        kind = {"file-extract": "fe"}.get(purpose, purpose)
        id = f"file-{kind}-{next(self._numbers)}"
        self.stored[id] = {
            "id": id, "bytes": len(content), "created_at": CREATED, "filename": name, "object": "file",
            "purpose": purpose, "status": "processed", "status_details": None,
        }  # fmt: skip
        self.contents[id] = content
        return id

    def _upload(self, request: Received) -> dict[str, Any]:
        (purpose, _, value), (field, name, content) = form_of(request)
        assert (purpose, field) == ("purpose", "file")
        file = self.stored[self.add(name or "", content, value.decode())]
        if self.parsing:
            file["status"] = "uploaded"
        return file

    def _looked_at(self, file: dict[str, Any]) -> dict[str, Any]:
        if file["status"] in ("uploaded", "processing"):
            self.parsing -= 1
            file["status"] = "processing" if self.parsing > 0 else "processed"
        return file

    def _list(self, query: str) -> dict[str, Any]:
        asked = {name: values[0] for name, values in parse_qs(query).items()}
        files = [file for file in self.stored.values() if asked.get("purpose") in (None, file["purpose"])]
        ids = [file["id"] for file in files]
        begin = ids.index(asked["after"]) + 1 if "after" in asked else 0
        end = begin + int(asked.get("limit", self.page))
        return {"object": "list", "has_more": end < len(files), "data": files[begin:end]}


def error_body(message: str, code: str | None = None) -> dict[str, Any]:
    """Return an error of the compatible protocol."""
    return json.loads(json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}))  # type: ignore[no-any-return]


POLICY, SIGNATURE, ACCESS_KEY = "eyJleHBpcmF0aW9uIjoi-policy", "c2lnbmF0dXJl-signature", "LTAI-access-key-id"
FOLDER = "dashscope-instant/0a1b/2026-11-29/2c3d"


class UploadService:
    """Issues policies for temporary uploads, stores the uploads, and leaves chats to `chat`.

    Attributes:
        stored: the contents by `oss://` URL.
        policies: the models for which policies were requested.
        instead_of_policy, instead_of_store: scripts that answer the next such requests; None for a normal response.
    """

    def __init__(self, chat: Callable[[Exchange], None], *, most: int = 100) -> None:
        self.chat = chat
        self.most = most
        self.stored: dict[str, bytes] = {}
        self.forms: list[dict[str, str]] = []
        self.policies: list[str] = []
        self.instead_of_policy: list[Callable[[Exchange], None] | None] = []
        self.instead_of_store: list[Callable[[Exchange], None] | None] = []

    def __call__(self, exchange: Exchange) -> None:
        parts = urlsplit(exchange.request.path)
        if parts.path == "/api/v1/uploads":
            assert exchange.request.method == "GET"
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            assert asked.pop("action") == "getPolicy"
            self.policies.append(asked.pop("model"))
            script = self.instead_of_policy.pop(0) if self.instead_of_policy else None
            (script or reply_json(200, self.policy(exchange)))(exchange)
        elif parts.path == "/oss":
            script = self.instead_of_store.pop(0) if self.instead_of_store else None
            (script or self._store)(exchange)
        else:
            self.chat(exchange)

    def policy(self, exchange: Exchange) -> dict[str, Any]:
        """Return the response to getPolicy."""
        data = {
            "policy": POLICY, "signature": SIGNATURE, "upload_dir": FOLDER, "expire_in_seconds": 300,
            "upload_host": f"http://{exchange.request.headers['host']}/oss", "max_file_size_mb": self.most,
            "capacity_limit_mb": 999999999, "oss_access_key_id": ACCESS_KEY, "x_oss_object_acl": "private",
            "x_oss_forbid_overwrite": "true",
        }  # fmt: skip
        return {"request_id": "r-1", "data": data}

    def _store(self, exchange: Exchange) -> None:
        *fields, (field, _, content) = form_of(exchange.request)
        assert field == "file"
        form = {name: value.decode() for name, _, value in fields}
        address = f"oss://{form['key']}"
        assert address not in self.stored
        self.forms.append(form)
        self.stored[address] = content
        reply(200, b"")(exchange)


def oss_error(status: int, code: str, message: str) -> Callable[[Exchange], None]:
    """Return an error of the object store, which echoes the request."""
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><Message>{message}</Message><RequestId>5C3D9175B6FC201293AD</RequestId>
<OSSAccessKeyId>{ACCESS_KEY}</OSSAccessKeyId><SignatureProvided>{SIGNATURE}</SignatureProvided>
<StringToSign>{POLICY}</StringToSign></Error>"""
    return reply(status, body.encode(), {"Content-Type": "application/xml"})
