"""Headers and timeouts of single calls, and headers of responses."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, dumps, load
from langchain_core.runnables import Runnable, RunnableBinding
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.extractors import DocumentContextExtractor
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from pydantic import Field

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.errors import APITimeoutError, ConfigurationError
from tests.faults.dialects import DIALECTS
from tests.faults.ways import WAYS, Way
from tests.loopback import Exchange, Loopback, reply_json
from tests.native import is_native
from tests.reported.calls import (
    KEY,
    LANGCHAIN,
    LLAMA_INDEX,
    Ask,
    City,
    CityData,
    CityDict,
    answers,
    each,
    every_ask,
    every_protocol,
    model,
    tool,
)
from tests.service import USAGE, Answer

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
SECRET = "header-mark-5ca1ab1e0ff1ce"
HEADERS = {"X-Api-Token": SECRET, "X-Title": "a title"}


# ---------------------------------------------------------------- headers and time limits of a call


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # streams of LlamaIndex's
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")  # StructuredLLM
@pytest.mark.report(20)
@every_protocol
@every_ask
async def test_extra_headers_are_sent(make: Any, ask: Ask, protocol: str) -> None:
    """In addition to `default_headers`, matched case-insensitively. The caller's dict is not changed."""
    options = {"extra_headers": dict(HEADERS), "timeout": httpx.Timeout(20)}
    with Loopback(answers) as server:
        llm = model(make, server, protocol=protocol, default_headers={"x-title": "another", "X-Team": "a"})
        await each(ask(llm, options))
        (request,) = server.requests
        await each(ask(llm, {}))
    sent = {name: request.headers.get(name) for name in ("x-api-token", "x-title", "x-team", "authorization")}
    assert sent == {"x-api-token": SECRET, "x-title": "a title", "x-team": "a", "authorization": f"Bearer {KEY}"}
    assert server.requests[1].headers["x-title"] == "another"
    assert options["extra_headers"] == HEADERS
    assert "extra_headers" not in request.json()
    assert "timeout" not in request.json()


@pytest.mark.report(20)
@every_protocol
@every_ask
async def test_a_timeout_of_a_call(make: Any, ask: Ask, protocol: str) -> None:
    """It replaces that of the object."""
    with (
        Loopback(lambda exchange: exchange.client_gone(5)) as server,
        pytest.raises(APITimeoutError, match=r"0\.05 s"),
    ):
        await each(ask(model(make, server, protocol=protocol, timeout=60), {"timeout": 0.05}))


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("way", WAYS[::2], ids=lambda way: way.name)
async def test_a_longer_timeout_of_a_call(way: Way, protocol: str) -> None:
    """A stream uses it between chunks."""

    def slow(exchange: Exchange) -> None:
        exchange.wait(0.1)
        answers(exchange)

    with Loopback(slow) as server:
        llm = model(way.make, server, protocol=protocol, timeout=0.02)
        ask = (LANGCHAIN | LLAMA_INDEX)[way.name]
        await each(ask(llm, {"timeout": {"read": 5.0}}))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"extra_headers": {"Authorization": "Bearer sk-other"}}, "extra_headers must not contain Authorization"),
    ({"extra_headers": {"AUTHORIZATION": "x"}}, "extra_headers must not contain Authorization"),
    ({"extra_headers": "X-A: b"}, "extra_headers must be a mapping"),
    ({"extra_headers": {"X-A": 1}}, "header 'X-A' must be str"),
    ({"extra_headers": {"X-A": "[redacted]"}}, "X-A is redacted"),
    ({"extra_headers": {"X-A": "b\n"}}, "the value of X-A must be ASCII"),
    ({"extra_headers": {"X-A": " b"}}, "the value of X-A must be ASCII"),
    ({"extra_headers": {"X-A": "b\u00e9"}}, "the value of X-A must be ASCII"),
    ({"extra_headers": {"X A": "b"}}, "'X A' is not a valid header name"),
    ({"timeout": -1}, "timeout= must be a positive number"),
    ({"timeout": "soon"}, "timeout="),
    ({"include_response_headers": "all"}, "include_response_headers='all' is invalid"),
    ({"default_headers": {"X-A": "b"}}, "for one call, use extra_headers"),
    ({"api_key": KEY}, "api_key is a setting of the model object"),
]


