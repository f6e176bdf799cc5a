"""URLs of requests and errors, and redaction of secrets."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from langchain_core.exceptions import ContextOverflowError

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.errors import ConfigurationError, ContextLengthError, ModelStudioError
from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.ways import WAYS, Way
from tests.loopback import Exchange, Loopback, reply_json
from tests.native import is_native
from tests.service import Answer

COMBINATIONS = [(way, protocol) for protocol in DIALECTS for way in WAYS]
every_way = pytest.mark.parametrize(
    ("way", "protocol"), COMBINATIONS, ids=[f"{way.name}-{protocol}" for way, protocol in COMBINATIONS]
)
KEY = "sk-not-a-real-key-0001"
ENDPOINTS = {"openai": "/chat/completions", "dashscope": "/services/aigc/text-generation/generation"}


def over_all_ways(rows: list[Any]) -> list[Any]:
    """Return each row with three of the sixteen ways, which take turns."""
    ways = itertools.cycle(COMBINATIONS)
    return [(*row, *next(ways)) for row in rows for _ in range(3)]


def dialect_of(exchange: Exchange) -> Dialect:
    return DIALECTS["dashscope" if is_native(exchange.request) else "openai"]


def fails(status: int, message: str, code: str = "SomeCode", **headers: str) -> Callable[[Exchange], None]:
    """Answer with an error in the protocol of the request."""
    return lambda exchange: reply_json(status, dialect_of(exchange).error(code, message), headers)(exchange)


# ---------------------------------------------------------------- 11: what is redacted

KEPT: list[tuple[dict[str, str], str]] = [
    ({"X-Request-Id": "trace-0123456789"}, "trace-0123456789 failed"),
    ({"HTTP-Referer": "https://example.com/inter"}, "cannot load https://example.com/internet/x.png"),
    ({"Accept": "application/json"}, "want application/json"),
    ({"X-Title": "the sky"}, "the sky is blue"),
    ({"User-Agent": "my-agent/1.0"}, "my-agent/1.0 is blocked"),
    ({"X-Api-Key": "internal-abc"}, "my internal-abcdef and xinternal-abc"),
    ({"X-Auth-Token": "service"}, "the service is down"),
]


@pytest.mark.report(11)
@pytest.mark.parametrize(("headers", "message", "way", "protocol"), over_all_ways(KEPT))
async def test_an_error_keeps_what_is_no_credential(
    headers: dict[str, str], message: str, way: Way, protocol: str
) -> None:
    """Values of ordinary headers, and parts of other words, are not redacted."""
    with Loopback(fails(400, message)) as server:
        heard = await way(way.make(model="qwen-plus", base_url=server.url, protocol=protocol, default_headers=headers))
    assert heard.error is not None
    assert heard.error.message == message
    assert message in json.dumps(heard.error.body)
    assert message in heard.error.response.text  # type: ignore[union-attr]


CREDENTIALS: list[tuple[dict[str, str], str]] = [
    ({}, KEY),
    ({"Api-Key": "gw-0123456789"}, "gw-0123456789"),
    ({"x_api_key": "gw-0123456789"}, "gw-0123456789"),
    ({"X-Auth-Token": "Bearer gw-0123456789"}, "gw-0123456789"),
    ({"Proxy-Authorization": "Basic dXNlcjpwYXNzd29yZA=="}, "dXNlcjpwYXNzd29yZA=="),
    ({"COOKIE": "session=0123456789; a=b"}, "session=0123456789; a=b"),
    ({"X-Client-Secret-V2": 'quo"ted/0123456789'}, 'quo"ted/0123456789'),
    ({"X-Password": "correct-horse"}, "correct-horse"),
]


@pytest.mark.report(11)
@pytest.mark.parametrize(("headers", "secret", "way", "protocol"), over_all_ways(CREDENTIALS))
async def test_an_error_redacts_a_credential(headers: dict[str, str], secret: str, way: Way, protocol: str) -> None:
    """The key, and headers whose name marks them, are redacted in message, body, response headers and text."""
    server_says = fails(400, f"bad {secret}.", code=f"Bad-{secret}", **{"x-echo": secret})
    with Loopback(server_says) as server:
        llm = way.make(
            model="qwen-plus", base_url=server.url, protocol=protocol, default_headers=headers, api_key=KEY
        )  # fmt: skip
        error = (await way(llm)).error
    assert error is not None
    assert error.message == "bad [redacted]."
    assert error.code == "Bad-[redacted]"
    assert error.response is not None
    assert error.response.headers["x-echo"] == "[redacted]"
    for form in (secret, json.dumps(secret)[1:-1]):
        assert form not in repr(vars(error)) + str(error)


@pytest.mark.report(11)
@every_way
async def test_an_answer_is_never_rewritten(way: Way, protocol: str) -> None:
    """Text and request ID are unchanged, even if they contain the key or a header."""
    headers = {"X-Request-Id": "trace-0123456789", "X-Api-Key": "gw-0123456789"}
    text = f"trace-0123456789 application/json gw-0123456789 {KEY}"

    def script(exchange: Exchange) -> None:
        dialect, asked = dialect_of(exchange), exchange.request.json()
        said = {"x-request-id": "trace-0123456789", "content-type": "application/json"}
        streams = asked.get("stream") or exchange.request.headers.get("x-dashscope-sse")
        body = dialect.stream(text) if streams else json.dumps(dialect.whole(text)).encode()
        exchange.send_head(200, said | ({"content-type": "text/event-stream"} if streams else {}))
        exchange.send_chunk(body.replace(b"7d5c0ffe-e000-9000-8000-00000000fa17", b"trace-0123456789"))

    with Loopback(script) as server:
        llm = way.make(
            model="qwen-plus", base_url=server.url, protocol=protocol, default_headers=headers, api_key=KEY
        )  # fmt: skip
        heard = await way(llm)
    assert (heard.text, heard.request_id, heard.error) == (text, "trace-0123456789", None)


@pytest.mark.report(11)
@every_way
async def test_a_partial_answer_is_not_rewritten(way: Way, protocol: str) -> None:
    """Only the error itself is redacted."""
    headers = {"Accept": "application/json", "X-Api-Key": "gw-0123456789"}
    text = "application/json gw-0123456789"
    said = {"code": "InternalError", "message": "bad gw-0123456789"}
    failure = said if protocol == "dashscope" else {"error": said}
    with Loopback(Answer(text=[text], failure=failure)) as server:
        llm = way.make(
            model="qwen-plus", base_url=server.url, protocol=protocol, default_headers=headers, streaming=True
        )  # fmt: skip
        error = (await way(llm)).error
    assert error is not None
    assert error.partial is not None
    assert error.partial.text == text
    assert "bad [redacted]" in error.message


# ---------------------------------------------------------------- 12: where a request goes

SENT: list[tuple[str, str, str]] = [
    # base_url, protocol, where a request goes
    ("https://openrouter.ai/api/v1", "openai", "https://openrouter.ai/api/v1/chat/completions"),
    ("https://gateway.example/compatible-mode/v1", "dashscope", "https://gateway.example/compatible-mode/v1{native}"),
    ("https://gateway.example/a/chat/completions", "openai", "https://gateway.example/a/chat/completions/chat/completions"),
    ("https://gateway.example/apps/anthropic", "openai", "https://gateway.example/apps/anthropic/chat/completions"),
    ("https://gateway.example", "openai", "https://gateway.example/compatible-mode/v1/chat/completions"),
    ("https://gateway.example/", "dashscope", "https://gateway.example/api/v1{native}"),
    ("https://dashscope.aliyuncs.com/api/v1", "openai", "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions"),
    ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope", "https://dashscope.aliyuncs.com/api/v1{native}"),
    (
        "https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1", "openai",
        "https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1/chat/completions",
    ),
    ("https://coding.dashscope.aliyuncs.com", "openai", "https://coding.dashscope.aliyuncs.com/v1/chat/completions"),
    ("https://coding-intl.dashscope.aliyuncs.com/v1", "openai", "https://coding-intl.dashscope.aliyuncs.com/v1/chat/completions"),
    (
        "https://coding-intl.dashscope.aliyuncs.com/compatible-mode/v1", "openai",
        "https://coding-intl.dashscope.aliyuncs.com/v1/chat/completions",
    ),
    (
        "https://token-plan.ap-southeast-1.maas.aliyuncs.com", "openai",
        "https://token-plan.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1/chat/completions",
    ),
]  # fmt: skip


def not_found(request: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"error": {"message": "Not found.", "code": "not_found"}})


def clients(handler: Callable[[httpx.Request], httpx.Response]) -> dict[str, Any]:
    """Return clients whose transport is `handler`."""
    return {
        "http_client": httpx.Client(transport=httpx.MockTransport(handler)),
        "http_async_client": httpx.AsyncClient(transport=httpx.MockTransport(handler)),
    }


@pytest.mark.report(12)
@pytest.mark.parametrize(("base_url", "protocol", "url"), SENT)
@pytest.mark.parametrize("way", [WAYS[0], WAYS[7]], ids=["invoke", "astream_chat"])
async def test_where_a_request_goes(base_url: str, protocol: str, url: str, way: Way) -> None:
    """Only on the vendor's hosts, the path is replaced. Errors have the complete URL."""
    url = url.format(native=ENDPOINTS["dashscope"])
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return not_found(request)

    llm = way.make(model="qwen-plus", base_url=base_url, protocol=protocol, api_key=KEY, **clients(handler))
    error = (await way(llm)).error
    assert asked == [url]
    assert url in str(error)
    assert KEY not in str(error)


