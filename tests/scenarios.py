"""Scenarios of the cassettes as data, run the same way sync and async, recorded and played.

Scenarios with `local` options are recorded from the local model. Those with a `page` are written from that page of the
vendor, because the local model cannot produce them. `make record` also records from Model Studio what can be provoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import Runnable
from pydantic import BaseModel, Field

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import (
    AuthenticationError,
    BadRequestError,
    ContentFilterError,
    ContextLengthError,
    ModelStudioError,
    NotFoundError,
)

# ---------------------------------------------------------------- what is offered to the model


class get_weather(BaseModel):
    """Gives the weather in a city."""

    city: str = Field(description="name of the city")


class City(BaseModel):
    """A city and how many people live there."""

    name: str = Field(description="name of the city")
    millions: int = Field(description="inhabitants in millions")


TOOL_RESULT = "It is 21 degrees and sunny."
STEADY: Mapping[str, Any] = {"temperature": 0, "seed": 1}
THINKING: Mapping[str, Any] = {"enable_thinking": True, "thinking_budget": 24}


# ---------------------------------------------------------------- a scenario and how it is run


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One conversation with a model.

    Attributes:
        name: the name of its cassette.
        shows: what holds, in one sentence, which its test asserts.
        kind: the method of the model.
        messages: the conversation so far.
        model: arguments of ChatModelStudio.
        tools, choice: bound to the model; a call is answered with TOOL_RESULT.
        schema, method: for structured output.
        fails: the expected error.
        turns: number of calls; before each but the first, the answer and tool results are added.
        local: options of the local model; None if it cannot produce the answer.
        page: the vendor's page on which a documented cassette is based.
        provoked: whether Model Studio can be made to give this answer.
    """

    name: str
    shows: str
    kind: Literal["invoke", "stream"]
    messages: tuple[BaseMessage, ...]
    model: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Any, ...] = ()
    choice: str | None = None
    schema: type[BaseModel] | None = None
    method: Literal["json_schema", "function_calling", "json_mode"] | None = None
    fails: type[ModelStudioError] | None = None
    turns: int = 1
    local: Mapping[str, Any] | None = None
    page: str | None = None
    provoked: bool = True

    def chat_model(self, **connection: Any) -> ChatModelStudio:
        """Return the model for `connection`."""
        return ChatModelStudio(**{"model": "qwen-plus", **STEADY, **self.model, **connection})

    def runnable(self, llm: ChatModelStudio) -> Runnable[Any, Any]:
        """Return the model with its bindings."""
        if self.schema is not None:
            return llm.with_structured_output(self.schema, method=self.method, include_raw=True)
        return llm.bind_tools(self.tools, tool_choice=self.choice) if self.tools else llm

    def next_turn(self, outcomes: Sequence[Outcome]) -> list[BaseMessage] | None:
        """Return the messages of the call after `outcomes`, or None at the end."""
        if len(outcomes) == self.turns or any(outcome.error for outcome in outcomes):
            return None
        messages = [*self.messages]
        for outcome in outcomes:
            answer = outcome.message
            messages += [answer, *(ToolMessage(TOOL_RESULT, tool_call_id=call["id"]) for call in answer.tool_calls)]
        return messages


@dataclass(slots=True)
class Outcome:
    """The result of one call: a value or chunks, and the error that ended it."""

    value: Any = None
    chunks: list[AIMessageChunk] = field(default_factory=list)
    error: ModelStudioError | None = None

    @property
    def message(self) -> AIMessage:
        """Return the answer: the sum of the chunks of a stream, or the raw message of structured output."""
        if self.chunks:
            return reduce(add, self.chunks)
        answer: AIMessage = self.value["raw"] if isinstance(self.value, dict) else self.value
        return answer


