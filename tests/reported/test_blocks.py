"""Unsupported blocks: in tool results, a text replaces them; of an agent's messages, only the text is kept."""

from __future__ import annotations

import base64
import logging
from io import BytesIO
from itertools import cycle
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.base.llms.types import ChatMessage as LlamaIndexMessage

from modelstudio_core.errors import ConfigurationError
from tests.langchain import service as langchain
from tests.loopback import Loopback
from tests.protocols import both_protocols
from tests.reported.conversations import OK, WAYS, call, chat, every_adapter, every_way, wire
from tests.service import Answer, Call, sent

pytestmark = both_protocols
PDF = base64.b64encode(b"%PDF-1.7 report").decode()  # of 15 bytes
URL = "https://example.com/files/report.pdf"
PNG = f"data:image/png;base64,{base64.b64encode(b'1234567').decode()}"
EPHEMERAL = {"type": "ephemeral"}


def table(rows: dict[str, tuple[Any, ...]], names: str) -> Any:
    """Parametrize a test by rows. The four methods take turns."""
    values = [(*row, way) for row, way in zip(rows.values(), cycle(WAYS))]
    return pytest.mark.parametrize((*names.split(), "way"), values, ids=rows)


def in_langchain(*blocks: Any) -> list[BaseMessage]:
    made = [{"id": "c1", "name": "read", "args": {}}]
    return [HumanMessage("hi"), AIMessage("", tool_calls=made), ToolMessage(list(blocks), tool_call_id="c1")]


def in_llama_index(*blocks: Any) -> list[LlamaIndexMessage]:
    made: Any = [ToolCallBlock(tool_call_id="c1", tool_name="read", tool_kwargs={})]
    return [
        LlamaIndexMessage("hi"),
        LlamaIndexMessage(role="assistant", blocks=made),
        LlamaIndexMessage(role="tool", blocks=list(blocks), additional_kwargs={"tool_call_id": "c1"}),
    ]


# ---------------------------------------------------------------- 4: the results of tools

LANGCHAIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a file, as MCP's adapter makes of a blob": (
        {"type": "file", "base64": PDF, "mime_type": "application/pdf", "id": "lc_1"},
        ("file", "application/pdf", "15 bytes"),
    ),
    "a blob of no MIME type": ({"type": "file", "base64": PDF}, ("file", "15 bytes")),
    "a link to a resource": (
        {"type": "file", "url": f"{URL}?signature=abc", "mime_type": "application/pdf"},
        ("file", "application/pdf", URL),
    ),
    "an uploaded file": ({"type": "file", "file_id": "file-1"}, ("file", "file-1")),
    "a file of v0": (
        {"type": "file", "source_type": "base64", "data": PDF, "mime_type": "application/pdf", "filename": "a.pdf"},
        ("file", "application/pdf", "15 bytes", "a.pdf"),
    ),
    "a file in OpenAI's form": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        ("file", "application/pdf", "15 bytes", "a.pdf"),
    ),
    "a file with a name in extras": (
        {"type": "file", "base64": PDF, "mime_type": "application/pdf", "extras": {"name": "a.pdf"}},
        ("file", "15 bytes", "a.pdf"),
    ),
    "a document in Anthropic's form": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
            "title": "Report",
        },
        ("document", "application/pdf", "15 bytes", "Report"),
    ),
    "another provider's": ({"type": "non_standard", "value": {"type": "x", "data": PDF}}, ("non_standard",)),
    "a search result": ({"type": "search_result", "title": "Report", "content": []}, ("search_result", "Report")),
    "what another framework made": ({"type": "custom_tool_call_output", "output": "x"}, ("custom_tool_call_output",)),
    "an unknown type": ({"type": "hologram"}, ("hologram",)),
    "no type": ({"city": "x"}, ("without a type",)),
    "an image without content": ({"type": "image"}, ("image",)),
    "an image on this machine": ({"type": "image", "url": "/home/me/it.png"}, ("image", "/home/me/it.png")),
    "an uploaded image": ({"type": "image", "file_id": "file-1"}, ("image", "file-1")),
    "an image without a MIME type": ({"type": "image", "base64": PDF}, ("image", "15 bytes")),
    "audio without content": ({"type": "input_audio", "input_audio": {"format": "wav"}}, ("input_audio",)),
    "a type that is no text": ({"type": 5, "base64": PDF}, ("5",)),
    "text by address": ({"type": "text-plain", "url": URL}, ("text-plain", URL)),
    "text in bad base64": ({"type": "text-plain", "base64": "?", "mime_type": "text/plain"}, ("text-plain",)),
    "frames that are none": ({"type": "video", "video": [1, 2]}, ("video",)),
}


