"""The pages on the vendor's SDK show the differences that `make test-witness` expects."""

from __future__ import annotations

import pytest

from tests.snippets import ROOT
from tests.witness.differences import PAGES, tables


@pytest.mark.parametrize("page", PAGES)
def test_the_page_has_its_tables(page: str) -> None:
    """`python -m tests.witness` prints what stands in the pages; each row says why."""
    assert (ROOT / page).read_text(encoding="utf-8").endswith(tables(page))
