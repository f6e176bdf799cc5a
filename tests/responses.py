"""Send the answers of `tests.service` in the Responses protocol, for requests to its path.

The format follows the vendor's reference and recorded exchanges: no space after `data:`, the status in a comment, no
`[DONE]`, a wrong `output_index` in places as in the vendor's samples, and `msg_` in the IDs of reasoning items.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from tests.loopback import Exchange, Received, reply_json

if TYPE_CHECKING:
    from tests.service import Answer

Json = dict[str, Any]
RESPONSE_ID = "resp_6c0ffee1"


def speaks_responses(request: Received) -> bool:
    """Return True if a request uses the Responses protocol."""
    return request.path.endswith("/responses")


def as_compatible(request: Received) -> Json:
    """Return a request in the format of the compatible protocol. Parameters without an equivalent are omitted."""
    body = request.json()
    said = {name: value for name, value in body.items() if name not in ("input", "instructions", "reasoning", "stream")}
    said["messages"] = []
    if "max_output_tokens" in said:
        said["max_tokens"] = said.pop("max_output_tokens")
    if "tools" in said:
        said["tools"] = [
            {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
            for tool in said["tools"]
        ]
    choice = said.get("tool_choice")
    if isinstance(choice, dict):
        said["tool_choice"] = {"type": "function", "function": {"name": choice["tools"][0]["name"]}}
    if body.get("stream"):
        said |= {"stream": True, "stream_options": {"include_usage": True}}
    return said


def answer_responses(answer: Answer, exchange: Exchange, request_id: str) -> None:
    """Send `answer`, streamed or whole as requested."""
    request = exchange.request
    if not request.json().get("stream"):
        reply_json(200, response_of(answer), {"x-request-id": request_id})(exchange)
        return
    exchange.send_head(200, {"Content-Type": "text/event-stream;charset=UTF-8", "x-request-id": request_id})
    exchange.send_chunk(frames(events_of(answer)))
    exchange.end()


def frames(events: Iterable[Mapping[str, Any]], first: int = 1) -> bytes:
    """Return events in the framing of the service."""
    return b"".join(framed(number, event) for number, event in enumerate(events, first))


def framed(number: int, event: Mapping[str, Any]) -> bytes:
    """Return one event, with its status in a comment."""
    text = json.dumps(event, ensure_ascii=False)
    return f"id:{number}\nevent:{event['type']}\n:HTTP_STATUS/200\ndata:{text}\n\n".encode()


def searching(shown: Event, *, ends: bool = True) -> Callable[[Exchange], None]:
    """Show a running search until `shown` is set or 5 s have passed, and then the answer if `ends`."""
    began = {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}
    ended = {**began, "status": "completed", "action": {"type": "search", "query": "sky"}}
    text = {"type": "response.output_text.delta", "item_id": "msg_t", "delta": "It"}

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Type": "text/event-stream"})
        created = {"type": "response.created", "response": response(status="queued")}
        exchange.send_chunk(frames([created, {"type": "response.output_item.added", "item": began}]))
        if not shown.wait(5):
            text["delta"] = "too late"
        exchange.send_chunk(frames([{"type": "response.output_item.done", "item": ended}], 3))
        if ends:
            exchange.send_chunk(frames([text, {"type": "response.completed", "response": response()}], 4))
        exchange.end()

    return script


def usage_of(usage: Mapping[str, Any] | None) -> Json | None:
    """Return compatible usage in the format of this protocol. Service-specific counts are in `x_details`."""
    if usage is None:
        return None
    given, taken = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    own = ("cached_tokens", "cache_creation_input_tokens")
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}
    return {
        **{names[name]: usage[name] for name in names if name in usage},
        "input_tokens_details": {name: count for name, count in given.items() if name != own[1]},
        "output_tokens_details": dict(taken),
        "x_details": [
            {
                "x_billing_type": "response_api",
                "input_tokens_details": {name: count for name, count in given.items() if name in own},
            }
        ],
    }


def response(model: str = "qwen-plus", status: str = "completed", **more: Any) -> Json:
    """Return a response object."""
    return {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": 1770000000,
        "model": model,
        "status": status,
        "error": None,
        "output": [],
        "usage": None,
        **more,
    }


def ends(answer: Answer) -> Json:
    """Return the response object at the end of an answer."""
    if answer.finish == "length":
        more: Json = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    else:
        more = {"status": "completed"}
    ran = {item["type"].removesuffix("_call"): {"count": 1} for item in answer.items}
    usage = usage_of(answer.usage)
    return response(answer.model, usage=usage and usage | ({"x_tools": ran} if ran else {}), **more)


def items_of(answer: Answer) -> list[Json]:
    """Return the output items of an answer."""
    items: list[Json] = []
    if answer.reasoning:
        said = {"type": "summary_text", "text": "".join(answer.reasoning)}
        items.append({"id": "msg_r", "type": "reasoning", "summary": [said]})
    items += answer.items
    if answer.text:
        said = {"type": "output_text", "text": "".join(answer.text), "annotations": []}
        items.append({"id": "msg_t", "type": "message", "role": "assistant", "status": "completed", "content": [said]})
    for number, made in enumerate(answer.calls):
        function = {"call_id": made.id, "name": made.name, "arguments": made.arguments}
        items.append({"id": f"fc_{number}", "type": "function_call", "status": "completed", **function})
    return items


def response_of(answer: Answer) -> Json:
    """Return a whole response."""
    return ends(answer) | {"output": items_of(answer)}


def events_of(answer: Answer) -> list[Json]:
    """Return the events of a stream. The arguments of calls are in deltas, which no source excludes."""
    began = response(answer.model, "queued")
    events: list[Json] = [
        {"type": "response.created", "response": began},
        {"type": "response.in_progress", "response": {**began, "status": "in_progress"}},
    ]
    for index, item in enumerate(items_of(answer)):
        events += _events_of_item(answer, item, index)
    if answer.failure is not None:
        said = answer.failure.get("error", answer.failure)
        failed = response(answer.model, "failed", error={"code": said.get("code"), "message": said.get("message")})
        events.append({"type": "response.failed", "response": failed})
    elif not answer.cut:
        whole = response_of(answer)
        events.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _events_of_item(answer: Answer, item: Json, index: int) -> list[Json]:
    kind, here = item["type"], {"item_id": item["id"], "output_index": index}
    empty = {"summary": [], "content": [], "arguments": ""}
    added = {**item, "status": "in_progress", **{name: empty[name] for name in empty if name in item}}
    if kind.endswith("_call") and kind != "function_call":
        added = {"id": item["id"], "type": kind, "status": "in_progress"}
    middle: list[Json] = []
    if kind == "reasoning":
        middle = [{"type": "response.reasoning_text.delta", **here, "delta": text} for text in answer.reasoning]
        middle.append({"type": "response.reasoning_text.done", **here, "text": "".join(answer.reasoning)})
    elif kind == "message":
        middle = [{"type": "response.content_part.added", **here, "content_index": 0, "part": {"type": "output_text"}}]
        middle += [{"type": "response.output_text.delta", **here, "delta": text} for text in answer.text]
        middle.append({"type": "response.output_text.done", **here, "text": "".join(answer.text)})
    elif kind == "function_call":
        pieces = answer.calls[int(item["id"].removeprefix("fc_"))].pieces
        middle = [{"type": "response.function_call_arguments.delta", **here, "delta": piece} for piece in pieces]
    elif kind in ("web_search_call", "code_interpreter_call", "file_search_call", "mcp_call"):
        middle = [{"type": f"response.{kind}.in_progress", **here}, {"type": f"response.{kind}.completed", **here}]
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": added},  # wrong, as in the vendor's samples
        *middle,
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]