def run(scenario: Scenario, llm: ChatModelStudio) -> list[Outcome]:
    """Run all calls of the scenario, in order."""
    outcomes: list[Outcome] = []
    runnable = scenario.runnable(llm)
    while (messages := scenario.next_turn(outcomes)) is not None:
        outcome = Outcome()
        outcomes.append(outcome)
        try:
            if scenario.kind == "stream":
                for chunk in runnable.stream(messages):
                    outcome.chunks.append(chunk)
            else:
                outcome.value = runnable.invoke(messages)
        except ModelStudioError as error:
            outcome.error = error
    return outcomes


async def arun(scenario: Scenario, llm: ChatModelStudio) -> list[Outcome]:
    """Async version of `run`."""
    outcomes: list[Outcome] = []
    runnable = scenario.runnable(llm)
    while (messages := scenario.next_turn(outcomes)) is not None:
        outcome = Outcome()
        outcomes.append(outcome)
        try:
            if scenario.kind == "stream":
                async for chunk in runnable.astream(messages):
                    outcome.chunks.append(chunk)
            else:
                outcome.value = await runnable.ainvoke(messages)
        except ModelStudioError as error:
            outcome.error = error
    return outcomes


# ---------------------------------------------------------------- the scenarios

_HELLO = (HumanMessage("Say hello to Ada in one short sentence."),)
_WEATHER = (
    SystemMessage("You tell the weather in one short sentence."),
    HumanMessage("What is the weather like in Hangzhou?"),
)
_CITY = (HumanMessage("Hangzhou has 12 million inhabitants."),)
_FORCED: Mapping[str, Any] = {"tools": (get_weather,), "choice": "get_weather"}

RECORDED = (
    Scenario(
        name="plain_invoke",
        shows="An answer comes whole, with its text, usage and finish reason, and nothing is sent but what was set.",
        kind="invoke",
        messages=_HELLO,
        local={},
    ),
    Scenario(
        name="plain_stream",
        shows="An answer comes event by event, and its usage and finish reason on the last chunk alone.",
        kind="stream",
        messages=_HELLO,
        local={},
    ),
    Scenario(
        name="thinking_stream",
        shows="The reasoning streams before the answer and is never part of its text.",
        kind="stream",
        messages=_HELLO,
        model=THINKING,
        local={},
    ),
    Scenario(
        name="thinking_invoke",
        shows="Under invoke the wire streams while the model thinks, and the message holds reasoning and answer.",
        kind="invoke",
        messages=_HELLO,
        model=THINKING,
        local={},
    ),
    Scenario(
        name="tool_call_invoke",
        shows="A forced call names its function on the wire and comes whole.",
        kind="invoke",
        messages=_WEATHER,
        **_FORCED,
        local={},
    ),
    Scenario(
        name="tool_call_stream",
        shows="The arguments of a forced call come in fragments that join to one call.",
        kind="stream",
        messages=_WEATHER,
        **_FORCED,
        local={},
    ),
    Scenario(
        name="tool_loop",
        shows="A call and its tool's result go back with the call's id, and the answer follows.",
        kind="invoke",
        messages=_WEATHER,
        tools=(get_weather,),
        turns=2,
        local={"force_auto": True},
    ),
    Scenario(
        name="tool_loop_thinking",
        shows="In a tool loop the reasoning before the call goes back as reasoning_content, outside the content.",
        kind="invoke",
        messages=_WEATHER,
        model={"enable_thinking": True, "thinking_budget": 12},
        tools=(get_weather,),
        turns=2,
        local={"force_auto": True},
    ),
    Scenario(
        name="structured_json_schema",
        shows="The schema goes out as response_format, and the answer's text is parsed into it.",
        kind="invoke",
        messages=_CITY,
        model={"model": "qwen3.7-plus", "enable_thinking": False},
        schema=City,
        method="json_schema",
        local={"model_name": "qwen3.7-plus"},
    ),
    Scenario(
        name="structured_function_calling",
        shows="The schema goes out as a forced function, and the call's arguments are parsed into it.",
        kind="invoke",
        messages=_CITY,
        schema=City,
        method="function_calling",
        local={},
    ),
    Scenario(
        name="cut_call_invoke",
        shows="A call that max_tokens cut is an invalid call with its raw text, never a call.",
        kind="invoke",
        messages=_WEATHER,
        model={"max_tokens": 18},
        **_FORCED,
        local={},
    ),
    Scenario(
        name="cut_call_stream",
        shows="A streamed call that max_tokens cut is an invalid call with its raw text, never a call.",
        kind="stream",
        messages=_WEATHER,
        model={"max_tokens": 18},
        **_FORCED,
        local={},
    ),
    Scenario(
        name="cut_answer_invoke",
        shows="An answer that max_tokens cut says so by the finish reason length.",
        kind="invoke",
        messages=_HELLO,
        model={"max_tokens": 5},
        local={},
    ),
    Scenario(
        name="cut_answer_stream",
        shows="A streamed answer that max_tokens cut says so by the finish reason length.",
        kind="stream",
        messages=_HELLO,
        model={"max_tokens": 5},
        local={},
    ),
)

