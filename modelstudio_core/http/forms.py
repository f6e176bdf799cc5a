"""Send a multipart form whose file is read in pieces. httpx encodes it, and sends files behind the fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from secrets import token_hex
from typing import Any

import httpx
from pydantic import SecretStr

from modelstudio_core.types import Form


def form_arguments(form: Form) -> dict[str, Any]:
    """Return the arguments of httpx that describe a form."""
    return {
        "data": {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in form.fields.items()
        },
        "files": {"file": (form.filename, form.file, form.content_type)},
    }


def form_type() -> dict[str, str]:
    """Return the content-type of a form, from which httpx takes the boundary. No default header may replace it."""
    return {"content-type": f"multipart/form-data; boundary={token_hex(16)}"}


class ReadInThread(httpx.AsyncByteStream):
    """Takes the pieces of a form from its file in a thread, because a disk may be slow."""

    def __init__(self, stream: Any) -> None:
        self._stream: Iterable[bytes] = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from anyio import to_thread

        pieces = iter(self._stream)
        while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
            yield piece