@pytest.mark.report(20)
@pytest.mark.parametrize(("options", "says"), REFUSED)
@pytest.mark.parametrize(("make", "name"), [(ChatModelStudio, "invoke"), (ModelStudio, "achat")])
async def test_invalid_options(make: Any, name: str, options: dict[str, Any], says: str) -> None:
    """The error has the reason, and nothing is sent."""
    with Loopback(answers) as server:
        with pytest.raises(ConfigurationError, match=says):
            await each((LANGCHAIN | LLAMA_INDEX)[name](model(make, server), options))
        assert not server.requests


@pytest.mark.report(20)
async def test_document_context_extractor() -> None:
    """LlamaIndex's extractor passes `extra_headers`, and gets a context per node."""
    store = SimpleDocumentStore()
    document = Document(text="Rome is old.", id_="doc")
    store.add_documents([document])
    node = TextNode(text="Rome")
    node.relationships = {"1": document.as_related_node_info()}  # type: ignore[dict-item]  # the source
    with Loopback(Answer(text=["A context."], usage=USAGE)) as server:
        extractor = DocumentContextExtractor(docstore=store, llm=model(ModelStudio, server), max_context_length=1000)
        (found,) = await extractor.aextract([node])
    assert found == {"context": "A context."}
    assert server.requests[0].headers["anthropic-beta"] == "prompt-caching-2024-07-31"


# ---------------------------------------------------------------- secrets of a call in traces


class Tracer(BaseTracer):
    """Stores everything that LangChain's callbacks and tracers receive."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.told.append(run.model_dump_json())

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        self.told.append(repr(args) + repr(kwargs) + json.dumps(kwargs, default=repr))
        return super().on_chat_model_start(*args, **kwargs)


class Events(BaseEventHandler):
    """Stores LlamaIndex's events."""

    told: list[str] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        self.told.append(repr(event) + json.dumps(event.model_dump(), default=repr))


class Spans(SimpleSpanHandler):
    """Stores the arguments of LlamaIndex's spans."""

    told: list[str] = Field(default_factory=list)

    def span_enter(self, id_: str, bound_args: Any, *args: Any, **kwargs: Any) -> None:
        self.told.append(repr(bound_args) + json.dumps(bound_args.arguments, default=repr))
        super().span_enter(id_, bound_args, *args, **kwargs)


class Payloads(BaseCallbackHandler):
    """Stores LlamaIndex's callback payloads."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.told: list[str] = []

    def on_event_start(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> str:
        self.told.append(repr(payload) + json.dumps(payload, default=repr))
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        self.told.append(repr(payload))

    def start_trace(self, trace_id: str | None = None) -> None: ...

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None: ...


def echoes(exchange: Exchange) -> None:
    """Reject the request, and echo its headers."""
    said = {"code": "InvalidParameter", "message": f"bad {SECRET} and {exchange.request.headers['authorization']}"}
    reply_json(400, said if is_native(exchange.request) else {"error": said})(exchange)


@pytest.mark.report(20)
@pytest.mark.parametrize("script", [answers, echoes], ids=["answered", "refused"])
@every_ask
async def test_traces_contain_no_secrets(
    make: Any,
    ask: Ask,
    script: Callable[[Exchange], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither traces, events, payloads nor logs have values of `extra_headers` or a key."""
    caplog.set_level(logging.DEBUG)
    with Loopback(script) as server:
        shown = await told_of(make, server, ask, {"extra_headers": HEADERS}, monkeypatch) + caplog.text
        assert server.requests[0].headers["x-api-token"] == SECRET
    assert len(shown) > 100
    assert SECRET not in shown
    assert KEY not in shown


