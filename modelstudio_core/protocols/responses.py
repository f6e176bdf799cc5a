"""The Responses protocol of Model Studio: `POST {base}/responses`.

Sources: the vendor's Responses API reference and guide (October 2026), and for undocumented behaviour, exchanges with
the service recorded by third parties. Differences from the OpenAI-compatible protocol:
- an answer is a list of items (reasoning, messages, calls). In a stream, the events of an item have its ID. Their
  `output_index` is wrong in the vendor's own samples, so it is ignored;
- a stream has no `[DONE]`: `response.completed`, `response.incomplete` or `response.failed` is its last event;
- with HTTP status 200, a stream may consist of `response.created` and `response.failed`;
- the arguments of a function call may arrive in deltas, or only with the finished item;
- the service runs built-in tools itself. Their calls and results are in the extras "server_tools" and "search_info".

`modelstudio_core.protocols.responses_requests` encodes requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelstudio_core.errors import APIStatusError, ModelStudioError, ProtocolError
from modelstudio_core.protocols.assembler import DeltaWriter
from modelstudio_core.protocols.codec import as_string, read_json
from modelstudio_core.protocols.decoding import EventStreamDecoder, NotAnAnswer, decode_response
from modelstudio_core.protocols.errors import error_of_object, error_of_response, request_id_of
from modelstudio_core.protocols.responses_requests import encode
from modelstudio_core.protocols.usage import first_count, read_count, read_details, total_of
from modelstudio_core.types import ChatRequest, Delta, ResponseHead, Usage, WireCall

_TEXT_DELTA = "response.output_text.delta"
_OUTPUT_DELTAS: dict[str, Callable[[DeltaWriter, int, Any], None]] = {
    _TEXT_DELTA: DeltaWriter.text,
    "response.refusal.delta": DeltaWriter.refusal,
    "response.reasoning_text.delta": DeltaWriter.reasoning,
    "response.reasoning_summary_text.delta": DeltaWriter.reasoning,  # OpenAI's name
}
_REASONING_DELTAS = frozenset(kind for kind, write in _OUTPUT_DELTAS.items() if write is DeltaWriter.reasoning)
_MESSAGE_DELTAS = _OUTPUT_DELTAS.keys() - _REASONING_DELTAS
_ARGUMENTS_DELTA = "response.function_call_arguments.delta"
_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_FAILED = ("failed", "incomplete", "cancelled")  # states of a built-in tool's item
# fields of a tool item: its arguments, its output
_ARGUMENT_FIELDS, _OUTPUT_FIELDS = ("code", "goal", "urls", "queries", "server_label"), ("output", "outputs", "results")


class ResponsesCodec:
    """Codec of the Responses protocol; see `modelstudio_core.protocols.codec.Codec`."""

    def encode(self, request: ChatRequest, *, stream: bool) -> WireCall:
        """Return the HTTP request. Raises ConfigurationError for parameters that the service would reject or ignore."""
        return encode(request, stream=stream)

    def decode(self, request: ChatRequest, head: ResponseHead, body: bytes) -> list[Delta]:
        """Return the deltas of a whole response."""
        return decode_response(DeltaWriter(1, read_usage), body, head, _Reader(request))

    def stream(self, request: ChatRequest, head: ResponseHead, *, max_event_bytes: int) -> EventStreamDecoder:
        """Return a decoder for one streamed response."""
        return EventStreamDecoder(DeltaWriter(1, read_usage), head, max_event_bytes, _Reader(request))

    def error(self, head: ResponseHead, body: bytes) -> ModelStudioError:
        """Return the typed error for a response whose status is not 2xx."""
        return error_of_response(head, body)


class _Item:
    """State of the items with one ID, which reasoning and a message may share.

    Attributes:
        call: index of the function call.
        streamed: event types of the deltas so far.
        done: types of the items that are complete.
    """

    __slots__ = ("call", "done", "streamed")

    def __init__(self) -> None:
        self.call: int | None = None
        self.streamed: set[str] = set()
        self.done: set[Any] = set()


class _Reader:
    """Read the events of one stream, or one whole response."""

    __slots__ = ("_calls", "_items", "_others", "_sources", "_stored", "_text_item", "_tools")

    def __init__(self, request: ChatRequest) -> None:
        self._stored = request.parameters.get("store") is not False  # otherwise its ID cannot be continued
        self._items: dict[str, _Item] = {}
        self._text_item: Any = None  # ID of the message being streamed
        self._calls = 0
        self._tools: dict[str, dict[str, Any]] = {}
        self._sources: list[dict[str, Any]] = []
        self._others: list[Any] = []

    def __call__(self, writer: DeltaWriter, value: Mapping[str, Any], head: ResponseHead) -> None:
        kind = value.get("type")
        # most events are text of the same message as before: the IDs are equal, and not None
        if kind == _TEXT_DELTA and value.get("item_id") == self._text_item is not None:
            writer.text(0, value.get("delta"))
        elif kind is None:
            self._whole(writer, value, head)
        elif not isinstance(kind, str) or not kind.startswith("response."):
            raise NotAnAnswer(f"the service sent an event that is not part of an answer: {value!r:.200}")
        else:
            self._event(writer, kind, value, head)

    def _event(self, writer: DeltaWriter, kind: str, value: Mapping[str, Any], head: ResponseHead) -> None:
        writer.begin(0)
        if isinstance(response := value.get("response"), dict):
            self._response(writer, response, head, kind.removeprefix("response.") if kind in _LAST else None)
        elif kind in _OUTPUT_DELTAS:
            item = self._item(value.get("item_id"), value)
            # reasoning may be sent twice: in full, and as a summary. Only what came first is kept
            if kind in _MESSAGE_DELTAS or not item.streamed & (_REASONING_DELTAS - {kind}):
                item.streamed.add(kind)
                _OUTPUT_DELTAS[kind](writer, 0, value.get("delta"))
            if kind == _TEXT_DELTA:
                self._text_item = value.get("item_id")
        elif kind == _ARGUMENTS_DELTA:
            item = self._item(value.get("item_id"), value)
            item.streamed.add(kind)
            self._call(writer, item, {"arguments": value.get("delta")})
        elif kind in ("response.output_item.added", "response.output_item.done"):
            self._output_item(writer, value.get("item"), value, done=kind.endswith("done"))
        elif kind == "response.output_text.annotation.added":
            self._cite(writer, [value.get("annotation")])

    def _item(self, id: Any, value: Mapping[str, Any]) -> _Item:
        key = as_string(id) or f"#{value.get('output_index')}"
        return self._items.setdefault(key, _Item())

    # ---------------------------------------------------------------- a response

    def _whole(self, writer: DeltaWriter, value: Mapping[str, Any], head: ResponseHead) -> None:
        if "output" not in value and "usage" not in value:
            raise NotAnAnswer(f"the service sent an object with neither output nor usage nor error: {value!r:.200}")
        writer.begin(0)
        self._response(writer, value, head, as_string(value.get("status")) or "")

    def _response(self, writer: DeltaWriter, response: Mapping[str, Any], head: ResponseHead, end: str | None) -> None:
        """Read a response object. In a stream, the first one has the ID, and the last one the usage and status.

        `end` is the final status, or None if the response is not complete.
        """
        id = response.get("id")
        if not writer.has_response:
            request_id = request_id_of(head, response)
            writer.response(id, request_id, response.get("model"), response.get("created_at"), None)
        if end is None:
            return
        output = response.get("output")
        if not isinstance(output, list | None):
            raise ProtocolError(f"output is not a list but {output!r:.100}")
        seen = self._items.copy()
        # read all items of a whole response; in a stream, those that it left incomplete
        for position, item in enumerate(output or ()):
            known = seen.get(str(item.get("id"))) if isinstance(item, dict) else None
            if not seen or (known is not None and item.get("type") not in known.done):
                self._output_item(writer, item, {"output_index": position}, done=True)
        if usage := response.get("usage"):
            writer.usage(usage)
        if end == "failed":
            raise _failure(response, head)
        if self._stored and as_string(id):
            writer.extra("response_id", as_string(id))
        if end == "completed":
            writer.finish(0, "tool_calls" if self._calls else "stop")
        elif end == "incomplete":
            reason = read_details(response, "incomplete_details").get("reason")
            writer.finish(0, reason if reason == "content_filter" else "length")
        # "cancelled" is listed in the reference without an explanation: the answer counts as truncated

    # ---------------------------------------------------------------- items

    def _output_item(self, writer: DeltaWriter, value: Any, event: Mapping[str, Any], *, done: bool) -> None:
        if not isinstance(value, dict):
            raise ProtocolError(f"an output item is not an object but {value!r:.100}")
        kind, item = as_string(value.get("type")) or "", self._item(value.get("id"), event)
        if done:
            item.done.add(kind)
        if kind == "function_call":
            arguments = value.get("arguments") if done and _ARGUMENTS_DELTA not in item.streamed else None
            call = {"id": value.get("call_id"), "name": value.get("name"), "arguments": arguments}
            self._call(writer, item, call)
        elif kind == "message":
            if done:
                self._message(writer, value, item)
        elif kind == "reasoning":
            if done and not item.streamed & _REASONING_DELTAS:
                writer.reasoning(0, value.get("content") or value.get("summary"))
        elif kind.endswith("_call"):
            self._server_tool(writer, kind.removesuffix("_call"), value, done=done)
        elif done:
            self._others.append(value)
            writer.extra("other_items", [*self._others])

    def _call(self, writer: DeltaWriter, item: _Item, call: Mapping[str, Any]) -> None:
        if item.call is None:
            item.call, self._calls = self._calls, self._calls + 1
        function = {"name": call.get("name"), "arguments": call.get("arguments")}
        writer.tool_calls(0, [{"index": item.call, "id": call.get("id"), "function": function}])

    def _message(self, writer: DeltaWriter, value: Mapping[str, Any], item: _Item) -> None:
        content = value.get("content") or ()
        if content and not item.streamed & _MESSAGE_DELTAS:
            writer.text(0, content)
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and part.get("annotations"):
                self._cite(writer, part["annotations"])

    def _server_tool(self, writer: DeltaWriter, name: str, value: Mapping[str, Any], *, done: bool) -> None:
        """Read the item of a built-in tool: first when it starts, then with its output."""
        id = as_string(value.get("id")) or f"{name}_{len(self._tools)}"
        tool: dict[str, Any] = {"id": id, "name": name, "args": _tool_arguments(value), "status": "in_progress"}
        if done:
            failed = value.get("status") in _FAILED or bool(value.get("error"))
            tool |= {"status": "error" if failed else "success", "output": _tool_output(value)}
            self._cite(writer, _sources(value))
        self._tools[id] = tool
        writer.extra("server_tools", [*self._tools.values()])

    def _cite(self, writer: DeltaWriter, sources: Any) -> None:
        """Add sources without duplicates, in the format of the native protocol."""
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict):
                fields = {name: item for name, item in source.items() if name != "type" and item not in (None, "")}
                if fields and fields not in self._sources:
                    self._sources.append(fields)
        if self._sources:
            writer.extra("search_info", {"search_results": [*self._sources]})


def _tool_arguments(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a built-in tool."""
    action = {k: v for k, v in read_details(item, "action").items() if k not in ("type", "sources")}
    found = {name: item[name] for name in _ARGUMENT_FIELDS if item.get(name)}
    if isinstance(arguments := _parsed(item.get("arguments")), dict):
        found |= arguments
    elif arguments:
        found["arguments"] = arguments
    return action | found | ({"name": item["name"]} if item.get("server_label") and item.get("name") else {})


