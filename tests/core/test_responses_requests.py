"""Encoding of the Responses protocol: items, tools, rejected parameters, and continued responses."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from modelstudio_core.built_in_tools import hidden_tools
from modelstudio_core.catalogue import model_info
from modelstudio_core.chat_format import count_request
from modelstudio_core.config import resolve
from modelstudio_core.errors import BadRequestError, ConfigurationError, RateLimitError
from modelstudio_core.headers import SecretHeaders
from modelstudio_core.http.client import Client
from modelstudio_core.http.transport import Transport
from modelstudio_core.parameters import chat_request, hidden_arguments
from modelstudio_core.protocols.responses import ResponsesCodec
from modelstudio_core.protocols.responses_requests import truncation_warning
from modelstudio_core.tools import chosen_tool
from modelstudio_core.types import AudioPart, FunctionCall, ImagePart, Message, TextPart, VideoPart
from tests.ids import short
from tests.loopback import Exchange, Loopback, reply_json
from tests.responses import RESPONSE_ID, frames, response
from tests.service import Answer, Call

USER = Message("user", "hi")
URL = "https://example.com/a"
FUNCTION: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
}
SEARCH, CODE = {"type": "web_search"}, {"type": "code_interpreter"}
ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
TOKEN = "mcp-token-never-shown"
MCP = {
    "type": "mcp",
    "server_label": "docs",
    "server_url": "https://mcp.example",
    "server_protocol": "sse",
    "headers": {"Authorization": f"Bearer {TOKEN}"},
}


def body_of(*messages: Message, model: str = "qwen-plus", **values: Any) -> dict[str, Any]:
    call = ResponsesCodec().encode(chat_request(model, messages or (USER,), values), stream=False)
    written: dict[str, Any] = json.loads(call.body)
    return written


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


CALLED = Message("assistant", "Let me see.", tool_calls=(FunctionCall("c1", "f", '{"a": 1}'),), reasoning_content="Hm")
MESSAGES: list[tuple[str, tuple[Message, ...], Any, list[dict[str, Any]]]] = [
    ("one text", (USER,), None, [{"role": "user", "content": "hi"}]),
    ("leading system messages are the instructions", (Message("system", "A"), Message("system", "B"), USER), "A\n\nB",
     [{"role": "user", "content": "hi"}]),
    ("a later one is an item", (USER, Message("system", "A"), USER), None,
     [{"role": "user", "content": "hi"}, {"role": "system", "content": "A"}, {"role": "user", "content": "hi"}]),
    ("only a system message is input", (Message("system", "A"),), None, [{"role": "system", "content": "A"}]),
    ("reasoning, text, a call and its result", (USER, CALLED, Message("tool", "ok", tool_call_id="c1")), None,
     [{"role": "user", "content": "hi"},
      {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}, said("Let me see."),
      {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1}'},
      {"type": "function_call_output", "call_id": "c1", "output": "ok"}]),
    ("media", (Message("user", (TextPart("?"), ImagePart(URL, "auto"), VideoPart(URL, 2), AudioPart(URL, "wav"),
                                AudioPart("data:audio/wav;base64,AA", "wav"))),), None,
     [{"role": "user", "content": [
         {"type": "input_text", "text": "?"}, {"type": "input_image", "image_url": URL},
         {"type": "input_video", "video_url": URL, "fps": 2},
         {"type": "input_audio", "audio_url": URL, "format": "wav"},
         {"type": "input_audio", "data": "data:audio/wav;base64,AA", "format": "wav"}]}]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "instructions", "items"), [r[1:] for r in MESSAGES], ids=[r[0] for r in MESSAGES])
def test_messages_become_items(messages: Any, instructions: Any, items: Any) -> None:
    """Texts, thoughts, calls and results are items. System messages at the start are instructions."""
    body = body_of(*messages)
    assert (body["input"], body.get("instructions")) == (items, instructions)


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        ({"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}),
        ({"max_tokens": 20}, {"max_output_tokens": 20}),
        ({"max_completion_tokens": 20}, {"max_output_tokens": 20}),
        ({"enable_thinking": True}, {"enable_thinking": True}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"enable_thinking": True, "reasoning_effort": "low"},
         {"enable_thinking": True, "reasoning": {"effort": "low"}}),
        ({"store": False, "conversation": "c"}, {"store": False, "conversation": "c"}),
        ({"use_previous_response_id": False, "conversation": "c"}, {"conversation": "c"}),
        ({"n": 1, "parallel_tool_calls": False, "tools": [FUNCTION]}, {}),
        ({"tool_stream": True, "enable_search": False}, {}),
        ({"incremental_output": False}, {}),
        ({"extra_body": {"new": 1}}, {"new": 1}),
        ({"tools": [FUNCTION]}, {"tools": [{"type": "function", **FUNCTION["function"]}]}),
        ({"tools": [{"type": "function", "function": FUNCTION["function"] | {"strict": False}}]},
         {"tools": [{"type": "function", **FUNCTION["function"]}]}),
        ({"tools": hidden_tools([SEARCH, MCP])}, {"tools": [SEARCH, MCP]}),
        ({"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"tool_choice": "required"}),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": {"type": "function", "function": {"name": "f"}}},
         {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}}),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": {"type": "function", "function": {"name": "web_search"}}},
         {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}}),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": "none"}, {"tool_choice": "none"}),
        ({"tools": [FUNCTION], "tool_choice": ALLOWED}, {"tool_choice": ALLOWED}),
        ({"tools": [FUNCTION, SEARCH], "tool_choice": chosen_tool(SEARCH, [FUNCTION, SEARCH])},
         {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [SEARCH]}}),
    ],
    ids=short,
)  # fmt: skip
def test_parameters(values: dict[str, Any], sent: dict[str, Any]) -> None:
    """Parameters are sent under the names of the API. Those without effect are omitted."""
    body = body_of(**values)
    assert {name: value for name, value in body.items() if name not in ("model", "input", "tools")} == {
        name: value for name, value in sent.items() if name != "tools"
    }
    if "tools" in sent:
        assert body["tools"] == sent["tools"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(({name: value}, 'protocol="openai"') for name, value in {
        "n": 2, "seed": 1, "stop": ["x"], "logprobs": True, "top_logprobs": 1, "presence_penalty": 1.0,
        "repetition_penalty": 1.1, "thinking_budget": 5, "top_k": 3, "response_format": {"type": "json_object"},
        "preserve_thinking": True, "search_options": {"forced_search": True}, "translation_options": {},
    }.items()),
    ({"extra_body": {"seed": 1}}, 'protocol="openai"'),
    ({"vl_enable_image_hw_output": True}, "protocol='dashscope'"),
    ({"enable_search": True}, '{"type": "web_search"}'),
    ({"enable_code_interpreter": True}, '{"type": "code_interpreter"}'),
    ({"parallel_tool_calls": True, "tools": [FUNCTION]}, "ignored by the service"),
    ({"extra_body": {"text": {"format": {"type": "json_schema"}}}}, "ignored by the service"),
    ({"extra_body": {"metadata": {"a": "b"}}}, "ignored by the service"),
    ({"extra_body": {"reasoning": {"effort": "low", "summary": "auto"}}}, "ignored by the service"),
    ({"extra_body": {"background": True}}, "ignored by the service"),
    ({"extra_body": {"instructions": "x"}}, "system message"),
    ({"previous_response_id": "r", "conversation": "c"}, "cannot be combined"),
    ({"use_previous_response_id": True, "conversation": "c"}, "cannot be combined"),
    ({"tools": [{"type": "web_extractor"}]}, '{"type": "web_search"}'),
    ({"tools": [{"type": "web_extractor"}, FUNCTION]}, '{"type": "web_search"}'),
    ({"tools": [{"type": "file_search"}]}, "exactly one"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["a", "b"]}]}, "exactly one"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "server_url"),
    ({"tools": hidden_tools([MCP | {"headers": {"k": "[redacted]"}}])}, "redacted"),
    ({"extra_body": {"tools": [MCP]}}, "bind_tools"),
    ({"extra_body": {"tools": [{"type": "computer"}]}}, "'function'"),
    ({"extra_body": {"tools": [{"type": "function", "name": "x"}]}}, "'function'"),
    ({"model": "qwen3.7-max", "tools": [CODE], "enable_thinking": False}, "requires thinking"),
    ({"model": "qwen3.7-flash", "tools": [CODE], "enable_thinking": False}, "requires thinking"),
    ({"model": "qwen3.8-omni-flash", "tools": [CODE]}, "web_search and functions"),
    ({"tools": [{"type": "function", "function": {**FUNCTION["function"], "strict": True}}]}, "strict"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "advice"), REFUSED, ids=[str(values)[:70] for values, _ in REFUSED])
def test_unsupported_parameters(values: dict[str, Any], advice: str) -> None:
    """The error has the name and the alternative."""
    with pytest.raises(ConfigurationError) as raised:
        body_of(**values)
    assert advice in raised.value.message
    named = {**values, **values.get("extra_body", {})}
    assert any(
        name in raised.value.message
        for name in (*named, "mcp", "_search", "web_extractor", "code_interpreter", "strict", "is not a function")
    )


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (Message("assistant", "It ", partial=True), "partial"),
        (Message("user", (TextPart("x", {"type": "ephemeral"}), TextPart("y"))), "session_cache"),
        (Message("user", (ImagePart(URL, min_pixels=4),)), "min_pixels"),
        (Message("user", (VideoPart((URL, URL)),)), "frames"),
        (Message("assistant", (ImagePart(URL),)), "assistant"),
        (Message("tool", "x"), "tool_call_id"),
    ],
    ids=["partial", "a cache mark", "pixels", "frames", "an image of the assistant", "a result without an id"],
)
def test_messages_that_cannot_be_sent(message: Message, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        body_of(USER, message)


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
@pytest.mark.parametrize("name", ["store", "conversation", "previous_response_id", "session_cache"])
def test_other_protocols_reject_server_memory(protocol: Any, name: str) -> None:
    """The error names the Responses protocol."""
    client = Client(resolve(base_url="http://127.0.0.1:9", protocol=protocol, environ={}), Transport(timeout=1))
    with pytest.raises(ConfigurationError, match="responses"):
        client.complete(chat_request("qwen-plus", [USER], {name: "x"}), model_info("qwen-plus"))


# ---------------------------------------------------------------- server memory

ANSWERED = Message("assistant", "yes", response_id="resp_1")
HISTORY = (Message("system", "S"), USER, Message("assistant", "no", response_id="resp_0"), USER, ANSWERED)
NEW = Message("user", "and now?")


@pytest.mark.parametrize(
    ("messages", "previous", "sent"),
    [
        ((*HISTORY, NEW), "resp_1", [{"role": "user", "content": "and now?"}]),
        ((USER, Message("assistant", "no"), NEW), None, 3),
        ((*HISTORY, Message("assistant", "x"), NEW), "resp_1", [said("x"), {"role": "user", "content": "and now?"}]),
        (HISTORY, "resp_0", 2),  # nothing is new after the last answer
        ((NEW,), None, 1),
    ],
    ids=["the last answer", "no answer with an id", "an answer of another model after it", "nothing new", "the first"],
)
def test_only_new_messages_are_sent(messages: tuple[Message, ...], previous: str | None, sent: Any) -> None:
    """Those after the last response, and the instructions, which the service does not store."""
    body = body_of(*messages, use_previous_response_id=True)
    assert body.get("previous_response_id") == previous
    assert body["input"] == sent or len(body["input"]) == sent
    assert body.get("instructions") == ("S" if messages[0].role == "system" else None)
    assert "use_previous_response_id" not in body


def test_a_response_id_as_argument() -> None:
    """It has priority, and all messages are new."""
    body = body_of(*HISTORY, NEW, use_previous_response_id=True, previous_response_id="resp_9")
    assert (body["previous_response_id"], len(body["input"])) == ("resp_9", 5)


def complete(server: Loopback, *messages: Message, **values: Any) -> Any:
    config = resolve(base_url=server.url, protocol="responses", environ={}, max_retries=values.pop("max_retries", 0))
    client = Client(config, Transport(timeout=5))
    model = values.pop("model", "qwen-plus")
    try:
        return client.complete(chat_request(model, messages, values), model_info(model))
    finally:
        client.close()


def failed(code: str, message: str, events: Sequence[Any] = ()) -> Any:
    """The service fails after `response.created` and `events`, with HTTP status 200."""

    def script(exchange: Exchange) -> None:
        error = {"code": code, "message": message}
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        created = {"type": "response.created", "response": response(status="queued")}
        exchange.send_chunk(
            frames([created, *events, {"type": "response.failed", "response": response(status="failed", error=error)}])
        )
        exchange.end()

    return script


LOST = {"code": "InvalidParameter", "message": "Previous response resp_1 not found or expired"}


@pytest.mark.parametrize("streams", [False, True])
def test_a_lost_response_falls_back_to_the_whole_history(streams: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with an INFO line, for a status code or an error in a stream."""
    caplog.set_level(logging.INFO)
    lost = failed(**LOST) if streams else reply_json(404, LOST)
    with Loopback([lost, Answer(text=["It"])]) as server:
        result = complete(server, *HISTORY, NEW, use_previous_response_id=True, streaming=streams)
        first, second = (request.json() for request in server.requests)
    assert result.text == "It"
    assert (first["previous_response_id"], len(first["input"])) == ("resp_1", 1)
    assert ("previous_response_id" in second, len(second["input"])) == (False, 5)
    assert [r.levelname for r in caplog.records if "whole history" in r.getMessage()] == ["INFO"]


