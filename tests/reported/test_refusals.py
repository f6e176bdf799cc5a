"""Refusals (`message.refusal`) are kept beside the text. With structured output, they raise an error."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError, ModelRefusalError
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from langchain_modelstudio import errors as langchain_errors
from llama_index_modelstudio import errors as llama_index_errors
from modelstudio_core import errors as core
from tests.langchain.service import WAYS, call
from tests.langchain.service import chat as langchain_chat
from tests.langchain.ways import ALL_WAYS, by, by_v3
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback, reply_json
from tests.protocols import both_protocols
from tests.reported.wire import Way, Wire, every_stream, every_way, text_of
from tests.service import sent

pytestmark = [
    pytest.mark.report(14),
    pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning"),
]

TEXT = "I cannot help with that."
REFUSED = Wire([{"content": None, "refusal": piece} for piece in ("I cannot ", "help ", "with that.")])
PARTS = [{"type": "text", "text": "Well. "}, {"type": "refusal", "refusal": TEXT}]
CASES: list[tuple[str, Wire, str | None, str]] = [
    # name, answer, refusal, text
    ("a refusal alone", REFUSED, TEXT, ""),
    ("with a content that is empty", Wire([{"content": "", "refusal": TEXT}]), TEXT, ""),
    ("without a content", Wire([{"refusal": TEXT}]), TEXT, ""),
    ("in parts", Wire([{"refusal": [{"text": TEXT}]}], whole={"refusal": [{"text": TEXT}]}), TEXT, ""),
    ("after some text", Wire([{"content": "Well. "}, {"content": "", "refusal": TEXT}]), TEXT, "Well. "),
    ("beside some text", Wire([{"content": "Well. ", "refusal": TEXT}]), TEXT, "Well. "),
    ("after reasoning", Wire([{"reasoning_content": "Hm."}, {"refusal": TEXT}]), TEXT, ""),
    ("as a part of the content", Wire([{"content": PARTS}], whole={"content": PARTS}), TEXT, "Well. "),
    ("as the only part", Wire([{"content": PARTS[1:]}], whole={"content": PARTS[1:]}), TEXT, ""),
    ("null", Wire([{"content": "Yes.", "refusal": None}]), None, "Yes."),
    ("empty", Wire([{"content": "Yes.", "refusal": ""}]), None, "Yes."),
]
every_case = pytest.mark.parametrize(("wire", "refusal", "text"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


def refusals_of(answer: Any) -> set[str | None]:
    """Return the refusals in the parts of an answer."""
    if hasattr(answer, "message"):
        return {answer.message.additional_kwargs.get("refusal"), answer.additional_kwargs.get("refusal")}
    return {answer.additional_kwargs.get("refusal")}


@every_way
@every_case
@pytest.mark.rotated
async def test_a_refusal_is_in_additional_kwargs(wire: Wire, refusal: str | None, text: str, way: Way) -> None:
    """Whole and streamed, separate from the text. It is not retried."""
    with Loopback(wire) as server:
        answer = await way(server, max_retries=2)
        assert len(server.requests) == 1
    assert refusals_of(answer) == {refusal}
    assert text_of(answer) == text


@both_protocols
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("name", ALL_WAYS)
@pytest.mark.rotated
async def test_a_refusal_is_a_content_block(name: str, version: str | None) -> None:
    """LangChain's standard block.

    Not in messages made from v3 events, where langchain-core omits it; those have only `additional_kwargs`.
    """
    with Loopback(REFUSED) as server:
        message = await by(name, langchain_chat(server, output_version=version))
    assert message.additional_kwargs == {"refusal": TEXT}
    blocks: Any = message.content_blocks
    if "v3" not in name and "graph" not in name:
        assert [(block["type"], block["refusal"]) for block in blocks] == [("refusal", TEXT)]


@both_protocols
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_v3_events_have_a_block_for_it(way: str) -> None:
    """From its start to its complete text."""
    with Loopback(REFUSED) as server:
        events, _ = await by_v3(langchain_chat(server), way)
    told = [event["content"] for event in events if event["event"].startswith("content-block")]
    assert told == [{"type": "refusal", "refusal": ""}, {"type": "refusal", "refusal": TEXT}]


@every_stream
async def test_streamed_refusals(way: Way) -> None:
    """LangChain chunks have the new part, LlamaIndex responses all of it so far."""
    with Loopback(REFUSED) as server:
        *pieces, _ = await way.pieces(server)
    found = [(it if way.langchain else it.message).additional_kwargs["refusal"] for it in pieces]
    if way.langchain:
        assert found == ["I cannot ", "help ", "with that."]
        assert [it.content_blocks[0]["refusal"] for it in pieces] == found
    else:
        assert found == ["I cannot ", "I cannot help ", TEXT]
        assert [it.delta for it in pieces] == ["", "", ""]


@both_protocols
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("name", ALL_WAYS)
@pytest.mark.rotated
async def test_a_langchain_conversation_continues(name: str, version: str | None) -> None:
    """The refusal is sent as text of the assistant."""
    with Loopback(REFUSED) as server:
        llm = langchain_chat(server, output_version=version)
        message = await by(name, llm)
        llm.invoke([HumanMessage("hello"), message, HumanMessage("Why not?")])
        turns = sent(server)["messages"]
    assert [turn["content"] for turn in turns] == ["hello", TEXT, "Why not?"]


@every_way
async def test_a_conversation_continues(way: Way) -> None:
    """The same, with both adapters."""
    with Loopback(REFUSED) as server:
        answer = await way(server)
        turns = [HumanMessage("hello"), answer, HumanMessage("Why not?")]
        if not way.langchain:
            turns = [ChatMessage("hello"), answer.message, ChatMessage("Why not?")]
        asked = way.model(server)
        asked.invoke(turns) if way.langchain else asked.chat(turns)
        assert [turn["content"] for turn in sent(server)["messages"]] == ["hello", TEXT, "Why not?"]


class Person(BaseModel):
    """A person."""

    name: str


@both_protocols
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Person, Person.model_json_schema()], ids=["class", "dict"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.rotated
async def test_structured_output_raises_refusals(way: str, schema: Any, method: Any) -> None:
    """langchain-core's ModelRefusalError, which is also ours, with refusal and message."""
    with Loopback(REFUSED) as server:
        llm = langchain_chat(server).with_structured_output(schema, method=method)
        with pytest.raises(ModelRefusalError, match=TEXT) as caught:
            await call(llm, way, "Who? Answer in json.")
    assert isinstance(caught.value, core.RefusalError)
    assert isinstance(caught.value, langchain_errors.RefusalError)
    assert not caught.value.is_retryable
    assert caught.value.raw_message is not None
    assert caught.value.raw_message.additional_kwargs == {"refusal": TEXT}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@both_protocols
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_include_raw_returns_refusals(method: Any) -> None:
    """As the parsing error."""
    with Loopback(REFUSED) as server:
        llm = langchain_chat(server).with_structured_output(Person, method=method, include_raw=True)
        given: Any = await llm.ainvoke("Who? Answer in json.")
    assert given["parsed"] is None
    assert isinstance(given["parsing_error"], ModelRefusalError)
    assert given["raw"].additional_kwargs["refusal"] == TEXT


