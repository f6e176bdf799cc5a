"""A marked key does not appear in any serialized form of a model, its results, errors, traces and logs."""

from __future__ import annotations

import copy
import itertools
import json
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, dumps
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from pydantic import Field
from rich.console import Console
from rich.traceback import Traceback

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import BadRequestError, ConfigurationError, ModelStudioError
from tests.faults.dialects import DIALECTS, REQUEST_ID, TEXT, Dialect, written
from tests.faults.steps import JSON, KEY, error_event, good, pause, replied, reset, streamed
from tests.faults.steps import begun as begun_bytes
from tests.faults.ways import PROMPT, WAYS, Way
from tests.loopback import Exchange, Loopback

MAKERS: dict[str, Any] = {"langchain": ChatModelStudio, "llama_index": ModelStudio}
every_adapter = pytest.mark.parametrize("adapter", MAKERS)
HEADER = "header-mark-5ca1ab1e0ff1ce5ca1ab1e"
"""A secret of a gateway, in a header of the user's own."""


def shows_no_secret(text: str) -> None:
    """Check that the text contains neither the key, nor a part of it, nor the header."""
    for secret in (KEY, HEADER):
        for at in range(4, len(secret) - 12):
            assert secret[at : at + 12] not in text


# ---------------------------------------------------------------- the object

WRITTEN: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "format": lambda llm: f"{llm}",
    "dict": lambda llm: (llm.asdict if isinstance(llm, ChatModelStudio) else llm.dict)(),
    "vars": lambda llm: repr(vars(without_headers(llm))),
    "iteration": lambda llm: [item for item in llm if item[0] != "default_headers"],
    "model_dump": lambda llm: llm.model_dump(),
    "model_dump as JSON": lambda llm: llm.model_dump(mode="json"),
    "model_dump_json": lambda llm: llm.model_dump_json(),
    "the values of model_dump": lambda llm: [getattr(v, "get_secret_value", str)() for v in llm.model_dump().values()],
    "schema": lambda llm: type(llm).model_json_schema(mode="serialization"),
    "pickle": lambda llm: pickle.dumps(without_headers(llm)),
    "a pickled binding": lambda llm: pickle.dumps(without_headers(llm).bind(stop=["x"])),
    "to_json": lambda llm: llm.to_json(),
    "to_dict": lambda llm: llm.to_dict(),
    "dumps": dumps,
    "dumpd": dumpd,
    "the cache's key": lambda llm: llm._get_llm_string(),
    "identifying": lambda llm: (llm._identifying_params, llm._get_invocation_params(), llm._get_ls_params()),
    "metadata": lambda llm: llm.metadata,
    "rich": lambda llm: rendered(llm),
    "the client": lambda llm: (llm._core_client(), llm._core_client().config, llm._core_client().transport),
    "a copy": lambda llm: copy.deepcopy(llm),
}
OF = {
    "langchain": WRITTEN.keys() - {"to_dict", "schema"},
    "llama_index": WRITTEN.keys() - {"a pickled binding", "dumps", "dumpd", "the cache's key", "identifying", "schema"},
}


def without_headers(llm: Any) -> Any:
    """Remove the headers, which are pickled because workers need them."""
    return llm.model_copy(update={"default_headers": None})


def rendered(value: Any) -> str:
    out = StringIO()
    Console(file=out, width=400).print(value)
    return out.getvalue()


@pytest.mark.parametrize(("adapter", "how"), [(adapter, how) for adapter, hows in OF.items() for how in sorted(hows)])
def test_serialized_objects_contain_no_key(adapter: str, how: str) -> None:
    """In any serialized form of a used model."""
    with Loopback(lambda exchange: good(exchange, DIALECTS["openai"])) as server:
        llm = MAKERS[adapter](
            model="qwen-plus", base_url=server.url, api_key=KEY, default_headers={"x-gateway-token": HEADER}
        )
        next(way for way in WAYS if way.make is MAKERS[adapter]).run(llm)
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert server.requests[0].headers["x-gateway-token"] == HEADER
        shows_no_secret(str(WRITTEN[how](llm)))


@every_adapter
@pytest.mark.parametrize("bad", [{"temperature": []}, {"nonsense": 1}, {"timeout": -1}, {"region": "nowhere"}])
def test_invalid_argument_error_contains_no_key(adapter: str, bad: dict[str, Any]) -> None:
    """The error of an invalid argument does not contain the key."""
    with pytest.raises(Exception, match=r".") as raised:
        MAKERS[adapter](model="qwen-plus", api_key=KEY, default_headers={"x-gateway-token": HEADER}, **bad)
    shows_no_secret(f"{raised.value!r} {raised.value}")


