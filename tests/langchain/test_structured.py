"""Structured output: three methods, four kinds of schema, and invalid answers.

L and C numbers are rows of test_peer_matrix.py.
"""

from __future__ import annotations

import json
import logging
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field, ValidationError
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from langchain_modelstudio.errors import ConfigurationError, RateLimitError
from tests.langchain.service import WAYS, call, chat, pieces_of
from tests.loopback import Loopback, reply_json
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

pytestmark = both_protocols

METHODS: tuple[Any, ...] = ("json_schema", "function_calling", "json_mode")
STREAMS = ("stream", "astream")


class City(BaseModel):
    """A city."""

    name: str = Field(description="Its name.")
    people: int = 0


class OldCity(BaseModelV1):
    """A city."""

    name: str
    people: int = 0


class TypedCity(TypedDict):
    """A city."""

    name: Annotated[str, ..., "Its name."]
    people: Annotated[int, 0, "How many."]


SCHEMA = {
    "title": "CitySchema",
    "description": "A city.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name"],
}
FUNCTION = {"name": "city_function", "description": "A city.", "parameters": {**SCHEMA, "title": "x"}}
ROME: dict[str, Any] = {"name": "Rome", "people": 3}
SCHEMAS: dict[str, tuple[Any, str, Any]] = {
    "pydantic": (City, "City", City(name="Rome", people=3)),
    "pydantic v1": (OldCity, "OldCity", OldCity(name="Rome", people=3)),
    "TypedDict": (TypedCity, "TypedCity", ROME),
    "JSON schema": (SCHEMA, "CitySchema", ROME),
    "OpenAI function": (FUNCTION, "city_function", ROME),
}
_NAMED_SCHEMA = {"name": "CityForm", "description": "A city.", "schema": SCHEMA, "strict": True}
WRAPPED: dict[str, tuple[Any, str, bool | None]] = {
    "OpenAI tool": ({"type": "function", "function": FUNCTION}, "city_function", None),
    "a schema with its name": (_NAMED_SCHEMA, "CityForm", True),
    "response_format": ({"type": "json_schema", "json_schema": _NAMED_SCHEMA}, "CityForm", True),
}


def answer(method: str, name: str, *pieces: str, **more: Any) -> Answer:
    """Return an answer for this method, with its JSON in `pieces`."""
    pieces = pieces or ('{"name": "Ro', 'me", "peo', 'ple": 3}')
    if method == "function_calling":
        return Answer(calls=[Call("call_1", name, pieces)], **more)
    return Answer(text=pieces, **more)


# ---------------------------------------------------------------- what comes out, and what was asked


# how it is asked matters to what comes out, strict to what goes out: not each with each
ASKED = [(way, raw, None) for way in WAYS for raw in (False, True)] + [("invoke", False, True), ("stream", True, False)]


