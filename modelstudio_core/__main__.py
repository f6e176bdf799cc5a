"""Run the command `modelstudio`: `doctor` needs only the base install, `chat` and `models` the extra `cli`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from modelstudio_core import __version__, doctor

INSTALL_CLI = doctor.installing("cli")
_RICH_COMMANDS = {
    "chat": "chat with a model in the terminal, thinking dimmed (extra `cli`)",
    "models": "print the table of known models (extra `cli`)",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return the exit status: 0, 1 if something failed, 2 for wrong arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # its encoding may lack characters that a server sent
            stream.reconfigure(errors="backslashreplace")
    if arguments and arguments[0] in _RICH_COMMANDS:
        try:
            from modelstudio_core.cli import run
        except ModuleNotFoundError as missing:
            if missing.name not in ("click", "rich"):
                raise
            print(f"`modelstudio {arguments[0]}` needs {missing.name}: {INSTALL_CLI}", file=sys.stderr)
            return 1
        return run(arguments)
    parsed = _parser().parse_args(arguments)
    settings = doctor.Settings(
        **{name: value for name, value in vars(parsed).items() if name not in ("command", "json") and value is not None}
    )
    checks = []
    for check in doctor.examine(settings):
        checks.append(check)
        if not parsed.json:
            print(doctor.render([check]), flush=True)
    if parsed.json:
        print(doctor.render(checks, as_json=True))
    return 0 if doctor.is_healthy(checks) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelstudio", description="Check, and try out, access to Alibaba Cloud Model Studio."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "doctor", help="check the installation, the key, the network and the model", description=doctor.__doc__
    )
    check.add_argument("--model", help=f"model to call (default {doctor.Settings().model}; a call costs some tokens)")
    check.add_argument("--region", help="region, instead of DASHSCOPE_REGION")
    check.add_argument("--base-url", help="URL, instead of DASHSCOPE_BASE_URL or a region")
    check.add_argument("--workspace", help="workspace id, instead of DASHSCOPE_WORKSPACE")
    check.add_argument("--protocol", choices=("openai", "dashscope", "responses"), help="default openai")
    check.add_argument("--timeout", type=float, help="seconds to wait for data (default 30)")
    check.add_argument("--json", action="store_true", help="print JSON")
    for name, text in _RICH_COMMANDS.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
