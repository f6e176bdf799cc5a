"""Reports about headers, time limits and keys of single calls, and about the headers of responses."""

from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypedDict

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
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field, SecretStr

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.errors import APITimeoutError, AuthenticationError, ConfigurationError
from tests.faults.dialects import DIALECTS
from tests.faults.ways import WAYS, Way
from tests.loopback import Exchange, Loopback, reply_json
from tests.native import is_native
from tests.service import USAGE, Answer, Call

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
PROTOCOLS = tuple(DIALECTS)
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
KEY = "sk-0123456789abcdef"
SECRET = "header-mark-5ca1ab1e0ff1ce"
HEADERS = {"X-Api-Token": SECRET, "X-Title": "a title"}


class City(BaseModel):
    """A city."""

    name: str


class CityDict(TypedDict):
    """A city."""

    name: str


def tool(name: str) -> str:
    """Find a city."""
    return name


# ---------------------------------------------------------------- every way to call a model, with options

Ask = Callable[[Any, dict[str, Any]], Any]
QUESTION = [ChatMessage("hello")]
PROMPT = PromptTemplate("Where is {what}?")
TOOLS = [FunctionTool.from_defaults(tool)]


async def each(found: Any) -> Any:
    """Wait for what an async call gives, and read a stream to its end."""
    if hasattr(found, "__await__"):
        found = await found
    if hasattr(found, "__aiter__"):
        return [item async for item in found]
    if isinstance(found, Iterator) or hasattr(found, "output"):
        return list(found)
    return found


LANGCHAIN: dict[str, Ask] = {
    "invoke": lambda llm, options: llm.invoke("hello", **options),
    "ainvoke": lambda llm, options: llm.ainvoke("hello", **options),
    "stream": lambda llm, options: llm.stream("hello", **options),
    "astream": lambda llm, options: llm.astream("hello", **options),
    "batch": lambda llm, options: llm.batch(["hello"], **options),
    "abatch": lambda llm, options: llm.abatch(["hello"], **options),
    "stream_events": lambda llm, options: llm.stream_events("hello", version="v3", **options),
    "astream_events": lambda llm, options: llm.astream_events("hello", version="v3", **options),
    "bind": lambda llm, options: llm.bind(**options).invoke("hello"),
    "bind, streamed": lambda llm, options: llm.bind(**options).astream("hello"),
    "bind_tools": lambda llm, options: llm.bind_tools([tool], **options).invoke("hello"),
    "with_structured_output": lambda llm, options: llm.with_structured_output(City, **options).invoke("hello"),
}
LLAMA_INDEX: dict[str, Ask] = {
    "chat": lambda llm, options: llm.chat(QUESTION, **options),
    "achat": lambda llm, options: llm.achat(QUESTION, **options),
    "stream_chat": lambda llm, options: llm.stream_chat(QUESTION, **options),
    "astream_chat": lambda llm, options: llm.astream_chat(QUESTION, **options),
    "complete": lambda llm, options: llm.complete("hello", **options),
    "acomplete": lambda llm, options: llm.acomplete("hello", **options),
    "stream_complete": lambda llm, options: llm.stream_complete("hello", **options),
    "astream_complete": lambda llm, options: llm.astream_complete("hello", **options),
    "chat_with_tools": lambda llm, options: llm.chat_with_tools(TOOLS, "hello", **options),
    "achat_with_tools": lambda llm, options: llm.achat_with_tools(TOOLS, "hello", **options),
    "stream_chat_with_tools": lambda llm, options: llm.stream_chat_with_tools(TOOLS, "hello", **options),
    "astream_chat_with_tools": lambda llm, options: llm.astream_chat_with_tools(TOOLS, "hello", **options),
    "predict_and_call": lambda llm, options: llm.predict_and_call(TOOLS, "hello", **options),
    "apredict_and_call": lambda llm, options: llm.apredict_and_call(TOOLS, "hello", **options),
    "structured_predict": lambda llm, options: llm.structured_predict(City, PROMPT, options, what="it"),
    "astructured_predict": lambda llm, options: llm.astructured_predict(City, PROMPT, llm_kwargs=options, what="it"),
    "as_structured_llm": lambda llm, options: llm.as_structured_llm(City).chat(QUESTION, **options),
    "as_structured_llm, async": lambda llm, options: llm.as_structured_llm(City).achat(QUESTION, **options),
    "stream_structured_predict": lambda llm, options: llm.stream_structured_predict(
        City, PROMPT, llm_kwargs=options, what="it"
    ),
    "astream_structured_predict": lambda llm, options: llm.astream_structured_predict(
        City, PROMPT, llm_kwargs=options, what="it"
    ),
}
ASKS = [(ChatModelStudio, name, ask) for name, ask in LANGCHAIN.items()]
ASKS += [(ModelStudio, name, ask) for name, ask in LLAMA_INDEX.items()]
every_ask = pytest.mark.parametrize(
    ("make", "ask"), [(make, ask) for make, _, ask in ASKS], ids=[f"{make.__name__}-{name}" for make, name, _ in ASKS]
)


