"""docs/vendor-sdk.md shows the differences that `make test-witness` expects."""

from __future__ import annotations

from tests.snippets import ROOT
from tests.witness.differences import tables


def test_the_page_has_the_tables() -> None:
    """`python -m tests.witness` prints what stands in the page; each row says why."""
    page = (ROOT / "docs/vendor-sdk.md").read_text(encoding="utf-8")
    assert page.endswith(tables())
