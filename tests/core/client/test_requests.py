"""URL and headers of a request, and the advice in error messages."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from modelstudio_core import __version__
from modelstudio_core.errors import (
    AuthenticationError,
    ConfigurationError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
    PermissionDeniedError,
    QuotaError,
    RateLimitError,
    ServerError,
)
from modelstudio_core.http.client import Client
from modelstudio_core.http.timeouts import Timeouts
from modelstudio_core.types import Message
from tests.core.client.script import (
    CONFIG,
    DONE,
    HTML,
    KEY,
    LIMITED_EVENT,
    OK,
    REQUEST,
    ROLE,
    SSE,
    STOP,
    A,
    FakeResponse,
    FakeTransport,
    Reply,
    Way,
    astream,
    chunk,
    complete,
    error,
    event,
    every_way,
    run,
    stream,
)


@every_way
def test_the_request(way: Way) -> None:
    """URL, headers and body. The key is only in the request."""
    transport = FakeTransport(OK)
    run(way, transport, config=replace(CONFIG, headers={"x-dashscope-workspace": "ws-1"}))
    ((url, headers, body),) = transport.sent
    streams = way in (stream, astream)
    assert url == "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions"
    assert headers == {
        "authorization": f"Bearer {KEY}",
        "user-agent": f"modelstudio-integrations/{__version__}",
        "content-type": "application/json",
        "accept": "text/event-stream" if streams else "application/json",
        "x-dashscope-workspace": "ws-1",
    }
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    assert ("stream" in body) is streams


@every_way
def test_without_a_key_there_is_no_authorization(way: Way) -> None:
    """A loopback host needs no key."""
    transport = FakeTransport(error(401, "invalid_api_key"))
    _, caught = run(way, transport, config=replace(CONFIG, api_key=None))
    assert "authorization" not in transport.sent[0][1]
    assert isinstance(caught, AuthenticationError)


def test_default_headers_override_ours() -> None:
    """Such as the user agent."""
    transport = FakeTransport(OK)
    run(complete, transport, config=replace(CONFIG, headers={"user-agent": "mine"}))
    assert transport.sent[0][1]["user-agent"] == "mine"


@every_way
@pytest.mark.parametrize(
    "reply",
    [
        Reply(
            401,
            {"x-echo": KEY},
            (json.dumps({"error": {"message": f"Incorrect API key: {KEY}", "code": "invalid_api_key"}}).encode(),),
        ),
        Reply(401, {}, (f"<html>{KEY}</html>".encode(),)),
        Reply(200, SSE, (event({"error": {"message": f"bad {KEY}", "code": "invalid_api_key"}}),)),
    ],
    ids=["an object", "a page", "an event"],
)
def test_an_echoed_key_is_redacted(reply: Reply, way: Way) -> None:
    """In message, args, body, headers and text of an error."""
    _, caught = run(way, FakeTransport(reply))
    assert isinstance(caught, AuthenticationError)
    assert KEY not in repr((str(caught), repr(caught), caught.args, vars(caught)))
    assert "[redacted]" in repr(vars(caught))


CHAT = "/compatible-mode/v1/chat/completions"
WHERE: list[tuple[str, str | None, str]] = [
    (
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "singapore",
        f"https://dashscope-intl.aliyuncs.com{CHAT} (region singapore)",
    ),
    (
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "beijing",
        f"https://dashscope.aliyuncs.com{CHAT} (region beijing)",
    ),
    ("https://proxy.example.com/v1", None, "https://proxy.example.com/v1/chat/completions. "),
]


@every_way
@pytest.mark.parametrize(("base_url", "region", "named"), WHERE)
def test_a_401_names_the_url_and_region(base_url: str, region: str | None, named: str, way: Way) -> None:
    """Once, with the other regions, because keys are valid in one region."""
    config = replace(CONFIG, base_url=base_url, region=region)
    _, caught = run(way, FakeTransport(error(401, "invalid_api_key", "Incorrect API key.")), config=config)
    assert caught is not None
    assert caught.message.startswith(f"Incorrect API key. The key was sent to {named}")
    assert caught.args == (caught.message,)
    others = {"singapore", "virginia", "beijing", "hongkong", "frankfurt", "tokyo"} - {region}
    listed = caught.message.partition("another region (")[2].partition(")")[0]
    assert set(listed.split(", ")) == others


HOST = "dashscope-intl.aliyuncs.com"
ADVISED: list[tuple[str, Reply, type[ModelStudioError], tuple[str, ...]]] = [
    ("404", error(404, "model_not_found"), NotFoundError, ("case-sensitive", "differ by region", "base_url", HOST)),
    ("404 by a proxy", Reply(404, {"content-type": "text/html"}, HTML), NotFoundError, ("base_url", HOST)),
    ("403", error(403, "AccessDenied"), PermissionDeniedError, ("console", "workspace", HOST)),
    ("unpaid", error(400, "Arrearage"), QuotaError, ("console", "billing")),
    ("spent", error(403, "AllocationQuota.FreeTierOnly"), QuotaError, ("console", "free quota")),
    (
        "too long",
        error(400, "InvalidParameter", "Range of input length should be [1, 30720]"),
        ContextLengthError,
        ("messages", "longer context"),
    ),
    ("throttled", error(429, "Throttling"), RateLimitError, ("later", "max_retries")),
    ("5xx", error(500, "InternalError"), ServerError, ("later", HOST)),
    ("5xx by a proxy", Reply(502, {"content-type": "text/html"}, HTML), ServerError, ("later", HOST)),
    ("in an event", Reply(200, SSE, (ROLE + A, LIMITED_EVENT)), RateLimitError, ("later", "max_retries")),
]


@every_way
@pytest.mark.parametrize(("reply", "cls", "words"), [c[1:] for c in ADVISED], ids=[c[0] for c in ADVISED])
def test_errors_have_advice(reply: Reply, cls: type[ModelStudioError], words: tuple[str, ...], way: Way) -> None:
    """After the service's message, once, with the URL if it may be the cause."""
    retries = 1 if cls.is_retryable and reply.headers is not SSE else 0
    transport = FakeTransport(*[reply] * (retries + 1))
    _, caught = run(way, transport, config=replace(CONFIG, max_retries=retries))
    assert type(caught) is cls
    assert all(caught.message.count(word) == 1 for word in words)
    assert caught.args == (caught.message,)
    if reply.headers.get("content-type") == "application/json":
        said = json.loads(reply.reads[0] or b"")["error"]["message"]  # type: ignore[arg-type]
        assert caught.message.startswith(f"{said.removesuffix('.')}. ")
        assert len(caught.message) > len(said) + 20


