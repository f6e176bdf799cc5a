"""The table of faults, as data: what the server does, and what then holds in each of the ways of asking.

Each row runs in every way and through both protocols; one row in one way through one protocol is a cell. A row that is
about a stream streams on the wire under the ways that give a whole answer, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.faults.dialects import DIALECTS, Dialect
from tests.faults.fault import Fault
from tests.faults.rows_answers import ANSWERS
from tests.faults.rows_connection import CONNECTION
from tests.faults.rows_odd import ODD
from tests.faults.rows_service import SERVICE
from tests.faults.ways import WAYS, Way

DEADLINE = 5.0
"""Seconds that a cell may take, waits between tries left out. Most take hundredths; the machine may be busy."""
TABLE: Mapping[str, tuple[Fault, ...]] = {
    "the connection": CONNECTION,
    "what the service says": SERVICE,
    "answers that are none, or not whole": ANSWERS,
    "odd, but right": ODD,
}
Cell = tuple[Fault, Dialect, Way]


def cells(faults: Sequence[Fault]) -> list[Cell]:
    """Every fault in every way through every protocol that has it."""
    return [(fault, DIALECTS[protocol], way) for fault in faults for protocol in fault.only for way in WAYS]
