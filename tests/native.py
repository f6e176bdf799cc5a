"""Send the answers of `tests.service` in the native protocol, for requests to a native path.

The format is that of recorded traffic: no space after `data:`, the status in a comment, usage on every event, the
finish reason "null" until the end, a fragment of the call on the last event, and no event that ends the stream. Content
of multimodal-generation is a list of parts, possibly empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tests.loopback import Exchange, Received, reply_json

if TYPE_CHECKING:
    from tests.service import Answer

Message = dict[str, Any]


def is_native(request: Received) -> bool:
    """Return True if a request uses the native protocol."""
    return "/services/aigc/" in request.path


def as_compatible(request: Received) -> dict[str, Any]:
    """Return a native request in the format of the compatible protocol. Other parameters are omitted."""
    body = request.json()
    messages = [{**message, "content": _text(message["content"])} for message in body["input"]["messages"]]
    said = {"model": body["model"], "messages": messages, **body["parameters"]}
    if request.headers.get("x-dashscope-sse") == "enable":
        said |= {"stream": True, "stream_options": {"include_usage": True}}
    return {name: value for name, value in said.items() if name not in ("result_format", "incremental_output")}


def _text(content: Any) -> Any:
    """Return content with at most one text as a string, like in the compatible protocol."""
    if isinstance(content, list) and len(content) <= 1 and all(part.keys() == {"text"} for part in content):
        return "".join(part["text"] for part in content)
    return content


def answer_natively(answer: Answer, exchange: Exchange, request_id: str) -> None:
    """Send `answer`, streamed or whole as requested."""
    request = exchange.request
    said = _Native(answer, request_id, parts="/multimodal-generation/" in request.path)
    if request.headers.get("x-dashscope-sse") != "enable":
        reply_json(200, said.whole(), {"x-request-id": request_id})(exchange)
        return
    grows = request.json()["parameters"].get("incremental_output", True)
    exchange.send_head(200, {"Content-Type": "text/event-stream;charset=UTF-8", "x-request-id": request_id})
    for data in frames(said.events() if grows else repeated(said.events())):
        exchange.send_chunk(data)
    if answer.failure is not None:
        exchange.send_chunk(said.error())
    exchange.end()


def frames(events: Iterable[Mapping[str, Any]]) -> Iterable[bytes]:
    """Return events in the framing of the service."""
    for number, event in enumerate(events, 1):
        yield framed(number, "result", 200, event)


def framed(number: int, name: str, status: int, data: Mapping[str, Any]) -> bytes:
    """Return one event, with its status in a comment."""
    text = json.dumps(data, ensure_ascii=False)
    return f"id:{number}\nevent:{name}\n:HTTP_STATUS/{status}\ndata:{text}\n\n".encode()


def native_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return a compatible usage object with the names of the native protocol."""
    given, taken = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}
    cached = {name: count for name, count in given.items() if "cache" in name}
    details = {
        "prompt_tokens_details": cached,
        "input_tokens_details": {name: count for name, count in given.items() if name not in cached},
        "output_tokens_details": taken,
    }
    return {names[said]: usage[said] for said in names if said in usage} | {k: v for k, v in details.items() if v}


