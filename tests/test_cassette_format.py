"""Cassettes preserve every byte of a body, store no secrets, and must be played completely."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from vcr.errors import CannotOverwriteExistingCassetteException

from tests import cassette_format
from tests.cassette_format import CassetteFormat, Origin, cassette_path, leaks, play, read, recording
from tests.loopback import Loopback, reply, reply_json

KEY = "sk-" + "0123456789abcdef"
ORIGIN = Origin("recorded", "a test's server", datetime.date(2026, 1, 2))
BODIES = {
    "events": b'data: {"a":"1"}\n\ndata: {"a":"\xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x9a\x80"}\n\ndata: [DONE]\n\n',
    "one line": b'{"a": "b: c # d"}',
    "a last line end": b"{}\n",
    "many last line ends": b"{}\n\n\n",
    "line ends first": b"\n\n{}",
    "blanks first": b"   {}\n  {}",
    "nothing": b"",
    "a line end": b"\n",
    "yaml of its own": b"---\nkey: |\n  - value\n...\n",
    "blanks last": b"data: a \n\ndata: b \n\n",
    "CRLF": b"data: a\r\n\r\ndata: b\r\n\r\n",
    "CR": b"data: a\r\rdata: b\r\r",
    "a tab": b"data:\ta\n\n",
    "U+2028": b'data: "a\xe2\x80\xa8b"\n\n',
    "U+0085": b'data: "a\xc2\x85b"\n\n',
    "a BOM": b"\xef\xbb\xbfdata: a\n\n",
    "NUL": b"a\x00b",
    "no UTF-8": b"\xff\xfe\x80",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store the cassettes of these tests in a temporary folder."""
    monkeypatch.setattr(cassette_format, "CASSETTES", tmp_path)
    return tmp_path


def post(url: str, value: Any = None, **more: Any) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(url + "/v1/chat", json={"say": "hello"} if value is None else value, **more)


@pytest.mark.parametrize("case", BODIES)
def test_a_response_body_comes_back_byte_by_byte(case: str) -> None:
    with Loopback(reply(200, BODIES[case])) as server, recording("a/b", ORIGIN):
        assert post(server.url).content == BODIES[case]
    with play("a/b"):
        assert post("http://127.0.0.1").content == BODIES[case]
    assert read("a/b")[1][0].body == BODIES[case]


def test_bodies_are_literal_text_or_base64() -> None:
    for case, body in BODIES.items():
        with Loopback(reply(200, body)) as server, recording("a/b", ORIGIN):
            post(server.url)
        text = cassette_path("a/b").read_text("utf-8")
        stored = yaml.safe_load(text)["interactions"][0]["response"]["body"]
        if isinstance(stored, dict):
            assert base64.b64decode(stored["base64"]) == body, case
        elif body:
            assert "\n    body: |" in text.partition("response:")[2], case
    with Loopback(reply(200, BODIES["events"])) as server, recording("a/b", ORIGIN):
        post(server.url)
    lines = cassette_path("a/b").read_text("utf-8").split("\n")
    assert '      data: {"a":"你好 🚀"}' in lines
    assert '        "say": "hello"' in lines


