"""The running local model, with a real llama.cpp server and model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

import local_model

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
NAMED_ADD = {"type": "function", "function": {"name": "add"}}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        local_model.running(force_auto=True, api_key="sk-right", models=("qwen-plus", "text-embedding-v4")) as server,
        httpx.Client(
            base_url=server.base_url,
            timeout=60,
            trust_env=False,
            headers={"Authorization": "Bearer sk-right"},
        ) as made,
    ):
        yield made


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "qwen-plus", "messages": QUESTION, "max_tokens": 40, **fields}


def whole(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post("/chat/completions", json=asked(**fields))
    assert response.status_code == 200, response.text
    content: dict[str, Any] = response.json()
    return content


def streamed(client: httpx.Client, **fields: Any) -> list[dict[str, Any]]:
    """Return the chunks of a stream, which must end with [DONE]."""
    body = asked(stream=True, stream_options={"include_usage": True}, **fields)
    with client.stream("POST", "/chat/completions", json=body) as response:
        assert response.status_code == 200
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert events.pop() == "[DONE]"
    return [json.loads(event) for event in events]


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def arguments_of(chunks: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the name and the joined arguments of the only call in a stream."""
    fragments = [each for delta in deltas(chunks) for each in delta.get("tool_calls", [])]
    assert {each["index"] for each in fragments} == {0}
    name = "".join(each["function"].get("name", "") for each in fragments)
    return name, "".join(each["function"].get("arguments", "") for each in fragments)


def test_reasoning_answer_and_usage_are_streamed(client: httpx.Client) -> None:
    chunks = streamed(client, enable_thinking=True, thinking_budget=16)
    kinds = [kind for delta in deltas(chunks) for kind in ("reasoning_content", "content") if delta.get(kind)]
    assert kinds.count("reasoning_content") > 3
    assert kinds.count("content") > 3
    assert kinds == sorted(kinds, reverse=True)  # all of the thought, then all of the answer
    assert chunks[-1]["choices"] == []
    usage = chunks[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    thought = kinds.count("reasoning_content")  # a chunk has one token, or two where the text allows it
    assert thought <= usage["completion_tokens_details"]["reasoning_tokens"] <= thought + 3


def test_reasoning_of_a_whole_answer(client: httpx.Client) -> None:
    answer = whole(client, enable_thinking=True, thinking_budget=16)
    message, usage = answer["choices"][0]["message"], answer["usage"]
    assert message["reasoning_content"].strip()
    assert message["content"].strip()
    assert 3 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]


def test_reasoning_before_a_forced_call_is_streamed(client: httpx.Client) -> None:
    """In fragments, as part of one answer: one ID, one role, one finish reason."""
    chunks = streamed(client, tools=[WEATHER], tool_choice="required", enable_thinking=True, max_tokens=120)
    assert sum(bool(delta.get("reasoning_content")) for delta in deltas(chunks)) > 3
    assert sum("role" in delta for delta in deltas(chunks)) == 1
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]][-1] == "tool_calls"
    assert sum(choice["finish_reason"] is not None for chunk in chunks for choice in chunk["choices"]) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_of_a_call_that_thinks(client: httpx.Client, stream: bool) -> None:
    body = asked(messages=[{"role": "user", "content": "word " * 9000}], enable_thinking=True, stream=stream)
    refused = client.post("/chat/completions", json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "exceed_context_size_error")


def test_an_answer_without_reasoning(client: httpx.Client) -> None:
    answer = whole(client)
    assert answer["choices"][0]["message"]["content"].strip()
    assert "reasoning_content" not in answer["choices"][0]["message"]
    assert answer["usage"]["completion_tokens"] <= 40