# ---------------------------------------------------------------- what a call leaves behind


class Keeps(BaseTracer):
    """A tracer that stores everything it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.told.append(run.model_dump_json())

    def on_chat_model_start(self, serialized: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.told.append(json.dumps(serialized, default=repr) + repr(kwargs))
        return super().on_chat_model_start(serialized, *args, **kwargs)


@pytest.mark.parametrize("way", [way for way in WAYS if way.make is ChatModelStudio], ids=lambda way: way.name)
@pytest.mark.parametrize("fails", [False, True])
async def test_traces_contain_no_key(way: Way, fails: bool) -> None:
    """Tracers receive the model, its settings, the answer and the error, but not the key."""
    dialect = DIALECTS["openai"]
    tracer = Keeps()
    with Loopback(lambda exchange: (echoes if fails else good)(exchange, dialect)) as server:
        llm = ChatModelStudio(
            model="qwen-plus", base_url=server.url, api_key=KEY, callbacks=[tracer],
            default_headers={"x-gateway-token": HEADER}, cache=InMemoryCache(), max_retries=0,
        )  # fmt: skip
        await way(llm)
        assert len(tracer.told) >= 2
        shows_no_secret("".join(tracer.told) + repr(vars(llm.cache)))


class Listens(BaseEventHandler):
    """Stores all events of LlamaIndex's instrumentation in serialized form."""

    told: list[str] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        self.told.append(repr(event) + json.dumps(event.model_dump(), default=repr))


class Payloads(BaseCallbackHandler):
    """Stores all payloads of LlamaIndex's callbacks."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.told: list[str] = []

    def on_event_start(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> str:
        self.told.append(repr(payload))
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        self.told.append(repr(payload))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


@pytest.mark.parametrize("way", [way for way in WAYS if way.make is ModelStudio], ids=lambda way: way.name)
@pytest.mark.parametrize("fails", [False, True])
async def test_events_and_callbacks_contain_no_key(way: Way, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for LlamaIndex's events and callbacks."""
    dialect = DIALECTS["openai"]
    listens, payloads = Listens(), Payloads()
    monkeypatch.setattr(root := get_dispatcher(), "event_handlers", [*root.event_handlers, listens])
    with Loopback(lambda exchange: (echoes if fails else good)(exchange, dialect)) as server:
        llm = ModelStudio(
            model="qwen-plus", base_url=server.url, api_key=KEY, callback_manager=CallbackManager([payloads]),
            default_headers={"x-gateway-token": HEADER}, max_retries=0,
        )  # fmt: skip
        await way(llm)
    assert len(listens.told) >= 2
    assert len(payloads.told) >= 2
    told = "".join(listens.told) + "".join(payloads.told)
    assert "qwen-plus" in told
    shows_no_secret(told)


def echoes(exchange: Exchange, dialect: Dialect) -> None:
    """A server that echoes the key wherever possible."""
    value = dialect.error(f"Invalid-{KEY}", f"No such key: {KEY}", request_id=f"{REQUEST_ID} {KEY}")
    headers = {"content-type": "application/json", "x-key": KEY, f"x-{KEY}": "1", "retry-after": "0"}
    replied(401, json.dumps(value).encode(), headers)(exchange, dialect)


def written_as(form: str) -> bytes:
    """The key with each character in this form."""
    return "".join(form.format(ord(character)) for character in KEY).encode()


ECHOES: dict[str, tuple[Any, ...]] = {
    "in an error": (echoes,),
    "in a page": (replied(403, f"<html>{KEY}</html>".encode(), {"content-type": "text/html"}),),
    "in a redirect": (replied(307, b"", {"location": f"https://elsewhere.invalid/?key={KEY}"}),),
    "in a body that is none": (replied(200, f"key={KEY}".encode()),),
    "in an error event": streamed(begun_bytes, error_event(401, "x", "x", f"Expired: {KEY}")),
    "in an event of another shape": streamed(begun_bytes, lambda it: it.event(json.dumps({"x": KEY}).encode())),
    "in an event that is no JSON": streamed(begun_bytes, lambda it: it.event(KEY.encode())),
    "in an error, for JSON": (
        replied(401, b'{"error": {"message": "No: %b", "code": "x"}}' % written_as(r"\u{:04x}")),
    ),
    "in an error event, as text": streamed(begun_bytes, b"event: error\ndata: No: %b\n\n" % written_as(r"\u{:04x}")),
    "before a reset": (*streamed(lambda it: f": {KEY}\n\n".encode())[:-1], pause, reset),
}


