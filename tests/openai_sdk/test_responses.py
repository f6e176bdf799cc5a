"""The `openai` SDK, an independent client, calls /responses of the local model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

import local_model

MODEL: Any = {"model": "qwen-plus", "max_output_tokens": 60}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "strict": False,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    with local_model.running(force_auto=True) as server:
        yield openai.OpenAI(base_url=server.base_url, api_key="sk-not-needed", max_retries=0)


def streamed(client: openai.OpenAI, **given: Any) -> tuple[list[str], Any]:
    """Return the types of the events without repetitions, and the final response of the SDK's helper.

    Its `get_final_response` does not support answers truncated at `max_output_tokens`, which a small model may give.
    """
    with client.responses.stream(**MODEL, **given) as stream:
        events = list(stream)
        if events[-1].type == "response.completed":
            assert stream.get_final_response().id == events[-1].response.id
    kinds, final = [event.type for event in events], getattr(events[-1], "response", None)
    return [kind for kind, before in zip(kinds, ["", *kinds], strict=False) if kind != before], final


def test_text(client: openai.OpenAI) -> None:
    """Whole and streamed. The helper fails for a wrong `output_index`."""
    whole = client.responses.create(**MODEL, input="Say hello.")
    assert whole.output_text
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    kinds, final = streamed(client, input="Say hello.")
    assert final.output_text
    assert kinds[:-1] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
    ]


def test_thinking(client: openai.OpenAI) -> None:
    kinds, final = streamed(client, input="Why is the sky blue?", extra_body={"enable_thinking": True})
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output[0].summary[0].text
    assert "response.reasoning_text.delta" in kinds


def test_a_function_and_its_result(client: openai.OpenAI) -> None:
    """The SDK assembles the arguments. The result is sent with the response ID only."""
    kinds, final = streamed(client, input="What is the weather in Paris?", tools=[WEATHER])
    [call] = final.output
    assert "response.function_call_arguments.delta" in kinds
    assert json.loads(call.arguments)["city"]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "It is sunny."}
    answer = client.responses.create(**MODEL, input=[result], previous_response_id=final.id, tools=[WEATHER])
    assert answer.output_text


@pytest.mark.parametrize(
    ("tool", "kind"),
    [({"type": "web_search"}, "web_search_call"), ({"type": "file_search", "vector_store_ids": ["texts"]},
                                                   "file_search_call")],
    ids=["web_search", "file_search"],
)  # fmt: skip
def test_a_built_in_tool_runs(client: openai.OpenAI, tool: Any, kind: str) -> None:
    """The search finds the text about bats. Usage has its count."""
    kinds, final = streamed(client, input="How do bats find their way in the dark?", tools=[tool])
    search, message = final.output
    assert (search.type, message.type) == (kind, "message")
    assert f"response.{kind}.searching" in kinds
    sources = [source.url for source in search.action.sources] if kind == "web_search_call" else []
    names = sources or [result.filename for result in search.results]
    assert names[0].removeprefix("file:") == "bats.txt"
    assert final.usage.model_extra["x_tools"] == {tool["type"]: {"count": 1}}


def test_an_unknown_response(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="not found"):
        client.responses.create(**MODEL, input="hello", previous_response_id="resp_unknown")
