"""Encode the input lines of a batch job and decode its result lines, with the codec of live requests. Pure.

Line formats and limits: the vendor's Batch File API page (October 2026). Where its sources differ, both forms are read.
Everything except the messages is encoded once for all lines with the same settings.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from json.encoder import encode_basestring
from typing import Any, Final, TypeAlias

from pydantic_core import from_json

from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.errors import ConfigurationError, ModelStudioError, ProtocolError
from modelstudio_core.policies import Plan
from modelstudio_core.protocols.accumulate import fold
from modelstudio_core.protocols.codec import as_integer, as_string, read_object
from modelstudio_core.protocols.errors import error_of_object, is_error_object
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.protocols.plain import plain_answer
from modelstudio_core.types import ChatRequest, ChatResult, Message, ResponseHead

MAX_LINES: Final = 50_000
MAX_FILE_BYTES: Final = 500_000_000
MAX_LINE_BYTES: Final = 6_000_000
_SAFE_LINE_BYTES = 1_000_000  # one version of the English page has this limit, all others 6 MB
TEST_MODEL: Final = "batch-test-model"
"""Model that answers every line with a fixed text, free of charge; at most 100 lines and 1 MB per file."""
_TEST_LINES, _TEST_BYTES = 100, 1_000_000
_CHAT, _TEST = "/v1/chat/completions", "/v1/chat/ds-test"
_THINKING = ("enable_thinking", "thinking", "reasoning_effort", "stream")  # equal for all lines of a file
_MAX_TEMPLATES = 256
_MAX_CHOICES = 16  # more than any model returns
_OK = 200

logger = logging.getLogger("modelstudio_core")

Settings: TypeAlias = Mapping[str, Any]
ToRequest: TypeAlias = Callable[[tuple[Message, ...], Settings], tuple[ChatRequest, ModelInfo]]
"""Returns the request for the messages and settings of one input."""
ToPlan: TypeAlias = Callable[[ChatRequest, ModelInfo], Plan]
"""Applies the policies of live requests."""

_codec = OpenAICodec()
_ANY_REQUEST = ChatRequest(model="", messages=(), n=_MAX_CHOICES)
_PROBE = (Message("user", ""),)
_NO_SETTINGS: Settings = {}
_EXHAUSTED: Settings = {}


# ---------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that may share a file: same endpoint, model and thinking mode. `key` is JSON of the last two."""

    key: str
    endpoint: str
    max_lines: int
    max_bytes: int

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Group:
        """Return the group of a line with this body."""
        thinking = {name: body[name] for name in _THINKING if name in body}
        key = json.dumps([body["model"], thinking], sort_keys=True)
        return cls.of_file(key, _TEST if body["model"] == TEST_MODEL else _CHAT)

    @classmethod
    def of_file(cls, key: str, endpoint: str) -> Group:
        """Return the group of a file with this key and endpoint."""
        limits = (_TEST_LINES, _TEST_BYTES) if endpoint == _TEST else (MAX_LINES, MAX_FILE_BYTES)
        return cls(key, endpoint, *limits)


Line: TypeAlias = tuple[bytes, Group]
"""An input line without its newline, and its group."""


class LineWriter:
    """Encode the lines of a job. Lines with only system and user texts use a template for their settings."""

    def __init__(self, to_request: ToRequest, to_plan: ToPlan) -> None:
        self._to_request = to_request
        self._to_plan = to_plan
        self._templates: dict[Any, _Template] = {}
        self._last: tuple[Settings, _Template] | None = None

    def line(self, position: int, messages: tuple[Message, ...], settings: Settings | None) -> Line:
        """Return the line of one input. Raises ConfigurationError with the position if it cannot be sent."""
        try:
            template = self._template(settings or _NO_SETTINGS)
            line = template.line(position, messages)
        except ModelStudioError as error:
            raise error_at(position, error) from None
        size = len(line[0])
        if size > MAX_LINE_BYTES:
            raise ConfigurationError(
                f"prompts[{position}] makes a line of {size} bytes, and the service accepts {MAX_LINE_BYTES}: shorten "
                "it, or pass media by URL. Nothing was uploaded"
            )
        if size > _SAFE_LINE_BYTES:
            logger.warning(
                "Model Studio: prompts[%d] makes a line of %d bytes, which the service may reject", position, size
            )
        return line

    def request(self) -> dict[str, Any]:
        """Return the body of a line without messages: the settings of all inputs."""
        body = dict(self._template(_NO_SETTINGS).body)
        del body["messages"]
        return body

    def _template(self, settings: Settings) -> _Template:
        if self._last is not None and (settings is self._last[0] or settings == self._last[0]):
            return self._last[1]
        key: Any
        try:
            key = frozenset(settings.items())
            template = self._templates.get(key)
        except TypeError:  # lists and dicts are not hashable
            key = template = None
        if template is None:
            template = _Template(*self._to_request(_PROBE, settings), self._to_plan)
            if key is not None:
                if len(self._templates) >= _MAX_TEMPLATES:
                    self._templates.clear()
                self._templates[key] = template
        self._last = (settings if settings is _NO_SETTINGS else _deep_copy(settings), template)
        return template


