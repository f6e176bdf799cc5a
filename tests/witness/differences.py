"""The known differences from the SDK of the vendor, with their reasons. Two pages in docs/ show the same tables.

`where` is a place, or several with commas; `.*` includes all below. `sdk` and `ours` are the two values: NONE where
there is none, JSON in backticks if it is exactly that, words otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NONE = "-"
ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A location in requests or answers where the SDK and the core differ on purpose."""

    where: str
    sdk: str
    ours: str
    reason: str

    def explains(self, place: str, theirs: Any, mine: Any) -> bool:
        """Return True if this row explains a difference at `place`."""
        if any(_below(place, where) for where in self.where.split(", ")):
            return _is_shown(theirs, self.sdk) and _is_shown(mine, self.ours)
        return False


def _below(place: str, where: str) -> bool:
    base = where.removesuffix(".*")
    return place == base or (where != base and place.startswith(base) and place[len(base)] in ".[")


def _is_shown(value: Any, shown: str) -> bool:
    if shown == NONE:
        return value is ABSENT
    return not shown.startswith("`") or (value is not ABSENT and json.dumps(value) == shown.strip("`"))


REQUESTS = {
    # every request
    "user-agent": Difference("header user-agent", "SDK, Python, platform", "name and version", "no more is needed"),
    "accept-encoding": Difference(
        "header accept-encoding",
        '`"gzip, deflate"`',
        '`"identity"`',
        "a few kilobytes of gzip can expand to gigabytes",
    ),
    "sdk client": Difference("header x-dashscope-sdk-client", "SDK and module", NONE, "statistics of the SDK"),
    "sdk session": Difference("header x-dashscope-sdk-session-id", "a random id", NONE, "statistics of the SDK"),
    "content-type": Difference(
        "header content-type",
        '`"application/json; charset=utf-8"`',
        '`"application/json"`',
        "JSON has no charset parameter (RFC 8259, section 11)",
    ),
    "accept": Difference(
        "header accept",
        '`"application/json; charset=utf-8"`',
        '`"application/json"`',
        "as above",
    ),
    "buffering": Difference(
        "header x-accel-buffering", '`"no"`', NONE, "nginx reads it from responses, not from requests"
    ),
    "accept of Client": Difference(
        "header accept", '`"*/*"`', "the media type that is read", "a server or proxy may answer in it"
    ),
    # chats
    "result format": Difference(
        "parameters.result_format, parameters",
        "as set by the caller",
        '"message"',
        "format text has no tool calls or reasoning; thinking models reject it",
    ),
    "incremental by default": Difference(
        "parameters.incremental_output",
        NONE,
        "`true`",
        "without it, each event repeats the whole text, and thinking models reject the request",
    ),
    "incremental off": Difference(
        "parameters.incremental_output",
        "`true`",
        "`false`",
        "the SDK merges the events itself; here the service is asked for what the caller set",
    ),
    "stream of unknown models": Difference(
        "header x-dashscope-sse, header accept, parameters.incremental_output, stream, stream_options.*",
        "as set by the caller",
        "streams, also for whole answers",
        "a model that is not in the catalogue may think, and thinking may require a stream; `streaming=False` stops it",
    ),
    "thinking off": Difference(
        "parameters.enable_thinking",
        NONE,
        "`false`",
        "a forced tool, JSON mode and partial mode are rejected while a model thinks",
    ),
    "always thinks": Difference(
        "parameters.enable_thinking", "`true`", NONE, "models that always think have no switch"
    ),
    "search off": Difference(
        "parameters.enable_search", NONE, "`false`", "the SDK drops false for models named qwen...; it is the default"
    ),
    "empty tools": Difference("parameters.tools", "`[]`", NONE, "an empty list says no more than none"),
    "required": Difference(
        "parameters.tool_choice.*",
        "as set by the caller",
        "the only tool, by name",
        'the service accepts "auto", "none" and the name of a tool, for most models',
    ),
    "definitions": Difference(
        "parameters.tools[].function.parameters.*",
        "a `$ref` and its `$defs`",
        "the definition in place of the `$ref`",
        "models do not follow references reliably",
    ),
    "part type": Difference(
        "input.messages[].content[].type", '`"text"`', NONE, "a native part is named by its only key"
    ),
    "earlier reasoning": Difference(
        "input.messages[].reasoning_content",
        "as given by the caller",
        NONE,
        "reasoning before the last question costs tokens; models that need it, and `reasoning_replay`, keep it",
    ),
    "unanswered calls": Difference(
        "input.messages[].*",
        "as given by the caller",
        "without calls that have no result",
        "the service rejects a history with such calls",
    ),
    "JSON instruction": Difference(
        "input.messages[].content",
        "as given by the caller",
        "with the sentence “Answer with a JSON object.”",
        "the service rejects JSON mode without the word JSON in the messages",
    ),
    "partial of Client": Difference(
        "input.messages[].partial", NONE, "`true`", "the SDK's Client drops it in the compatible protocol"
    ),
    "parameters of the other protocol": Difference(
        "parameters.search_options.enable_source",
        "sent, or dropped",
        "raises ConfigurationError",
        "the compatible protocol does not return sources",
    ),
    # retrieval and uploads
    "no parameters": Difference("parameters", "`{}`", NONE, "only what the caller set is sent"),
    "flat rerank": Difference(
        "path, input.*, parameters.*, query, documents.*, top_n",
        "the native endpoint",
        "the path /compatible-api/v1/reranks",
        "the vendor's reference lists this endpoint for qwen3-rerank",
    ),
    "stored name": Difference(
        "form key, form file.filename, input.messages[].content[].image",
        "the name of the file",
        "a random name with its ending",
        "a name can be used once in a policy, and need not be known to the store",
    ),
    "file type": Difference("form file.type", "not stated", '`"image/png"`', "x-oss-content-type is the same in both"),
    "accept of the store": Difference(
        "header accept", '`"application/json"`', '`"*/*"`', "the store answers with an empty body, or XML"
    ),
}

