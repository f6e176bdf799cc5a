"""Helpers shared by the tests of settings."""

from __future__ import annotations

from tests.loopback import Exchange, sse_body
from tests.service import USAGE, Answer

KEY = "sk-marked-key-for-tests"
HELLO = Answer(text=["hel", "lo"], usage=USAGE)
TWO = Answer(text=["one"], others=["two"])


def several(exchange: Exchange) -> None:
    """Send two answers, whole or interleaved in a stream."""
    if not exchange.request.json().get("stream"):
        TWO(exchange)
        return
    said = [(0, "o"), (1, "t"), (0, "ne"), (1, "wo")]
    events = [{"choices": [{"index": index, "delta": {"content": text}}]} for index, text in said]
    events += [{"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]} for index in (1, 0)]
    exchange.send_head(200, {"Content-Type": "text/event-stream"})
    for event in sse_body(*events):
        exchange.send_chunk(event)
