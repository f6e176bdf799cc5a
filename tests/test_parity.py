"""The same conversations give the same results in all protocols, through the core and both adapters.

Each row is requested four times (sync and async, whole and streamed) per protocol, from a service that gives the same
answer. Values that exist in one protocol only (the answer's ID, its time) are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.catalogue import model_info
from modelstudio_core.config import resolve
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.parameters import chat_request
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.types import (
    AudioPart,
    ChatResult,
    FunctionCall,
    ImagePart,
    Message,
    Part,
    ResponseDelta,
    TextPart,
    VideoPart,
)
from tests.langchain.service import call as call_langchain
from tests.llama_index.service import call as call_llama_index
from tests.loopback import Exchange, Loopback, reply_json
from tests.native import is_native
from tests.responses import speaks_responses
from tests.service import REQUEST_ID, USAGE, Answer, Call, sent

CHAT = ("openai", "dashscope")
PROTOCOLS = (*CHAT, "responses")
CORE, LANGCHAIN, LLAMA_INDEX = "core", "LangChain", "LlamaIndex"
WAYS = ("whole", "awhole", "stream", "astream")
_LANGCHAIN_WAYS = dict(zip(WAYS, ("invoke", "ainvoke", "stream", "astream"), strict=True))
_LLAMA_INDEX_WAYS = dict(zip(WAYS, ("chat", "achat", "stream_chat", "astream_chat"), strict=True))
# what only one protocol says, or that is the framework's own
_UNLIKE = (
    "id",
    "created",
    "system_fingerprint",
    "usage",
    "response_id",
)  # the counts themselves are compared as usage_metadata

_IGNORED = ("parallel_tool_calls",)  # by the service, with the Responses protocol


@dataclass(frozen=True)
class Refusal:
    """The service rejects the request, in the protocol of the request."""

    status: int
    code: str
    message: str

    def __call__(self, exchange: Exchange) -> None:
        said = {"code": self.code, "message": self.message}
        native = {**said, "request_id": REQUEST_ID}
        is_flat = is_native(exchange.request) or speaks_responses(exchange.request)
        body = native if is_flat else {"error": said, "request_id": REQUEST_ID}
        reply_json(self.status, body)(exchange)


@dataclass(frozen=True)
class Conversation:
    name: str
    answer: Callable[[Exchange], None]
    messages: Sequence[Message] = (Message("user", "hello"),)
    parameters: dict[str, Any] = field(default_factory=dict)
    model: str = "qwen-plus"
    through: tuple[str, ...] = (CORE, LANGCHAIN, LLAMA_INDEX)
    ways: tuple[str, ...] = WAYS
    protocols: tuple[str, ...] = PROTOCOLS


USER = Message("user", "hello")
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "get_time")
]
WEATHER = Call("call_1", "get_weather", ['{"city": ', '"New', ' York"}'])
TIME = Call("call_2", "get_time", ["{", "}"])
IMAGE, SEEN = "https://example.com/cat.png", Answer(text=["A ", "cat"], usage=USAGE, model="qwen-vl-max")
LOGPROBS = [{"token": t, "logprob": -0.5, "bytes": [65], "top_logprobs": []} for t in ("It ", "is")]
PARTLY = Answer(reasoning=["hm"], text=["It ", "is"], calls=[Call("call_1", "get_weather", ['{"a": '])], usage=USAGE)
MIDSTREAM = {"error": {"message": "Output data may contain inappropriate content.", "code": "data_inspection_failed"}}
LOOP = (
    USER,
    Message(
        "assistant", "", tool_calls=(FunctionCall("call_1", "get_weather", '{"city": "Rome"}'),), reasoning_content="hm"
    ),
    Message("tool", "sunny", tool_call_id="call_1"),
)
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}

CONVERSATIONS = [
    Conversation("text", Answer(text=["It ", "is", " 21"], usage=USAGE)),
    Conversation(
        "a system message and a history",
        Answer(text=["yes"], usage=USAGE),
        (Message("system", "Be brief."), USER, Message("assistant", "hi"), Message("user", "again?")),
    ),
    Conversation("text that is not ASCII", Answer(text=["你好", " 🚀\u2028\n"], usage=USAGE),
                 (Message("user", "谢谢 🚀"),)),
    Conversation("an empty answer", Answer(usage=USAGE)),
    Conversation("usage that never came", Answer(text=["It"])),
    Conversation("parameters", Answer(text=["It"], usage=USAGE),
                 parameters={"temperature": 0.5, "seed": 7, "stop": ["x"], "max_tokens": 5, "top_k": 3},
                 protocols=CHAT),
    Conversation("parameters of every protocol", Answer(text=["It"], usage=USAGE),
                 parameters={"temperature": 0.5, "top_p": 0.9, "max_tokens": 50}),
    Conversation("thinking", Answer(reasoning=["Let", " me"], text=["It ", "is"], usage=USAGE),
                 parameters={"enable_thinking": True, "thinking_budget": 50}, protocols=CHAT),
    Conversation("thinking and no text", Answer(reasoning=["Let"], usage=USAGE, finish="length"),
                 parameters={"enable_thinking": True}),
    Conversation("thinking, text and a call",
                 Answer(reasoning=["Let"], text=["It"], calls=[WEATHER], usage=USAGE),
                 parameters={"enable_thinking": True, "tools": TOOLS}),
    Conversation("a call", Answer(calls=[WEATHER], usage=USAGE), parameters={"tools": TOOLS}),
    Conversation("parallel calls", Answer(calls=[WEATHER, TIME], usage=USAGE),
                 parameters={"tools": TOOLS, "parallel_tool_calls": True}, protocols=CHAT),
    Conversation("several calls", Answer(calls=[WEATHER, TIME], usage=USAGE),
                 parameters={"tools": TOOLS, "parallel_tool_calls": False}),
    Conversation("a call without arguments", Answer(calls=[Call("call_1", "get_time", [""])], usage=USAGE),
                 parameters={"tools": TOOLS}),
    Conversation("a forced call, which ends with `stop`", Answer(calls=[WEATHER], finish="stop", usage=USAGE),
                 parameters={"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
                 protocols=CHAT),
    Conversation("a forced call", Answer(calls=[WEATHER], usage=USAGE),
                 parameters={"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}),
    Conversation("a tool's result goes back", Answer(text=["sunny"], usage=USAGE), LOOP, {"tools": TOOLS}),
    Conversation("a text cut by length", Answer(text=["It"], finish="length", usage=USAGE),
                 parameters={"max_tokens": 1}),
    Conversation("a call cut by length",
                 Answer(calls=[Call("call_1", "get_weather", ['{"city": "New'])], finish="length", usage=USAGE),
                 parameters={"tools": TOOLS}),
    Conversation("arguments that are no JSON", Answer(calls=[Call("call_1", "get_time", ["{oops}"])], usage=USAGE),
                 parameters={"tools": TOOLS}),
    Conversation("JSON", Answer(text=['{"a"', ": 1}"], usage=USAGE), (Message("user", "json please"),),
                 {"response_format": {"type": "json_object"}}, protocols=CHAT),
    Conversation("JSON by a schema", Answer(text=['{"a": 1}'], usage=USAGE), parameters={"response_format": SCHEMA},
                 protocols=CHAT),
    Conversation("log probabilities", Answer(text=["It ", "is"], logprobs=LOGPROBS, usage=USAGE),
                 parameters={"logprobs": True}, protocols=CHAT),
    Conversation("two answers", Answer(text=["heads"], others=["tails"], usage=USAGE), parameters={"n": 2},
                 through=(CORE, LANGCHAIN), ways=("whole", "awhole"), protocols=CHAT),
    Conversation("a beginning to go on from", Answer(text=["42"], usage=USAGE),
                 (USER, Message("assistant", "It is ", partial=True)), protocols=CHAT),
    Conversation("an image", SEEN, (Message("user", (TextPart("?"), ImagePart(IMAGE))),), model="qwen-vl-max"),
    Conversation("two images, inline", SEEN,
                 (Message("user", (ImagePart("data:image/png;base64,AAAA"), ImagePart(IMAGE))),), model="qwen-vl-max"),
    Conversation("pixel bounds and a mark of the cache", SEEN,
                 (Message("user", (ImagePart(IMAGE, None, 4, 8), TextPart("?", {"type": "ephemeral"}))),),
                 model="qwen-vl-max", through=(CORE, LANGCHAIN), protocols=CHAT),
    Conversation("a video", SEEN, (Message("user", (VideoPart("https://example.com/a.mp4", 2), TextPart("?"))),),
                 model="qwen-vl-max"),
    Conversation("frames", SEEN, (Message("user", (VideoPart((IMAGE,) * 4, 2), TextPart("?"))),), model="qwen-vl-max",
                 through=(CORE, LANGCHAIN), protocols=CHAT),
    Conversation("audio", SEEN, (Message("user", (AudioPart("https://example.com/a.wav", "wav"), TextPart("?"))),),
                 model="qwen-vl-max"),
    Conversation("a conversation about an image goes on", SEEN,
                 (Message("user", (TextPart("?"), ImagePart(IMAGE))), Message("assistant", "a cat"), USER),
                 model="qwen-vl-max"),
    Conversation("a mark of the cache in text", Answer(text=["It"], usage=USAGE),
                 (Message("user", (TextPart("long", {"type": "ephemeral"}), TextPart("?"))),), protocols=CHAT),
    Conversation("a wrong parameter", Refusal(400, "InvalidParameter", "Range of top_p should be (0.0, 1.0]")),
    Conversation("too long an input", Refusal(400, "InvalidParameter", "Range of input length should be [1, 9]")),
    Conversation("a wrong key", Refusal(401, "InvalidApiKey", "Incorrect API key provided.")),
    Conversation("no such model", Refusal(404, "ModelNotFound", "The model x does not exist.")),
    Conversation("throttled", Refusal(429, "Throttling.RateQuota", "Requests rate limit exceeded.")),
    Conversation("unpaid", Refusal(400, "Arrearage", "Access denied.")),
    Conversation("out of order", Refusal(500, "InternalError", "An internal error has occured.")),
    Conversation("an error in mid-answer", replace(PARTLY, usage=None, failure=MIDSTREAM),
                 parameters={"enable_thinking": True}),
    Conversation("an end without a finish", replace(PARTLY, usage=None, cut=True),
                 parameters={"enable_thinking": True}),
]  # fmt: skip
assert len({row.name for row in CONVERSATIONS}) == len(CONVERSATIONS) >= 20


CELLS = [(row, through) for row in CONVERSATIONS for through in row.through]


@pytest.mark.parametrize(("row", "through"), CELLS, ids=[f"{row.name}-{through}" for row, through in CELLS])
async def test_protocols_give_equal_results(row: Conversation, through: str) -> None:
    """Answers, usage, calls, metadata and errors are equal, and match the service's answer."""
    ask = {CORE: by_core, LANGCHAIN: by_langchain, LLAMA_INDEX: by_llama_index}[through]
    told, asked = [], []
    for protocol in row.protocols:
        with Loopback(row.answer) as server:
            told.append([await outcome(ask, server, protocol, row, way) for way in row.ways])
            assert all(("/services/aigc/" in r.path) == (protocol == "dashscope") for r in server.requests)
            unlike = _IGNORED if "responses" in row.protocols else ()
            asked.append([compared(sent(server, at), unlike) for at in range(len(server.requests))])
    assert all(each == told[0] for each in told)
    assert all(each == asked[0] for each in asked)
    if through == CORE:
        assert all(each == told[0][0] for each in told[0])
    for each in told[0]:
        assert not [said for said in said_by(row.answer) if repr(said)[1:-1] not in repr(each)]
    if not isinstance(row.answer, Refusal):
        assert "ConfigurationError" not in repr(told)


