"""Invalid metadata is omitted with a debug line, and does not affect the answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler

from tests.ids import short
from tests.langchain.service import chat as langchain_chat
from tests.langchain.ways import by_v3
from tests.llama_index.service import call
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.wire import Way, Wire, every_way, text_of

pytestmark = pytest.mark.report(8)

ODD_COUNTS: list[Any] = [-1, 3.5, "n/a", "", [20], {"n": 20}, True]
NAMES = {"openai": ("prompt_tokens", "completion_tokens"), "dashscope": ("input_tokens", "output_tokens")}


def counts(way: Way, given: Any = 20, taken: Any = 10, **more: Any) -> dict[str, Any]:
    """Return a usage object in the names of a protocol."""
    return dict(zip(NAMES[way.protocol], (given, taken), strict=True)) | more


def totals(answer: Any) -> tuple[Any, Any, Any] | None:
    """Return input, output and total tokens of an answer."""
    if hasattr(answer, "message"):
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        found = tuple(answer.additional_kwargs.get(name) for name in names)
        return None if found == (None, None, None) else found  # type: ignore[return-value]
    usage = answer.usage_metadata
    return usage and (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])


def unreadable(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about metadata, which must be at DEBUG."""
    found = [record for record in caplog.records if "is unreadable" in record.getMessage()]
    assert all(record.levelno == logging.DEBUG for record in found)
    return [record.getMessage() for record in found]


