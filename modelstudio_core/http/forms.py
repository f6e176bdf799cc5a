"""Send multipart forms with a file that is read in chunks. httpx encodes them, with the file after the fields."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from secrets import token_hex
from typing import Any

import httpx
from pydantic import SecretStr

from modelstudio_core.types import Form


def form_arguments(form: Form) -> dict[str, Any]:
    """Return the httpx arguments for a form."""
    return {
        "data": {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in form.fields.items()
        },
        "files": {"file": (form.filename, form.file, form.content_type)},
    }


def form_type() -> dict[str, str]:
    """Return the content-type header, from which httpx takes the boundary. Default headers must not replace it."""
    return {"content-type": f"multipart/form-data; boundary={token_hex(16)}"}


class ReadInThread(httpx.AsyncByteStream):
    """Reads the form in a thread, because the disk may be slow."""

    def __init__(self, stream: Any) -> None:
        self._stream: Iterable[bytes] = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        from anyio import to_thread

        chunks = iter(self._stream)
        while (chunk := await to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk
