"""The strict service rejects what Model Studio is known to reject, in both protocols, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.loopback import Received
from tests.service_rules import COMPATIBLE_PATH, refusal

USER = {"role": "user", "content": "Weather?"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
NAMED = {"type": "function", "function": {"name": "weather"}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "Sunny."}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "Answer", "schema": {"type": "object"}}}


def turn(arguments: Any = "{}", **changes: Any) -> dict[str, Any]:
    """Return an assistant message with one call."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}, **changes}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def said(*messages: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    """Return a request of the compatible protocol."""
    return {"model": "qwen-plus", "messages": list(messages or [USER]), **parameters}


def compatible(body: dict[str, Any]) -> Received:
    """Return the request as it arrives on the compatible path."""
    return Received("POST", COMPATIBLE_PATH, {}, json.dumps(body).encode())


def native(body: dict[str, Any], endpoint: str = "text-generation") -> Received:
    """Return the request as it arrives on a native path."""
    parameters = {name: value for name, value in body.items() if name not in ("model", "messages", "stream")}
    parameters |= {"result_format": "message", "incremental_output": True}
    wire = {"model": body["model"], "input": {"messages": body["messages"]}, "parameters": parameters}
    headers = {"x-dashscope-sse": "enable"} if body.get("stream") else {}
    return Received("POST", f"/api/v1/services/aigc/{endpoint}/generation", headers, json.dumps(wire).encode())


ACCEPTED = {
    "a question": said(),
    "a system message": said({"role": "system", "content": "Be brief."}, USER),
    "an answered call": said(USER, turn(), RESULT),
    "an empty result": said(USER, turn(), {**RESULT, "content": ""}),
    "a call without content": said(USER, {**turn(), "content": None}, RESULT, USER),
    "a tool named search": said(tools=[{"type": "function", "function": {"name": "search"}}]),
    "a prefix to continue": said(USER, {"role": "assistant", "content": "It", "partial": True}),
    "a named tool": said(tools=[TOOL], tool_choice=NAMED),
    "required where it is known": said(model="kimi/kimi-k3", stream=True, tools=[TOOL], tool_choice="required"),
    "json mode": said({"role": "user", "content": "As JSON"}, response_format={"type": "json_object"}),
    "a schema": said(model="qwen3.7-max", response_format=SCHEMA),
    "a thought that streams": said(model="qwen3-32b", stream=True),
    "no thought": said(model="qwen3-32b", enable_thinking=False),
    "an unknown model": said(model="qwen9-max", enable_thinking=True, temperature=0),
}
REFUSED = {
    "no messages": ({"model": "qwen-plus", "messages": []}, "too short"),
    "a developer's message": (said({"role": "developer", "content": "Be brief."}, USER), "developer"),
    "no user": (said({"role": "system", "content": "Be brief."}), "user message"),
    "a finished answer at the end": (said(USER, {"role": "assistant", "content": "Sunny."}), "last message"),
    "no content": (said({"role": "user"}), "required field"),
    "null": (said({"role": "user", "content": None}), "required field"),
    "an empty question": (said({"role": "user", "content": ""}), "greater than 0"),
    "an empty system message": (said({"role": "system", "content": ""}, USER), "greater than 0"),
    "an empty answer": (said(USER, {"role": "assistant", "content": ""}, USER), "greater than 0"),
    "no part": (said({"role": "user", "content": []}), "greater than 0"),
    "parts for qwen-long": (
        said({"role": "user", "content": [{"type": "text", "text": "a"}]}, model="qwen-long"),
        "string",
    ),
    "truncated arguments": (said(USER, turn('{"city": "Ro'), RESULT), "function.arguments"),
    "arguments in a list": (said(USER, turn('["Rome"]'), RESULT), "function.arguments"),
    "arguments that are no text": (said(USER, turn({"city": "Rome"}), RESULT), "function.arguments"),
    "no arguments": (said(USER, turn(""), RESULT), "function.arguments"),
    "a call without an id": (said(USER, turn(id=""), RESULT), "needs its id"),
    "an unanswered call": (said(USER, turn(), USER), "did not have response messages: c1"),
    "an unanswered call at the end": (said(USER, turn()), "did not have"),
    "an answer to nothing": (said(USER, RESULT), "preceeding"),
    "an answer to another call": (said(USER, turn(), {**RESULT, "tool_call_id": "c2"}), "preceeding"),
    "two answers": (said(USER, turn(), RESULT, RESULT), "preceeding"),
    "no tools": (said(tools=[]), "'tools'"),
    "a tool's odd name": (said(tools=[{"type": "function", "function": {"name": "my tool"}}]), "does not match"),
    "required": (said(tools=[TOOL], tool_choice="required"), "tool_choice"),
    "a forced choice while thinking": (said(tools=[TOOL], tool_choice=NAMED, enable_thinking=True), "tool_choice"),
    "a forced choice by default": (said(model="qwen3.7-max", tools=[TOOL], tool_choice=NAMED), "tool_choice"),
    "a choice of no tool": (said(tools=[TOOL], tool_choice={"function": {"name": "clock"}}), "not among"),
    "thinking off": (said(model="qwq-plus", stream=True, enable_thinking=False), "restricted to True"),
    "a budget of 0": (said(enable_thinking=True, thinking_budget=0), "thinking_budget"),
    "a whole answer": (said(model="qwq-plus"), "only support stream"),
    "a whole thought": (said(model="qwen3-32b"), "non-streaming calls"),
    "json mode without the word": (said(response_format={"type": "json_object"}), "the word 'json'"),
    "json mode while thinking": (
        said({"role": "user", "content": "json"}, enable_thinking=True, response_format={"type": "json_object"}),
        "Json mode",
    ),
    "a schema for a model without": (said(response_format=SCHEMA), "json_schema"),
    "a temperature of 2": (said(temperature=2.0), "Temperature"),
    "a top_p of 0": (said(top_p=0), "top_p"),
    "too many tokens": (said(max_tokens=40_000), "max_tokens"),
    "two answers with tools": (said(n=2, tools=[TOOL]), "n must be 1"),
    "a translation of two": (said({"role": "system", "content": "x"}, USER, model="qwen-mt-turbo"), "one message"),
}
COMPATIBLE_ONLY = {
    "a file": (said({"role": "user", "content": [{"type": "file", "file": {}}]}), "item type"),
    "an image for a text model": (said({"role": "user", "content": [IMAGE]}), "item type"),
    "options of a stream": (said(stream_options={"include_usage": True}), "stream_options"),
    "bare base64": (
        said(
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA"}}]}, model="qwen9-omni"
        ),
        "URL does not appear",
    ),
}


@pytest.mark.parametrize("write", [compatible, native])
@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_valid_requests(body: dict[str, Any], write: Any) -> None:
    """A request that violates no rule is accepted."""
    assert refusal(write(body)) is None


@pytest.mark.parametrize("write", [compatible, native])
@pytest.mark.parametrize(("body", "message"), REFUSED.values(), ids=REFUSED)
def test_invalid_requests(body: dict[str, Any], message: str, write: Any) -> None:
    """The error has the message of the violated rule."""
    refused = refusal(write(body))
    assert refused is not None
    assert refused.status == 400
    assert re.search(message, refused.message)


@pytest.mark.parametrize(("body", "message"), COMPATIBLE_ONLY.values(), ids=COMPATIBLE_ONLY)
def test_native_parameters(body: dict[str, Any], message: str) -> None:
    """The compatible protocol rejects them."""
    refused = refusal(compatible(body))
    assert refused is not None
    assert message in refused.message


def test_wrong_endpoints() -> None:
    """A model is available at its native endpoint only, and lists of parts at one endpoint."""
    parts = said({"role": "user", "content": [{"text": "Hello"}]}, model="qwen3-vl-plus")
    assert refusal(native(parts, "multimodal-generation")) is None
    wrong = refusal(native(parts))
    assert wrong is not None
    assert "url error" in wrong.message
    listed = refusal(native(said({"role": "user", "content": [{"text": "Hello"}]})))
    assert listed is not None
    assert listed.message == "input content must be a string."


def test_an_error_in_each_protocol() -> None:
    """The body has the format of the protocol."""
    refused = refusal(compatible(said(temperature=3)))
    assert refused is not None
    assert refused.body(native=False)["error"]["code"] == "invalid_parameter_error"
    assert refused.body(native=True)["code"] == "InvalidParameter"
