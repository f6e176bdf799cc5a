"""Calls made with both the vendor's SDK and the core."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dashscope

from modelstudio_core.headers import SecretHeaders
from modelstudio_core.protocols.embeddings import EmbeddingRequest, MultimodalEmbeddingRequest
from modelstudio_core.protocols.rerank import RerankRequest
from modelstudio_core.types import (
    AudioPart,
    CallOptions,
    ChatRequest,
    FunctionCall,
    ImagePart,
    Message,
    TextPart,
    VideoPart,
)

Json = dict[str, Any]
Request = ChatRequest | EmbeddingRequest | MultimodalEmbeddingRequest | RerankRequest


@dataclass(frozen=True)
class Call:
    """One call with the SDK and with the core."""

    name: str
    sdk: Callable[[], Any]
    ours: Request
    stream: bool = False
    differs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    client: Json | None = None


CALLS: list[Call] = []
KEY = "sk-witness"
PLUS, VL, OMNI, MAX = "qwen-plus", "qwen3-vl-plus", "qwen3.5-omni-plus", "qwen3-max"
ASK: Json = {"role": "user", "content": "What is the weather in Rome?"}
ASKED = Message("user", "What is the weather in Rome?")
PARTS_ASK: Json = {"role": "user", "content": [{"text": "What is the weather in Rome?"}]}
PICTURE = "https://example.com/cat.png"
PNG = "data:image/png;base64,iVBORw0KGgo="
WAV = "data:audio/wav;base64,UklGRg=="


def add(
    name: str,
    api: Any,
    messages: list[Json],
    ours: ChatRequest,
    *differs: str,
    settings: Mapping[str, Any] | None = None,
    **parameters: Any,
) -> None:
    """Add a chat call. The SDK gets `messages` and `parameters`, and asks for messages, as its examples do."""
    stream = bool(parameters.get("stream"))
    if stream:
        parameters = {"incremental_output": True, **parameters}
    parameters = {name: value for name, value in {"result_format": "message", **parameters}.items() if value != NOT_SET}

    def sdk() -> Any:
        answer = api.call(model=ours.model, messages=messages, api_key=KEY, **parameters)
        return list(answer) if stream else answer

    client = None
    if api is TEXT and not _NOT_OF_CLIENT & parameters.keys() and parameters.get("result_format") != "text":
        named = {name: value for name, value in parameters.items() if name not in ("result_format", *_PASSED)}
        passed = {name: parameters[name] for name in _PASSED if name in parameters}
        client = {"model": ours.model, "messages": messages, "parameters": passed or None, **named}
    CALLS.append(Call(name, sdk, ours, stream, differs, settings or {}, client))


NOT_SET = "not set"
_NOT_OF_CLIENT = {"headers", "workspace"}
_PASSED = {"mood"}  # parameters that the SDK's Client does not name
TEXT, MEDIA = dashscope.Generation, dashscope.MultiModalConversation


def chat(model: str, *messages: Message, **fields: Any) -> ChatRequest:
    """Return a request with the question, or with `messages`."""
    return ChatRequest(model, messages or (ASKED,), **fields)


# ---------------------------------------------------------------- text

add("text whole", TEXT, [ASK], chat(PLUS))
add("text streamed", TEXT, [ASK], chat(PLUS), stream=True)
TURNS = [{"role": "system", "content": "Be brief."}, ASK, {"role": "assistant", "content": "Sunny."}, ASK]
TURNS_OURS = (Message("system", "Be brief."), ASKED, Message("assistant", "Sunny."), ASKED)
add("a conversation", TEXT, TURNS, chat(PLUS, *TURNS_OURS))
CHINESE = "北京今天天气怎么样？😀 “quotes” \u2028 \\ / é"
add("text that is not ASCII", TEXT, [{"role": "user", "content": CHINESE}], chat(PLUS, Message("user", CHINESE)))
SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.8,
    "top_k": 20,
    "seed": 7,
    "max_tokens": 100,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.5,
    "stop": ["END"],
}
add("sampling parameters", TEXT, [ASK], chat(PLUS, parameters=SAMPLING), **SAMPLING)
add("one stop text", TEXT, [ASK], chat(PLUS, parameters={"stop": "END"}), stop="END")
PROBS = {"logprobs": True, "top_logprobs": 2}
add("log probabilities", TEXT, [ASK], chat(PLUS, parameters=PROBS), stream=True, **PROBS)
add("two answers", TEXT, [ASK], chat(PLUS, n=2), n=2)
add("two answers streamed", TEXT, [ASK], chat(PLUS, n=2), n=2, stream=True)
add("a parameter of tomorrow", TEXT, [ASK], chat(PLUS, extra_body={"mood": "calm"}), mood="calm")
add(
    "the beginning of the answer",
    TEXT,
    [ASK, {"role": "assistant", "content": "In Rome", "partial": True}],
    chat(PLUS, ASKED, Message("assistant", "In Rome", partial=True)),
    "thinking off",
)
MARK = {"type": "ephemeral"}
add(
    "a cache marker",
    TEXT,
    [{"role": "system", "content": [{"type": "text", "text": "Rules.", "cache_control": MARK}]}, ASK],
    chat(PLUS, Message("system", (TextPart("Rules.", MARK),)), ASKED),
    "part type",
)
add("answers as text", TEXT, [ASK], chat(PLUS, parameters={"result_format": "text"}), result_format="text")
add("a model that is not in the catalogue", TEXT, [ASK], chat("model-of-tomorrow"), "stream of unknown models")
add("no result format", TEXT, [ASK], chat(PLUS), "result format", result_format=NOT_SET)
add(
    "incremental not set",
    TEXT,
    [ASK],
    chat(PLUS),
    "incremental by default",
    stream=True,
    incremental_output=NOT_SET,
)
add(
    "incremental off",
    TEXT,
    [ASK],
    chat(PLUS, parameters={"incremental_output": False}),
    "incremental off",
    stream=True,
    incremental_output=False,
)
add(
    "a workspace",
    TEXT,
    [ASK],
    chat(PLUS),
    settings={"workspace": "ws-1"},
    workspace="ws-1",
)
add(
    "a header",
    TEXT,
    [ASK],
    chat(PLUS, options=CallOptions(headers=SecretHeaders({"X-DashScope-DataInspection": "enable"}))),
    headers={"X-DashScope-DataInspection": "enable"},
)

# ---------------------------------------------------------------- thinking

add("thinking", TEXT, [ASK], chat(PLUS, enable_thinking=True), stream=True, enable_thinking=True)
BUDGET = {"enable_thinking": True, "thinking_budget": 50}
add("a thinking budget", TEXT, [ASK], chat(PLUS, **BUDGET), stream=True, **BUDGET)
add("thinking off", TEXT, [ASK], chat("qwen3-32b", enable_thinking=False), enable_thinking=False)
THINKER = "qwen3-235b-a22b-thinking-2507"
add("a model that always thinks", TEXT, [ASK], chat(THINKER), stream=True)
add(
    "thinking on, of a model that always thinks",
    TEXT,
    [ASK],
    chat(THINKER, enable_thinking=True),
    "always thinks",
    stream=True,
    enable_thinking=True,
)

# ---------------------------------------------------------------- tools

WEATHER: Json = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Return the weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK: Json = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Return the time.",
        "parameters": {"type": "object", "properties": {}},
    },
}
NAMED: Json = {"type": "function", "function": {"name": "weather"}}
add("tools", TEXT, [ASK], chat(PLUS, tools=(WEATHER, CLOCK)), tools=[WEATHER, CLOCK])
add("tools streamed", TEXT, [ASK], chat(PLUS, tools=(WEATHER,)), tools=[WEATHER], stream=True)
add("no tools", TEXT, [ASK], chat(PLUS), "empty tools", tools=[])
add(
    "parallel tool calls",
    TEXT,
    [ASK],
    chat(PLUS, tools=(WEATHER, CLOCK), parameters={"parallel_tool_calls": True}),
    tools=[WEATHER, CLOCK],
    parallel_tool_calls=True,
)
add("choice auto", TEXT, [ASK], chat(PLUS, tools=(WEATHER,), tool_choice="auto"), tools=[WEATHER], tool_choice="auto")
add("choice none", TEXT, [ASK], chat(PLUS, tools=(WEATHER,), tool_choice="none"), tools=[WEATHER], tool_choice="none")
add(
    "a forced tool",
    TEXT,
    [ASK],
    chat("qwen-max", tools=(WEATHER, CLOCK), tool_choice=NAMED),
    tools=[WEATHER, CLOCK],
    tool_choice=NAMED,
)
add(
    "a forced tool of a model that can think",
    TEXT,
    [ASK],
    chat(PLUS, tools=(WEATHER, CLOCK), tool_choice=NAMED),
    "thinking off",
    tools=[WEATHER, CLOCK],
    tool_choice=NAMED,
)
add(
    "the only tool required",
    TEXT,
    [ASK],
    chat("qwen-max", tools=(WEATHER,), tool_choice="required"),
    "required",
    tools=[WEATHER],
    tool_choice="required",
)
SHARED: Json = {
    "type": "function",
    "function": {
        "name": "trip",
        "description": "Plan a trip.",
        "parameters": {
            "type": "object",
            "properties": {"start": {"$ref": "#/$defs/Place"}},
            "$defs": {"Place": {"type": "string"}},
        },
    },
}
add(
    "a schema with definitions",
    TEXT,
    [ASK],
    chat(PLUS, tools=(SHARED,)),
    "definitions",
    tools=[SHARED],
)


def called(number: int, name: str, arguments: str) -> Json:
    """Return a call as the service sends it."""
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{number}", "type": "function", "index": number, "function": function}


ROME = '{"city": "Rome"}'
ROUND = [
    ASK,
    {"role": "assistant", "content": "", "tool_calls": [called(0, "weather", ROME), called(1, "clock", "{}")]},
    {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
    {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
]
MADE = (FunctionCall("call_0", "weather", ROME), FunctionCall("call_1", "clock", "{}"))
RESULTS = (Message("tool", "sunny", tool_call_id="call_0"), Message("tool", "noon", tool_call_id="call_1"))
ROUND_OURS = (ASKED, Message("assistant", "", tool_calls=MADE), *RESULTS)
add("results of tools", TEXT, ROUND, chat(PLUS, *ROUND_OURS, tools=(WEATHER, CLOCK)), tools=[WEATHER, CLOCK])
THOUGHT = [ASK, {**ROUND[1], "reasoning_content": "I need both."}, *ROUND[2:]]
THOUGHT_OURS = (ASKED, replace(ROUND_OURS[1], reasoning_content="I need both."), *RESULTS)
add(
    "results of tools, with reasoning",
    TEXT,
    THOUGHT,
    chat(PLUS, *THOUGHT_OURS, tools=(WEATHER, CLOCK), enable_thinking=True),
    tools=[WEATHER, CLOCK],
    enable_thinking=True,
    stream=True,
)
add(
    "reasoning of an earlier turn",
    TEXT,
    [ASK, {"role": "assistant", "content": "Sunny.", "reasoning_content": "Rome is sunny."}, ASK],
    chat(PLUS, ASKED, Message("assistant", "Sunny.", reasoning_content="Rome is sunny."), ASKED),
    "earlier reasoning",
)
add(
    "a call without a result",
    TEXT,
    [*ROUND[:2], ASK],
    chat(PLUS, *ROUND_OURS[:2], ASKED),
    "unanswered calls",
)

# ---------------------------------------------------------------- search and JSON

add("search", TEXT, [ASK], chat(PLUS, parameters={"enable_search": True}), enable_search=True)
SEARCH = {"enable_search": True, "search_options": {"forced_search": True, "enable_source": True}}
add("search with options", TEXT, [ASK], chat(PLUS, parameters=SEARCH), stream=True, **SEARCH)
add("search off", TEXT, [ASK], chat(PLUS, parameters={"enable_search": False}), "search off", enable_search=False)
OBJECT = {"type": "json_object"}
JSON_ASK = "Answer in JSON: the weather in Rome."
add(
    "JSON mode",
    TEXT,
    [{"role": "user", "content": JSON_ASK}],
    chat("qwen-max", Message("user", JSON_ASK), response_format=OBJECT),
    response_format=OBJECT,
)
add(
    "JSON mode without the word",
    TEXT,
    [{"role": "system", "content": "Be brief."}, ASK],
    chat(PLUS, Message("system", "Be brief."), ASKED, response_format=OBJECT),
    "JSON instruction",
    "thinking off",
    response_format=OBJECT,
)
SCHEMA: Json = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER["function"]["parameters"]}}
add("a JSON schema", TEXT, [ASK], chat(PLUS, response_format=SCHEMA), response_format=SCHEMA)

# ---------------------------------------------------------------- media


def media(
    name: str, model: str, parts: list[Json], ours: tuple[Any, ...], *, stream: bool = False, **fields: Any
) -> None:
    """Add a question about media."""
    add(
        name,
        MEDIA,
        [{"role": "user", "content": [*parts, {"text": "What is it?"}]}],
        chat(model, Message("user", (*ours, TextPart("What is it?"))), **fields),
        stream=stream,
    )


media("an image by URL", VL, [{"image": PICTURE}], (ImagePart(PICTURE),))
media("an image streamed", VL, [{"image": PICTURE}], (ImagePart(PICTURE),), stream=True)
media("an image in base64", VL, [{"image": PNG}], (ImagePart(PNG),))
PIXELS = {"min_pixels": 4096, "max_pixels": 65536}
media("two images", VL, [{"image": PICTURE, **PIXELS}, {"image": PNG}], (ImagePart(PICTURE, **PIXELS), ImagePart(PNG)))
VIDEO = "https://example.com/birds.mp4"
media("a video by URL", VL, [{"video": VIDEO, "fps": 2}], (VideoPart(VIDEO, fps=2),))
FRAMES = [f"https://example.com/{number}.jpg" for number in range(4)]
media("a video as frames", VL, [{"video": FRAMES, "fps": 0.5}], (VideoPart(tuple(FRAMES), fps=0.5),))
SOUND = "https://example.com/birds.wav"
AUDIO = "qwen-audio-turbo"
HEARS = {"native_endpoint": "multimodal-generation", "streaming": False}  # not in the catalogue
media("audio by URL", AUDIO, [{"audio": SOUND}], (AudioPart(SOUND),), **HEARS)
media("audio in base64", AUDIO, [{"audio": WAV}], (AudioPart(WAV, "wav"),), **HEARS)
STORED = "oss://dashscope-instant/cat.png"
media("an uploaded image", VL, [{"image": STORED}], (ImagePart(STORED),))
add("text to a model that sees", MEDIA, [PARTS_ASK], chat(VL), stream=True)
add(
    "results of tools, to a model that sees",
    MEDIA,
    [
        PARTS_ASK,
        {**ROUND[1], "content": []},
        *({**result, "content": [{"text": result["content"]}]} for result in ROUND[2:]),
    ],
    chat(VL, *ROUND_OURS, tools=(WEATHER, CLOCK)),
    tools=[WEATHER, CLOCK],
)
OCR = {"ocr_options": {"task": "text_recognition"}}
add(
    "reading text of an image",
    MEDIA,
    [{"role": "user", "content": [{"image": PICTURE}]}],
    chat("qwen-vl-ocr", Message("user", (ImagePart(PICTURE),)), parameters=OCR),
    **OCR,
)

# ---------------------------------------------------------------- retrieval


def retrieve(name: str, api: Any, ours: Request, *differs: str, **arguments: Any) -> None:
    """Add an embedding or rerank call."""
    CALLS.append(Call(name, lambda: api.call(model=ours.model, api_key=KEY, **arguments), ours, differs=differs))


EMBED = "text-embedding-v4"
FACTS: Json = {"dimension": 64, "text_type": "query", "output_type": "dense&sparse", "instruct": "Find."}
FACTS_OURS: Json = {"dimensions": 64, "text_type": "query", "output_type": "dense&sparse", "instruct": "Find."}
retrieve("embeddings", dashscope.TextEmbedding, EmbeddingRequest(EMBED, ["a", "b"]), "no parameters", input=["a", "b"])
retrieve(
    "embeddings with parameters",
    dashscope.TextEmbedding,
    EmbeddingRequest(EMBED, ["a", "b"], **FACTS_OURS),
    input=["a", "b"],
    **FACTS,
)
SEEN = [{"text": "a cat"}, {"image": PICTURE}]
retrieve(
    "embeddings of images",
    dashscope.MultiModalEmbedding,
    MultimodalEmbeddingRequest("qwen3-vl-embedding", SEEN, dimensions=256),
    input=SEEN,
    dimension=256,
)
retrieve(
    "one embedding of several contents",
    dashscope.MultiModalEmbedding,
    MultimodalEmbeddingRequest("qwen3-vl-embedding", SEEN, one_vector=True, parameters={"enable_fusion": True}),
    input=SEEN,
    enable_fusion=True,
)
retrieve(
    "an embedding of an upload",
    dashscope.MultiModalEmbedding,
    MultimodalEmbeddingRequest("qwen3-vl-embedding", [{"image": STORED}], dimensions=256),
    input=[{"image": STORED}],
    dimension=256,
)
DOCS = ["sunny", "rainy"]
GTE = "gte-rerank-v2"
retrieve(
    "rerank",
    dashscope.TextReRank,
    RerankRequest(GTE, "sun", DOCS, top_n=1),
    query="sun",
    documents=DOCS,
    top_n=1,
)
retrieve(
    "rerank without parameters",
    dashscope.TextReRank,
    RerankRequest(GTE, "sun", DOCS),
    "no parameters",
    query="sun",
    documents=DOCS,
)
retrieve(
    "rerank of images",
    dashscope.TextReRank,
    RerankRequest("qwen3-vl-rerank", {"text": "sun"}, SEEN, top_n=1, instruct="Find."),
    query={"text": "sun"},
    documents=SEEN,
    top_n=1,
    instruct="Find.",
)
retrieve(
    "rerank by the compatible endpoint",
    dashscope.TextReRank,
    RerankRequest("qwen3-rerank", "sun", DOCS, top_n=1),
    "flat rerank",
    query="sun",
    documents=DOCS,
    top_n=1,
)
