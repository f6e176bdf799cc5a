"""The complete agent: what it prints, its memory, and how it goes on after an error."""

from __future__ import annotations

import pytest

from examples import assistant as example
from tests.langchain.service import chat
from tests.loopback import Loopback, Script, reply_json
from tests.service import USAGE, Answer, Call, sent

LOOKS_UP = Call("call_1", "weather", ['{"city"', ': "Rome"}'])
CALLS = Answer(reasoning=["I look ", "it up."], calls=[LOOKS_UP], usage=USAGE)
SAYS = Answer(reasoning=["Good."], text=["It is ", "sunny."], usage=USAGE)
BROKEN = Answer(reasoning=["Go"], cut=True)
REFUSED = reply_json(400, {"error": {"code": "InvalidParameter", "message": "no"}})


def asked(*answers: Script, questions: int = 1) -> tuple[list[bool], list[str]]:
    """Return whether each question was answered, and the roles of the messages in the last request."""
    with Loopback(answers) as server:
        agent = example.an_agent(chat(server, enable_thinking=True, max_retries=0))
        answered = [example.ask(agent, question, "a thread") for question in example.QUESTIONS[:questions]]
        return answered, [message["role"] for message in sent(server)["messages"]]


def test_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """In order; a result is not shown as if the model had said it; the usage is that of both calls."""
    assert asked(CALLS, SAYS) == ([True], ["system", "user", "assistant", "tool"])
    assert capsys.readouterr().out.splitlines()[3:] == [
        "I look it up.",
        "Call: weather({'city': 'Rome'})",
        "Result: It is sunny in Rome, 24 degrees.",
        "",
        "Good.It is sunny.",
        "qwen-plus: 40 in, 20 out, 12 of them for thinking",
    ]


def test_the_conversation_goes_on() -> None:
    assert asked(SAYS, SAYS, questions=2) == ([True, True], ["system", "user", "assistant", "user"])


def test_it_goes_on_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The tool does not run twice, and the question is in the history once."""
    assert asked(CALLS, BROKEN, SAYS) == ([True], ["system", "user", "assistant", "tool"])
    printed = capsys.readouterr().out
    assert "StreamTruncatedError: " in printed
    assert printed.count("Result: ") == 1


@pytest.mark.parametrize(
    ("failure", "attempts"), [(REFUSED, 1), (BROKEN, example.ATTEMPTS)], ids=["not retryable", "again and again"]
)
def test_it_gives_up(failure: Script, attempts: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(failure, failure)[0] == [False]
    assert capsys.readouterr().out.count("Error: ") == attempts


def test_what_is_cut_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    cut = Answer(calls=[Call("call_1", "weather", ['{"city": "Ro'])], finish="length")
    assert asked(cut)[0] == [True]
    printed = capsys.readouterr().out
    assert 'Not a whole call: weather({"city": "Ro)' in printed
    assert "(cut: raise max_tokens)" in printed
