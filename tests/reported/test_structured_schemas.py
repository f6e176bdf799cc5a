"""Structured output: recursive schemas, and references."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

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
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback
from tests.reported.structured import ALL_WAYS, LISTED, METHODS, UNLISTED, cut, objects
from tests.service import Answer, Call, sent


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
    """Return a LangChain tool whose arguments are `cls`."""
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
    """Return the parameters with which a tool in this form is sent."""
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
    """Return the schema of a structured output request."""
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
    """Return the parameters of the forced call of a structured output request."""
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
    """Return a schema without titles and descriptions, which langchain-core omits in places."""
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
def test_a_recursive_schema_is_complete(
    cls: type[BaseModel], adapter: str, form: str, how: Callable[..., dict[str, Any]]
) -> None:
    """It has all recursive definitions and references. Others are inlined."""
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
    """No reference is left without recursion. Keywords beside a reference are kept."""
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
def test_the_callers_schemas_are_not_changed() -> None:
    """When a tool or a response_format is inlined."""
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
    """Every form of tool keeps its recursive definition, name and description."""
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
    """Its name is its own, or that of the definition."""
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
async def test_a_recursive_object_is_parsed() -> None:
    """Like any other."""
    tree = Node(value=1, children=[Node(value=2)])
    for model, answer in (
        (LISTED, Answer(text=cut(tree.model_dump_json()))),
        (UNLISTED, Answer(calls=[Call("call_1", "Node", cut(tree.model_dump_json()))])),
    ):
        with Loopback(answer) as server:
            for way in ALL_WAYS:
                assert (await objects(server, way, model, Node))[-1] == tree
