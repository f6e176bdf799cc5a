"""The output of the demo in unusual cases."""

from __future__ import annotations

import pytest

from examples import demo
from tests.loopback import Loopback, Script, reply_json
from tests.service import USAGE, Answer, Call

THINKS = Answer(reasoning=["Light ", "scatters."], text=["Scattered ", "light."], usage=USAGE)
CALLS = Answer(reasoning=["Look."], calls=[Call("call_1", "weather", ['{"city": ', '"Paris"}'])], usage=USAGE)
SUNNY = Answer(reasoning=["Sun."], text=["It is ", "sunny."], usage=USAGE)


def run(monkeypatch: pytest.MonkeyPatch, *answers: Script) -> tuple[int, list[dict[str, object]]]:
    """The exit status of the demo, and the requests that it sent."""
    with Loopback(answers) as server:
        monkeypatch.setenv("DASHSCOPE_BASE_URL", server.url)
        status = demo.main()
        return status, [request.json() for request in server.requests]


def test_both_frameworks_show_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Thinking, the answer, the tool call, its result and the tokens are shown alike by both. A file has no colours."""
    status, sent = run(monkeypatch, THINKS, CALLS, SUNNY, CALLS, SUNNY)
    assert status == 0
    first, second = sent[2]["messages"], sent[4]["messages"]
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert (first[0], first[2:]) == (second[0], second[2:])
    printed = capsys.readouterr().out
    assert "\n\nLangChain: Why is the sky blue?\n\nLight scatters.\n\nScattered light.\n\nTokens: " in printed
    assert "\033" not in printed
    for text in ("It is sunny.", "Call: weather({'city': 'Paris'})\nResult: It is sunny in Paris, 24 degrees.\n"):
        assert printed.count(text) == 2
    assert printed.count("Tokens: 20 in, 10 out, 6 of them for thinking") == 5


def test_a_cut_answer_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With both frameworks; and tokens that are not reported are None."""
    cut = Answer(text=["It is"], finish="length")
    run(monkeypatch, cut, CALLS, cut, CALLS, cut)
    printed = capsys.readouterr().out
    assert printed.count("It is ... (cut at 48 tokens: the finish reason is 'length')") == 3
    assert printed.count("Tokens: None in, None out\n") == 3
    assert "thinking cut" not in printed


@pytest.mark.parametrize("way", ["answer", "call", "error"])
def test_thinking_is_dim(way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal, with one pair of escape sequences, however the thinking ends."""
    monkeypatch.setattr(demo, "COLOURS", True)
    broken = Answer(reasoning=["Light ", "scatters."], cut=True)
    run(monkeypatch, {"answer": THINKS, "call": CALLS, "error": broken}[way], SUNNY)
    first = capsys.readouterr().out.partition("Tokens: ")[0]
    thought = "Look." if way == "call" else "Light scatters."
    assert f"\033[2m{thought}\033[0m\n" in first
    assert first.count("\033[2m") == 1


@pytest.mark.parametrize(
    ("thought", "is_cut"),
    [("The sky " * 20 + "is bl", True), ("The sky " * 20 + "is blue.\n", False), ("The sky is bl", False)],
    ids=["cut", "whole", "short"],
)
def test_cut_thinking_is_said(
    thought: str, is_cut: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an answer after it and without."""
    said = Answer(reasoning=[thought], text=["Light."], usage=USAGE)
    run(monkeypatch, said, Answer(reasoning=[thought[:100]], calls=CALLS.calls), SUNNY, SUNNY)
    printed = capsys.readouterr().out
    assert (f"{thought} ... (thinking cut by its budget)\n\nLight." in printed) is is_cut
    assert (" ... (thinking cut by its budget)\n\nTokens: " in printed) is (len(thought) > 100)


def test_no_call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If the model answers without the tool, both halves report that and continue."""
    assert run(monkeypatch, SUNNY)[0] == 0
    assert capsys.readouterr().out.count("without calling the tool") == 2


def test_a_failure_prints_the_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a traceback, with an exit status."""
    wrong_key = reply_json(401, {"error": {"code": "invalid_api_key", "message": "no"}})
    assert run(monkeypatch, wrong_key)[0] == 1
    assert "AuthenticationError: no" in capsys.readouterr().out

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "langchain", stop)
    monkeypatch.setattr(demo, "COLOURS", True)  # thinking may have been dim
    assert demo.main() == 130
    assert capsys.readouterr().out.endswith("\033[0m\nstopped\n")
