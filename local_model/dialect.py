"""Convert requests of Model Studio's OpenAI-compatible protocol to llama.cpp's. Inputs are never changed.

Fields follow Model Studio's OpenAI-compatible chat page. Malformed values are passed on, so that llama.cpp reports
the error. An image, video or audio raises InvalidRequest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_model.options import Options
from local_model.retrieval import InvalidRequest
from local_model.schemas import bounded

TEXT_ONLY = "the local model reads text only"
_CHARACTERS_PER_TOKEN = 4
_MAX_REASONING_CHARACTERS = 2000  # longer repetitions make llama.cpp's grammars slow
REASONING_ONLY = "root ::= [^<]+"
_NOT_FOR_REASONING = frozenset(
    (
        "n",
        "stop",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "response_format",
    )
)
_END_OF_REASONING = 5  # tokens of the end mark "</think>" and the two line ends after it
_THINKING_NAMES = ("think", "reason", "qwq", "qvq", "deepseek-r1")
_ONLY_MODEL_STUDIO = frozenset(
    (
        "audio",
        "clear_thinking",
        "enable_code_interpreter",
        "enable_search",
        "enable_thinking",
        "metadata",
        "modalities",
        "ocr_options",
        "preserve_thinking",
        "reasoning_effort",
        "repetition_penalty",
        "search_options",
        "skill",
        "thinking",
        "thinking_budget",
        "tool_stream",
        "translation_options",
        "vl_high_resolution_images",
    )
)


def to_llama(body: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Return a chat request for llama.cpp. `body` is the JSON object of the original request."""
    request = {name: value for name, value in body.items() if name not in _ONLY_MODEL_STUDIO}
    kwargs = dict(request["chat_template_kwargs"]) if isinstance(request.get("chat_template_kwargs"), dict) else {}
    thinks, budget = _thinking(body, options)
    _sampling(request, body)
    if isinstance(body.get("messages"), list):
        request["messages"] = [_message(message) for message in body["messages"]]
    if _is_partial(body):
        thinks = False  # the service supports partial mode only without thinking
        kwargs["open_answer"] = True
        request["add_generation_prompt"] = False
    forced = _tools(request, options)
    if forced:
        kwargs["force_tool"] = True
    kwargs["enable_thinking"] = thinks
    kwargs.setdefault("preserve_thinking", body.get("preserve_thinking") is True)
    schema = _response_format(request, options)
    if schema and not thinks:
        kwargs["no_thought"] = True  # else llama.cpp's grammar allows reasoning before the JSON
    if thinks:
        request["thinking_budget_tokens"] = budget
        if not forced and _is_count(request.get("max_tokens")):
            request["max_tokens"] += budget + _END_OF_REASONING  # max_tokens counts the answer, not the reasoning
        if not schema and not forced and (not request.get("tools") or request.get("tool_choice") == "none"):
            request.setdefault("grammar", reasoning_then_answer(budget))
            request["thinking_budget_tokens"] = -1
    request["chat_template_kwargs"] = kwargs
    return request


def reasoning_then_answer(budget: int) -> str:
    """Return a grammar for reasoning of about `budget` tokens, the end mark, and a non-empty answer.

    SmolLM2 is not trained to think, and would end its turn inside the reasoning. The grammar sets the limit, because
    llama.cpp's own budget inserts the end mark outside the grammar, which then may fail.
    """
    longest = min(budget * _CHARACTERS_PER_TOKEN, _MAX_REASONING_CHARACTERS)
    return rf'root ::= [^<]{{1,{longest}}} "</think>\n\n" [^< \n] [^<]*'


