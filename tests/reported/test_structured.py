"""Structured output: objects in fences and in texts, calls of other functions, output types and recursive schemas."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.tools import StructuredTool
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool, ToolMetadata
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from llama_index_modelstudio import errors
from tests.langchain.service import chat as langchain_chat
from tests.langchain.service import pieces_of
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

# a model that is listed for json_schema, one that is not, one that always thinks
LISTED, UNLISTED, ALWAYS = "qwen3.7-plus", "qwen-plus", "qwq-plus"


class City(BaseModel):
    """A city."""

    name: str
    people: int = 0


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

# each way of each adapter, to ask for a City by json_schema or by a call, as the model is listed
LANGCHAIN = ("invoke", "ainvoke", "stream", "astream")
LLAMA_INDEX = ("structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict")
ALL_WAYS = LANGCHAIN + LLAMA_INDEX
SYNC = ("invoke", "stream", "structured_predict", "stream_structured_predict")
FAILURES = (OutputParserException, errors.StructuredOutputError)


async def objects(server: Loopback, way: str, model: str, schema: Any = City, **options: Any) -> list[Any]:
    """All objects that come; one where nothing is streamed."""
    if way in LANGCHAIN:
        structured: Any = langchain_chat(server, model=model).with_structured_output(schema, **options)
        if "stream" in way:
            return await pieces_of(structured, way, "json")
        return [structured.invoke("json") if way == "invoke" else await structured.ainvoke("json")]
    method = getattr(llama_index_chat(server, model=model), way)
    made = method(schema, PromptTemplate("Which city?"))
    if way == "stream_structured_predict":
        return list(made)
    if way == "astream_structured_predict":
        return [part async for part in await made]
    return [await made if way == "astructured_predict" else made]


def cut(text: str, size: int = 6) -> list[str]:
    """A text in pieces, as it is streamed."""
    return [text[at : at + size] for at in range(0, len(text), size)]


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
    """Sync and async, whole and streamed, by either protocol, an object in a fence is the answer."""
    with Loopback(Answer(text=cut(TEXTS["in a fence"]))) as server:
        assert (await objects(server, way, model))[-1] == ROME


@pytest.mark.report(9)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.rotated
async def test_an_object_by_json_schema(kind: str, way: str) -> None:
    """Both adapters read the object alike, alone, in a fence or with words around it."""
    with Loopback(Answer(text=cut(TEXTS[kind]))) as server:
        assert (await objects(server, way, LISTED))[-1] == ROME
        assert sent(server)["response_format"]["type"] == "json_schema"


@pytest.mark.report(9)
@pytest.mark.parametrize("way", ["invoke", "stream"])
@pytest.mark.parametrize("kind", ["in a fence in capitals", "in a fence before words", "after words"])
@pytest.mark.parametrize("schema", [City, SCHEMA, None], ids=["pydantic", "dict", "none"])
async def test_an_object_by_json_mode(schema: Any, kind: str, way: str) -> None:
    """JSON mode reads the same texts."""
    with Loopback(Answer(text=cut(TEXTS[kind]))) as server:
        found = (await objects(server, way, UNLISTED, schema, method="json_mode"))[-1]
    assert found == (ROME if schema is City else json.loads(OBJECT))


@pytest.mark.report(9, 10)
@pytest.mark.parametrize("way", SYNC)
@pytest.mark.parametrize("kind", NOT_ONE_OBJECT)
@pytest.mark.parametrize("model", [LISTED, ALWAYS])
@pytest.mark.rotated
async def test_no_object(model: str, kind: str, way: str) -> None:
    """What is not one whole object of the class is an error; nothing is repaired, and no list gives its first."""
    with Loopback(Answer(text=cut(NOT_ONE_OBJECT[kind]))) as server, pytest.raises(FAILURES):
        await objects(server, way, model)


@pytest.mark.report(9, 10)
@pytest.mark.parametrize("way", [way for way in SYNC if "stream" in way])
@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("model", [LISTED, ALWAYS])
@pytest.mark.rotated
async def test_a_text_streams_its_parts(model: str, kind: str, way: str) -> None:
    """The name shows while it is written, and the last object is the whole one."""
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
    """A model that thinks is asked by "auto"; an object in its text that fits the schema is the answer."""
    with Loopback(Answer(reasoning=["Hm."], text=cut(TEXTS[kind]))) as server:
        assert (await objects(server, way, ALWAYS))[-1] == ROME
        assert sent(server)["tool_choice"] == "auto"


@pytest.mark.report(10)
@pytest.mark.parametrize("way", LANGCHAIN)
@pytest.mark.parametrize("schema", [SCHEMA, TypedCity, OldCity], ids=["dict", "TypedDict", "pydantic v1"])
async def test_an_object_of_any_schema_in_place_of_a_call(schema: Any, way: str) -> None:
    """What no class validates has to have what the schema requires."""
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
    """The first call of the function holds the object, in parts too."""
    with Loopback(Answer(calls=CALLS[kind])) as server:
        found = await objects(server, way, model)
    assert found[-1] == ROME
    assert not [part for part in found if part.name == "Oslo"]


@pytest.mark.report(10)
@pytest.mark.parametrize("way", ALL_WAYS)
@pytest.mark.parametrize("text", [[], ["It is Rome."]], ids=["no text", "text"])
async def test_a_call_of_another_function_alone(text: list[str], way: str) -> None:
    """It is an error that names the function that was called."""
    with Loopback(Answer(text=text, calls=[OTHER])) as server, pytest.raises(FAILURES, match="weather"):
        await objects(server, way, UNLISTED)


@pytest.mark.report(10)
@pytest.mark.parametrize("way", ALL_WAYS)
async def test_a_text_beside_a_call(way: str) -> None:
    """The call wins over an object in the text; where the call is another function's, the text counts."""
    answers = [Answer(text=['{"name": "Oslo"}'], calls=[CITY]), Answer(text=cut(OBJECT), calls=[OTHER])]
    with Loopback(answers) as server:
        assert (await objects(server, way, ALWAYS))[-1] == ROME
        assert (await objects(server, way, ALWAYS))[-1] == ROME


