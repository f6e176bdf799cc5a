"""The known differences from the vendor's SDK, with their reasons. docs/vendor-sdk.md shows the same tables.

`where` is a place, or several with commas; `.*` includes all below. `sdk` and `ours` are the two values: NONE where
there is none, JSON in backticks if it is exactly that, words otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

NONE = "-"
ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """A place in requests or answers where the SDK and the core differ on purpose."""

    where: str
    sdk: str
    ours: str
    reason: str

    def explains(self, place: str, theirs: Any, mine: Any) -> bool:
        """Return True if a difference found at `place` is this one."""
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


def table(rows: Mapping[str, Difference], first: str) -> Iterable[str]:
    """Yield the lines of a table of the page."""
    yield f"| {first} | SDK | here | reason |"
    yield "|---|---|---|---|"
    for row in rows.values():
        yield f"| `{row.where}` | {row.sdk} | {row.ours} | {row.reason} |"


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
        "header x-dashscope-sse, header accept, parameters.incremental_output",
        "as set by the caller",
        "streams, also for whole answers",
        "a model that is not in the catalogue may think, and thinking may require a stream; `streaming=False` stops it",
    ),
    "thinking off": Difference(
        "parameters.enable_thinking",
        NONE,
        "`false`",
        "a forced tool, JSON mode and partial mode are rejected while a model thinks; not if the caller enabled thinking",
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
