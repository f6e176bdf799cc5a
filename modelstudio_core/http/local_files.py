"""Read local images as data URIs, and check local media of chats. Only paths given by the caller are read."""

from __future__ import annotations

import os
import stat
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from modelstudio_core.errors import ConfigurationError, for_each
from modelstudio_core.media import URL_SCHEMES, data_uri, mime_type_of
from modelstudio_core.types import LocalFile

Image: TypeAlias = str | bytes | os.PathLike[str] | Any
"""An http(s) or `oss://` URL, a data URI, a path, the bytes of an image, or a binary file object."""

Contents: TypeAlias = Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
"""One or several of: a text, {"text": ...}, {"image": an `Image`} or {"video": URL}."""

_START = 16  # bytes that identify the format
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def image_address(image: Image, name: str = "image") -> str:
    """Return the URL of an image, or its content as a data URI.

    Raises:
        ConfigurationError: if the image cannot be read or has an unknown format. The message starts with `name`.
    """
    if isinstance(image, str) and image.startswith(URL_SCHEMES):
        return image
    path = None
    if isinstance(image, str | os.PathLike):
        path = os.fspath(image)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{name} cannot be read: {error}") from None
    else:
        data = _bytes_of(image, name)
    return data_uri(_mime_type(data, path, name), b64encode(data).decode())


def local_file(path: str | os.PathLike[str], kind: str, mime_type: str | None = None) -> LocalFile:
    """Return a media file, which is read when the request is sent.

    Args:
        path: a path or a `file://` URL.
        kind: "image", "video" or "audio".
        mime_type: the MIME type. Default: detected from the first bytes, or the name.

    Raises:
        ConfigurationError: if the file cannot be read, is empty, or is of another kind. The caller puts the name of the
            file or block before the message, such as "is empty".
    """
    name = os.fspath(path)
    if name.startswith("file:"):
        name = url2pathname(urlsplit(name).path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise ConfigurationError(f"cannot be read: {name!r:.200} is not a regular file")
        with open(name, "rb") as file:
            start = file.read(_START)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot be read: {error}") from None
    if not start:
        raise ConfigurationError("is empty")
    known = mime_type or _signed_type(start) or mime_type_of(name)
    if known is None or (mime_type is None and not known.startswith(f"{kind}/")):
        raise ConfigurationError(f"has no known {kind} format: {name!r:.200}; pass mime_type")
    return LocalFile(name, known, os.path.basename(name))


def path_of(file: Any) -> str | None:
    """Return the path of an open file, or None for a buffer or a file without a path."""
    name = getattr(file, "name", None)
    try:
        same = isinstance(name, str) and os.path.samestat(os.fstat(file.fileno()), os.stat(name))
    except (OSError, ValueError, AttributeError):
        return None
    return name if same else None


def read_contents(contents: Contents) -> list[dict[str, Any]]:
    """Return contents in the format of the service, with images as URLs or data URIs.

    Raises:
        ConfigurationError: for invalid content. The message has its position.
    """
    if isinstance(contents, str | Mapping):
        contents = [contents]
    return for_each("content", contents, _read_content)


def _read_content(name: str, content: Any) -> dict[str, Any]:
    if isinstance(content, str):
        return {"text": content}
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{name} is of type {type(content).__name__}, not a str or a mapping")
    return {kind: _wire_value(kind, value, name) for kind, value in content.items()}


def _wire_value(kind: str, value: Any, name: str) -> Any:
    if kind == "image":
        return image_address(value, name)
    if kind == "multi_images":
        return [image_address(image, name) for image in value]
    if kind == "video" and not (isinstance(value, str) and value.startswith(URL_SCHEMES[1:])):
        raise ConfigurationError(f"{name} is a video, which the service accepts by URL only, not {value!r:.80}")
    return value


def _bytes_of(image: Any, name: str) -> bytes:
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if hasattr(image, "getvalue"):  # the complete BytesIO, regardless of its position
        image = image.getvalue()
    elif hasattr(image, "read"):
        image = _whole_file(image)
    if not isinstance(image, bytes):
        raise ConfigurationError(f"{name} is of type {type(image).__name__}, not a URL, path, bytes or binary file")
    return image


def _whole_file(file: Any) -> Any:
    """Return the complete content of an open file, and restore its position."""
    if not file.seekable():
        return file.read()
    position = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(position)
    return data


def _mime_type(data: bytes, path: str | None, name: str) -> str:
    if (signed := _signed_type(data)) is not None:
        return signed
    guessed = mime_type_of(path) if path else None
    if guessed and guessed.startswith("image/"):
        return guessed
    raise ConfigurationError(f"{name} has an unknown image format; it begins with {data[:12]!r}")


def _signed_type(data: bytes) -> str | None:
    """Return the MIME type of an image by its first bytes, or None."""
    for signature, mime_type in _SIGNATURES:
        if data.startswith(signature):
            return mime_type
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