# ---------------------------------------------------------------- output types

METHODS: tuple[Any, ...] = ("json_schema", "function_calling", "json_mode")


@pytest.mark.report(19)
@pytest.mark.parametrize("method", METHODS)
def test_the_output_type_is_the_class(method: Any) -> None:
    """A pydantic class is the OutputType, and its schema the output schema."""
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
    """OutputType is dict where dicts come out, else the class; the output schema has the properties of either."""
    with Loopback(Answer()) as server:
        structured = langchain_chat(server).with_structured_output(schema, method=method)
    assert structured.OutputType == (dict[str, Any] if schema in (SCHEMA, CityData) else schema)
    found = structured.get_output_jsonschema()
    assert (found["type"], found["properties"].keys()) == ("object", {"name", "people"})


@pytest.mark.report(19)
def test_the_output_type_without_a_schema_and_with_the_raw_message() -> None:
    """Any object is a dict, and so is what include_raw gives."""
    with Loopback(Answer()) as server:
        llm = langchain_chat(server)
        assert llm.with_structured_output(method="json_mode").get_output_jsonschema()["type"] == "object"
        assert llm.with_structured_output(City, include_raw=True).get_output_jsonschema()["type"] == "object"


# ---------------------------------------------------------------- schemas


class Street(BaseModel):
    """A street."""

    name: str


class Address(BaseModel):
    """Where someone lives."""

    street: Street = Field(description="Where exactly.")
    others: list[Street] = []


class Node(BaseModel):
    """A tree."""

    value: int
    children: list[Node] = []


class Left(BaseModel):
    """One of two that hold each other."""

    right: Right | None = None


class Right(BaseModel):
    """The other."""

    left: Left | None = None
    street: Street | None = None


class Map(BaseModel):
    """A tree and a street."""

    tree: Node
    street: Street


class Cat(BaseModel):
    kind: Literal["cat"]
    street: Street


class Dog(BaseModel):
    kind: Literal["dog"]


class Home(BaseModel):
    """Whose home."""

    pet: Cat | Dog = Field(discriminator="kind")


RECURSIVE = {Node: {"Node"}, Left: {"Left", "Right"}, Map: {"Node"}}
PLAIN = (Address, Home)


def weather(**anything: Any) -> str:
    """Tell the weather."""
    return ""


def langchain_tool(form: str, cls: type[BaseModel]) -> Any:
    """A tool of LangChain whose arguments are `cls`."""
    schema = cls.model_json_schema()
    function = {"name": cls.__name__, "description": "A tool.", "parameters": schema}
    forms: dict[str, Callable[[], Any]] = {
        "class": lambda: cls,
        "tool": lambda: StructuredTool.from_function(weather, name=cls.__name__, args_schema=cls),
        "MCP tool": lambda: StructuredTool.from_function(weather, name=cls.__name__, args_schema=schema),
        "JSON schema": lambda: {**schema, "title": cls.__name__},
        "function": lambda: function,
        "OpenAI tool": lambda: {"type": "function", "function": function},
    }
    return forms[form]()


TOOLS = ("class", "tool", "MCP tool", "function", "OpenAI tool")


