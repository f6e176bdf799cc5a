"""What the README's comparison says of the chat classes here; `make peers` measures those of other packages."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.peers import langchain, llama_index
from tests.peers.service import ROWS, measure
from tests.snippets import ROOT


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")  # LlamaIndex's workflows
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince211")
@pytest.mark.slow  # each waits for a `Retry-After`
@pytest.mark.parametrize("side", [langchain, llama_index], ids=["langchain", "llama_index"])
def test_each_row_is_a_yes(side: Any) -> None:
    assert measure(side.ROWS, side.ours()) == dict.fromkeys(ROWS, "yes")


def test_the_readme_has_each_row() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [row for row in ROWS if not re.search(rf"^\| {re.escape(row)} \| yes \|", text, re.MULTILINE)] == []