def _tool_output(item: Mapping[str, Any]) -> Any:
    """Return the output or the error of a built-in tool, or None."""
    if error := item.get("error"):
        return error
    if sources := read_details(item, "action").get("sources"):
        return sources
    return next((_parsed(item[name]) for name in _OUTPUT_FIELDS if item.get(name)), None)


def _parsed(value: Any) -> Any:
    """Return the value of a JSON text. Other values are unchanged."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return read_json(value.encode("utf-8", "surrogatepass"))
        except ProtocolError:
            pass
    return value


def _sources(item: Mapping[str, Any]) -> list[Any]:
    """Return the sources of a search: pages with URL, or files with name and matching text."""
    found = item.get("results") if item.get("type") == "file_search_call" else None
    files = [
        {"title": result.get("filename"), "cited_text": result.get("text"), "file_id": result.get("file_id"),
         "score": result.get("score")}
        for result in (found if isinstance(found, list) else ()) if isinstance(result, dict)
    ]  # fmt: skip
    pages = read_details(item, "action").get("sources")
    return files + (pages if isinstance(pages, list) else [])


# ---------------------------------------------------------------- errors and usage


def _failure(response: Mapping[str, Any], head: ResponseHead) -> APIStatusError:
    """Return the typed error of a failed response."""
    error = dict(read_details(response, "error")) or {"message": "the response failed without an error message"}
    return error_of_object({"error": error, "request_id": request_id_of(head, response)}, None, head)


def is_lost_response(error: ModelStudioError, id: str) -> bool:
    """Return True if the service no longer has the response `id`, which it keeps for seven days.

    The error is not documented, so any 400 or 404 that mentions a response or the ID counts.
    """
    is_rejection = isinstance(error, APIStatusError) and error.status_code in (400, 404, None)
    text = f"{error.code} {error.message}"
    return is_rejection and not error.is_retryable and ("response" in text.lower() or id in text)


def read_usage(usage: Mapping[str, Any]) -> Usage:
    """Return the counts of a `usage` object, with vendor-specific ones from `x_details`."""
    input_details = read_details(usage, "input_tokens_details")
    output_details = read_details(usage, "output_tokens_details")
    details = usage.get("x_details")
    more = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    cached = read_details(more, "input_tokens_details")
    input_tokens, output_tokens = read_count(usage, "input_tokens"), read_count(usage, "output_tokens")

    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total_of(usage, input_tokens, output_tokens),
        reasoning_tokens=read_count(output_details, "reasoning_tokens"),
        cached_tokens=first_count("cached_tokens", input_details, cached),
        cache_creation_tokens=first_count("cache_creation_input_tokens", input_details, cached),
        input_text_tokens=read_count(input_details, "text_tokens"),
        input_image_tokens=first_count("image_tokens", input_details, more),
        input_video_tokens=read_count(input_details, "video_tokens"),
        input_audio_tokens=read_count(input_details, "audio_tokens"),
        output_text_tokens=read_count(output_details, "text_tokens"),
        output_audio_tokens=read_count(output_details, "audio_tokens"),
        raw=usage,
    )