@pytest.mark.parametrize("choice", ["required", "auto", NAMED_ADD], ids=["required", "forced auto", "named"])
@pytest.mark.parametrize("thinking", [False, True])
def test_a_forced_call_is_valid_whole_and_streamed(client: httpx.Client, choice: Any, thinking: bool) -> None:
    fields = {"tools": [WEATHER, ADD], "tool_choice": choice, "enable_thinking": thinking, "max_tokens": 120}
    complete = whole(client, **fields)
    answer = complete["choices"][0]
    assert answer["finish_reason"] == "tool_calls"
    (call,) = answer["message"]["tool_calls"]
    chunks = streamed(client, **fields)
    assert any(choice["finish_reason"] == "tool_calls" for chunk in chunks for choice in chunk["choices"])
    name, arguments = arguments_of(chunks)
    for called, text in ((call["function"]["name"], call["function"]["arguments"]), (name, arguments)):
        assert called == "add" if choice is NAMED_ADD else called in ("add", "get_weather")
        assert isinstance(json.loads(text), dict)
    thought = "".join(delta.get("reasoning_content") or "" for delta in deltas(chunks))
    assert bool(thought.strip()) is thinking
    assert bool(answer["message"].get("reasoning_content")) is thinking
    for usage in (complete["usage"], chunks[-1]["usage"]):
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        spent = usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0)
        assert (spent > 0) is thinking
        assert spent <= min(32, usage["completion_tokens"] - 1)  # 32 is the budget of the local model
    # the call is made with the reasoning as its prefix, which is not counted as prompt
    prompts = [usage["prompt_tokens"] for usage in (complete["usage"], chunks[-1]["usage"])]
    assert max(prompts) - min(prompts) <= 3


@pytest.mark.parametrize("thinking", [False, True])
def test_an_answer_after_a_tool_result(client: httpx.Client, thinking: bool) -> None:
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    history = [
        *QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny, 21 degrees"},
    ]
    answer = whole(client, messages=history, tools=[WEATHER], enable_thinking=thinking)["choices"][0]["message"]
    assert answer["content"].strip()
    assert not answer.get("tool_calls")


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("said", ["What is the weather in Paris?", "Hangzhou has 12 million inhabitants."])
def test_json_schema(client: httpx.Client, said: str, thinking: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    asked_format = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    fields = {"response_format": asked_format, "enable_thinking": thinking, "max_tokens": 120, "temperature": 0}
    message = whole(client, messages=[{"role": "user", "content": said}], **fields)["choices"][0]["message"]
    assert list(json.loads(message["content"])) == ["city"]
    assert bool(message.get("reasoning_content")) is thinking


def test_partial_mode_returns_the_continuation_only(client: httpx.Client) -> None:
    opened = {"role": "assistant", "content": "The weather in Paris", "partial": True}
    content = whole(client, messages=[*QUESTION, opened])["choices"][0]["message"]["content"]
    assert content.strip()
    assert not content.startswith("The weather in Paris")


def test_concurrent_streams(client: httpx.Client) -> None:
    def span(_: int) -> tuple[float, float]:
        with client.stream("POST", "/chat/completions", json=asked(stream=True, max_tokens=80)) as response:
            times = [time.monotonic() for line in response.iter_lines() if line]
        return times[0], times[-1]

    with ThreadPoolExecutor(2) as pool:
        (one_start, one_end), (two_start, two_end) = pool.map(span, range(2))
    assert max(one_start, two_start) < min(one_end, two_end)


def working(client: httpx.Client) -> int:
    """Return the number of llama.cpp's slots that are generating."""
    slots = client.get(client.base_url.join("/slots")).json()
    return sum(slot["is_processing"] for slot in slots)


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize(("stream", "seconds"), [(True, 0.5), (False, 2.0)], ids=["stream", "whole"])
def test_generation_ends_when_the_client_disconnects(
    client: httpx.Client, stream: bool, seconds: float, thinking: bool
) -> None:
    """Otherwise it would run for about a minute.

    Polling the slots is work for llama.cpp, which checks for disconnected clients only when idle.
    """
    body = json.dumps(asked(stream=stream, max_tokens=3500, ignore_eos=True, enable_thinking=thinking)).encode()
    url = client.base_url
    head = f"POST {url.path}chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer sk-right\r\n"
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        if stream:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.5)
        assert working(client) == 1
    for _ in range(3):  # a busy machine may need more than one
        time.sleep(seconds)
        if working(client) == 0:
            break
    assert working(client) == 0
    assert whole(client, max_tokens=3)["usage"]["completion_tokens"] == 3


def test_models_and_embeddings_have_the_same_base_url(client: httpx.Client) -> None:
    assert client.get("/models").json()["data"][0]["id"] == "qwen-plus"
    answer = client.post("/embeddings", json={"model": "text-embedding-v4", "input": ["a", "b"]}).json()
    assert [len(each["embedding"]) for each in answer["data"]] == [384, 384]
    assert answer["usage"]["total_tokens"] > 0


