"""The async methods work on uvloop, and refuse trio by name before anything is sent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from langchain_core.documents import Document
from langchain_core.messages import AIMessageChunk, HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding
from modelstudio_core.errors import ConfigurationError
from tests.batch_service import BatchService
from tests.file_service import FileService, UploadService
from tests.loopback import Loopback
from tests.retrieval import service as retrieval
from tests.service import Answer

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n0000"
HELLO = Answer(text=("hel", "lo"))
Call = Callable[[str, Path], Awaitable[Any]]


@asynccontextmanager
async def opened(kind: type[Any], url: str, **settings: Any) -> AsyncIterator[Any]:
    """A model object, which is closed where it was used."""
    llm = kind(**{"api_key": "sk-loop-key", "base_url": url, **settings})
    try:
        yield llm
    finally:
        await llm.aclose()


async def ainvoke(url: str, folder: Path) -> Any:
    async with opened(ChatModelStudio, url, model="qwen-plus") as llm:
        return (await llm.ainvoke("hi")).text


async def astream(url: str, folder: Path) -> Any:
    async with opened(ChatModelStudio, url, model="qwen-plus", protocol="dashscope") as llm:
        return "".join([chunk.text async for chunk in llm.astream("hi")])


async def left_early(url: str, folder: Path) -> Any:
    """A stream that is left, then a whole answer."""
    async with opened(ModelStudio, url, model="qwen-plus") as llm:
        async for _ in (stream := await llm.astream_chat([ChatMessage("hi")])):
            break
        await stream.aclose()
        return (await llm.achat([ChatMessage("hi")])).message.content


async def astream_chat(url: str, folder: Path) -> Any:
    async with opened(ModelStudio, url, model="qwen-plus", protocol="responses") as llm:
        return "".join([response.delta async for response in await llm.astream_chat([ChatMessage("hi")])])


async def limited(url: str, folder: Path) -> Any:
    """Three calls that wait for each other, with a key from a function, which is called in a thread."""
    async with opened(ModelStudio, url, model="qwen-plus", requests_per_minute=6000, api_key=lambda: "sk-f") as llm:
        for _ in range(3):
            answer = await llm.acomplete("hi")
        return answer.text


async def aembed(url: str, folder: Path) -> Any:
    async with opened(ModelStudioEmbeddings, url) as embeddings:
        return len(await embeddings.aembed_documents(["a"] * 30))


async def aembed_one(url: str, folder: Path) -> Any:
    async with opened(ModelStudioEmbedding, url) as embeddings:
        return len(await embeddings.aget_text_embedding_batch(["a"]))


async def rerank(url: str, folder: Path) -> Any:
    async with opened(ModelStudioRerank, url) as reranker:
        return len(await reranker.acompress_documents([Document("a"), Document("b")], "a"))


async def files(url: str, folder: Path) -> Any:
    async with opened(ModelStudio, url, model="qwen-plus") as llm:
        file = await llm.files.aupload(b"{}\n", filename="a.jsonl", purpose="batch")
        return await llm.files.acontent(file.id)


async def upload(url: str, folder: Path) -> Any:
    (folder / "a.png").write_bytes(PNG)
    async with opened(ChatModelStudio, url, model="qwen3-vl-plus", upload="always") as llm:
        return (await llm.ainvoke([HumanMessage([{"type": "image", "path": str(folder / "a.png")}])])).text


async def batch_job(url: str, folder: Path) -> Any:
    async with opened(ChatModelStudio, url, model="qwen-flash") as llm:
        job = llm.batch_job(["a", "b"], journal=folder / "night.db")
        await job.asubmit()
        await job.await_done(poll_interval=0.001)
        return [answer.text async for answer in job.aresults()]


CALLS: dict[str, tuple[Call, Callable[[], Any], Any]] = {
    "invoke": (ainvoke, lambda: HELLO, "hello"),
    "stream": (astream, lambda: HELLO, "hello"),
    "left early": (left_early, lambda: HELLO, "hello"),
    "stream_chat": (astream_chat, lambda: HELLO, "hello"),
    "limited": (limited, lambda: HELLO, "hello"),
    "embeddings": (aembed, lambda: retrieval, 30),
    "one embedding": (aembed_one, lambda: retrieval, 1),
    "rerank": (rerank, lambda: retrieval, 2),
    "files": (files, FileService, b"{}\n"),
    "upload": (upload, lambda: UploadService(HELLO), "hello"),
    "batch job": (batch_job, BatchService, ["A", "B"]),
}
every_call = pytest.mark.parametrize(("call", "service", "expected"), CALLS.values(), ids=CALLS)


@every_call
def test_uvloop(call: Call, service: Callable[[], Any], expected: Any, tmp_path: Path) -> None:
    """Each kind of call, with all connections closed when its loop ends: a socket left open would be an error."""
    uvloop = pytest.importorskip("uvloop", reason="not made for Windows")
    with Loopback(service()) as server:
        assert uvloop.run(call(server.url, tmp_path)) == expected


@pytest.mark.slow
def test_the_transport_on_uvloop() -> None:
    """All tests of the transport pass on uvloop: faults, timeouts and proxies too.

    Except for two: uvloop itself needs a file descriptor to run, and tells of connections that the exit closes.
    """
    pytest.importorskip("uvloop", reason="not made for Windows")
    code = (
        "import asyncio, sys, uvloop, pytest\n"
        "asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())\n"
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', 'tests/core/transport',"
        " '-k', '(async or test_streams) and not open_files and not close_at_exit']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert " passed" in run.stdout


@every_call
def test_trio(call: Call, service: Callable[[], Any], expected: Any, tmp_path: Path) -> None:
    """The error names trio and the way out, and nothing is sent."""
    with Loopback(service()) as server:
        with pytest.raises(ConfigurationError, match=r"asyncio \(or uvloop\), but this is trio.*trio\.to_thread"):
            trio.run(call, server.url, tmp_path)
        assert server.requests == []


def test_trio_calls_the_sync_methods_in_a_thread() -> None:
    """What the error advises works."""
    with Loopback(HELLO) as server, ChatModelStudio(model="qwen-plus", api_key="sk-f", base_url=server.url) as llm:
        assert trio.run(trio.to_thread.run_sync, llm.invoke, "hi").text == "hello"


def test_a_stream_may_be_made_before_its_event_loop() -> None:
    """As Streamlit's `write_stream(llm.astream(...))` does it."""

    async def texts(chunks: AsyncIterator[AIMessageChunk]) -> str:
        return "".join([chunk.text async for chunk in chunks])

    with Loopback(HELLO) as server:
        llm = ChatModelStudio(model="qwen-plus", api_key="sk-f", base_url=server.url)
        assert asyncio.run(texts(llm.astream("hi"))) == "hello"


def test_no_event_loop() -> None:
    """A coroutine that somebody else steps through is refused, too."""
    llm = ChatModelStudio(model="qwen-plus", api_key="sk-f", base_url="http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="but this is no event loop"):
        llm.ainvoke("hi").send(None)