@pytest.mark.report(12)
@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://gateway.example/api/v1", "https://gateway.example/api/v1/embeddings"),
        ("https://dashscope.aliyuncs.com/api/v1", "https://dashscope.aliyuncs.com/compatible-mode/v1/embeddings"),
    ],
)
def test_where_embeddings_go(base_url: str, url: str) -> None:
    """The same rule applies to embeddings."""
    embedding = ModelStudioEmbedding(
        model="text-embedding-v4", base_url=base_url, api_key=KEY, **clients(not_found)  # type: ignore[call-arg]
    )  # fmt: skip
    for call in (
        lambda: embedding.get_text_embedding("a"),
        lambda: asyncio.run(embedding.aget_text_embedding("a")),
    ):
        with pytest.raises(ModelStudioError) as caught:
            call()
        assert url in str(caught.value)


def closes(exchange: Exchange) -> None:
    exchange.close()


def page(exchange: Exchange) -> None:
    exchange.send_head(200, {"content-type": "text/html"})
    exchange.send_chunk(b"<html>Welcome</html>")


def text_only(exchange: Exchange) -> None:
    exchange.send_head(200, {"content-type": "application/json"})
    exchange.send_chunk(b"welcome")


def cut(exchange: Exchange) -> None:
    exchange.send_head(200, {"content-type": "text/event-stream"})
    exchange.send_chunk(dialect_of(exchange).said("The sky"))