@pytest.mark.parametrize(("way", "include_raw", "strict"), ASKED)
@pytest.mark.parametrize("kind", SCHEMAS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.rotated
async def test_every_schema_with_every_method(
    method: Any, kind: str, include_raw: bool, strict: bool | None, way: str
) -> None:
    """The request uses the method, and the result has the type of the schema (L38)."""
    schema, name, expected = SCHEMAS[kind]
    with Loopback(answer(method, name)) as server:
        llm = chat(server)
        before = llm.model_dump()
        structured = llm.with_structured_output(schema, method=method, include_raw=include_raw, strict=strict)
        found = (
            (await pieces_of(structured, way, "json"))[-1] if "stream" in way else await call(structured, way, "json")
        )
        assert llm.model_dump() == before
        body = sent(server)
    if include_raw:
        raw = found.pop("raw")
        assert isinstance(raw, AIMessage)
        assert raw.response_metadata["model_name"] == "qwen-plus"
        assert found == {"parsed": expected, "parsing_error": None}
    else:
        assert found == expected
    if method == "function_calling":
        [wired] = body["tools"]
        assert wired["function"]["name"] == name
        assert wired["function"].get("strict") == strict
        assert wired["function"]["parameters"]["properties"].keys() == ROME.keys()
        assert body["tool_choice"] == {"type": "function", "function": {"name": name}}
        assert body["parallel_tool_calls"] is False
        assert "response_format" not in body
    elif method == "json_schema":
        form = body["response_format"]
        assert (form["type"], form["json_schema"]["name"]) == ("json_schema", name)
        assert form["json_schema"]["description"] == "A city."
        assert form["json_schema"]["schema"]["properties"].keys() == ROME.keys()
        assert form["json_schema"].get("strict") == strict
        assert "tools" not in body
    else:
        assert body["response_format"] == {"type": "json_object"}
        assert "tools" not in body


@pytest.mark.parametrize(
    ("settings", "method"),
    [
        ({"model": "qwen3.7-max"}, "json_schema"),
        ({"model": "qwen3.7-plus"}, "json_schema"),
        ({"model": "qwen-plus"}, "function_calling"),
        ({"model": "qwen-max"}, "function_calling"),
        ({"model": "made-up"}, "function_calling"),
        ({"model": "made-up", "capabilities": {"json_schema": True}}, "json_schema"),
        ({"model": "qwen3.7-max", "capabilities": {"json_schema": False}}, "function_calling"),
    ],
)
async def test_the_catalogue_chooses_the_default_method(settings: dict[str, Any], method: str) -> None:
    """json_schema if the model is listed for it, otherwise function_calling."""
    with Loopback(answer(method, "City")) as server:
        found = chat(server, enable_thinking=False, **settings).with_structured_output(City).invoke("hello")
        assert found == City(name="Rome", people=3)
        assert ("response_format" in sent(server)) == (method == "json_schema")
        assert ("tools" in sent(server)) == (method == "function_calling")


async def test_json_schema_allows_thinking() -> None:
    """It needs no forced call."""
    with Loopback(answer("json_schema", "City", reasoning=["hm"])) as server:
        llm = chat(server, model="qwen3.7-max", enable_thinking=True)
        assert llm.with_structured_output(City).invoke("hello") == City(name="Rome", people=3)
        assert sent(server)["enable_thinking"] is True


@pytest.mark.parametrize("method", ["function_calling", "json_mode"])
async def test_thinking_is_off_for_the_request_only(method: Any) -> None:
    """The model object is not changed (L39, C10)."""
    with Loopback(answer(method, "City")) as server:
        llm = chat(server, model="qwen3.7-max")
        assert llm.with_structured_output(City, method=method).invoke("json") == City(name="Rome", people=3)
        assert sent(server)["enable_thinking"] is False
        llm.invoke("hello")
        assert "enable_thinking" not in sent(server)
        assert llm.enable_thinking is None


@pytest.mark.parametrize("way", WAYS)
async def test_json_mode_adds_the_word_json(way: str) -> None:
    """If the messages do not have it (C30)."""
    with Loopback(answer("json_mode", "City")) as server:
        structured = chat(server).with_structured_output(City, method="json_mode")
        await pieces_of(structured, way) if "stream" in way else await call(structured, way)
        [system, user] = sent(server)["messages"]
        assert system == {"role": "system", "content": "Answer with a JSON object."}
        assert user == {"role": "user", "content": "hello"}


async def test_json_mode_needs_no_schema() -> None:
    """Other methods require one."""
    with Loopback(answer("json_mode", "City")) as server:
        assert chat(server).with_structured_output(method="json_mode").invoke("json") == ROME
        for method in ("json_schema", "function_calling", None):
            with pytest.raises(ConfigurationError, match="requires a schema"):
                chat(server).with_structured_output(method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("method", METHODS)
async def test_schemas_in_the_format_of_the_service(method: Any, kind: str) -> None:
    """They are accepted with every method."""
    schema, name, strict = WRAPPED[kind]
    with Loopback(answer(method, name)) as server:
        assert chat(server).with_structured_output(schema, method=method).invoke("json") == ROME
        body = sent(server)
    if method == "json_mode":
        return
    form = body["tools"][0]["function"] if method == "function_calling" else body["response_format"]["json_schema"]
    assert (form["name"], form["description"], form.get("strict")) == (name, "A city.", strict)
    assert form["parameters" if method == "function_calling" else "schema"]["properties"] == SCHEMA["properties"]


@pytest.mark.parametrize("method", METHODS)
async def test_tools_none_is_no_tools(method: Any) -> None:
    """Generic code passes `tools=None`."""
    with Loopback(answer(method, "City")) as server:
        structured = chat(server).with_structured_output(City, method=method, tools=None)
        assert structured.invoke("json") == City(name="Rome", people=3)


def test_an_unknown_method() -> None:
    """The error lists the known ones."""
    with (
        Loopback(Answer()) as server,
        pytest.raises(ConfigurationError, match="json_schema, function_calling, json_mode"),
    ):
        chat(server).with_structured_output(City, method="xml")  # type: ignore[arg-type]


async def test_a_response_format_as_schema() -> None:
    """It is not wrapped again. Long names are truncated."""
    ready = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {"type": "object"}, "strict": True}}
    with Loopback(answer("json_schema", "City")) as server:
        chat(server).with_structured_output(ready, method="json_schema").invoke("hello")
        assert sent(server)["response_format"] == ready
        long = {**SCHEMA, "title": "x" * 80}
        chat(server).with_structured_output(long, method="json_schema").invoke("hello")
        assert sent(server)["response_format"]["json_schema"]["name"] == "x" * 64