# each way through one protocol, in turns: what is shown is written by tools that take their time
@pytest.mark.parametrize(
    ("way", "dialect"),
    list(zip(WAYS, itertools.cycle(DIALECTS.values()), strict=False)),
    ids=[way.name for way in WAYS],
)
@pytest.mark.parametrize("steps", ECHOES.values(), ids=list(ECHOES))
@pytest.mark.rotated
async def test_key_echoed_by_server_is_redacted(
    steps: tuple[Any, ...], dialect: Dialect, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the error, its causes, local variables of the traceback, nor logs."""
    caplog.set_level(logging.DEBUG)

    def script(exchange: Exchange) -> None:
        for step in steps:
            step(exchange, dialect)

    with Loopback(script) as server:
        llm = way.make(
            model="qwen-plus", base_url=server.url, api_key=KEY, protocol=dialect.name, streaming=way.streams,
            max_retries=0, default_headers={"x-gateway-token": HEADER},
        )  # fmt: skip
        heard = await way(llm)
    error = heard.error
    assert error is not None
    shown = "".join(written_errors(error))
    shows_no_secret(shown)
    shows_no_secret(re.sub(r"\\+u00(..)", read_back, shown))  # nor escaped for JSON
    ours = [record for record in caplog.records if record.name.startswith("modelstudio")]
    assert ours
    shows_no_secret("".join(f"{record.getMessage()} {record.args} {vars(record)}" for record in ours))


def read_back(escape: re.Match[str]) -> str:
    """Return the character of a hexadecimal escape."""
    return chr(int(escape[1], 16)) if re.fullmatch("[0-9A-Fa-f]{2}", escape[1]) else escape[0]


def written_errors(error: BaseException) -> Iterator[str]:
    """Return an error in every form in which tools display it."""
    yield repr(error) + str(error) + repr(error.__dict__) + repr(error.args)
    yield repr(pickle.dumps(error))
    yield "".join(traceback.format_exception(error))
    yield "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    out = StringIO()
    kind, trace = type(error), error.__traceback__
    Console(file=out, width=300).print(
        Traceback.from_exception(kind, error, trace, show_locals=True, locals_max_string=999)
    )
    yield out.getvalue()
    info = pytest.ExceptionInfo.from_exc_info((kind, error, trace))  # type: ignore[arg-type]
    yield str(info.getrepr(showlocals=True, funcargs=True, chain=True))
    link: BaseException | None = error
    while link is not None:
        yield repr(link) + repr(vars(link)) + repr(getattr(link, "request", None) and vars(link.request))
        link = link.__cause__ or link.__context__


@every_adapter
def test_interrupted_call_exposes_no_key(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Foreign exceptions pass only through frames without the key in local variables."""
    way = next(way for way in WAYS if way.make is MAKERS[adapter])

    def interrupted(_: Exchange) -> None:
        raise AssertionError

    with Loopback(interrupted) as server:
        llm = MAKERS[adapter](model="qwen-plus", base_url=server.url, api_key=KEY)
        transport = llm._core_client().transport

        def interrupt(*_: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr("modelstudio_core.http.pool.ConnectionPool.handle_request", interrupt)
        with pytest.raises(KeyboardInterrupt) as raised:
            way.ask(llm, None)  # type: ignore[arg-type]
        del transport
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    ours = [
        frame for frame in shown.stack if "modelstudio" in frame.filename and "tests" not in Path(frame.filename).parts
    ]
    assert ours
    for frame in ours:
        shows_no_secret(repr(frame.locals))


# ---------------------------------------------------------------- logs


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_logs_contain_request_id_but_no_key_or_text(
    way: Way, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    """At any level of any logger, including httpx: no key, no question, no answer, but a request ID."""
    caplog.set_level(1)
    with Loopback(lambda exchange: good(exchange, dialect)) as server:
        llm = way.make(model="qwen-plus", base_url=server.url, api_key=KEY, protocol=dialect.name)
        assert (await way(llm)).text == TEXT
    told = "".join(f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records)
    shows_no_secret(told)
    assert PROMPT not in told
    assert "scatters" not in told
    ours = [record.getMessage() for record in caplog.records if record.name == "modelstudio_core"]
    assert any(REQUEST_ID in line for line in ours)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("by_body", [True, False], ids=["body", "header"])
async def test_request_id_equal_to_key_is_not_logged(by_body: bool, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """In our log of a success. (httpcore's DEBUG log contains it.)"""
    caplog.set_level(logging.DEBUG, "modelstudio_core")
    dialect = DIALECTS["openai"]
    said = dialect.whole(TEXT) | ({"request_id": f"Bearer {KEY}"} if by_body else {})
    answer = replied(200, written(said), {**JSON, "x-request-id": f"Bearer {KEY}"})
    with Loopback(lambda exchange: answer(exchange, dialect)) as server:
        heard = await way(way.make(model="qwen-plus", base_url=server.url, api_key=KEY))
    assert heard.text == TEXT
    assert heard.request_id == f"Bearer {KEY}"  # an answer is never rewritten
    ours = [record.getMessage() for record in caplog.records if record.name == "modelstudio_core"]
    assert any("request id Bearer [redacted]" in line for line in ours)
    shows_no_secret("".join(ours))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
async def test_callers_credentials_are_redacted_in_errors(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A gateway's token in `default_headers` is redacted like the key."""
    caplog.set_level(logging.DEBUG, "modelstudio_core")
    token = "gw-secret-abcdef0123456789"
    said = {"error": {"message": f"unknown token {token}", "code": token}}
    answer = replied(400, written(said), {**JSON, "x-request-id": token})
    with Loopback(lambda exchange: answer(exchange, DIALECTS["openai"])) as server:
        llm = way.make(model="qwen-plus", base_url=server.url, default_headers={"X-Gateway-Token": token})
        heard = await way(llm)
    assert isinstance(heard.error, BadRequestError)
    assert token not in caplog.text + repr(heard.error) + repr(heard.error.__dict__)
    assert "unknown token [redacted]" in heard.error.message


# ---------------------------------------------------------------- where the key goes

FORBIDDEN = [
    "http://example.com/v1",
    "http://10.0.0.1:8000",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://example.com.localhost.example.com",
    "http://0.0.0.0:8000",
    "http://[2001:db8::1]/v1",
    "http://128.0.0.1",
    "http://127.1.example",
]


@every_adapter
@pytest.mark.parametrize("url", FORBIDDEN)
@pytest.mark.parametrize("by_environment", [True, False], ids=["environment", "argument"])
def test_key_is_not_sent_over_plain_http(
    by_environment: bool, url: str, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except to loopback: other hosts raise an error when the object is created."""
    if by_environment:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", url)
    given = {} if by_environment else {"base_url": url}
    with pytest.raises(ConfigurationError, match="plain HTTP"):
        MAKERS[adapter](model="qwen-plus", api_key=KEY, **given)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.rotated
async def test_key_is_not_sent_to_redirect_target(status: int, way: Way) -> None:
    """The target of the redirect receives nothing."""
    dialect = DIALECTS["openai"]
    with Loopback(lambda exchange: good(exchange, dialect)) as other:
        target = f"http://localhost:{other.port}/v1/chat/completions"
        moved = replied(status, b"", {"location": target})
        with Loopback(lambda exchange: moved(exchange, dialect)) as server:
            heard = await way(way.make(model="qwen-plus", base_url=server.url, api_key=KEY))
        assert isinstance(heard.error, ModelStudioError)
        assert other.connections == 0


@pytest.mark.parametrize("scheme", ["http", "all"])
async def test_key_for_loopback_bypasses_proxy(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http to loopback must not pass through another machine."""
    dialect = DIALECTS["openai"]
    with Loopback(lambda exchange: good(exchange, dialect)) as server, Loopback(lambda exchange: None) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        for way in WAYS:
            heard = await way(way.make(model="qwen-plus", base_url=server.url, api_key=KEY))
            assert (heard.text, heard.error) == (TEXT, None)
        assert proxy.connections == 0


# ---------------------------------------------------------------- cassettes


def test_cassettes_contain_no_key() -> None:
    """No cassette has an authorization header, a cookie, or something that looks like a key."""
    root = Path(__file__).parents[2] / "cassettes"
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"sk-[A-Za-z0-9]{8}|(?i:authorization|set-cookie|bearer )", text), path