def test_a_compressed_response_is_stored_as_text() -> None:
    packed = reply(200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip", "Content-Type": "application/json"})
    with Loopback(packed) as server, recording("a/b", ORIGIN):
        post(server.url)
    assert read("a/b")[1][0].body == b'{"a": 1}'
    with play("a/b"):
        assert post("http://127.0.0.1").json() == {"a": 1}


def test_only_listed_headers_are_stored() -> None:
    answer = reply_json(
        401, {"error": f"bad key {KEY}"}, {"Set-Cookie": "session=1", "X-Request-Id": "r1", "X-Other": "o"}
    )
    headers = {"authorization": f"Bearer {KEY}", "cookie": "session=1", "user-agent": "me"}
    with Loopback(answer) as server, recording("a/b", ORIGIN, secrets=[KEY]):
        post(server.url, {"said": KEY}, headers=headers)
    text = cassette_path("a/b").read_text("utf-8")
    for hidden in (KEY, "session", "cookie", "authorization", "user-agent", "X-Other", str(server.port)):
        assert hidden.lower() not in text.lower()
    (interaction,) = read("a/b")[1]
    assert json.loads(interaction.body) == {"error": "bad key [redacted]"}
    assert interaction.request == {"said": "[redacted]"}
    assert interaction.headers == {"content-type": "application/json", "x-request-id": "r1"}


def test_a_cassette_with_a_secret_is_not_written() -> None:
    with Loopback(reply_json(200, {"a": 1})) as server, recording("a/b", ORIGIN):
        post(server.url)
    with (
        Loopback(reply_json(200, {"a": KEY})) as server,
        pytest.raises(ValueError, match="a key"),
        recording("a/b", ORIGIN),
    ):
        post(server.url)
    assert json.loads(read("a/b")[1][0].body) == {"a": 1}
    assert [path.name for path in cassette_path("a/b").parent.iterdir()] == ["b.yaml"]


def test_a_block_that_raises_writes_nothing() -> None:
    with Loopback(reply_json(500, {})) as server, pytest.raises(httpx.HTTPStatusError), recording("a/b", ORIGIN):
        post(server.url).raise_for_status()
    assert [*cassette_path("a/b").parent.iterdir()] == []


def test_each_interaction_is_played_exactly_once() -> None:
    with Loopback([reply_json(200, 1), reply_json(200, 2)]) as server, recording("a/b", ORIGIN):
        post(server.url)
        post(server.url)
    with play("a/b"):
        assert [post("http://127.0.0.1").json() for _ in range(2)] == [1, 2]
    with pytest.raises(AssertionError, match=r"interactions \[1\] of 2 were not played"), play("a/b"):
        post("http://127.0.0.1")
    with pytest.raises(CannotOverwriteExistingCassetteException), play("a/b"):
        _ = [post("http://127.0.0.1") for _ in range(3)]


@pytest.mark.parametrize(
    ("sent", "matches"),
    [
        ({"b": [1, {"d": 0}], "a": True}, True),
        ({"a": True, "b": [1.0, {"d": 0.0}]}, True),
        ({"a": 1, "b": [1, {"d": 0}]}, False),
        ({"a": True, "b": [1, {"d": False}]}, False),
        ({"a": True, "b": [{"d": 0}, 1]}, False),
        ({"a": True, "b": [1, {"d": 0}], "c": None}, False),
    ],
)
def test_a_request_matches_by_the_value_of_its_json(sent: Any, matches: bool) -> None:
    with Loopback(reply_json(200, "yes")) as server, recording("a/b", ORIGIN):
        post(server.url, {"a": True, "b": [1, {"d": 0}]})
    if matches:
        with play("a/b"):
            assert post("http://127.0.0.1:9", sent).json() == "yes"
    else:
        with pytest.raises(CannotOverwriteExistingCassetteException, match="cassette"), play("a/b"):
            post("http://127.0.0.1:9", sent)


def test_a_missing_cassette() -> None:
    with pytest.raises(FileNotFoundError, match="make record"), play("a/b"):
        raise AssertionError("the block is not entered")


def test_a_cassette_has_an_origin() -> None:
    origin = Origin("documented", "Error messages", datetime.date(2026, 1, 2), "with a note: and more")
    with Loopback(reply_json(200, {})) as server, recording("a/b", origin):
        post(server.url)
    assert read("a/b")[0] == origin
    with pytest.raises(ValueError, match="origin"):
        CassetteFormat().serialize({"interactions": [], "version": 1})


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("sk-abcdef123456", "a key"),
        ("LTAI" + "5tAbCdEfGhIjKl", "a key"),
        ("Bearer abc", "a bearer token"),
        ('"Authorization": "x"', "an authorization header"),
        ("set-cookie: a=b", "a cookie"),
        ("https://b.oss-cn.aliyuncs.com/o?Expires=1&Signature=x", "a signed URL"),
        ("https://x/o?x-oss-signature=1", "a signed URL"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/v1", "a workspace's host"),
        ("model at /home/me/model.gguf", "a path of a machine"),
        (r"C:\\Users\\me", "a path of a machine"),
    ],
)
@pytest.mark.parametrize("form", ["text", "base64"])
def test_leaks(planted: str, found: str, form: str) -> None:
    data = planted.encode() + (b"\r\n\x00" if form == "base64" else b"")
    response = {"status": {"code": 200, "message": "OK"}, "headers": {}, "body": {"string": data}}
    request = {"method": "POST", "uri": "http://127.0.0.1/", "headers": {}, "body": "{}"}
    text = CassetteFormat(ORIGIN).serialize(
        {"version": 1, "interactions": [{"request": request, "response": response}]}
    )
    assert (form == "base64") == ("base64:" in text)
    assert found in leaks(text)


def test_ordinary_text_is_no_leak() -> None:
    said = r"""{"a":"colours:\n\n1. Red (sk-) at /v1/chat, and/or cookies; authorization is needed","b":"x?y=z"}"""
    with Loopback(reply(200, said.encode())) as server, recording("a/b", ORIGIN):
        post(server.url)
    assert leaks(cassette_path("a/b").read_text("utf-8")) == []