@pytest.mark.report(4)
@table(LANGCHAIN, "block words")
async def test_unsupported_results_langchain(
    block: Any, words: tuple[str, ...], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A text says what was omitted, its content is not sent, and a warning is logged."""
    with caplog.at_level(logging.WARNING, "modelstudio_core"):
        messages = await wire("langchain", in_langchain({"type": "text", "text": "see"}, block), way)
    check_replaced(messages, words, caplog)


def check_replaced(messages: list[dict[str, Any]], words: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    see, text = messages[2]["content"].split("\n")
    assert see == "see"
    assert all(word in text for word in (*words, "left out"))
    assert not any(secret in text for secret in (PDF, "signature"))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert text in record.getMessage()
    assert "c1" in record.getMessage()


LLAMA_INDEX: dict[str, tuple[Any, tuple[str, ...]]] = {
    "a document": (
        DocumentBlock(data=b"%PDF-1.7 report", title="Report", document_mimetype="application/pdf"),
        ("document", "application/pdf", "15 bytes", "Report"),
    ),
    "a document in a buffer": (
        DocumentBlock(data=BytesIO(b"%PDF-1.7 report"), document_mimetype="application/pdf"),
        ("document", "application/pdf", "15 bytes"),
    ),
    "a document by address": (DocumentBlock(url=f"{URL}?signature=abc", title="Report"), ("document", "Report")),
    "a document without a title": (DocumentBlock(url=f"{URL}?signature=abc"), ("document", URL)),
    "a document that is a file": (DocumentBlock(path=__file__), ("document", "test_blocks.py", " bytes")),
    "a document that is no more": (DocumentBlock(path="gone/a.pdf"), ("document", "a.pdf")),
    "an image at a strange address": (ImageBlock(url="ftp://example.com/a.png"), ("image", "ftp://example.com/a.png")),
    "an image of nothing": (ImageBlock(), ("image",)),
    "audio of nothing": (AudioBlock(audio=BytesIO(b"")), ("audio",)),
    "a citable document": (
        CitableBlock(title="t", source="s", content=[DocumentBlock(data=b"%PDF-1.7 report", title="Report")]),
        ("document", "15 bytes", "Report"),
    ),
}


@pytest.mark.report(4)
@table(LLAMA_INDEX, "block words")
async def test_unsupported_results_llama_index(
    block: Any, words: tuple[str, ...], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A text says what was omitted, its content is not sent, and a warning is logged."""
    given = in_llama_index(TextBlock(text="see"), block)
    with caplog.at_level(logging.WARNING, "modelstudio_core"), Loopback(OK) as server:
        await call("llama_index", chat("llama_index", server), way, given)
        check_replaced(sent(server)["messages"], words, caplog)


MEDIA: dict[str, tuple[Any, Any, str]] = {
    "an image": ({"type": "image", "url": PNG}, ImageBlock(url=PNG), "image"),
    "a video": (
        {"type": "video", "url": "https://example.com/a.mp4"},
        VideoBlock(url="https://example.com/a.mp4"),
        "video",
    ),
    "audio": (
        {"type": "audio", "url": "https://example.com/a.mp3"},
        AudioBlock(url="https://example.com/a.mp3"),
        "audio",
    ),
}
# a model, and what its tools' results may hold: by the catalogue, and where there is no source all that it may accept
TAKES: dict[str, set[str]] = {
    "qwen-plus": set(),
    "qwen3-vl-plus": {"image", "video"},
    "qwen3.5-omni-plus": {"image", "video", "audio"},
}


@pytest.mark.report(4)
@every_adapter
@pytest.mark.parametrize("model", TAKES)
@pytest.mark.parametrize(("block", "llama_block", "kind"), MEDIA.values(), ids=MEDIA)
@pytest.mark.rotated
async def test_media_in_a_result(adapter: str, model: str, block: Any, llama_block: Any, kind: str) -> None:
    """Media are sent to models that accept them. For others, a text says what was omitted."""
    given: Any = in_langchain(block) if adapter == "langchain" else in_llama_index(llama_block)
    content = (await wire(adapter, given, model=model))[2]["content"]
    if kind in TAKES[model]:
        assert len(content) == 1
        assert "text" not in content[0]
    else:
        assert content.startswith(f"[{kind} left out: ")


@pytest.mark.report(4)
@pytest.mark.parametrize("endpoint", [None, "text-generation", "multimodal-generation"])
@pytest.mark.parametrize("model", ["qwen-plus", "qwen3-vl-plus", "qwen3-omni-flash", "made-up"])
async def test_the_profile_matches_the_request(model: str, endpoint: Any) -> None:
    """`image_tool_message` says whether images in tool results are sent."""
    with Loopback(OK) as server:
        llm = langchain.chat(server, model=model, native_endpoint=endpoint)
        await langchain.call(llm, "invoke", in_langchain({"type": "image", "url": PNG}))
        content = sent(server)["messages"][2]["content"]
    assert llm.profile is not None
    assert llm.profile["image_tool_message"] is not isinstance(content, str)
    assert llm.profile["pdf_tool_message"] is False


@pytest.mark.report(4)
async def test_a_result_in_a_user_turn() -> None:
    """Anthropic's format of a tool result is supported."""
    given = [
        *in_langchain()[:2],
        HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "file", "base64": PDF}]}]),
    ]
    messages = await wire("langchain", given)
    assert messages[2]["content"].startswith("[file left out: ")


