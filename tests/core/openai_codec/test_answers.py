"""Answers of the compatible protocol, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.openai import read_usage
from modelstudio_core.types import (
    AudioDelta,
    ChatRequest,
    Delta,
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
from tests.core.decoding import check_form, read
from tests.core.openai_codec.tool_answers import TOOLS
from tests.core.openai_codec.wire import (
    ANSWERED,
    ARGUMENTS,
    CALL,
    CALL_END,
    CALLED,
    CODEC,
    DONE,
    END,
    FILLED,
    FIRST,
    HEAD,
    ID,
    LIMIT,
    OMITTED,
    REQUEST,
    ROLE,
    STOP,
    TAIL,
    USAGE,
    USED,
    USER,
    Answer,
    body_of,
    choices,
    chunk,
    decoder,
    event,
    text,
    whole,
)

LETTERS = [TextDelta("A"), TextDelta("B"), END]
DIALECT_1 = b"""\
data: {"choices":[{"delta":{"content":null,"role":"assistant","reasoning_content":""},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":null,"reasoning_content":"Seven"},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":null,"reasoning_content":" of nine"},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"delta":{"content":"It is 7","reasoning_content":null},"index":0,"logprobs":null,"finish_reason":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[{"finish_reason":"stop","delta":{"content":"","reasoning_content":null},"index":0,"logprobs":null}],"object":"chat.completion.chunk","usage":null,"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: {"choices":[],"object":"chat.completion.chunk","usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":0}},"created":1770000000,"system_fingerprint":null,"model":"qwen-plus","id":"chatcmpl-7"}

data: [DONE]

"""  # noqa: E501 - as the service writes it, an event a line
DIALECT_2 = b"""\
data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"content":"","role":"assistant"},"index":0,"logprobs":null}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"reasoning_content":"Seven","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"reasoning_content":" of nine","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"delta":{"content":"It is 7","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[{"finish_reason":"stop","delta":{"content":"","role":null},"index":0}],"created":1770000000,"object":"chat.completion.chunk","usage":null}

data: {"model":"qwen-plus","id":"chatcmpl-7","choices":[],"created":1770000000,"object":"chat.completion.chunk","usage":{"prompt_tokens":9,"completion_tokens":6,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":3},"prompt_tokens_details":{"cached_tokens":0}}}

data: [DONE]

"""  # noqa: E501
SEVEN: list[Delta] = [
    ReasoningDelta("Seven"),
    ReasoningDelta(" of nine"),
    TextDelta("It is 7"),
    END,
    UsageDelta(Usage(9, 6, 15, reasoning_tokens=3, cached_tokens=0)),
]
SEVEN_USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 6,
    "total_tokens": 15,
    "completion_tokens_details": {"reasoning_tokens": 3},
    "prompt_tokens_details": {"cached_tokens": 0},
}
SEVEN_WHOLE = {"role": "assistant", "content": "It is 7", "reasoning_content": "Seven of nine"}
EVERY_DETAIL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "completion_tokens_details": {"reasoning_tokens": 30, "text_tokens": 15, "audio_tokens": 5},
    "prompt_tokens_details": {
        "cached_tokens": 64,
        "cache_creation_input_tokens": 8,
        "cache_type": "ephemeral",
        "text_tokens": 70,
        "image_tokens": 10,
        "video_tokens": 12,
        "audio_tokens": 8,
    },
}
EVERY_COUNT = Usage(100, 50, 150, 30, 64, 8, 70, 10, 12, 8, 15, 5)
LOGPROB = {"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}
TEXTS = [
    Answer("dialect 1: nulls on every chunk", DIALECT_1, SEVEN, whole(SEVEN_WHOLE, usage=SEVEN_USAGE)),
    Answer("dialect 2: keys absent, role null", DIALECT_2, SEVEN, whole(SEVEN_WHOLE, usage=SEVEN_USAGE)),
    Answer("DeepSeek gateway: `data:` without the space", DIALECT_2.replace(b"data: ", b"data:"), SEVEN),
    Answer("CRLF", DIALECT_2.replace(b"\n", b"\r\n"), SEVEN),
    Answer("escaped as \\u, paired", [*text("好🚀"), STOP], [TextDelta("好🚀"), END], whole({"content": "好🚀"})),
    Answer(
        "UTF-8 as it is",
        event(json.dumps(chunk({"content": "好🚀\u2028"}, "stop"), ensure_ascii=False).encode()) + DONE,
        [TextDelta("好🚀\u2028"), END],
    ),
    Answer(
        "a comment between the events (OpenRouter)",
        event(ROLE) + b": PROCESSING\n\n" + body_of([*text("A", "B"), STOP]),
        LETTERS,
    ),
    Answer(
        "an empty delta beside the whole message: the delta counts",
        [
            *text("A", "B"),
            {"choices": [{"index": 0, "delta": {}, "message": {"content": "AB"}, "finish_reason": "stop"}]},
        ],
        LETTERS,
    ),
    Answer("the finish chunk carries text", [*text("A"), chunk({"content": "B"}, "stop")], LETTERS),
    Answer(
        "finish sent twice, the second with usage (OpenRouter)",
        [*text("A", "B"), STOP, chunk({"content": ""}, "stop", usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer(
        "a finish that is corrected",
        [*text("A"), STOP, chunk({}, "length")],
        [TextDelta("A"), END, FinishDelta("length")],
    ),
    Answer(
        'finish_reason "" and "null" go on',
        [chunk({"content": "A"}, ""), chunk({"content": "B"}, "null"), STOP],
        LETTERS,
    ),
    Answer(
        "length",
        [*text("A"), chunk({"content": ""}, "length")],
        [TextDelta("A"), FinishDelta("length")],
        whole({"content": "A"}, "length"),
    ),
    Answer(
        "`reasoning` for reasoning_content (vLLM)",
        [chunk({"reasoning": "hm"}), *text("A", "B"), STOP],
        [ReasoningDelta("hm"), *LETTERS],
        whole({"reasoning": "hm", "content": "AB"}),
    ),
    Answer(
        "both names: said once",
        [chunk({"reasoning": "hm", "reasoning_content": "hm"}), STOP],
        [ReasoningDelta("hm"), END],
        whole({"reasoning": "hm", "reasoning_content": "hm"}),
    ),
    Answer(
        "an empty reasoning_content beside `reasoning`",
        [chunk({"reasoning": "hm", "reasoning_content": ""}), STOP],
        [ReasoningDelta("hm"), END],
    ),
    Answer(
        "thought and text in one chunk",
        [chunk({"content": "A", "reasoning_content": "hm"}), chunk({"content": "B"}, "stop")],
        [ReasoningDelta("hm"), *LETTERS],
    ),
    Answer(
        "text, then thought (vLLM)",
        [*text("A"), chunk({"reasoning_content": "hm"}), *text("B"), STOP],
        [TextDelta("A"), ReasoningDelta("hm"), TextDelta("B"), END],
    ),
    Answer(
        "thought and no text",
        [chunk({"reasoning_content": "hm"}), chunk({}, "length")],
        [ReasoningDelta("hm"), FinishDelta("length")],
        whole({"content": "", "reasoning_content": "hm"}, "length"),
    ),
    Answer(
        "content as a list of parts",
        [
            chunk({"content": [{"text": "A"}]}),
            chunk({"content": []}),
            chunk({"content": [{"type": "text", "text": "B"}, {"image": "x"}]}),
            STOP,
        ],
        LETTERS,
        whole({"content": [{"text": "A"}, {"text": "B"}]}),
    ),
    Answer("no text at all", [ROLE, STOP], [END], whole({"role": "assistant", "content": None})),
    Answer("delta null, then absent", [chunk(None), chunk({"content": "A"}), chunk({"content": "B"}, "stop")], LETTERS),
    Answer(
        "no index on the choice",
        [chunk({"content": "A"}, index=OMITTED), chunk({"content": "B"}, "stop", index=None)],
        LETTERS,
    ),
    Answer(
        "role on every chunk (Z.ai)",
        [chunk({"role": "assistant", "content": "A"}), chunk({"role": "assistant", "content": "B"}, "stop")],
        LETTERS,
    ),
    Answer(
        "logprobs",
        [
            chunk({"content": "A"}, logprobs={"content": [LOGPROB]}),
            chunk({"content": ""}, logprobs={"content": []}),
            chunk({"content": "B"}, "stop", logprobs={"content": None}),
        ],
        [TextDelta("A"), LogprobsDelta((LOGPROB,)), TextDelta("B"), END],
        whole({"content": "AB"}, logprobs={"content": [LOGPROB]}),
    ),
    Answer(
        "audio (Omni)",
        [
            chunk({"audio": {"transcript": "Hel"}}),
            chunk({"audio": {"data": "AAAA", "id": "audio_1", "expires_at": 7}}),
            chunk({"audio": {"data": "", "transcript": None, "expires_at": "soon"}}),
            chunk({"audio": {"transcript": "lo", "data": "BB=="}}),
            STOP,
        ],
        [AudioDelta(transcript="Hel"), AudioDelta("AAAA", "", "audio_1", 7), AudioDelta("BB==", "lo"), END],
        whole({"content": "", "audio": {"data": "AAAABB==", "transcript": "Hello", "id": "audio_1", "expires_at": 7}}),
    ),
]
TWO = [(0, "A"), (1, "C"), (0, "B"), (1, "D")]
USAGES = [
    Answer(
        "usage after the finish, choices []",
        [*text("A", "B"), STOP, chunk(usage=USAGE)],
        [*LETTERS, USED],
        whole({"content": "AB"}, usage=USAGE),
    ),
    Answer(
        "usage on the finish chunk (DeepSeek)",
        [*text("A"), chunk({"content": "B"}, "stop", usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer("usage before the text", [chunk(usage=USAGE), *text("A", "B"), STOP], [*LETTERS, USED]),
    Answer(
        "usage twice is not summed (Groq)",
        [*text("A"), chunk({"content": "B"}, "stop", usage=USAGE), chunk(usage=USAGE)],
        [*LETTERS, USED],
    ),
    Answer(
        "growing usage on every chunk: the last one (Novita)",
        [
            chunk({"content": "A"}, usage={"prompt_tokens": 13, "completion_tokens": 1}),
            chunk({"content": "B"}, "stop", usage=USAGE),
        ],
        [*LETTERS, USED],
    ),
    Answer(
        "null and {} do not take usage back",
        [chunk(usage=USAGE), *text("A"), chunk({"content": "B"}, "stop", usage={})],
        [*LETTERS, USED],
    ),
    Answer(
        "no total: the sum",
        [*text("A", "B"), STOP, chunk(usage={"prompt_tokens": 13, "completion_tokens": 20})],
        [*LETTERS, USED],
        whole({"content": "AB"}, usage={"prompt_tokens": 13, "completion_tokens": 20, "total_tokens": None}),
    ),
    Answer(
        "a count that is null",
        [*text("A", "B"), STOP, chunk(usage={"prompt_tokens": None, "completion_tokens": 20})],
        [*LETTERS, UsageDelta(Usage(None, 20, 20))],
        whole({"content": "AB"}, usage={"prompt_tokens": None, "completion_tokens": 20}),
    ),
    Answer(
        "details null or {}",
        [*text("A", "B"), STOP, chunk(usage=USAGE | {"prompt_tokens_details": None, "completion_tokens_details": {}})],
        [*LETTERS, USED],
    ),
    Answer(
        "every detail",
        [*text("A", "B"), STOP, chunk(usage=EVERY_DETAIL)],
        [*LETTERS, UsageDelta(EVERY_COUNT)],
        whole({"content": "AB"}, usage=EVERY_DETAIL),
    ),
    Answer("only usage, no choices key", [*text("A", "B"), STOP, ID | {"usage": USAGE}], [*LETTERS, USED]),
    Answer("never", [*text("A", "B"), STOP], LETTERS, whole({"content": "AB"})),
    Answer(
        "n=2, interleaved",
        [*choices(*TWO), chunk(usage=USAGE)],
        [TextDelta("A"), TextDelta("C", 1), TextDelta("B"), TextDelta("D", 1), FinishDelta("stop", 1), END, USED],
        ID
        | {
            "choices": [
                {"index": i, "message": {"content": t}, "finish_reason": "stop"} for i, t in ((1, "CD"), (0, "AB"))
            ],
            "usage": USAGE,
        },
        n=2,
    ),
    Answer(
        "a second choice that was not asked for",
        choices(*TWO),
        LETTERS,
        ID
        | {
            "choices": [
                {"index": i, "message": {"content": t}, "finish_reason": "stop"} for i, t in ((0, "AB"), (1, "CD"))
            ]
        },
    ),
    Answer("it need not finish either", [*text("A", "B"), chunk({"content": "C"}, index=1), STOP], LETTERS),
    Answer(
        "n=2 with calls",
        [
            FIRST,
            chunk(
                {"tool_calls": [{"index": 0, "id": "call_2", "function": {"name": "g", "arguments": "{}"}}]},
                "tool_calls",
                index=1,
            ),
            *TAIL,
            CALLED,
        ],
        [CALL, ToolCallDelta(0, "call_2", "g", "{}", 1), FinishDelta("tool_calls", 1), *ARGUMENTS, CALL_END],
        n=2,
    ),
]


def grown(content: Any = OMITTED, finish: Any = OMITTED, **delta: Any) -> Any:
    return chunk(delta if content is OMITTED else {"content": content, **delta}, finish)


CUMULATIVE = [
    Answer(
        "qwen-mt: each event repeats the text so far",
        [grown(""), grown("A"), grown("A"), grown("AB"), grown("AB", "stop")],
        LETTERS,
        whole({"content": "AB"}),
        cumulative=True,
    ),
    Answer(
        "by position, not by search: the text repeats itself",
        [grown("ha"), grown("haha"), grown("hahaha", "stop")],
        [TextDelta("ha"), TextDelta("ha"), TextDelta("ha"), END],
        whole({"content": "hahaha"}),
        cumulative=True,
    ),
    Answer(
        "a shorter or empty last one takes nothing back",
        [grown("A"), grown("AB"), grown("A"), grown("", "stop")],
        LETTERS,
        cumulative=True,
    ),
    Answer(
        "thought too, on its own",
        [
            grown(reasoning_content="h"),
            grown(reasoning_content="hm"),
            grown("A", reasoning_content="hm"),
            grown("AB", "stop"),
        ],
        [ReasoningDelta("h"), ReasoningDelta("m"), *LETTERS],
        cumulative=True,
    ),
    Answer(
        "each choice on its own",
        [
            chunk({"content": "A"}),
            chunk({"content": "A"}, index=1),
            chunk({"content": "AB"}, "stop"),
            chunk({"content": "AC"}, "stop", index=1),
        ],
        [TextDelta("A"), TextDelta("A", 1), TextDelta("B"), END, TextDelta("C", 1), FinishDelta("stop", 1)],
        n=2,
        cumulative=True,
    ),
]
ENDINGS = [
    Answer("[DONE] without the space", body_of([*text("A", "B"), STOP]).replace(DONE, b"data:[DONE]\n\n"), LETTERS),
    Answer("[DONE] that no blank line ends", body_of([*text("A", "B"), STOP]).rstrip(b"\n"), LETTERS),
    Answer(
        "no [DONE] after a finish",
        body_of([*text("A", "B"), STOP, chunk(usage=USAGE)]).replace(DONE, b""),
        [*LETTERS, USED],
    ),
    Answer(
        "no [DONE] and no blank line",
        body_of([*text("A", "B"), STOP, chunk(usage=USAGE)]).replace(DONE, b"").rstrip(b"\n"),
        [*LETTERS, USED],
    ),
    Answer(
        "cut inside the usage, after the finish: whole, but for the usage",
        body_of([*text("A", "B"), STOP]).replace(DONE, b'data: {"choices":[],"usa'),
        LETTERS,
    ),
    Answer("cut inside [DONE]", body_of([*text("A", "B"), STOP]).replace(DONE, b"data: [DO"), LETTERS),
    Answer(
        "what comes after [DONE] is not read",
        body_of([*text("A", "B"), STOP]) + event(chunk({"content": "C"})) + b"data: no JSON\n\n",
        LETTERS,
    ),
    Answer(
        "an error after [DONE] is not read, ended or not",
        body_of([*text("A", "B"), STOP]) + b'data: {"error":"late"}\n\ndata: {"error":"later"}',
        LETTERS,
    ),
]
ANSWERS = [*TEXTS, *TOOLS, *USAGES, *CUMULATIVE, *ENDINGS]
assert len({answer.name for answer in ANSWERS}) == len(ANSWERS)


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "by 1", "by 7"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: a.name)
def test_streams(answer: Answer, size: int | None) -> None:
    """Every split of the bytes gives the same deltas."""
    reader = decoder(answer.n, cumulative=answer.cumulative)
    deltas = read(reader, answer.stream, size)
    check_form(deltas)
    assert deltas == [ANSWERED, *answer.deltas]
    assert reader.failure is None
    assert reader.ended
    assert reader.finish() == []
    assert reader.feed(event(chunk({"content": "more"}))) == []
    assert reader.finish() == []
    assert reader.failure is None


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a.whole], ids=lambda a: a.name)
def test_a_whole_answer_equals_its_stream(answer: Answer) -> None:
    """The result of the whole response equals that of the stream, cumulative or not."""
    request = ChatRequest("qwen-plus", (USER,), n=answer.n, cumulative_stream=answer.cumulative)
    deltas = CODEC.decode(request, HEAD, b"\n  \n" + json.dumps(answer.whole).encode())
    check_form(deltas)
    assert fold(deltas) == fold([ANSWERED, *answer.deltas])


def test_each_call_of_a_whole_answer_is_a_call() -> None:
    """Calls are told apart by position, even if IDs and indexes are equal or missing."""
    same = whole({"tool_calls": [FILLED | {"index": 0}, FILLED | {"index": 0}]}, "tool_calls")
    deltas = CODEC.decode(REQUEST, HEAD, json.dumps(same).encode())
    assert [call.arguments for call in fold(deltas).choices[0].tool_calls] == ['{"q": "x"}'] * 2


def test_usage_counts_have_no_invented_zeros() -> None:
    """Missing details are None, not 0."""
    usage = read_usage({"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}})
    assert usage == Usage(1, 2, 3, cached_tokens=0)
    assert usage.reasoning_tokens is None


IDENTITIES: list[tuple[str, dict[str, Any], dict[str, str], ResponseDelta]] = [
    ("the body's request id first", {"id": "c", "request_id": "r"}, {"x-request-id": "h"}, ResponseDelta("c", "r")),
    ("else the header's", {"id": "c"}, {"x-request-id": "h"}, ResponseDelta("c", "h")),
    ("none at all", {}, {}, ResponseDelta()),
    ("empty strings are absence", {"id": "", "model": "", "system_fingerprint": ""}, {}, ResponseDelta()),
    (
        "everything",
        {"id": "c", "model": "qwen-plus", "created": 7, "system_fingerprint": "fp"},
        {},
        ResponseDelta("c", None, "qwen-plus", 7, "fp"),
    ),
]


@pytest.mark.parametrize(("said", "headers", "expected"), [c[1:] for c in IDENTITIES], ids=[c[0] for c in IDENTITIES])
def test_response_metadata(said: dict[str, Any], headers: dict[str, str], expected: ResponseDelta) -> None:
    """ID, request ID, model, time and fingerprint come from the first event or the body."""
    head = ResponseHead(200, headers)
    choice = {"index": 0, "delta": {"content": "A"}, "message": {"content": "A"}, "finish_reason": "stop"}
    value = {**said, "choices": [choice]}
    reader = CODEC.stream(REQUEST, head, max_event_bytes=LIMIT)
    assert reader.feed(event(value) + event({**value, "id": "other", "model": "other"}))[0] == expected
    assert CODEC.decode(REQUEST, head, json.dumps(value).encode())[0] == expected
