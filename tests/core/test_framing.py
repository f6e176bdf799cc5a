"""The reader returns all bytes, splits reads after a blank line, and detects the end of a response."""

from __future__ import annotations

import ast
import gc
from pathlib import Path
from typing import Any
from weakref import ref

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelstudio_core.http.framing import AsyncReader, Reader

ROOT = Path(__file__).parents[2]


class Network:
    """A network stream that gives these reads, then the end."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = list(reads)
        self.timeouts: list[float | None] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(timeout)
        return self.reads.pop(0) if self.reads else b""

    def get_extra_info(self, name: str) -> Any:
        return None


def reader_of(network: Any) -> Reader:
    reader = Reader.attach(network)
    assert reader is not None
    return reader


def pieces_of(network: Network) -> list[bytes]:
    return list(iter(lambda: network.read(65536), b""))


@given(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"a", b"HTTP/1.1 200 OK"]), max_size=30), st.data()
)
def test_reads_are_split_after_a_blank_line(words: list[bytes], data: st.DataObject) -> None:
    """Wherever the bytes are split, and no byte is lost."""
    body = b"".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    reads = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
    network = Network(*reads)
    reader_of(network)
    pieces = pieces_of(network)
    assert b"".join(pieces) == body
    seen = b""
    for piece in pieces:
        at = (seen[-3:] + piece).find(b"\r\n\r\n")
        assert at < 0 or at + 4 == len(seen[-3:] + piece)
        seen += piece


HEAD = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"
CHUNKED = {"transfer-encoding": "chunked"}


def length(size: int) -> dict[str, str]:
    return {"content-length": str(size)}


@pytest.mark.parametrize(
    ("head", "body", "status", "headers", "clean"),
    [
        (HEAD, b"right", 200, length(5), True),
        (HEAD, b"ri\r\n\r\nght", 200, length(9), True),
        (HEAD, b"5\r\nright\r\n0\r\n\r\n", 200, CHUNKED, True),
        (HEAD, b"5\r\nright\r\n0\r\nX: y\r\n\r\n", 200, CHUNKED, True),
        (HEAD, b"5\r\nright\r\n0;x=y\r\n\r\n", 200, CHUNKED, True),
        (HEAD, b"", 204, {}, True),
        (HEAD, b"", 304, length(5), True),
        (HEAD, b"", 200, length(0), True),
        (b"HTTP/1.1 103 Early\r\n\r\n" + HEAD, b"right", 200, length(5), True),
        (HEAD, b"rightHTTP", 200, length(5), False),
        (HEAD, b"righ", 200, length(5), False),
        (HEAD, b"5\r\nright\r\n0\r\n\r\nHTTP", 200, CHUNKED, False),
        (HEAD, b"5\r\nright\r\n0\n\n", 200, CHUNKED, False),
        (HEAD, b"5\r\nright\r\n", 200, CHUNKED, False),
        (HEAD, b"H", 204, {}, False),
        (HEAD, b"right", 200, {}, False),
        (HEAD, b"right", 200, length(5) | {"content-length": "five"}, False),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_connection_is_reusable_after_exactly_one_response(
    head: bytes, body: bytes, status: int, headers: dict[str, str], clean: bool, together: bool
) -> None:
    network = Network(head + body) if together else Network(head, body)
    reader = reader_of(network)
    read = b""
    while len(read) < len(head):
        read += network.read(65536)
    reader.begin_body(httpx.Response(status, headers=headers))
    while network.reads or reader._buffer:
        network.read(65536)
    assert reader.prepare_reuse() is clean
    assert not reader.prepare_reuse(), "the next response has not been read"


def test_head_with_bare_line_feeds_prevents_reuse() -> None:
    network = Network(HEAD.replace(b"\r", b""), b"right")
    reader = reader_of(network)
    network.read(65536)
    reader.begin_body(httpx.Response(200, headers=length(5)))
    network.read(65536)
    assert not reader.prepare_reuse()


def test_no_reader_for_other_objects() -> None:
    assert Reader.attach(None) is None
    assert AsyncReader.attach(object()) is None


def test_connection_has_one_reader_with_weak_reference() -> None:
    network = Network()
    assert reader_of(network) is reader_of(network)
    gone = ref(network)
    gc.disable()
    try:
        del network
        assert gone() is None
    finally:
        gc.enable()


def test_deadline_and_timeout_both_limit_reads() -> None:
    network = Network(b"a", b"b", b"c")
    reader = reader_of(network)
    with reader.until(0.0):
        network.read(1, timeout=5)
        network.read(1)
    network.read(1, timeout=5)
    assert network.timeouts == [0.001, 0.001, 5]


PRIVATE = {"private_names.py": {"_pool", "_stream", "_protocol"}}
"""The private names of httpx and the layers below it: by file."""


def test_private_names_of_other_packages_are_in_one_file() -> None:
    """Every other attribute with an underscore belongs to the class that uses it."""
    for path in (ROOT / "modelstudio_core" / "http").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        foreign = set()
        own = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                name = node.value.id if isinstance(node.value, ast.Name) else ""
                (own if name in ("self", "cls") else foreign).add(node.attr)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own.add(node.name)
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("getattr", "hasattr")
            ):
                names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                foreign |= {n for n in names if isinstance(n, str) and n.startswith("_") and not n.startswith("__")}
        assert foreign - own == PRIVATE.get(path.name, set()), path.name