def _deep_copy(value: Any) -> Any:
    """Copy dicts and lists at any depth, because the caller may change them."""
    if isinstance(value, Mapping):
        return {name: _deep_copy(item) for name, item in value.items()}
    return [_deep_copy(item) for item in value] if isinstance(value, list) else value


def input_lines(
    prompts: Iterable[Any],
    settings: Iterable[Settings | None] | None,
    writer: LineWriter,
    to_messages: Callable[[Any], tuple[Message, ...]],
) -> Iterator[Line]:
    """Yield the lines of all inputs. Raises ConfigurationError with the position of one that cannot be sent."""
    own = None if settings is None else iter(settings)
    position = -1
    for position, prompt in enumerate(prompts):
        setting = None if own is None else next(own, _EXHAUSTED)
        if setting is _EXHAUSTED:
            raise ConfigurationError(
                f"settings= has {position} entries, but there are more prompts: pass one per prompt"
            )
        if not isinstance(setting, Mapping | None):
            raise ConfigurationError(f"settings[{position}]={setting!r:.80} must be a mapping of parameters or None")
        try:
            messages = to_messages(prompt)
        except ModelStudioError as error:
            raise error_at(position, error) from None
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:  # raised by the frameworks
            raise ConfigurationError(f"prompts[{position}] cannot be sent: {error}") from error
        yield writer.line(position, messages, setting)
    if own is not None and next(own, _EXHAUSTED) is not _EXHAUSTED:
        raise ConfigurationError(f"settings= has more entries than the {position + 1} prompts")


def error_at(position: int, error: ModelStudioError) -> ModelStudioError:
    """Prefix the message of `error` with the position of its input."""
    error.message = f"prompts[{position}]: {error.message}"
    error.args = (error.message,)
    return error


class _Template:
    """Template for lines with the same settings: the request, and the encoded text around its messages."""

    def __init__(self, request: ChatRequest, model: ModelInfo, to_plan: ToPlan) -> None:
        if request.options.headers is not None:
            raise ConfigurationError("extra_headers: the lines of a batch job cannot have headers")
        if request.model == TEST_MODEL:
            request = replace(request, streaming=False)
        elif request.streaming:  # applies to live calls; lines stream only if the model thinks
            request = replace(request, streaming=None)
        self._request, self._model, self._to_plan = request, model, to_plan
        self.body, self._group, text = self._encoded(_PROBE)
        messages = b'"messages":[{"role":"user","content":""}]'
        before, found, after = text.partition(messages)
        # JSON mode depends on the text of the messages
        self._is_plain = bool(found) and (request.response_format or {}).get("type") != "json_object"
        url = encode_basestring(self._group.endpoint)
        self._before = f'","method":"POST","url":{url},"body":{before.decode()}"messages":['
        self._after = f"]{after.decode()}}}"

    def line(self, position: int, messages: tuple[Message, ...]) -> Line:
        if self._is_plain and (texts := _plain_texts(messages)) is not None:
            line = f'{{"custom_id":"{position}{self._before}{texts}{self._after}'
            try:
                return line.encode(), self._group
            except UnicodeEncodeError:
                pass  # an unpaired surrogate, for which the codec raises an error
        _, group, text = self._encoded(messages)
        head = f'{{"custom_id":"{position}","method":"POST","url":{encode_basestring(group.endpoint)},"body":'
        return head.encode() + text + b"}", group

    def _encoded(self, messages: tuple[Message, ...]) -> tuple[dict[str, Any], Group, bytes]:
        planned = self._to_plan(replace(self._request, messages=messages), self._model)
        text = _codec.encode_body(planned.request, stream=planned.stream)
        body = from_json(text)
        return body, Group.of(body), text


def _plain_texts(messages: Sequence[Message]) -> str | None:
    """Return the JSON of the messages if they have only system and user texts, otherwise None."""
    texts = []
    for message in messages:
        content = message.content
        if type(content) is not str or not content or message.name is not None or message.partial:
            return None
        if message.role == "user":
            texts.append(f'{{"role":"user","content":{encode_basestring(content)}}}')
        elif message.role == "system" and not content.isspace():
            texts.append(f'{{"role":"system","content":{encode_basestring(content)}}}')
        else:
            return None
    return ",".join(texts) or None


