"""Decide whether and when to retry, as a pure function.

Callers retry only before the first output. The error itself says whether a retry may succeed (`is_retryable`) and
whether this package performs it (`is_resent`). The delay is a random time below a limit that doubles from 0.5 s to 8 s
(exponential backoff with full jitter), for all throttling codes. Retry-After is honoured up to 8 s, as in the vendor's
SDK.
"""

from __future__ import annotations

from modelstudio_core.errors import ModelStudioError

FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0


def retry_delay(error: ModelStudioError, *, attempt: int, max_retries: int, jitter: float) -> float | None:
    """Return the seconds to wait before the next attempt, or None if the error is final.

    Args:
        error: the error of the last attempt.
        attempt: number of retries so far; 0 after the first attempt.
        max_retries: maximum number of retries.
        jitter: a random number in [0, 1).
    """
    if attempt >= max_retries or not (error.is_retryable and error.is_resent):
        return None
    if error.retry_after is not None:
        return min(error.retry_after, LONGEST_DELAY)
    return jitter * min(FIRST_DELAY * 2.0 ** min(attempt, 16), LONGEST_DELAY)
