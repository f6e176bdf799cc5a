"""The commands of `modelstudio` that need the extra `cli` (click and rich): `chat` and `models`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table

from modelstudio_core import config
from modelstudio_core.catalogue import ModelInfo, listed_models, model_info
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.model_table import cells
from modelstudio_core.terminal import printable
from modelstudio_core.types import ChatRequest, Delta, FinishDelta, Message, ReasoningDelta, TextDelta, UsageDelta

THINKING = "dim italic"
_LEFT_OUT_FIRST = ("regions", "output", "hears", "json_schema", "tools", "sees", "context", "thinks", "retired on")
"""Columns that a narrow terminal does not show, in this order. The model is always shown."""
_NUMBERS = ("context", "output")
_ANY_WIDTH = 1000


def run(arguments: Sequence[str]) -> int:
    """Run a command, and return the exit status."""
    try:
        result = commands.main(list(arguments), prog_name="modelstudio", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except ModelStudioError as error:
        click.echo(printable(f"{type(error).__name__}: {error}"), err=True)
        return 1
    return result if isinstance(result, int) else 0


@click.group()
def commands() -> None:
    """Try out access to Alibaba Cloud Model Studio."""


# ---------------------------------------------------------------- chat


@commands.command()
@click.option("--model", default="qwen-plus", show_default=True)
@click.option("--system", help="System message.")
@click.option("--thinking/--no-thinking", default=True, help="Think, if the model can (default).")
@click.option("--max-tokens", type=int, help="Maximum number of tokens of an answer.")
@click.option("--region", help="Region, instead of DASHSCOPE_REGION.")
@click.option("--base-url", help="URL, instead of DASHSCOPE_BASE_URL or a region.")
@click.option("--protocol", type=click.Choice(["openai", "dashscope", "responses"]), default="openai")
def chat(
    model: str,
    system: str | None,
    thinking: bool,
    max_tokens: int | None,
    region: str | None,
    base_url: str | None,
    protocol: config.Protocol,
) -> None:
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D or an empty line ends the chat.

    Questions can be piped in, one a line; an error then ends the chat with status 1.
    """
    resolved = config.resolve(region=region, base_url=base_url, protocol=protocol)
    client, console = Client(resolved, Transport(timeout=resolved.timeout)), Console(highlight=False)
    console.print(f"{model} at {resolved.where}. An empty line ends the chat.", style="dim", markup=False)
    info = model_info(model)
    history = [Message("system", system)] if system else []
    try:
        while question := _read(console):
            request = ChatRequest(
                model=model,
                messages=(*history, Message("user", question)),
                enable_thinking=thinking if info.is_hybrid else None,
                parameters={} if max_tokens is None else {"max_tokens": max_tokens},
            )
            answer = _answer(client, request, info, console)
            if answer is not None:
                history = [*request.messages, answer]
    finally:
        client.close()


def _read(console: Console) -> str:
    try:
        return console.input("[bold]> [/]" if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _answer(client: Client, request: ChatRequest, info: ModelInfo, console: Console) -> Message | None:
    """Stream an answer to the terminal, and return its message.

    After an error, return None if questions are typed, and raise it if they are piped in.
    """
    deltas: list[Delta] = []
    try:
        for delta in client.stream(request, info):
            if isinstance(delta, (TextDelta, ReasoningDelta)):
                console.print(_separator(deltas, delta, console.is_terminal), end="")
                style = THINKING if isinstance(delta, ReasoningDelta) else ""
                console.print(printable(delta.text), style=style, end="", markup=False, soft_wrap=True)
                deltas.append(delta)
            elif isinstance(delta, FinishDelta) and delta.reason == "length":
                console.print(" ... (cut: the finish reason is 'length')", style="dim", end="")
            elif isinstance(delta, UsageDelta):
                usage = delta.usage
                tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
                console.print(f"\n{tokens}", style="dim", end="", markup=False)
    except KeyboardInterrupt:
        console.print("\nstopped", style="dim", end="")
    except ModelStudioError as error:
        if not sys.stdin.isatty():
            console.print()
            raise
        console.print(printable(f"\n{type(error).__name__}: {error}"), style="red", markup=False)
        return None
    console.print("\n")
    return Message(
        "assistant",
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
        reasoning_content="".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)) or None,
    )


