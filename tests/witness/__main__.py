"""Print the tables of docs/vendor-sdk.md and docs/vendor-sdk-answers.md: `python -m tests.witness`."""

from __future__ import annotations

from tests.witness.differences import PAGES, tables

for page in PAGES:
    print(f"<!-- {page} -->\n{tables(page)}")
