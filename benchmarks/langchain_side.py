"""Define the LangChain contenders: the floor, ours and the peers, all called through BaseChatModel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from benchmarks.floor import Fragment, Wire
from benchmarks.server import DASHSCOPE, OPENAI, PATHS, url

NAME = "LangChain"
IMPORTS = {
    "base": "import langchain_core.language_models.chat_models, httpx",
    "ours": "import langchain_modelstudio",
    "ChatOpenAI": "import langchain_openai",
    "ChatQwen": "import langchain_qwq",
    "ChatTongyi": "import langchain_community.chat_models.tongyi, dashscope",
}
DISTRIBUTIONS = ("langchain-core", "httpx", "pydantic", "langchain-openai", "openai", "langchain-qwq",
                 "langchain-community", "dashscope", "uvloop")  # fmt: skip
PROMPT = [("user", "hi")]


class Floor(BaseChatModel):
    """Minimal chat model: plain httpx and one message chunk per event."""

    wire: Any
    over_stream: bool = False

    @property
    def _llm_type(self) -> str:
        return "floor"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        text = messages[-1].content
        answer, calls = self.wire.whole_stream(text) if self.over_stream else (self.wire.ask(text), [])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=answer, tool_calls=calls))])

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        answer = await self.wire.aask(messages[-1].content)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=answer))])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for text, fragments in self.wire.stream(messages[-1].content):
            yield _chunk(text, fragments)

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for text, fragments in self.wire.astream(messages[-1].content):
            yield _chunk(text, fragments)


def _chunk(text: str, fragments: list[Fragment]) -> ChatGenerationChunk:
    if not fragments:
        return ChatGenerationChunk(message=AIMessageChunk(content=text))
    calls = [
        tool_call_chunk(
            name=f["function"].get("name"), args=f["function"]["arguments"], id=f["id"] or None, index=f["index"]
        )
        for f in fragments
    ]
    return ChatGenerationChunk(message=AIMessageChunk(content=text, tool_call_chunks=calls))


# ---------------------------------------------------------------- contenders


def _floor(origin: str, kind: str, protocol: str, over_stream: bool) -> BaseChatModel:
    return Floor(wire=Wire(url(origin, kind, protocol), protocol), over_stream=over_stream)


def _ours(origin: str, kind: str, protocol: str, over_stream: bool) -> BaseChatModel:
    from langchain_modelstudio import ChatModelStudio

    # qwq-32b is streaming-only, so `invoke` streams; qwen-flash does not think
    return ChatModelStudio(
        model="qwq-32b" if over_stream else "qwen-flash",
        base_url=url(origin, kind, protocol),
        api_key="none",
        protocol=protocol,  # type: ignore[arg-type]
    )


def _chat_openai(origin: str, kind: str, protocol: str, over_stream: bool) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(
        model="qwen-flash",
        base_url=url(origin, kind, protocol),
        api_key="none",  # type: ignore[arg-type]
        stream_usage=True,
        **({"streaming": True} if over_stream else {}),  # False would turn `stream` into `invoke`
    )


def _chat_qwen(origin: str, kind: str, protocol: str, over_stream: bool) -> BaseChatModel:
    from langchain_qwq import ChatQwen

    made: BaseChatModel = ChatQwen(
        model="qwen-flash",
        api_base=url(origin, kind, protocol),
        api_key="none",
        **({"streaming": True} if over_stream else {}),
    )
    return made


def _chat_tongyi(origin: str, kind: str, protocol: str, over_stream: bool) -> BaseChatModel:
    import dashscope
    from langchain_community.chat_models.tongyi import ChatTongyi

    class Streaming(ChatTongyi):
        """Force streaming: a validator sets `streaming` to False, which turns `stream()` into `invoke`."""

        def _should_stream(self, **kwargs: Any) -> bool:
            return True

    dashscope.base_http_api_url = url(origin, kind, protocol)  # global, so one per process
    cls = ChatTongyi if kind == "whole" else Streaming
    return cls(model="qwen-flash", api_key="none", streaming=over_stream)  # type: ignore[call-arg,arg-type]


Make = Callable[[str, str, str, bool], BaseChatModel]
CONTENDERS: dict[str, dict[str, Make]] = {
    OPENAI: {"floor": _floor, "ours": _ours, "ChatOpenAI": _chat_openai, "ChatQwen": _chat_qwen},
    DASHSCOPE: {"floor": _floor, "ours": _ours, "ChatTongyi": _chat_tongyi},
}
assert set(CONTENDERS) == set(PATHS)


def responses_models(origin: str, kind: str) -> dict[str, BaseChatModel]:
    """Return ours with the compatible protocol, as the floor, and ours and a peer with the Responses protocol."""
    from langchain_openai import ChatOpenAI

    from langchain_modelstudio import ChatModelStudio

    given: Any = {"model": "qwen-turbo", "base_url": url(origin, kind, OPENAI), "api_key": "none"}
    return {
        "floor": ChatModelStudio(**given),
        "ours": ChatModelStudio(**given, protocol="responses"),
        "ChatOpenAI": ChatOpenAI(**given, use_responses_api=True),
    }


def _embed_ours(origin: str) -> Embed:
    from langchain_modelstudio import ModelStudioEmbeddings

    address = url(origin, "embed", DASHSCOPE)
    return ModelStudioEmbeddings(base_url=address, api_key="none", protocol="dashscope").embed_documents


def _embed_dashscope(origin: str) -> Embed:
    import dashscope
    from langchain_community.embeddings import DashScopeEmbeddings

    dashscope.base_http_api_url = url(origin, "embed", DASHSCOPE)
    return DashScopeEmbeddings(model="text-embedding-v4", dashscope_api_key="none").embed_documents


def job_model(base_url: str, model: str) -> Any:
    """Return a model for batch jobs."""
    from langchain_modelstudio import ChatModelStudio

    return ChatModelStudio(model=model, base_url=base_url, api_key="none", temperature=0.2)  # type: ignore[arg-type]


def whole_answer(result: Any) -> Any:
    """Return what a live call makes of a core result."""
    from langchain_modelstudio.outputs import from_core_result

    return from_core_result(result)


def prompt_message(text: str) -> HumanMessage:
    """Return the framework's message of a prompt."""
    return HumanMessage(text)


def answer_message(text: str, usage: Any) -> AIMessage:
    """Return the framework's message of an answer."""
    return AIMessage(content=text, response_metadata={"usage": usage})


Embed = Callable[[list[str]], list[list[float]]]
EMBEDDERS: dict[str, Callable[[str], Embed]] = {"ours": _embed_ours, "DashScopeEmbeddings": _embed_dashscope}


# ---------------------------------------------------------------- calls


def stream(llm: Any) -> None:
    for _ in llm.stream(PROMPT):
        pass


async def astream(llm: Any) -> None:
    async for _ in llm.astream(PROMPT):
        pass


def invoke(llm: Any) -> None:
    llm.invoke(PROMPT)


async def ainvoke(llm: Any) -> None:
    await llm.ainvoke(PROMPT)


def texts(llm: Any) -> Iterator[str]:
    for chunk in llm.stream(PROMPT):
        yield chunk.content


async def atexts(llm: Any) -> AsyncIterator[str]:
    async for chunk in llm.astream(PROMPT):
        yield chunk.content


def v3_events(llm: Any) -> None:
    for _ in llm.stream_events(PROMPT, version="v3"):
        pass
