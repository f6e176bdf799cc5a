"""The peer matrix: what no other chat model for these models does in full, a test for each row.

L1 to L52 are features that users of LangChain look for in an integration; C1 to C36 are complaints about existing ones.
The name of a test has its rows. The tests are in test_peer_matrix_answers.py (output), test_peer_matrix_requests.py
(input), test_peer_matrix_native.py (native protocol) and here. Docstrings of other tests cite rows as "(L9, C5)".
"""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.load import dumpd, load
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_modelstudio import ChatModelStudio
from tests.langchain.service import WAYS, call, chat
from tests.loopback import Loopback
from tests.service import USAGE, Answer, sent
from tests.snippets import ROOT

four_ways = pytest.mark.parametrize("way", WAYS)
ROWS = {f"L{number}" for number in range(1, 53)}
# those of LangChain's users; the others are of embeddings (20) and of another framework (9, 15, 16, 17)
COMPLAINTS = {f"C{number}" for number in range(1, 37)} - {"C9", "C15", "C16", "C17", "C20"}
HERE = Path(__file__).parent


def test_every_row_has_a_test() -> None:
    """Each row is in the name of a test."""
    text = "".join(path.read_text("utf-8") for path in HERE.glob("test_peer_matrix*.py"))
    named = {row for name in re.findall(r"def test_((?:[LC]\d+_)+)", text) for row in name.rstrip("_").split("_")}
    assert named == ROWS | COMPLAINTS


# ---------------------------------------------------------------- what frameworks read


@four_ways
async def test_L28_model_in_traces(way: str) -> None:
    """Traces have the provider and the model that is called, also if a call overrides it."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-1")
    for options, name in (({}, "qwen-plus"), ({"model": "qwen-flash"}, "qwen-flash")):
        params = llm._get_ls_params(**options)
        assert (params["ls_provider"], params["ls_model_name"]) == ("modelstudio", name)
    with Loopback(Answer(text=["hi"], model="qwen-flash")) as server:
        message = await call(chat(server), way, model="qwen-flash")
        assert sent(server)["model"] == message.response_metadata["model_name"] == "qwen-flash"


PROFILES: list[tuple[str, dict[str, Any]]] = [
    ("qwen3.7-max", {"tool_calling": True, "structured_output": True, "reasoning_output": True}),
    ("qwq-plus", {"tool_choice": False, "reasoning_output": True}),
    ("qwen3-vl-plus", {"image_inputs": True, "video_inputs": True, "audio_inputs": False}),
    ("qwen3-omni-flash", {"audio_inputs": True, "audio_outputs": True}),
]


@pytest.mark.parametrize(("model", "known"), PROFILES)
def test_L29_C13_profile(model: str, known: dict[str, Any]) -> None:
    """Each model has a profile with its context size."""
    profile = ChatModelStudio(model=model, api_key="sk-1").profile
    assert profile is not None
    assert profile["max_input_tokens"] > 10_000
    assert {name: profile.get(name) for name in known} == known
    assert profile["pdf_inputs"] is False


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_C13_summarization(way: str) -> None:
    """SummarizationMiddleware with a fraction of the context uses the profile and the reported tokens."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-1")
    assert llm.profile is not None
    usage = {**USAGE, "total_tokens": llm.profile["max_input_tokens"]}
    with Loopback([Answer(text=["one"], usage=usage), Answer(text=["in brief"]), Answer(text=["two"])]) as server:
        llm = chat(server)
        shortened = SummarizationMiddleware(llm, trigger=("fraction", 0.8), keep=("messages", 1))
        agent = create_agent(llm, [], middleware=[shortened])
        state: Any = {"messages": [HumanMessage("a")]}
        for _ in range(2):
            state = agent.invoke(state) if way == "invoke" else await agent.ainvoke(state)
            state["messages"].append(HumanMessage("b"))
        assert len(server.requests) == 3
        assert "in brief" in sent(server)["messages"][0]["content"]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # `load` is in beta
def test_L47_serialization(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is serialized without its key, and loaded with that of the environment."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-secret", enable_thinking=True)
    written = dumpd(llm)
    assert "sk-secret" not in json.dumps(written) + repr(llm) + str(llm.model_dump())
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-other")
    loaded = load(written, allowed_objects="all", valid_namespaces=["langchain_modelstudio"], secrets_from_env=True)
    assert (loaded.model, loaded.enable_thinking) == ("qwen-plus", True)
    assert loaded.api_key.get_secret_value() == "sk-other"


@pytest.mark.parametrize(
    ("module", "suite"),
    [
        ("test_standard_unit", ChatModelUnitTests),
        ("test_standard_integration", ChatModelIntegrationTests),
        ("test_standard_documented", ChatModelIntegrationTests),
    ],
)
def test_L48_the_standard_suites_are_unmodified(module: str, suite: type) -> None:
    """LangChain's standard tests run unchanged: none is overridden, marked or skipped."""
    there = vars(importlib.import_module(f"tests.langchain.{module}")).values()
    ours = [value for value in there if isinstance(value, type) and issubclass(value, suite) and value is not suite]
    assert any(cls.__name__.startswith("Test") for cls in ours)
    for cls in ours:
        assert not [name for name in vars(cls) if name.startswith("test")]
        assert "pytestmark" not in vars(cls)


# ---------------------------------------------------------------- the package


def test_C24_migration_is_documented() -> None:
    """There is a table for users of each other package (tests/test_migrating.py runs it)."""
    page = "\n".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("migrating-*.md"))
    for package in ("ChatTongyi", "ChatQwen", "ChatQwQ", "ChatOpenAI"):
        assert re.search(rf"^\| .*{package}.* \| ChatModelStudio \|$", page, re.MULTILINE)


def test_C29_no_sdk_is_needed() -> None:
    """Only httpx, pydantic and their dependencies are imported, and no vendor SDK."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    base = re.findall(r"^dependencies = \[(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    [extra] = re.findall(r"^langchain = \[(.*)\]$", project, re.MULTILINE)
    needed = {"anyio", "h11", "httpcore", "httpx", "pydantic", "pydantic-core", "typing-extensions"}
    assert set(re.findall(r'"([\w-]+)[><=]', "".join(base))) == needed
    assert set(re.findall(r'"([\w-]+)', extra)) == {"langchain-core", "langchain-protocol"}
    code = "import sys, langchain_modelstudio; print([name for name in ('openai', 'dashscope') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "[]"


def test_messages_are_langchains_class() -> None:
    """`invoke` returns a plain AIMessage, not a subclass of this package."""
    with Loopback(Answer(text=["hi"])) as server:
        assert type(chat(server).invoke("hello")) is AIMessage
