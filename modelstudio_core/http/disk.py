"""Open what is uploaded, write what is downloaded, and wait for a file to be parsed. A file is never held in memory."""

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
"""A path, the bytes of a file, or a binary file object, which is sent from its start, whatever was read of it."""


_PIECE = 1024 * 1024  # bytes that are hashed at once


class _Measured:
    """A file that ends where it ended at first.

    httpx asks the disk for the length of a file that is open there. That is wrong for one that unpacks what it reads
    (gzip) or has not written all yet, and a log may grow while it is sent.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0, os.SEEK_END)
        self._file = file
        self._length = file.tell()

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:  # how httpx asks for the length, before it goes back
            return self._length
        return self._file.seek(offset)

    def read(self, size: int = -1) -> bytes:
        left = self._length - self._file.tell()
        data = self._file.read(left if size < 0 else min(size, left))
        if left and not data:
            raise ConfigurationError("the file became shorter while it was sent")
        return data

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Source:
    """A file to upload, which can be read from its start any number of times.

    Attributes:
        file: what to read.
        name: its file name, which tells the service its format.
    """

    file: BinaryIO
    name: str
    _place: int | None = None  # of a caller's file object, which is left open

    def __post_init__(self) -> None:
        self.file = cast(BinaryIO, _Measured(self.file))

    @classmethod
    def open(cls, upload: Upload, filename: str | None = None) -> Source:
        """Open what a caller gives. What cannot seek, such as a pipe, is copied to disk first.

        Raises ConfigurationError for what cannot be read, or has no name.
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
        except (OSError, ValueError) as error:  # a ValueError where a file is closed, or a path holds a null
            raise ConfigurationError(f"the file cannot be read: {error}") from None

    def size(self) -> int:
        """Return the number of bytes. Raises ConfigurationError if there is none."""
        with _reading(self.name):
            size = self.file.seek(0, os.SEEK_END)
        if not size:
            raise ConfigurationError(f"the file {self.name!r} is empty")
        return size

    def digest(self) -> bytes:
        """Return a hash of the content."""
        found = hashlib.sha256()
        with _reading(self.name):
            self.file.seek(0)
            while piece := self.file.read(_PIECE):
                found.update(piece)
        return found.digest()

    def read(self) -> bytes:
        """Return the content."""
        with _reading(self.name):
            self.file.seek(0)
            return self.file.read()

    def close(self) -> None:
        """Close the file, or leave the caller's at the place where it was."""
        if self._place is None:
            self.file.close()
        else:
            self.file.seek(self._place)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Raise a failure of the disk as a ConfigurationError that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the file {name!r} cannot be read: {error}") from None


def _opened(upload: Any, filename: str | None) -> Source:
    if not hasattr(upload, "read") or not hasattr(upload, "seekable"):
        raise ConfigurationError(f"a file is given as path, bytes or binary file object, not {type(upload).__name__}")
    if isinstance(upload, io.TextIOBase):
        raise ConfigurationError('the file is open as text: open it with mode "rb"')
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
            'the file has no name: give filename=, such as "report.pdf", from which the service reads its format'
        )
    return name


@dataclass(slots=True)
class Target:
    """A file that takes the place of `path` once it is complete, so that nobody finds half of one there.

    Attributes:
        file: where to write; it lies beside `path` until then.
    """

    file: BinaryIO
    path: str

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Target:
        """Create the file. Raises OSError."""
        place = os.fspath(path)
        return cls(open(f"{place}.{secrets.token_hex(4)}.part", "xb"), place)

    def close(self, *, complete: bool) -> None:
        """Move the file to its place if it is complete, else delete it."""
        name = self.file.name
        try:
            self.file.close()  # writes what is left, which may fail
            if complete:
                os.replace(name, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def poll_delays(timeout: float, *, first: float = 0.5, longest: float = 5.0) -> Iterator[float]:
    """Yield the seconds to wait before each next look at something, half as long again each, until `timeout` is over.

    The last pause ends with the timeout.
    """
    end = time.monotonic() + timeout
    while (left := end - time.monotonic()) > 0:
        yield min(first, left)
        first = min(first * 1.5, longest)
