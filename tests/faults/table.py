"""The table of faults: what the server does, and the expected outcome of each call.

Each row is tested with every method (`WAYS`) and both protocols; a row with one method and one protocol is a cell. A
row about streams uses a streaming request for the non-streaming methods, too.
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
"""Time limit of a cell in seconds, without waits between attempts. Most take hundredths; the machine may be busy."""
TABLE: Mapping[str, tuple[Fault, ...]] = {
    "the connection": CONNECTION,
    "errors of the service": SERVICE,
    "invalid or incomplete responses": ANSWERS,
    "unusual but valid": ODD,
}
Cell = tuple[Fault, Dialect, Way]


def cells(faults: Sequence[Fault]) -> list[Cell]:
    """Return each fault with each method and each protocol in which it exists."""
    return [(fault, DIALECTS[protocol], way) for fault in faults for protocol in fault.protocols for way in WAYS]
