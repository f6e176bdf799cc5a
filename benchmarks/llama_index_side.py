"""Define the LlamaIndex contenders: the floor, ours and the peers, all called through `LLM`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.custom import CustomLLM

from benchmarks.floor import Wire
from benchmarks.server import DASHSCOPE, OPENAI, url

NAME = "LlamaIndex"
IMPORTS = {
    "base": "import llama_index.core.llms.function_calling, httpx",
    "ours": "import llama_index_modelstudio",
    "OpenAILike": "import llama_index.llms.openai_like",
    "DashScope": "import llama_index.llms.dashscope",
}
DISTRIBUTIONS = ("llama-index-core", "httpx", "pydantic", "llama-index-llms-openai-like", "openai",
                 "llama-index-llms-dashscope", "llama-index-embeddings-dashscope", "dashscope", "uvloop")  # fmt: skip
PROMPT = [ChatMessage(role=MessageRole.USER, content="hi")]


class Floor(CustomLLM):
    """Minimal LLM: plain httpx and one response, with all text so far, per event."""

    wire: Any
    over_stream: bool = False

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        text = messages[-1].content or ""
        answer, calls = self.wire.whole_stream(text) if self.over_stream else (self.wire.ask(text), [])
        blocks: list[Any] = [TextBlock(text=answer)]
        blocks += [ToolCallBlock(tool_call_id=c["id"], tool_name=c["name"], tool_kwargs=c["args"]) for c in calls]
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        answer = await self.wire.aask(messages[-1].content)
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=answer)]))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        def gen() -> Iterator[ChatResponse]:
            so_far, arguments = "", ""
            for text, fragments in self.wire.stream(messages[-1].content):
                so_far += text
                arguments += "".join(fragment["function"].get("arguments", "") for fragment in fragments)
                yield _response(so_far, text, arguments)

        return gen()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        async def gen() -> AsyncIterator[ChatResponse]:
            so_far = ""
            async for text, _ in self.wire.astream(messages[-1].content):
                so_far += text
                yield _response(so_far, text, "")

        return gen()


def _response(so_far: str, text: str, arguments: str) -> ChatResponse:
    blocks: list[Any] = [ToolCallBlock(tool_call_id="1", tool_name="note", tool_kwargs=arguments)] if arguments else []
    if so_far or not blocks:
        blocks.insert(0, TextBlock(text=so_far))
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks), delta=text)


# ---------------------------------------------------------------- contenders


def _floor(origin: str, kind: str, protocol: str, over_stream: bool) -> Any:
    return Floor(wire=Wire(url(origin, kind, protocol), protocol), over_stream=over_stream)


def _ours(origin: str, kind: str, protocol: str, over_stream: bool) -> Any:
    from llama_index_modelstudio import ModelStudio

    # qwq-32b is streaming-only, so `chat` streams; qwen-flash does not think
    return ModelStudio(
        model="qwq-32b" if over_stream else "qwen-flash",
        base_url=url(origin, kind, protocol),
        api_key="none",
        protocol=protocol,
    )


def _openai_like(origin: str, kind: str, protocol: str, over_stream: bool) -> Any:
    from llama_index.llms.openai_like import OpenAILike

    return OpenAILike(
        model="qwen-flash",
        api_base=url(origin, kind, protocol),
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
    )


def _dashscope(origin: str, kind: str, protocol: str, over_stream: bool) -> Any:
    import dashscope
    from llama_index.llms.dashscope import DashScope

    dashscope.base_http_api_url = url(origin, kind, protocol)  # global, so one per process
    return DashScope(model_name="qwen-flash", api_key="none")


Make = Callable[[str, str, str, bool], Any]
CONTENDERS: dict[str, dict[str, Make]] = {
    OPENAI: {"floor": _floor, "ours": _ours, "OpenAILike": _openai_like},
    DASHSCOPE: {"floor": _floor, "ours": _ours, "DashScope": _dashscope},
}


def _embed_ours(origin: str) -> Embed:
    from llama_index_modelstudio import ModelStudioEmbedding

    address = url(origin, "embed", DASHSCOPE)
    return ModelStudioEmbedding(base_url=address, api_key="none", protocol="dashscope").get_text_embedding_batch


def _embed_dashscope(origin: str) -> Embed:
    import dashscope
    from llama_index.embeddings.dashscope import DashScopeEmbedding

    dashscope.base_http_api_url = url(origin, "embed", DASHSCOPE)
    embedding = DashScopeEmbedding(model_name="text-embedding-v4", api_key="none", embed_batch_size=10)
    return embedding.get_text_embedding_batch


def job_model(base_url: str, model: str) -> Any:
    """Return a model for batch jobs."""
    from llama_index_modelstudio import ModelStudio

    return ModelStudio(model=model, base_url=base_url, api_key="none", temperature=0.2)


def whole_answer(result: Any) -> Any:
    """Return what a live call makes of a core result."""
    from llama_index_modelstudio.outputs import from_core_result

    return from_core_result(result)


def prompt_message(text: str) -> ChatMessage:
    """Return the framework's message of a prompt."""
    return ChatMessage(text)


def answer_message(text: str, usage: Any) -> ChatResponse:
    """Return the framework's response of an answer."""
    return ChatResponse(message=ChatMessage(text, role=MessageRole.ASSISTANT), raw={"usage": usage})


Embed = Callable[[list[str]], list[list[float]]]
EMBEDDERS: dict[str, Callable[[str], Embed]] = {"ours": _embed_ours, "DashScopeEmbedding": _embed_dashscope}


# ---------------------------------------------------------------- calls


def stream(llm: Any) -> None:
    for _ in llm.stream_chat(PROMPT):
        pass


async def astream(llm: Any) -> None:
    async for _ in await llm.astream_chat(PROMPT):
        pass


def invoke(llm: Any) -> None:
    llm.chat(PROMPT)


async def ainvoke(llm: Any) -> None:
    await llm.achat(PROMPT)


def texts(llm: Any) -> Iterator[str]:
    for response in llm.stream_chat(PROMPT):
        yield response.delta or ""


async def atexts(llm: Any) -> AsyncIterator[str]:
    async for response in await llm.astream_chat(PROMPT):
        yield response.delta or ""


def stream_asking_for_calls(llm: Any) -> None:
    """Read the tool calls of every response, as an agent does. The floor has none."""
    ask = getattr(llm, "get_tool_calls_from_response", None)
    for response in llm.stream_chat(PROMPT):
        if ask is not None:
            ask(response, error_on_no_tool_call=False)
