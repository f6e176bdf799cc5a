"""The protocols as bytes: answers, parts of answers, and errors as a server sends them.

The format is that of recorded traffic: the compatible protocol ends with `[DONE]`, the native one with the end of the
body. The native protocol has a status in a comment of each event, and the string "null" for no finish reason.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tests.responses import response

REQUEST_ID = "7d5c0ffe-e000-9000-8000-00000000fa17"
PIECES = ("The sky ", "is blue", " ", "because 光 scatters.")
TEXT = "".join(PIECES)
PARTIAL = "".join(PIECES[:2])
"""What has come when a fault strikes in mid-stream."""


def written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


class Dialect(ABC):
    """One protocol. Only native bodies have a `request_id`."""

    name: str
    done: bytes

    @abstractmethod
    def chunk(self, text: str = "", *, finish: str | None = None, index: int = 0, usage: bool = False) -> Any:
        """The object of one event."""

    @abstractmethod
    def whole(self, text: str, *, finish: str | None = "stop") -> Any:
        """The object of a whole answer."""

    @abstractmethod
    def error(self, code: str, message: str, *, request_id: str | None = None) -> Any:
        """The error object."""

    @abstractmethod
    def event(self, data: bytes, *, status: int = 200) -> bytes:
        """One event. An error event has a status of 400 or more."""

    def said(self, *texts: str) -> bytes:
        """Events with these texts."""
        return b"".join(self.event(written(self.chunk(text))) for text in texts)

    @abstractmethod
    def last(self, *, finish: bool = True, usage: bool = True) -> bytes:
        """The events that end an answer."""

    def stream(self, *texts: str) -> bytes:
        """A whole stream."""
        return self.said(*(texts or PIECES)) + self.last() + self.done


class Compatible(Dialect):
    name = "openai"
    done = b"data: [DONE]\n\n"

    def _top(self, kind: str) -> dict[str, Any]:
        return {"object": kind, "created": 1770000000, "model": "qwen-plus", "id": "chatcmpl-fa17"}

    def chunk(self, text: str = "", *, finish: str | None = None, index: int = 0, usage: bool = False) -> Any:
        choices: Sequence[Any] = (
            [] if usage else [{"delta": {"content": text}, "index": index, "finish_reason": finish}]
        )
        counts = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12} if usage else None
        return {**self._top("chat.completion.chunk"), "choices": choices, "usage": counts}

    def whole(self, text: str, *, finish: str | None = "stop") -> Any:
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        choice = {"message": message, "index": 0, "finish_reason": finish}
        return {**self._top("chat.completion"), "choices": [choice], "usage": usage}

    def error(self, code: str, message: str, *, request_id: str | None = None) -> Any:
        said: dict[str, Any] = {"error": {"message": message, "type": "invalid_request_error", "code": code}}
        return said if request_id is None else said | {"request_id": request_id}

    def event(self, data: bytes, *, status: int = 200) -> bytes:
        return b"data: " + data + b"\n\n"

    def last(self, *, finish: bool = True, usage: bool = True) -> bytes:
        ends = [self.chunk(finish="stop")] * finish + [self.chunk(usage=True)] * usage
        return b"".join(self.event(written(end)) for end in ends)


class Native(Dialect):
    name = "dashscope"
    done = b""

    def chunk(self, text: str = "", *, finish: str | None = None, index: int = 0, usage: bool = False) -> Any:
        message = {"role": "assistant", "content": text}
        choice: dict[str, Any] = {"message": message, "finish_reason": finish or "null"}
        if index:
            choice["index"] = index
        usages = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
        return {"output": {"choices": [choice]}, "usage": usages, "request_id": REQUEST_ID}

    def whole(self, text: str, *, finish: str | None = "stop") -> Any:
        return self.chunk(text, finish=finish)

    def error(self, code: str, message: str, *, request_id: str | None = None) -> Any:
        said: Mapping[str, Any] = {"code": code, "message": message}
        return said if request_id is None else {**said, "request_id": request_id}

    def event(self, data: bytes, *, status: int = 200) -> bytes:
        name = b"result" if status < 400 else b"error"
        return b"id:1\nevent:%b\n:HTTP_STATUS/%d\ndata:%b\n\n" % (name, status, data)

    def last(self, *, finish: bool = True, usage: bool = True) -> bytes:
        return self.event(written(self.chunk(finish="stop"))) if finish else b""


class Responses(Dialect):
    """The Responses protocol, where an error in a stream is an event with status 200. It has its own cells."""

    name = "responses"
    done = b""

    def chunk(self, text: str = "", *, finish: str | None = None, index: int = 0, usage: bool = False) -> Any:
        if finish or usage:
            return {"type": "response.completed", "response": self.whole("")}
        return {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "delta": text}

    def whole(self, text: str, *, finish: str | None = "stop") -> Any:
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{"id": "msg_1", "type": "message", "role": "assistant", "content": content}]
        usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
        return response(status="completed" if finish else "in_progress", output=output, usage=usage)

    def error(self, code: str, message: str, *, request_id: str | None = None) -> Any:
        said: Mapping[str, Any] = {"code": code, "message": message}
        return said if request_id is None else {**said, "request_id": request_id}

    def event(self, data: bytes, *, status: int = 200) -> bytes:
        if status >= 400:
            failed = response(status="failed", error=json.loads(data))
            data = written({"type": "response.failed", "response": failed})
        return b"id:1\nevent:response.any\n:HTTP_STATUS/200\ndata:%b\n\n" % data

    def said(self, *texts: str) -> bytes:
        began = {"type": "response.created", "response": response(status="queued")}
        return self.event(written(began)) + super().said(*texts)

    def last(self, *, finish: bool = True, usage: bool = True) -> bytes:
        whole = self.whole("") | ({} if usage else {"usage": None})
        return self.event(written({"type": "response.completed", "response": whole})) if finish else b""


RESPONSES = Responses()
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in (Compatible(), Native())}
