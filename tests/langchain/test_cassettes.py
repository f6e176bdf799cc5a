"""Every cassette is played sync and async. The result must equal an independent fold of its bytes.

The fold (`Expected`) is in `tests/cassette_oracle.py`. The function named after a scenario
checks its claim.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError, ModelAuthenticationError, ModelNotFoundError
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.utils.json import parse_partial_json

from modelstudio_core.http.transport import Transport
from tests.cassette_format import (
    CASSETTES,
    CassetteFormat,
    Interaction,
    Origin,
    cassette_names,
    cassette_path,
    leaks,
    play,
    read,
)
from tests.cassette_oracle import Expected, expected
from tests.scenarios import SCENARIOS, TOOL_RESULT, City, Outcome, Scenario, arun, run

KEY = "a-key-for-tests"
NAMES = cassette_names()
FOLDERS = {"local": "recorded", "modelstudio": "recorded", "documented": "documented"}


# ---------------------------------------------------------------- usage in LangChain's form

_INPUT_DETAILS = {
    "cached_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_creation",
    "image_tokens": "image",
    "video_tokens": "video",
    "audio_tokens": "audio",
}
_OUTPUT_DETAILS = {"reasoning_tokens": "reasoning", "audio_tokens": "audio"}


def usage_metadata(answer: Expected) -> dict[str, Any] | None:
    if answer.usage is None:
        return None
    made: dict[str, Any] = {
        "input_tokens": answer.usage["prompt_tokens"],
        "output_tokens": answer.usage["completion_tokens"],
        "total_tokens": answer.usage["total_tokens"],
    }
    for side, source, names in (
        ("input_token_details", "prompt_tokens_details", _INPUT_DETAILS),
        ("output_token_details", "completion_tokens_details", _OUTPUT_DETAILS),
    ):
        given = answer.usage.get(source) or {}
        if details := {ours: given[theirs] for theirs, ours in names.items() if given.get(theirs) is not None}:
            made[side] = details
    return made


# ---------------------------------------------------------------- playing


@dataclass(frozen=True)
class Played:
    """A played cassette: its content, the results, and the delays between requests."""

    scenario: Scenario
    interactions: Sequence[Interaction]
    outcomes: Sequence[Outcome]
    waits: Sequence[float]

    @property
    def sent(self) -> list[Any]:
        """Return the sent requests, which matched those of the cassette."""
        return [interaction.request for interaction in self.interactions]

    @property
    def answers(self) -> list[Expected]:
        """Return the answer of each call. A throttled attempt is not an answer."""
        return [expected(interaction) for interaction in self.interactions if interaction.status != 429]

    @property
    def message(self) -> AIMessage:
        """Return the answer of the last call."""
        return self.outcomes[-1].message


@pytest.fixture(params=["sync", "async"])
def played(request: pytest.FixtureRequest, name: str, monkeypatch: pytest.MonkeyPatch) -> Played:
    """Play the cassette `name` without delays."""
    waits: list[float] = []

    async def asleep(transport: Transport, seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(Transport, "sleep", lambda transport, seconds: waits.append(seconds))
    monkeypatch.setattr(Transport, "asleep", asleep)
    scenario = SCENARIOS[name.rpartition("/")[2]]
    llm = scenario.chat_model(base_url="http://127.0.0.1", api_key=KEY)

    async def play_async() -> list[Outcome]:
        try:
            return await arun(scenario, llm)
        finally:
            await llm.aclose()

    with play(name):
        if request.param == "async":
            outcomes = asyncio.run(play_async())
        else:
            outcomes = run(scenario, llm)
            llm.close()
    return Played(scenario, read(name)[1], outcomes, waits)


@pytest.mark.parametrize("name", NAMES)
def test_results_match_the_bytes(played: Played) -> None:
    assert len(played.outcomes) == len(played.answers)
    assert len(played.waits) == sum(interaction.status == 429 for interaction in played.interactions)
    for outcome, answer in zip(played.outcomes, played.answers, strict=True):
        if answer.error is not None:
            _check_error(outcome, answer, played.interactions[-1])
        else:
            assert outcome.error is None
            _check_answer(outcome.message, answer)
        if played.scenario.kind == "stream":
            _check_chunks(outcome.chunks, answer)


def _check_answer(message: AIMessage, answer: Expected) -> None:
    assert message.text == answer.text
    assert message.additional_kwargs.get("reasoning_content", "") == answer.reasoning
    calls = [(call, answer.finished(call)) for call in answer.calls]
    assert [(call["id"], call["name"], call["args"]) for call in message.tool_calls] == [
        (call["id"], call["name"], args) for call, args in calls if args is not None
    ]
    assert [(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls] == [
        (call["id"], call["name"], call["args"]) for call, args in calls if args is None
    ]
    assert message.usage_metadata == usage_metadata(answer)
    assert message.response_metadata["finish_reason"] == answer.finish
    assert message.response_metadata.get("id") == answer.id
    assert message.response_metadata.get("search_info", {}).get("search_results", []) == answer.sources


def _check_error(outcome: Outcome, answer: Expected, interaction: Interaction) -> None:
    error, said = outcome.error, answer.error
    assert error is not None
    assert said is not None
    assert error.code == said["code"]
    assert error.request_id == answer.request_id
    assert said["message"] in str(error)
    assert error.status_code == (answer.status if interaction.status == 200 else interaction.status)
    assert KEY not in f"{error!s}{error!r}{error.__dict__}"
    partial = error.partial.choices[0] if error.partial is not None else None
    assert (partial.text if partial else "") == answer.text


def _check_chunks(chunks: Sequence[AIMessageChunk], answer: Expected) -> None:
    """Check that there is a chunk per event, in order, with metadata on the last one if the answer is complete."""
    pieces = [(bool(chunk.additional_kwargs.get("reasoning_content")), bool(chunk.text)) for chunk in chunks]
    assert (True, True) not in pieces
    kinds = {(True, False): "reasoning", (False, True): "text"}
    assert [kinds[piece] for piece in pieces if piece in kinds] == answer.pieces
    assert not [chunk for chunk in chunks if chunk.text and chunk.tool_call_chunks]
    fragments = [fragment for chunk in chunks for fragment in chunk.tool_call_chunks]
    assert [(each["id"], each["name"]) for each in fragments if each["id"] or each["name"]] == [
        (call["id"], call["name"]) for call in answer.calls
    ]
    whole = int(answer.error is None)
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - whole) + ["last"] * whole
    for said in ("finish_reason", *(["id"] if answer.id else []), *(["search_info"] if answer.sources else [])):
        assert [at for at, chunk in enumerate(chunks) if said in chunk.response_metadata] == [len(chunks) - 1] * whole
    counted = [at for at, chunk in enumerate(chunks) if chunk.usage_metadata is not None]
    assert counted == [len(chunks) - 1] * (whole and answer.usage is not None)


# ---------------------------------------------------------------- what each scenario shows

SHOWS: dict[str, Callable[[Played], None]] = {}


def shows(check: Callable[[Played], None]) -> Callable[[Played], None]:
    """Register the check of the scenario of this name."""
    SHOWS[check.__name__] = check
    return check


@pytest.mark.parametrize("name", NAMES)
def test_scenarios(played: Played) -> None:
    SHOWS[played.scenario.name](played)
    assert [type(outcome.error) for outcome in played.outcomes if outcome.error] == [
        *filter(None, [played.scenario.fails])
    ]


@shows
def plain_invoke(played: Played) -> None:
    assert played.sent == [
        {
            "model": "qwen-plus",
            "messages": [{"role": "user", "content": played.scenario.messages[0].text}],
            "temperature": 0,
            "seed": 1,
        }
    ]
    assert played.message.text
    assert played.message.usage_metadata
    assert played.message.response_metadata["finish_reason"] == "stop"


@shows
def plain_stream(played: Played) -> None:
    assert played.sent[0]["stream"] is True
    assert played.sent[0]["stream_options"] == {"include_usage": True}
    assert sum(bool(chunk.text) for chunk in played.outcomes[0].chunks) > 1
    last = played.outcomes[0].chunks[-1]
    assert last.usage_metadata
    assert last.response_metadata["finish_reason"] == "stop"


@shows
def thinking_stream(played: Played) -> None:
    assert played.sent[0]["enable_thinking"] is True
    assert played.sent[0]["thinking_budget"] == 24
    kinds = [("reasoning_content" in chunk.additional_kwargs, bool(chunk.text)) for chunk in played.outcomes[0].chunks]
    last_reasoning = max(at for at, (reasons, _) in enumerate(kinds) if reasons)
    assert last_reasoning < min(at for at, (_, answers) in enumerate(kinds) if answers)
    assert "think>" not in played.message.text
    assert [block["type"] for block in played.message.content_blocks] == ["reasoning", "text"]


@shows
def thinking_invoke(played: Played) -> None:
    assert played.sent[0]["stream"] is True
    assert played.interactions[0].streams
    assert not played.outcomes[0].chunks
    assert played.message.additional_kwargs["reasoning_content"]
    assert [block["type"] for block in played.message.content_blocks] == ["reasoning", "text"]


@shows
def tool_call_invoke(played: Played) -> None:
    assert played.sent[0]["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert played.sent[0]["enable_thinking"] is False
    assert "stream" not in played.sent[0]
    assert [(call["name"], [*call["args"]]) for call in played.message.tool_calls] == [("get_weather", ["city"])]


@shows
def tool_call_stream(played: Played) -> None:
    assert played.sent[0]["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert sum(bool(chunk.tool_call_chunks) for chunk in played.outcomes[0].chunks) > 1
    assert [(call["name"], [*call["args"]]) for call in played.message.tool_calls] == [("get_weather", ["city"])]


@shows
def tool_loop(played: Played) -> None:
    assert not [request for request in played.sent if "tool_choice" in request]
    call = played.outcomes[0].message.tool_calls[0]
    answered = {"id": call["id"], "type": "function", "index": 0}
    *before, said, result = played.sent[1]["messages"]
    assert before == played.sent[0]["messages"]
    (sent,) = said["tool_calls"]
    assert json.loads(sent.pop("function")["arguments"]) == call["args"]
    assert sent == answered
    assert result == {"role": "tool", "content": TOOL_RESULT, "tool_call_id": call["id"]}
    assert played.message.text
    assert not played.message.tool_calls


@shows
def tool_loop_thinking(played: Played) -> None:
    tool_loop(played)
    first = played.outcomes[0].message
    said = played.sent[1]["messages"][-2]
    assert said["reasoning_content"] == first.additional_kwargs["reasoning_content"] == played.answers[0].reasoning
    assert said["reasoning_content"]
    assert said["content"] == first.text
    assert all(interaction.streams for interaction in played.interactions)


@shows
def structured_json_schema(played: Played) -> None:
    form = played.sent[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["name"] == "City"
    assert [*form["json_schema"]["schema"]["properties"]] == ["name", "millions"]
    assert played.outcomes[0].value["parsed"] == City(**json.loads(played.answers[0].text))


@shows
def structured_function_calling(played: Played) -> None:
    assert played.sent[0]["tool_choice"] == {"type": "function", "function": {"name": "City"}}
    assert "response_format" not in played.sent[0]
    assert played.outcomes[0].value["parsed"] == City(**json.loads(played.answers[0].calls[0]["args"]))


@shows
def cut_call_invoke(played: Played) -> None:
    assert played.message.tool_calls == []
    (invalid,) = played.message.invalid_tool_calls
    assert invalid["args"] == played.answers[0].calls[0]["args"]
    assert "truncated" in (invalid["error"] or "")
    assert played.message.response_metadata["finish_reason"] == "length"
    assert parse_partial_json(invalid["args"] or "")["city"]  # what langchain-core alone would make a call of


@shows
def cut_call_stream(played: Played) -> None:
    cut_call_invoke(played)
    whole = message_chunk_to_message(played.message)
    assert not isinstance(whole, AIMessageChunk)
    assert isinstance(whole, AIMessage)
    assert whole.tool_calls == []
    assert whole.invalid_tool_calls == played.message.invalid_tool_calls


@shows
def cut_answer_invoke(played: Played) -> None:
    assert played.sent[0]["max_tokens"] == 5
    assert played.message.text
    assert played.message.response_metadata["finish_reason"] == "length"


@shows
def cut_answer_stream(played: Played) -> None:
    cut_answer_invoke(played)
    assert played.sent[0]["stream"] is True


@shows
def json_mode(played: Played) -> None:
    assert "json" not in played.scenario.messages[0].text.lower()
    instruction, question = played.sent[0]["messages"]
    assert instruction["role"] == "system"
    assert "json" in instruction["content"].lower()
    assert question["content"] == played.scenario.messages[0].text
    assert played.sent[0]["enable_thinking"] is False
    assert played.sent[0]["response_format"] == {"type": "json_object"}
    assert played.outcomes[0].value["parsed"] == City(**json.loads(played.answers[0].text))


@shows
def thinking_usage(played: Played) -> None:
    usage = played.message.usage_metadata
    assert usage is not None
    assert 0 < usage["output_token_details"]["reasoning"] < usage["output_tokens"]
    assert usage["input_token_details"]["cache_read"] <= usage["input_tokens"]
    assert played.message.additional_kwargs["reasoning_content"]
    assert played.message.text


@shows
def cache_creation(played: Played) -> None:
    (part,) = played.sent[0]["messages"][0]["content"]
    assert part["cache_control"] == {"type": "ephemeral"}
    usage = played.message.usage_metadata
    assert usage is not None
    assert 0 < usage["input_token_details"]["cache_creation"] < usage["input_tokens"]


@shows
def parallel_calls_stream(played: Played) -> None:
    assert played.sent[0]["parallel_tool_calls"] is True
    calls = played.message.tool_calls
    assert {call["args"]["city"] for call in calls} == {"Hangzhou", "Suzhou"}
    assert len({call["id"] for call in calls if call["id"]}) == len(calls) == 2
    assert played.message.invalid_tool_calls == []


@shows
def error_in_stream(played: Played) -> None:
    (outcome,) = played.outcomes
    assert outcome.message.text == played.answers[0].text == "Hello, Ada"
    assert played.interactions[0].status == 200
    assert outcome.error is not None
    assert outcome.error.partial is not None
    assert outcome.error.partial.choices[0].finish_reason is None


@shows
def wrong_key(played: Played) -> None:
    error = played.outcomes[0].error
    assert isinstance(error, ModelAuthenticationError)
    assert "127.0.0.1" in str(error)
    assert "region" in str(error)
    assert len(played.interactions) == 1


@shows
def unknown_model(played: Played) -> None:
    error = played.outcomes[0].error
    assert isinstance(error, ModelNotFoundError)
    assert error.code == "model_not_found"
    assert len(played.interactions) == 1


@shows
def throttled(played: Played) -> None:
    assert [interaction.status for interaction in played.interactions] == [429, 200]
    assert played.sent[0] == played.sent[1]
    assert [0 <= wait <= 0.5 for wait in played.waits] == [True]
    assert played.message.text == expected(played.interactions[1]).text != ""


@shows
def context_length(played: Played) -> None:
    assert isinstance(played.outcomes[0].error, ContextOverflowError)
    assert len(played.interactions) == 1


@shows
def native_invoke(played: Played) -> None:
    assert played.sent == [
        {
            "model": "qwen-plus",
            "input": {"messages": [{"role": "user", "content": played.scenario.messages[0].text}]},
            "parameters": {"result_format": "message", "temperature": 0, "seed": 1},
        }
    ]
    assert played.message.text
    assert played.message.response_metadata["model_name"] == "qwen-plus"


@shows
def native_thinking_stream(played: Played) -> None:
    assert played.sent[0]["parameters"]["incremental_output"] is True
    assert "stream" not in played.sent[0]
    assert b"DONE" not in played.interactions[0].body
    assert played.interactions[0].body.count(b'"usage"') == played.interactions[0].body.count(b"event:result")
    thinking_usage(played)


@shows
def native_search_stream(played: Played) -> None:
    assert played.sent[0]["parameters"]["search_options"]["enable_source"] is True
    (block,) = played.message.content_blocks
    assert block["type"] == "text"
    cited: list[Any] = block.get("annotations", [])
    assert [citation["url"] for citation in cited] == [source["url"] for source in played.answers[0].sources]
    assert len(cited) > 1


@shows
def native_image_stream(played: Played) -> None:
    (message,) = played.sent[0]["input"]["messages"]
    assert [sorted(part) for part in message["content"]] == [["image"], ["text"]]
    assert played.message.additional_kwargs["reasoning_content"]
    usage = played.message.usage_metadata
    assert usage is not None
    assert usage["input_token_details"]["image"] > 0  # type: ignore[typeddict-item]  # LangChain knows no such count


@shows
def native_parallel_calls_stream(played: Played) -> None:
    assert played.sent[0]["parameters"]["parallel_tool_calls"] is True
    calls = played.message.tool_calls
    assert [call["args"]["city"] for call in calls] == ["Hangzhou", "Suzhou"]
    assert len({call["id"] for call in calls if call["id"]}) == len(calls) == 2
    assert played.message.invalid_tool_calls == []


@shows
def native_error_in_stream(played: Played) -> None:
    error_in_stream(played)
    assert played.outcomes[0].error is not None
    assert played.outcomes[0].error.status_code == 400


@shows
def native_wrong_endpoint(played: Played) -> None:
    assert 'native_endpoint="multimodal-generation"' in str(played.outcomes[0].error)
    assert len(played.interactions) == 1


@shows
def responses_search_stream(played: Played) -> None:
    assert played.sent[0]["instructions"] == played.scenario.messages[0].text
    assert played.sent[0]["tools"] == [{"type": "web_search"}]
    assert b"DONE" not in played.interactions[0].body
    blocks: list[Any] = played.message.content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "server_tool_call", "server_tool_result", "text"]
    assert [source["url"] for source in blocks[-1]["annotations"]] == [s["url"] for s in played.answers[0].sources]
    assert len(blocks[-1]["annotations"]) > 1
    assert played.message.response_metadata["usage"]["x_tools"] == {"web_search": {"count": 1}}


@shows
def responses_call_stream(played: Played) -> None:
    assert played.sent[0]["tools"][0]["name"] == "get_weather"
    assert b"arguments.delta" not in played.interactions[0].body
    assert [call["args"] for call in played.message.tool_calls] == [{"city": "Hangzhou"}]
    assert played.message.response_metadata["response_id"] == played.answers[0].id


@shows
def responses_code_invoke(played: Played) -> None:
    assert "stream" not in played.sent[0]
    blocks: list[Any] = played.message.content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "server_tool_call", "server_tool_result", "text"]
    assert (blocks[1]["name"], blocks[1]["args"]) == ("code_interpreter", {"code": "123**21"})
    assert blocks[2]["output"] == [{"type": "logs", "logs": str(123**21)}]
    assert played.message.response_metadata["usage"]["x_tools"] == {"code_interpreter": {"count": 1}}


@shows
def responses_error_in_stream(played: Played) -> None:
    assert played.interactions[0].status == 200
    assert played.outcomes[0].error is not None
    assert played.outcomes[0].error.partial is None


# ---------------------------------------------------------------- the cassettes themselves


def test_scenarios_and_cassettes_match() -> None:
    files = {path for path in CASSETTES.rglob("*") if path.is_file()}
    assert files == {cassette_path(name) for name in (*NAMES, *cassette_names(retrieval=True))}
    assert {name.rpartition("/")[2] for name in NAMES} == SCENARIOS.keys() == SHOWS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_cassette_has_an_origin(name: str) -> None:
    origin, _ = read(name)
    folder, _, scenario = name.rpartition("/")
    assert origin.kind == FOLDERS[folder]
    if folder == "documented":
        assert origin.source == SCENARIOS[scenario].page
    elif folder == "local":
        assert SCENARIOS[scenario].local is not None
        assert origin.source.startswith("llama.cpp")
        assert "SmolLM2" in origin.source
    else:
        assert origin.source.startswith("Model Studio (")


@pytest.mark.parametrize("name", NAMES)
def test_a_cassette_has_no_secrets(name: str) -> None:
    assert leaks(cassette_path(name).read_text("utf-8")) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_cassette_has_the_canonical_format(name: str) -> None:
    text = cassette_path(name).read_text("utf-8")
    origin: Origin = read(name)[0]
    assert CassetteFormat(origin).serialize(CassetteFormat().deserialize(text)) == text
    assert "base64:" not in text