async def told_of(
    make: Any, server: Loopback, ask: Ask, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return everything that tracers, events, spans, payloads, a cache and the error receive."""
    tracer, events, spans, payloads = Tracer(), Events(), Spans(), Payloads()
    root = get_dispatcher()
    monkeypatch.setattr(root, "event_handlers", [*root.event_handlers, events])
    monkeypatch.setattr(root, "span_handlers", [*root.span_handlers, spans])
    watched: dict[str, Any] = {"callbacks": [tracer], "cache": InMemoryCache()}
    if make is ModelStudio:
        watched = {"callback_manager": CallbackManager([payloads])}
    llm = model(make, server, api_key=lambda: KEY, **watched)
    shown = repr(vars(watched.get("cache", llm)))
    try:
        await each(ask(llm, options))
    except Exception as error:
        shown += repr(error) + str(error) + repr(vars(error))
    told = [*tracer.told, *events.told, *spans.told, *payloads.told]
    return shown + repr(vars(watched.get("cache", llm))) + "".join(told)


REFUSED_SECRETS: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": SECRET},
    "another name of the key": {"dashscope_api_key": SECRET},
    "default_headers": {"default_headers": HEADERS},
    "headers as a list": {"extra_headers": [*HEADERS.items()]},
    "headers as text": {"extra_headers": SECRET},
    "a line end": {"extra_headers": {"X-Api-Token": SECRET + "\n"}},
    "a blank at the end": {"extra_headers": {"X-Api-Token": SECRET + " "}},
}


@pytest.mark.report(20)
@pytest.mark.parametrize("options", REFUSED_SECRETS.values(), ids=list(REFUSED_SECRETS))
@every_ask
@pytest.mark.rotated
async def test_rejected_options_are_not_traced(
    make: Any, ask: Ask, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They raise an error before tracing or logging."""
    caplog.set_level(logging.DEBUG)
    with Loopback(answers) as server:
        shown = await told_of(make, server, ask, options, monkeypatch) + caplog.text
        assert not server.requests
    assert "ConfigurationError" in shown
    assert SECRET not in shown


def test_a_prompt_may_have_any_variables() -> None:
    """Variables of a prompt template are not options of the call."""
    prompt = PromptTemplate("What is {api_key} in {default_headers}?")
    with Loopback(answers) as server:
        llm = model(ModelStudio, server)
        llm.structured_predict(City, prompt, api_key="a key", default_headers={"a": "b"})
        assert "What is a key in {'a': 'b'}?" in server.requests[0].body.decode()


BOUND: dict[str, Callable[[ChatModelStudio], Any]] = {
    "bind": lambda llm: llm.bind(extra_headers=HEADERS),
    "bind again": lambda llm: llm.bind(extra_headers=HEADERS).bind(stop=["x"]),
    "bind_tools": lambda llm: llm.bind_tools([tool], extra_headers=HEADERS),
    "a chain": lambda llm: llm.with_structured_output(City, extra_headers=HEADERS),
    "retries": lambda llm: llm.bind(extra_headers=HEADERS).with_retry(),
}
WRITTEN: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "dumps": dumps,
    "dumpd": dumpd,
    "a copy": copy.deepcopy,
    "graph": lambda bound: bound.get_graph().to_json(),
}


@pytest.mark.report(20)
@pytest.mark.parametrize("bind", BOUND.values(), ids=list(BOUND))
@pytest.mark.parametrize("written", WRITTEN.values(), ids=list(WRITTEN))
@pytest.mark.rotated
def test_a_serialized_binding_has_no_secrets(
    bind: Callable[[ChatModelStudio], Any], written: Callable[[Any], Any]
) -> None:
    """In any form. It still sends the headers."""
    with Loopback(answers) as server:
        bound = bind(model(ChatModelStudio, server))
        shown = written(bound)
        assert SECRET not in str(shown)
        (shown if isinstance(shown, Runnable) else bound).invoke("hello")
        assert server.requests[0].headers["x-api-token"] == SECRET


