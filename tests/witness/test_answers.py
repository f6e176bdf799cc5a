"""The SDK and the core decode the same values, except for the differences in docs/vendor-sdk.md."""

from __future__ import annotations

from typing import Any

import pytest

from tests.loopback import Exchange, Loopback
from tests.witness.answers import ANSWERS, Answer
from tests.witness.comparison import Flat, differing, explain
from tests.witness.differences import ANSWERS as ROWS
from tests.witness.reading import read_by_client, read_by_core, read_by_sdk


def served(answer: Answer) -> Any:
    """Return a script that sends `answer`."""

    def script(exchange: Exchange) -> None:
        exchange.send_head(answer.status, {"content-type": answer.content_type})
        step = answer.step or len(answer.body) or 1
        for at in range(0, len(answer.body), step):
            exchange.send_chunk(answer.body[at : at + step])
        exchange.end()

    return script


def compared(theirs: Flat, mine: Flat, names: set[str]) -> set[str]:
    """Return the rows of `names` that apply. There must be no other difference."""
    if "error.message" in theirs and theirs["error.message"] in mine.get("error.message", ""):
        mine = {**mine, "error.message": theirs["error.message"]}  # the core adds what to do
    used, unexplained = explain(differing(theirs, mine), {name: ROWS[name] for name in names})
    assert unexplained == []
    return used


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: f"{answer.mode} {answer.name}")
def test_an_answer(answer: Answer) -> None:
    """Choices, calls, usage, extras and errors differ only as stated."""
    with Loopback(served(answer)) as server:
        theirs, newer, mine = read_by_sdk(server, answer), read_by_client(server, answer), read_by_core(server, answer)
    assert compared(theirs, mine, {*answer.differs}) == {*answer.differs}
    assert compared(newer, mine, {*answer.differs, *answer.client}) >= {*answer.client}


def test_each_row_occurs() -> None:
    """There are at least 40 answers with unique names. No row is outdated."""
    assert len({(answer.mode, answer.name) for answer in ANSWERS}) == len(ANSWERS) >= 40
    assert {name for answer in ANSWERS for name in (*answer.differs, *answer.client)} == {*ROWS}
