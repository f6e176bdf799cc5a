"""Check the URLs of images, video and audio (http(s), `oss://` or data URIs), and tell which media are uploaded.

Nothing is fetched. A malformed URL raises ConfigurationError before anything is sent.
"""

from __future__ import annotations

import mimetypes
import re
from functools import lru_cache
from typing import Any

from modelstudio_core.errors import ConfigurationError
from modelstudio_core.types import AudioPart, ChatRequest, ImagePart, LocalFile, MediaSource, UploadMode, VideoPart

INLINE_BYTES = 7 * 1024 * 1024
"""Largest file to send inside a request. The limit is 10 MB of base64 (vendor's error-code page), a third longer."""
_INLINE_CHARACTERS = INLINE_BYTES * 4 // 3
URL_SCHEMES = ("data:", "http://", "https://", "oss://")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=\s]")
_CHECKED_LENGTH = 1000
"""Number of characters of base64 data to check, which is enough to detect a path or other text."""


def check_url(url: Any) -> str:
    """Return `url` if the service can read it. Raises ConfigurationError otherwise."""
    if not isinstance(url, str):
        raise ConfigurationError(f"url={url!r:.80} is not a string: use an http(s), data or oss URL")
    if not url.startswith(URL_SCHEMES):
        raise ConfigurationError(f"url={url[:80]!r} is not an http(s), data or oss URL: read the file and pass base64")
    if url.startswith("data:") and not url.partition(",")[2]:
        raise ConfigurationError(f"url={url[:80]!r} is a data URI without data")
    return url


def data_uri(mime_type: Any, base64: Any) -> str:
    """Return the data URI of base64 data. Raises ConfigurationError for an invalid MIME type or data."""
    if not isinstance(mime_type, str) or "/" not in mime_type:
        raise ConfigurationError(f'mime_type={mime_type!r:.80} is not a MIME type, such as "image/png"')
    if isinstance(base64, bytes | bytearray | memoryview):
        raise ConfigurationError("the data is bytes: pass base64 as a string, base64.b64encode(data).decode()")
    if not isinstance(base64, str):
        raise ConfigurationError(f"the data is {base64!r:.80}: pass base64 as a string")
    if found := _NOT_BASE64.search(base64, 0, _CHECKED_LENGTH):
        raise ConfigurationError(
            f"base64={base64[:20]!r}... contains {found[0]!r}, which is not base64: use base64.b64encode(data).decode()"
        )
    return f"data:{mime_type};base64,{base64}"


def audio_format(name: Any) -> str | None:
    """Return the vendor's name of an audio format, given a MIME type or file extension, or None if `name` is empty.

    Raises ConfigurationError if `name` is not a string.
    """
    if not name:
        return None
    if not isinstance(name, str):
        raise ConfigurationError(f'the audio format {name!r:.80} is not a string, such as "wav"')
    short = name.removeprefix("audio/").removeprefix("x-") or None
    return {"mpeg": "mp3"}.get(short or "", short)


def mime_type_of(name: str) -> str | None:
    """Return the MIME type that the ending of a file name stands for, or None.

    By Python's own table first: the system's may differ, as that of Windows does for .csv where Excel is installed.
    """
    return _own_types().guess_type(name)[0] or mimetypes.guess_type(name)[0]


@lru_cache(maxsize=1)
def _own_types() -> mimetypes.MimeTypes:
    return mimetypes.MimeTypes()  # without the files of the system, or the registry of Windows


def has_local_media(request: ChatRequest) -> bool:
    """Return True if a request has media that `http.temporary` replaces."""
    for message in request.messages:
        if isinstance(message.content, str):
            continue
        for part in message.content:
            if isinstance(part, ImagePart | AudioPart):
                sources: tuple[MediaSource, ...] = (part.url,)
            elif isinstance(part, VideoPart):
                sources = part.source if isinstance(part.source, tuple) else (part.source,)
            else:
                continue
            for media in sources:
                if isinstance(media, LocalFile) or is_uploaded(media, request.options.upload):
                    return True
    return False


def is_uploaded(media: str, mode: UploadMode) -> bool:
    """Return True if the media is a data URI that has to be uploaded."""
    if mode == "never" or not media.startswith("data:"):
        return False
    return (mode == "always" or len(media) > _INLINE_CHARACTERS) and ";base64," in media[:200]