_LONG_SYSTEM = (
    {"type": "text", "text": "You are the guide of the West Lake museum.", "cache_control": {"type": "ephemeral"}},
)

DOCUMENTED = (
    Scenario(
        name="json_mode",
        shows="JSON mode puts the missing word json into the messages and switches a hybrid's thinking off.",
        kind="invoke",
        messages=(HumanMessage("Hangzhou has 12 million inhabitants. Give name and millions."),),
        model={"model": "qwen3.6-plus"},
        schema=City,
        method="json_mode",
        page="Structured output",
    ),
    Scenario(
        name="thinking_usage",
        shows="Reasoning tokens and cached tokens of a thinking stream are told apart in its usage.",
        kind="stream",
        messages=_HELLO,
        model={"enable_thinking": True, "thinking_budget": 64},
        page="Deep thinking",
    ),
    Scenario(
        name="cache_creation",
        shows="A cache mark goes out on its content part, and the tokens that were put into the cache are counted.",
        kind="invoke",
        messages=(SystemMessage(list(_LONG_SYSTEM)), HumanMessage("When does it open?")),
        page="Context cache",
        provoked=False,  # a text that is long enough for the cache would fill the cassette
    ),
    Scenario(
        name="parallel_calls_stream",
        shows="Fragments of two calls join by index, however often an id is repeated or left empty.",
        kind="stream",
        messages=(HumanMessage("What is the weather like in Hangzhou and in Suzhou?"),),
        model={"parallel_tool_calls": True},
        tools=(get_weather,),
        page="Function calling",
    ),
    Scenario(
        name="error_in_stream",
        shows="An error event ends the stream with a typed error, after the text that came before it.",
        kind="stream",
        messages=_HELLO,
        fails=ContentFilterError,
        page="Error messages",
        provoked=False,
    ),
    Scenario(
        name="wrong_key",
        shows="A 401 is an authentication error that says where the key was sent, and is not tried again.",
        kind="invoke",
        messages=_HELLO,
        fails=AuthenticationError,
        page="Error messages",
        provoked=False,  # not while the key is right
    ),
    Scenario(
        name="unknown_model",
        shows="A 404 is a not-found error with the service's code, and is not tried again.",
        kind="invoke",
        messages=_HELLO,
        model={"model": "qwen-no-such-model", "enable_thinking": False},
        fails=NotFoundError,
        page="Error messages",
    ),
    Scenario(
        name="throttled",
        shows="A 429 is waited for and asked again, and the answer is the second one's.",
        kind="invoke",
        messages=_HELLO,
        page="Error messages",
        provoked=False,
    ),
    Scenario(
        name="context_length",
        shows="A 400 that names the input's length is a context overflow, and is not tried again.",
        kind="invoke",
        messages=_HELLO,
        fails=ContextLengthError,
        page="Error messages",
        provoked=False,  # the text would fill the cassette
    ),
)

_PICTURE = "https://dashscope.oss-cn-beijing.aliyuncs.com/images/dog_and_girl.jpeg"

