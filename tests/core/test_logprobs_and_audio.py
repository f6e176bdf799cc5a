"""Log probabilities and spoken answers of odd shapes: what is none is refused by name where it is read.

A table of shapes, read by each codec in each way that an answer comes: whole, streamed, and as a stream whose events
repeat what was said before.
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
from modelstudio_core.types import AudioDelta, ChatRequest, Delta, LogprobsDelta, Message, ResponseHead, TextDelta
from tests.core.decoding import read

HEAD = ResponseHead(200, {"content-type": "text/event-stream", "x-request-id": "req-1"})
LONG = "x" * 5000
GOOD: dict[str, Any] = {"token": "A", "logprob": -0.5, "bytes": [0, 65, 255], "top_logprobs": []}
NO_LOGPROBS: list[tuple[str, Any, str]] = [
    ("no object but text", "A", "content[1]"),
    ("null", None, "content[1]"),
    ("no object but a list", ["A"], "content[1]"),
    ("no token", {"logprob": -0.5}, "content[1].token"),
    ("a token that is null", GOOD | {"token": None}, "content[1].token"),
    ("a token that is a number", GOOD | {"token": 7}, "content[1].token"),
    ("a token of a long list", GOOD | {"token": [LONG]}, "content[1].token"),
    ("no logprob", {"token": "A"}, "content[1].logprob"),
    ("a logprob that is null", GOOD | {"logprob": None}, "content[1].logprob"),
    ("a logprob that is text", GOOD | {"logprob": "-0.5"}, "content[1].logprob"),
    ("a logprob of long text", GOOD | {"logprob": LONG}, "content[1].logprob"),
    ("a logprob that is true", GOOD | {"logprob": True}, "content[1].logprob"),
    ("a logprob that no float can hold", GOOD | {"logprob": 10**400}, "content[1].logprob"),
    ("bytes that are text", GOOD | {"bytes": "QQ=="}, "content[1].bytes"),
    ("bytes that are false", GOOD | {"bytes": False}, "content[1].bytes"),
    ("a byte over 255", GOOD | {"bytes": [65, 256]}, "content[1].bytes"),
    ("a byte below 0", GOOD | {"bytes": [-1]}, "content[1].bytes"),
    ("a byte that is true", GOOD | {"bytes": [True]}, "content[1].bytes"),
    ("a byte that is text", GOOD | {"bytes": ["65"]}, "content[1].bytes"),
    ("a byte that is a float", GOOD | {"bytes": [65.0]}, "content[1].bytes"),
    ("alternatives that are an object", GOOD | {"top_logprobs": {"B": -1}}, "content[1].top_logprobs"),
    ("alternatives that are a number", GOOD | {"top_logprobs": 0}, "content[1].top_logprobs"),
    ("an alternative that is no object", GOOD | {"top_logprobs": [GOOD, "B"]}, "content[1].top_logprobs[1]"),
    ("an alternative that is null", GOOD | {"top_logprobs": [None]}, "content[1].top_logprobs[0]"),
    ("an alternative without token", GOOD | {"top_logprobs": [{"logprob": -1}]}, "content[1].top_logprobs[0].token"),
    ("an alternative's logprob", GOOD | {"top_logprobs": [{"token": "B"}]}, "content[1].top_logprobs[0].logprob"),
    ("an alternative's bytes", GOOD | {"top_logprobs": [GOOD | {"bytes": 6}]}, "content[1].top_logprobs[0].bytes"),
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
    """One codec and one way of an answer."""

    native: bool
    way: str

    @property
    def codec(self) -> Codec:
        return DashScopeCodec() if self.native else OpenAICodec()

    @property
    def request(self) -> ChatRequest:
        return ChatRequest("qwen-plus", (Message("user", "hello"),), cumulative_stream=self.way == "repeated")

    def answer(self, said: dict[str, Any], items: Any = None, finish: str | None = None) -> bytes:
        """An answer, or an event, as JSON: the message and its log probabilities."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish or ("null" if self.native else None)}
        choice["delta" if self.way != "whole" and not self.native else "message"] = said
        choice["logprobs"] = None if items is None else {"content": items}
        output: dict[str, Any] = {"choices": [choice]}
        return json.dumps({"output": output} if self.native else output).encode()

    def read(self, said: dict[str, Any], items: list[Any]) -> tuple[list[Delta], ProtocolError | None]:
        """The deltas of an answer whose last event, where it comes in events, has the last of `items`."""
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
@pytest.mark.parametrize(("item", "field"), [row[1:] for row in NO_LOGPROBS], ids=[row[0] for row in NO_LOGPROBS])
def test_what_are_no_log_probabilities(item: Any, field: str, reading: Reading) -> None:
    """They are a ProtocolError, after the text, that names the field and shows no more than 100 characters of it."""
    at = int(reading.way != "stream")  # counted within the event, as it came
    deltas, failure = reading.read({"content": "A"}, [GOOD, item])
    assert failure is not None
    assert f"logprobs.{field.replace('content[1]', f'content[{at}]', 1)} is " in failure.message
    assert len(failure.message) < 200
    if reading.way == "whole":
        assert failure.partial is not None
        assert failure.partial.choices[0].text == "A"
    else:
        assert TextDelta("A") in deltas
        assert [delta.content for delta in deltas if isinstance(delta, LogprobsDelta)] == [(GOOD,)]


@every_reading
@pytest.mark.parametrize("item", [row[1] for row in LOGPROBS], ids=[row[0] for row in LOGPROBS])
def test_log_probabilities_are_handed_on_as_they_came(item: dict[str, Any], reading: Reading) -> None:
    """What says a token and a number is handed on, whatever else it says."""
    deltas, failure = reading.read({"content": "A"}, [GOOD, item])
    assert failure is None
    assert [it for delta in deltas if isinstance(delta, LogprobsDelta) for it in delta.content] == [GOOD, item]


SOUNDS: list[Any] = ["AAAAé", "光", "\x80", "\ud83d", LONG + "é", 7]


@pytest.mark.parametrize("data", SOUNDS, ids=lambda data: f"{data!a:.10}")
@pytest.mark.parametrize("way", ["whole", "stream"])
def test_sound_that_is_not_ascii(way: str, data: Any) -> None:
    """Base64 is ASCII: else it is a ProtocolError that names the field and shows no more than 100 characters of it."""
    deltas, failure = Reading(False, way).read({"content": "A", "audio": {"data": data, "id": "audio_1"}}, [GOOD])
    assert failure is not None
    assert "audio.data is no" in failure.message
    assert len(failure.message) < 200
    assert not any(isinstance(delta, AudioDelta) for delta in deltas)


@pytest.mark.parametrize("way", ["whole", "stream"])
def test_what_was_spoken_need_not_be_ascii(way: str) -> None:
    """The transcript is text of any language."""
    deltas, failure = Reading(False, way).read({"audio": {"data": "AAA=", "transcript": "光"}}, [GOOD])
    assert failure is None
    assert AudioDelta("AAA=", "光") in deltas
