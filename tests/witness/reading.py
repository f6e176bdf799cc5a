"""Decode an answer with the vendor's SDK and with the core, as flat values with the same names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dashscope
from dashscope.v2.errors import DashScopeError

from modelstudio_core.errors import APIStatusError, ModelStudioError
from modelstudio_core.types import ChatRequest, ChatResult, Choice, Message
from tests.loopback import Loopback
from tests.witness.answers import PARTS, Answer
from tests.witness.calls import KEY
from tests.witness.comparison import Flat, flatten
from tests.witness.service import run_ours

_NOTHING: tuple[Any, ...] = (None, "", {}, [])
_EXTRAS = ("search_info", "ocr_result")


def _flat(said: Mapping[str, Any]) -> Flat:
    """Return the non-empty values."""
    return {place: value for place, value in flatten(said) if value not in _NOTHING}


def read_by_sdk(server: Loopback, answer: Answer) -> Flat:
    """Return the content of the SDK's last response, and the first error.

    The SDK merges incremental streams itself, like for `incremental_output=False`.
    """
    dashscope.base_http_api_url = f"{server.url}/api/v1"
    api = dashscope.MultiModalConversation if answer.model == PARTS else dashscope.Generation
    parameters: dict[str, Any] = {"result_format": "message"} | ({"n": answer.n} if answer.n > 1 else {})
    if answer.mode != "whole":
        parameters["stream"] = True
    if answer.mode == "stream":
        parameters["incremental_output"] = False
    content: Any = [{"text": "hi"}] if answer.model == PARTS else "hi"
    try:
        given = api.call(model=answer.model, api_key=KEY, messages=[{"role": "user", "content": content}], **parameters)
        responses = [given] if answer.mode == "whole" else [json.loads(json.dumps(each)) for each in given]
    except Exception as error:
        return {"raises": type(error).__name__}
    return _sdk_values([json.loads(json.dumps(each)) for each in responses])


def _sdk_values(responses: Sequence[Mapping[str, Any]]) -> Flat:
    said: dict[str, Any] = {}
    for response in responses:
        if response["status_code"] != 200:
            said["error"] = {"status": int(response["status_code"]), "code": response["code"] or None}
            said["error"]["message"] = response["message"]
            said["request_id"] = response["request_id"] or said.get("request_id")
            break
        output = response["output"] or {}
        choices = output.get("choices") or []
        if not choices and output.get("text") is not None:
            choices = [{"message": {"content": output["text"]}, "finish_reason": output.get("finish_reason")}]
        if choices:
            said["choices"] = [_sdk_choice(choice) for choice in choices]
        extras = {name: value for choice in choices for name, value in _part_extras(choice).items()}
        said |= {**extras, **({"search_info": output["search_info"]} if output.get("search_info") else {})}
        said |= {"usage": response["usage"]} if response["usage"] else {}
        said["request_id"] = response["request_id"]
    return _flat(said)


def _sdk_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    content = message.get("content") or ""
    calls = message.get("tool_calls") or []
    finish = choice.get("finish_reason")
    return _choice(
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content),
        message.get("reasoning_content") or "",
        [(call.get("id"), call["function"].get("name"), call["function"].get("arguments")) for call in calls],
        None if finish == "null" else finish,
        (choice.get("logprobs") or {}).get("content") or [],
    )


def _part_extras(choice: Mapping[str, Any]) -> dict[str, Any]:
    content = choice["message"].get("content")
    parts = content if isinstance(content, list) else []
    return {name: part[name] for part in parts for name in _EXTRAS if name in part}


def _choice(
    text: str, reasoning: str, calls: Sequence[tuple[Any, ...]], finish: str | None, probs: Any
) -> dict[str, Any]:
    return {
        "text": text,
        "reasoning": reasoning,
        "tool_calls": [{"id": id, "name": name, "arguments": arguments} for id, name, arguments in calls],
        "finish_reason": finish,
        "logprobs": json.loads(json.dumps(probs)),
    }


def read_by_client(server: Loopback, answer: Answer) -> Flat:
    """Return what the SDK's newer `Client` decodes: its answer, its merged stream, or its exception."""
    asked: dict[str, Any] = {"model": answer.model, "messages": [{"role": "user", "content": "hi"}]}
    asked |= {"n": answer.n} if answer.n > 1 else {}
    asked |= {"stream": True} if answer.mode != "whole" else {}
    asked |= {"parameters": {"incremental_output": False}} if answer.mode == "cumulative" else {}
    with dashscope.Client(api_key=KEY, base_url=f"{server.url}/api/v1", max_retries=0) as client:
        try:
            given = client.chat.completions.create(**asked)
            completion = given if answer.mode == "whole" else given.get_final_message()
        except DashScopeError as error:
            said = {"type": type(error).__name__, "status": error.status_code, "code": error.code}
            return _flat({"error": {**said, "message": error.message}, "request_id": error.request_id})
        except Exception as error:
            return {"raises": type(error).__name__}
    read = completion.model_dump()
    kept = {name: read[name] for name in ("request_id", "usage", "search_info") if read.get(name)}
    return _flat({**kept, "choices": [_sdk_choice(choice) for choice in read["choices"]]})


def read_by_core(server: Loopback, answer: Answer) -> Flat:
    """Return the core's answer, and its error with the partial answer."""
    parameters = {"incremental_output": False} if answer.mode == "cumulative" else {}
    request = ChatRequest(
        answer.model,
        (Message("user", "hi"),),
        n=answer.n if answer.n > 1 else None,
        parameters=parameters,
        streaming=answer.mode != "whole",
    )
    try:
        result = run_ours(server, request, stream=answer.mode != "whole")
    except ModelStudioError as error:
        said: dict[str, Any] = {} if error.partial is None else _core_values(error.partial)
        status = error.status_code if isinstance(error, APIStatusError) else None
        said["error"] = {"type": type(error).__name__, "status": status, "code": error.code, "message": error.message}
        said["request_id"] = error.request_id
        return _flat(said)
    assert result is not None
    return _flat(_core_values(result))


def _core_values(result: ChatResult) -> dict[str, Any]:
    said: dict[str, Any] = {"choices": [_core_choice(choice) for choice in result.choices]} if result.choices else {}
    invalid = [call.error for choice in result.choices for call in choice.invalid_tool_calls]
    said |= {"invalid": invalid} if invalid else {}
    said |= {name: result.extras[name] for name in _EXTRAS if name in result.extras}
    said |= {} if result.usage is None else {"usage": dict(result.usage.raw)}
    return said | {"request_id": result.response.request_id}


def _core_choice(choice: Choice) -> dict[str, Any]:
    calls = sorted((*choice.tool_calls, *choice.invalid_tool_calls), key=lambda call: call.index)
    return _choice(
        choice.text,
        choice.reasoning,
        [(call.id, call.name, call.arguments) for call in calls],
        choice.finish_reason,
        choice.logprobs,
    )