def parameters_sent(adapter: str, form: str, cls: type[BaseModel]) -> dict[str, Any]:
    """The parameters that a tool in this form is sent with."""
    with Loopback(Answer(text=["No."])) as server:
        if adapter == "langchain":
            langchain_chat(server).bind_tools([langchain_tool(form, cls)]).invoke("hello")
        elif form == "class":
            tool = FunctionTool(weather, ToolMetadata("A tool.", cls.__name__, cls))
            llama_index_chat(server).chat_with_tools([tool], "hello")
        else:
            llama_index_chat(server).complete("hello", tools=[langchain_tool("OpenAI tool", cls)])
        parameters: dict[str, Any] = sent(server)["tools"][0]["function"]["parameters"]
    return parameters


def schema_sent(adapter: str, form: str, cls: type[BaseModel]) -> dict[str, Any]:
    """The schema that structured output of this class asks for."""
    with Loopback(Answer(text=["No."])) as server:
        if form == "response_format":
            wire = {"type": "json_schema", "json_schema": {"name": "x", "schema": cls.model_json_schema()}}
            if adapter == "langchain":
                langchain_chat(server).bind(response_format=wire).invoke("hello")
            else:
                llama_index_chat(server).complete("hello", response_format=wire)
        elif adapter == "langchain":
            with pytest.raises(OutputParserException):
                langchain_chat(server, model=LISTED).with_structured_output(cls).invoke("hello")
        else:
            with pytest.raises(errors.StructuredOutputError):
                llama_index_chat(server, model=LISTED).structured_predict(cls, PromptTemplate("hello"))
        schema: dict[str, Any] = sent(server)["response_format"]["json_schema"]["schema"]
    return schema


def call_sent(adapter: str, form: str, cls: type[BaseModel]) -> dict[str, Any]:
    """The parameters of the forced call that structured output of this class asks for."""
    with Loopback(Answer(text=["No."])) as server:
        if adapter == "langchain":
            with pytest.raises(OutputParserException):
                langchain_chat(server).with_structured_output(cls, method="function_calling").invoke("hello")
        else:
            with pytest.raises(errors.StructuredOutputError):
                llama_index_chat(server).structured_predict(cls, PromptTemplate("hello"))
        parameters: dict[str, Any] = sent(server)["tools"][0]["function"]["parameters"]
    return parameters


SENT = [
    *(("langchain", form, parameters_sent) for form in TOOLS),
    *(("llama_index", form, parameters_sent) for form in ("class", "OpenAI tool")),
    *(
        (adapter, form, schema_sent)
        for adapter in ("langchain", "llama_index")
        for form in ("class", "response_format")
    ),
    *((adapter, "class", call_sent) for adapter in ("langchain", "llama_index")),
]
SENT_IDS = [f"{adapter} {form} {how.__name__}" for adapter, form, how in SENT]


def plain(schema: Any) -> Any:
    """A schema without titles and descriptions, which langchain-core leaves out in places."""
    if isinstance(schema, dict):
        return {
            name: plain(value)
            for name, value in schema.items()
            if not (name in ("title", "description") and isinstance(value, str))
        }
    return [plain(each) for each in schema] if isinstance(schema, list) else schema


@pytest.mark.report(21)
@pytest.mark.parametrize(("adapter", "form", "how"), SENT, ids=SENT_IDS)
@pytest.mark.parametrize("cls", RECURSIVE)
def test_a_recursive_schema_is_sent_whole(
    cls: type[BaseModel], adapter: str, form: str, how: Callable[..., dict[str, Any]]
) -> None:
    """It has each recursive definition, what refers to it, and its root; all else is inlined."""
    schema = how(adapter, form, cls)
    assert schema["$defs"].keys() == RECURSIVE[cls]
    refs = json.dumps(schema).count('"$ref"')
    assert refs == json.dumps(schema).count('{"$ref": "#/$defs/') + json.dumps(schema).count(', "$ref": "#/$defs/')
    if cls is Map:
        assert plain(schema["properties"]["tree"]) == {"$ref": "#/$defs/Node"}
        assert schema["properties"]["street"]["properties"]["name"]["type"] == "string"
    elif form == "tool":  # of which langchain-core makes a class of its own
        assert "$ref" in json.dumps(schema["properties"])
        return
    else:
        assert schema["$ref"] == f"#/$defs/{cls.__name__}"
    if cls is Node:
        assert plain(schema) == plain(Node.model_json_schema())


@pytest.mark.report(21)
@pytest.mark.parametrize(("adapter", "form", "how"), SENT, ids=SENT_IDS)
@pytest.mark.parametrize("cls", PLAIN)
def test_definitions_are_inlined(
    cls: type[BaseModel], adapter: str, form: str, how: Callable[..., dict[str, Any]]
) -> None:
    """No reference is left where nothing recurs, and what stands beside one is kept."""
    schema = how(adapter, form, cls)
    text = json.dumps(schema)
    assert "$ref" not in text
    assert "$defs" not in text
    if cls is Address:
        street = schema["properties"]["street"]
        assert street["description"] == "Where exactly."
        assert street["properties"]["name"]["type"] == "string"
        assert schema["properties"]["others"]["items"]["required"] == ["name"]
    else:
        pets = schema["properties"]["pet"].get("oneOf") or schema["properties"]["pet"]["anyOf"]
        assert pets[0]["properties"]["street"]["properties"]["name"]["type"] == "string"