@pytest.mark.parametrize("method", METHODS)
async def test_other_parameters_are_bound(method: Any) -> None:
    """They are parameters of the call."""
    with Loopback(answer(method, "City")) as server:
        chat(server).with_structured_output(City, method=method, temperature=0.5).invoke("json")
        assert sent(server)["temperature"] == 0.5


def weather(city: str) -> str:
    """Tell the weather."""
    return city


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
async def test_tools_beside_a_schema(way: str, method: Any) -> None:
    """If a tool is called, there is a call, no object, and no error."""
    answers = [Answer(calls=[Call("call_1", "weather", ['{"city": "Rome"}'])]), answer(method, "City")]
    with Loopback(answers) as server:
        llm = chat(server).with_structured_output(City, method=method, include_raw=True, tools=[weather], strict=True)
        called: Any = await call(llm, way, "json")
        answered: Any = await call(llm, way, "json")
        body = sent(server)
    assert [each["name"] for each in called["raw"].tool_calls] == ["weather"]
    assert (called["parsed"], called["parsing_error"]) == (None, None)
    assert answered["parsed"] == City(name="Rome", people=3)
    assert body["tools"][0]["function"]["name"] == "weather"
    assert body["tools"][0]["function"]["strict"] is True
    assert body["response_format"]["type"] == ("json_schema" if method == "json_schema" else "json_object")


def test_tools_beside_a_forced_call() -> None:
    """Function calling allows only the schema's call, so an error is raised."""
    with Loopback(Answer()) as server, pytest.raises(ConfigurationError, match="tools="):
        chat(server).with_structured_output(City, method="function_calling", tools=[weather])


class Street(BaseModel):
    city: City
    next: list[Street] = []


@pytest.mark.parametrize("method", METHODS)
async def test_nested_schemas(method: Any) -> None:
    """Also recursive ones. The result has nested objects."""
    told = json.dumps({"city": ROME, "next": [{"city": ROME}]})
    with Loopback(answer(method, "Street", told[:9], told[9:])) as server:
        found = chat(server).with_structured_output(Street, method=method).invoke("json")
        body = sent(server)
    assert isinstance(found, Street)
    assert found.next[0].city == City(name="Rome", people=3)
    wired = body.get("tools") or body["response_format"]
    if method != "json_mode":
        assert '"$ref"' not in json.dumps(wired) or '"$defs"' in json.dumps(wired)
        assert "Its name." in json.dumps(wired)


