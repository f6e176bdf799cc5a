"""Data for tracers: package versions, token details, response ID, finish reason."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.base import BaseLanguageModel
from langchain_core.messages import HumanMessage
from llama_index.core.schema import BaseComponent

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from tests.langchain.service import WAYS, call, chat
from tests.llama_index.service import COMPLETIONS, STREAMS
from tests.llama_index.service import WAYS as LLAMA_INDEX_WAYS
from tests.llama_index.service import call as llama_index_call
from tests.llama_index.service import chat as llama_index_chat
from tests.loopback import Loopback
from tests.protocols import both_protocols, spoken
from tests.service import ID, USAGE, Answer

LOCAL = "http://127.0.0.1:1"
report_16, report_17 = pytest.mark.report(16), pytest.mark.report(17)


# ---------------------------------------------------------------- what the frameworks do once a model is made


@report_16
def test_versions() -> None:
    """Traces have the versions of langchain-core, langchain and this package, also for copies and pickles."""
    llm = ChatModelStudio(model="qwen-plus", base_url=LOCAL)
    for each in (llm, llm.model_copy(), pickle.loads(pickle.dumps(llm))):
        assert each.metadata is not None
        assert set(each.metadata["lc_versions"]) >= {"langchain-core", "langchain", "modelstudio-integrations"}


@report_16
def test_the_caller_s_metadata_is_kept() -> None:
    """Versions are added to a copy."""
    mine = {"team": "search"}
    llm = ChatModelStudio(model="qwen-plus", base_url=LOCAL, metadata=mine)
    assert llm.metadata is not None
    assert (llm.metadata["team"], mine) == ("search", {"team": "search"})


@report_16
@pytest.mark.parametrize(
    ("framework", "make"),
    [
        (BaseLanguageModel, ChatModelStudio),
        (BaseComponent, ModelStudio),
        (BaseComponent, lambda **settings: ModelStudioEmbedding(**settings | {"model": "text-embedding-v4"})),
    ],
    ids=["ChatModelStudio", "ModelStudio", "ModelStudioEmbedding"],
)
def test_a_framework_s_hook_runs(framework: type[Any], make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`model_post_init` of the framework's class runs, and our private state exists."""
    seen: list[Any] = []
    monkeypatch.setattr(framework, "model_post_init", lambda self, _: seen.append(self), raising=False)
    model = make(model="qwen-plus", base_url=LOCAL)
    assert [each is model for each in seen] == [True]
    assert model._core_client() is model._core_client()


@report_16
def test_a_subclass_s_hook_runs() -> None:
    """Hooks and private attributes of user classes work."""

    class Mine(ChatModelStudio):
        _seen: int = 0

        def model_post_init(self, context: Any, /) -> None:
            super().model_post_init(context)
            self._seen += 1

    llm = Mine(model="qwen-plus", base_url=LOCAL)
    assert llm._seen == 1
    assert llm.metadata is not None
    assert "langchain-core" in llm.metadata["lc_versions"]


# ---------------------------------------------------------------- LangChain

FULL = Answer(reasoning=["Hm."], text=["It ", "is."], usage=USAGE)


class Ends(BaseCallbackHandler):
    """Records what a tracer receives at the end of a call."""

    def __init__(self) -> None:
        self.ends: list[Any] = []
        self.started: list[dict[str, Any]] = []

    def on_chat_model_start(self, *_: Any, metadata: dict[str, Any], **more: Any) -> None:
        self.started.append(metadata)

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.ends.append(response)