def said_by(answer: Any) -> list[str]:
    """Return the content of the service's answer, so that equal errors in both protocols are found."""
    if isinstance(answer, Refusal):
        return [answer.code, answer.message, REQUEST_ID]
    calls = [said for call in answer.calls for said in (call.id, call.name)]
    whole = [] if answer.failure or answer.cut else [answer.model]
    return ["".join(answer.text), "".join(answer.reasoning), *answer.others, *calls, *whole, REQUEST_ID]


def compared(body: dict[str, Any], unlike: tuple[str, ...]) -> dict[str, Any]:
    """Return the request without messages, whose parts differ between protocols."""
    return {name: value for name, value in body.items() if name not in ("messages", *unlike)}


async def outcome(ask: Any, server: Loopback, protocol: Any, row: Conversation, way: str) -> Any:
    """Return the result of `ask`, or the properties of the error."""
    try:
        return await ask(server, protocol, row, way)
    except ModelStudioError as error:
        partial = error.partial and (partial_choices(error.partial), error.partial.usage)
        message = error.message.replace(error.url or "nowhere", "URL")
        status = error.status_code if isinstance(row.answer, Refusal) else None  # only native events have one
        return type(error).__name__, status, error.code, error.request_id, message, partial


def partial_choices(result: ChatResult) -> Any:
    return result.choices


