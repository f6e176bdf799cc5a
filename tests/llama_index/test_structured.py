"""Structured output: with json_schema or a forced call, whole and streamed, and errors."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.program.function_program import FunctionCallingProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from llama_index_modelstudio import ModelStudio, errors
from tests.llama_index.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.service import Answer, Call, sent

pytestmark = both_protocols
T = TypeVar("T")


class Street(BaseModel):
    """A street."""

    name: str
    number: int


class Address(BaseModel):
    """Where someone lives."""

    city: str
    street: Street
    tags: list[str] = []


class Box(BaseModel, Generic[T]):
    """A box."""

    content: T


PIECES = ('{"city": "杭州", ', '"street": {"name": ', '"Long Road", "number": 7', '}, "tags": ["a", ', '"b"]}')
ADDRESS = Address(city="杭州", street=Street(name="Long Road", number=7), tags=["a", "b"])
BY_SCHEMA = Answer(text=PIECES)
BY_CALL = Answer(calls=[Call("call_1", "Address", PIECES)])
PROMPT = PromptTemplate("Where does {who} live?")
SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Where does Ada live?"}
# a model that is listed for json_schema, one that is not, one that always thinks
LISTED, UNLISTED, ALWAYS = "qwen3.7-plus", "qwen-plus", "qwq-plus"
PREDICTIONS = ("structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict")


async def predict(llm: ModelStudio, way: str, cls: type[BaseModel] = Address, **options: Any) -> list[Any]:
    """Return the objects of a prediction, or the only one."""
    method = getattr(llm, way)
    if way == "stream_structured_predict":
        return list(method(cls, PROMPT, who="Ada", **options))
    if way == "astream_structured_predict":
        return [part async for part in await method(cls, PROMPT, who="Ada", **options)]
    return [
        await method(cls, PROMPT, who="Ada", **options) if way[0] == "a" else method(cls, PROMPT, who="Ada", **options)
    ]


@pytest.mark.parametrize("way", PREDICTIONS)
async def test_by_json_schema(way: str) -> None:
    """A listed model gets the schema as response_format and no tools. Thinking is not changed."""
    with Loopback(BY_SCHEMA) as server:
        objects = await predict(chat(server, model=LISTED, system_prompt="Be brief."), way)
        body = sent(server)
    assert objects[-1] == ADDRESS
    assert body["messages"] == [SYSTEM, USER]
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["name"] == "Address"
    assert body["response_format"]["json_schema"]["schema"]["properties"]["street"]["required"] == ["name", "number"]
    assert not body.keys() & {"tools", "tool_choice", "enable_thinking"}


@pytest.mark.parametrize("way", PREDICTIONS)
async def test_the_model_of_the_call_determines_the_method(way: str) -> None:
    """A model in `llm_kwargs` determines the method."""
    with Loopback(BY_SCHEMA) as server:
        objects = await predict(chat(server, model=UNLISTED), way, llm_kwargs={"model": LISTED})
        assert (sent(server)["model"], sent(server)["response_format"]["type"]) == (LISTED, "json_schema")
    assert objects[-1] == ADDRESS


@pytest.mark.parametrize("way", ["structured_predict", "astructured_predict"])
async def test_events_of_a_prediction(way: str) -> None:
    """One start event with the class, one end event with the object."""
    heard: list[Any] = []

    class Events(BaseEventHandler):
        def handle(self, event: Any, **kwargs: Any) -> None:
            if isinstance(event, LLMStructuredPredictStartEvent):
                heard.append(event.output_cls)
            elif isinstance(event, LLMStructuredPredictEndEvent):
                heard.append(event.output)

    handler, root = Events(), get_dispatcher()
    root.add_event_handler(handler)
    try:
        with Loopback(BY_SCHEMA) as server:
            await predict(chat(server, model=LISTED), way)
    finally:
        root.event_handlers.remove(handler)
    assert heard == [Address, ADDRESS]


@pytest.mark.parametrize("way", PREDICTIONS)
async def test_by_a_forced_call(way: str) -> None:
    """Other models must call a function with the schema. Prompts of the object apply, also async."""
    with Loopback(BY_CALL) as server:
        llm = chat(server, model=UNLISTED, system_prompt="Be brief.")
        objects = await predict(llm, way, llm_kwargs={"tool_choice": "auto", "temperature": 0.5})
        body = sent(server)
    assert objects[-1] == ADDRESS
    assert body["messages"] == [SYSTEM, USER]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "Address"}}
    assert body["tools"][0]["function"]["parameters"]["properties"]["street"]["required"] == ["name", "number"]
    assert body["parallel_tool_calls"] is False
    assert body["temperature"] == 0.5
    assert "response_format" not in body


@pytest.mark.parametrize("way", PREDICTIONS)
@pytest.mark.parametrize(("model", "answer"), [(LISTED, BY_SCHEMA), (UNLISTED, BY_CALL)])
async def test_partial_objects_are_streamed(way: str, model: str, answer: Answer) -> None:
    """Each has more than the one before, and the last is complete."""
    with Loopback(answer) as server:
        parts = await predict(chat(server, model=model), way)
    if "stream" in way:
        assert len(parts) > 3
        assert [part.city for part in parts if part.city] == ["杭州"] * len([part for part in parts if part.city])
        assert len(parts) <= len(PIECES) + 2  # only what is new is given
        assert [part.street for part in parts if part.street is not None][:2] == [{}, ADDRESS.street]
        shown = [len(part.model_dump_json(exclude_none=True, exclude_unset=True)) for part in parts]
        assert shown == sorted(shown)
    assert isinstance(parts[-1], Address)


@pytest.mark.parametrize("way", PREDICTIONS)
async def test_a_forced_call_and_thinking(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """Thinking is disabled for the request, or the choice is "auto" with a log entry if the model always thinks."""
    with Loopback(BY_CALL) as server:
        assert (await predict(chat(server, model="qwen3.6-plus"), way))[-1] == ADDRESS
        assert sent(server)["enable_thinking"] is False
        assert (await predict(chat(server, model=ALWAYS), way))[-1] == ADDRESS
        assert sent(server)["tool_choice"] == "auto"
    assert "forced tool_choice" in caplog.text


FAILURES: list[tuple[str, Answer, str]] = [
    (ALWAYS, Answer(text=["I would rather not."]), "did not call.*rather not.*enable_thinking=False"),
    (UNLISTED, Answer(calls=[Call("call_1", "Address", ['{"city": "A'])], finish="length"), "truncated.*max_tokens"),
    (UNLISTED, Answer(calls=[Call("call_1", "Address", ['{"city": "A"}'])]), "not a valid Address.*street"),
    (LISTED, Answer(text=['{"city": "A", "street": {']), "not a valid Address"),
    (LISTED, Answer(text=['{"city": "A", "street": {'], finish="length"), "truncated.*max_tokens"),
    (LISTED, Answer(text=["Sorry."]), "not a valid Address"),
]


@pytest.mark.parametrize("way", PREDICTIONS)
@pytest.mark.parametrize(("model", "answer", "said"), FAILURES)
@pytest.mark.rotated
async def test_no_object(way: str, model: str, answer: Answer, said: str) -> None:
    """An answer without the object raises an error with advice, also streamed."""
    with Loopback(answer) as server, pytest.raises(errors.StructuredOutputError, match=f"(?s){said}") as caught:
        await predict(chat(server, model=model), way)
    assert isinstance(caught.value, ValueError)


# LlamaIndex dumps the parts of a stream by a method that pydantic has deprecated
@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("model", "answer"), [(LISTED, BY_SCHEMA), (UNLISTED, BY_CALL)])
async def test_a_structured_llm(way: str, model: str, answer: Answer) -> None:
    """`as_structured_llm` returns nested objects as `raw`, and JSON as the message."""
    with Loopback(answer) as server:
        structured = chat(server, model=model).as_structured_llm(Address)
        assert isinstance(structured, StructuredLLM)
        response = await call(structured, way, temperature=0.5)
        assert sent(server)["temperature"] == 0.5
    assert response.raw == ADDRESS
    assert Address.model_validate_json(response.message.content) == ADDRESS


@pytest.mark.parametrize("way", ["__call__", "acall", "stream_call", "astream_call"])
async def test_llamaindexs_own_program(way: str) -> None:
    """FunctionCallingProgram, used directly, finds the calls."""
    with Loopback(BY_CALL) as server:
        program = FunctionCallingProgram.from_defaults(Address, llm=chat(server), prompt=PROMPT)
        if way == "__call__":
            found = program(who="Ada")
        elif way == "acall":
            found = await program.acall(who="Ada")
        elif way == "stream_call":
            found = list(program.stream_call(who="Ada"))[-1]
        else:
            found = [part async for part in await program.astream_call(who="Ada")][-1]
    assert found == ADDRESS


@pytest.mark.parametrize("way", ["structured_predict", "astructured_predict"])
async def test_a_model_without_tools(way: str) -> None:
    """LlamaIndex's text program is used, also if the caller selects it."""
    with Loopback(Answer(text=[ADDRESS.model_dump_json()])) as server:
        for llm in (
            chat(server, is_function_calling_model=False),
            chat(server, pydantic_program_mode=PydanticProgramMode.LLM),
        ):
            assert (await predict(llm, way))[-1] == ADDRESS
            assert not sent(server).keys() & {"tools", "response_format"}


