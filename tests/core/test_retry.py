"""When to retry, and after which delay."""

from __future__ import annotations

import pytest

from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ModelStudioError,
    ProtocolError,
    QuotaError,
    RateLimitError,
    ServerError,
    StreamTruncatedError,
)
from modelstudio_core.http.retry import retry_delay

BUSY = RateLimitError("busy", status_code=429)
DELAYS: list[tuple[str, ModelStudioError, int, int, float, float | None]] = [
    # full jitter from 0.5 s, doubling, to 8 s
    ("first", BUSY, 0, 9, 0.5, 0.25),
    ("second", BUSY, 1, 9, 0.5, 0.5),
    ("third", BUSY, 2, 9, 0.5, 1.0),
    ("fifth", BUSY, 4, 9, 0.5, 4.0),
    ("sixth", BUSY, 5, 9, 0.5, 4.0),
    ("a thousandth", BUSY, 1000, 2000, 0.5, 4.0),
    ("no jitter: at once", BUSY, 3, 9, 0.0, 0.0),
    ("most jitter", BUSY, 0, 9, 0.999, 0.4995),
    # how often
    ("none left", BUSY, 2, 2, 0.5, None),
    ("more than allowed", BUSY, 3, 2, 0.5, None),
    ("none allowed", BUSY, 0, 0, 0.5, None),
    # what the service asked for, up to the cap of the vendor's SDK
    ("retry-after", RateLimitError("", retry_after=3.0), 0, 9, 0.5, 3.0),
    ("at once", RateLimitError("", retry_after=0.0), 3, 9, 0.5, 0.0),
    ("capped", RateLimitError("", retry_after=60.0), 0, 9, 0.5, 8.0),
    ("none left, though asked to", RateLimitError("", retry_after=1.0), 2, 2, 0.5, None),
    ("not retryable, though asked to", QuotaError("", retry_after=1.0), 0, 2, 0.5, None),
    # which errors: their own knowledge
    ("server", ServerError("", status_code=503), 0, 2, 0.5, 0.25),
    ("connection", APIConnectionError(""), 0, 2, 0.5, 0.25),
    ("connection, lost in the answer", APIConnectionError("", is_resent=False), 0, 2, 0.5, None),
    ("read timeout", APITimeoutError("", is_resent=False), 0, 2, 0.5, None),
    ("billing", QuotaError("", status_code=429), 0, 2, 0.5, None),
    ("key", AuthenticationError("", status_code=401), 0, 2, 0.5, None),
    ("protocol", ProtocolError(""), 0, 2, 0.5, None),
    ("cut", StreamTruncatedError(""), 0, 2, 0.5, None),
]


@pytest.mark.parametrize(
    ("error", "attempt", "most", "jitter", "delay"), [c[1:] for c in DELAYS], ids=[c[0] for c in DELAYS]
)
def test_retry_delays(error: ModelStudioError, attempt: int, most: int, jitter: float, delay: float | None) -> None:
    """Seconds, or None if a retry is useless or not allowed."""
    assert retry_delay(error, attempt=attempt, max_retries=most, jitter=jitter) == delay
