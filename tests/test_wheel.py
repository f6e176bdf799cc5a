"""Contents and metadata of the built wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import modelstudio_core

ROOT = Path(__file__).parent.parent
PACKAGES = ("modelstudio_core", "langchain_modelstudio", "llama_index_modelstudio")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_has_only_the_packages(wheel: zipfile.ZipFile) -> None:
    """With types and data, but without tests, examples and the local model."""
    names = wheel.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == set(PACKAGES)
    for needed in (
        *(f"{package}/py.typed" for package in PACKAGES),
        "modelstudio_core/catalogue.json",
        "modelstudio_core/prices.json",
        "modelstudio_core/retrieval.json",
    ):
        assert needed in names
    sources = {str(path.relative_to(ROOT)) for package in PACKAGES for path in ROOT.glob(f"{package}/**/*.py")}
    assert sources <= set(names)


def test_the_readme_of_the_package_index(wheel: zipfile.ZipFile) -> None:
    """Its links lead to the repository, and its pictures to raw files there."""
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    metadata = message_from_bytes(wheel.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    assert re.search(r"!\[[^]]+\]\(https://[^)]+/raw/main/docs/images/demo\.svg\)", text)
    assert re.findall(r"\]\((?!https:)[^)]*\)", text) == []


def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    """An upper limit in bytes, of which nearly all is source; a large file in it should be a decision."""
    assert Path(wheel.filename or "").stat().st_size < 400_000


def test_the_version_is_that_of_the_core(wheel: zipfile.ZipFile) -> None:
    """It is written in one place, and the changelog dates it."""
    assert Path(wheel.filename or "").name.split("-")[1] == modelstudio_core.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(modelstudio_core.__version__)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE)


def test_the_commands_are_installed(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "modelstudio = modelstudio_core.__main__:main" in wheel.read(name).decode()


def test_the_base_install_has_no_framework(wheel: zipfile.ZipFile) -> None:
    """Only httpx, pydantic and their dependencies."""
    name = next(name for name in wheel.namelist() if name.endswith("METADATA"))
    required = message_from_bytes(wheel.read(name)).get_all("Requires-Dist") or []
    base = sorted(line.partition("<")[0].partition(">")[0] for line in required if "extra ==" not in line)
    assert base == ["anyio", "h11", "httpcore", "httpx", "pydantic", "pydantic-core", "typing-extensions"]
    extras = message_from_bytes(wheel.read(name)).get_all("Provides-Extra") or []
    assert {"langchain", "llama-index", "tokenizer", "local", "dev"} <= set(extras)