# ---------------------------------------------------------------- through the core


async def by_core(server: Loopback, protocol: Any, row: Conversation, way: str) -> Any:
    config = resolve(base_url=server.url, protocol=protocol, max_retries=0, environ={})
    client = Client(config, Transport(timeout=config.timeout))
    request, model = chat_request(row.model, row.messages, row.parameters), model_info(row.model)
    try:
        if way == "whole":
            result = client.complete(request, model)
        elif way == "awhole":
            result = await client.acomplete(request, model)
        elif way == "stream":
            result = fold(client.stream(request, model))
        else:
            result = fold([delta async for delta in client.astream(request, model)])
    finally:
        client.close()
        await client.aclose()
    answered = result.response
    extras = {name: value for name, value in result.extras.items() if name not in _UNLIKE}
    return replace(result, response=ResponseDelta(None, answered.request_id, answered.model), extras=extras)


# ---------------------------------------------------------------- through LangChain


async def by_langchain(server: Loopback, protocol: Any, row: Conversation, way: str) -> Any:
    llm = ChatModelStudio(model=row.model, base_url=server.url, protocol=protocol, max_retries=0)
    messages = [langchain_message(message) for message in row.messages]
    options = dict(row.parameters)
    if options.get("n"):
        generate = llm.agenerate([messages], **options) if way == "awhole" else None
        result = await generate if generate is not None else llm.generate([messages], **options)
        return [shown(generation.message) for generation in result.generations[0]]  # type: ignore[union-attr]
    return shown(await call_langchain(llm, _LANGCHAIN_WAYS[way], messages, **options))


