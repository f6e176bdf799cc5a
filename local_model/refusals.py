"""Reject requests according to the options, and those that are not served, with errors in the vendor's format.

The format follows Model Studio's error-code page (401 `invalid_api_key`, 404 `model_not_found`), with a `request_id`
beside `error` as in recorded 401 responses. All other errors come from llama.cpp.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from local_model.options import Options

_NATIVE = "/api/v1/services/"


def rejection(options: Options, authorization: str | None, body: Any) -> tuple[int, dict[str, Any]] | None:
    """Return the status and JSON body of an error response, or None if the request is accepted.

    `authorization` is the value of the header, `body` the request's JSON, or None.
    """
    if options.api_key is not None and authorization != f"Bearer {options.api_key}":
        return 401, _error_body("Incorrect API key provided. ", "invalid_api_key")
    model = body.get("model") if isinstance(body, dict) else None
    if options.models and isinstance(model, str) and model not in options.models:
        message = f"The model {model} does not exist or you do not have access to it."
        return 404, _error_body(message, "model_not_found")
    return None


def not_served(path: str) -> dict[str, Any] | None:
    """Return the JSON body of a 404 response for a service of the native protocol, or None for another path."""
    if not path.startswith(_NATIVE):
        return None
    is_chat = path.startswith(f"{_NATIVE}aigc/")
    message = 'native chat: use protocol="openai" or "responses"' if is_chat else path
    return {
        "code": "NotFound",
        "message": f"the local model does not serve {message}",
        "request_id": str(uuid4()),
    }


def _error_body(message: str, code: str) -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return {"error": error, "request_id": str(uuid4())}