@every_way
@pytest.mark.parametrize(
    ("asked", "meant"), [("qwen-plsu", "qwen-plus"), ("Qwen-Plus", "qwen-plus"), ("my-own-model", None)]
)
def test_a_misspelt_model(asked: str, meant: str | None, way: Way) -> None:
    """A 404 suggests a listed ID that is similar, otherwise it has the general advice."""
    reply = error(404, "model_not_found")
    _, caught = run(way, FakeTransport(reply), replace(REQUEST, model=asked, enable_thinking=False))
    assert isinstance(caught, NotFoundError)
    assert ("Did you mean" in caught.message) == (meant is not None)
    assert meant is None or f"Did you mean {meant}? The request was sent to" in caught.message


@every_way
def test_a_401_without_a_key(way: Way) -> None:
    """The advice is to set a key, and does not mention regions."""
    reply = error(401, "invalid_api_key", "You gave no API key.")
    _, caught = run(way, FakeTransport(reply), config=replace(CONFIG, api_key=None))
    assert caught is not None
    assert "No key was sent" in caught.message
    assert "DASHSCOPE_API_KEY" in caught.message
    assert "one region" not in caught.message


@every_way
def test_a_bad_request_has_no_advice(way: Way) -> None:
    """If no advice is known, the message is that of the service."""
    _, caught = run(way, FakeTransport(error(400, "InvalidParameter", "Role?")))
    assert caught is not None
    assert caught.message == "Role?"


@every_way
def test_a_rejected_request_is_not_sent(way: Way) -> None:
    """Errors of the policies or the codec are raised before the transport is used, and not retried."""
    for request in (replace(REQUEST, n=2, tools=({"type": "function"},)), replace(REQUEST, extra_body={"model": "x"})):
        transport = FakeTransport()
        _, caught = run(way, transport, request)
        assert isinstance(caught, ConfigurationError)
        assert transport.log == []


def test_an_unknown_protocol() -> None:
    """Creating the client raises an error."""
    with pytest.raises(ConfigurationError, match="protocol='smoke'"):
        Client(replace(CONFIG, protocol="smoke"), FakeTransport())