PREDICT = ("structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict")


async def predicted(llm: Any, way: str) -> Sequence[Any]:
    """Return the result of a LlamaIndex prediction."""
    found = getattr(llm, way)(Person, PromptTemplate("Who?"))
    if way.startswith("a"):
        found = await found
    if "stream" in way:
        return [it async for it in found] if way.startswith("a") else list(found)
    return [found]


@both_protocols
@pytest.mark.parametrize("model", ["qwen-plus", "qwen-vl-max"], ids=["json_schema", "by call"])
@pytest.mark.parametrize("way", PREDICT)
async def test_structured_prediction_raises_refusals(way: str, model: str) -> None:
    """As an error of ours with the text of the refusal."""
    with Loopback(REFUSED) as server:
        llm = llama_index_chat(server, model=model)
        with pytest.raises(llama_index_errors.RefusalError, match=TEXT) as caught:
            await predicted(llm, way)
    assert isinstance(caught.value, core.RefusalError)
    assert isinstance(caught.value, llama_index_errors.StructuredOutputError)


@both_protocols
async def test_a_required_tool_call_raises_refusals() -> None:
    """LlamaIndex's extraction of calls raises them, too."""
    with Loopback(REFUSED) as server:
        llm = llama_index_chat(server)
        response = llm.chat([ChatMessage("hello")])
        with pytest.raises(llama_index_errors.RefusalError, match=TEXT):
            llm.get_tool_calls_from_response(response)
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []


@both_protocols
@pytest.mark.parametrize("way", WAYS)
async def test_moderation_is_a_refusal(way: str) -> None:
    """A ContentFilterError can be caught as a refusal and as an invalid request."""
    said = {"code": "data_inspection_failed", "message": "Output data may contain inappropriate content."}
    with Loopback(reply_json(400, {"error": said, **said})) as server, pytest.raises(ModelRefusalError) as caught:
        await call(langchain_chat(server), way)
    assert isinstance(caught.value, langchain_errors.ContentFilterError)
    assert isinstance(caught.value, ModelInvalidRequestError)
    assert caught.value.raw_message is None
