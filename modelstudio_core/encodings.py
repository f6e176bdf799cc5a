"""Undoes a body's content-encoding (RFC 9110, section 8.4) in pieces of bounded size.

A kilobyte of gzip within gzip may hold gigabytes. httpx unpacks all of a read at once, before anyone can look at its
size; here each step gives a piece and goes on only when the next is asked for, so the limits of the readers hold. gzip
may be of several members (RFC 1952); deflate is zlib's form or, as some servers have it, without its header.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

ACCEPTED = "gzip, deflate"
_PIECE = 256 * 1024  # bytes that one step gives at the most
_MOST_CODINGS = 4
_GZIP, _ZLIB, _BARE = 31, 15, -15  # zlib's window bits for each form


class EncodingError(Exception):
    """The body is not encoded as its content-encoding says, or in a way that was not asked for."""


class _Unpacker:
    """Undoes one coding."""

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise EncodingError(f"content-encoding {coding!r} was not asked for")
        self._engine: Any = None if coding == "deflate" else zlib.decompressobj(_GZIP)
        self._members = coding != "deflate"
        self._held = b""  # the first byte of deflate: two tell which form it has

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to, in bounded pieces."""
        if self._engine is None:
            self._held += data
            if len(self._held) < 2:
                return
            data = self._held
            self._engine = zlib.decompressobj(_ZLIB if _has_zlib_header(data) else _BARE)
        while True:
            if self._engine.eof:
                if not self._members or data[:1] != b"\x1f":  # what follows is padding
                    return
                self._engine = zlib.decompressobj(_GZIP)
            piece = self._engine.decompress(data, _PIECE)
            data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _PIECE:
                return


def _has_zlib_header(data: bytes) -> bool:
    return data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0


class Unpacked:
    """What the reads of a body unpack to, by the codings that `content_encoding` names."""

    def __init__(self, content_encoding: str) -> None:
        self._header = content_encoding
        self._unpackers: list[_Unpacker] | None = None
        self._pieces: Iterator[bytes] = iter(())

    def give(self, data: bytes) -> None:
        """The next read, once all pieces of the last were taken."""
        self._pieces = self._unpacked(data)

    def next_piece(self) -> bytes | None:
        """The next piece; None where a read has to be given first. Raises EncodingError."""
        try:
            return next(self._pieces, None)
        except zlib.error as error:
            raise EncodingError(f"not encoded as its content-encoding {self._header!r} says: {error}") from None

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        if self._unpackers is None:
            codings = [coding.strip().lower() for coding in self._header.split(",")]
            applied = [coding for coding in codings if coding not in ("", "identity")]
            if len(applied) > _MOST_CODINGS:
                raise EncodingError(f"{len(applied)} codings are applied to it")
            self._unpackers = [_Unpacker(coding) for coding in reversed(applied)]  # the last is undone first
        return _through(self._unpackers, data)


def _through(unpackers: Sequence[_Unpacker], data: bytes) -> Iterator[bytes]:
    if not unpackers:
        yield data
        return
    for piece in unpackers[0].pieces(data):
        yield from _through(unpackers[1:], piece)