def shown(message: Any) -> Any:
    """Return the content of a message, except what exists in one protocol only."""
    metadata = {name: value for name, value in message.response_metadata.items() if name not in _UNLIKE}
    calls = [(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    invalid = [(call["id"], call["name"], call["args"], call["error"]) for call in message.invalid_tool_calls]
    more = (message.additional_kwargs, message.usage_metadata, message.content_blocks)
    return message.content, calls, invalid, metadata, *more


def langchain_message(message: Message) -> BaseMessage:
    content = message.content
    blocks: Any = content if isinstance(content, str) else [langchain_block(part) for part in content]
    if message.role == "tool":
        return ToolMessage(blocks, tool_call_id=str(message.tool_call_id))
    if message.role != "assistant":
        return (SystemMessage if message.role == "system" else HumanMessage)(blocks)
    extra: dict[str, Any] = {"partial": True} if message.partial else {}
    if message.reasoning_content:
        extra["reasoning_content"] = message.reasoning_content
    calls: Any = [
        {"id": c.id, "name": c.name, "args": {"city": "Rome"}, "type": "tool_call"} for c in message.tool_calls
    ]
    return AIMessage(blocks, additional_kwargs=extra, tool_calls=calls)


def langchain_block(part: Part) -> dict[str, Any]:
    match part:
        case TextPart():
            block: dict[str, Any] = {"type": "text", "text": part.text}
        case ImagePart():
            block = {"type": "image", "url": part.url, "min_pixels": part.min_pixels, "max_pixels": part.max_pixels}
        case VideoPart(source=str()):
            block = {"type": "video", "url": part.source, "fps": part.fps}
        case VideoPart():
            block = {"type": "video", "video": list(part.source), "fps": part.fps}
        case AudioPart():
            block = {"type": "audio", "url": part.url, "format": part.format}
    mark = {"cache_control": part.cache_control} if part.cache_control else {}
    return {name: value for name, value in block.items() if value is not None} | mark


# ---------------------------------------------------------------- through LlamaIndex


async def by_llama_index(server: Loopback, protocol: Any, row: Conversation, way: str) -> Any:
    llm = ModelStudio(model=row.model, base_url=server.url, protocol=protocol, max_retries=0)
    messages = [llama_index_message(message) for message in row.messages]
    response = await call_llama_index(llm, _LLAMA_INDEX_WAYS[way], messages, **row.parameters)
    raw = {name: value for name, value in response.raw.items() if name not in _UNLIKE}
    more = {name: value for name, value in response.additional_kwargs.items() if name not in _UNLIKE}
    response.message.additional_kwargs.pop("response_id", None)
    return response.message, more, response.logprobs, raw


def llama_index_message(message: Message) -> ChatMessage:
    content = message.content
    blocks: list[Any] = [TextBlock(text=content)] if isinstance(content, str) else []
    for part in () if isinstance(content, str) else content:
        blocks.append(llama_index_block(part))
        if part.cache_control:
            blocks.append(CachePoint(cache_control=CacheControl(type=str(part.cache_control["type"]))))
    if message.reasoning_content:
        blocks.insert(0, ThinkingBlock(content=message.reasoning_content))
    blocks += [ToolCallBlock(tool_call_id=c.id, tool_name=c.name, tool_kwargs=c.arguments) for c in message.tool_calls]
    extra = {"tool_call_id": message.tool_call_id} if message.role == "tool" else {}
    return ChatMessage(role=message.role, blocks=blocks, additional_kwargs={**extra, "partial": message.partial})


def llama_index_block(part: Part) -> Any:
    match part:
        case TextPart():
            return TextBlock(text=part.text)
        case ImagePart():
            return ImageBlock(url=part.url)
        case VideoPart():
            return VideoBlock(url=str(part.source), fps=int(part.fps or 2))
        case AudioPart():
            return AudioBlock(url=part.url, format=part.format)