def answers(exchange: Exchange) -> None:
    """Answer with a call where tools are offered, otherwise with an object."""
    offered = b'"tools"' in exchange.request.body
    answer = Answer(calls=[Call("call_1", "tool", ['{"name": "Rome"}'])], usage=USAGE)
    if b'"City"' in exchange.request.body:
        answer = Answer(calls=[Call("call_1", "City", ['{"name": "Rome"}'])], usage=USAGE)
    (answer if offered else Answer(text=['{"name": ', '"Rome"}'], usage=USAGE))(exchange)


def model(make: Any, server: Loopback, **settings: Any) -> Any:
    return make(**{"model": "qwen-plus", "base_url": server.url, "max_retries": 0, "api_key": KEY, **settings})


# ---------------------------------------------------------------- headers and time limits of a call


@pytest.mark.report(20)
@every_protocol
@every_ask
async def test_extra_headers_are_sent(make: Any, ask: Ask, protocol: str) -> None:
    """They are added to `default_headers`, whatever the case of their names, and the caller's dict stays."""
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
    """It takes the place of the object's for this call."""
    with (
        Loopback(lambda exchange: exchange.client_gone(5)) as server,
        pytest.raises(APITimeoutError, match=r"0\.05 s"),
    ):
        await each(ask(model(make, server, protocol=protocol, timeout=60), {"timeout": 0.05}))


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("way", WAYS[::2], ids=lambda way: way.name)
async def test_a_longer_timeout_of_a_call(way: Way, protocol: str) -> None:
    """It may be longer than the object's, and a stream uses it between two chunks."""

    def slow(exchange: Exchange) -> None:
        exchange.wait(0.1)
        answers(exchange)

    with Loopback(slow) as server:
        llm = model(way.make, server, protocol=protocol, timeout=0.02)
        ask = (LANGCHAIN | LLAMA_INDEX)[way.name]
        await each(ask(llm, {"timeout": {"read": 5.0}}))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"extra_headers": {"Authorization": "Bearer sk-other"}}, "extra_headers may not hold Authorization"),
    ({"extra_headers": {"AUTHORIZATION": "x"}}, "extra_headers may not hold Authorization"),
    ({"extra_headers": "X-A: b"}, "extra_headers takes a mapping"),
    ({"extra_headers": {"X-A": 1}}, "header 'X-A' must be str"),
    ({"extra_headers": {"X-A": "[redacted]"}}, "X-A was redacted where it was stored"),
    ({"timeout": -1}, "timeout= takes positive numbers"),
    ({"timeout": "soon"}, "timeout="),
    ({"default_headers": {"X-A": "b"}}, "extra_headers is for one call"),
    ({"api_key": KEY}, "api_key is set on the model object"),
]


@pytest.mark.report(20)
@pytest.mark.parametrize(("options", "says"), REFUSED)
@pytest.mark.parametrize(("make", "name"), [(ChatModelStudio, "invoke"), (ModelStudio, "achat")])
async def test_what_is_refused(make: Any, name: str, options: dict[str, Any], says: str) -> None:
    """An error names what is wrong, and nothing is sent."""
    with Loopback(answers) as server:
        with pytest.raises(ConfigurationError, match=says):
            await each((LANGCHAIN | LLAMA_INDEX)[name](model(make, server), options))
        assert not server.requests


@pytest.mark.report(20)
async def test_document_context_extractor() -> None:
    """LlamaIndex's extractor passes `extra_headers`, and gets a context for each node."""
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
    """Keeps all that LangChain's callbacks and tracers are told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.told.append(run.model_dump_json())

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        self.told.append(repr(args) + repr(kwargs) + json.dumps(kwargs, default=repr))
        return super().on_chat_model_start(*args, **kwargs)


class Events(BaseEventHandler):
    """Keeps LlamaIndex's events."""

    told: list[str] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        self.told.append(repr(event) + json.dumps(event.model_dump(), default=repr))