def test_an_error_about_a_response_after_text_is_final() -> None:
    """The text was received, so it must not be sent twice."""
    text = {"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": "It"}
    with Loopback([failed(**LOST, events=[text]), Answer(text=["It"])]) as server:
        with pytest.raises(BadRequestError) as caught:
            complete(server, *HISTORY, NEW, use_previous_response_id=True, streaming=True)
        assert len(server.requests) == 1
    assert caught.value.partial is not None
    assert caught.value.partial.text == "It"


def test_a_lost_response_by_argument_is_an_error() -> None:
    """Because the history may not contain it."""
    with Loopback(reply_json(400, LOST)) as server:
        with pytest.raises(BadRequestError):
            complete(server, NEW, previous_response_id="resp_1")
        with pytest.raises(BadRequestError):
            complete(server, *HISTORY, NEW, previous_response_id="resp_9", use_previous_response_id=True)
        assert len(server.requests) == 2


def test_tool_results_of_a_continued_response() -> None:
    """A result is sent without its call. A response with unanswered calls is not continued."""
    result = Message("tool", "ok", tool_call_id="c1")
    with Loopback(Answer(text=["It"])) as server:
        complete(server, result, NEW, previous_response_id="resp_1")
        assert server.requests[-1].json()["input"][0]["type"] == "function_call_output"
        called = Message("assistant", "x", tool_calls=CALLED.tool_calls, response_id="resp_1")
        complete(server, USER, called, result, use_previous_response_id=True)
        assert server.requests[-1].json()["previous_response_id"] == "resp_1"
        complete(server, USER, called, NEW, use_previous_response_id=True)
        assert "previous_response_id" not in server.requests[-1].json()