# ---------------------------------------------------------------- reading


ResultLine: TypeAlias = tuple[int, ModelStudioError | None]
"""The position of an input, and its error if it failed."""

UNPROCESSED: Final = frozenset({"batch_expired", "batch_cancelled", "batch_without_result"})
"""Our codes for unprocessed inputs that can be submitted again. Inputs with "batch_failed" cannot."""


def result_line(data: bytes) -> ResultLine | None:
    """Return the position and error of a result line, or None for an empty line.

    Lines in the form of the vendor's sample are recognized by their start and end; others are decoded. Raises
    ProtocolError if `custom_id` is not a position.
    """
    start = _ANSWERED(data)
    if start is not None and data.endswith(_WITHOUT_ERROR) and _FINISHED in data:
        return int(start[1]), None
    if not data.strip():
        return None
    value = read_object(data)
    id = value.get("custom_id")
    if not isinstance(id, str) or not id.isascii() or not id.isdigit():
        raise ProtocolError(f"unknown custom_id {id!r:.80}")
    try:
        _answer(value)
    except ModelStudioError as error:
        return int(id), error
    return int(id), None


_ANSWERED = re.compile(rb'\{"id":"[^"\\]*","custom_id":"(\d{1,18})","response":\{"status_code":200,').match
_WITHOUT_ERROR = (b',"error":null}\n', b',"error":null}')
_FINISHED = b'"finish_reason":"'


def read_usage(data: bytes) -> tuple[int, ...]:
    """Return the input, output, total, reasoning and cached tokens of an answer; 0 if unknown."""
    found = read_answer(data)
    usage = None if isinstance(found, ModelStudioError) else found.usage
    if usage is None:
        return (0,) * 5
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.reasoning_tokens,
        usage.cached_tokens,
    )
    return tuple(count or 0 for count in counts)


def read_answer(data: bytes) -> ChatResult | ModelStudioError:
    """Return the answer or the error of a result line."""
    try:
        value = from_json(data)
        response = value["response"]
        if response["status_code"] == _OK and not value.get("error"):
            result = plain_answer(response["body"], response.get("request_id"))
            if result is not None:
                return result
    except (LookupError, TypeError, ValueError, AttributeError):
        pass  # decoded below, which gives a precise error
    try:
        return _answer(read_object(data))
    except ModelStudioError as error:
        return error.without_frames()


def _answer(value: Mapping[str, Any]) -> ChatResult:
    """Return the answer of a line, or raise its error. Raises ProtocolError if it has neither.

    The vendor shows no failed line. These forms are accepted: an error object with the keys of the field table or of
    the vendor's script, a status other than 200, and an error in the body.
    """
    response = value.get("response")
    response = response if isinstance(response, dict) else {}
    body = response.get("body")
    status = as_integer(response.get("status_code"))
    id = as_string(response.get("request_id"))
    head = ResponseHead(status or _OK, {} if id is None else {"x-request-id": id})
    error = value.get("error")
    if is_error_object({"error": error}):
        details = error if isinstance(error, Mapping) else {"message": str(error)}
        failure = error_of_object({"error": _standard_keys(details)}, _status(status), head)
        failure.is_retryable = failure.is_retryable or failure.code in UNPROCESSED
        raise failure
    if isinstance(body, dict) and (status in (None, _OK)) and not is_error_object(body):
        return fold(_codec.decode_object(_ANY_REQUEST, head, body))
    if isinstance(body, dict) and body:
        raise error_of_object(body, _status(status), head)
    if status is not None and status >= 400:
        raise error_of_object({"message": str(body or "")}, status, head)
    raise ProtocolError(f"a result line has neither an answer nor an error: {dict(value)!r:.200}")


def _standard_keys(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error object with the keys of the field table. The vendor's script reads `error_code`."""
    names = {"error_code": "code", "error_message": "message"}
    return {names.get(name, name): item for name, item in error.items()}


def _status(status: int | None) -> int | None:
    """Return the status if it is an HTTP error, otherwise None."""
    return status if status is not None and status >= 400 else None


def unprocessed_line(position: int, code: str, reason: str) -> bytes:
    """Return a result line for an input that the service did not process."""
    return json.dumps(
        {"custom_id": str(position), "response": None, "error": {"code": code, "message": reason}}, ensure_ascii=False
    ).encode()
