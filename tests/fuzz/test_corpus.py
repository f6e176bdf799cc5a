"""The corpus of the fuzz target, including additions by fuzzing, passes in regular tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.reading import CORPUS, one_input

FILES = sorted(CORPUS.iterdir())


def test_the_corpus_exists() -> None:
    """Both protocols have seeds."""
    assert {path.name.partition("-")[0] for path in FILES} >= {"openai", "dashscope"}


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_an_input_of_the_corpus(path: Path) -> None:
    """The outcome is a result or an error of this package, independent of how the bytes are split."""
    one_input(path.read_bytes())
