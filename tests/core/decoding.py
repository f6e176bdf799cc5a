"""Helpers of the codec tests: reading a body, and checks that apply to all answers."""

from __future__ import annotations

from modelstudio_core.protocols.codec import StreamDecoder
from modelstudio_core.types import (
    AudioDelta,
    Delta,
    ExtraDelta,
    FinishDelta,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    ResponseDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

GENERATED = "call_generated"
"""The id that a call without one gets in the core's tests (see `tests.core.conftest`)."""


def read(reader: StreamDecoder, body: bytes, size: int | None = None) -> list[Delta]:
    """Return the deltas of a body that arrives in reads of `size` bytes."""
    deltas: list[Delta] = []
    for at in range(0, len(body), size or len(body) or 1):
        deltas += reader.feed(body[at : at + (size or len(body))])
    return deltas + ([] if reader.ended else reader.finish())


def check_form(deltas: list[Delta]) -> None:
    """Check that the response delta is the first, usage at most once and last, and no delta empty."""
    assert [i for i, d in enumerate(deltas) if isinstance(d, ResponseDelta)] in ([], [0])
    assert [i for i, d in enumerate(deltas) if isinstance(d, UsageDelta)] in ([], [len(deltas) - 1])
    for delta in deltas:
        match delta:
            case ReasoningDelta() | TextDelta() | RefusalDelta():
                assert delta.text
            case ToolCallDelta():
                assert delta.id or delta.name or delta.arguments
            case AudioDelta():
                assert delta.data or delta.transcript or delta.id or delta.expires_at
            case LogprobsDelta():
                assert delta.content
            case FinishDelta():
                assert delta.reason
            case ExtraDelta():
                assert delta.name
                assert delta.value
