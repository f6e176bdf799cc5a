"""Make the rows of the journal's table `results` from the lines of a job that has ended. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from modelstudio_core.batches.journal import File, ResultRow
from modelstudio_core.batches.lines import result_line, unprocessed_line
from modelstudio_core.errors import ProtocolError

logger = logging.getLogger("modelstudio_core")


def rows_of(lines: Iterable[bytes], file: File) -> Iterator[ResultRow]:
    """Yield the rows of a job's result lines. A line that belongs to no input is left out, with a warning."""
    first, last = file.first, file.last
    for data in lines:
        try:
            found = result_line(data)
        except ProtocolError as unknown:
            logger.warning("Model Studio: a result line of batch job %s is left out: %s", file.batch_id, unknown)
            continue
        if found is not None and first <= found[0] <= last:
            position, error = found
            if error is None:
                yield position, 0, 0, data
            else:
                yield position, 1, int(error.is_retryable), data


def unprocessed_lines(positions: Iterable[int], file: File) -> Iterator[bytes]:
    """Yield the result lines of inputs that the job has none for."""
    job = f"the batch job {file.batch_id}"
    said = f": {file.reason}" if file.reason else ""
    code, reason = {
        "failed": ("batch_failed", f"{job} failed{said}"),
        "expired": ("batch_expired", f"{job} expired before this input was processed"),
        "cancelled": ("batch_cancelled", "the batch job was cancelled before this input was processed"),
        "completed": ("batch_without_result", f"{job} has no result for this input"),
    }[file.state]
    return (unprocessed_line(at, code, reason) for at in positions)
