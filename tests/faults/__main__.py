"""Print the table of faults: `python -m tests.faults`. docs/faults.md contains the same table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.faults.dialects import DIALECTS
from tests.faults.table import TABLE, cells, responses_faults
from tests.faults.ways import WAYS


def lines() -> Iterator[str]:
    """Yield a Markdown table: a line per fault, and the number of tested calls per protocol."""
    names = list(DIALECTS)
    yield "| What the server does | Outcome | " + " | ".join(names) + " |"
    yield "|---|---|" + "---:|" * len(names)
    total: Counter[str] = Counter()
    for group, faults in TABLE.items():
        yield f"| **{group}** | |" + " |" * len(names)
        for fault in faults:
            counted = Counter(dialect.name for _, dialect, _ in cells([fault]))
            total += counted
            outcome = "the answer" if fault.error is None else f"`{fault.error.__name__}`"
            if fault.partial:
                outcome += ", with the partial result"
            if fault.requests > 1:
                outcome += f", after {fault.requests} requests"
            yield f"| {fault.name} | {outcome} | " + " | ".join(str(counted[name]) for name in names) + " |"
    yield "| **cells** | | " + " | ".join(f"**{total[name]}**" for name in names) + " |"
    yield ""
    ways = ", ".join(way.name for way in WAYS)
    yield f"{sum(total.values())} cells: {sum(map(len, TABLE.values()))} faults, tested with {ways}."
    yield (
        f'The Responses protocol (`protocol="responses"`) has {len(responses_faults())} of these faults, each tested '
        "with one call."
    )


if __name__ == "__main__":
    print(*lines(), sep="\n")