def test_a_connection_is_reused(client: httpx.Client) -> None:
    with httpx.Client(limits=httpx.Limits(max_connections=1), headers=client.headers, trust_env=False) as one:
        streams = []
        for _ in range(2):
            body = asked(stream=True, max_tokens=2)
            with one.stream("POST", f"{client.base_url}chat/completions", json=body) as response:
                response.read()
                streams.append(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert streams[0] == streams[1]


def test_a_wrong_key_and_an_unknown_model(client: httpx.Client) -> None:
    wrong = client.post("/chat/completions", json=asked(), headers={"Authorization": "Bearer sk-wrong"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
    unknown = client.post("/chat/completions", json=asked(model="qwen-unknown"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_llama_cpp_errors_are_relayed(client: httpx.Client) -> None:
    broken = client.post("/chat/completions", content=b'{"messages": [')
    assert (broken.status_code, broken.json()["error"]["type"]) == (400, "invalid_request_error")
    nowhere = client.get("/nowhere")
    assert (nowhere.status_code, nowhere.json()["error"]["type"]) == (404, "not_found_error")


def test_what_the_local_model_cannot_do(client: httpx.Client) -> None:
    """The error says so, in the format of the protocol."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    seen = client.post("/chat/completions", json=asked(messages=[{"role": "user", "content": [image]}]))
    assert (seen.status_code, seen.json()["error"]["message"]) == (
        400,
        "the local model reads text only, not image_url",
    )
    services = client.base_url.copy_with(path="/api/v1/services/")
    native = client.post(services.join("aigc/text-generation/generation"), json={"model": "qwen-plus", "input": {}})
    assert native.status_code == 404
    wanted = 'the local model does not serve native chat: use protocol="openai" or "responses"'
    assert native.json()["message"] == wanted
    other = client.post(services.join("embeddings/multimodal-embedding/multimodal-embedding"), json={})
    assert (other.status_code, other.json()["code"]) == (404, "NotFound")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_with_its_block() -> None:
    with local_model.running() as server:
        assert server.base_url.endswith("/compatible-mode/v1")
        assert "xllamacpp" in server.version
        assert "SmolLM2-135M" in server.version
    assert not alive(server.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="looks for the child by POSIX means")
def test_it_ends_when_its_parent_is_killed() -> None:
    program = (
        "import local_model, sys\n"
        "with local_model.running() as server:\n"
        "    print(server.base_url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        url = httpx.URL(parent.stdout.readline().strip())
        parent.kill()
    until = time.monotonic() + 5
    while True:
        try:
            socket.create_connection((url.host, url.port or 0), timeout=1).close()
        except ConnectionError:
            break
        assert time.monotonic() < until, "the local model outlives its parent"
        time.sleep(0.05)


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(local_model.LocalModelError) as raised, local_model.running(port=port):
            raise AssertionError("must not start")
    says = str(raised.value)
    assert f"cannot listen on port {port}: " in says
    assert "in use. --port chooses another" in says


def test_a_port_that_does_not_exist() -> None:
    says = r"cannot listen on port 99999: it must be from 0 to 65535\. --port chooses another"
    with pytest.raises(local_model.LocalModelError, match=says), local_model.running(port=99999):
        raise AssertionError("must not start")


@pytest.mark.parametrize(("code", "status"), [("", 0), ("; sys.exit(3)", 3)])
def test_a_command_runs_with_the_model(code: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds the address in the environment, and no key; its arguments and its exit status are passed on."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-not-for-it")
    script = (
        "import json, os, sys, urllib.request as r; "
        "print(sorted(name for name in os.environ if name.startswith('DASHSCOPE_')), sys.argv[1:]); "
        "url = os.environ['DASHSCOPE_BASE_URL'] + '/compatible-mode/v1/models'; "
        f"print(json.load(r.urlopen(url))['data'][0]['id']){code}"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "local_model", "--", "python", "-c", script, "--an-option"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == status, ran.stderr
    assert ran.stdout.splitlines() == ["['DASHSCOPE_BASE_URL'] ['--an-option']", "qwen-plus"]


def test_a_command_that_is_not_there_is_a_clear_error() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "local_model", "--", "no-such-command"], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, "no-such-command" in ran.stderr) == (2, True)
