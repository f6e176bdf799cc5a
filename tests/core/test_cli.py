"""`modelstudio chat` and `modelstudio models`, and what they say where their packages are not installed."""

from __future__ import annotations

import builtins
import io
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from modelstudio_core import __main__ as command
from modelstudio_core import cli, model_table
from modelstudio_core.catalogue import ModelInfo, listed_models
from tests.loopback import Loopback, reply_json
from tests.service import USAGE, Answer, sent

THOUGHTFUL = Answer(reasoning=["Light ", "scatters."], text=["Blue", "."], usage=USAGE)


class Typed(io.StringIO):
    """Standard input of a terminal."""

    def isatty(self) -> bool:
        return True


def chatting(monkeypatch: pytest.MonkeyPatch, lines: str, *arguments: str, typed: bool = False) -> int:
    monkeypatch.setattr(sys, "stdin", Typed(lines) if typed else io.StringIO(lines))
    return command.main(["chat", *arguments])


def in_a_terminal(monkeypatch: pytest.MonkeyPatch, width: int = 80, **options: Any) -> io.StringIO:
    """Return what will hold the output of the command, whose standard output is a terminal."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, highlight=False, **options)
    monkeypatch.setattr(cli, "Console", lambda **given: Console(**given) if "width" in given else console)
    return out


def test_a_chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Thinking and answer have headings where they cannot be dim; the second request has the first question."""
    with Loopback([THOUGHTFUL, Answer(text=["Red."])]) as server:
        options = ("--base-url", server.url, "--system", "Be brief.", "--max-tokens", "50")
        assert chatting(monkeypatch, "Why is the sky blue?\nAnd at dusk?\n\nnot asked\n", *options) == 0
        assert len(server.requests) == 2
        body = sent(server)
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Why is the sky blue?"),
        ("assistant", "Blue."),
        ("user", "And at dusk?"),
    ]
    assert (body["enable_thinking"], body["max_tokens"], body["stream"]) == (True, 50, True)
    printed = capsys.readouterr().out
    assert "Thinking:\nLight scatters.\n\nAnswer:\nBlue.\n20 + 10 tokens\n" in printed
    assert "\nRed.\n" in printed
    assert ">" not in printed  # no prompt for piped questions


@pytest.mark.parametrize(("finish", "is_cut"), [("length", True), ("stop", False)])
def test_a_cut_answer_is_marked(
    finish: str, is_cut: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Loopback(Answer(text=["Blue light"], finish=finish, usage=USAGE)) as server:
        assert chatting(monkeypatch, "Why?\n", "--base-url", server.url) == 0
    mark = " ... (cut: the finish reason is 'length')" * is_cut
    assert f"\nBlue light{mark}\n20 + 10 tokens\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "option", "thinks"),
    [("qwen-plus", "--no-thinking", False), ("qwen-plus", "--thinking", True), ("qwen-max", "--thinking", None)],
)
def test_thinking_is_set_where_it_can_be(
    model: str, option: str, thinks: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models that cannot switch it are sent no switch."""
    with Loopback(Answer(text=["Hi."])) as server:
        assert chatting(monkeypatch, "Hi\n", "--base-url", server.url, "--model", model, option) == 0
        assert sent(server).get("enable_thinking") == thinks


def test_thinking_is_dim(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal, the thinking alone is dim and italic."""
    out = in_a_terminal(monkeypatch)
    with Loopback(THOUGHTFUL) as server:
        assert chatting(monkeypatch, "Why?\n", "--base-url", server.url) == 0
    assert "\x1b[2;3mLight \x1b[0m\x1b[2;3mscatters.\x1b[0m" in out.getvalue()
    assert "Light scatters.\n\nBlue." in re.sub(r"\x1b\[[\d;]*m", "", out.getvalue())
    assert "mBlue" not in out.getvalue()


def test_a_failed_answer_is_not_part_of_the_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is printed, and the next typed question is the first of the history."""
    failed = reply_json(400, {"error": {"code": "InvalidParameter", "message": "not like this"}})
    with Loopback([failed, THOUGHTFUL]) as server:
        assert chatting(monkeypatch, "one\ntwo\n", "--base-url", server.url, typed=True) == 0
        assert [turn["content"] for turn in sent(server)["messages"]] == ["two"]
    assert "BadRequestError: not like this" in capsys.readouterr().out


@pytest.mark.parametrize("command_line", [["chat"], ["doctor"]])
def test_a_server_does_not_control_the_terminal(
    command_line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences set its title or the clipboard. They may be split, and C1 codes stand for them."""
    title = "\x1b]0;owned\x07 \x9b2J"
    failed = reply_json(400, {"error": {"code": "InvalidParameter", "message": title}})
    said = Answer(reasoning=[title], text=["\x1b", "]0;owned\r\n"])
    monkeypatch.setattr(sys, "stdin", Typed("one\ntwo\n"))
    with Loopback([failed, said if command_line == ["chat"] else failed]) as server:
        command.main([*command_line, "--base-url", server.url])
    printed = capsys.readouterr().out
    assert printed.count(r"\x1b]0;owned") == (3 if command_line == ["chat"] else 2)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", printed)


def test_an_error_ends_a_piped_chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A script sees the status; the questions that follow are not asked."""
    with Loopback(reply_json(400, {"error": {"code": "InvalidParameter", "message": "not like this"}})) as server:
        assert chatting(monkeypatch, "one\ntwo\n", "--base-url", server.url) == 1
        assert len(server.requests) == 1
    assert "BadRequestError: not like this" in capsys.readouterr().err


def test_a_chat_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["chat"]) == 1
    assert "ConfigurationError: no API key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "shown", "hidden"),
    [
        (["qwen-plus"], ["qwen-plus"], ["qwen-max"]),
        (["--thinks"], ["qwen-plus"], ["qwen-max"]),
        (["--sees"], ["qwen3-vl-plus"], ["qwen-plus"]),
        (["--hears"], ["qwen3-omni-flash"], ["qwen-plus", "qwen3-vl-plus"]),
        (["--tools", "--json-schema"], ["qwen3.7-max"], ["qwen3-omni-flash"]),
        (["--region", "frankfurt"], ["kimi-k3"], ["qvq-max"]),
        (["qvq", "--retired"], ["qvq-max"], ["qwen-plus"]),
    ],
)
def test_models(
    arguments: list[str],
    shown: list[str],
    hidden: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The models match all filters. Where the output is no terminal, cells are separated by tabs."""
    assert command.main(["models", *arguments]) == 0
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert head[:2] == ["model", "thinks"]
    assert {len(row) for row in rows} == {len(head)} == {9 + ("--retired" in arguments)}
    ids = {row[0] for row in rows}
    assert set(shown) <= ids
    assert not ids & set(hidden)


def test_retired_models_have_their_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["models", "qvq-max", "--retired"]) == 0
    head, row = [line.split("\t") for line in capsys.readouterr().out.splitlines()][:2]
    cells = dict(zip(head, row, strict=True))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cells["retired on"])
    assert cells["regions"]


