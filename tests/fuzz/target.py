"""Fuzz the decoders of both protocols with atheris: `make fuzz`. `reading.one_input` processes an input."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelstudio_core"]):
    from tests.fuzz.reading import CORPUS, one_input

FOUND = Path(".fuzz")
"""Where inputs go that reach new code, and those that fail; copied into the corpus, they are tests."""

if __name__ == "__main__":  # arguments are libFuzzer's, such as -max_total_time=60
    FOUND.mkdir(exist_ok=True)
    atheris.Setup([*sys.argv, "-max_len=4096", f"-artifact_prefix={FOUND}/", str(FOUND), str(CORPUS)], one_input)
    atheris.Fuzz()
