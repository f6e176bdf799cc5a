"""Type checks of the settings. `make check` checks this file; it is never run.

A line with `type: ignore` must be an error, because mypy reports unused ignores.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import httpx
from langchain_core.messages import AIMessage
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from pydantic import BaseModel
from typing_extensions import assert_type

from langchain_modelstudio import ChatModelStudio
from langchain_modelstudio.binding import ModelStudioBinding
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.batches import BatchJob, BatchStatus
from modelstudio_core.errors import ModelStudioError
from modelstudio_core.files import FileObject
from modelstudio_core.prices import Cost, estimate_cost


def names_of_the_model() -> None:
    ChatModelStudio(model="qwen-plus")
    ChatModelStudio(model_name="qwen-plus")
    ModelStudio(model="qwen-plus")
    ModelStudio(model_name="qwen-plus")
    ModelStudioEmbedding()
    ModelStudioEmbedding(model="text-embedding-v4")
    ModelStudioEmbedding(model_name="text-embedding-v4")
    assert_type(ChatModelStudio(model="qwen-plus").model_name, str)
    assert_type(ModelStudio(model="qwen-plus").model, str)
    assert_type(ModelStudioEmbedding().model, str)


def settings_that_are_right(client: httpx.Client, aclient: httpx.AsyncClient) -> None:
    ChatModelStudio(model="qwen-plus", api_key="sk-1", region="beijing", temperature=0.5, max_tokens=10)
    ChatModelStudio(model="qwen-plus", http_client=client, http_async_client=aclient)
    ChatModelStudio(model="qwen-plus", protocol="responses", store=False, use_previous_response_id=True)
    ModelStudio(model="qwen-plus", protocol="responses", built_in_tools=[{"type": "web_search"}])
    ModelStudio(model="qwen-plus", timeout=5)
    ModelStudio(model="qwen-plus", timeout=httpx.Timeout(5))
    ModelStudio(model="qwen-plus", timeout={"connect": 1.0, "read": None})
    ModelStudio(model="qwen-plus", stop="END")
    ModelStudio(model="qwen-plus", stop=["a", "b"])
    ModelStudio(model="qwen-plus", stop=[1, 2])
    ModelStudio(model="qwen-plus", stop=[[1, 2], [3]])
    ModelStudio(model="qwen-doc-turbo", skill=[{"type": "ppt"}])
    ModelStudio(model="qwen-plus", context_window=1000, system_prompt="Be brief.")
    ModelStudioEmbedding(model="text-embedding-v4", dimensions=512, timeout=httpx.Timeout(5), http_client=client)


def settings_that_are_wrong(client: httpx.Client) -> None:
    ChatModelStudio(model=5)  # type: ignore[arg-type]
    ChatModelStudio(model="qwen-plus", temprature=0.5)  # type: ignore[call-arg]
    ChatModelStudio(model="qwen-plus", http_client="client")  # type: ignore[arg-type]
    ChatModelStudio(model="qwen-plus", http_async_client=client)  # type: ignore[arg-type]
    ChatModelStudio(model="qwen-plus", timeout="soon")  # type: ignore[arg-type]
    ModelStudio(model="qwen-plus", stop=5)  # type: ignore[arg-type]
    ModelStudio(model="qwen-plus", skill=5)  # type: ignore[arg-type]
    ModelStudio(model="qwen-plus", temprature=0.5)  # type: ignore[call-arg]
    ChatModelStudio(model="qwen-plus", protocol="response")  # type: ignore[arg-type]
    ModelStudioEmbedding(protocol="responses")  # type: ignore[arg-type]
    ModelStudioEmbedding(model=5)  # type: ignore[arg-type]
    ModelStudioEmbedding(modle="text-embedding-v4")  # type: ignore[call-arg]


def bound(llm: ChatModelStudio, tool: dict[str, Any]) -> None:
    settings = llm.bind(enable_thinking=False, seed=7)
    assert_type(settings, ModelStudioBinding)
    assert_type(settings.bind(seed=8), ModelStudioBinding)
    assert_type(settings.with_config(tags=["a"]), ModelStudioBinding)
    assert_type(settings.bind_tools([tool]), ModelStudioBinding)
    assert_type(settings.bind_tools([tool]).invoke("hello"), AIMessage)
    assert_type(llm.bind_tools([tool]).invoke("hello"), AIMessage)


def tokens_and_cost(llm: ChatModelStudio, model: ModelStudio, tool: dict[str, Any]) -> None:
    assert_type(llm.get_num_tokens_from_messages("hello", [tool], tool_choice="any"), int)
    assert_type(llm.bind_tools([tool]).get_num_tokens_from_messages([("user", "hello")]), int)
    assert_type(
        model.get_num_tokens_from_messages([ChatMessage("hello")], response_format={"type": "json_object"}), int
    )
    assert_type(model.tokenizer("hello"), list[int])
    assert_type(estimate_cost("qwen-plus", llm.invoke("hello").usage_metadata), Cost | None)
    prices = {"qwen-plus": {"input": 0.4, "output": 1.2}}
    usage = model.chat([]).additional_kwargs  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    assert_type(estimate_cost("qwen-plus", usage, prices=prices), Cost | None)  # pyright: ignore[reportUnknownArgumentType]


def batch_jobs(llm: ChatModelStudio, model: ModelStudio, tool: dict[str, Any], schema: type[BaseModel]) -> None:
    job = llm.batch_job(["a", [AIMessage("b")]], journal="night.db", settings=[None, {"seed": 1}], temperature=0.5)
    assert_type(job, BatchJob[AIMessage])
    for answer in job.results():
        assert_type(answer, AIMessage | ModelStudioError)
    assert_type(job.wait(progress=True), BatchStatus)
    assert_type(job.usage.total_tokens, int | None)
    llm.bind_tools([tool]).batch_job(journal="night.db").submit()
    llm.with_structured_output(schema).batch_job(["a"], journal="night.db").submit()
    assert_type(model.batch_job(["a", [ChatMessage("b")]], journal="night.db"), BatchJob[ChatResponse])
    model.as_structured_llm(schema).batch_job(["a"], journal="night.db", tools=[]).cancel()
    llm.batch_job(["a"])  # type: ignore[call-arg]


async def files(llm: ChatModelStudio, model: ModelStudio, opened: BinaryIO) -> None:
    assert_type(llm.files.upload("a.pdf"), FileObject)
    assert_type(await model.files.aupload(opened, purpose="batch", filename="a.jsonl"), FileObject)
    assert_type([file.id for file in llm.files.list(purpose="batch")], list[str])
    assert_type([file.id async for file in model.files.alist()], list[str])
    assert_type(llm.files.content("file-1"), bytes)
    ChatModelStudio(model="qwen-plus", upload="never")
    ChatModelStudio(model="qwen-plus", upload="sometimes")  # type: ignore[arg-type]
    llm.files.upload(5)  # type: ignore[arg-type]