@report_17
@both_protocols
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_llm_output(way: str) -> None:
    """Tracers of whole answers get token details, and the response ID if known."""
    handler = Ends()
    with Loopback(FULL) as server:
        await call(chat(server), way, config={"callbacks": [handler]})
    output = handler.ends[0].llm_output
    usage = output["token_usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (20, 10, 30)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 8
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 6
    assert output["model_name"] == "qwen-plus"
    assert output.get("id") == (ID if spoken.get() == "openai" else None)  # the native protocol gives none


@report_17
@both_protocols
async def test_llm_output_of_several_prompts() -> None:
    """Details are summed like the totals."""
    with Loopback(FULL) as server:
        result = chat(server).generate([[HumanMessage("a")], [HumanMessage("b")]])
    assert result.llm_output is not None
    usage = result.llm_output["token_usage"]
    assert (usage["total_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (60, 16)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 12


@report_17
@both_protocols
@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_generation_info_of_a_stream(way: str) -> None:
    """The generation has finish reason and model, as with invoke."""
    handler = Ends()
    with Loopback(FULL) as server:
        message = await call(chat(server), way, config={"callbacks": [handler]})
    [[generation]] = handler.ends[0].generations
    assert generation.generation_info == {"finish_reason": "stop", "model_name": "qwen-plus"}
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["model_name"] == "qwen-plus"


@report_17
@both_protocols
async def test_generation_info_is_on_the_last_chunk_only() -> None:
    """langchain-core would concatenate repeated strings."""
    with Loopback(FULL) as server:
        *chunks, last = list(chat(server)._stream([HumanMessage("hello")]))
    assert {repr(chunk.generation_info) for chunk in chunks} == {"None"}
    assert last.generation_info == {"finish_reason": "stop", "model_name": "qwen-plus"}


LIMITS: list[tuple[str, dict[str, Any], dict[str, Any], int | None]] = [
    # name, settings, options of the call, ls_max_tokens
    ("not set", {}, {}, None),
    ("max_tokens", {"max_tokens": 5}, {}, 5),
    ("max_completion_tokens", {"max_completion_tokens": 6}, {}, 6),
    ("both", {"max_tokens": 5, "max_completion_tokens": 6}, {}, 5),
    ("max_completion_tokens of the call", {}, {"max_completion_tokens": 7}, 7),
    ("the call's wins", {"max_completion_tokens": 6}, {"max_completion_tokens": 7}, 7),
    ("the call's wins over max_tokens", {"max_tokens": 5}, {"max_completion_tokens": 7}, 7),
    ("max_tokens of the call", {"max_completion_tokens": 6}, {"max_tokens": 8}, 8),
]


@report_17
@pytest.mark.parametrize("bound", [False, True], ids=["per call", "bound"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("settings", "options", "limit"), [c[1:] for c in LIMITS], ids=[c[0] for c in LIMITS])
@pytest.mark.rotated
async def test_ls_max_tokens(
    settings: dict[str, Any], options: dict[str, Any], limit: int | None, way: str, bound: bool
) -> None:
    """LangSmith gets the limit under any parameter name."""
    handler = Ends()
    with Loopback(FULL) as server:
        llm: Any = chat(server, **settings)
        if bound:
            llm, options = llm.bind(**options), {}
        await call(llm, way, config={"callbacks": [handler]}, **options)
    assert handler.started[0].get("ls_max_tokens") == limit


# ---------------------------------------------------------------- LlamaIndex


@report_17
@both_protocols
@pytest.mark.parametrize("way", [*LLAMA_INDEX_WAYS, *COMPLETIONS])
async def test_usage_in_raw(way: str) -> None:
    """Tracers get the details where OpenAI's classes have them."""
    with Loopback(FULL) as server:
        response = await llama_index_call(llama_index_chat(server), way)
    usage = response.raw["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (20, 10, 30)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 8
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 6


@report_17
@both_protocols
@pytest.mark.parametrize("way", STREAMS)
async def test_the_flat_names_stay(way: str) -> None:
    """`additional_kwargs` has the counts under the names that LlamaIndex reads."""
    with Loopback(FULL) as server:
        response = await llama_index_call(llama_index_chat(server), way)
    assert response.additional_kwargs["cached_tokens"] == 8
    assert response.additional_kwargs["reasoning_tokens"] == 6
