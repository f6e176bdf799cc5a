"""The generated tables of the documentation are complete, and the package index gets absolute links."""

from __future__ import annotations

import re

import pytest

from docs import generate
from hatch_build import absolute_links
from modelstudio_core import __main__ as command
from modelstudio_core.parameters import PLAIN_PARAMETERS, POLICY_PARAMETERS
from tests.snippets import ROOT

NOT_A_FIELD = {"tools", "tool_choice"}  # given by `bind_tools` and the frameworks


def test_each_field_has_an_entry() -> None:
    """Each field is in one group; each is described with type, default and source."""
    grouped = [name for names in generate.GROUPS.values() for name in names.split()]
    fields = {name for cls in generate.CHAT.values() for name in generate.own_fields(cls)}
    assert sorted(grouped) == sorted(fields)
    text = generate.chat_parameters()
    entries = re.findall(r"^### (\w+)\n\n`[^`]+` · .*default: .*\n\n.+\n", text, re.MULTILINE)
    assert sorted(entries) == sorted(fields)
    assert text.count("\nSource: ") == len(fields)


def test_each_request_parameter_is_tried_out() -> None:
    """What a protocol does with a parameter is never said without a sample."""
    parameters = {*POLICY_PARAMETERS, *PLAIN_PARAMETERS} - NOT_A_FIELD
    assert generate.SAMPLES.keys() == parameters | {"native_endpoint"}
    assert all(generate.support(name).sent for name in generate.SAMPLES)


SUPPORT = {
    "temperature": "`openai`, `dashscope`, `responses`",
    "seed": "`openai`, `dashscope`; an error with `responses`",
    "modalities": "`openai`; an error with `dashscope`, `responses`",
    "store": "`responses`; an error with `openai`, `dashscope`",
}


@pytest.mark.parametrize(("name", "expected"), SUPPORT.items())
def test_what_the_protocols_do(name: str, expected: str) -> None:
    assert str(generate.support(name)) == expected


def test_the_table_has_each_model() -> None:
    rows = generate.model_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == generate.model_ids()
    [row] = [row for row in rows if row.startswith("| `qwen3.7-max` |")]
    assert row.split(" | ")[1] == "on by default"


def test_the_terminal_prints_the_same_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The same columns and cells; docs/models.md says what they mean."""
    assert command.main(["models", "--retired"]) == 0
    printed = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    page = [line.strip("| ").split(" | ") for line in generate.model_table().replace("`", "").splitlines()]
    assert printed[0] == page[0]
    assert [[cell for cell in row if cell] for row in printed[1:]] == page[2:]
    text = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    described = {name for names in re.findall(r"^\| ([a-z_, ]+) \|", text, re.MULTILINE) for name in names.split(", ")}
    assert set(printed[0]) - {"model"} <= described


def test_links_on_the_package_index() -> None:
    """Images are raw files, and what is absolute already stays."""
    text = "[a](docs/a.md#b) ![c](docs/c.svg) [d](https://example.com) [e](#e)"
    assert absolute_links(text, "https://example.org/r") == (
        "[a](https://example.org/r/blob/main/docs/a.md#b) ![c](https://example.org/r/raw/main/docs/c.svg) "
        "[d](https://example.com) [e](#e)"
    )
    readme = absolute_links((ROOT / "README.md").read_text(encoding="utf-8"), "https://example.org/r")
    assert re.findall(r"\]\((?!https:)[^)]*\)", readme) == []


def test_each_page_is_in_the_contents() -> None:
    """A page that the index does not list cannot be found."""
    contents = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = [path.stem for path in (ROOT / "docs").glob("*.md") if path.stem not in ("index", "langchain-provider")]
    assert [page for page in pages if not re.search(rf"^{page}$", contents, re.MULTILINE)] == []


def test_pages_that_only_the_site_fills_say_so() -> None:
    """A Git host shows neither generated tables nor the text of docstrings."""
    paths = [path for path in (ROOT / "docs").rglob("*.md") if "_generated" not in path.parts]
    pages = {path.name: path.read_text(encoding="utf-8") for path in paths}
    filled = {name for name, text in pages.items() if "_generated/" in text or "```{eval-rst}" in text}
    assert {"models.md", "chat-parameters.md", "core.md"} <= filled
    assert [name for name in filled if "on the built site" not in pages[name]] == []
