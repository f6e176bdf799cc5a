"""The commands of `modelstudio` that need the extra `cli` (click and rich): `chat` and `models`."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich import box
from rich.console import Console
from rich.table import Table

from modelstudio_core import config
from modelstudio_core.catalogue import ModelInfo, listed_models, model_info
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.terminal import printable
from modelstudio_core.types import ChatRequest, Delta, Message, ReasoningDelta, TextDelta, UsageDelta

THINKING = "dim italic"
_THINKS = {None: "", "none": "no", "hybrid-default-on": "on", "hybrid-default-off": "off", "only": "always"}
_INPUTS = (("input_image", "image"), ("input_video", "video"), ("input_audio", "audio"))


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
    """Chat with a model. Ctrl-C stops an answer, Ctrl-D or an empty line ends the chat."""
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
        return console.input("[bold]> [/]").strip()
    except (EOFError, KeyboardInterrupt):
        return ""


def _answer(client: Client, request: ChatRequest, info: ModelInfo, console: Console) -> Message | None:
    """Stream an answer to the terminal, and return its message; None if it failed."""
    deltas: list[Delta] = []
    try:
        for delta in client.stream(request, info):
            if isinstance(delta, TextDelta) and deltas and isinstance(deltas[-1], ReasoningDelta):
                console.print("\n")
            if isinstance(delta, (TextDelta, ReasoningDelta)):
                style = THINKING if isinstance(delta, ReasoningDelta) else ""
                console.print(printable(delta.text), style=style, end="", markup=False, soft_wrap=True)
                deltas.append(delta)
            elif isinstance(delta, UsageDelta):
                usage = delta.usage
                tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
                console.print(f"\n{tokens}", style="dim", end="", markup=False)
    except KeyboardInterrupt:
        console.print("\nstopped", style="dim", end="")
    except ModelStudioError as error:
        console.print(printable(f"\n{type(error).__name__}: {error}"), style="red", markup=False)
        return None
    console.print("\n")
    return Message(
        "assistant",
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
        reasoning_content="".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)) or None,
    )


# ---------------------------------------------------------------- models


@commands.command()
@click.argument("text", default="")
@click.option("--thinks", is_flag=True, help="Only models that can think.")
@click.option("--sees", is_flag=True, help="Only models that take images or video.")
@click.option("--hears", is_flag=True, help="Only models that take audio.")
@click.option("--tools", is_flag=True, help="Only models that call tools.")
@click.option("--json-schema", is_flag=True, help="Only models with response_format json_schema.")
@click.option("--region", type=click.Choice([*config.REGIONS]), help="Only models listed for a region.")
@click.option("--retired", is_flag=True, help="Also retired models, with the date in place of the regions.")
def models(
    text: str, thinks: bool, sees: bool, hears: bool, tools: bool, json_schema: bool, region: str | None, retired: bool
) -> int:
    """Print the known models whose id contains TEXT. A blank cell is not known.

    thinks: always, no, or by default on or off. Limits are in tokens.
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
        console.print("No known model matches.")
        return 1
    console.print(_table(found, retired))
    console.print(f"{len(found)} models", style="dim")
    return 0


def _table(found: Sequence[ModelInfo], retired: bool) -> Table:
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("model", "thinks", "tools", "schema"):
        table.add_column(name, no_wrap=True, min_width=max(len(info.id) for info in found) if name == "model" else None)
    for name in ("context", "output"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("input", overflow="fold")
    table.add_column("retired on" if retired else "regions", no_wrap=retired, overflow="fold")
    for info in found:
        table.add_row(
            info.id,
            _THINKS[info.thinking],
            _yes_or_no(info.tools),
            _yes_or_no(info.json_schema),
            _thousands(info.context_window),
            _thousands(info.max_output),
            ", ".join(name for field, name in _INPUTS if getattr(info, field)) or "text",
            (info.retired_on or "") if retired else ", ".join(info.regions or ()),
        )
    return table


def _thousands(tokens: int | None) -> str:
    return "" if tokens is None else f"{tokens / 1000:,.0f}k"


def _yes_or_no(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