ANSWERS = {
    "zero usage": Difference(
        "usage.input_tokens, usage.output_tokens, usage.characters", "`0`", NONE, "a count that was not sent is unknown"
    ),
    "invalid call": Difference(
        "invalid.*",
        NONE,
        "the reason why a call must not run",
        "the SDK does not parse arguments; `invalid_tool_calls` has such calls here",
    ),
    "generated id": Difference(
        "choices[].tool_calls[].id", NONE, "an id of random letters", "a call without an id cannot be answered"
    ),
    "null arguments": Difference(
        "raises, choices.*, usage.*, request_id",
        "raises an exception",
        "reads the call",
        "null adds nothing to a call",
    ),
    "log probabilities": Difference(
        "choices[].logprobs.*",
        "on the events, not on the last",
        "those of the whole answer",
        "the last event has no log probabilities of its own",
    ),
    "usage after the end": Difference(
        "choices[].finish_reason", NONE, '`"stop"`', "the SDK's last response is that of the usage"
    ),
    "end mark": Difference(
        "error.*", "a response with status 400", NONE, "`[DONE]` ends streams of the compatible protocol"
    ),
    "lines of data": Difference(
        "error.*, choices.*, usage.*, request_id",
        "a response with status 400 for each line",
        "one event",
        "the standard on server-sent events joins the lines",
    ),
    "not JSON": Difference(
        "error.*",
        "a response with status 400, and the next events",
        "ProtocolError",
        "text would be missing inside the answer",
    ),
    "typed error": Difference("error.type", NONE, "the class of the exception", "the SDK returns a response"),
    "proxy page": Difference("error.code", '`"Unknown"`', NONE, "a code that was not sent is unknown"),
    "status of events": Difference(
        "error.status", "`400`", "`429`", "the event states its status, and a throttled request can be repeated"
    ),
    "error in 200": Difference(
        "raises, error.*, request_id", "raises TypeError", "ServerError with the code", "the body says what failed"
    ),
    "cut": Difference(
        "error.*", NONE, "StreamTruncatedError with `partial`", "half an answer must not look like a whole one"
    ),
    "cut inside": Difference(
        "error.*", "a response with status 400", "StreamTruncatedError with `partial`", "as above"
    ),
    "search": Difference(
        "search_info.*",
        NONE,
        "as sent",
        "sources come in the first event, and the SDK's last response has those of the last",
    ),
    # of the newer Client only
    "image results": Difference("ocr_result.*", NONE, "as sent", "Client joins the texts of the parts"),
    "usage of two answers": Difference(
        "usage.output_tokens, usage.total_tokens",
        "of the last event",
        "the sum over the answers",
        "an event counts one answer; the older classes sum them, too",
    ),
    "other classes": Difference(
        "error.type",
        "BadRequestError, InternalServerError, APIStatusError",
        "ContextLengthError, ServerError",
        "finer, or another name; the other classes of the tested errors have the same names",
    ),
    "status of the head": Difference(
        "error.status", "`200`", "the status of the event", "Client takes the status of the HTTP head"
    ),
    "part before an error": Difference(
        "choices.*, usage.*", NONE, "in `partial`", "what was received need not be lost"
    ),
    "whole instead of a stream": Difference(
        "raises, choices.*, usage.*, request_id",
        "raises SSEError",
        "reads the answer",
        "a gateway may send a whole answer; the older classes read it, too",
    ),
}