class Traced(BaseCallbackHandler):
    def __init__(self) -> None:
        self.options: list[Any] = []

    def on_chat_model_start(self, *_: Any, **kwargs: Any) -> None:
        self.options.append(kwargs["options"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_schema_in_traces(way: str, method: Any) -> None:
    """LangSmith gets method and schema; the service does not."""
    handler = Traced()
    with Loopback(answer(method, "City")) as server:
        structured = chat(server, callbacks=[handler]).with_structured_output(City, method=method)
        await pieces_of(structured, way, "json") if "stream" in way else await call(structured, way, "json")
        assert not any(name.startswith("ls_") for name in sent(server))
    traced = handler.options[0]["ls_structured_output_format"]
    assert traced["kwargs"]["method"] == method
    assert traced["schema"]["title"] == "City"


# ---------------------------------------------------------------- streaming


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("method", METHODS)
async def test_partial_objects_are_streamed(method: Any, way: str) -> None:
    """Dicts grow with the answer (L40)."""
    with Loopback(answer(method, "CitySchema", usage=None)) as server:
        structured = chat(server).with_structured_output(SCHEMA, method=method)
        grown = await pieces_of(structured, way, "json")
    assert [piece for piece in grown if piece] == [{"name": "Ro"}, {"name": "Rome"}, ROME]


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("method", METHODS)
async def test_pydantic_objects_are_streamed(method: Any, way: str) -> None:
    """Whenever the partial object validates, and at the end."""
    with Loopback(answer(method, "City")) as server:
        grown = await pieces_of(chat(server).with_structured_output(City, method=method), way, "json")
    assert grown == [City(name="Ro"), City(name="Rome"), City(name="Rome", people=3)]


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("include_raw", [False, True])
async def test_a_stream_with_streaming_disabled(include_raw: bool, method: Any, way: str) -> None:
    """The single chunk is parsed."""
    with Loopback(answer(method, "City")) as server:
        llm = chat(server, streaming=False)
        [piece] = await pieces_of(llm.with_structured_output(City, method=method, include_raw=include_raw), way, "json")
        assert "stream" not in sent(server)
    assert (piece["parsed"] if include_raw else piece) == City(name="Rome", people=3)


# ---------------------------------------------------------------- answers that are not what was asked for

ADVICE = ("did not call the function", "enable_thinking=False", "json_schema", "json_mode")
WRONG: list[tuple[str, str, Answer, Any, tuple[str, ...]]] = [
    (
        "no call",
        "function_calling",
        Answer(text=["I ", "won't"]),
        City,
        (*ADVICE, 'The text of the answer: "I won\'t"'),
    ),
    ("no call, as a dict", "function_calling", Answer(text=["I won't"]), SCHEMA, ADVICE),
    ("no answer at all", "function_calling", Answer(), City, ADVICE),
    (
        "a call cut off",
        "function_calling",
        answer("function_calling", "City", '{"name": "Ro', finish="length"),
        City,
        ("truncated", "max_tokens"),
    ),
    (
        "a call cut off, as a dict",
        "function_calling",
        answer("function_calling", "CitySchema", '{"name": "Ro', finish="length"),
        SCHEMA,
        ("truncated", "max_tokens"),
    ),
    (
        "a call that does not fit",
        "function_calling",
        answer("function_calling", "City", '{"name": "Rome", "people": "many"}'),
        City,
        ("does not match the schema", "people"),
    ),
    (
        "a call that does not fit, pydantic v1",
        "function_calling",
        answer("function_calling", "OldCity", '{"people": "many"}'),
        OldCity,
        ("does not match the schema", "people", "name"),
    ),
    ("another function", "function_calling", answer("function_calling", "Town", "{}"), City, ("Town",)),
    ("another function, as a dict", "function_calling", answer("function_calling", "Town", "{}"), SCHEMA, ADVICE[:1]),
    *(
        case
        for method in ("json_schema", "json_mode")
        for case in (
            ("cut off", method, Answer(text=['{"name": "Ro'], finish="length"), City, ("truncated", "max_tokens")),
            ("cut, as a dict", method, Answer(text=['{"name": "Ro'], finish="length"), SCHEMA, ("truncated",)),
            ("cut before it began", method, Answer(finish="length"), SCHEMA, ("truncated", "max_tokens")),
            ("not JSON", method, Answer(text=["I ", "won't"]), City, ("I won't",)),
            ("not JSON, as a dict", method, Answer(text=["I ", "won't"]), SCHEMA, ("I won't",)),
            ("no fit", method, Answer(text=['{"name": "R", "people": ', '"many"}']), City, ("people",)),
            ("no fit, pydantic v1", method, Answer(text=['{"people": "many"}']), OldCity, ("people",)),
        )
    ),
]
IDS = [f"{case[1]}: {case[0]}" for case in WRONG]


@pytest.mark.parametrize(("method", "wrong", "schema", "words"), [case[1:] for case in WRONG], ids=IDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rotated
async def test_an_invalid_answer(method: Any, wrong: Answer, schema: Any, words: tuple[str, ...], way: str) -> None:
    """It raises OutputParserException with the reason, also at the end of a stream."""
    with Loopback(wrong) as server:
        structured = chat(server).with_structured_output(schema, method=method)
        with pytest.raises(OutputParserException) as raised:
            await pieces_of(structured, way, "json") if "stream" in way else await call(structured, way, "json")
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(("method", "wrong", "schema", "words"), [case[1:] for case in WRONG], ids=IDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rotated
async def test_an_invalid_answer_with_include_raw(
    method: Any, wrong: Answer, schema: Any, words: tuple[str, ...], way: str
) -> None:
    """The error and the message are returned."""
    with Loopback(wrong) as server:
        structured = chat(server).with_structured_output(schema, method=method, include_raw=True)
        found = (
            (await pieces_of(structured, way, "json"))[-1] if "stream" in way else await call(structured, way, "json")
        )
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], OutputParserException)
    assert all(word in str(found["parsing_error"]) for word in words)
    assert found["raw"].text == "".join(wrong.text)


NOT_WHOLE = {
    "an object without its end": '{"name": "Hang", "people": 3',
    "a text without its end": '{"name": "Hang',
    "a name without its value": '{"name": "Hang", "people":',
    "a half of JSON in a fence": '```json\n{"name": "Hang", "people": 3\n```',
    "a comma too many": '{"name": "Hang",}',
    "no JSON at all": "Hang, 3 people",
    "a list": '[{"name": "Hang", "people": 3}]',
    "an empty list": "[]",
    "a number": "3",
    "null": "null",
}


@pytest.mark.parametrize("text", NOT_WHOLE.values(), ids=NOT_WHOLE)
@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
@pytest.mark.parametrize("schema", [City, SCHEMA], ids=["pydantic", "dict"])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.rotated
async def test_json_is_never_repaired(method: Any, schema: Any, finish: str, text: str) -> None:
    """Incomplete JSON is an error with every method and finish reason."""
    with Loopback(Answer(text=(text[:5], text[5:]), finish=finish)) as server:
        structured = chat(server).with_structured_output(schema, method=method)
        for way in WAYS:
            with pytest.raises(OutputParserException) as raised:
                await pieces_of(structured, way, "json") if "stream" in way else await call(structured, way, "json")
            assert raised.value.llm_output == text
        [beside] = [await call(chat(server).with_structured_output(schema, method=method, include_raw=True), "invoke")]
        assert (beside["parsed"], type(beside["parsing_error"])) == (None, OutputParserException)


@pytest.mark.parametrize("method", METHODS)
async def test_a_complete_object_with_finish_reason_length(method: Any) -> None:
    """It is accepted."""
    with Loopback(answer(method, "City", json.dumps(ROME), finish="length")) as server:
        for way in ("invoke", "stream"):
            structured = chat(server).with_structured_output(City, method=method)
            found = (await pieces_of(structured, way, "json"))[-1] if way == "stream" else structured.invoke("json")
            assert found == City(name="Rome", people=3)


async def test_the_validation_error_is_the_cause() -> None:
    """The answer is in `llm_output`."""
    wrong = answer("function_calling", "City", '{"name": "Rome", "people": "many"}')
    with Loopback(wrong) as server, pytest.raises(OutputParserException) as raised:
        chat(server).with_structured_output(City).invoke("hello")
    assert isinstance(raised.value.__cause__, ValidationError)
    assert "many" in str(raised.value.llm_output)


@pytest.mark.parametrize("include_raw", [False, True])
async def test_service_errors_are_raised(include_raw: bool) -> None:
    """Also with include_raw."""
    refused = reply_json(429, {"error": {"message": "slow down", "code": "Throttling"}})
    with Loopback(refused) as server:
        structured = chat(server).with_structured_output(City, include_raw=include_raw)
        for way in WAYS:
            with pytest.raises(RateLimitError):
                await call(structured, way)


# ---------------------------------------------------------------- while the model thinks

THINKERS: list[dict[str, Any]] = [
    {"model": "qwen-plus", "enable_thinking": True},
    {"model": "qwq-32b"},
    {"model": "made-up"},
]


@pytest.mark.parametrize("settings", THINKERS, ids=lambda settings: settings["model"])
async def test_structured_output_of_a_thinking_model(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The choice is auto, with a log entry. An answer without a call raises an error with advice (C3)."""
    with Loopback([answer("function_calling", "City", reasoning=["hm"]), Answer(text=["Rome"])]) as server:
        structured = chat(server, **settings).with_structured_output(City, method="function_calling")
        with caplog.at_level(logging.WARNING, "modelstudio_core"):
            assert structured.invoke("hello") == City(name="Rome", people=3)
        assert sent(server)["tool_choice"] == "auto"
        assert len(caplog.records) == 1
        with pytest.raises(OutputParserException, match="enable_thinking=False"):
            structured.invoke("hello")


async def test_kimi_k3_uses_required() -> None:
    """The only thinking model that accepts a forced call."""
    with Loopback(answer("function_calling", "City")) as server:
        llm = chat(server, model="kimi/kimi-k3")
        assert llm.with_structured_output(City, method="function_calling").invoke("x") == City(name="Rome", people=3)
        assert sent(server)["tool_choice"] == "required"


def test_a_schema_without_a_name() -> None:
    """The error is raised immediately, not at the call."""
    with Loopback(Answer()) as server, pytest.raises((ConfigurationError, ValueError)):
        chat(server).with_structured_output({"type": "object"}, method="function_calling")
