"""Pure helpers: limits in schemas, rejections, command line, and the end of a response."""

from __future__ import annotations

from typing import Any

import pytest

from local_model import LocalModelError, Options, running, server
from local_model.options import from_arguments, parser, to_arguments
from local_model.refusals import rejection
from local_model.relay import RelayedResponse, parsed
from local_model.schemas import bounded

BOUND = {"type": "string", "maxLength": 5}


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "string"}, BOUND),
        ({"type": ["string", "null"]}, {"type": ["string", "null"], "maxLength": 5}),
        ({"type": "string", "minLength": 9}, {"type": "string", "minLength": 9, "maxLength": 9}),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": BOUND}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [BOUND, {"type": "null"}]}),
        ({"$defs": {"a": {"type": "string"}}}, {"$defs": {"a": BOUND}}),
        ({"additionalProperties": {"type": "string"}}, {"additionalProperties": BOUND}),
        ({"properties": {"type": {"type": "string"}}}, {"properties": {"type": BOUND}}),
    ],
)
def test_strings_get_a_maximum_length(schema: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert bounded(schema, 5) == wanted


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "enum": ["a long value"]},
        {"type": "string", "const": "a long value"},
        {"type": "string", "maxLength": 900},
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "format": "date"},
        {"type": "object", "default": {"type": "string"}, "examples": [{"type": "string"}]},
        {"additionalProperties": False},
        True,
        None,
    ],
)
def test_other_schemas_are_unchanged(schema: Any) -> None:
    assert bounded(schema, 5) == schema


def test_a_wrong_key() -> None:
    refused = rejection(Options(api_key="sk-1"), "Bearer sk-2", {"model": "qwen-plus"})
    assert refused is not None
    status, body = refused
    assert status == 401
    assert body["request_id"]
    assert body["error"] == {
        "message": "Incorrect API key provided. ",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_api_key",
    }


def test_an_unknown_model() -> None:
    refused = rejection(Options(models=("qwen-plus",)), None, {"model": "qwen-x"})
    assert refused is not None
    assert refused[0] == 404
    assert refused[1]["error"]["code"] == "model_not_found"
    assert refused[1]["error"]["message"] == "The model qwen-x does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("options", "authorization", "body"),
    [
        (Options(), None, {"model": "anything"}),
        (Options(api_key="k"), "Bearer k", {"model": "anything"}),
        (Options(models=("a", "b")), "Bearer other", {"model": "b"}),
        (Options(models=("a",)), None, None),
        (Options(models=("a",)), None, [{"model": "b"}]),
    ],
)
def test_other_requests_are_accepted(options: Options, authorization: str | None, body: Any) -> None:
    assert rejection(options, authorization, body) is None


@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(7, "on", 0, True, 9, 8, "-key", ("a", "b"), "qwen-max"),
    ],
)
def test_the_command_line_has_every_option(options: Options) -> None:
    assert from_arguments(parser().parse_args(to_arguments(options))) == options


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
COUNTED = b"Content-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("rest", [CHUNKED, COUNTED], ids=["chunked", "counted"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_responses_are_relayed_without_connection_headers(rest: bytes, size: int) -> None:
    data = HEAD + b"Connection: close\r\n" + rest
    for end in range(0, len(data) + 1, size):
        answer = RelayedResponse()
        passed = b"".join(answer.feed(data[at : min(at + size, end)]) for at in range(0, end, size))
        assert (HEAD + rest).startswith(passed)
        assert answer.complete is (end == len(data))
    answer = RelayedResponse()
    assert b"".join(answer.feed(data[at : at + size]) for at in range(0, len(data), size)) == HEAD + rest
    assert answer.complete


LONG = bytes(range(256)) * 128  # longer than what is read at once


@pytest.mark.parametrize(
    ("rest", "body"),
    [(CHUNKED, b"hello"), (COUNTED, b"hello"), (b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG, LONG)],
    ids=["chunked", "counted", "long"],
)
@pytest.mark.parametrize("size", [1, 7, 1000, 65536])
def test_responses_are_parsed_as_they_arrive(rest: bytes, body: bytes, size: int) -> None:
    data = HEAD + rest
    answer = parsed(data[at : at + size] for at in range(0, len(data), size))
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/event-stream")
    assert answer.read() == body


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match=r"xllamacpp.*make demo.*pip install"), running():
        raise AssertionError("must not start")
