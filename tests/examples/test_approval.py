"""The agent that asks a human: nothing is sent before the decision, and each decision has its effect."""

from __future__ import annotations

import pytest

from examples import approval
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, Call, sent

ANSWERS = [
    Answer(calls=[Call("call_1", "send_email", ['{"to": "Ada", ', '"text": "At noon."}'])]),
    Answer(text=["Done."]),
]


@pytest.mark.parametrize(
    ("typed", "mails", "result"),
    [
        ("y", [("Ada", "At noon.")], "Sent to Ada: At noon."),
        ("n", [], "does not want this e-mail"),
        ("At one.", [("Ada", "At one.")], "Sent to Ada: At one."),
    ],
    ids=["approve", "reject", "edit"],
)
def test_a_human_decides(
    typed: str, mails: list[tuple[str, str]], result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The e-mail is as decided, and the model is told of the result."""
    monkeypatch.setattr(approval, "SENT", [])

    def decide(prompt: str) -> str:
        assert approval.SENT == []
        return typed

    monkeypatch.setattr("builtins.input", decide)
    with Loopback(ANSWERS) as server:
        messages = approval.run(approval.an_agent(chat(server)))
        assert result in sent(server)["messages"][-1]["content"]
    assert mails == approval.SENT
    assert messages[-1].text == "Done."
