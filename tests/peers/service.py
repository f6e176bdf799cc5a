"""Answers of the simulated service, and the titles of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.loopback import Exchange, Loopback, reply_json
from tests.service import USAGE, Answer, Call

REASONING = "reasoning in answers and streams"
REPLAY = "reasoning goes back to the model in a tool loop"
STRUCTURED = "structured output while the model thinks"
CALLS = "two tool calls in one stream arrive whole"
CUT_CALL = "an agent runs a whole tool call, and no truncated one"
CUT = "a truncated stream is an error"
USED = "token usage of a stream, with reasoning tokens"
RETRY = "a throttled request is sent again after `Retry-After`"
ERRORS = "errors have type, status and request ID"
SOURCES = "sources of a web search"
ROWS = (REASONING, REPLAY, STRUCTURED, CALLS, CUT_CALL, CUT, USED, RETRY, ERRORS, SOURCES)

MODEL = "qwen-plus"
THOUGHT, TEXT, URL = "Light scatters.", "It is blue.", "https://example.com/hangzhou"
PATHS = {"compatible": "/compatible-mode/v1", "native": "/api/v1"}
ROME = Call("call_1", "weather", ['{"city": ', '"Rome"}'])
PARIS = Call("call_2", "weather", ['{"city": "Paris"}'])
CITIES = [{"city": "Rome"}, {"city": "Paris"}]

THINKING = Answer(reasoning=[THOUGHT], text=[TEXT], usage=USAGE)
CALLED = Answer(reasoning=[THOUGHT], calls=[ROME], usage=USAGE)
TWICE = Answer(calls=[ROME, PARIS], usage=USAGE)
ONCE = Answer(calls=[ROME], usage=USAGE)
CUT_CALLED = Answer(calls=[Call("call_1", "weather", ['{"city": "New '])], finish="length", usage=USAGE)
CUT_OFF = Answer(text=["It is "], cut=True)
# what the service says of a search, in the native protocol and in Responses
SEARCHED = Answer(
    text=["Sunny."],
    usage=USAGE,
    extras={"search_info": {"search_results": [{"index": 1, "title": "Hangzhou", "url": URL}]}},
    items=[
        {
            "id": "ws_1",
            "type": "web_search_call",
            "status": "completed",
            "action": {"type": "search", "query": "Hangzhou", "sources": [{"type": "url", "url": URL}]},
        }
    ],
)
REFUSAL = {"error": {"code": "limit_requests", "message": "Requests rate limit exceeded.", "type": "limit_requests"}}
NATIVE_REFUSAL = {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded.", "request_id": "req-1"}
BAD = {"error": {"code": "invalid_parameter_error", "message": "Wrong.", "type": "invalid_request_error"}}
NATIVE_BAD = {"code": "InvalidParameter", "message": "Wrong.", "request_id": "req-1"}


def refused(status: int) -> Callable[[Exchange], None]:
    """Return a script that refuses a request, as the protocol of the request has it."""

    def script(exchange: Exchange) -> None:
        native = "/services/aigc/" in exchange.request.path
        body = (NATIVE_REFUSAL if native else REFUSAL) if status == 429 else (NATIVE_BAD if native else BAD)
        if not native:
            body = {**body, "request_id": "req-1"}
        reply_json(status, body, {"retry-after": "1", "x-request-id": "req-1"})(exchange)

    return script


def structured(exchange: Exchange) -> None:
    """Refuse a forced tool and JSON while the model thinks, as the service does, else return what was asked for.

    Sources: the vendor's pages Deep thinking (tool_choice "auto" or "none") and Structured output ("Json mode
    response is not supported when enable_thinking is true").
    """
    body = exchange.request.json()
    given = {**body, **(body.get("parameters") or {})}
    forced = given.get("tool_choice") not in (None, "auto", "none")
    json_mode = (given.get("response_format") or {}).get("type", "text") != "text"
    if given.get("enable_thinking") and (forced or json_mode):
        refused(400)(exchange)
    elif given.get("tools"):
        name = given["tools"][0]["function"]["name"]
        Answer(calls=[Call("call_1", name, ['{"name": "Rome"}'])], usage=USAGE)(exchange)
    else:
        Answer(text=['{"name": "Rome"}'], usage=USAGE)(exchange)


def url(server: Loopback, protocol: str) -> str:
    """Return the base URL of a protocol."""
    return server.url + PATHS[protocol]


def thinks(server: Loopback) -> bool:
    """Return True if the last request enables thinking."""
    body = server.requests[-1].json()
    return {**body, **(body.get("parameters") or {})}.get("enable_thinking") is True


def replayed(server: Loopback) -> bool:
    """Return True if the last request has the reasoning of the earlier call."""
    return THOUGHT in json.dumps(server.requests[-1].json(), ensure_ascii=False)


def complete_error(error: BaseException) -> bool:
    """Return True if an error, or what it was raised from, has the status and the ID of the request."""
    status = getattr(error, "status_code", None)
    return status == 400 and getattr(error, "request_id", None) == "req-1"


Row = Callable[[Any], bool]


def measure(rows: dict[str, Row], contender: Any) -> dict[str, str]:
    """Return yes or no for each row. An exception is a no."""
    results = {}
    for title, row in rows.items():
        try:
            results[title] = "yes" if row(contender) else "no"
        except Exception:  # some packages raise KeyError or IndexError of their own
            results[title] = "no"
    return results
