"""How images, video and audio are addressed: by http(s), by `oss://`, or inline as a data URI; nothing is fetched."""

from __future__ import annotations

from modelstudio_core.errors import ConfigurationError

ADDRESSES = ("data:", "http://", "https://", "oss://")


def checked_address(url: str) -> str:
    """`url`, if the service can read it. Raises ConfigurationError saying what to do instead."""
    if not url.startswith(ADDRESSES):
        raise ConfigurationError(f"url={url[:80]!r} is no http(s), data or oss address: read the file and give base64")
    return url


def data_uri(mime_type: str, base64: str) -> str:
    """The data URI of base64 data: the service refuses bare base64."""
    return f"data:{mime_type};base64,{base64}"


def audio_format(name: str | None) -> str | None:
    """The vendor's word for an audio format, from a MIME type or a file's extension; None where nothing is said."""
    short = (name or "").removeprefix("audio/").removeprefix("x-") or None
    return {"mpeg": "mp3"}.get(short or "", short)
