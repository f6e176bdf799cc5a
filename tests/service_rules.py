"""The requests that Model Studio rejects: return the error for a request, or None if it is valid.

Each rule has a source: the vendor's error page or parameter reference, or an error that users reported. Rules that no
source states are omitted (unknown parameters, several system messages, empty tool results), and so are those that
recorded traffic contradicts (a tool named "search", a call without content).

Both protocols are supported. Facts about models come from the raw data of catalogue.json, independently of the code.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tests.loopback import Received
from tests.native import is_native

CATALOGUE = files("modelstudio_core").joinpath("catalogue.json")
COMPATIBLE_PATH = "/compatible-mode/v1/chat/completions"
NATIVE_PATHS = {
    f"/api/v1/services/aigc/{name}/generation": name for name in ("text-generation", "multimodal-generation")
}
ROLES = ("system", "user", "assistant", "tool")
PARTS = {"text": "text", "image_url": "image_url", "video_url": "video_url", "video": "video", "input_audio": "audio"}
NATIVE_PARTS = ("text", "image", "video", "audio")
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
STRINGS_ONLY = ("qwen-long", "qwen-doc-turbo")
"""Models whose content has to be a string (CherryHQ/cherry-studio#2813)."""
THINKS_IN_JSON = "qwen3.8"
"""The reference's own example sets json_object and enable_thinking together on qwen3.8-max; elsewhere it is a 400."""


@dataclass(frozen=True)
class Refusal:
    """An error of the service."""

    message: str
    status: int = 400
    code: str = "invalid_parameter_error"

    def body(self, *, native: bool) -> dict[str, Any]:
        """Return the error in the format of the protocol."""
        if native:
            code = "InvalidParameter" if self.code == "invalid_parameter_error" else self.code
            return {"code": code, "message": self.message, "request_id": "refused"}
        error = {"message": self.message, "type": "invalid_request_error", "param": None, "code": self.code}
        return {"error": error, "request_id": "refused"}


@dataclass(frozen=True)
class Request:
    """A request of either protocol.

    Attributes:
        parameters: everything but model and messages.
        endpoint: the native endpoint, None for the compatible protocol.
        streams: whether a stream is requested.
        facts: the catalogue's facts about the model, {} if unknown.
    """

    model: str
    messages: list[dict[str, Any]]
    parameters: Mapping[str, Any]
    endpoint: str | None
    streams: bool
    facts: Mapping[str, Any]

    @property
    def thinks(self) -> bool:
        """Return True if the model thinks on this request."""
        kind = self.facts.get("thinking")
        if kind in ("only", "none"):
            return kind == "only"
        asked = self.parameters.get("enable_thinking")
        return kind == "hybrid-default-on" if asked is None else bool(asked)


def refusal(request: Received) -> Refusal | None:
    """Return the service's error for a request, or None."""
    read = parse(request)
    if isinstance(read, Refusal):
        return read
    for rule in RULES:
        for message in rule(read):
            return Refusal(message)
    return None


def parse(request: Received) -> Request | Refusal:
    """Read a request of either protocol."""
    native = is_native(request)
    if request.path not in NATIVE_PATHS and request.path != COMPATIBLE_PATH:
        return Refusal(f"Not found: {request.path}", 404, "not_found")
    try:
        body = request.json()
    except ValueError:
        return Refusal("Required body invalid, please check the request body format.")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return Refusal("you must provide a model parameter")
    messages = body.get("input", {}).get("messages") if native else body.get("messages")
    if not isinstance(messages, list) or not messages:
        return Refusal("[] is too short - 'messages'")
    parameters = body.get("parameters", {}) if native else body
    streams = request.headers.get("x-dashscope-sse") == "enable" if native else bool(body.get("stream"))
    facts = catalogue().get(body["model"], {})
    return Request(body["model"], messages, parameters, NATIVE_PATHS.get(request.path), streams, facts)


@functools.cache
def catalogue() -> dict[str, dict[str, Any]]:
    """Return the known facts of each model by ID."""
    return {model["id"]: model for model in json.loads(CATALOGUE.read_text(encoding="utf-8"))["models"]}


Found = Iterator[str]
Rule = Callable[[Request], Found]


def endpoint(request: Request) -> Found:
    """A model is available at one of the two native endpoints."""
    known = request.facts.get("native_endpoint")
    if request.endpoint and known not in (None, request.endpoint):
        yield "url error, please check url！"


def roles(request: Request) -> Found:
    """Roles are valid, and one message is from the user."""
    for at, message in enumerate(request.messages):
        if message.get("role") not in ROLES:
            yield f"{message.get('role')!r} is not one of {list(ROLES)!r} - 'messages.{at}.role'"
    if not any(message["role"] == "user" for message in request.messages):
        yield "messages must contain a user message"


def contents(request: Request) -> Found:
    """Content is not empty, and has a valid form and parts that the model accepts."""
    for at, message in enumerate(request.messages):
        content = message.get("content")
        if not isinstance(content, (str, list)):
            if not message.get("tool_calls"):
                yield f"The content field is a required field. - 'messages.{at}'"
            continue
        if is_empty(content) and message["role"] != "tool" and not message.get("tool_calls"):
            yield "Role must be user or assistant and Content length must be greater than 0"
        if isinstance(content, list) and (
            request.endpoint == "text-generation" or request.model.startswith(STRINGS_ONLY)
        ):
            yield "input content must be a string."
        for part in content if isinstance(content, list) else ():
            yield from part_of(request, part)


def is_empty(content: str | list[Any]) -> bool:
    """Return True for empty content."""
    return not content or (isinstance(content, list) and all(part in ({"text": ""}, _EMPTY) for part in content))


_EMPTY = {"type": "text", "text": ""}


def part_of(request: Request, part: Any) -> Found:
    """A part is supported by the protocol and the model. Media are URLs or data URIs."""
    if not isinstance(part, dict):
        yield "Input should be a valid dictionary: messages.content"
        return
    if request.endpoint:
        kind = next((name for name in NATIVE_PARTS if name in part), None)
    else:
        kind = PARTS.get(part.get("type", ""))
    if kind is None or (kind == "text" and not isinstance(part.get("text"), str)):
        yield f"Unexpected item type in content: {part.get('type', sorted(part))}"
        return
    kind = kind.removesuffix("_url")
    if kind != "text" and request.facts.get(f"input_{kind}") is False:
        yield f"Unexpected item type in content: the model {request.model} reads no {kind}"
    if not request.endpoint and kind == "audio":
        data = part["input_audio"].get("data", "")
        if not data.startswith(("data:", "http://", "https://", "oss://")):
            yield "The provided URL does not appear to be valid. Ensure it is correctly formatted."


def calls(request: Request) -> Found:
    """Each call is valid and answered by the next messages. Each tool message answers a call."""
    open_calls: list[str] = []
    for message in request.messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in open_calls:
                yield 'messages with role "tool" must be a response to a preceeding message with "tool_calls".'
                return
            open_calls.remove(message["tool_call_id"])
            continue
        if open_calls:
            break
        for call in message.get("tool_calls") or ():
            yield from call_of(call)
            open_calls.append(call["id"])
    if open_calls:
        yield (
            'An assistant message with "tool_calls" must be followed by tool messages responding to each '
            f'"tool_call_id". The following tool_call_ids did not have response messages: {", ".join(open_calls)}'
        )


def call_of(call: dict[str, Any]) -> Found:
    """A call has an ID, a name, and arguments that are a JSON object (QwenLM/qwen-code, nanobot#1487)."""
    function = call.get("function") or {}
    if not isinstance(call.get("id"), str) or not call["id"] or not function.get("name"):
        yield "A tool call needs its id and the name of its function - 'messages.tool_calls'"
    arguments = function.get("arguments")
    try:
        is_object = isinstance(arguments, str) and isinstance(json.loads(arguments), dict)
    except ValueError:
        is_object = False
    if not is_object:
        yield 'The "function.arguments" parameter of the code model must be in JSON format.'


def ending(request: Request) -> Found:
    """The last message is not a complete answer."""
    last = request.messages[-1]
    if last["role"] == "assistant" and not last.get("partial"):
        yield "The last message must be from the user, or a prefix to continue (partial)"
    if last["role"] == "assistant" and request.thinks:
        yield "Partial mode is not supported when enable_thinking is true"


def tools(request: Request) -> Found:
    """Tools are functions with valid names, and the model supports the tool choice."""
    offered = request.parameters.get("tools")
    if offered == []:
        yield "[] is too short - 'tools'"
    names = [tool.get("function", {}).get("name", "") for tool in offered or ()]
    for name in names:
        if not TOOL_NAME.fullmatch(name):
            yield f"{name!r} does not match '^[a-zA-Z0-9_-]{{1,64}}$' - 'tools.function.name'"
    choice = request.parameters.get("tool_choice", "auto")
    if choice in ("auto", "none") or (choice == "required" and request.facts.get("required_tool_choice")):
        return
    if isinstance(choice, str) or request.thinks:
        yield 'tool_choice is one of the strings that should be ["none", "auto"]'
    elif choice.get("function", {}).get("name") not in names:
        yield f"tool_choice names a function that is not among the tools: {choice}"


def thinking(request: Request) -> Found:
    """Thinking is supported, within its budget, and streamed if the model requires that."""
    asked, budget = request.parameters.get("enable_thinking"), request.parameters.get("thinking_budget")
    if asked is False and request.facts.get("thinking") == "only":
        yield "The value of the enable_thinking parameter is restricted to True."
    if budget is not None and not (isinstance(budget, int) and 0 < budget <= request.facts.get("max_cot", budget)):
        yield "The thinking_budget parameter must be a positive integer and not greater than the model's limit"
    if budget is not None and "reasoning_effort" in request.parameters and request.model.startswith("qwen3.8"):
        yield "reasoning_effort and thinking_budget cannot be set together"
    if request.streams:
        return
    if request.facts.get("streaming_only"):
        yield "This model only support stream mode, please enable the stream parameter to access the model."
    if request.facts.get("thinking_requires_stream") and request.thinks:
        yield "parameter.enable_thinking must be set to false for non-streaming calls"


def streaming(request: Request) -> Found:
    """Stream parameters are sent with streams only. The native protocol thinks only with incremental output."""
    if not request.endpoint and not request.streams and "stream_options" in request.parameters:
        yield "The stream_options parameter is only allowed when stream is enabled."
    if not request.streams and "audio" in request.parameters.get("modalities", ()):
        yield "'audio' output only support with stream=true"
    if request.endpoint and (request.thinks or request.parameters.get("tools")):
        if request.parameters.get("result_format") != "message":
            yield 'The result_format parameter must be "message" when enable_thinking is true or tools are used'
        if request.streams and request.thinks and not request.parameters.get("incremental_output"):
            yield 'The incremental_output parameter must be "true" when enable_thinking is true'


def json_mode(request: Request) -> Found:
    """JSON mode requires the word and no thinking. A schema has a name, and a model that supports schemas."""
    wanted = request.parameters.get("response_format") or {"type": "text"}
    kind = wanted.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        yield f"Unknown format of response_format: {kind}"
    if kind == "json_object":
        said = json.dumps([message["content"] for message in request.messages if message["role"] in ("system", "user")])
        if "json" not in said.lower():
            yield "'messages' must contain the word 'json' in some form, to use 'response_format'."
        if request.thinks and not request.model.startswith(THINKS_IN_JSON):
            yield "Json mode response is not supported when enable_thinking is true"
    if kind == "json_schema":
        schema = wanted.get("json_schema", {})
        if not TOOL_NAME.fullmatch(schema.get("name", "")) or not isinstance(schema.get("schema"), dict):
            yield "Unknown format of response_format, json_schema needs a name and a schema"
        if request.facts.get("json_schema") is False:
            yield f"Unknown format of response_format: {request.model} has no json_schema"


def ranges(request: Request) -> Found:
    """Numbers are within the documented ranges."""
    given = request.parameters
    if not 0 <= given.get("temperature", 0) < 2:
        yield "Temperature should be in [0.0, 2.0)"
    if not 0 < given.get("top_p", 1) <= 1:
        yield "Range of top_p should be (0.0, 1.0]"
    if not -2 <= given.get("presence_penalty", 0) <= 2:
        yield "Range of presence_penalty should be [-2.0, 2.0]"
    if not 0 <= given.get("seed", 0) < 2**63:
        yield "Range of seed should be [0, 9223372036854775807]"
    limit = request.facts.get("max_output", 2**63)
    if not 1 <= given.get("max_tokens", 1) <= limit:
        yield f"Range of max_tokens should be [1, {limit}]"
    if not 1 <= given.get("n", 1) <= 4 or (given.get("n", 1) > 1 and given.get("tools")):
        yield "Range of n should be [1, 4], and n must be 1 when tools are used"


def translation(request: Request) -> Found:
    """Qwen-MT takes one user message and no tools."""
    if request.model.startswith("qwen-mt"):
        if len(request.messages) != 1:
            yield "Role must be user, and there must be one message"
        if request.parameters.get("tools"):
            yield "The tool call is not supported."


RULES: tuple[Rule, ...] = (
    endpoint,
    roles,
    contents,
    calls,
    ending,
    tools,
    thinking,
    streaming,
    json_mode,
    ranges,
    translation,
)