def test_the_response_id_of_an_answer() -> None:
    """The next call continues it."""
    with Loopback(Answer(text=["It"])) as server:
        assert complete(server, NEW).extras["response_id"] == RESPONSE_ID


def test_a_failure_before_any_output_is_retried() -> None:
    """`created` is no output, so a throttled stream is retried."""
    throttled = failed("server_error", "server_error: <429> Requests rate limit exceeded")
    with Loopback([throttled, Answer(text=["It"])]) as server:
        assert complete(server, NEW, streaming=True, max_retries=1).text == "It"
        assert len(server.requests) == 2
    with Loopback(throttled) as server, pytest.raises(RateLimitError):
        complete(server, NEW, streaming=True)


# ---------------------------------------------------------------- requests and errors


def test_headers() -> None:
    """Headers for the session cache and for uploaded files."""
    request = chat_request("qwen-plus", [Message("user", (ImagePart("oss://x"),))], {"session_cache": True})
    headers = ResponsesCodec().encode(request, stream=True).headers
    assert headers["x-dashscope-session-cache"] == "enable"
    assert headers["x-dashscope-ossresourceresolve"] == "enable"
    for off in ({}, {"session_cache": False}):
        headers = ResponsesCodec().encode(chat_request("qwen-plus", [USER], off), stream=True).headers
        assert "x-dashscope-session-cache" not in headers


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"region": "beijing"}, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        ({"region": "tokyo", "workspace": "ws-1"}, "https://ws-1.ap-northeast-1.maas.aliyuncs.com/compatible-mode/v1"),
        ({"base_url": "https://ws-1.us-east-1.maas.aliyuncs.com"},
         "https://ws-1.us-east-1.maas.aliyuncs.com/compatible-mode/v1"),
        ({"base_url": "https://dashscope.aliyuncs.com/api/v2/apps/protocols/compatible-mode/v1/responses"},
         "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ],
    ids=["shared", "workspace", "a workspace host", "the retired path"],
)  # fmt: skip
def test_urls(given: dict[str, Any], url: str) -> None:
    """The path for each region and workspace, also in place of the retired one."""
    assert resolve(protocol="responses", api_key="sk-some-key", environ={}, **given).base_url == url


