"""Decoding of the Responses protocol: documented events, deviations of the service, and usage."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelstudio_core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.responses import ResponsesCodec, is_lost_response
from modelstudio_core.types import ChatRequest, ChatResult, Delta, Message, ResponseHead
from tests.core.decoding import GENERATED, check_form, read
from tests.fuzz.reading import pieces, read_stream, read_whole
from tests.responses import RESPONSE_ID, frames, response

Json = dict[str, Any]
HEAD = ResponseHead(200, {"x-request-id": "r-1"})
REQUEST = ChatRequest("qwen-plus", (Message("user", "hi"),))
CREATED = {"type": "response.created", "response": response(status="queued")}
COMPLETED = {"type": "response.completed", "response": response()}
FAILED_429 = {"code": "server_error", "message": "server_error: <429> Requests rate limit exceeded"}


def item(kind: str, event: str = "done", **more: Any) -> Json:
    return {"type": f"response.output_item.{event}", "output_index": 0, "item": {"type": kind, "id": "i1", **more}}


def delta(kind: str, text: str, id: str = "i1") -> Json:
    return {"type": f"response.{kind}.delta", "item_id": id, "delta": text, "content_index": 0}


def said(text: str, **more: Any) -> Json:
    return item("message", content=[{"type": "output_text", "text": text, **more}])


def call(**more: Any) -> Json:
    return item("function_call", **{"call_id": "c1", "name": "f", "arguments": '{"a": 1}', **more})


def summary(*texts: str) -> Json:
    return item("reasoning", summary=[{"type": "summary_text", "text": text} for text in texts])


@dataclass(frozen=True)
class Row:
    """Events between `created` and `completed`, and their result."""

    name: str
    events: list[Json]
    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str | None, str, Json]] = field(default_factory=list)
    extras: Mapping[str, Any] = field(default_factory=dict)
    finish: str | None = None
    last: Json = field(default_factory=lambda: COMPLETED)


ARGUMENTS = "function_call_arguments"
SEARCHED = {"id": "ws_1", "name": "web_search", "args": {"query": "sky"}, "status": "success"}
SEARCH = {"type": "search", "query": "sky", "sources": [{"type": "url", "url": "https://a.example"}]}
CITED = {"type": "url_citation", "url": "https://b.example", "title": "B", "start_index": 0, "end_index": 2}
WEATHER = ("c1", "f", {"a": 1})
ROWS = [
    Row("text in deltas", [delta("output_text", "It "), delta("output_text", "is"), said("It is")], "It is"),
    Row("text only when the item is done", [item("message", "added", content=[]), said("It is")], "It is"),
    Row("two messages", [delta("output_text", "A"), said("A"), delta("output_text", "B", "i2"),
                          item("message", id="i2", content=[{"type": "output_text", "text": "B"}])], "AB"),
    Row("reasoning in deltas", [delta("reasoning_text", "Hm"), summary("Hm")], reasoning="Hm"),
    Row("reasoning under OpenAI's name", [delta("reasoning_summary_text", "Hm"), summary("Hm")], reasoning="Hm"),
    Row("reasoning and its summary", [delta("reasoning_text", "H"), delta("reasoning_summary_text", "H"),
                                   delta("reasoning_text", "m")], reasoning="Hm"),
    Row("reasoning only when the item is done", [summary("H", "m")], reasoning="Hm"),
    Row("a reasoning item with the id of a message, as the service has it",
        [delta("reasoning_text", "Hm", "msg_1"), delta("output_text", "It", "msg_2")], "It", "Hm"),
    Row("a message with the id of its reasoning",
        [delta("reasoning_text", "Hm"), summary(), delta("output_text", "It"), said("It")], "It", "Hm"),
    Row("a message with the id of its reasoning, when the items are done", [summary("Hm"), said("It")], "It", "Hm"),
    Row("a call whose arguments come when it is done", [call()], calls=[WEATHER], finish="tool_calls"),
    Row("a call in deltas", [item("function_call", "added", call_id="c1", name="f", arguments=""),
                             delta(ARGUMENTS, '{"a"'), delta(ARGUMENTS, ": 1}"), call()],
        calls=[WEATHER], finish="tool_calls"),
    Row("a call in deltas before it is added", [delta(ARGUMENTS, '{"a": 1}'), call()],
        calls=[WEATHER], finish="tool_calls"),
    Row("a call without an id", [call(call_id="")], calls=[(GENERATED, "f", {"a": 1})], finish="tool_calls"),
    Row("two calls, mixed", [delta(ARGUMENTS, '{"a"'), delta(ARGUMENTS, "{", "i2"), delta(ARGUMENTS, ": 1}"),
                             delta(ARGUMENTS, "}", "i2"), call(), call(id="i2", call_id="c2", name="g")],
        calls=[WEATHER, ("c2", "g", {})], finish="tool_calls"),
    Row("cut off by the limit of tokens", [delta("output_text", "It")], "It", finish="length",
        last={"type": "response.incomplete",
              "response": response(status="incomplete", incomplete_details={"reason": "max_output_tokens"})}),
    Row("cut off by moderation", [delta("output_text", "It")], "It", finish="content_filter",
        last={"type": "response.incomplete",
              "response": response(status="incomplete", incomplete_details={"reason": "content_filter"})}),
    Row("a web search", [item("web_search_call", "added", id="ws_1"),
                         {"type": "response.web_search_call.searching", "item_id": "ws_1"},
                         item("web_search_call", id="ws_1", action=SEARCH, status="completed"), said("It")], "It",
        extras={"server_tools": [SEARCHED | {"output": SEARCH["sources"]}],
                "search_info": {"search_results": [{"url": "https://a.example"}]}}),
    Row("a source that two searches found",
        [item("web_search_call", id=id, action=SEARCH, status="completed") for id in ("ws_1", "ws_2")],
        extras={"server_tools": [SEARCHED | {"id": id, "output": SEARCH["sources"]} for id in ("ws_1", "ws_2")],
                "search_info": {"search_results": [{"url": "https://a.example"}]}}),
    Row("code", [item("code_interpreter_call", code="1+1", container_id="x", outputs=[{"type": "logs", "logs": "2"}])],
        extras={"server_tools": [{"id": "i1", "name": "code_interpreter", "args": {"code": "1+1"},
                                  "status": "success", "output": [{"type": "logs", "logs": "2"}]}]}),
    Row("an image search, whose output is JSON in a text",
        [item("image_search_call", name="image_search", arguments='{"q": "cat"}', output='[{"url": "https://c"}]')],
        extras={"server_tools": [{"id": "i1", "name": "image_search", "args": {"q": "cat"}, "status": "success",
                                  "output": [{"url": "https://c"}]}]}),
    Row("an output that only looks like JSON", [item("web_extractor_call", goal="sky", output="[1] The sky")],
        extras={"server_tools": [{"id": "i1", "name": "web_extractor", "args": {"goal": "sky"}, "status": "success",
                                  "output": "[1] The sky"}]}),
    Row("a failed MCP call", [item("mcp_call", server_label="docs", name="find", arguments="{}", error="no such page")],
        extras={"server_tools": [{"id": "i1", "name": "mcp", "args": {"server_label": "docs", "name": "find"},
                                  "status": "error", "output": "no such page"}]}),
    Row("a search of files", [item("file_search_call", queries=["sky"],
                                   results=[{"file_id": "f1", "filename": "sky.txt", "score": 0.5, "text": "blue"}])],
        extras={"server_tools": [{"id": "i1", "name": "file_search", "args": {"queries": ["sky"]}, "status": "success",
                                  "output": [{"file_id": "f1", "filename": "sky.txt", "score": 0.5, "text": "blue"}]}],
                "search_info": {"search_results": [{"title": "sky.txt", "cited_text": "blue", "file_id": "f1",
                                                    "score": 0.5}]}}),
    Row("an annotation", [delta("output_text", "It"), said("It", annotations=[CITED])], "It",
        extras={"search_info": {"search_results": [{k: v for k, v in CITED.items() if k != "type"}]}}),
    Row("an annotation of its own event",
        [delta("output_text", "It"), {"type": "response.output_text.annotation.added", "annotation": CITED}], "It",
        extras={"search_info": {"search_results": [{k: v for k, v in CITED.items() if k != "type"}]}}),
    Row("a search that failed", [item("web_search_call", id="ws_1", status="failed", action={"query": "sky"})],
        extras={"server_tools": [SEARCHED | {"status": "error", "output": None}]}),
    Row("an unknown event", [{"type": "response.new_thing.delta", "delta": "x"}, said("It")], "It"),
    Row("an unknown item, which is kept", [item("video", url="https://v"), said("It")], "It",
        extras={"other_items": [{"type": "video", "id": "i1", "url": "https://v"}]}),
    Row("an unknown tool of the service", [item("new_tool_call", output="x")],
        extras={"server_tools": [{"id": "i1", "name": "new_tool", "args": {}, "status": "success", "output": "x"}]}),
    Row("items that are done in the last event only",
        [item("function_call", "added", call_id="c1", name="f", arguments=""),
         item("message", "added", id="i2", content=[]), item("web_search_call", "added", id="ws_1"),
         delta("reasoning_text", "Hm", "i3")], "It", "Hm", [WEATHER], finish="tool_calls",
        extras={"server_tools": [SEARCHED | {"output": SEARCH["sources"]}],
                "search_info": {"search_results": [{"url": "https://a.example"}]}},
        last={"type": "response.completed", "response": response(output=[
            call()["item"], said("It")["item"] | {"id": "i2"}, summary("Hm")["item"] | {"id": "i3"},
            item("web_search_call", id="ws_1", action=SEARCH, status="completed")["item"]])}),
    Row("items in the last event only", [], "It",
        last={"type": "response.completed", "response": response(output=[said("It")["item"]])}),
]  # fmt: skip


def result_of(deltas: list[Delta]) -> ChatResult:
    check_form(deltas)
    return fold(deltas)


def streamed(*events: Json, size: int | None = None) -> tuple[ChatResult, ModelStudioError | None]:
    decoder = ResponsesCodec().stream(REQUEST, HEAD, max_event_bytes=1_000_000)
    return result_of(read(decoder, frames(events), size)), decoder.failure


def whole(body: Any) -> ChatResult:
    return result_of(ResponsesCodec().decode(REQUEST, HEAD, json.dumps(body).encode()))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_documented_events(row: Row) -> None:
    """Every split of the bytes gives the same result."""
    for size in (None, 1, 17):
        result, failure = streamed(CREATED, *row.events, row.last, size=size)
        [choice] = result.choices
        assert failure is None
        assert (choice.text, choice.reasoning) == (row.text, row.reasoning)
        assert [(c.id, c.name, c.args) for c in choice.tool_calls] == row.calls
        assert choice.finish_reason == (row.finish or "stop")
        assert result.extras == {"response_id": RESPONSE_ID, **row.extras}
        assert (result.response.id, result.response.request_id) == (RESPONSE_ID, "r-1")


WHOLE = [row for row in ROWS if "in deltas" not in row.name and row.events[-1:] and "item" in row.events[-1]]


@pytest.mark.parametrize("row", WHOLE, ids=[row.name for row in WHOLE])
def test_a_whole_response_equals_its_stream(row: Row) -> None:
    """A response with the items of a stream gives the same answer, tools and sources."""
    items = [event["item"] for event in row.events if event["type"] == "response.output_item.done"]
    result = whole(response(output=items))
    expected, _ = streamed(CREATED, *[event for event in row.events if "item" in event], COMPLETED)
    assert (result.choices, result.extras) == (expected.choices, expected.extras)
    assert result.choices[0].finish_reason == (row.finish or "stop")


def test_a_tool_is_reported_at_its_start_and_end() -> None:
    """The first report has no output, so that a program can show a running search."""
    decoder = ResponsesCodec().stream(REQUEST, HEAD, max_event_bytes=10_000)
    began = decoder.feed(frames([CREATED, item("web_search_call", "added", id="ws_1")]))[-1]
    ended = decoder.feed(frames([item("web_search_call", id="ws_1", action=SEARCH)]))[-1]
    assert began.value == [{"id": "ws_1", "name": "web_search", "args": {}, "status": "in_progress"}]  # type: ignore
    assert ended.value == [SEARCHED | {"output": SEARCH["sources"]}]  # type: ignore


USED = {
    "input_tokens": 20, "output_tokens": 9, "total_tokens": 29, "input_tokens_details": {"cached_tokens": 8},
    "output_tokens_details": {"reasoning_tokens": 5}, "x_tools": {"web_search": {"count": 1}},
    "x_details": [{"x_billing_type": "response_api", "image_tokens": 3,
                   "input_tokens_details": {"cache_creation_input_tokens": 4}}],
}  # fmt: skip


def test_usage() -> None:
    """Counts come from the usage and its service-specific details. The raw object has the tool runs."""
    usage = whole(response(output=[said("It")["item"]], usage=USED)).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (20, 9, 29)
    assert (usage.cached_tokens, usage.cache_creation_tokens, usage.reasoning_tokens) == (8, 4, 5)
    assert usage.input_image_tokens == 3
    assert usage.raw["x_tools"] == {"web_search": {"count": 1}}
    details = {"input_tokens_details": {"cached_tokens": 7, "cache_creation_input_tokens": 4}}
    only_there = whole(response(usage={"input_tokens": 20, "x_details": [details]})).usage
    assert only_there is not None
    assert (only_there.cached_tokens, only_there.cache_creation_tokens) == (7, 4)


def test_a_response_that_is_not_stored_cannot_be_continued() -> None:
    """With `store=False`, there is no response ID."""
    request = ChatRequest("qwen-plus", (Message("user", "hi"),), parameters={"store": False})
    deltas = ResponsesCodec().decode(request, HEAD, json.dumps(response()).encode())
    assert fold(deltas).extras == {}


ERRORS: list[tuple[str, Json, type[ModelStudioError], int | None]] = [
    ("the status in the message", FAILED_429, RateLimitError, 429),
    ("a phrase as code", {"code": "Not Found", "message": "The model x does not exist."}, NotFoundError, 404),
    ("a code of the service", {"code": "InvalidApiKey", "message": "Incorrect API key."}, AuthenticationError, None),
    ("OpenAI's code", {"code": "server_error", "message": "An internal error."}, ServerError, 500),
    ("too long", {"code": "InvalidParameter", "message": "Range of input length should be [1, 9]"},
     ContextLengthError, None),
    ("moderation", {"code": "data_inspection_failed", "message": "may contain inappropriate content"},
     ContentFilterError, None),
    ("the vendor's prefix", {"code": "x", "message": "<400> InternalError.Algo.InvalidParameter: no"},
     BadRequestError, 400),
    ("nothing", {}, APIStatusError, None),
]  # fmt: skip


@pytest.mark.parametrize(("error", "cls", "status"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_a_failed_response(error: Json, cls: type[ModelStudioError], status: int | None) -> None:
    """The typed error, streamed with status 200 or whole, after the deltas."""
    failed = response(status="failed", error=error, usage=USED)
    result, failure = streamed(CREATED, delta("output_text", "It"), {"type": "response.failed", "response": failed})
    assert (type(failure), failure and failure.status_code) == (cls, status)
    assert failure is not None
    assert failure.request_id == "r-1"
    assert (result.text, result.usage and result.usage.total_tokens) == ("It", 29)
    with pytest.raises(APIStatusError) as caught:
        whole(failed)
    assert (type(caught.value), caught.value.status_code) == (cls, status)


@pytest.mark.parametrize("status", [None, "in_progress"])
def test_the_last_event_determines_the_status(status: str | None) -> None:
    """The response object in it may have no status."""
    result, failure = streamed(CREATED, {"type": "response.completed", "response": response() | {"status": status}})
    assert (result.choices[0].finish_reason, failure) == ("stop", None)
    failed = response(error=FAILED_429) | {"status": status}
    assert type(streamed(CREATED, {"type": "response.failed", "response": failed})[1]) is RateLimitError


def test_text_before_a_refusal() -> None:
    """If a message has both, both are kept."""
    [choice] = streamed(CREATED, delta("output_text", "It"), delta("refusal", "no"), COMPLETED)[0].choices
    assert (choice.text, choice.refusal) == ("It", "no")


@pytest.mark.parametrize(
    ("events", "cls"),
    [
        ([CREATED, delta("output_text", "It")], StreamTruncatedError),
        ([CREATED, {"type": "response.cancelled", "response": response(status="cancelled")}], StreamTruncatedError),
        ([CREATED, {"type": "error", "code": "Throttling", "message": "Too many."}], RateLimitError),
        ([CREATED, {"type": "error", **FAILED_429}], RateLimitError),
        ([CREATED, {"type": "error", "error": FAILED_429}], RateLimitError),
        ([CREATED, {"type": "response.output_item.done", "item": "x"}], ProtocolError),
        ([CREATED, delta("output_text", ["x"])], ProtocolError),  # type: ignore[arg-type]
        ([{"type": "response.completed", "response": response(output="x")}], ProtocolError),
    ],
    ids=[
        "no last event",
        "cancelled",
        "an error event",
        "its status in words",
        "nested",
        "no item",
        "no text",
        "no output",
    ],
)
def test_invalid_streams(events: list[Json], cls: type[ModelStudioError]) -> None:
    """A stream without its last event is truncated. Unknown events raise an error."""
    assert type(streamed(*events)[1]) is cls


@pytest.mark.parametrize(
    ("body", "cls"),
    [
        ({"code": "Not Found", "message": "no such path", "request_id": "r-2"}, APIStatusError),
        ({"x": 1}, ProtocolError),
        (response(status="in_progress"), StreamTruncatedError),
    ],
    ids=["a flat error", "no response", "not finished"],
)
def test_invalid_whole_responses(body: Json, cls: type[ModelStudioError]) -> None:
    """They raise a ProtocolError."""
    with pytest.raises(cls):
        whole(body)


@pytest.mark.parametrize(
    ("status", "code", "message", "lost"),
    [
        (404, "Not Found", "Response resp_1 not found", True),
        (400, "InvalidParameter", "previous_response_id is invalid or expired", True),
        (None, "InvalidParameter", "The previous response does not exist", True),
        (404, "Not Found", "No item with id 47a2e6ae-1 found.", True),
        (404, "ModelNotFound", "The model x does not exist.", False),
        (400, "InvalidParameter", "Range of top_p should be (0.0, 1.0]", False),
        (500, "InternalError", "no response from upstream", False),
        (401, "InvalidApiKey", "This key may not read the response.", False),
        (None, "Throttling", "Too many responses.", False),
    ],
)
def test_which_errors_mean_a_lost_response(status: int | None, code: str, message: str, lost: bool) -> None:
    """A rejection that mentions a response or the ID."""
    body = json.dumps({"code": code, "message": message}).encode()
    if status is None:
        failed = response(status="failed", error={"code": code, "message": message})
        error = streamed(CREATED, {"type": "response.failed", "response": failed})[1]
    else:
        error = ResponsesCodec().error(ResponseHead(status, {}), body)
    assert error is not None
    assert is_lost_response(error, "47a2e6ae-1") is lost


# ---------------------------------------------------------------- hostile events

FULL = [CREATED, *[event for row in ROWS for event in row.events], {"type": "response.completed", "response": response(
    output=[said("It")["item"], call()["item"]], usage=USED, incomplete_details={"reason": "max_output_tokens"}
)}]  # fmt: skip
ODD: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, -1, 0, 1e308, 10**30, "", "x", "{", "[[", "failed", "incomplete", "\ud83d", {}, []]),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["id", "text"]), inner)),
    max_leaves=4,
)


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_values_give_a_result_or_a_typed_error(data: st.DataObject) -> None:
    """With values replaced at random, the result does not depend on how the bytes are split."""
    events = copy.deepcopy(data.draw(st.lists(st.sampled_from(FULL), min_size=1, max_size=5)))
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(list(paths(events))))
        holder: Any = events
        for name in way:
            holder = holder[name]
        holder[last] = data.draw(ODD)
    sent = b"".join(b"data:" + json.dumps(event).encode() + b"\n\n" for event in events)
    assert read_stream("responses", pieces(sent, [7] * len(sent))) == read_stream("responses", [sent])
    read_whole("responses", json.dumps(events[-1]).encode())


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths of all values that can be replaced."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*at, name)
        yield from paths(each, (*at, name))