def _separator(printed: Sequence[Delta], delta: Delta, is_terminal: bool) -> str:
    """Return what separates thinking and answer before `delta`: headings where thinking cannot be dim."""
    if printed and type(printed[-1]) is type(delta):
        return ""
    if isinstance(delta, ReasoningDelta):
        return "\n\n" * bool(printed) + ("" if is_terminal else "Thinking:\n")
    return "" if not printed else "\n\n" if is_terminal else "\n\nAnswer:\n"


# ---------------------------------------------------------------- models


@commands.command()
@click.argument("text", default="")
@click.option("--thinks", is_flag=True, help="Only models that can think.")
@click.option("--sees", is_flag=True, help="Only models that take images or video.")
@click.option("--hears", is_flag=True, help="Only models that take audio.")
@click.option("--tools", is_flag=True, help="Only models that call tools.")
@click.option("--json-schema", is_flag=True, help="Only models with response_format json_schema.")
@click.option("--region", type=click.Choice([*config.REGIONS]), help="Only models listed for a region.")
@click.option("--retired", is_flag=True, help="Also retired models, with the date.")
def models(
    text: str, thinks: bool, sees: bool, hears: bool, tools: bool, json_schema: bool, region: str | None, retired: bool
) -> int:
    """Print the known models whose id contains TEXT. A question mark means that no source says it.

    thinks: always, on by default, if enabled (enable_thinking), or no. sees, hears: images and video, and audio, in the
    input. Limits are in tokens. Where the output is not a terminal, it is one line for each model, with tabs between
    the cells.
    """
    found = [
        info
        for info in listed_models()
        if text.lower() in info.id.lower()
        and (retired or info.retired_on is None)
        and (not thinks or info.thinking not in (None, "none"))
        and (not sees or info.supports_vision)
        and (not hears or info.input_audio)
        and (not tools or info.tools)
        and (not json_schema or info.supports_json_schema)
        and (region is None or region in (info.regions or ()))
    ]
    console = Console(highlight=False)
    if not found:
        click.echo("No known model matches.", err=True)
        return 1
    rows = [{name: cell for name, cell in cells(info).items() if retired or name != "retired on"} for info in found]
    if not console.is_terminal:
        click.echo("\n".join("\t".join(row) for row in ([*rows[0]], *(row.values() for row in rows))))
        return 0
    _print_table(rows, console)
    console.print(f"{len(found)} model{'s' * (len(found) != 1)}", style="dim")
    return 0


def _print_table(rows: Sequence[Mapping[str, str]], console: Console) -> None:
    """Print a table, without the columns that the terminal has no room for. Words are never broken."""
    columns, left_out = [*rows[0]], []
    needed = _least_width(_table(rows, columns))
    for name in _LEFT_OUT_FIRST:
        if name in columns and _least_width(_table(rows, columns)) > console.width:
            columns.remove(name)
            left_out.append(name)
    console.print(_table(rows, columns), crop=False)
    if left_out:
        advice = f"widen the terminal to {needed} columns, or pipe the output"
        console.print(f"Left out: {', '.join(left_out)}. To see all, {advice}.", style="dim", soft_wrap=True)


def _table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in columns:
        wraps = name == "regions"
        parts = [part for row in rows for part in (row[name].split() if wraps else [row[name]])]
        width = max(map(len, [name, *parts]))
        table.add_column(name, no_wrap=not wraps, min_width=width, justify="right" if name in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _least_width(table: Table) -> int:
    return Console(width=_ANY_WIDTH).measure(table).minimum
