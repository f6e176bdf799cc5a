"""Encode requests and decode responses of temporary uploads.

Source: the vendor's "Upload a local file to get a temporary URL" page. The service issues an upload policy for one
model, with which a form is posted to an object store (OSS). The file is then available as `oss://...` to that model for
48 hours. The API key is not sent to the store.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import field
from typing import Any, BinaryIO
from urllib.parse import urlencode
from uuid import uuid4

from pydantic import SecretStr
from pydantic_core import from_json

from modelstudio_core.config import Config, is_loopback, service_url
from modelstudio_core.errors import ProtocolError
from modelstudio_core.protocols.codec import as_integer
from modelstudio_core.protocols.errors import error_of_object
from modelstudio_core.types import Form, ResponseHead, WireCall
from modelstudio_core.values import value_class

PATH = "/api/v1/uploads"
_REQUIRED = ("policy", "signature", "upload_dir", "upload_host", "oss_access_key_id")


@value_class
class UploadPolicy:
    """The form fields and limits of a temporary upload. `max_bytes` is None if unknown."""

    host: str
    folder: str
    fields: Mapping[str, str | SecretStr] = field(repr=False)
    max_bytes: int | None


def policy_call(config: Config, model: str) -> tuple[str, WireCall]:
    """Return the URL and the request for a policy. Uploads are valid for exactly this model ID."""
    query = urlencode({"action": "getPolicy", "model": model})
    call = WireCall(PATH, {"accept": "application/json"}, method="GET")
    return f"{service_url(config.base_url, PATH)}?{query}", call


def read_policy(head: ResponseHead, body: bytes) -> UploadPolicy:
    """Return the policy in a response.

    Errors do not quote the response, because its fields are credentials for uploading. Raises APIStatusError for an
    error in the response, ProtocolError if it has no valid policy.
    """
    try:
        value = from_json(body)
    except ValueError:
        raise ProtocolError("the service sent no upload policy: the response is not JSON") from None
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict):
        if isinstance(value, dict) and value.get("code"):
            raise error_of_object(value, None, head)
        raise ProtocolError("the service sent no upload policy: the response has no data")
    if missing := [name for name in _REQUIRED if not isinstance(data.get(name), str) or not data[name]]:
        raise ProtocolError(f"the upload policy of the service has no {', '.join(missing)}")
    host = str(data["upload_host"])
    if not host.startswith("https://") and not is_loopback(host):
        raise ProtocolError("the upload policy of the service has a URL without https, so nothing was uploaded")
    limit = as_integer(data.get("max_file_size_mb"))
    return UploadPolicy(host, data["upload_dir"].strip("/"), _fields(data), limit and limit * 1024 * 1024)


def _fields(data: Mapping[str, Any]) -> dict[str, str | SecretStr]:
    fields: dict[str, str | SecretStr] = {
        "OSSAccessKeyId": SecretStr(data["oss_access_key_id"]),
        "Signature": SecretStr(data["signature"]),
        "policy": SecretStr(data["policy"]),
    }
    for name in ("x_oss_object_acl", "x_oss_forbid_overwrite"):
        if data.get(name) is not None:
            fields[name.replace("_", "-")] = str(data[name])
    return fields


def store_call(policy: UploadPolicy, file: BinaryIO, name: str, mime_type: str) -> tuple[WireCall, str]:
    """Return the request that stores a file, and its `oss://` URL.

    The stored name is random, because a policy does not allow overwriting. Only the extension of the caller's name is
    sent.
    """
    extension = "." + name.rpartition(".")[2] if "." in name else mimetypes.guess_extension(mime_type) or ""
    stored = f"{uuid4().hex}{extension.lower()}"
    key = f"{policy.folder}/{stored}"
    fields = {**policy.fields, "key": key, "success_action_status": "200", "x-oss-content-type": mime_type}
    return WireCall("", {}, Form(fields, file, stored, mime_type), to_service=False), f"oss://{key}"
