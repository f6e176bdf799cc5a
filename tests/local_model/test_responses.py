"""The Responses protocol of the local model: requests and events, without and with a server."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import httpx
import pytest

import local_model
from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from local_model.responses import Memory, Text, Texts, Writer, chat_body, framed, input_items, search_of
from local_model.retrieval import InvalidRequest
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.responses import ResponsesCodec
from modelstudio_core.types import ChatRequest, Message, ResponseHead
from tests.ids import short

Json = dict[str, Any]
USER = {"role": "user", "content": [{"type": "input_text", "text": "How do bats fly?"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "ok"}
FOUND = [Text("bats.txt", "Bats fly at night.", 0.9)]


def test_input_becomes_messages() -> None:
    """Instructions, search results, reasoning, calls and results in the format of chats."""
    items = [
        USER,
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
        CALL,
        RESULT,
        {"type": "web_search_call", "id": "ws"},
        {"role": "developer", "content": "Be brief."},
    ]
    messages = chat_body({"model": "m", "instructions": "S"}, items, FOUND)["messages"]
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert messages == [
        {"role": "system", "content": "S\n\nAnswer from these texts:\nBats fly at night."},
        {"role": "user", "content": "How do bats fly?"},
        {"role": "assistant", "content": "Let me see.", "reasoning_content": "Hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
        {"role": "system", "content": "Be brief."},
    ]


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({"max_output_tokens": 20, "temperature": 0}, {"max_tokens": 20, "temperature": 0}),
        ({"reasoning": {"effort": "none"}}, {"reasoning_effort": "none"}),
        ({"tools": [{"type": "function", "name": "f"}, {"type": "web_search"}], "tool_choice": "required"},
         {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "required"}),
        ({"tools": [{"type": "function", "name": "f"}],
          "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}},
         {"tools": [{"type": "function", "function": {"name": "f"}}],
          "tool_choice": {"type": "function", "function": {"name": "f"}}}),
    ],
    ids=short,
)  # fmt: skip
def test_fields(asked: Json, made: Json) -> None:
    body = chat_body(asked, input_items({"input": "hi"}))
    assert {name: body[name] for name in body if name not in ("messages", "stream", "stream_options")} == made


@pytest.mark.parametrize(
    "body",
    [{}, {"input": []}, {"input": ["x"]}, {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
     {"input": "x", "tools": [{"type": "function", "function": {"name": "f"}}]}],
    ids=str,
)  # fmt: skip
def test_invalid_requests(body: Json) -> None:
    """As at the service, the nested format of a function is rejected."""
    with pytest.raises(InvalidRequest):
        chat_body(body, input_items(body))


@pytest.mark.parametrize(
    ("body", "items", "search"),
    [
        ({"tools": [{"type": "web_search"}]}, [USER], ("web_search", "How do bats fly?")),
        ({"tools": [{"type": "file_search"}]}, [USER], ("file_search", "How do bats fly?")),
        ({"tools": [{"type": "web_search"}], "tool_choice": "none"}, [USER], None),
        ({"tools": [{"type": "web_search"}]}, [USER, CALL, RESULT], None),
        ({"tools": [{"type": "code_interpreter"}]}, [USER], None),
    ],
    ids=["web", "files", "not chosen", "after a result", "another tool"],
)
def test_searches(body: Json, items: list[Json], search: Any) -> None:
    assert search_of(body, items) == search


def chunk(finish: str | None = None, **delta: Any) -> Json:
    return {"choices": [{"delta": delta, "finish_reason": finish}]}


CHUNKS = [
    chunk(reasoning_content="Hm"),
    chunk(content="It "),
    chunk(content="is"),
    chunk(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
    chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    chunk("tool_calls"),
    {
        "choices": [],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    },
]


def events_of(writer: Writer) -> Iterator[Json]:
    yield from writer.start()
    yield from writer.searched("file_search", "bats", FOUND)
    for each in CHUNKS:
        yield from writer.feed(each)
    yield from writer.end()


def test_events() -> None:
    """Our codec decodes the answer. Each event has the correct index of its item."""
    writer = Writer({"model": "qwen-plus"})
    events = list(events_of(writer))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    output = writer.response["output"]
    ids = [item["id"] for item in output]
    for event in events:
        if "output_index" in event:
            assert event.get("item_id", event.get("item", {}).get("id")) == ids[event["output_index"]]
    assert [item["type"] for item in output] == ["file_search_call", "reasoning", "message", "function_call"]
    request = ChatRequest("qwen-plus", (Message("user", "hi"),))
    decoder = ResponsesCodec().stream(request, ResponseHead(200, {}), max_event_bytes=100_000)
    deltas = [delta for number, event in enumerate(events) for delta in decoder.feed(framed(number, event))]
    result = fold([*deltas, *decoder.finish()])
    assert decoder.failure is None
    [choice] = result.choices
    assert (choice.reasoning, choice.text, choice.finish_reason) == ("Hm", "It is", "tool_calls")
    assert [(call.id, call.name, call.args) for call in choice.tool_calls] == [("c1", "f", {"a": 1})]
    assert result.usage is not None
    assert (result.usage.total_tokens, result.usage.raw["x_tools"]) == (7, {"file_search": {"count": 1}})
    assert result.usage.reasoning_tokens == 1
    assert result.extras["search_info"]["search_results"][0]["title"] == "bats.txt"


def test_a_truncated_answer_is_incomplete() -> None:
    writer = Writer({})
    events = [*writer.start(), *writer.feed(chunk("length", content="It")), *writer.end()]
    assert events[-1]["type"] == "response.incomplete"
    assert writer.response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert writer.response["output"][0]["status"] == "incomplete"


def test_memory_keeps_the_latest_responses() -> None:
    """Unknown ones raise an error."""
    memory = Memory()
    for number in range(101):
        memory.keep(f"r{number}", [USER])
    assert (memory.read(None), memory.read("r100")) == ([], [USER])
    for unknown in ("r0", "x", 1):
        with pytest.raises(InvalidRequest, match="not found"):
            memory.read(unknown)


def test_texts_are_embedded_once(tmp_path: Path) -> None:
    """The most similar texts are first. Without a folder there are none."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.txt").write_text(name)
    asked: list[Any] = []

    def embed(texts: Any) -> Any:
        asked.append(list(texts))
        return [{"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8], "d": [0.8, 0.6]}[text] for text in texts]

    texts = Texts(str(tmp_path))
    assert [found.name for found in texts.search("b", embed)] == ["b.txt", "c.txt", "d.txt"]
    texts.search("a", embed)
    assert asked == [["a", "b", "c", "d"], ["b"], ["a"]]
    assert Texts("").search("a", embed) == []


# ---------------------------------------------------------------- with the model


@pytest.fixture(scope="module")
def server() -> Iterator[local_model.RunningModel]:
    with local_model.running(force_auto=True) as running:
        yield running


@pytest.mark.slow
def test_both_adapters_search_the_texts(server: local_model.RunningModel) -> None:
    """With the real model: the sources are citations, and the answer is continued by its ID."""
    given: Any = {"model": "qwen-plus", "base_url": server.base_url, "protocol": "responses", "max_tokens": 40}
    llm = ChatModelStudio(**given, use_previous_response_id=True)
    message = llm.bind_tools([{"type": "web_search"}]).invoke("How do bats find their way in the dark?")
    blocks: Any = message.content_blocks
    kinds = [block["type"] for block in blocks]
    assert kinds == ["server_tool_call", "server_tool_result", "text"]
    assert blocks[-1]["annotations"][0]["url"] == "file:bats.txt"
    assert message.response_metadata["usage"]["x_tools"] == {"web_search": {"count": 1}}
    again = llm.invoke([("user", "How do bats find their way in the dark?"), message, ("user", "Do they sleep?")])
    assert again.text
    response = ModelStudio(**given, built_in_tools=[{"type": "file_search", "vector_store_ids": ["texts"]}]).complete(
        "How do bees make honey?"
    )
    assert response.additional_kwargs["search_info"]["search_results"][0]["title"] == "honey.txt"


@pytest.mark.slow
def test_thinking_and_functions_stream(server: local_model.RunningModel) -> None:
    llm = ChatModelStudio(model="qwen-plus", base_url=server.base_url, protocol="responses", max_tokens=60)

    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        return "sunny"

    thinking = reduce(add, llm.stream("Why is the sky blue?", enable_thinking=True))
    assert thinking.additional_kwargs["reasoning_content"]
    assert thinking.text
    usage: Any = thinking.usage_metadata
    assert 0 < usage["output_token_details"]["reasoning"] < usage["output_tokens"]
    chunks = list(llm.bind_tools([get_weather]).stream("What is the weather in Paris?"))
    assert sum(len(chunk.tool_call_chunks) for chunk in chunks) > 2


@pytest.mark.slow
def test_errors(server: local_model.RunningModel) -> None:
    """In the formats of the service: with a status, and with status 200 in a stream."""
    body: Any = {"model": "qwen-plus", "input": "word " * 9000}
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=60) as client:
        whole = client.post("/responses", json=body)
        stream = client.post("/responses", json={**body, "stream": True})
        lost = client.post("/responses", json={**body, "previous_response_id": "resp_x"})
    assert (whole.status_code, set(whole.json())) == (400, {"code", "message", "request_id"})
    assert stream.status_code == 200
    assert "event:response.failed" in stream.text
    assert (lost.status_code, "not found" in lost.json()["message"]) == (400, True)