class _Native:
    def __init__(self, answer: Answer, request_id: str, *, parts: bool) -> None:
        self.answer = answer
        self.request_id = request_id
        self.parts = parts

    def events(self) -> list[dict[str, Any]]:
        """Return the events of a stream, with incremental content."""
        answer = self.answer
        said = [self.message("", reasoning_content=text) for text in answer.reasoning]
        said += [self.message(text, reasoning_content="") for text in answer.text]
        probs = [None] * len(answer.reasoning) + list(answer.logprobs)
        for index, made in enumerate(answer.calls):
            first, *more = made.pieces or ("",)
            said.append(self.message("", tool_calls=[_fragment(index, made.id, name=made.name, arguments=first)]))
            said += [self.message("", tool_calls=[_fragment(index, "", arguments=piece)]) for piece in more]
        events = [self.event(self.choice(message, "null")) for message in said]
        for event, item in zip(events, probs, strict=False):
            if item is not None:
                event["output"]["choices"][0]["logprobs"] = {"content": [dict(item)]}
        if answer.failure is None and not answer.cut:
            last = {"tool_calls": [_fragment(len(answer.calls) - 1, "")]} if answer.calls else {}
            events.append(self.event(self.choice(self.message("", reasoning_content="", **last), answer.finish_reason)))
        for number, event in enumerate(events):
            event["output"] |= self.extras(first=number == 0)
        return events

    def whole(self) -> dict[str, Any]:
        """Return the whole response."""
        answer = self.answer
        more: Message = {"reasoning_content": "".join(answer.reasoning)} if answer.reasoning else {}
        if answer.calls:
            more["tool_calls"] = [
                _fragment(index, made.id, name=made.name, arguments=made.arguments)
                for index, made in enumerate(answer.calls)
            ]
        choice = self.choice(self.message("".join(answer.text), **more), answer.finish_reason)
        if answer.logprobs:
            choice["logprobs"] = {"content": [dict(item) for item in answer.logprobs]}
        others = [{**self.choice(self.message(text), "stop"), "index": i + 1} for i, text in enumerate(answer.others)]
        event = self.event(*([{**choice, "index": 0}, *others] if others else [choice]))
        event["output"] |= self.extras(first=True)
        return event

    def error(self) -> bytes:
        """Return the error event that ends a stream."""
        failure = self.answer.failure or {}
        said = failure.get("error", failure)
        data = {"code": said.get("code"), "message": said.get("message"), "request_id": self.request_id}
        return framed(99, "error", self.answer.status or 400, data)

    def message(self, text: str, **more: Any) -> Message:
        content: Any = ([{"text": text}] if text else []) if self.parts else text
        return {"content": content, "role": "assistant", **more}

    def choice(self, message: Message, finish: str) -> dict[str, Any]:
        return {"message": message, "finish_reason": finish}

    def event(self, *choices: dict[str, Any]) -> dict[str, Any]:
        usage = self.answer.usage
        counts = {} if usage is None else {"usage": native_usage(usage)}
        return {"output": {"choices": list(choices)}, **counts, "request_id": self.request_id}

    def extras(self, *, first: bool) -> dict[str, Any]:
        """Return the extras of an event. Search sources are on the first event only, and empty later."""
        extras = dict(self.answer.extras)
        if "search_info" in extras and not first:
            extras["search_info"] = {"extra_tool_info": [], "search_results": []}
        return extras


def _fragment(index: int, id: str, **function: Any) -> dict[str, Any]:
    return {"index": index, "id": id, "type": "function", "function": function}


def repeated(events: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Return the same events with cumulative content (`incremental_output` false)."""
    texts, calls = {"content": "", "reasoning_content": ""}, dict[int, dict[str, Any]]()
    for event in events:
        message = event["output"]["choices"][0]["message"]
        for name in texts:
            piece = message.get(name) or ""
            texts[name] += "".join(part["text"] for part in piece) if isinstance(piece, list) else piece
        for fragment in message.get("tool_calls", ()):
            call = calls.setdefault(fragment["index"], _fragment(fragment["index"], "", name="", arguments=""))
            call["id"] = call["id"] or fragment["id"]
            for name, piece in fragment["function"].items():
                call["function"][name] += piece
        content: Any = [{"text": texts["content"]}] if isinstance(message["content"], list) else texts["content"]
        grown = {**message, "content": content, "reasoning_content": texts["reasoning_content"]}
        if calls:
            grown["tool_calls"] = [{**call, "function": dict(call["function"])} for call in calls.values()]
        event["output"]["choices"][0]["message"] = grown
        yield event
