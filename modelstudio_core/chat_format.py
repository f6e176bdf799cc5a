"""Count the input tokens of a request: its messages, tools and settings in Qwen's chat format.

Each turn is `<|im_start|>role\\n...<|im_end|>\\n`, and the answer starts with `<|im_start|>assistant\\n`. The rules are
those of Qwen's published chat template. Where the service differs from it, they follow the `prompt_tokens` of requests
to qwen-turbo, qwen-plus and qwen-max recorded from 2024 to 2026:

- Adjacent messages of one role are one turn, joined by a newline. A final assistant message is the start of the
  answer, with or without `partial`.
- Tool schemas and arguments are parsed and serialized again, with sorted keys and unescaped non-ASCII text.
- The tags of thoughts, calls and results are one token each, at any position.
- JSON mode adds 2 tokens and a forced tool choice 3 (recorded for "required").

Images, video, audio and the text added for built-in tools are not counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby

from modelstudio_core.built_in_tools import built_in_name
from modelstudio_core.catalogue import ModelInfo
from modelstudio_core.history import prepare_history
from modelstudio_core.policies import may_think, plan
from modelstudio_core.tokens import TokenEstimate, count_tokens, has_qwen_vocabulary, has_tokenizer
from modelstudio_core.tools import inline_tool, tool_name
from modelstudio_core.types import ChatRequest, FunctionCall, Message, TextPart

_MARKS = 3  # <|im_start|>, <|im_end|> and the newline
_CLOSED_THOUGHT = 4  # <think>, </think> and the blank lines after each
_JSON_MODE = 2
_FORCED_CHOICE = 3
_TOOLS = 77  # text around the tool schemas, starting with "# Tools": 35 tokens before and 42 after
# Qwen-Agent's English text for parallel calls around the tool descriptions: 12 tokens before and 141 after, plus 10
# unexplained tokens in the recorded counts
_QWEN_AGENT_TOOLS = 163
_RETURN = "\n✿RETURN✿: "
_TAG = re.compile("(</?(?:tool_call|tool_response|think)>)")

_Turns = list[tuple[str, str]]


def count_request(request: ChatRequest, model: ModelInfo, *, text_only: bool = False) -> int:
    """Return the number of input tokens of a request, or 0 if there is nothing to send.

    The request is counted after `history.prepare_history` and the policies, but with the caller's tool choice. The
    count is a `TokenEstimate` if it may differ from the service's.

    Args:
        request: the request.
        model: the capabilities of its model.
        text_only: whether the endpoint accepts only text; see `history.is_text_only`.

    Raises:
        ConfigurationError: for a combination that the service is documented to reject.
    """
    messages = prepare_history(request.messages, model, text_only=text_only).messages
    if not messages:
        return 0
    request = replace(request, tools=tuple(tool for tool in request.tools if built_in_name(tool) is None))
    sent = plan(replace(request, messages=messages), model, stream=True).request
    extra = _JSON_MODE if (sent.response_format or {}).get("type") in ("json_object", "json_schema") else 0
    if request.tools and request.tool_choice not in (None, "auto", "none"):
        extra += _FORCED_CHOICE
    uses_qwen_agent = bool(sent.tools) and model.tools_format == "qwen-agent"
    turns, around_tools = _qwen_agent(sent) if uses_qwen_agent else _hermes(sent)
    starts_answer = turns[-1][0] == "assistant"
    if not starts_answer:
        turns.append(("assistant", ""))
    total = sum(_count(f"{role}\n{text}", sent.model) + _MARKS for role, text in turns)
    total += around_tools + extra - 2  # the turn of the answer has no end mark
    if model.closed_thought == "always" or (model.closed_thought is None and _thinking_is_off(sent, model)):
        total += _CLOSED_THOUGHT
    reason = _why_estimated(replace(sent, tool_choice=request.tool_choice), model)
    return TokenEstimate(total, reason) if reason else total


def _thinking_is_off(request: ChatRequest, model: ModelInfo) -> bool:
    return model.is_hybrid and not may_think(request, model)


def _count(text: str, model: str) -> int:
    parts = _TAG.split(text)  # tags are at odd positions
    return len(parts) // 2 + sum(count_tokens(part, model) for part in parts[::2] if part)


def _why_estimated(request: ChatRequest, model: ModelInfo) -> str | None:
    """Return why the count may differ from the service's, or None if recorded requests confirm it."""
    name = request.model
    reasons = {
        "the extra 'tokenizer' is not installed": not has_tokenizer(name),
        f"the vocabulary of {name} is unknown": not has_qwen_vocabulary(name),
        "images, video and audio are not counted": any(map(_has_media, request.messages)),
        "the text added by web search is not counted": bool(request.parameters.get("enable_search")),
        f"the text around the tools of {name} is not completely known": bool(request.tools)
        and model.tools_format == "qwen-agent",
        "the tokens of a named tool choice are unknown": isinstance(request.tool_choice, Mapping),
        "the tokens of a JSON schema are unknown": (request.response_format or {}).get("type") == "json_schema",
        f"there are no recorded requests to {name}": model.closed_thought is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _has_media(message: Message) -> bool:
    return not isinstance(message.content, str) and any(not isinstance(part, TextPart) for part in message.content)


# ---------------------------------------------------------------- Qwen's chat template


def _hermes(request: ChatRequest) -> tuple[_Turns, int]:
    """Return the turns in the format of Qwen's chat template, and the tokens of the text around the tools."""
    turns = _merged((message.role, _content(message)) for message in request.messages)
    turns = [("user" if role == "tool" else role, text) for role, text in turns]
    if not request.tools:
        return turns, 0
    schemas = "".join(_json(inline_tool(tool)) + "\n" for tool in request.tools)
    return _with_tools(turns, schemas), _TOOLS


def _content(message: Message) -> str:
    text = _text(message)
    if message.role == "tool":
        return f"<tool_response>\n{text}\n</tool_response>"
    thought = f"<think>\n{message.reasoning_content}\n</think>\n\n" if message.reasoning_content else ""
    calls = [
        f'<tool_call>\n{{"name": {_json(call.name)}, "arguments": {_arguments(call)}}}\n</tool_call>'
        for call in message.tool_calls
    ]
    return thought + "\n".join([text, *calls] if text else calls)


# ---------------------------------------------------------------- Qwen-Agent's format


def _qwen_agent(request: ChatRequest) -> tuple[_Turns, int]:
    """Return the turns in Qwen-Agent's format, and the tokens of the text around the tools.

    Calls and their results are in one assistant turn. Source: `qwen_fncall_prompt.py` of Qwen-Agent 0.0.34.
    """
    turns: _Turns = []
    for assistant, group in groupby(request.messages, lambda message: message.role in ("assistant", "tool")):
        if assistant:
            turns.append(("assistant", _agent_turn(group)))
        else:
            turns += _merged((message.role, _text(message)) for message in group)
    descriptions = "\n\n".join(
        "### {name}\n\n{name}: {description} Parameters: {parameters} Format the arguments as a JSON object.".format(
            name=tool_name(tool),
            description=tool["function"].get("description", ""),
            parameters=_json(inline_tool(tool)["function"].get("parameters", {})),
        )
        for tool in request.tools
    )
    return _with_tools(turns, f"{descriptions}\n\n [{','.join(map(tool_name, request.tools))}"), _QWEN_AGENT_TOOLS


def _agent_turn(messages: Iterable[Message]) -> str:
    """Return answers, calls and results as one assistant turn."""
    turn = ""
    for message in messages:
        text = _text(message)
        if message.role == "tool":
            turn = f"{turn.removesuffix(_RETURN)}\n✿RESULT✿: {text}{_RETURN}"
            continue
        turn += text
        for call in message.tool_calls:
            turn += f"{chr(10) if turn else ''}✿FUNCTION✿: {call.name}\n✿ARGS✿: {_arguments(call)}"
    return turn[:-2] if turn.endswith(_RETURN) else turn  # the answer continues after the mark


# ---------------------------------------------------------------- text


def _with_tools(turns: _Turns, tools: str) -> _Turns:
    """Return the turns with the tools in the system turn, which is added if there is none.

    The text around the tools is omitted. No token spans its edges, because they are newlines.
    """
    first_role, system = turns[0]
    if first_role != "system":
        return [("system", tools), *turns]
    return [("system", f"{system}\n\n{tools}"), *turns[1:]]


def _merged(turns: Iterable[tuple[str, str]]) -> _Turns:
    return [(role, "\n".join(text for _, text in group)) for role, group in groupby(turns, lambda turn: turn[0])]


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content if isinstance(part, TextPart))


def _arguments(call: FunctionCall) -> str:
    return _json(json.loads(call.arguments))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
