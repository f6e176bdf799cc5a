"""Convert the result lines of a job to rows of the journal's table `results`. Pure."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from modelstudio_core.batches.journal import File, ResultRow
from modelstudio_core.batches.lines import result_line, unprocessed_line
from modelstudio_core.errors import ProtocolError

logger = logging.getLogger("modelstudio_core")


def rows_of(lines: Iterable[bytes], file: File) -> Iterator[ResultRow]:
    """Yield a row for each result line. Lines that belong to no input are ignored, with a warning."""
    first, last = file.first, file.last
    for data in lines:
        try:
            found = result_line(data)
        except ProtocolError as unknown:
            logger.warning("Model Studio: ignored a result line of batch job %s: %s", file.batch_id, unknown)
            continue
        if found is not None and first <= found[0] <= last:
            position, error = found
            if error is None:
                yield position, 0, 0, data
            else:
                yield position, 1, int(error.is_retryable), data


def unprocessed_lines(positions: Iterable[int], file: File) -> Iterator[bytes]:
    """Yield an error line for each input without a result."""
    job = f"the batch job {file.batch_id}"
    reason = f": {file.reason}" if file.reason else ""
    code, message = {
        "failed": ("batch_failed", f"{job} failed{reason}"),
        "expired": ("batch_expired", f"{job} expired before this input was processed"),
        "cancelled": ("batch_cancelled", "the batch job was cancelled before this input was processed"),
        "completed": ("batch_without_result", f"{job} has no result for this input"),
    }[file.state]
    return (unprocessed_line(at, code, message) for at in positions)