class Spans(SimpleSpanHandler):
    """Keeps the arguments that LlamaIndex's spans are told."""

    told: list[str] = Field(default_factory=list)

    def span_enter(self, id_: str, bound_args: Any, *args: Any, **kwargs: Any) -> None:
        self.told.append(repr(bound_args) + json.dumps(bound_args.arguments, default=repr))
        super().span_enter(id_, bound_args, *args, **kwargs)


class Payloads(BaseCallbackHandler):
    """Keeps LlamaIndex's callback payloads."""

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
    """Refuse, and repeat the headers."""
    said = {"code": "InvalidParameter", "message": f"bad {SECRET} and {exchange.request.headers['authorization']}"}
    reply_json(400, said if is_native(exchange.request) else {"error": said})(exchange)


@pytest.mark.report(20)
@pytest.mark.parametrize("script", [answers, echoes], ids=["answered", "refused"])
@every_ask
async def test_no_trace_has_a_secret_of_a_call(
    make: Any,
    ask: Ask,
    script: Callable[[Exchange], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither a tracer, an event, a span, a payload nor a log has the values of `extra_headers`, or a provided key."""
    caplog.set_level(logging.DEBUG)
    tracer, events, spans, payloads = Tracer(), Events(), Spans(), Payloads()
    root = get_dispatcher()
    monkeypatch.setattr(root, "event_handlers", [*root.event_handlers, events])
    monkeypatch.setattr(root, "span_handlers", [*root.span_handlers, spans])
    watched: dict[str, Any] = {"callbacks": [tracer], "cache": InMemoryCache()}
    if make is ModelStudio:
        watched = {"callback_manager": CallbackManager([payloads])}
    with Loopback(script) as server:
        llm = model(make, server, api_key=lambda: KEY, **watched)
        shown = ""
        try:
            await each(ask(llm, {"extra_headers": HEADERS}))
        except Exception as error:
            shown = repr(error) + str(error) + repr(vars(error))
        assert server.requests[0].headers["x-api-token"] == SECRET
    told = [*tracer.told, *events.told, *spans.told, *payloads.told]
    assert told
    shown += "".join(told) + repr(vars(watched.get("cache", llm))) + caplog.text
    assert SECRET not in shown
    assert KEY not in shown


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
def test_a_binding_shows_no_secret(bind: Callable[[ChatModelStudio], Any], written: Callable[[Any], Any]) -> None:
    """However it is written down; and it still sends the headers."""
    with Loopback(answers) as server:
        bound = bind(model(ChatModelStudio, server))
        shown = written(bound)
        assert SECRET not in str(shown)
        (shown if isinstance(shown, Runnable) else bound).invoke("hello")
        assert server.requests[0].headers["x-api-token"] == SECRET


@pytest.mark.report(20)
def test_a_pickled_binding_has_no_secret() -> None:
    """A header that is a credential is refused in a pickle; others travel."""
    with Loopback(answers) as server:
        llm = model(ChatModelStudio, server, api_key=None)
        with pytest.raises(TypeError, match="X-Api-Token"):
            pickle.dumps(llm.bind(extra_headers=HEADERS))
        again = pickle.loads(pickle.dumps(llm.bind(extra_headers={"X-Title": "a title"})))
        again.invoke("hello")
        assert server.requests[0].headers["x-title"] == "a title"


@pytest.mark.report(20)
def test_a_binding_that_was_written_down_does_not_send_what_is_left() -> None:
    """Loaded again, it asks for the headers instead of sending "[redacted]"."""
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
        with pytest.raises(ConfigurationError, match="give it again"):
            again.invoke("hello")
        assert not server.requests


@pytest.mark.report(20)
def test_headers_are_no_part_of_the_cache_key() -> None:
    """Like the API key: two calls with other headers or time limits have one answer."""
    with Loopback(answers) as server:
        llm = model(ChatModelStudio, server, cache=InMemoryCache())
        for number in range(2):
            llm.invoke("hello", extra_headers={"X-Api-Token": f"{SECRET}-{number}"}, timeout=number + 1)
        assert len(server.requests) == 1


# ---------------------------------------------------------------- a key that is asked for


class Keys:
    """A provider of keys, each used once."""

    def __init__(self) -> None:
        self.asked = 0

    def next(self) -> str:
        self.asked += 1
        return f"sk-rotating-{self.asked}"

    async def anext(self) -> str:
        return self.next()

    def secret(self) -> SecretStr:
        return SecretStr(self.next())

    def awaitable(self) -> Any:
        return self.anext()

    def __call__(self) -> str:
        return self.next()


class AsyncKeys(Keys):
    async def __call__(self) -> str:  # type: ignore[override]
        return self.next()


def throttled(exchange: Exchange) -> None:
    said = {"code": "Throttling", "message": "Slow down."}
    body = said if is_native(exchange.request) else {"error": said}
    reply_json(429, body, {"retry-after": "0"})(exchange)


def sent_keys(server: Loopback) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


SYNC_PROVIDERS: dict[str, Callable[[Keys], Any]] = {
    "method": lambda keys: keys.next,
    "object": lambda keys: keys,
    "partial": lambda keys: partial(Keys.next, keys),
    "SecretStr": lambda keys: keys.secret,
    "lambda": lambda keys: lambda: f" {keys.next()}\n",
}
ASYNC_PROVIDERS: dict[str, Callable[[Keys], Any]] = {
    "method": lambda keys: keys.anext,
    "partial": lambda keys: partial(Keys.anext, keys),
    "lambda": lambda keys: lambda: keys.anext(),
    "awaitable": lambda keys: keys.awaitable,
}
ASYNC_WAYS = [way for way in WAYS if way.name.startswith("a")]
SYNC_WAYS = [way for way in WAYS if not way.name.startswith("a")]


@pytest.mark.report(20)
@every_protocol
@every_way
@pytest.mark.parametrize("provider", SYNC_PROVIDERS.values(), ids=list(SYNC_PROVIDERS))
async def test_a_key_is_asked_for_at_each_request(provider: Callable[[Keys], Any], way: Way, protocol: str) -> None:
    """Each request, also a retry, has the key that the function returns then."""
    keys = Keys()
    with Loopback([throttled, answers]) as server:
        llm = model(way.make, server, api_key=provider(keys), protocol=protocol, max_retries=1)
        assert keys.asked == 0
        for _ in range(2):
            assert (await way(llm)).error is None
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2", "sk-rotating-3"]


@pytest.mark.report(20)
@every_protocol
@pytest.mark.parametrize("way", ASYNC_WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(
    "provider", [*ASYNC_PROVIDERS.values(), lambda keys: AsyncKeys()], ids=[*ASYNC_PROVIDERS, "object"]
)
async def test_an_async_function_is_awaited(provider: Callable[[Keys], Any], way: Way, protocol: str) -> None:
    """In the caller's event loop."""
    with Loopback([throttled, answers]) as server:
        llm = model(way.make, server, api_key=provider(Keys()), protocol=protocol, max_retries=1)
        assert (await way(llm)).error is None
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2"]


@pytest.mark.report(20)
@pytest.mark.parametrize("way", SYNC_WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize(
    "provider", [*ASYNC_PROVIDERS.values(), lambda keys: AsyncKeys()], ids=[*ASYNC_PROVIDERS, "object"]
)
async def test_an_async_function_in_a_sync_call(provider: Callable[[Keys], Any], way: Way) -> None:
    """A sync call cannot wait for it, and says so."""
    with Loopback(answers) as server:
        error = (await way(model(way.make, server, api_key=provider(Keys())))).error
        assert isinstance(error, ConfigurationError)
        assert "use the async methods" in error.message
        assert not server.requests
    gc.collect()  # a coroutine that nobody awaited would warn here


def raises() -> str:
    raise RuntimeError("the vault is closed")


BAD_KEYS: list[tuple[str, Any, str]] = [
    ("raises", raises, "RuntimeError: the vault is closed"),
    ("none", lambda: None, "returned NoneType"),
    ("a number", lambda: 7, "returned int"),
    ("empty", lambda: "", "the API key is empty"),
    ("a line end inside", lambda: "sk-a\nb", "characters that no key has"),
]


@pytest.mark.report(20)
@every_way
@pytest.mark.parametrize(("provider", "says"), [row[1:] for row in BAD_KEYS], ids=[row[0] for row in BAD_KEYS])
async def test_a_function_that_gives_no_key(provider: Any, says: str, way: Way) -> None:
    """An error says what it did, and nothing is sent."""
    with Loopback(answers) as server:
        error = (await way(model(way.make, server, api_key=provider, max_retries=2))).error
        assert isinstance(error, ConfigurationError)
        assert says in error.message
        assert not server.requests


@pytest.mark.report(20)
@every_protocol
@every_way
async def test_the_key_of_an_attempt_is_redacted(way: Way, protocol: str) -> None:
    """An error shows neither the key of this attempt nor one of an earlier one."""

    def echo(exchange: Exchange) -> None:
        said = {"code": "InvalidApiKey", "message": f"No: {exchange.request.headers['authorization']}"}
        reply_json(401, said if is_native(exchange.request) else {"error": said})(exchange)

    with Loopback([throttled, echo]) as server:
        error = (await way(model(way.make, server, api_key=Keys(), protocol=protocol, max_retries=1))).error
    assert isinstance(error, AuthenticationError)
    assert "Bearer [redacted]" in error.message
    assert "rotating" not in repr(vars(error)) + str(error)


@pytest.mark.report(20)
@pytest.mark.parametrize("name", ["get_text_embedding", "aget_text_embedding"])
async def test_embeddings_ask_for_the_key(name: str) -> None:
    """Each of their requests has the key that the function returns then."""

    def embeds(exchange: Exchange) -> None:
        reply_json(200, {"data": [{"index": 0, "embedding": [1.0]}]})(exchange)

    with Loopback([throttled, embeds]) as server:
        embedding = ModelStudioEmbedding(  # type: ignore[call-arg]
            model="text-embedding-v4", base_url=server.url, api_key=Keys(), max_retries=1
        )
        assert await each(getattr(embedding, name)("a")) == [1.0]
        assert sent_keys(server) == ["sk-rotating-1", "sk-rotating-2"]


@pytest.mark.report(20)
@pytest.mark.parametrize("make", [ChatModelStudio, ModelStudio, ModelStudioEmbedding])
def test_a_function_is_kept_as_a_key_is(make: Any) -> None:
    """Copies share it; what is written down does not have it; over plain http it is refused."""
    keys = Keys()
    llm = make(model="qwen-plus", api_key=keys, base_url="http://127.0.0.1:9")
    assert copy.deepcopy(llm).api_key is keys
    assert llm.model_copy().api_key is keys
    assert "Keys" not in repr(llm) + str(llm.model_dump())
    if make is ChatModelStudio:
        assert dumpd(llm)["kwargs"]["api_key"] == {"lc": 1, "type": "secret", "id": ["DASHSCOPE_API_KEY"]}
    if make is not ChatModelStudio:  # a field of langchain-core has no schema
        assert "api_key" in make.model_json_schema()["properties"]
    with pytest.raises(ConfigurationError, match="plain http"):
        make(model="qwen-plus", api_key=keys, base_url="http://10.0.0.1/v1")
    assert keys.asked == 0


# ---------------------------------------------------------------- headers of a response


def tells(exchange: Exchange) -> None:
    """Answer with headers of several kinds."""
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
    """They are in the metadata, of one chunk in a stream, without cookies, tokens and what repeats the key."""
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
    """They are in the `additional_kwargs` of the last response."""
    with Loopback(tells) as server:
        found = await each(LLAMA_INDEX[name](model(ModelStudio, server, protocol=protocol, **settings), options))
        response = found[-1] if isinstance(found, list) else found
        headers = response.additional_kwargs["headers"]
        assert headers["x-region"] == "eu"
        assert not headers.keys() & {"set-cookie", "x-session-token", "x-echo"}


@pytest.mark.report(20)
def test_response_headers_in_v3_events() -> None:
    """The event that ends a message has them."""
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
@pytest.mark.parametrize("schema", [City, CityDict])
async def test_a_class_as_response_format(schema: Any, ask: Ask, protocol: str) -> None:
    """It is sent as the json_schema that it has."""
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
async def test_a_class_as_response_format_in_llama_index(name: str, protocol: str) -> None:
    """A pydantic class is sent as its json_schema there as well."""
    with Loopback(answers) as server:
        await each(LLAMA_INDEX[name](model(ModelStudio, server, protocol=protocol), {"response_format": City}))
        body = server.requests[0].json()
    sent = (body["parameters"] if protocol == "dashscope" else body)["response_format"]
    assert sent["json_schema"]["name"] == "City"
    assert sent["json_schema"]["schema"]["properties"]["name"]["type"] == "string"
