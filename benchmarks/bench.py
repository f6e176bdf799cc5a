"""What a measurement is given: one framework and protocol, with one server."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

SIDES = {"langchain": "benchmarks.langchain_side", "llama_index": "benchmarks.llama_index_side"}
BUILD = "BENCHMARK_BUILD"  # environment variable: the source tree whose packages are measured; default: this one


def load(side_name: str) -> Any:
    """Import the packages to measure from the tree in `BENCHMARK_BUILD`, and return the module of a side."""
    tree = build()
    sys.path.insert(0, str(tree))
    package = import_module(f"{side_name}_modelstudio")
    sys.path.remove(str(tree))
    assert tree in Path(str(package.__file__)).parents, f"{package.__file__} is not in {tree}"
    return import_module(SIDES[side_name])


def build() -> Path:
    """Return the source tree whose packages are measured."""
    return Path(os.environ.get(BUILD, ".")).resolve()


@dataclass
class Bench:
    """One framework and protocol, with one server.

    Attributes:
        side: the module of the framework.
        side_name: its key in `SIDES`.
        protocol: of the requests.
        origin: of the server.
        quick: whether to measure less.
        only: names of the contenders to measure; all of them, if empty.
    """

    side: Any
    side_name: str
    protocol: str
    origin: str
    quick: bool = False
    only: tuple[str, ...] = ()

    @property
    def makers(self) -> Mapping[str, Any]:
        """Return what makes a model of each contender, by name."""
        return self.chosen(self.side.CONTENDERS[self.protocol])

    def chosen(self, contenders: Mapping[str, Any]) -> dict[str, Any]:
        """Return those that are measured."""
        return {name: each for name, each in contenders.items() if not self.only or name in self.only}

    def made(self, kind: str, over_stream: bool = False) -> dict[str, Any]:
        """Return a model of each contender, for responses of this `kind`."""
        return {name: make(self.origin, kind, self.protocol, over_stream) for name, make in self.makers.items()}

    def rounds(self, few: int, many: int) -> int:
        """Return the number of repetitions."""
        return few if self.quick else many