FAULTS: list[tuple[Callable[[Exchange], None]]] = [
    (fails(400, "Wrong."),),
    (fails(401, "Wrong key.", "InvalidApiKey"),),
    (fails(403, "Not yours.", "AccessDenied"),),
    (fails(404, "Not found.", "ModelNotFound"),),
    (fails(429, "Slow down.", "Throttling"),),
    (fails(500, "Broken.", "InternalError"),),
    (closes,),
    (page,),
    (text_only,),
    (cut,),
]
FAULT_NAMES = ["400", "401", "403", "404", "429", "500", "closed", "page", "text", "cut"]


@pytest.mark.report(12)
@pytest.mark.parametrize(
    ("script", "way", "protocol"),
    over_all_ways(FAULTS),
    ids=[f"{name}-{number}" for name in FAULT_NAMES for number in range(3)],
)
async def test_every_error_shows_the_url(script: Callable[[Exchange], None], way: Way, protocol: str) -> None:
    """Whatever fails after sending."""
    with Loopback(script) as server:
        llm = way.make(model="qwen-plus", base_url=f"{server.url}/v1", protocol=protocol, max_retries=0)
        heard = await way(llm)
        assert f"{server.url}/v1{ENDPOINTS[protocol]}" in str(heard.error)


@pytest.mark.report(12)
@every_way
async def test_a_connection_error_shows_the_url(way: Way, protocol: str) -> None:
    """Also if the connection is refused."""
    with Loopback(closes) as server:
        url = server.url
    heard = await way(way.make(model="qwen-plus", base_url=f"{url}/v1", protocol=protocol, max_retries=0))
    assert f"{url}/v1{ENDPOINTS[protocol]}" in str(heard.error)


ANTHROPIC: list[tuple[str, str]] = [
    ("https://dashscope-intl.aliyuncs.com/apps/anthropic", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
    ("https://dashscope.aliyuncs.com/apps/anthropic/v1/", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ("https://coding.dashscope.aliyuncs.com/apps/anthropic", "https://coding.dashscope.aliyuncs.com/v1"),
    (
        "https://token-plan.cn-beijing.maas.aliyuncs.com/apps/anthropic",
        "https://token-plan.cn-beijing.maas.aliyuncs.com/compatible-mode/v1",
    ),
]


@pytest.mark.report(12)
@pytest.mark.parametrize("make", [ChatModelStudio, ModelStudio, ModelStudioEmbedding])
@pytest.mark.parametrize(("base_url", "right"), ANTHROPIC)
def test_the_anthropic_address_is_refused(base_url: str, right: str, make: Any) -> None:
    """When the object is created. The error has the correct URL."""
    with pytest.raises(ConfigurationError) as caught:
        make(model="qwen-plus", base_url=base_url, api_key=KEY)
    assert f"{right!r}" in str(caught.value)


KEYS: list[tuple[str, str, bool]] = [
    # base_url, key, whether the 401 tells of plans
    ("https://dashscope-intl.aliyuncs.com", "sk-sp-0123456789", True),
    ("https://coding-intl.dashscope.aliyuncs.com", "sk-0123456789", True),
    ("https://coding.dashscope.aliyuncs.com/v1", "sk-sp-0123456789", True),
    ("https://token-plan.cn-beijing.maas.aliyuncs.com", "sk-0123456789", True),
    ("https://dashscope-intl.aliyuncs.com", "sk-0123456789", False),
    ("https://ws-1.cn-beijing.maas.aliyuncs.com", "sk-0123456789", False),
]


@pytest.mark.report(12)
@pytest.mark.parametrize("way", WAYS[::3], ids=lambda way: way.name)
@pytest.mark.parametrize(("base_url", "key", "plan"), KEYS)
async def test_a_401_of_a_plan(base_url: str, key: str, plan: bool, way: Way) -> None:
    """For keys or hosts of a plan, the advice is about plans; for others, about regions."""

    def refused(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"message": "Incorrect API key.", "code": "invalid_api_key"}})

    error = (await way(way.make(model="qwen-plus", base_url=base_url, api_key=key, **clients(refused)))).error
    assert ("plan" in str(error)) is plan
    assert ("valid in one region" in str(error)) is not plan
    assert key not in str(error)