@every_way
@pytest.mark.parametrize("odd", ODD_COUNTS, ids=short)
@pytest.mark.rotated
async def test_a_count(odd: Any, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """Other counts are kept. LangChain, which requires all counts, has 0."""
    caplog.set_level(logging.DEBUG)
    with Loopback(Wire(usage=counts(way, given=odd))) as server:
        answer = await way(server)
    assert text_of(answer) == "It is."
    assert totals(answer) == (0 if way.langchain else None, 10, 10)
    assert len(unreadable(caplog)) == 1
    assert NAMES[way.protocol][0] in unreadable(caplog)[0]


@every_way
async def test_every_count(way: Way) -> None:
    """If all are invalid, there is no usage."""
    with Loopback(Wire(usage=counts(way, "n/a", [], total_tokens=-1))) as server:
        answer = await way(server)
    assert text_of(answer) == "It is."
    assert totals(answer) is None


@every_way
@pytest.mark.parametrize("odd", [-1, 3.5, "n/a", [30]], ids=short)
@pytest.mark.rotated
async def test_a_total(odd: Any, way: Way) -> None:
    """It is computed from the parts."""
    with Loopback(Wire(usage=counts(way, total_tokens=odd))) as server:
        answer = await way(server)
    assert totals(answer) == (20, 10, 30)


@every_way
@pytest.mark.parametrize("odd", [-1, "n/a", 3.5, None], ids=short)
@pytest.mark.rotated
async def test_a_detail(odd: Any, way: Way) -> None:
    """Only the detail is missing."""
    details = {"openai": "completion_tokens_details", "dashscope": "output_tokens_details"}[way.protocol]
    with Loopback(Wire(usage=counts(way, **{details: {"reasoning_tokens": odd}}))) as server:
        answer = await way(server)
    assert totals(answer) == (20, 10, 30)
    known = answer.usage_metadata if way.langchain else answer.additional_kwargs
    assert "reasoning" not in repr(known)


@every_way
@pytest.mark.parametrize("odd", ["n/a", 7, [1, 2], [{"prompt_tokens": 1}], True, None, {}, []], ids=short)
@pytest.mark.rotated
async def test_the_usage_as_a_whole(odd: Any, way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """There is no usage."""
    caplog.set_level(logging.DEBUG)
    with Loopback(Wire(usage=odd)) as server:
        answer = await way(server)
    assert text_of(answer) == "It is."
    assert totals(answer) is None
    assert len(unreadable(caplog)) == bool(odd)


@every_way
@pytest.mark.parametrize(("given", "taken"), [("20", 10.0), (20.0, "10")], ids=short)
async def test_counts_as_text_or_float(given: Any, taken: Any, way: Way) -> None:
    """They are valid."""
    with Loopback(Wire(usage=counts(way, given, taken))) as server:
        answer = await way(server)
    assert totals(answer) == (20, 10, 30)
    assert all(type(total) is int for total in totals(answer) or ())


TOKEN = {"token": "It", "logprob": -0.5, "bytes": [73, 116], "top_logprobs": []}
LOGPROBS: list[tuple[str, Any, Any]] = [
    # name, logprobs, what LangChain has of them
    ("text", "none", None),
    ("a number", 0.5, None),
    ("a list", [TOKEN], None),
    ("no content", {"tokens": ["It"]}, None),
    ("content null", {"content": None}, None),
    ("content text", {"content": "It"}, None),
    ("an item that is null", {"content": [None]}, None),
    ("a logprob that is null", {"content": [TOKEN | {"logprob": None}]}, None),
    ("one of two", {"content": [TOKEN, TOKEN | {"logprob": "-inf"}]}, [TOKEN]),
    ("no token", {"content": [{"logprob": -0.5}, TOKEN]}, [TOKEN]),
    ("odd bytes", {"content": [TOKEN | {"bytes": "It"}]}, [TOKEN | {"bytes": None}]),
    ("odd alternatives", {"content": [TOKEN | {"top_logprobs": 7}]}, [TOKEN | {"top_logprobs": None}]),
    ("an odd alternative", {"content": [TOKEN | {"top_logprobs": [{"token": 7}, TOKEN]}]},
     [TOKEN | {"top_logprobs": [TOKEN]}]),
]  # fmt: skip


@every_way
@pytest.mark.parametrize(("odd", "left"), [case[1:] for case in LOGPROBS], ids=[case[0] for case in LOGPROBS])
@pytest.mark.rotated
async def test_log_probabilities(odd: Any, left: Any, way: Way) -> None:
    """Valid items are kept, even if not requested."""
    with Loopback(Wire(choice={"logprobs": odd})) as server:
        answer = await way(server)
    assert text_of(answer) == "It is."
    if way.langchain:
        assert answer.response_metadata.get("logprobs") == (left and {"content": left})
    else:
        found = [[item.token for item in token] for token in answer.logprobs or ()]
        assert found == [["It"] for _ in left or ()]


TOP: list[tuple[str, dict[str, Any]]] = [
    ("created as text", {"created": "yesterday"}),
    ("created as a list", {"created": [1]}),
    ("a fingerprint that is an object", {"system_fingerprint": {"a": 1}}),
    ("an id that is a list", {"id": ["a"]}),
    ("a model that is an object", {"model": {"name": "x"}}),
    ("a request id that is a list", {"request_id": ["a"]}),
]


@every_way
@pytest.mark.parametrize("top", [case[1] for case in TOP], ids=[case[0] for case in TOP])
@pytest.mark.rotated
async def test_response_metadata(top: dict[str, Any], way: Way) -> None:
    """An invalid field is missing."""
    with Loopback(Wire(top=top)) as server:
        answer = await way(server)
    assert text_of(answer) == "It is."
    known = answer.response_metadata if way.langchain else answer.raw
    assert known.get("created") in (None, 1770000000)
    assert not any(isinstance(value, list | dict) for name, value in known.items() if name != "usage")


SOURCES: list[Any] = ["none", 7, ["a"], {"search_results": 5}, {"search_results": [1, None, {"url": 7}]}]


@pytest.mark.parametrize("odd", SOURCES, ids=short)
@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("method", ["invoke", "stream"])
async def test_the_sources_of_a_search(method: str, version: str | None, odd: Any) -> None:
    """`search_info` is unchanged, and cited if possible."""

    class Searched(Wire):
        def _native(self, message: Any, last: bool) -> dict[str, Any]:
            value = super()._native(message, last)
            value["output"]["search_info"] = odd
            return value

    with Loopback(Searched()) as server:
        answer = await Way("langchain", method, "dashscope")(server, output_version=version)
    assert answer.text == "It is."
    assert [block["type"] for block in answer.content_blocks] == ["text"]


@both_protocols
@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_v3_events(way: str) -> None:
    """The same with v3 events."""
    with Loopback(Wire(usage={"prompt_tokens": "n/a", "input_tokens": "n/a"}, choice={"logprobs": "odd"})) as server:
        events, message = await by_v3(langchain_chat(server), way)
    assert (events[-1]["event"], message.text, message.usage_metadata) == ("message-finish", "It is.", None)


@both_protocols
@pytest.mark.parametrize("way", ["chat", "stream_chat"])
async def test_the_token_counter(way: str) -> None:
    """LlamaIndex's counter, which sums the values in `raw`, finds no invalid count there."""
    usage = {"prompt_tokens": "n/a", "completion_tokens": 10, "input_tokens": "n/a", "output_tokens": 10}
    counter = TokenCountingHandler(tokenizer=str.split)
    with Loopback(Wire(usage=usage)) as server:
        await call(llama_index_chat(server, callback_manager=CallbackManager([counter])), way)
    assert counter.completion_llm_token_count == 10
    assert counter.prompt_llm_token_count > 0  # an estimate