def test_a_model_without_responses() -> None:
    """The service's message, with the protocol to use."""
    refused = {"code": "InvalidParameter", "message": "Agent capabilities are not enabled for this model"}
    with Loopback(reply_json(400, refused)) as server, pytest.raises(BadRequestError, match='protocol="openai"'):
        complete(server, NEW, model="glm-5.1")


def test_mcp_headers_are_hidden(caplog: pytest.LogCaptureFixture) -> None:
    """They are sent, but are not in traces, reprs, logs or errors that repeat them."""
    caplog.set_level(logging.DEBUG)
    traced = hidden_arguments({"tools": [FUNCTION, MCP]})["tools"]
    assert isinstance(traced[1]["headers"], SecretHeaders)
    with Loopback(reply_json(400, {"code": "InvalidParameter", "message": f"MCP refused {TOKEN}"})) as server:
        with pytest.raises(BadRequestError) as raised:
            complete(server, NEW, tools=traced)
        assert server.requests[0].json()["tools"][1] == MCP
    shown = f"{traced!r}{json.dumps(traced)}{caplog.text}{raised.value}{raised.value.__dict__!r}"
    assert TOKEN not in shown


def test_a_warning_about_truncated_input(caplog: pytest.LogCaptureFixture) -> None:
    """Above 80 % of the context window, before sending. Short input is not counted."""
    window = model_info("qwen3-max").context_window
    assert window is not None
    words = "word " * int(window * 0.81)
    with Loopback(Answer(text=["It"])) as server:
        complete(server, Message("user", words), model="qwen3-max")
    assert "80 %" in caplog.text
    small = chat_request("qwen3-max", [Message("user", words[: window // 2])], {})
    assert truncation_warning(small, model_info("qwen3-max")) is None


@pytest.mark.parametrize("model", ["qwen-plus", "qwen-max"], ids=["Hermes", "Qwen-Agent"])
def test_built_in_tools_are_not_counted(model: str) -> None:
    """The tokens that they add are unknown. Functions are counted."""
    both, alone = (chat_request(model, [USER], {"tools": tools}) for tools in ([SEARCH, FUNCTION], [FUNCTION]))
    assert count_request(both, model_info(model)) == count_request(alone, model_info(model)) > 0


def test_a_forced_choice_of_a_built_in_tool() -> None:
    """A single tool is chosen with "required", like a function."""
    with Loopback(Answer(calls=[Call("c1", "f")])) as server:
        complete(server, NEW, tools=[SEARCH], tool_choice="required")
        assert server.requests[-1].json()["tool_choice"] == "required"
