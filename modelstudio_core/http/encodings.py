"""Undoes a body's content-encoding (RFC 9110, section 8.4) in pieces of bounded size.

A kilobyte of gzip may hold a megabyte, and of gzip within gzip gigabytes. httpx unpacks all of a read at once, before
anyone can look at its size; here each step gives a piece and goes on only when the next is asked for, so the limits of
the readers hold. More than one coding is refused: nobody asked for it. gzip may be of several members (RFC 1952);
deflate is zlib's form or, as some servers have it, without its header. What is no coding at all ("utf-8", "none") is
said by servers that mean something else, and says nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

ACCEPTED = "gzip, deflate"
_PIECE = 256 * 1024  # bytes that one step gives at the most
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's window bits for each form
_OURS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_OTHERS = frozenset(("br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "aes128gcm"))


class EncodingError(Exception):
    """The body is not encoded as its content-encoding says, or in a way that was not asked for."""


class Unpacked:
    """What the reads of a body unpack to, by what `content_encoding` names."""

    def __init__(self, content_encoding: str) -> None:
        self._header = content_encoding
        self._coding = ""
        self._engine: Any = None
        self._held = b""  # the first byte of deflate: two tell which form it has
        self._pieces: Iterator[bytes] | None = None

    def give(self, data: bytes) -> None:
        """The next read, once all pieces of the last were taken. Raises EncodingError."""
        if self._pieces is None:
            self._coding = _coding_of(self._header)
        self._pieces = self._unpacked(data) if self._coding else iter((data,))

    def next_piece(self) -> bytes | None:
        """The next piece; None where a read has to be given first. Raises EncodingError."""
        try:
            return None if self._pieces is None else next(self._pieces, None)
        except zlib.error as error:
            raise EncodingError(f"not encoded as its content-encoding {self._header!r} says: {error}") from None

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        if self._engine is None and (data := self._begun(data)) == b"":
            return
        while True:
            if self._engine.eof:
                if self._coding != "gzip" or data[:1] != b"\x1f":  # what follows is padding
                    return
                self._engine = zlib.decompressobj(_GZIP)
            piece = self._engine.decompress(data, _PIECE)
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _PIECE:
                return

    def _begun(self, data: bytes) -> bytes:
        """Choose the engine; what it has to read, nothing where that cannot be told yet."""
        if self._coding == "gzip":
            self._engine = zlib.decompressobj(_GZIP)
            return data
        self._held += data
        if len(self._held) < 2:
            return b""
        self._engine = zlib.decompressobj(_ZLIB if _has_zlib_header(self._held) else _BARE)
        return self._held


def _coding_of(header: str) -> str:
    """The coding to undo; "" for none. Raises EncodingError for one that cannot be undone, and for several."""
    named = [name.strip().lower() for name in header.split(",")]
    if len(applied := [name for name in named if name in _OURS or name in _OTHERS]) > 1:
        raise EncodingError(f"{len(applied)} codings are applied to it: content-encoding {header!r:.100}")
    if not applied:
        return ""
    if applied[0] in _OTHERS:
        raise EncodingError(f"content-encoding {applied[0]!r} was not asked for")
    return _OURS[applied[0]]


def _has_zlib_header(data: bytes) -> bool:
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
