"""Token limits depend on the thinking mode, and leave room for input."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core.indices.prompt_helper import PromptHelper
from llama_index.core.prompts.default_prompts import DEFAULT_REFINE_PROMPT, DEFAULT_TEXT_QA_PROMPT

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from tests.ids import short
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import Answer, sent

MODELS = [
    model["id"]
    for model in json.loads(files("modelstudio_core").joinpath("catalogue.json").read_text(encoding="utf-8"))["models"]
]
LIMITS: list[tuple[str, str, dict[str, Any], tuple[int, int]]] = [
    ("thinks by default", "qwen3-235b-a22b", {}, (98304, 16384)),
    ("told to think", "qwen3-235b-a22b", {"enable_thinking": True}, (98304, 16384)),
    ("told not to", "qwen3-235b-a22b", {"enable_thinking": False}, (129024, 16384)),
    ("no effort", "qwen3-235b-a22b", {"reasoning_effort": "none"}, (129024, 16384)),
    ("told not to by extra_body", "qwen3-235b-a22b", {"extra_body": {"enable_thinking": False}}, (129024, 16384)),
    ("does not by default", "qwen3-omni-flash", {}, (49152, 16384)),
    ("does not by default, told to", "qwen3-omni-flash", {"enable_thinking": True}, (16384, 16384)),
    ("does not by default, told not to", "qwen3-omni-flash", {"enable_thinking": False}, (49152, 16384)),
    ("a lower output while it thinks", "qwen3-max", {"enable_thinking": True}, (258048, 32768)),
    ("a higher one while it does not", "qwen3-max", {}, (258048, 65536)),
    ("always thinks", "qwen3-vl-32b-thinking", {}, (126976, 32768)),
    ("never thinks", "qwen-max", {}, (30720, 8192)),
    ("a limit of the caller's", "qwen3-32b", {"capabilities": {"max_input": 160}}, (160, 8192)),
    ("a limit of the caller's for thinking", "qwen3-32b", {"capabilities": {"max_input_thinking": 9}}, (9, 8192)),
]


def made(adapter: Any, model: str, **settings: Any) -> Any:
    return adapter(model=model, api_key="sk-1", **settings)


@pytest.mark.report(26)
@pytest.mark.parametrize(
    ("model", "settings", "limits"), [case[1:] for case in LIMITS], ids=[case[0] for case in LIMITS]
)
def test_the_limits_are_those_of_the_mode(model: str, settings: dict[str, Any], limits: tuple[int, int]) -> None:
    """The profile has the limits of thinking if the model thinks. LlamaIndex has the same."""
    capabilities = {"capabilities": settings["capabilities"]} if "capabilities" in settings else {}
    bound = {name: value for name, value in settings.items() if name != "capabilities"}
    of_object: Any = made(ChatModelStudio, model, **settings).profile
    of_binding: Any = made(ChatModelStudio, model, **capabilities).bind(**bound).bind_tools([]).profile
    for profile in (of_object, of_binding):
        assert (profile["max_input_tokens"], profile["max_output_tokens"]) == limits
    metadata = made(ModelStudio, model, **settings).metadata
    assert metadata.context_window - metadata.num_output <= limits[0]


@pytest.mark.report(26)
def test_a_binding_has_the_profile_of_its_model() -> None:
    """A bound model has its own profile. A profile set by the caller is kept."""
    llm = made(ChatModelStudio, "qwen-plus")
    assert llm.bind(model="qwen3-235b-a22b").profile == made(ChatModelStudio, "qwen3-235b-a22b").profile
    assert llm.bind(seed=7).profile == llm.profile
    own: Any = made(ChatModelStudio, "qwen-plus", profile={"max_input_tokens": 7})
    assert own.bind(enable_thinking=True).profile == {"max_input_tokens": 7}


FIRES = [
    # model, settings, tokens reported, whether that is 85 % of what the model takes
    ("qwen3-235b-a22b", {}, 90_000, True),
    ("qwen3-235b-a22b", {"enable_thinking": False}, 90_000, False),
    ("qwen3-235b-a22b", {}, 80_000, False),
    ("qwen3-omni-flash", {"enable_thinking": True}, 15_000, True),
    ("qwen3-omni-flash", {}, 15_000, False),
]


@pytest.mark.report(26)
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize(("model", "settings", "tokens", "fires"), FIRES)
def test_summaries_at_a_fraction(model: str, settings: dict[str, Any], tokens: int, fires: bool, bound: bool) -> None:
    """SummarizationMiddleware at 0.85 triggers at that fraction of the input limit of the mode."""
    with Loopback(Answer(text=["in brief"])) as server:
        llm: Any = chat(server, model=model).bind(**settings) if bound else chat(server, model=model, **settings)
        usage: Any = {"input_tokens": tokens - 1, "output_tokens": 1, "total_tokens": tokens}
        answered = AIMessage("one", usage_metadata=usage, response_metadata={"model_provider": "modelstudio"})
        middleware = SummarizationMiddleware(llm, trigger=("fraction", 0.85), keep=("messages", 1))
        agent: Any = create_agent(llm, [], middleware=[middleware])
        agent.invoke({"messages": [HumanMessage("a"), answered, HumanMessage("b")]})
        assert len(server.requests) == 1 + fires
        assert ("in brief" in sent(server)["messages"][0]["content"]) == fires


# ---------------------------------------------------------------- room for input

SETTINGS: list[dict[str, Any]] = [
    {},
    {"enable_thinking": True},
    {"reasoning_effort": "none"},
    {"max_tokens": 1},
    {"max_tokens": 8192},
    {"max_tokens": 1_000_000},
    {"max_completion_tokens": 65536},
    {"context_window": 4096},
    {"context_window": 4096, "max_tokens": 4096},
    {"context_window": 10_000_000, "max_tokens": 8192},
    {"capabilities": {"context_window": 4096}},
    {"capabilities": {"max_input": 2048, "max_output": 100_000}, "max_tokens": 2048},
]


@pytest.mark.report(31)
@pytest.mark.parametrize("settings", SETTINGS, ids=short)
def test_there_is_always_room_for_input(settings: dict[str, Any]) -> None:
    """LlamaIndex's PromptHelper works with the metadata of each model."""
    for model in [*MODELS, "no-such-model"]:
        metadata = made(ModelStudio, model, **settings).metadata
        helper = PromptHelper.from_llm_metadata(metadata, tokenizer=str.split)
        for prompt in (DEFAULT_TEXT_QA_PROMPT, DEFAULT_REFINE_PROMPT):
            assert helper.repack(prompt, ["some text", "more text"]) == ["some text\n\nmore text"], model
            assert helper.truncate(prompt, ["some text"] * 3) == ["some text"] * 3, model
        assert 0 < metadata.num_output < metadata.context_window
        if "context_window" in settings:
            assert metadata.context_window <= settings["context_window"]


@pytest.mark.report(31)
def test_the_callers_output_limit_is_reserved() -> None:
    """Up to three quarters of the context window."""
    for limit in ("max_tokens", "max_completion_tokens"):
        assert made(ModelStudio, "qwen-plus", **{limit: 500}).metadata.num_output == 500
        assert made(ModelStudio, "qwen-math-plus", **{limit: 2000}).metadata.num_output == 2000
        assert made(ModelStudio, "qwen-math-plus", **{limit: 8192}).metadata.num_output == 3072
