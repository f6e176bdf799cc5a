"""Unusual log probabilities, which are omitted if invalid, and audio, which raises an error if invalid.

The cases are read by each codec as a whole answer, as a stream, and as a cumulative stream.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from modelstudio_core.errors import ProtocolError
from modelstudio_core.protocols.codec import Codec
from modelstudio_core.protocols.dashscope import DashScopeCodec
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import (
    AudioDelta,
    ChatRequest,
    Delta,
    FinishDelta,
    LogprobsDelta,
    Message,
    ResponseDelta,
    ResponseHead,
    TextDelta,
)
from tests.core.decoding import read
from tests.ids import short

HEAD = ResponseHead(200, {"content-type": "text/event-stream", "x-request-id": "req-1"})
LONG = "x" * 5000
GOOD: dict[str, Any] = {"token": "A", "logprob": -0.5, "bytes": [0, 65, 255], "top_logprobs": []}
WITHOUT_BYTES, WITHOUT_ALTERNATIVES = GOOD | {"bytes": None}, GOOD | {"top_logprobs": None}
ODD: list[tuple[str, Any, Any]] = [
    # name, item, what is left of it
    ("no object but text", "A", None),
    ("null", None, None),
    ("no object but a list", ["A"], None),
    ("no token", {"logprob": -0.5}, None),
    ("a token that is null", GOOD | {"token": None}, None),
    ("a token that is a number", GOOD | {"token": 7}, None),
    ("no logprob", {"token": "A"}, None),
    ("a logprob that is null", GOOD | {"logprob": None}, None),
    ("a logprob that is text", GOOD | {"logprob": "-0.5"}, None),
    ("a logprob that is true", GOOD | {"logprob": True}, None),
    ("a logprob that no float can hold", GOOD | {"logprob": 10**400}, None),
    ("bytes that are text", GOOD | {"bytes": "QQ=="}, WITHOUT_BYTES),
    ("bytes that are false", GOOD | {"bytes": False}, WITHOUT_BYTES),
    ("a byte over 255", GOOD | {"bytes": [65, 256]}, WITHOUT_BYTES),
    ("a byte below 0", GOOD | {"bytes": [-1]}, WITHOUT_BYTES),
    ("a byte that is true", GOOD | {"bytes": [True]}, WITHOUT_BYTES),
    ("a byte that is text", GOOD | {"bytes": ["65"]}, WITHOUT_BYTES),
    ("a byte that is a float", GOOD | {"bytes": [65.0]}, WITHOUT_BYTES),
    ("alternatives that are an object", GOOD | {"top_logprobs": {"B": -1}}, WITHOUT_ALTERNATIVES),
    ("alternatives that are a number", GOOD | {"top_logprobs": 0}, WITHOUT_ALTERNATIVES),
    ("an alternative that is no object", GOOD | {"top_logprobs": [GOOD, "B"]}, GOOD | {"top_logprobs": [GOOD]}),
    ("an alternative that is null", GOOD | {"top_logprobs": [None]}, GOOD),
    ("an alternative without token", GOOD | {"top_logprobs": [{"logprob": -1}]}, GOOD),
    ("an alternative's logprob", GOOD | {"top_logprobs": [{"token": "B"}]}, GOOD),
    (
        "an alternative's bytes",
        GOOD | {"top_logprobs": [GOOD | {"bytes": 6}]},
        GOOD | {"top_logprobs": [WITHOUT_BYTES]},
    ),
    ("both", GOOD | {"bytes": 6, "top_logprobs": 7}, WITHOUT_BYTES | {"top_logprobs": None}),
]
LOGPROBS: list[tuple[str, dict[str, Any]]] = [
    ("all of it", GOOD),
    ("no more than what is needed", {"token": "", "logprob": 0}),
    ("nulls", {"token": "A", "logprob": -0.5, "bytes": None, "top_logprobs": None}),
    ("alternatives", GOOD | {"top_logprobs": [GOOD, {"token": "B", "logprob": -3, "bytes": None}]}),
    ("an integer that a float can hold", GOOD | {"logprob": -(10**300)}),
    ("keys of the server's own", GOOD | {"index": 0, "id": "7", "type": "token", "rank": {"n": 1}}),
]


@dataclass(frozen=True)
class Reading:
    """A codec and a form of the answer."""

    native: bool
    way: str

    @property
    def codec(self) -> Codec:
        return DashScopeCodec() if self.native else OpenAICodec()

    @property
    def request(self) -> ChatRequest:
        return ChatRequest("qwen-plus", (Message("user", "hello"),), cumulative_stream=self.way == "repeated")

    def answer(self, said: dict[str, Any], items: Any = None, finish: str | None = None) -> bytes:
        """A whole answer, or an event, as JSON, with the message and its log probabilities."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish or ("null" if self.native else None)}
        choice["delta" if self.way != "whole" and not self.native else "message"] = said
        choice["logprobs"] = None if items is None else {"content": items}
        output: dict[str, Any] = {"choices": [choice]}
        return json.dumps({"output": output} if self.native else output).encode()

    def read(self, said: dict[str, Any], items: list[Any]) -> tuple[list[Delta], ProtocolError | None]:
        """The deltas of an answer. If it is a stream, its last event has the last of `items`."""
        if self.way == "whole":
            try:
                return self.codec.decode(self.request, HEAD, self.answer(said, items, "stop")), None
            except ProtocolError as error:
                return [], error
        later = items if self.way == "repeated" else items[1:]
        text = {"content": said["content"]} if "content" in said else {}
        events = [
            self.answer(text, items[:1]),
            self.answer({**said, "content": ""}, later),
            self.answer({}, [], "stop"),
        ]
        reader = self.codec.stream(self.request, HEAD, max_event_bytes=1_000_000)
        deltas = read(reader, b"".join(b"data: " + event + b"\n\n" for event in events))
        assert isinstance(reader.failure, ProtocolError | None)
        return deltas, reader.failure


