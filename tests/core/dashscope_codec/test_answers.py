"""Answers of the native protocol, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.dashscope import read_usage
from modelstudio_core.types import (
    Delta,
    ExtraDelta,
    FinishDelta,
    LogprobsDelta,
    ReasoningDelta,
    ResponseDelta,
    ResponseHead,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from tests.core.dashscope_codec.extra_answers import EXTRAS
from tests.core.dashscope_codec.tool_answers import TOOLS
from tests.core.dashscope_codec.wire import (
    ANSWERED,
    CALL_END,
    CODEC,
    END,
    HEAD,
    LETTERS,
    LIMIT,
    NULL,
    OMITTED,
    PAIR,
    REQUEST,
    STOP,
    USAGE,
    USED,
    WHOLE_CALL,
    A,
    Answer,
    B,
    F,
    G,
    body_of,
    calls,
    chunk,
    decoder,
    frame,
    two,
    value,
)
from tests.core.decoding import GENERATED, check_form, read
from tests.ids import short

IDENTIFIED = [ToolCallDelta(index, GENERATED) for index in (0, 1)]
DOCUMENTED_THINKING = b"""\
id:1
event:result
:HTTP_STATUS/200
data:{"output":{"choices":[{"message":{"content":"","reasoning_content":"Seven","role":"assistant"},"finish_reason":"null"}]},"usage":{"total_tokens":12,"input_tokens":9,"output_tokens":3},"request_id":"req-1"}

id:2
event:result
:HTTP_STATUS/200
data:{"output":{"choices":[{"message":{"content":"","reasoning_content":" of nine","role":"assistant"},"finish_reason":"null"}]},"usage":{"total_tokens":13,"input_tokens":9,"output_tokens":4},"request_id":"req-1"}

id:3
event:result
:HTTP_STATUS/200
data:{"output":{"choices":[{"message":{"content":"It is 7","reasoning_content":"","role":"assistant"},"finish_reason":"null"}]},"usage":{"total_tokens":15,"input_tokens":9,"output_tokens":6},"request_id":"req-1"}

id:4
event:result
:HTTP_STATUS/200
data:{"output":{"choices":[{"message":{"content":"","reasoning_content":"","role":"assistant"},"finish_reason":"stop"}]},"usage":{"total_tokens":15,"input_tokens":9,"output_tokens":6},"request_id":"req-1"}