@every_way
def test_logs_contain_no_secrets(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """One debug line per retry and response, one warning per policy decision; no key, no body."""
    tools = tuple({"type": "function", "function": {"name": name}} for name in "fg")
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        run(
            way,
            FakeTransport(error(429, "Throttling", f"secret {KEY}"), OK),
            replace(REQUEST, tools=tools, tool_choice="any"),
        )
    records = [record for record in caplog.records if record.name == "modelstudio_core"]
    assert [record.levelname for record in records] == ["WARNING", "DEBUG", "DEBUG"]
    assert "2 tools" in records[0].getMessage()
    assert "RateLimitError, status 429, code Throttling, request id" in records[1].getMessage()
    assert f"response from {CONFIG.where}, request id" in records[2].getMessage()
    assert "secret" not in caplog.text


TWO = tuple({"type": "function", "function": {"name": name}} for name in "fg")
DECIDED: list[tuple[str, dict[str, Any], str]] = [
    ("several tools, one demanded", {"tools": TWO, "tool_choice": "any"}, "2 tools"),
    ("a forced call, always thinks", {"model": "qwq-32b", "tools": TWO[:1], "tool_choice": "any"}, "may think"),
]


def decisions(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the log lines about policy decisions."""
    return [record for record in caplog.records if record.getMessage().startswith("Model Studio: ")]


@every_way
@pytest.mark.parametrize(("given", "words"), [case[1:] for case in DECIDED], ids=[case[0] for case in DECIDED])
def test_a_policy_decision_is_a_warning_once(
    given: dict[str, Any], words: str, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Once per object, then at debug level."""
    request = replace(REQUEST, **given)
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for client in (Client(CONFIG, FakeTransport(OK, OK, OK)), Client(CONFIG, FakeTransport(OK))):
            for _ in range(len(client.transport.script)):  # type: ignore[attr-defined]
                way(client, request)
    records = decisions(caplog)
    assert [record.levelname for record in records] == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
    for record in records:
        assert record.name == "modelstudio_core"
        assert words in record.getMessage()


def test_each_policy_decision_has_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A logged decision does not suppress others."""
    client = Client(CONFIG, FakeTransport(*[OK] * len(DECIDED)))
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for _, given, _ in DECIDED:
            complete(client, replace(REQUEST, **given))
    assert [record.levelname for record in decisions(caplog)] == ["WARNING"] * len(DECIDED)


@every_way
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("qwen-turbo", "qwen-turbo was retired on 2026-10-10: use qwen-flash instead"),
        ("glm-4.5", "glm-4.5 is listed by a reseller as retired on 2026-10-10: use glm-5.2 instead"),
    ],
)
def test_a_warning_about_a_retired_model(model: str, words: str, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Once. The request is sent. If it fails, the error names the replacement."""
    client = Client(CONFIG, FakeTransport(OK, OK, error(404, "model_not_found")))
    request = replace(REQUEST, model=model, enable_thinking=False)
    with caplog.at_level(logging.DEBUG, "modelstudio_core"):
        for _ in range(2):
            way(client, request)
        with pytest.raises(NotFoundError, match=f"{words}. The request was sent to"):
            way(client, request)
    retired = [record for record in decisions(caplog) if words in record.getMessage()]
    assert [record.levelname for record in retired] == ["WARNING", "DEBUG", "DEBUG"]


def test_close() -> None:
    """`close` and `aclose` close the resources of the transport."""
    transport = FakeTransport()
    client = Client(CONFIG, transport)
    client.close()
    asyncio.run(client.aclose())
    assert transport.log == ["close transport", "aclose transport"]


def test_a_request_is_not_changed() -> None:
    """The caller's request is the same after the call."""
    request = replace(REQUEST, model="qwen3.7-max", response_format={"type": "json_object"}, parameters={"seed": 1})
    before = copy.deepcopy(request)
    run(complete, FakeTransport(OK), request)
    assert request == before


def test_concurrent_calls() -> None:
    """Concurrent calls of one client do not mix."""
    from concurrent.futures import ThreadPoolExecutor

    class Many(FakeTransport):
        def open(
            self, url: str, headers: Any, body: bytes, timeout: Timeouts | None = None, *args: Any
        ) -> FakeResponse:
            text = json.loads(body)["messages"][0]["content"]
            return FakeResponse([], Reply(200, SSE, (*(chunk({"content": c}) for c in text), STOP + DONE)))

    client = Client(CONFIG, Many())
    texts = [str(number) * 50 for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda text: stream(client, replace(REQUEST, messages=(Message("user", text),))), texts)
    assert [result.choices[0].text for result in results] == texts
