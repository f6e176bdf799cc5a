"""Bodies that are encoded: the same text however torn, and never more at once than a piece."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest

from modelstudio_core.http.encodings import EncodingError, Unpacked

TEXT = bytes(range(256)) * 4096  # 1 MB, four pieces
BARE = zlib.compressobj(wbits=-15)
BARE_TEXT = BARE.compress(TEXT) + BARE.flush()


def pieces(encoding: str, data: bytes, step: int = 0) -> Iterator[bytes]:
    """What a body unpacks to, read in steps of so many bytes."""
    unpacked = Unpacked(encoding)
    step = step or len(data)
    for at in range(0, len(data), step):
        unpacked.give(data[at : at + step])
        while (piece := unpacked.next_piece()) is not None:
            yield piece


@pytest.mark.parametrize("step", [0, 1, 2, 7])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("identity", TEXT),
        ("", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("X-GZip", gzip.compress(TEXT)),
        ("gzip", gzip.compress(TEXT[:1000]) + gzip.compress(b"") + gzip.compress(TEXT[1000:])),
        ("gzip", gzip.compress(TEXT) + b"\0" * 20),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", BARE_TEXT),
        ("identity, gzip", gzip.compress(TEXT)),
        ("utf-8", TEXT),
        ("none, binary", TEXT),
    ],
    ids=str,
)
def test_a_body_unpacks_to_what_was_packed_however_it_is_torn(encoding: str, data: bytes, step: int) -> None:
    assert b"".join(pieces(encoding, data, step)) == TEXT


def test_what_the_last_bytes_held_is_handed_on_though_no_more_follow() -> None:
    """A piece that is full leaves output within the engine, which needs no more input to give it."""
    data = gzip.compress(b" " * (256 * 1024 + 1))[:-9]
    assert b"".join(pieces("gzip", data)) == b" " * (256 * 1024 + 1)


def test_what_looks_like_a_header_by_its_check_alone_is_none() -> None:
    """A header's first two bytes divide by 31, as those of what has none may, too; it also names its method."""
    packer = zlib.compressobj(0, wbits=-15)
    data = packer.compress(b"a line of 23 characters") + packer.flush()
    assert int.from_bytes(data[:2], "big") % 31 == 0
    for step in (0, 1):
        assert b"".join(pieces("deflate", data, step)) == b"a line of 23 characters"


def test_what_came_is_handed_on_though_the_body_is_cut() -> None:
    packer = zlib.compressobj(wbits=31)
    data = packer.compress(b"begun") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert b"".join(pieces("gzip", data, 1)) == b"begun"


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress, lambda data: gzip.compress(data) * 2])
def test_no_more_is_unpacked_than_a_piece_that_is_asked_for(encode: Callable[[bytes], bytes]) -> None:
    found = pieces("deflate" if encode is zlib.compress else "gzip", encode(b" " * 64 * 1024 * 1024))
    tracemalloc.start()
    try:
        assert all(0 < len(next(found)) <= 256 * 1024 for _ in range(20))
        assert tracemalloc.get_traced_memory()[1] < 2 * 1024 * 1024
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("gzip", "'gzip'"), ("deflate", "'deflate'"), ("br", "'br' was not asked for"), ("ZSTD", "'zstd'"),
     ("gzip, br", "2 codings"), ("deflate,gzip, gzip", "3 codings")],
)  # fmt: skip
def test_what_is_not_encoded_so_or_was_not_asked_for_is_refused_by_name(encoding: str, said: str) -> None:
    with pytest.raises(EncodingError, match=said):
        list(pieces(encoding, b"\xff\xffno such thing"))