"""  # noqa: E501 - as the service writes it, an event a line
SEVEN: list[Delta] = [
    ReasoningDelta("Seven"),
    ReasoningDelta(" of nine"),
    TextDelta("It is 7"),
    END,
    UsageDelta(Usage(9, 6, 15)),
]
SEVEN_WHOLE = chunk(
    "It is 7",
    "stop",
    reasoning_content="Seven of nine",
    usage={"input_tokens": 9, "output_tokens": 6, "total_tokens": 15},
)
LOGPROB = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}
TWO_PROBS = {"content": [LOGPROB, LOGPROB | {"token": "B"}]}
TEXTS = [
    Answer("thinking, text endpoint", DOCUMENTED_THINKING, SEVEN, SEVEN_WHOLE),
    Answer("with the space after the colon", DOCUMENTED_THINKING.replace(b"data:", b"data: "), SEVEN),
    Answer("CRLF", DOCUMENTED_THINKING.replace(b"\n", b"\r\n"), SEVEN),
    Answer(
        "data alone",
        b"".join(b"data:" + json.dumps(e).encode() + b"\n\n" for e in (chunk("A"), chunk("B", "stop"))),
        LETTERS,
    ),
    Answer(
        "multimodal endpoint: parts, [] while it thinks and at the end",
        [
            chunk([], reasoning_content="Seven"),
            chunk([], reasoning_content=" of nine"),
            chunk([{"text": "It is 7"}], reasoning_content=""),
            chunk([], "stop", usage={"input_tokens": 9, "output_tokens": 6, "total_tokens": 15}),
        ],
        SEVEN,
        chunk(
            [{"text": "It is "}, {"text": "7"}],
            "stop",
            reasoning_content="Seven of nine",
            usage={"input_tokens": 9, "output_tokens": 6, "total_tokens": 15},
        ),
    ),
    Answer(
        "the end of a thought and the beginning of the text in one event",
        [
            chunk([], reasoning_content="Seven"),
            chunk([{"text": "A"}], reasoning_content=" of nine"),
            chunk("B", "stop"),
        ],
        [ReasoningDelta("Seven"), ReasoningDelta(" of nine"), *LETTERS],
    ),
    Answer(
        "events with neither, while code runs",
        [chunk("A", reasoning_content=""), *[chunk("", reasoning_content="")] * 7, chunk("B", "stop")],
        LETTERS,
    ),
    Answer("the last event carries text", [chunk("A"), chunk([{"text": "B"}], "stop")], LETTERS, chunk("AB", "stop")),
    Answer(
        "the finish said twice",
        [chunk("A"), chunk("B", "stop", usage=USAGE), chunk("", "stop", usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer(
        "finish_reason null, empty and missing go on",
        [chunk("A", None), chunk("", ""), chunk("B", OMITTED), STOP],
        LETTERS,
    ),
    Answer("length", [chunk("A"), chunk("", "length")], [A, FinishDelta("length")], chunk("A", "length")),
    Answer("no text at all", [STOP], [END], chunk(None, "stop")),
    Answer(
        "result_format text",
        [value({"text": "A", "finish_reason": NULL}), value({"text": "B", "finish_reason": "stop"}, USAGE)],
        [*LETTERS, USED],
        value({"text": "AB", "finish_reason": "stop"}, USAGE),
    ),
    Answer(
        "result_format text beside an empty list of choices",
        [
            value({"text": "A", "finish_reason": NULL, "choices": []}),
            value({"text": "B", "finish_reason": "stop", "choices": []}, USAGE),
        ],
        [*LETTERS, USED],
        value({"text": "AB", "finish_reason": "stop", "choices": []}, USAGE),
    ),
    Answer(
        "result_format text: nothing to say in an event",
        [
            value({"text": None, "finish_reason": NULL}),
            value({"text": "A"}),
            value({"text": "B"}),
            value({"finish_reason": "stop"}),
        ],
        LETTERS,
    ),
    Answer(
        "keys of the other form, null",
        [
            value({"text": None, "finish_reason": None, "choices": chunk(t, f)["output"]["choices"]})
            for t, f in (("A", NULL), ("B", "stop"))
        ],
        LETTERS,
        value({"text": None, "finish_reason": None, "choices": chunk("AB", "stop")["output"]["choices"]}),
    ),
    Answer(
        "the finish beside the choices only",
        [
            value({"choices": [{"message": {"content": t}}], "finish_reason": f})
            for t, f in (("A", NULL), ("B", "stop"))
        ],
        LETTERS,
        value({"choices": [{"message": {"content": "AB"}}], "finish_reason": "stop"}),
    ),
    Answer(
        "an event without output, or with an empty one",
        [value(None, {}), chunk("A"), value({}), value({"choices": []}), chunk("B", "stop")],
        LETTERS,
    ),
    Answer("UTF-8 and U+2028", [chunk("好🚀\u2028"), STOP], [TextDelta("好🚀\u2028"), END]),
    Answer(
        "comments between the events", b":\n\n" + body_of([chunk("A"), chunk("B", "stop")]) + b": ping\n\n", LETTERS
    ),
    Answer(
        "logprobs",
        [chunk("A", logprobs={"content": [LOGPROB]}), chunk("B", "stop", logprobs={"content": []})],
        [A, LogprobsDelta((LOGPROB,)), B, END],
        chunk("AB", "stop", logprobs={"content": [LOGPROB]}),
    ),
    Answer("a compatible end all the same", body_of([chunk("A"), chunk("B", "stop")]) + b"data: [DONE]\n\n", LETTERS),
    Answer(
        "deep research: phases with keep-alives, no choices",
        [
            value(
                {"message": {"phase": "ResearchPlanning", "content": "plan", "status": "typing", "role": "assistant"}}
            ),
            value({"message": {"phase": "KeepAlive", "content": "", "status": "typing"}}),
            value(
                {
                    "message": {
                        "phase": "WebResearch",
                        "content": "",
                        "status": "finished",
                        "extra": {"deep_research": {"research": {"id": 1}}},
                    }
                }
            ),
            value(
                {
                    "message": {"phase": "answer", "content": "A", "status": "typing", "extra": {"deep_research": {}}},
                    "fininshed": False,
                    "fininshed_reason": NULL,
                }
            ),
            value({"message": {"phase": "answer", "content": "B", "status": "finished"}}, USAGE),
        ],
        [ReasoningDelta("plan"), ExtraDelta("deep_research", {"research": {"id": 1}}), *LETTERS, USED],
    ),
]
PAIR_WHOLE = chunk([], "tool_calls", **calls((0, "call_1", WHOLE_CALL), (1, "call_2", {"name": G, "arguments": "{}"})))
EVERY_DETAIL = {
    "input_tokens": 100,
    "output_tokens": 50,
    "total_tokens": 150,
    "input_tokens_details": {"text_tokens": 70, "image_tokens": 10, "video_tokens": 12, "audio_tokens": 8},
    "output_tokens_details": {"text_tokens": 15, "reasoning_tokens": 30, "audio_tokens": 5},
    "prompt_tokens_details": {"cached_tokens": 64, "cache_creation_input_tokens": 8},
}
EVERY_COUNT = Usage(100, 50, 150, 30, 64, 8, 70, 10, 12, 8, 15, 5)


def used(**usage: Any) -> list[Any]:
    return [chunk("A"), chunk("B", "stop", usage=usage)]


def counted(**counts: Any) -> list[Delta]:
    return [*LETTERS, UsageDelta(Usage(**counts))]


USAGES = [
    Answer(
        "usage grows on every event: the last one, once",
        [
            chunk("A", usage={"input_tokens": 281, "output_tokens": 1, "total_tokens": 282}),
            chunk("B", usage={"input_tokens": 723, "output_tokens": 2, "total_tokens": 725}),
            chunk("", "stop", usage=USAGE),
        ],
        [*LETTERS, USED],
        chunk("AB", "stop", usage=USAGE),
    ),
    Answer(
        "usage {} and null take nothing back",
        [chunk("", usage={}), chunk("A", usage=USAGE), chunk("B", usage=None), chunk("", "stop", usage={})],
        [*LETTERS, USED],
    ),
    Answer("usage alone", [chunk("A"), chunk("B", "stop"), value(OMITTED, USAGE)], [*LETTERS, USED]),
    Answer("never", [chunk("A"), chunk("B", "stop")], LETTERS, chunk("AB", "stop")),
    Answer(
        "every detail",
        used(**EVERY_DETAIL),
        [*LETTERS, UsageDelta(EVERY_COUNT)],
        chunk("AB", "stop", usage=EVERY_DETAIL),
    ),
    Answer(
        "flat counts of older models",
        used(input_tokens=9, output_tokens=1, image_tokens=4, video_tokens=2, audio_tokens=1, cached_tokens=3),
        counted(
            input_tokens=9,
            output_tokens=1,
            total_tokens=10,
            input_image_tokens=4,
            input_video_tokens=2,
            input_audio_tokens=1,
            cached_tokens=3,
        ),
    ),
    Answer(
        "flat and nested: the nested one",
        used(
            input_tokens=9, output_tokens=1, image_tokens=0, input_tokens_details={"image_tokens": 4, "text_tokens": 5}
        ),
        counted(input_tokens=9, output_tokens=1, total_tokens=10, input_image_tokens=4, input_text_tokens=5),
    ),
    Answer(
        "details {} and null say nothing",
        used(input_tokens=9, output_tokens=1, prompt_tokens_details={}, output_tokens_details=None),
        counted(input_tokens=9, output_tokens=1, total_tokens=10),
    ),
]
CHOICES = [
    Answer(
        "n=2, an event a choice",
        two((0, "A", NULL), (1, "C", NULL), (0, "B", NULL), (1, "D", "stop"), (0, "", "stop")),
        [A, TextDelta("C", 1), B, TextDelta("D", 1), FinishDelta("stop", 1), END],
        value(
            {
                "choices": [
                    {"index": 1, "message": {"content": "CD"}, "finish_reason": "stop"},
                    {"index": 0, "message": {"content": "AB"}, "finish_reason": "stop"},
                ]
            }
        ),
        n=2,
    ),
    Answer(
        "n=2, both in one event, without indices",
        [
            value({"choices": [{"message": {"content": t}, "finish_reason": NULL} for t in "AC"]}),
            value({"choices": [{"message": {"content": t}, "finish_reason": "stop"} for t in "BD"]}),
        ],
        [A, TextDelta("C", 1), B, END, TextDelta("D", 1), FinishDelta("stop", 1)],
        value({"choices": [{"message": {"content": t}, "finish_reason": "stop"} for t in ("AB", "CD")]}),
        n=2,
    ),
    Answer(
        "n=2, indices that are none: their place",
        [
            value({"choices": [{"index": -1, "message": {"content": t}, "finish_reason": NULL} for t in "AC"]}),
            value({"choices": [{"index": -1, "message": {"content": t}, "finish_reason": "stop"} for t in "BD"]}),
        ],
        [A, TextDelta("C", 1), B, END, TextDelta("D", 1), FinishDelta("stop", 1)],
        n=2,
    ),
    Answer("a choice that was not asked for", two((0, "A", NULL), (1, "C", NULL), (0, "B", "stop")), LETTERS),
]
CUMULATIVE = [
    Answer(
        "text, by position: it repeats itself",
        [chunk("ha"), chunk("haha"), chunk("hahaha", "stop")],
        [TextDelta("ha")] * 3 + [END],
        chunk("hahaha", "stop"),
        cumulative=True,
    ),
    Answer(
        "result_format text, cumulative",
        [value({"text": t, "finish_reason": f}, USAGE) for t, f in (("A", NULL), ("AB", NULL), ("AB", "stop"))],
        [*LETTERS, USED],
        value({"text": "AB", "finish_reason": "stop"}, USAGE),
        cumulative=True,
    ),
    Answer(
        "an empty last event takes nothing back",
        [chunk([{"text": "A"}]), chunk([{"text": "A"}, {"text": "B"}]), chunk([], "stop")],
        LETTERS,
        cumulative=True,
    ),
    Answer(
        "a shorter event takes nothing back",
        [chunk("A"), chunk("AB"), chunk("A"), chunk("AB", "stop")],
        LETTERS,
        cumulative=True,
    ),
    Answer(
        "thought, then text",
        [
            chunk("", reasoning_content="h"),
            chunk("", reasoning_content="hm"),
            chunk("A", reasoning_content="hm"),
            chunk("AB", "stop", reasoning_content="hm"),
        ],
        [ReasoningDelta("h"), ReasoningDelta("m"), *LETTERS],
        cumulative=True,
    ),
    Answer(
        "calls and their arguments",
        [
            chunk("", **calls((0, "call_1", {"name": F, "arguments": '{"q": '}))),
            chunk("", **calls((0, "call_1", {"name": F, "arguments": '{"q": "x"}'}))),
            chunk("", **calls((0, "call_1", WHOLE_CALL), (1, "call_2", {"name": G, "arguments": ""}))),
            chunk("", "tool_calls", **calls((0, "call_1", WHOLE_CALL), (1, "call_2", {"name": G, "arguments": "{}"}))),
        ],
        PAIR,
        PAIR_WHOLE,
        cumulative=True,
    ),
    Answer(
        "an event without the arguments takes nothing back",
        [
            chunk("", **calls((0, "call_1", {"name": F, "arguments": "{}"}))),
            chunk("", **calls((0, "", {}))),
            chunk("", "tool_calls", **calls((0, "call_1", {"name": F, "arguments": "{}"}))),
        ],
        [ToolCallDelta(0, "call_1", F, "{}"), CALL_END],
        cumulative=True,
    ),
    Answer(
        "calls without indices: their place",
        [
            chunk("", **calls((OMITTED, OMITTED, {"name": F, "arguments": "{}"}))),
            chunk(
                "",
                "tool_calls",
                **calls(
                    (OMITTED, OMITTED, {"name": F, "arguments": "{}"}),
                    (OMITTED, OMITTED, {"name": F, "arguments": "{}"}),
                ),
            ),
        ],
        [ToolCallDelta(0, None, F, "{}"), ToolCallDelta(1, None, F, "{}"), CALL_END, *IDENTIFIED],
        cumulative=True,
    ),
    Answer(
        "log probabilities",
        [chunk("A", logprobs={"content": [LOGPROB]}), chunk("AB", "stop", logprobs=TWO_PROBS)],
        [A, LogprobsDelta((LOGPROB,)), B, LogprobsDelta((TWO_PROBS["content"][1],)), END],
        cumulative=True,
    ),
    Answer(
        "each choice on its own",
        two((0, "A", NULL), (1, "A", NULL), (0, "AB", "stop"), (1, "AC", "stop")),
        [A, TextDelta("A", 1), B, END, TextDelta("C", 1), FinishDelta("stop", 1)],
        n=2,
        cumulative=True,
    ),
]
ENDINGS = [
    Answer("the last event that no blank line ends", body_of([chunk("A"), chunk("B", "stop")]).rstrip(b"\n"), LETTERS),
    Answer(
        "cut inside an event after the finish",
        body_of([chunk("A"), chunk("B", "stop", usage=USAGE)]) + frame(chunk("", "stop"))[:-20],
        [*LETTERS, USED],
    ),
]
ANSWERS = [*TEXTS, *TOOLS, *USAGES, *EXTRAS, *CHOICES, *CUMULATIVE, *ENDINGS]
assert len({answer.name for answer in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: a.name)
def test_streams(answer: Answer, size: int | None) -> None:
    """Every split of the bytes gives the same deltas. The end of the body ends the stream."""
    reader = CODEC.stream(answer.request, HEAD, max_event_bytes=LIMIT)
    deltas = read(reader, answer.stream, size)
    check_form(deltas)
    assert deltas == [ANSWERED, *answer.deltas]
    assert reader.failure is None
    assert reader.ended
    assert reader.finish() == []
    assert reader.feed(frame(chunk("more"))) == []


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a.whole], ids=lambda a: a.name)
def test_a_whole_answer_equals_its_stream(answer: Answer) -> None:
    """The result of the whole response equals that of the stream."""
    deltas = CODEC.decode(answer.request, HEAD, b"\n" + json.dumps(answer.whole).encode() + b"\n")
    check_form(deltas)
    assert fold(deltas) == fold([ANSWERED, *answer.deltas])


def test_the_finish_reason_does_not_end_a_stream() -> None:
    """Events may follow it. Only [DONE] or the end of the body ends the stream."""
    reader = decoder()
    reader.feed(frame(chunk("A", "stop")))
    assert not reader.ended
    assert reader.finish() == []
    assert reader.ended


def test_models_with_cumulative_streams() -> None:
    """qwen-mt repeats the text so far, even if not requested."""
    reader = decoder(cumulative_stream=True)
    assert [d.text for d in read(reader, body_of([chunk("A"), chunk("AB", "stop")])) if isinstance(d, TextDelta)] == [
        "A",
        "B",
    ]


def test_repeated_text_is_text() -> None:
    """Text is treated as cumulative only if that was requested."""
    deltas = read(decoder(parameters={"incremental_output": True}), body_of([chunk("ha"), chunk("haha", "stop")]))
    assert "".join(d.text for d in deltas if isinstance(d, TextDelta)) == "hahaha"


def test_each_call_of_a_whole_answer_is_a_call() -> None:
    """Calls are told apart by position, even if IDs and indexes are equal or missing."""
    same = chunk("", "tool_calls", **calls((0, "", WHOLE_CALL), (0, "", WHOLE_CALL)))
    deltas = CODEC.decode(REQUEST, HEAD, json.dumps(same).encode())
    assert [call.arguments for call in fold(deltas).choices[0].tool_calls] == ['{"q": "x"}'] * 2


IDENTITIES: list[tuple[str, dict[str, Any], dict[str, str], ResponseDelta]] = [
    ("the body's request id first", {"request_id": "r"}, {"x-request-id": "h"}, ResponseDelta(None, "r", "qwen-plus")),
    ("else the header's", {"request_id": None}, {"x-request-id": "h"}, ResponseDelta(None, "h", "qwen-plus")),
    ("none at all", {"request_id": ""}, {}, ResponseDelta(None, None, "qwen-plus")),
    ("a model that says its name", {"model_name": "qwen-mt-plus"}, {}, ResponseDelta(None, "req-1", "qwen-mt-plus")),
]


@pytest.mark.parametrize(("said", "headers", "expected"), [c[1:] for c in IDENTITIES], ids=[c[0] for c in IDENTITIES])
def test_response_metadata(said: dict[str, Any], headers: dict[str, str], expected: ResponseDelta) -> None:
    """The request ID is that of the body, the model that of the request."""
    head, said = ResponseHead(200, headers), dict(said)
    name = {"model_name": said.pop("model_name")} if "model_name" in said else {}
    answer = chunk("A", "stop", **name) | said
    assert CODEC.stream(REQUEST, head, max_event_bytes=LIMIT).feed(frame(answer))[0] == expected
    assert CODEC.decode(REQUEST, head, json.dumps(answer).encode())[0] == expected


def test_usage_counts_have_no_invented_zeros() -> None:
    """Missing details are None, not 0."""
    usage = read_usage({"input_tokens": 1, "output_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}})
    assert usage == Usage(1, 2, 3, cached_tokens=0)


@pytest.mark.parametrize("wrong", ["twelve", 1.5, True, {"n": 1}, -1, -3.0], ids=short)
@pytest.mark.parametrize(
    ("name", "holder"),
    [
        ("input_tokens", None),
        ("output_tokens", None),
        ("total_tokens", None),
        ("image_tokens", None),
        ("cached_tokens", "prompt_tokens_details"),
        ("cache_creation_input_tokens", "prompt_tokens_details"),
        ("video_tokens", "input_tokens_details"),
        ("reasoning_tokens", "output_tokens_details"),
    ],
)
def test_an_invalid_count(name: str, holder: str | None, wrong: Any) -> None:
    """It counts as missing. The answer and other counts are kept."""
    usage, without = (USAGE | ({holder: {name: it}} if holder else {name: it}) for it in (wrong, None))
    reader = decoder()
    deltas = read(reader, frame(chunk("A", "stop", usage=usage)))
    assert reader.failure is None
    assert TextDelta("A") in deltas
    assert deltas[-1] == UsageDelta(read_usage(without))
