"""What the demo says where things go otherwise than in the best case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from llama_index.core.llms import ChatMessage, ChatResponse

from examples import demo
from examples.llama_index import demo as llama_index
from tests.loopback import Loopback, reply_json
from tests.service import USAGE, Answer, Call

pytestmark = pytest.mark.usefixtures("no_documents")
METADATA = {"model_name": "qwen-plus", "finish_reason": "stop"}


@pytest.fixture
def no_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers here know chat only; test_main runs the whole demo."""
    monkeypatch.setattr("examples.rag.answered", lambda *_: None)


def spent(tokens: int) -> AIMessageChunk:
    usage: Any = {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
    return AIMessageChunk("x", usage_metadata=usage, response_metadata=METADATA)


def llama_spent(tokens: int) -> ChatResponse:
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens}
    raw = {"model": "qwen-plus", "finish_reason": "stop"}
    return ChatResponse(message=ChatMessage(), raw=raw, additional_kwargs=usage)


def test_the_usage_of_several_calls_is_their_sum(capsys: pytest.CaptureFixture[str]) -> None:
    """What a tool call costs is what both of its calls cost, through either framework."""
    demo.show_usage(spent(3), spent(40))
    llama_index.show_usage(llama_spent(5), llama_spent(60))
    printed = capsys.readouterr().out
    assert printed.count("2 calls") == 2
    for count in (43, 86, 65, 130):
        assert str(count) in printed
    demo.show_usage(AIMessageChunk("x", response_metadata=METADATA))
    llama_index.show_usage(ChatResponse(message=ChatMessage()))
    assert capsys.readouterr().out.count("sent no usage") == 2


@pytest.mark.parametrize(
    ("failure", "status", "said"), [(None, 1, "AuthenticationError"), (KeyboardInterrupt(), 130, "stopped")]
)
def test_a_failure_is_a_sentence_and_a_status(
    failure: BaseException | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No traceback: the error's own words, or that it was stopped."""
    with Loopback(reply_json(401, {"error": {"code": "invalid_api_key", "message": "no"}})) as server:

        @contextmanager
        def place() -> Iterator[dict[str, Any]]:
            if failure:
                raise failure
            yield {"model": "qwen-plus", "base_url": server.url}

        monkeypatch.setattr(demo, "a_place", place)
        assert demo.main() == status
    assert said in capsys.readouterr().out


def test_both_frameworks_say_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same question goes out in the same words, and thought, answer and tokens are shown alike."""
    answers = [
        Answer(reasoning=["Light ", "scatters."], text=["Scattered ", "light."], usage=USAGE),
        Answer(reasoning=["A clock."], calls=[Call("call_1", "current_time", ['{"city": ', '"Paris"}'])], usage=USAGE),
        Answer(text=["Noon."], usage=USAGE),
    ]
    with Loopback(answers * 2) as server:

        @contextmanager
        def place() -> Iterator[dict[str, Any]]:
            yield {"model": "qwen-plus", "base_url": server.url}

        monkeypatch.setattr(demo, "a_place", place)
        assert demo.main() == 0
        bodies = [request.json() for request in server.requests]
    first, second = bodies[:3], bodies[3:]
    assert first[0] == second[0]
    for one, other in zip(first, second, strict=True):
        assert one["messages"][0] == other["messages"][0]
    assert [turn["role"] for turn in second[2]["messages"]] == ["user", "assistant", "tool"]
    assert second[2]["messages"][1] == first[2]["messages"][1]
    printed = capsys.readouterr().out
    for text in ("Light scatters.", "Scattered light.", "calls  current_time({'city': 'Paris'})", "Noon."):
        assert printed.count(text) == 2
    assert re.findall(r"total_tokens +│ (\d+)", printed) == ["30", "60"] * 2


def test_no_call_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the model answers without the tool, both halves say so and go on."""
    with Loopback(Answer(text=["No."], usage=USAGE)) as server:

        @contextmanager
        def place() -> Iterator[dict[str, Any]]:
            yield {"model": "qwen-plus", "base_url": server.url}

        monkeypatch.setattr(demo, "a_place", place)
        assert demo.main() == 0
    assert capsys.readouterr().out.count("without calling the tool") == 2
