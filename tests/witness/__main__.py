"""Print the tables of docs/vendor-sdk.md: `python -m tests.witness`."""

from __future__ import annotations

from tests.witness.differences import tables

print(tables(), end="")