@pytest.mark.report(21)
def test_the_callers_schemas_stay_as_they_are() -> None:
    """A tool and a response_format that are inlined are not changed."""
    tool, form = langchain_tool("OpenAI tool", Address), {"type": "json_schema", "json_schema": {"name": "x"}}
    form["json_schema"] = {"name": "x", "schema": Address.model_json_schema()}
    before = json.dumps([tool, form])
    with Loopback(Answer(text=["No."])) as server:
        langchain_chat(server).bind_tools([tool], response_format=form).invoke("hello")
        llama_index_chat(server).complete("hello", tools=[tool], response_format=form)
        assert "$ref" not in server.requests[0].body.decode()
        assert "$ref" not in server.requests[1].body.decode()
    assert json.dumps([tool, form]) == before


class TypedNode(TypedDict):
    """A tree."""

    value: int
    children: list[TypedNode]


class OldNode(BaseModelV1):
    """A tree."""

    value: int
    children: list[OldNode] = []


OldNode.update_forward_refs()


def plant(tree: Node, deep: bool = False) -> str:
    """Plant a tree.

    Args:
        tree: What to plant.
        deep: How.
    """
    return ""


@pytest.mark.report(21)
@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("tool", [TypedNode, OldNode, plant], ids=["TypedDict", "pydantic v1", "function"])
def test_other_recursive_tools_of_langchain(tool: Any, strict: bool | None) -> None:
    """Every form of a tool keeps its recursive definition, its name and its description."""
    with Loopback(Answer(text=["No."])) as server:
        langchain_chat(server).bind_tools([tool], strict=strict).invoke("hello")
        function = sent(server)["tools"][0]["function"]
    assert function["name"] == tool.__name__
    assert function["description"] == ("Plant a tree." if tool is plant else "A tree.")
    assert function.get("strict") is strict
    parameters = function["parameters"]
    [(name, node)] = (parameters.get("$defs") or parameters["definitions"]).items()
    assert node["properties"]["children"]["items"]["$ref"].endswith(f"/{name}")
    if tool is plant:
        assert parameters["properties"]["tree"]["description"] == "What to plant."
    else:
        assert parameters["$ref"].endswith(f"/{name}")


REFERENCE = {"$defs": {"Place": {"title": "Place", "type": "object", "properties": {"name": {"type": "string"}}}}}
REFERENCES: dict[str, tuple[dict[str, Any], str]] = {
    "recursive": (Node.model_json_schema(), "Node"),
    "mutual": (Left.model_json_schema(), "Left"),
    "plain": ({**REFERENCE, "$ref": "#/$defs/Place"}, "Place"),
    "with a title": ({**Node.model_json_schema(), "title": "Tree"}, "Tree"),
}


@pytest.mark.report(21)
@pytest.mark.parametrize(("schema", "name"), REFERENCES.values(), ids=list(REFERENCES))
@pytest.mark.parametrize("method", METHODS[:2])
def test_a_dict_that_is_a_reference(schema: dict[str, Any], name: str, method: Any) -> None:
    """It has the name of what it refers to, or its own, and is sent whole."""
    before = json.dumps(schema)
    with Loopback(Answer(text=["{}"])) as server:
        structured = langchain_chat(server).with_structured_output(schema, method=method, include_raw=True)
        found_none = structured.invoke("hello")["parsed"] is None
        body = sent(server)
    if method == "json_schema":
        form = body["response_format"]["json_schema"]
        found, sent_name = form["schema"], form["name"]
    else:
        function = body["tools"][0]["function"]
        found, sent_name = function["parameters"], function["name"]
    assert sent_name == name
    if name == "Place":
        assert found["properties"] == {"name": {"type": "string"}}
    else:
        assert found["$ref"].removeprefix("#/$defs/") in found["$defs"]
        assert found_none or method == "json_schema"  # the text {} has nothing that the schema names
    assert json.dumps(schema) == before


@pytest.mark.report(21)
async def test_a_recursive_object_comes_back() -> None:
    """An answer to a recursive schema is read as any other."""
    tree = Node(value=1, children=[Node(value=2)])
    for model, answer in (
        (LISTED, Answer(text=cut(tree.model_dump_json()))),
        (UNLISTED, Answer(calls=[Call("call_1", "Node", cut(tree.model_dump_json()))])),
    ):
        with Loopback(answer) as server:
            for way in ALL_WAYS:
                assert (await objects(server, way, model, Node))[-1] == tree