READINGS = [Reading(native, way) for native in (False, True) for way in ("whole", "stream", "repeated")]
every_reading = pytest.mark.parametrize(
    "reading", READINGS, ids=[f"{'native' if it.native else 'compatible'}-{it.way}" for it in READINGS]
)


@every_reading
@pytest.mark.parametrize(("item", "left"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_invalid_log_probabilities(item: Any, left: Any, reading: Reading, caplog: pytest.LogCaptureFixture) -> None:
    """They are omitted with a debug line. The answer and other items are kept."""
    caplog.set_level("DEBUG", "modelstudio_core")
    deltas, failure = reading.read({"content": "A"}, [GOOD, item])
    assert failure is None
    assert TextDelta("A") in deltas
    found = [it for delta in deltas if isinstance(delta, LogprobsDelta) for it in delta.content]
    assert found == ([GOOD] if left is None else [GOOD, left])
    assert len(caplog.messages) == 1


@every_reading
@pytest.mark.parametrize("odd", ["none", 0.5, True, [GOOD], {"content": "A"}, {"content": {"0": GOOD}}], ids=short)
def test_values_without_log_probabilities(odd: Any, reading: Reading) -> None:
    """They are omitted."""
    answer = json.loads(reading.answer({"content": "A"}, [GOOD], "stop"))
    (answer["output"] if reading.native else answer)["choices"][0]["logprobs"] = odd
    body = json.dumps(answer).encode()
    if reading.way == "whole":
        deltas = reading.codec.decode(reading.request, HEAD, body)
    else:
        reader = reading.codec.stream(reading.request, HEAD, max_event_bytes=1_000_000)
        deltas = read(reader, b"data: " + body + b"\n\n")
        assert reader.failure is None
    assert [delta for delta in deltas if not isinstance(delta, ResponseDelta)] == [TextDelta("A"), FinishDelta("stop")]


@every_reading
@pytest.mark.parametrize("item", [row[1] for row in LOGPROBS], ids=[row[0] for row in LOGPROBS])
def test_valid_log_probabilities(item: dict[str, Any], reading: Reading) -> None:
    """Items with a token and a number are unchanged, including other fields."""
    deltas, failure = reading.read({"content": "A"}, [GOOD, item])
    assert failure is None
    assert [it for delta in deltas if isinstance(delta, LogprobsDelta) for it in delta.content] == [GOOD, item]


SOUNDS: list[Any] = ["AAAAé", "光", "\x80", "\ud83d", LONG + "é", 7]


@pytest.mark.parametrize("data", SOUNDS, ids=lambda data: f"{data!a:.10}")
@pytest.mark.parametrize("way", ["whole", "stream"])
def test_audio_that_is_not_ascii(way: str, data: Any) -> None:
    """It is not base64: a ProtocolError names the field and quotes at most 100 characters."""
    deltas, failure = Reading(False, way).read({"content": "A", "audio": {"data": data, "id": "audio_1"}}, [GOOD])
    assert failure is not None
    assert "audio.data is no" in failure.message
    assert len(failure.message) < 200
    assert not any(isinstance(delta, AudioDelta) for delta in deltas)


@pytest.mark.parametrize("way", ["whole", "stream"])
def test_transcripts_in_other_languages(way: str) -> None:
    """The transcript may be any text."""
    deltas, failure = Reading(False, way).read({"audio": {"data": "AAA=", "transcript": "光"}}, [GOOD])
    assert failure is None
    assert AudioDelta("AAA=", "光") in deltas
