"""The claims of docs/migrating.md about other packages."""

from __future__ import annotations

import re
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.errors import ConfigurationError
from llama_index_modelstudio import ModelStudio
from modelstudio_core.config import REGIONS
from modelstudio_core.parameters import unknown_argument
from tests.langchain.service import chat
from tests.loopback import Loopback
from tests.service import USAGE, Answer, sent
from tests.snippets import CITY, ROOT, TEXT, THOUGHT, run, snippets

PAGES = ["docs/migrating.md", "docs/migrating-tongyi.md", "docs/migrating-qwen.md", "docs/migrating-openai.md"]
PAGE = PAGES[0]
ERRORS, TONGYI, QWEN, OPENAI = SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in [*PAGES, "docs/migrating-llama-index.md"]}
TEXT_OF_PAGE = "\n".join(TEXTS[page] for page in PAGES)
TABLES = re.findall(r"^\| (.+) \| (.+) \|$", TEXT_OF_PAGE, re.MULTILINE)
OF_A_CALL = {"method", "strict"}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["errors", "tongyi", "qwen", "openai"])
def test_a_snippet_runs(snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints an answer."""
    assert run(snippet, PAGE, monkeypatch)
    printed = capsys.readouterr().out
    assert TEXT in printed or CITY in printed


def test_from_tongyi(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The stream has thought, call and usage. The settings are sent."""
    [request] = run(TONGYI, PAGE, monkeypatch)
    body = request.json()
    printed = capsys.readouterr().out
    for text in (THOUGHT, f"'args': {{'city': '{CITY}'}}", "'total_tokens': 17"):
        assert text in printed
    assert body["top_p"] == 0.8
    assert body["stream"] is body["enable_thinking"] is body["parallel_tool_calls"] is True
    assert body["tools"][0]["function"]["name"] == "weather"


def test_from_qwen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Thinking of an object, disabled for a call, and structured output of a model that thinks by default."""
    thinks, quiet, structured = (request.json() for request in run(QWEN, PAGE, monkeypatch))
    printed = capsys.readouterr().out
    assert f"{THOUGHT} {TEXT}" in printed
    assert f"name='{CITY}'" in printed
    assert (thinks["enable_thinking"], thinks["thinking_budget"], thinks["stream"]) == (True, 100, True)
    assert quiet["enable_thinking"] is False
    assert structured["enable_thinking"] is False
    assert structured["tool_choice"] == {"type": "function", "function": {"name": "City"}}


def test_from_openai(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each parameter is sent under its name, with `extra_body`."""
    [request] = run(OPENAI, PAGE, monkeypatch)
    body = request.json()
    assert THOUGHT in capsys.readouterr().out
    given = {"enable_thinking": True, "thinking_budget": 1024, "max_completion_tokens": 4096, "frequency_penalty": 0.2}
    assert {name: body.get(name) for name in given} == given
    assert "max_tokens" not in body
    assert body["stream_options"] == {"include_usage": True}


def test_the_tables_have_valid_arguments() -> None:
    """Each argument in the right column exists."""
    named = {name for _, new in TABLES for name in re.findall(r"`(\w+)=", new)}
    assert len(named) > 30
    assert named - set(ChatModelStudio.model_fields) <= OF_A_CALL


# the fields of the classes, in the versions that the page names
FIELDS = {
    "docs/migrating-tongyi.md": """
        client model model_name model_kwargs top_p dashscope_api_key api_key streaming max_retries
    """,
    "docs/migrating-qwen.md": "model model_name api_key api_base base_url enable_thinking thinking_budget",
    "docs/migrating-openai.md": """
        client async_client root_client root_async_client model model_name temperature model_kwargs
        api_key openai_api_key base_url openai_api_base organization openai_organization openai_proxy
        timeout request_timeout stream_usage max_retries presence_penalty frequency_penalty seed logprobs
        top_logprobs logit_bias streaming n top_p max_tokens max_completion_tokens reasoning_effort
        reasoning verbosity tiktoken_model_name default_headers default_query http_client
        http_async_client http_socket_options stream_chunk_timeout stop stop_sequences extra_body
        include_response_headers disabled_params context_management include prompt_cache_options
        service_tier store truncation use_previous_response_id use_responses_api output_version
    """,
}


@pytest.mark.parametrize("page", FIELDS)
def test_the_tables_are_complete(page: str) -> None:
    """Each field of the old class is in the left column."""
    left = [row for row, _ in re.findall(r"^\| (.+) \| (.+) \|$", TEXTS[page], re.MULTILINE)]
    named = set(re.findall(r"`(\w+)", " ".join(left)))
    assert set(FIELDS[page].split()) <= named


LEFT_OVER = [
    ("dashscope_api_key", "api_key"),
    ("model_kwargs", "extra_body"),
    ("frequency_penalty", "extra_body"),
    ("api_base", "base_url"),
    ("request_timeout", "timeout"),
    ("stream_usage", "remove it"),
]


@pytest.mark.parametrize(("old", "new"), LEFT_OVER, ids=[case[0] for case in LEFT_OVER])
def test_unknown_arguments_of_other_packages(old: str, new: str) -> None:
    """The error has the name and the replacement, but no key."""
    assert old in TEXT_OF_PAGE
    settings: dict[str, Any] = {old: "sk-secret", "model": "qwen-plus", "api_key": "sk-secret"}
    with pytest.raises(ConfigurationError, match=rf"unknown argument {old}.*{new}") as error:
        ChatModelStudio(**settings)
    assert "sk-secret" not in str(error.value)


@pytest.mark.parametrize("page", TEXTS)
def test_advice_on_old_arguments(page: str) -> None:
    """`extra_body` is the advice only where the table says so, or for what the service does not support."""
    rows = re.findall(r"^\| (.+) \| (.+) \|$", TEXTS[page], re.MULTILINE)
    new_class = ModelStudio if "llama" in page else ChatModelStudio
    checked = 0
    for left, right in rows:
        old = re.findall(r"`([a-z_]+)(?:=[^`]*)?`", left)
        fields = FIELDS.get(page, " ".join(old)).split()
        for name in {*old} & {*fields} - {*new_class.model_fields, "model_name"}:
            if "extra_body=" not in right and "not supported by the service" not in right:
                message = unknown_argument(name, new_class.model_fields)
                assert "to send it to the service" not in message, name
                checked += 1
    assert checked or page == "docs/migrating.md"


def test_accepted_names() -> None:
    """`model_name` is `model`, and the regions are the common ones."""
    llm: Any = ChatModelStudio
    assert llm(model_name="qwen-plus", api_key="sk-1", region="beijing").model == "qwen-plus"
    assert {"singapore", "beijing"} <= set(REGIONS)


def test_tongyi_s_partial_mode() -> None:
    """The answer to continue is marked in the same way."""
    with Loopback(Answer(text=["return n"])) as server:
        chat(server).invoke([HumanMessage("Go on."), AIMessage("def fib(n):", additional_kwargs={"partial": True})])
        assert sent(server)["messages"][-1] == {"role": "assistant", "content": "def fib(n):", "partial": True}


def test_tongyi_s_parts() -> None:
    """Its blocks without a type, in a question and in a stored answer of a vision model, are sent like LangChain's."""
    url = "https://example.com/lake.png"
    old: list[Any] = [HumanMessage([{"image": url}, {"text": "What is it?"}]), AIMessage([{"text": "A lake."}])]
    new = [HumanMessage([{"type": "image", "url": url}, {"type": "text", "text": "What is it?"}]), AIMessage("A lake.")]
    with Loopback(Answer(text=["Yes."])) as server:
        for history in (old, new):
            chat(server).invoke([*history, HumanMessage("Sure?")])
        before, after = (request.json()["messages"] for request in server.requests)
    assert before == after
    assert [part["type"] for part in after[0]["content"]] == ["image_url", "text"]


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_what_response_metadata_has(protocol: str) -> None:
    """As the pages say: the request ID in each way, and `token_usage` in `invoke` only, also of a model that thinks."""
    answer = Answer(reasoning=["Hm."], text=["Yes."], usage=USAGE)
    with Loopback([answer] * 4) as server:
        llm = chat(server, protocol=protocol, enable_thinking=True)
        streaming = chat(server, protocol=protocol, streaming=True)
        whole = [llm.invoke("?"), chat(server, protocol=protocol, enable_thinking=False).invoke("?")]
        *_, last = llm.stream("?")
        streamed = [last, streaming.invoke("?")]
    assert all(message.response_metadata["request_id"] for message in whole + streamed)
    assert ["token_usage" in message.response_metadata for message in whole + streamed] == [True, True, False, False]


def test_the_cache_mark_in_place_of_qwq_s_middleware() -> None:
    """`cache_control` is sent with its block."""
    with Loopback(Answer(text=["Yes."])) as server:
        block: Any = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
        chat(server).invoke([HumanMessage([block])])
        assert sent(server)["messages"][0]["content"] == [block]
