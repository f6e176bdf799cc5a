"""Implement Model Studio's Responses protocol with chat requests to llama.cpp. No I/O except the folder of texts.

Fields and events follow the vendor's Responses API reference, but with a correct `output_index`, unlike the vendor's
samples. The built-in tools web_search and file_search search the texts of a folder, once per user message, because a
model this small never calls tools by itself. Other built-in tools are ignored, like unknown tools by the service.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from local_model.dialect import TEXT_ONLY
from local_model.retrieval import InvalidRequest, Vector, cosine

Json = dict[str, Any]
SEARCHES = ("web_search", "file_search")
_COPIED = ("model", "temperature", "top_p", "enable_thinking")
_MAX_RESULTS = 3  # of a search
_MAX_RESPONSES = 100  # kept in memory


@dataclass(frozen=True, slots=True)
class Text:
    """A search result: file name, text, and similarity to the query from 0 to 1."""

    name: str
    text: str
    score: float


# ---------------------------------------------------------------- requests


def input_items(body: Mapping[str, Any]) -> list[Json]:
    """Return the input of a request as a list of items. Raises InvalidRequest for another value."""
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list) or not given or not all(isinstance(item, dict) for item in given):
        raise InvalidRequest(f"input is not a text or a list of items but {given!r:.100}")
    return given


def search_of(body: Mapping[str, Any], items: Sequence[Json]) -> tuple[str, str] | None:
    """Return the search tool and the query if the last item is a user message, otherwise None."""
    tools = [tool.get("type") for tool in body.get("tools") or () if isinstance(tool, dict)]
    kind = next((kind for kind in SEARCHES if kind in tools), None)
    last = items[-1]
    if kind is None or last.get("role") != "user" or body.get("tool_choice") == "none":
        return None
    return kind, _text(last.get("content"))


def chat_body(body: Mapping[str, Any], items: Sequence[Json], found: Sequence[Text] = ()) -> Json:
    """Return the chat request for these input items, preceded by the search results."""
    system = [str(body["instructions"])] if body.get("instructions") else []
    if found:
        system.append("Answer from these texts:\n" + "\n".join(text.text for text in found))
    messages = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    messages += _messages(items)
    chat: Json = {name: body[name] for name in _COPIED if name in body}
    chat |= {"messages": messages, "stream": True, "stream_options": {"include_usage": True}}
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    if isinstance(effort := (body.get("reasoning") or {}).get("effort"), str):
        chat["reasoning_effort"] = effort
    tools = [_chat_tool(tool) for tool in body.get("tools") or () if tool.get("type") == "function"]
    if tools:
        chat["tools"] = tools
        if (choice := _choice(body.get("tool_choice"))) is not None:
            chat["tool_choice"] = choice
    return chat


def _messages(items: Sequence[Json]) -> list[Json]:
    messages: list[Json] = []
    thought = ""
    for item in items:
        kind = item.get("type", "message")
        if kind == "reasoning":
            thought = _text(item.get("content") or item.get("summary"))
        elif kind == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(item.get("output"))})
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": "", "reasoning_content": thought})
            messages[-1].setdefault("tool_calls", []).append(call)
        elif kind == "message":
            role = "system" if item.get("role") == "developer" else item.get("role")
            message: Json = {"role": role, "content": _text(item.get("content"))}
            if role == "assistant" and thought:
                message["reasoning_content"] = thought
            messages.append(message)
        if kind != "reasoning":
            thought = ""
    return messages


def _text(content: Any) -> str:
    """Return the text of message content. Raises InvalidRequest for a part that is not text."""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise InvalidRequest(f"{TEXT_ONLY}, not {part!r:.100}")
        texts.append(part["text"])
    return "".join(texts)


def _chat_tool(tool: Mapping[str, Any]) -> Json:
    if not isinstance(tool.get("name"), str):  # the nested format of chat requests, which the service rejects, too
        raise InvalidRequest("a tool of type function needs name and parameters at the top level")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    names = [tool["name"] for tool in choice.get("tools") or () if isinstance(tool, dict) and "name" in tool]
    if choice.get("mode") != "required" or not names:
        return "auto"
    return {"type": "function", "function": {"name": names[0]}}


# ---------------------------------------------------------------- answers


class Writer:
    """Convert llama.cpp's chunks to the events of one response. At the end, `response` is the complete response."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.response: Json = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": body.get("model"),
            "status": "queued",
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "output": [],
            "parallel_tool_calls": False,
            "previous_response_id": body.get("previous_response_id"),
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": list(body.get("tools") or ()),
            "usage": None,
        }
        self._number = 0
        self._open: Json | None = None  # the item being written
        self._runs: Json = {}  # number of runs of each tool
        self._finish: str | None = None

    def start(self) -> Iterator[Json]:
        """Yield the first events."""
        yield self._of_response("response.created")
        self.response["status"] = "in_progress"
        yield self._of_response("response.in_progress")

    def searched(self, kind: str, query: str, found: Sequence[Text]) -> Iterator[Json]:
        """Yield the events of a search."""
        name = f"{kind}_call"
        item: Json = {"id": f"{kind[:2]}_{uuid4().hex}", "type": name, "status": "in_progress"}
        empty = {"action": {"type": "search", "query": query}} if kind == "web_search" else {"queries": [query]}
        yield from self._add(item | empty)
        for status in ("in_progress", "searching", "completed"):
            yield self._event(f"response.{name}.{status}", **self._here())
        if kind == "web_search":
            sources = [{"type": "url", "url": f"file:{text.name}"} for text in found]
            item = {"action": {"type": "search", "query": query, "sources": sources}}
        else:
            results = [
                {"file_id": text.name, "filename": text.name, "score": text.score, "text": text.text} for text in found
            ]
            item = {"results": results}
        self._runs[kind] = {"count": 1}
        yield from self._close(**item, status="completed")

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Json]:
        """Yield the events of one chunk of a chat stream."""
        if usage := chunk.get("usage"):
            self._count(usage)
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content"):
                yield from self._grow("reasoning", thought)
            if text := delta.get("content"):
                yield from self._grow("message", text)
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)
            self._finish = choice.get("finish_reason") or self._finish

    def end(self) -> Iterator[Json]:
        """Yield the last events."""
        truncated = self._finish == "length"
        yield from self._close(truncated=truncated)
        self.response["status"] = "incomplete" if truncated else "completed"
        if truncated:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        yield self._of_response(f"response.{self.response['status']}")

    def failed(self, code: str, message: str) -> Iterator[Json]:
        """Yield the event of a failure."""
        self.response |= {"status": "failed", "error": {"code": code, "message": message}}
        yield self._of_response("response.failed")

    def _count(self, usage: Mapping[str, Any]) -> None:
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens", 0)
        self.response["usage"] = {
            "input_tokens": usage.get("prompt_tokens", 0),
            "output_tokens": usage.get("completion_tokens", 0),
            "total_tokens": usage.get("total_tokens", 0),
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": reasoning},
        } | ({"x_tools": self._runs} if self._runs else {})

    def _grow(self, kind: str, text: str) -> Iterator[Json]:
        if self._open is None or self._open["type"] != kind:
            yield from self._close()
            item: Json = {"id": f"msg_{uuid4().hex}", "type": kind}
            if kind == "message":
                yield from self._add({**item, "role": "assistant", "status": "in_progress", "content": []})
                part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
                yield self._event("response.content_part.added", **self._here(), content_index=0, part=dict(part))
                self._opened["content"] = [part]
            else:
                yield from self._add({**item, "summary": []})
                self._opened["summary"] = [{"type": "summary_text", "text": ""}]
        opened = self._opened
        (opened.get("content") or opened["summary"])[0]["text"] += text
        name = "output_text" if kind == "message" else "reasoning_text"
        more: Json = {"logprobs": []} if kind == "message" else {}
        yield self._event(f"response.{name}.delta", **self._here(), content_index=0, delta=text, **more)

    def _call(self, call: Mapping[str, Any]) -> Iterator[Json]:
        function = call.get("function") or {}
        if call.get("id") and (self._open is None or self._open.get("call_id") != call["id"]):
            yield from self._close()
            item: Json = {"id": f"fc_{uuid4().hex}", "type": "function_call", "status": "in_progress"}
            yield from self._add({**item, "call_id": call["id"], "name": function.get("name"), "arguments": ""})
        if arguments := function.get("arguments"):
            self._opened["arguments"] += arguments
            yield self._event("response.function_call_arguments.delta", **self._here(), delta=arguments)

    def _add(self, item: Json) -> Iterator[Json]:
        self._open = item
        self.response["output"].append(item)
        yield self._event("response.output_item.added", output_index=self._index, item=dict(item))

    def _close(self, *, truncated: bool = False, **changes: Any) -> Iterator[Json]:
        """Yield the events that finish the open item, if there is one."""
        item = self._open
        if item is None:
            return
        here = self._here()
        if item["type"] == "message":
            part = item["content"][0]
            text = {"text": part["text"], "logprobs": []}
            yield self._event("response.output_text.done", **here, content_index=0, **text)
            yield self._event("response.content_part.done", **here, content_index=0, part=part)
        elif item["type"] == "reasoning":
            reasoning = item["summary"][0]["text"]
            yield self._event("response.reasoning_text.done", **here, content_index=0, text=reasoning)
        elif item["type"] == "function_call":
            done = {"arguments": item["arguments"], "name": item["name"]}
            yield self._event("response.function_call_arguments.done", **here, **done)
        if "status" in item:
            item["status"] = "incomplete" if truncated else "completed"
        item |= changes
        yield self._event("response.output_item.done", output_index=self._index, item=item)
        self._open = None

    @property
    def _opened(self) -> Json:
        assert self._open is not None  # fragments of a call follow its ID
        return self._open

    @property
    def _index(self) -> int:
        return len(self.response["output"]) - 1

    def _here(self) -> Json:
        return {"item_id": self._opened["id"], "output_index": self._index}

    def _of_response(self, kind: str) -> Json:
        return self._event(kind, response=json.loads(json.dumps(self.response)))

    def _event(self, kind: str, **fields: Any) -> Json:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}