# by the native protocol, which the local model does not speak
NATIVE = (
    Scenario(
        name="native_invoke",
        shows="A whole answer by the native protocol: all but model and messages is in `parameters`, and nothing else.",
        kind="invoke",
        messages=_HELLO,
        model={"protocol": "dashscope"},
        page="DashScope API reference",
    ),
    Scenario(
        name="native_thinking_stream",
        shows="Reasoning, then text; usage is on every event and handed on once, and no event ends the stream.",
        kind="stream",
        messages=_HELLO,
        model={"protocol": "dashscope", "enable_thinking": True, "thinking_budget": 64},
        page="Deep thinking",
    ),
    Scenario(
        name="native_search_stream",
        shows="The sources of a search come once, and are the citations of the text.",
        kind="stream",
        messages=(HumanMessage("What is the weather like in Hangzhou?"),),
        model={
            "protocol": "dashscope",
            "enable_search": True,
            "search_options": {"forced_search": True, "enable_source": True},
        },
        page="Web search",
    ),
    Scenario(
        name="native_image_stream",
        shows="A picture goes to multimodal-generation, whose content is a list of parts both ways.",
        kind="stream",
        messages=(HumanMessage([{"type": "image", "url": _PICTURE}, {"type": "text", "text": "Who is on it?"}]),),
        model={"protocol": "dashscope", "model": "qwen3-vl-plus", "enable_thinking": True},
        page="Visual reasoning",
    ),
    Scenario(
        name="native_parallel_calls_stream",
        shows="One event closes a call and opens the next, and the event that finishes still carries a fragment.",
        kind="stream",
        messages=(HumanMessage("What is the weather like in Hangzhou and in Suzhou?"),),
        model={"protocol": "dashscope", "parallel_tool_calls": True},
        tools=(get_weather,),
        page="Function calling",
    ),
    Scenario(
        name="native_error_in_stream",
        shows="An error event with a status of its own ends a stream of status 200, after the text before it.",
        kind="stream",
        messages=_HELLO,
        model={"protocol": "dashscope"},
        fails=ContentFilterError,
        page="Error messages",
        provoked=False,
    ),
    Scenario(
        name="native_wrong_endpoint",
        shows="A model that the other endpoint has is a 400, and the error names the setting.",
        kind="invoke",
        messages=_HELLO,
        model={"protocol": "dashscope", "model": "qwen-vl-max", "native_endpoint": "text-generation"},
        fails=BadRequestError,
        page="Error messages",
    ),
)

_RESPONSES: Mapping[str, Any] = {"protocol": "responses", "seed": None}  # which has none
_REFERENCE = "OpenAI compatible - Responses"
RESPONSES = (
    Scenario(
        name="responses_search_stream",
        shows="Thinking, a search on the service with its sources, then the text; no [DONE] ends the stream.",
        kind="stream",
        messages=_WEATHER,
        model=_RESPONSES,
        tools=({"type": "web_search"},),
        page=_REFERENCE,
    ),
    Scenario(
        name="responses_call_stream",
        shows="The arguments of a call come with its finished item, though the index of its first event is wrong.",
        kind="stream",
        messages=_WEATHER,
        model={**_RESPONSES, "enable_thinking": False},
        tools=(get_weather,),
        page="Function calling",
    ),
    Scenario(
        name="responses_code_invoke",
        shows="Code that ran on the service is a call and its result, and the usage counts the run.",
        kind="invoke",
        messages=(HumanMessage("What is 123 to the power of 21?"),),
        model={**_RESPONSES, "model": "qwen3.7-max", "streaming": False},
        tools=({"type": "code_interpreter"},),
        page="Code interpreter",
    ),
    Scenario(
        name="responses_error_in_stream",
        shows="An error is an event under status 200, right after the one that created the response.",
        kind="stream",
        messages=_HELLO,
        model=_RESPONSES,
        fails=ContentFilterError,
        page=_REFERENCE,
        provoked=False,
    ),
)

SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in RECORDED + DOCUMENTED + NATIVE + RESPONSES}