SETTINGS = {
    "region": Difference(
        "DASHSCOPE_REGION",
        "Beijing if not set",
        "Singapore if not set",
        "keys of the international site are not valid in Beijing",
    ),
    "workspace": Difference(
        "DASHSCOPE_WORKSPACE",
        "in the host name",
        "a header on the shared hosts; in the host name where a region has no shared host",
        "the shared hosts serve keys of every workspace",
    ),
    "base URL": Difference(
        "DASHSCOPE_BASE_URL", "used as it is", "with the path of the protocol", "one URL then works for each protocol"
    ),
    "files of settings": Difference(
        "~/.dashscope",
        "api_key and config.toml are read",
        "not read",
        "settings come from arguments and the environment",
    ),
    "dropped connection": Difference(
        "max_retries",
        "sends the request again, once",
        "`max_retries` times, not at all for 0",
        "the service may have begun to answer, and bill, the first request",
    ),
    "throttled": Difference(
        "max_retries",
        "not repeated; by Client, twice",
        "repeated, twice by default",
        "a throttled request was not processed",
    ),
    "forbidden retries": Difference(
        "header x-should-retry", "obeyed by Client", "not read", "no recorded answer of the service has it"
    ),
    "timeout": Difference(
        "timeout", "sent in the body by the classes", "seconds without data", "it is not a parameter of the service"
    ),
}


PAGES: dict[str, dict[str, Mapping[str, Any]]] = {
    "docs/vendor-sdk.md": {"Requests": REQUESTS, "Connection and settings": SETTINGS},
    "docs/vendor-sdk-answers.md": {"Answers": ANSWERS},
}
"""The tables of each page, by heading."""


def tables(page: str) -> str:
    """Return the tables of a page."""
    return "\n".join(_lines(page)).rstrip() + "\n"


def _lines(page: str) -> Iterator[str]:
    for title, rows in PAGES[page].items():
        yield from (f"## {title}", "", "| difference | where | SDK | here | reason |", "|---|---|---|---|---|")
        for name, row in rows.items():
            where = ", ".join(f"`{place}`" for place in row.where.split(", "))
            yield f"| {name} | {where} | {row.sdk} | {row.ours} | {row.reason} |"
        yield ""