class Texts:
    """The texts of a folder, and their vectors, computed on the first search. Thread-safe."""

    def __init__(self, folder: str) -> None:
        self._files = sorted(Path(folder).glob("*.txt")) if folder else []
        self._vectors: Sequence[Vector] | None = None
        self._lock = Lock()

    def search(self, query: str, embed: Callable[[Sequence[str]], Sequence[Vector]]) -> list[Text]:
        """Return the texts most similar to a query, the best first. `embed` returns the vectors of texts."""
        if not self._files:
            return []
        texts = [file.read_text("utf-8").strip() for file in self._files]
        with self._lock:
            self._vectors = self._vectors or embed(texts)
        [query_vector] = embed([query])
        found = [
            Text(file.name, text, cosine(query_vector, vector))
            for file, text, vector in zip(self._files, texts, self._vectors, strict=True)
        ]
        return sorted(found, key=lambda text: -text.score)[:_MAX_RESULTS]


class Memory:
    """The items of the latest responses by ID. Thread-safe."""

    def __init__(self) -> None:
        self._responses: dict[str, list[Json]] = {}
        self._lock = Lock()

    def keep(self, id: str, items: list[Json]) -> None:
        """Store the items of a response. Delete the oldest response if there are too many."""
        with self._lock:
            self._responses[id] = items
            if len(self._responses) > _MAX_RESPONSES:
                del self._responses[next(iter(self._responses))]

    def read(self, id: Any) -> list[Json]:
        """Return the items of a response, [] for None. Raises InvalidRequest if it is unknown."""
        if id is None:
            return []
        with self._lock:
            if id not in self._responses:
                raise InvalidRequest(f"Previous response with id {id!r:.100} not found")
            return self._responses[id]


def framed(number: int, event: Mapping[str, Any]) -> bytes:
    """Return an event as SSE bytes, framed like the service does."""
    data = json.dumps(event, ensure_ascii=False)
    return f"id:{number}\nevent:{event['type']}\n:HTTP_STATUS/200\ndata:{data}\n\n".encode()
