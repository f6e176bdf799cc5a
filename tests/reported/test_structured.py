"""Structured output: objects in fences and text, calls of other functions, and output types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.exceptions import OutputParserException
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from llama_index_modelstudio import errors
from tests.langchain.service import chat as langchain_chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.structured import ALL_WAYS, ALWAYS, LANGCHAIN, LISTED, METHODS, UNLISTED, City, cut, objects
from tests.service import Answer, Call, sent


class TypedCity(TypedDict):
    """A city."""

    name: Annotated[str, ..., "Its name."]
    people: Annotated[int, 0, "How many."]


class OldCity(BaseModelV1):
    """A city."""

    name: str
    people: int = 0


@dataclass
class CityData:
    """A city."""

    name: str
    people: int = 0


SCHEMA: dict[str, Any] = {
    "title": "City",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name"],
}
ROME = City(name="Rome", people=3)
OBJECT = '{"name": "Rome", "people": 3}'
SYNC = ("invoke", "stream", "structured_predict", "stream_structured_predict")
FAILURES = (OutputParserException, errors.StructuredOutputError)

# ---------------------------------------------------------------- JSON in the text

TEXTS = {
    "alone": OBJECT,
    "in a fence": f"```json\n{OBJECT}\n```",
    "in a fence without a language": f"```\n{OBJECT}\n```",
    "in a fence in capitals": f"```JSON\n{OBJECT}\n```",
    "in a fence on one line": f"```json {OBJECT}```",
    "in a fence that is not closed": f"```json\n{OBJECT}",
    "in a fence, over several lines": '\n```json\n{\n  "name": "Rome",\n  "people": 3\n}\n```\n',
    "in a fence after words": f"Here it is [1]:\n\n```json\n{OBJECT}\n```",
    "in a fence before words": f"```json\n{OBJECT}\n```\nI hope this helps!",
    "in a fence before words with braces": f"```json\n{OBJECT}\n```\nReplace {{name}} as you like.",
    "after words": f"Here it is: {OBJECT}",
    "before words": f"{OBJECT}\n\nI hope this helps.",
}
NOT_ONE_OBJECT = {
    "words": "It is Rome.",
    "half an object": '{"name": "Rome", "people": ',
    "half an object in a fence": '```json\n{"name": "Rome"\n```',
    "half an object that holds a whole one": '{"city": {"name": "Rome", "people": 3}',
    "a comma too many": '{"name": "Rome",}',
    "a list": f"[{OBJECT}]",
    "a list in a fence": f"```json\n[{OBJECT}]\n```",
    "two objects": f"{OBJECT}\n{OBJECT}",
    "a brace too many": f"{OBJECT}}}",
    "another object": '{"town": "Rome"}',
    "a wrong type": '{"name": "Rome", "people": "many"}',
}


@both_protocols
@pytest.mark.report(9, 10)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("model", [LISTED, ALWAYS])
@pytest.mark.rotated
async def test_a_fence_in_every_way(model: str, way: str) -> None:
    """The object is parsed with every method and protocol."""
    with Loopback(Answer(text=cut(TEXTS["in a fence"]))) as server:
        assert (await objects(server, way, model))[-1] == ROME


@pytest.mark.report(9)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.rotated
async def test_an_object_by_json_schema(kind: str, way: str) -> None:
    """Alone, in a fence, or surrounded by words, with both adapters."""
    with Loopback(Answer(text=cut(TEXTS[kind]))) as server:
        assert (await objects(server, way, LISTED))[-1] == ROME
        assert sent(server)["response_format"]["type"] == "json_schema"


@pytest.mark.report(9)
@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("kind", ["in a fence in capitals", "in a fence before words", "after words"])
@pytest.mark.parametrize("schema", [City, SCHEMA, None], ids=["pydantic", "dict", "none"])
async def test_an_object_by_json_mode(schema: Any, kind: str, way: str) -> None:
    """The same texts in JSON mode."""
    with Loopback(Answer(text=cut(TEXTS[kind]))) as server:
        found = (await objects(server, way, UNLISTED, schema, method="json_mode"))[-1]
    assert found == (ROME if schema is City else json.loads(OBJECT))


@pytest.mark.report(9, 10)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("kind", NOT_ONE_OBJECT)
@pytest.mark.parametrize("model", [LISTED, ALWAYS])
@pytest.mark.rotated
async def test_no_object(model: str, kind: str, way: str) -> None:
    """Anything but one complete object of the class raises an error. Nothing is repaired."""
    with Loopback(Answer(text=cut(NOT_ONE_OBJECT[kind]))) as server, pytest.raises(FAILURES):
        await objects(server, way, model)


@pytest.mark.report(9, 10)
@pytest.mark.parametrize("way", [way for way in SYNC if "stream" in way])
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("model", [LISTED, ALWAYS])
@pytest.mark.rotated
async def test_partial_objects_are_streamed(model: str, kind: str, way: str) -> None:
    """Strings grow, and the last object is complete."""
    with Loopback(Answer(text=cut(TEXTS[kind]))) as server:
        parts = await objects(server, way, model)
    names = [part.name for part in parts if getattr(part, "name", None)]
    assert len(names) > 1
    assert names == [name for name in names if "Rome".startswith(name)]
    assert parts[-1] == ROME


# ---------------------------------------------------------------- a forced choice that had to become "auto"


@pytest.mark.report(10)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.rotated
async def test_an_object_in_place_of_a_call(kind: str, way: str) -> None:
    """Thinking models get "auto", so an object in the text that fits the schema is accepted."""
    with Loopback(Answer(reasoning=["Hm."], text=cut(TEXTS[kind]))) as server:
        assert (await objects(server, way, ALWAYS))[-1] == ROME
        assert sent(server)["tool_choice"] == "auto"


@pytest.mark.report(10)
@pytest.mark.parametrize("way", LANGCHAIN)
@pytest.mark.parametrize("schema", [SCHEMA, TypedCity, OldCity], ids=["dict", "TypedDict", "pydantic v1"])
async def test_an_object_of_any_schema_in_place_of_a_call(schema: Any, way: str) -> None:
    """Without a class, the object must have the required properties."""
    name = schema["title"] if isinstance(schema, dict) else schema.__name__
    expected = OldCity(name="Rome", people=3) if schema is OldCity else json.loads(OBJECT)
    with Loopback([Answer(text=cut(OBJECT)), Answer(text=['{"town": ', '"Rome"}'])]) as server:
        assert (await objects(server, way, ALWAYS, schema))[-1] == expected
        assert sent(server)["tools"][0]["function"]["name"] == name
        with pytest.raises(OutputParserException, match="did not call"):
            await objects(server, way, ALWAYS, schema)


@pytest.mark.report(10)
@pytest.mark.parametrize("way", LANGCHAIN)
async def test_an_object_in_place_of_a_call_with_the_raw_message(way: str) -> None:
    """With include_raw it is "parsed", without an error."""
    with Loopback(Answer(text=cut(TEXTS["in a fence"]))) as server:
        found: dict[str, Any] = {}
        for piece in await objects(server, way, ALWAYS, include_raw=True):
            found |= piece
    assert (found["parsed"], found["parsing_error"]) == (ROME, None)
    assert found["raw"].text == TEXTS["in a fence"]


OTHER = Call("call_1", "weather", cut('{"name": "Oslo", "people": 1}'))
CITY = Call("call_2", "City", cut(OBJECT))
CALLS = {
    "another function's before": [OTHER, CITY],
    "another function's after": [CITY, OTHER],
    "two of the function": [CITY, Call("call_3", "City", ['{"name": "Oslo"}'])],
    "an invalid one before": [Call("call_1", "weather", ["[]"]), CITY],
}


@pytest.mark.report(10)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("model", [UNLISTED, ALWAYS])
@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.rotated
async def test_only_calls_of_the_function_count(kind: str, model: str, way: str) -> None:
    """The first call of the function has the object, also in fragments."""
    with Loopback(Answer(calls=CALLS[kind])) as server:
        found = await objects(server, way, model)
    assert found[-1] == ROME
    assert not [part for part in found if part.name == "Oslo"]


@pytest.mark.report(10)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("text", [[], ["It is Rome."]], ids=["no text", "text"])
async def test_a_call_of_another_function_alone(text: list[str], way: str) -> None:
    """The error names the called function."""
    with Loopback(Answer(text=text, calls=[OTHER])) as server, pytest.raises(FAILURES, match="weather"):
        await objects(server, way, UNLISTED)


@pytest.mark.report(10)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_text_beside_a_call(way: str) -> None:
    """The call has priority, unless it is of another function."""
    answers = [Answer(text=['{"name": "Oslo"}'], calls=[CITY]), Answer(text=cut(OBJECT), calls=[OTHER])]
    with Loopback(answers) as server:
        assert (await objects(server, way, ALWAYS))[-1] == ROME
        assert (await objects(server, way, ALWAYS))[-1] == ROME


# ---------------------------------------------------------------- output types


@pytest.mark.report(19)
@pytest.mark.parametrize("method", METHODS)
def test_the_output_type_is_the_class(method: Any) -> None:
    """A pydantic class is the OutputType and the output schema."""
    with Loopback(Answer()) as server:
        structured = langchain_chat(server).with_structured_output(City, method=method)
    assert structured.OutputType is City
    assert structured.get_output_jsonschema() == City.model_json_schema()
    assert structured.get_output_schema() is City


@pytest.mark.report(19)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "schema", [SCHEMA, TypedCity, OldCity, CityData], ids=["dict", "TypedDict", "pydantic v1", "dataclass"]
)
def test_the_output_schema_of_other_schemas(schema: Any, method: Any) -> None:
    """OutputType is dict or the class. The output schema has its properties."""
    with Loopback(Answer()) as server:
        structured = langchain_chat(server).with_structured_output(schema, method=method)
    assert structured.OutputType == (dict[str, Any] if schema in (SCHEMA, CityData) else schema)
    found = structured.get_output_jsonschema()
    assert (found["type"], found["properties"].keys()) == ("object", {"name", "people"})


@pytest.mark.report(19)
def test_the_output_type_without_a_schema_and_with_the_raw_message() -> None:
    """Both are dict."""
    with Loopback(Answer()) as server:
        llm = langchain_chat(server)
        assert llm.with_structured_output(method="json_mode").get_output_jsonschema()["type"] == "object"
        assert llm.with_structured_output(City, include_raw=True).get_output_jsonschema()["type"] == "object"
