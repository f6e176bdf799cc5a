"""Open files to upload, write downloaded files, and compute delays between polls. Files are not held in memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from modelstudio_core.errors import ConfigurationError

Upload: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
"""A path, the bytes of a file, or a binary file object, which is sent from its start regardless of its position."""


_CHUNK = 1024 * 1024  # bytes to hash at once


class _FixedLength:
    """A file with the length that it had when it was opened.

    httpx takes the length of an open file from its descriptor. That is wrong for a decompressing file (gzip) or one
    with unflushed writes, and a log file may grow while it is sent.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0, os.SEEK_END)
        self._file = file
        self._length = file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:  # httpx determines the length this way, then seeks back
            return self._length
        return self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        remaining = self._length - self._file.tell()
        data = self._file.read(remaining if size < 0 else min(size, remaining))
        if remaining and not data:
            raise ConfigurationError("the file was truncated while it was sent")
        return data

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Source:
    """A file to upload, which can be read repeatedly.

    Attributes:
        file: the open file.
        name: the file name, whose extension tells the service the format.
    """

    file: BinaryIO
    name: str
    _position: int | None = None  # of a caller's file object, which is restored instead of closing it

    def __post_init__(self) -> None:
        self.file = cast(BinaryIO, _FixedLength(self.file))

    @classmethod
    def open(cls, upload: Upload, filename: str | None = None) -> Source:
        """Open a file to upload. Unseekable ones, such as pipes, are copied to disk first.

        Raises ConfigurationError if it cannot be read, or has no name.
        """
        try:
            if isinstance(upload, str | os.PathLike):
                path = Path(upload)
                name = _name(filename or path.name)
                file = path.open("rb")
                if file.seekable():
                    return cls(file, name)
                with file:
                    return _copied(file, name)
            if isinstance(upload, bytes | bytearray | memoryview):
                return cls(io.BytesIO(upload), _name(filename))
            return _opened(upload, filename)
        except (OSError, ValueError) as error:  # ValueError: closed file, or a null byte in the path
            raise ConfigurationError(f"the file cannot be read: {error}") from None

    def size(self) -> int:
        """Return the size in bytes. Raises ConfigurationError if the file is empty."""
        with _reading(self.name):
            size = self.file.seek(0, os.SEEK_END)
        if not size:
            raise ConfigurationError(f"the file {self.name!r} is empty")
        return size

    def digest(self) -> bytes:
        """Return the SHA-256 digest of the content."""
        digest = hashlib.sha256()
        with _reading(self.name):
            self.file.seek(0)
            while chunk := self.file.read(_CHUNK):
                digest.update(chunk)
        return digest.digest()

    def read(self) -> bytes:
        """Return the content."""
        with _reading(self.name):
            self.file.seek(0)
            return self.file.read()

    def close(self) -> None:
        """Close the file, or restore the position of a caller's file object."""
        if self._position is None:
            self.file.close()
        else:
            self.file.seek(self._position)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise read errors as ConfigurationError with the file name."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the file {name!r} cannot be read: {error}") from None


def _opened(upload: Any, filename: str | None) -> Source:
    if not hasattr(upload, "read") or not hasattr(upload, "seekable"):
        raise ConfigurationError(f"a file must be a path, bytes or a binary file object, not {type(upload).__name__}")
    if isinstance(upload, io.TextIOBase):
        raise ConfigurationError('the file is open in text mode: open it with mode "rb"')
    own = getattr(upload, "name", None)
    name = _name(filename or (os.path.basename(own) if isinstance(own, str) else None))
    if upload.seekable():
        return Source(upload, name, upload.tell())
    return _copied(upload, name)


def _copied(file: BinaryIO, name: str) -> Source:
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `Source.close`
    try:
        shutil.copyfileobj(file, copy)
    except BaseException:
        copy.close()
        raise
    return Source(copy, name)


def _name(name: Any) -> str:
    if not name or not isinstance(name, str):
        raise ConfigurationError(
            'the file has no name: pass filename=, such as "report.pdf", whose extension determines the format'
        )
    return name


@dataclass(slots=True)
class Target:
    """A temporary file that replaces `path` once it is complete.

    Attributes:
        file: the temporary file, in the same directory as `path`.
    """

    file: BinaryIO
    path: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Target:
        """Create the file. Raises OSError."""
        target = os.fspath(path)
        return cls(open(f"{target}.{secrets.token_hex(4)}.part", "xb"), target)

    def close(self, *, complete: bool) -> None:
        """Move the file to `path` if it is complete, otherwise delete it."""
        name = self.file.name
        try:
            self.file.close()  # flushes, which may fail
            if complete:
                os.replace(name, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def poll_delays(timeout: float, *, first: float = 0.5, longest: float = 5.0) -> Iterator[float]:
    """Yield the delays between polls, each 1.5 times the one before, up to `longest`, for `timeout` seconds.

    The last delay ends at the timeout.
    """
    end = time.monotonic() + timeout
    while (remaining := end - time.monotonic()) > 0:
        yield min(first, remaining)
        first = min(first * 1.5, longest)