@pytest.mark.report(20)
def test_a_pickled_binding_has_no_secrets() -> None:
    """Credential headers raise an error when pickled. Other headers are kept."""
    with Loopback(answers) as server:
        llm = model(ChatModelStudio, server, api_key=None)
        with pytest.raises(TypeError, match="X-Api-Token"):
            pickle.dumps(llm.bind(extra_headers=HEADERS))
        again = pickle.loads(pickle.dumps(llm.bind(extra_headers={"X-Title": "a title"})))
        again.invoke("hello")
        assert server.requests[0].headers["x-title"] == "a title"


@pytest.mark.report(20)
def test_a_loaded_binding_with_redacted_headers() -> None:
    """It raises an error instead of sending "[redacted]"."""
    with Loopback(answers) as server:
        bound = model(ChatModelStudio, server).bind(extra_headers=HEADERS)
        assert bound.kwargs["extra_headers"] == HEADERS
        again = load(
            dumpd(bound),
            valid_namespaces=["langchain_modelstudio"],
            allowed_objects="all",
            secrets_map={"DASHSCOPE_API_KEY": KEY},
        )
        assert isinstance(again, RunnableBinding)
        with pytest.raises(ConfigurationError, match="pass the original value"):
            again.invoke("hello")
        assert not server.requests


@pytest.mark.report(20)
def test_headers_are_no_part_of_the_cache_key() -> None:
    """Nor are timeouts: such calls share a cached answer."""
    with Loopback(answers) as server:
        llm = model(ChatModelStudio, server, cache=InMemoryCache())
        for number in range(2):
            llm.invoke("hello", extra_headers={"X-Api-Token": f"{SECRET}-{number}"}, timeout=number + 1)
        assert len(server.requests) == 1


# ---------------------------------------------------------------- headers of a response


def tells(exchange: Exchange) -> None:
    """Answer with several headers."""
    headers = {"x-region": "eu", "Set-Cookie": "a=b", "x-session-token": "c", "x-echo": f"Bearer {KEY}"}
    if is_native(exchange.request):
        streams, body = exchange.request.headers.get("x-dashscope-sse"), DIALECTS["dashscope"]
    else:
        streams, body = exchange.request.json().get("stream"), DIALECTS["openai"]
    kind = "text/event-stream" if streams else "application/json"
    exchange.send_head(200, {**headers, "content-type": kind})
    exchange.send_chunk(body.stream("hello") if streams else json.dumps(body.whole("hello")).encode())


LANGCHAIN_PIECES: dict[str, Ask] = {
    "invoke": LANGCHAIN["invoke"],
    "ainvoke": LANGCHAIN["ainvoke"],
    "stream": LANGCHAIN["stream"],
    "astream": LANGCHAIN["astream"],
}
GIVEN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "by the object": ({"include_response_headers": True}, {}),
    "by the call": ({}, {"include_response_headers": True}),
}


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("ask", LANGCHAIN_PIECES.values(), ids=list(LANGCHAIN_PIECES))
@pytest.mark.parametrize(("settings", "options"), GIVEN.values(), ids=list(GIVEN))
async def test_response_headers(settings: dict[str, Any], options: dict[str, Any], ask: Ask, protocol: str) -> None:
    """In the metadata, in one chunk of a stream, without cookies, tokens and echoed keys."""
    with Loopback(tells) as server:
        found = await each(ask(model(ChatModelStudio, server, protocol=protocol, **settings), options))
        pieces = found if isinstance(found, list) else [found]
        (headers,) = [piece.response_metadata["headers"] for piece in pieces if "headers" in piece.response_metadata]
        assert headers["x-region"] == "eu"
        assert not headers.keys() & {"set-cookie", "x-session-token", "x-echo"}
        whole = pieces[0]
        for piece in pieces[1:]:
            whole = whole + piece
        assert whole.text == "hello"
        assert whole.response_metadata["headers"] == headers
        plain = await each(ask(model(ChatModelStudio, server, protocol=protocol), {}))
    assert all("headers" not in piece.response_metadata for piece in (plain if isinstance(plain, list) else [plain]))


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("name", ["chat", "achat", "stream_chat", "astream_chat", "complete", "astream_complete"])
@pytest.mark.parametrize(("settings", "options"), GIVEN.values(), ids=list(GIVEN))
async def test_response_headers_in_llama_index(
    settings: dict[str, Any], options: dict[str, Any], name: str, protocol: str
) -> None:
    """In the `additional_kwargs` of the last response."""
    with Loopback(tells) as server:
        found = await each(LLAMA_INDEX[name](model(ModelStudio, server, protocol=protocol, **settings), options))
        response = found[-1] if isinstance(found, list) else found
        headers = response.additional_kwargs["headers"]
        assert headers["x-region"] == "eu"
        assert not headers.keys() & {"set-cookie", "x-session-token", "x-echo"}