# ---------------------------------------------------------------- 15: a context that is too long

TOO_LONG: list[tuple[int, str | None, str]] = [
    (400, "context_length_exceeded", "Something else."),
    (400, "context_length_exceeded", "This model's maximum context length is 131072 tokens."),
    (400, "invalid_request_error", "Your request exceeded model token limit: 262144 (requested: 270000)"),
    (400, "InvalidParameter", "Range of input length should be [1, 30720]"),
    (400, "invalid_parameter_error", "<400> InternalError.Algo: Range of input length should be [1, 98304]"),
    (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    (413, None, "Prompt is too long"),
    (400, None, "Input is too long for requested model."),
    (400, None, "Total message token length exceed model limit (10000000 tokens)."),
    (400, None, "The input (40000 tokens) is longer than the model's context length (32768 tokens)."),
    (400, "exceed_context_size_error", "the request exceeds the available context size, try increasing it"),
    (400, None, "litellm.ContextWindowExceededError: too many tokens"),
    (400, None, "Your input exceeds the context window of this model. Please adjust your input and try again."),
    (400, "1261", "Prompt exceeds max length"),
    (400, None, "context window exceeds limit (2013)"),
]  # fmt: skip


@pytest.mark.report(15)
@pytest.mark.parametrize(("status", "code", "message", "way", "protocol"), over_all_ways(TOO_LONG))
async def test_a_context_error(status: int, code: str | None, message: str, way: Way, protocol: str) -> None:
    """Detected by code or message."""
    with Loopback(fails(status, message, code or "invalid_request_error")) as server:
        heard = await way(way.make(model="qwen-plus", base_url=server.url, protocol=protocol))
    check_context_error(heard.error, way)
    assert len(server.requests) == 1


@pytest.mark.report(15)
@pytest.mark.parametrize(("status", "code", "message", "way", "protocol"), over_all_ways(TOO_LONG))
async def test_a_context_error_in_mid_stream(
    status: int, code: str | None, message: str, way: Way, protocol: str
) -> None:
    """An error event in a stream is detected as well."""
    said: Mapping[str, Any] = {"code": code or "invalid_request_error", "message": message}
    failure = said if protocol == "dashscope" else {"error": said}
    with Loopback(Answer(text=["The sky"], failure=failure, status=status)) as server:
        llm = way.make(model="qwen-plus", base_url=server.url, protocol=protocol, streaming=True)
        heard = await way(llm)
    check_context_error(heard.error, way)


def check_context_error(error: ModelStudioError | None, way: Way) -> None:
    assert isinstance(error, ContextLengthError)
    assert isinstance(error, ContextOverflowError) is (way.make is ChatModelStudio)
    assert "longer context" in error.message


NOT_TOO_LONG: list[tuple[int, str, str]] = [
    (400, "InvalidParameter", "Range of max_tokens should be [1, 8192]"),
    (400, "InvalidParameter", "The thinking_budget parameter must not be greater than 32768"),
    (429, "Throttling.AllocationQuota", "Allocated quota exceeded, please increase your quota limit."),
    (429, "rate_limit_exceeded", "Input tokens exceed the limit of a minute."),
    (400, "InvalidParameter", "Exceeded limit on max bytes per data-uri item"),
]


@pytest.mark.report(15)
@pytest.mark.parametrize(("status", "code", "message", "way", "protocol"), over_all_ways(NOT_TOO_LONG))
async def test_what_is_no_context_error(status: int, code: str, message: str, way: Way, protocol: str) -> None:
    """Other limits keep their class."""
    with Loopback(fails(status, message, code)) as server:
        llm = way.make(model="qwen-plus", base_url=server.url, protocol=protocol, max_retries=0)
        heard = await way(llm)
    assert heard.error is not None
    assert not isinstance(heard.error, ContextLengthError)