@pytest.mark.report(4)
@every_adapter
async def test_the_cache_mark_of_an_omitted_block(adapter: str) -> None:
    """It is on the text that replaces the block."""
    given: Any = in_langchain({"type": "image", "url": PNG, "cache_control": EPHEMERAL})
    if adapter == "llama_index":
        given = in_llama_index(ImageBlock(url=PNG), CachePoint(cache_control=CacheControl(type="ephemeral")))
    [part] = (await wire(adapter, given))[2]["content"]
    assert (part["text"].startswith("[image left out"), part["cache_control"]) == (True, EPHEMERAL)


@pytest.mark.report(4)
@every_adapter
async def test_reasoning_in_a_result_is_omitted(adapter: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of an agent used as a tool, only the answer is sent."""
    given: Any = in_langchain({"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "ok"})
    if adapter == "llama_index":
        given = in_llama_index(ThinkingBlock(content="hm"), TextBlock(text="ok"))
    assert (await wire(adapter, given))[2]["content"] == "ok"
    assert not caplog.records


@pytest.mark.report(4)
@every_adapter
async def test_a_file_in_a_user_turn_is_an_error(adapter: str) -> None:
    """Because the caller can correct it."""
    given: Any = [HumanMessage([{"type": "file", "base64": PDF}])]
    if adapter == "llama_index":
        given = [LlamaIndexMessage(role="user", blocks=[DocumentBlock(data=b"%PDF-1.7 report")])]
    with pytest.raises(ConfigurationError, match="not supported"):
        await wire(adapter, given)


# ---------------------------------------------------------------- 5: what an agent said, in a turn of another role

NOT_SAID: list[dict[str, Any]] = [
    {"type": "reasoning", "reasoning": "hm"},
    {"type": "reasoning", "summary": [], "id": "rs_1"},
    {"type": "thinking", "thinking": "hm", "signature": "x"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "reasoning_content", "reasoning_content": {"text": "hm"}},
    {"type": "tool_call", "id": "c1", "name": "get", "args": {}},
    {"type": "tool_call_chunk", "id": "c1", "name": "get", "args": "{}", "index": 0},
    {"type": "invalid_tool_call", "id": "c1", "name": "get", "args": "{", "error": "cut"},
    {"type": "tool_use", "id": "c1", "name": "get", "input": {}},
    {"type": "function_call", "name": "get", "arguments": "{}"},
    {"type": "server_tool_call", "id": "s1", "name": "web_search", "args": {}},
    {"type": "server_tool_call_chunk", "id": "s1", "name": "web_search", "args": "{}"},
    {"type": "server_tool_result", "tool_call_id": "s1", "status": "success"},
    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    {"type": "executable_code", "executable_code": "1 + 1"},
    {"type": "code_execution_result", "code_execution_result": "2"},
    {"type": "citation", "url": URL},
    {"type": "mcp_list_tools", "server_label": "s", "tools": []},
    {"type": "mcp_approval_request", "id": "m1", "name": "get", "arguments": "{}"},
    {"type": "non_standard", "value": {}},
]
ROLES: dict[str, Any] = {
    "user": lambda content: HumanMessage(content, name="researcher"),
    "system": lambda content: SystemMessage(content, name="researcher"),
    "ChatMessage": lambda content: ChatMessage(content, role="developer", name="researcher"),
}


@pytest.mark.report(5)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("block", NOT_SAID, ids=lambda block: str(block["type"]))
@pytest.mark.rotated
async def test_unsupported_assistant_blocks_langchain(role: str, block: Any) -> None:
    """Only the text of the turn is sent."""
    content = [{"type": "text", "text": "a"}, block, {"type": "text", "text": "b", "annotations": []}]
    [message, _] = await wire("langchain", [ROLES[role](content), HumanMessage("hi")])
    assert message == {"role": "user" if role == "user" else "system", "content": "ab", "name": "researcher"}


CITATION = CitationBlock(cited_content="c", source="s", title="t", additional_location_info={})
MADE = ToolCallBlock(tool_call_id="c1", tool_name="get", tool_kwargs={})


@pytest.mark.report(5)
@pytest.mark.parametrize("role", ["user", "system", "developer"])
@pytest.mark.parametrize("block", [ThinkingBlock(content="hm"), MADE, CITATION], ids=lambda block: type(block).__name__)
async def test_unsupported_assistant_blocks_llama_index(role: str, block: Any) -> None:
    """Only the text of the turn is sent, including the text of citations."""
    blocks = [TextBlock(text="a"), block, TextBlock(text="b")]
    given = [LlamaIndexMessage(role=role, blocks=blocks), LlamaIndexMessage("hi")]
    [message, _] = await wire("llama_index", given)
    assert message == {"role": "user" if role == "user" else "system", "content": "ab"}


@pytest.mark.report(5)
async def test_a_cache_point_after_an_omitted_block() -> None:
    """It marks the block before, if any."""
    point = CachePoint(cache_control=CacheControl(type="ephemeral"))
    text, thought = TextBlock(text="a"), ThinkingBlock(content="hm")
    [before, after] = await wire(
        "llama_index",
        [LlamaIndexMessage(role="user", blocks=blocks) for blocks in ([text, thought, point], [thought, point, text])],
    )
    [part] = before["content"]
    assert (part["text"], part["cache_control"], after["content"]) == ("a", EPHEMERAL, "a")


@pytest.mark.report(5)
@every_adapter
async def test_a_turn_without_text_is_omitted(adapter: str) -> None:
    """Such as one of an agent that only called a tool."""
    given: Any = [HumanMessage("hi"), HumanMessage([NOT_SAID[0], NOT_SAID[5]])]
    if adapter == "llama_index":
        given = [LlamaIndexMessage("hi"), LlamaIndexMessage(role="user", blocks=[ThinkingBlock(content="hm"), MADE])]
    assert await wire(adapter, given) == [{"role": "user", "content": "hi"}]


@pytest.mark.report(5)
@every_adapter
@every_way
async def test_an_answer_as_input_of_another_agent(adapter: str, way: str) -> None:
    """Our answers, with their blocks, can be user turns or instructions."""
    answer = Answer(reasoning=["hm"], text=["It is ", "sunny."], calls=[Call("c1", "get")])
    settings = {"enable_thinking": True} | ({"output_version": "v1"} if adapter == "langchain" else {})
    with Loopback([answer, OK]) as server:
        llm = chat(adapter, server, **settings)
        said = await call(adapter, llm, way, "hello")
        if adapter == "langchain":
            given: Any = [SystemMessage(said.content), HumanMessage(said.content, name="researcher")]
        else:
            blocks = said.message.blocks
            given = [LlamaIndexMessage(role=role, blocks=blocks) for role in ("system", "user")]
        await call(adapter, llm, way, given)
        assert [message["content"] for message in sent(server)["messages"]] == ["It is sunny."] * 2