@pytest.mark.report(20)
def test_response_headers_in_v3_events() -> None:
    """In the event that ends a message."""
    with Loopback(tells) as server:
        llm = model(ChatModelStudio, server, include_response_headers=True)
        message = llm.stream_events("hello", version="v3").output
    assert message.response_metadata["headers"]["x-region"] == "eu"


# ---------------------------------------------------------------- a class as response_format

LLAMA_FORMATS = ("chat", "achat", "stream_chat", "astream_chat", "complete", "astream_complete", "chat_with_tools")
FORMATS: dict[str, Ask] = {
    "invoke": LANGCHAIN["invoke"],
    "ainvoke": LANGCHAIN["ainvoke"],
    "stream": LANGCHAIN["stream"],
    "astream": LANGCHAIN["astream"],
    "batch": LANGCHAIN["batch"],
    "bind": LANGCHAIN["bind"],
    "bind, streamed": LANGCHAIN["bind, streamed"],
    "bind_tools": LANGCHAIN["bind_tools"],
}


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("ask", FORMATS.values(), ids=list(FORMATS))
@pytest.mark.parametrize("schema", [City, CityDict, CityData])
@pytest.mark.rotated
async def test_a_class_as_response_format(schema: Any, ask: Ask, protocol: str) -> None:
    """It is sent as json_schema."""
    with Loopback(answers) as server:
        await each(ask(model(ChatModelStudio, server, protocol=protocol), {"response_format": schema}))
        body = server.requests[0].json()
    sent = (body["parameters"] if protocol == "dashscope" else body)["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == schema.__name__
    assert sent["json_schema"]["schema"]["properties"]["name"]["type"] == "string"


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("name", LLAMA_FORMATS)
@pytest.mark.parametrize("schema", [City, CityDict, CityData])
@pytest.mark.rotated
async def test_a_class_as_response_format_in_llama_index(schema: Any, name: str, protocol: str) -> None:
    """It is sent as json_schema."""
    with Loopback(answers) as server:
        await each(LLAMA_INDEX[name](model(ModelStudio, server, protocol=protocol), {"response_format": schema}))
        body = server.requests[0].json()
    sent = (body["parameters"] if protocol == "dashscope" else body)["response_format"]
    assert sent["json_schema"]["name"] == schema.__name__
    assert sent["json_schema"]["schema"]["properties"]["name"]["type"] == "string"


@pytest.mark.report(20)
@pytest.mark.parametrize("make", [ChatModelStudio, ModelStudio])
def test_a_class_without_a_schema_as_response_format(make: Any) -> None:
    """The error has its name."""
    ask = (LANGCHAIN | LLAMA_INDEX)["invoke" if make is ChatModelStudio else "chat"]
    with (
        Loopback(answers) as server,
        pytest.raises(ConfigurationError, match=r"Loopback.* cannot be converted"),
    ):
        ask(model(make, server), {"response_format": Loopback})
