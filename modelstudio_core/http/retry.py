"""When to ask again, as a pure function. Who waits, and how often it was tried, is the caller's business.

A call is asked again only while nothing of its answer has been handed on. Whether it may help, and is ours to do, is
the error's own knowledge (`is_retryable`, `is_resent`). Backoff: full jitter from 0.5 s, doubling, to 8 s at the most,
the same for all throttling codes; a Retry-After counts up to 8 s, the cap of the vendor's own SDK.
"""

from __future__ import annotations

from modelstudio_core.errors import ModelStudioError

FIRST_DELAY = 0.5
LONGEST_DELAY = 8.0


def retry_delay(error: ModelStudioError, *, attempt: int, max_retries: int, jitter: float) -> float | None:
    """Seconds to wait before the next attempt; None: raise the error.

    Args:
        error: what went wrong.
        attempt: how many attempts were retries already; 0 after the first call.
        max_retries: how many retries there may be.
        jitter: a random number in [0, 1).
    """
    if attempt >= max_retries or not (error.is_retryable and error.is_resent):
        return None
    if error.retry_after is not None:
        return min(error.retry_after, LONGEST_DELAY)
    return jitter * min(FIRST_DELAY * 2.0 ** min(attempt, 16), LONGEST_DELAY)