def test_llm_kwargs_are_not_changed() -> None:
    """Options of LlamaIndex's programs are not sent."""
    options = {"tool_choice": "auto", "tool_required": False, "allow_parallel_tool_calls": True, "temperature": 0.5}
    before = dict(options)
    for model, answer in ((LISTED, BY_SCHEMA), (UNLISTED, BY_CALL)):
        with Loopback(answer) as server:
            chat(server, model=model).structured_predict(Address, PROMPT, llm_kwargs=options, who="Ada")
            assert sent(server)["temperature"] == 0.5
            assert sent(server).get("tool_choice") != "auto"
    assert options == before


def test_schema_names() -> None:
    """A generic class has brackets in its name, which the service rejects."""
    kind = Box[Street]
    with Loopback(Answer(text=['{"content": {"name": "Long Road", "number": 7}}'])) as server:
        chat(server, model=LISTED).structured_predict(kind, PROMPT, who="Ada")
        assert sent(server)["response_format"]["json_schema"]["name"] == "Box_Street_"


@pytest.mark.parametrize("way", ["stream_structured_predict", "astream_structured_predict"])
async def test_only_the_first_call_is_parsed(way: str) -> None:
    """Partial objects are from it alone, without repetitions."""
    answer = Answer(calls=[Call("call_1", "Address", PIECES), Call("call_2", "Address", PIECES)])
    with Loopback(answer) as server:
        parts = await predict(chat(server, model=UNLISTED), way)
    assert len(parts) <= len(PIECES) + 2
    assert parts[-1] == ADDRESS
