"""The table of faults: what the server does, and the expected outcome of each call.

Each row is tested with every method (`WAYS`) in the OpenAI-compatible and the native protocol; each combination of row,
method and protocol is a cell. A row about streams uses a streaming request for the non-streaming methods, too. The
Responses protocol is tested with one method per row, because only its codec differs.
"""

from __future__ import annotations

import itertools
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
NOT_IN_RESPONSES = (  # choices and log probabilities, which the Responses protocol does not have
    "a choice that ends with an error", "an event with another JSON structure", "a log probability without its token",
    "a JSON response with a log probability without its token", "a second choice that was not requested",
)  # fmt: skip


def cells(faults: Sequence[Fault]) -> list[Cell]:
    """Return each fault with each method and each protocol in which it exists."""
    return [(fault, DIALECTS[protocol], way) for fault in faults for protocol in fault.protocols for way in WAYS]


def responses_faults() -> list[Fault]:
    """Return the faults that are tested with the Responses protocol: those of the native one, but not of choices."""
    rows = itertools.chain(*TABLE.values())
    return [row for row in rows if "dashscope" in row.protocols and row.name not in NOT_IN_RESPONSES]