def test_a_fact_that_no_source_says(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a question mark, not a no."""
    assert command.main(["models", "qwen-vl-max-latest"]) == 0
    head, row = [line.split("\t") for line in capsys.readouterr().out.splitlines()][:2]
    cells = dict(zip(head, row, strict=True))
    assert (cells["sees"], cells["hears"], cells["context"], cells["regions"]) == ("?", "?", "?", "?")


CELLS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"thinking": "none"}, {"thinks": "no"}),
    ({"thinking": "only"}, {"thinks": "always"}),
    ({"thinking": "hybrid-default-on"}, {"thinks": "on by default"}),
    ({"thinking": "hybrid-default-off"}, {"thinks": "if enabled"}),
    ({"input_image": True}, {"sees": "images"}),
    ({"input_image": True, "input_video": True}, {"sees": "images, video"}),
    ({"input_image": False, "input_video": False}, {"sees": "no"}),
    ({"input_image": False}, {}),
    ({"input_audio": True, "tools": False}, {"hears": "yes", "tools": "no"}),
    ({"tools": True, "json_schema": False}, {"tools": "yes", "json_schema": "no"}),
    ({"context_window": 131072, "max_input": 1}, {"context": "131,072"}),
    ({"max_output": 8192, "max_output_thinking": 32768}, {"output": "32,768"}),
    ({"max_output": 8192}, {"output": "8,192"}),
    ({"max_output_thinking": 32768}, {"output": "32,768"}),
    ({"regions": ("beijing", "singapore")}, {"regions": "beijing, singapore"}),
    ({"retired_on": "2026-01-31"}, {"retired on": "2026-01-31"}),
]


@pytest.mark.parametrize(("facts", "known"), CELLS, ids=str)
def test_the_cells_of_a_model(facts: dict[str, Any], known: dict[str, str]) -> None:
    """The others are question marks, except that a model without a date is not retired."""
    names = ("thinks", "sees", "hears", "tools", "json_schema", "context", "output", "regions")
    unknown = {"model": "a", **dict.fromkeys(names, "?"), "retired on": ""}
    assert model_table.cells(ModelInfo("a", **facts)) == {**unknown, **known}


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (52, "regions, output, hears, json_schema, tools, sees, context"),
        (80, "regions, output, hears, json_schema, tools"),
        (130, ""),
    ],
    ids=str,
)
def test_a_narrow_terminal(width: int, left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole columns are left out, in a fixed order, and a line says so. What is printed is never cut."""
    out = in_a_terminal(monkeypatch, width, color_system=None)
    assert command.main(["models"]) == 0
    lines = out.getvalue().splitlines()
    said = [line for line in lines if line.startswith("Left out: ")]
    assert [line.partition(". ")[0].removeprefix("Left out: ") for line in said] == [left_out] * bool(left_out)
    table = [line for line in lines if line not in said]
    assert max(map(len, table)) <= width
    words = {word for line in table for word in line.split()}
    assert {info.id for info in listed_models() if info.retired_on is None} <= words
    names = {name for info in listed_models() if info.retired_on is None for name in info.regions or ()}
    assert {word.strip(",") for word in words} & names == (set() if left_out else names)
    assert lines[-1].endswith(" models")


def test_no_model_matches(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["models", "no-such-model"]) == 1
    assert "No known model matches." in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "status"), [(["models", "--help"], 0), (["models", "--nope"], 2)])
def test_help_and_wrong_arguments(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == status
    assert "modelstudio models" in "".join(capsys.readouterr())


@pytest.mark.parametrize("missing", ["click", "rich"])
@pytest.mark.parametrize("name", ["chat", "models"])
def test_without_the_extra(
    name: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says which extra to install."""
    real = builtins.__import__

    def without(asked: str, *args: Any, **kwargs: Any) -> Any:
        if asked.split(".")[0] == missing:
            raise ModuleNotFoundError(asked, name=missing)
        return real(asked, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "modelstudio_core.cli")
    monkeypatch.setattr(builtins, "__import__", without)
    assert command.main([name]) == 1
    said = capsys.readouterr().err
    assert "pip install 'modelstudio-integrations[cli]' (in a clone: pip install '.[cli]')" in said


def test_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"    {name} " in printed for name in ("doctor", "chat", "models"))
