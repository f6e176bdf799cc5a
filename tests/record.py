"""`make record`: record all cassettes that can be recorded again, and leave the others unchanged.

Always from the local model; with DASHSCOPE_API_KEY also from Model Studio, into `cassettes/modelstudio/`, where a
recorded cassette replaces a documented one. Names of scenarios as arguments restrict it to those.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import local_model
from modelstudio_core import config
from tests.cassette_format import Origin, cassette_path, read, recording
from tests.scenarios import SCENARIOS, Scenario, run


def main(names: Sequence[str]) -> int:
    """Record the scenarios with these names, or all. Return 1 if one could not be recorded, otherwise 0."""
    if unknown := set(names) - SCENARIOS.keys():
        _say(f"no such scenario: {', '.join(sorted(unknown))}")
        return 1
    chosen = [scenario for scenario in SCENARIOS.values() if not names or scenario.name in names]
    return 0 if all([*_from_local_model(chosen), *_from_model_studio(chosen)]) else 1


def _from_local_model(scenarios: Sequence[Scenario]) -> Iterator[bool]:
    """Record scenarios with the same options from one new server, so that its caches are always the same."""
    left = [scenario for scenario in scenarios if scenario.local is not None]
    while left:
        options = left[0].local or {}
        with local_model.running(**options) as server:
            for scenario in [each for each in left if each.local == options]:
                # a key is given so that one in the environment is not sent
                connection = {"base_url": server.base_url, "api_key": "none-needed"}
                yield _record(f"local/{scenario.name}", scenario, server.version, connection)
        left = [scenario for scenario in left if scenario.local != options]


def _from_model_studio(scenarios: Sequence[Scenario]) -> Iterator[bool]:
    key, workspace = os.environ.get(config.API_KEY_VARIABLE), os.environ.get(config.WORKSPACE_VARIABLE)
    if not key:
        _say(f"Model Studio: {config.API_KEY_VARIABLE} is not set, so nothing is recorded from it")
        return
    region = config.resolve().region
    if region is None:
        _say(f"Model Studio: {config.BASE_URL_VARIABLE} is none of its hosts, so nothing is recorded from it")
        return
    for scenario in scenarios:
        if scenario.provoked:
            source = f"Model Studio ({region}), {scenario.chat_model().model}"
            secrets = [secret for secret in (key, workspace) if secret]
            if recorded := _record(f"modelstudio/{scenario.name}", scenario, source, {}, secrets):
                cassette_path(f"documented/{scenario.name}").unlink(missing_ok=True)
            yield recorded


def _record(
    name: str, scenario: Scenario, source: str, connection: dict[str, Any], secrets: Sequence[str] = ()
) -> bool:
    began = time.monotonic()
    llm = scenario.chat_model(**connection)
    try:
        with recording(name, Origin("recorded", source, datetime.date.today()), secrets=secrets):
            error = run(scenario, llm)[-1].error
            if (error and type(error)) is not scenario.fails:
                raise error or AssertionError(f"no {scenario.fails} came")
    except Exception as error:
        _say(f"{name:<40} NOT recorded: {error}")
        return False
    finally:
        llm.close()
    count = len(read(name)[1])
    _say(f"{name:<40} {count} interaction{'s' if count > 1 else ''}, {time.monotonic() - began:.1f} s, from {source}")
    return True


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