def reasoning_request(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the request for the reasoning before a forced call, or None if `call` needs none.

    llama.cpp's grammar for a forced call allows unlimited text before the call, which a small model never ends. So
    the reasoning is requested separately, with a limit and streamed, before the call. `call` is a result of `to_llama`.
    """
    kwargs = call["chat_template_kwargs"]
    if not (kwargs.get("force_tool") and kwargs["enable_thinking"]):
        return None
    alone = {name: value for name, value in call.items() if name not in _NOT_FOR_REASONING}
    budget = call["thinking_budget_tokens"]
    return alone | {
        "stream": True,
        "stream_options": {"include_usage": True},
        "grammar": REASONING_ONLY,
        "max_tokens": budget,
        "max_completion_tokens": budget,
        "thinking_budget_tokens": -1,
        "chat_template_kwargs": kwargs | {"force_tool": False},
    }


def with_reasoning(call: Mapping[str, Any], reasoning: str) -> dict[str, Any]:
    """Return `call` with the answer to `reasoning_request(call)` as its prefix."""
    return {**call, "chat_template_kwargs": {**call["chat_template_kwargs"], "thought": reasoning.strip()}}


@dataclass(slots=True)
class Thought:
    """The reasoning of an answer. `before` is its number of tokens if it was requested before the answer, else 0."""

    text: str = ""
    before: int = 0

    def read(self, content: Mapping[str, Any]) -> None:
        """Add the reasoning of a chunk or of a whole response."""
        for choice in content.get("choices") or ():
            self.text += (choice.get("delta") or choice.get("message") or {}).get("reasoning_content") or ""

    def read_before(self, chunk: Mapping[str, Any]) -> bool:
        """Add a chunk of the answer to `reasoning_request`. Return True if it belongs to the whole answer, too."""
        self.read(chunk)
        self.before = (chunk.get("usage") or {}).get("completion_tokens", self.before)
        return any(choice.get("finish_reason") is None for choice in chunk.get("choices") or ())


def opens_again(chunk: Mapping[str, Any]) -> bool:
    """Return True for a chunk with the role or with reasoning, both of which were sent before a forced call."""
    deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or ()]
    return any("role" in delta or delta.get("reasoning_content") for delta in deltas)


def counted(content: dict[str, Any], tokens: int, before: int = 0) -> dict[str, Any]:
    """Return a response or chunk whose usage has the reasoning tokens, as the service's has.

    `before` of them were requested before; llama.cpp counts them as part of the prompt, the service as output.
    """
    usage = content.get("usage")
    if not tokens or not usage:
        return content
    prompt, completion = usage["prompt_tokens"] - before, usage["completion_tokens"] + before
    cached = min(prompt, (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0))
    changes = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": min(tokens, completion)},
    }
    return {**content, "usage": {**usage, **changes}}


def _thinking(body: Mapping[str, Any], options: Options) -> tuple[bool, int]:
    requested, effort, budget = body.get("enable_thinking"), body.get("reasoning_effort"), options.budget
    if _is_count(body.get("thinking_budget")):
        budget = min(budget, body["thinking_budget"])  # leaves tokens for the answer
    if isinstance(requested, bool):
        thinks = requested
    elif isinstance(effort, str):
        thinks = effort != "none"  # "none" is the documented alias of enable_thinking=false
    elif options.thinking == "auto":
        name = str(body.get("model", "")).lower()
        thinks = any(mark in name for mark in _THINKING_NAMES)
    else:
        thinks = options.thinking == "on"
    return thinks and budget > 0, budget


def _sampling(request: dict[str, Any], body: Mapping[str, Any]) -> None:
    if body.get("repetition_penalty") is not None:
        request["repeat_penalty"] = body["repetition_penalty"]
    if "top_k" in body and (body["top_k"] is None or (_is_count(body["top_k"]) and body["top_k"] > 100)):
        request["top_k"] = 0  # Model Studio: null or more than 100 disables it; llama.cpp: 0 does


def _message(message: Any) -> Any:
    """Return a message without `partial`, with a list of text parts joined to a string."""
    if not isinstance(message, dict):
        return message
    request = {name: value for name, value in message.items() if name != "partial"}
    parts = message.get("content")
    other = next((part["type"] for part in parts if _is_other(part)), None) if isinstance(parts, list) else None
    if other is not None:
        raise InvalidRequest(f"{TEXT_ONLY}, not {other:.40}")
    if isinstance(parts, list) and parts and all(_is_text(part) for part in parts):
        request["content"] = "".join(part["text"] for part in parts)
    return request


def _tools(request: dict[str, Any], options: Options) -> bool:
    """Apply the tool choice, and bound string lengths in the schemas, in place. Return True if a call is forced."""
    tools, choice = request.get("tools"), request.get("tool_choice")
    if not isinstance(tools, list) or not tools:
        return False
    if isinstance(choice, dict):
        chosen = [tool for tool in tools if _name(tool) is not None and _name(tool) == _name(choice)]
        tools, choice = (chosen, "required") if chosen else (tools, choice)
    elif options.force_auto and choice in (None, "auto"):
        choice = {"user": "required", "tool": "none"}.get(_last_role(request), choice)
    if choice == "any":
        choice = "required"
    if choice is not None:
        request["tool_choice"] = choice
    request["tools"] = [_bounded_tool(tool, options) for tool in tools]
    if request.get("parallel_tool_calls") is None:
        request["parallel_tool_calls"] = False  # Model Studio's default
    return choice == "required"


def _bounded_tool(tool: Any, options: Options) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or "parameters" not in function:
        return tool
    parameters = bounded(function["parameters"], options.max_string)
    return {**tool, "function": {**function, "parameters": parameters}}


def _response_format(request: dict[str, Any], options: Options) -> bool:
    """Bound string lengths in the schema of `response_format`, in place. Return True if the answer must be JSON."""
    response_format = request.get("response_format")
    if not isinstance(response_format, dict):
        return False
    named = response_format.get("json_schema")
    if response_format.get("type") == "json_object":
        response_format = {
            **response_format,
            "schema": bounded(response_format.get("schema", {"type": "object"}), options.max_string),
        }
    elif isinstance(named, dict) and "schema" in named:
        response_format = {
            **response_format,
            "json_schema": {**named, "schema": bounded(named["schema"], options.max_string)},
        }
    request["response_format"] = response_format
    return bool(response_format.get("type", "text") != "text")


def _name(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _last(body: Mapping[str, Any]) -> Mapping[str, Any]:
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return last if isinstance(last, dict) else {}


def _last_role(body: Mapping[str, Any]) -> str:
    return str(_last(body).get("role"))


def _is_partial(body: Mapping[str, Any]) -> bool:
    return _last_role(body) == "assistant" and _last(body).get("partial") is True


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _is_other(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("type"), str) and part["type"] != "text"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
