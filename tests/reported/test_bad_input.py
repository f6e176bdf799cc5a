"""Invalid input raises our errors, with the reason and advice."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)
from llama_index.core.tools import FunctionTool
from pydantic import AliasChoices, AliasPath, Field

from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank
from langchain_modelstudio.errors import ConfigurationError, ModelStudioError
from langchain_modelstudio.messages import to_core_messages
from llama_index_modelstudio import ModelStudio, ModelStudioEmbedding, ModelStudioMultiModalEmbedding
from llama_index_modelstudio import errors as llama_index_errors
from llama_index_modelstudio.messages import to_core_messages as from_llama_index
from tests.ids import short
from tests.langchain.service import WAYS, call, chat
from tests.llama_index import service as llama_index
from tests.loopback import Loopback, reply_json
from tests.protocols import both_protocols
from tests.service import Answer, sent

HELLO = Answer(text=["Hello"])
URL = "https://example.com/a.png"
DATA = "aGk="
KINDS = ("image", "video", "audio")
WRONG: list[Any] = [
    None, 5, 2.5, True, "", "it.png", "not base64!", "ftp://example.com/a", "data:", b"hi", object(),
    [], [1, 2], [None], [URL], {}, {"a": 1}, {"url": 5}, {"type": "image"},
]  # fmt: skip


# ---------------------------------------------------------------- blocks of LangChain


def malformed(wrong: Any) -> Iterator[dict[str, Any]]:
    """Yield media blocks in every known form, each with `wrong` as one of its values."""
    for kind in KINDS:
        yield {"type": kind, "url": wrong}
        yield {"type": kind, "base64": wrong}
        yield {"type": kind, "base64": wrong, "mime_type": "image/png"}
        yield {"type": kind, "base64": DATA, "mime_type": wrong}
        yield {"type": kind, "data": wrong}
        yield {"type": kind, "text": wrong}
        yield {"type": kind, "text": wrong, "mime_type": "image/png"}
        yield {"type": kind, "file_id": wrong}
        yield {"type": kind, "id": wrong}
        yield {"type": kind, "source_type": wrong, "url": URL}
        yield {"type": kind, "source_type": "url", "url": wrong}
        yield {"type": kind, "source_type": "base64", "data": wrong, "mime_type": "image/png"}
        yield {"type": kind, "source_type": "base64", "data": DATA, "mime_type": wrong}
        yield {"type": kind, "source_type": "id", "id": wrong}
        yield {"type": kind, "source": wrong}
        yield {"type": kind, "source": {"type": "base64", "media_type": "image/png", "data": wrong}}
        yield {"type": kind, "source": {"type": "base64", "media_type": wrong, "data": DATA}}
        yield {"type": kind, "source": {"type": "url", "url": wrong}}
        yield {"type": kind, "source": {"type": "file", "file_id": wrong}}
        yield {"type": kind, kind: wrong}
        yield {"type": f"{kind}_url", f"{kind}_url": wrong}
        yield {"type": f"{kind}_url", f"{kind}_url": {"url": wrong}}
        yield {"type": f"{kind}_url", f"{kind}_url": {"url": URL, "detail": wrong}}
        for hint in ("min_pixels", "max_pixels", "total_pixels", "max_frames", "fps", "format", "cache_control"):
            yield {"type": kind, "url": URL, hint: wrong}
            yield {"type": kind, "url": URL, "extras": {hint: wrong}}
        yield {"type": kind, "url": URL, "extras": wrong}
    yield {"type": "video", "video": [wrong]}
    yield {"type": "input_audio", "input_audio": wrong}
    yield {"type": "input_audio", "input_audio": {"data": wrong, "format": "wav"}}
    yield {"type": "input_audio", "input_audio": {"data": DATA, "format": wrong}}
    for name in ("text", "base64", "url", "file_id", "mime_type", "cache_control"):
        yield {"type": "text", name: wrong}
        yield {"type": "text-plain", name: wrong}
    for name in ("base64", "url", "file_id", "id", "mime_type", "file", "source", "data", "source_type"):
        yield {"type": "file", name: wrong}
        yield {"type": "document", name: wrong}
    yield {"type": wrong}
    yield {"type": wrong, "url": URL}


@pytest.mark.report(31)
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_malformed_blocks(wrong: Any) -> None:
    """A block is converted, or raises an error of this package."""
    for block in malformed(wrong):
        messages = (
            HumanMessage([block]),
            SystemMessage([block]),
            AIMessage([block]),
            ToolMessage([block], tool_call_id="1"),
        )
        for message in messages:
            with contextlib.suppress(ModelStudioError, llama_index_errors.ModelStudioError):
                to_core_messages([message])


@pytest.mark.report(31)
@both_protocols
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_malformed_blocks_in_a_call(wrong: Any) -> None:
    """Blocks that the service can read are sent, others raise an error of this package."""
    with Loopback(HELLO) as server:
        llm = chat(server, model="qwen-vl-max")
        for block in malformed(wrong):
            with contextlib.suppress(ModelStudioError):
                llm.invoke([HumanMessage([block])])


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4),
    st.sampled_from([URL, DATA, "data:image/png;base64,", "image/png", "base64", "url", "id"]),
)  # fmt: skip
NAMES = st.sampled_from([
    "url", "base64", "data", "mime_type", "media_type", "id", "file_id", "source_type", "source", "image_url",
    "video_url", "audio_url", "input_audio", "image", "video", "audio", "text", "file", "extras", "detail", "format",
    "fps", "min_pixels", "cache_control",
])  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
FORMS = st.integers(0, len(list(malformed(None))) - 1)


@pytest.mark.report(31)
@settings(max_examples=300, deadline=None)
@given(form=FORMS, wrong=VALUES)
def test_any_values_in_blocks(form: int, wrong: Any) -> None:
    """A block is converted, or raises an error of this package."""
    with contextlib.suppress(ModelStudioError, llama_index_errors.ModelStudioError):
        to_core_messages([HumanMessage([list(malformed(wrong))[form]])])


NAMED: list[tuple[str, dict[str, Any], str]] = [
    (
        "bad base64 of text",
        {"type": "text-plain", "base64": "a"},
        r"'text-plain': base64='a' is not base64",
    ),
    ("base64 of what is no text", {"type": "text-plain", "base64": "/w=="}, "'text-plain'.*not base64-encoded text"),
    ("plain text without text", {"type": "text-plain"}, "'text-plain'.*neither text nor base64"),
    ("frames that are numbers", {"type": "video", "video": [1, 2]}, "'video': url=1 is not a string"),
    ("no frames", {"type": "video", "video": []}, "'video': video has no frames"),
    ("a URL that is a number", {"type": "image", "url": 5}, "'image': url=5 is not a string"),
    ("a URL in OpenAI's form", {"type": "image_url", "image_url": {"url": [URL]}}, "'image_url': url=.*not a string"),
    ("a data URI without data", {"type": "image", "url": "data:image/png;base64,"}, "'image'.*data URI without data"),
    ("a path as base64", {"type": "image", "base64": "/me/it.png", "mime_type": "image/png"}, "'image'.*not base64"),
    ("a dict as base64", {"type": "video", "base64": {"a": 1}}, "'video': the data is .*pass base64 as a string"),
    ("a number as MIME type", {"type": "audio", "base64": DATA, "mime_type": 5}, "'audio': mime_type=5 is not a MIME"),
    ("no MIME type", {"type": "image", "base64": DATA}, "'image': base64 requires a mime_type"),
    ("a number as format", {"type": "input_audio", "input_audio": {"data": DATA, "format": 5}}, "audio format 5"),
    ("no data", {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "'input_audio'.*no data"),
    ("an id", {"type": "image", "source_type": "id", "id": "file-1"}, "'image'.*by id or file_id.*url or base64"),
    ("a hint of a wrong type", {"type": "video", "url": URL, "fps": "fast"}, "'video': fps='fast'"),
    ("a source type that is none", {"type": "image", "source_type": [], "url": URL}, "source_type=.*not a string"),
    ("a type that is none", {"type": [1], "url": URL}, "type=.*not a string"),
]


@pytest.mark.report(31)
@both_protocols
@pytest.mark.parametrize(("block", "words"), [case[1:] for case in NAMED], ids=[case[0] for case in NAMED])
async def test_the_error_of_a_malformed_block(block: dict[str, Any], words: str) -> None:
    """It has the message, the type and the fault. Nothing is sent."""
    with Loopback(HELLO) as server:
        for way in WAYS:
            with pytest.raises(ConfigurationError, match=rf"messages\[1\] \(human\): content block of type .*{words}"):
                await call(chat(server), way, [HumanMessage("a"), HumanMessage([block])])
        assert server.requests == []


# ---------------------------------------------------------------- blocks of LlamaIndex


def closed() -> BytesIO:
    buffer = BytesIO(b"hi")
    buffer.close()
    return buffer


class Unreadable(BytesIO):
    """A buffer that raises an error when read."""

    def read(self, size: int | None = -1) -> bytes:
        raise OSError("the disk is gone")


def llama_index_blocks(gone: Path) -> Iterator[tuple[Any, str]]:
    """Yield invalid blocks with the expected error."""
    for cls, field in ((ImageBlock, "image"), (AudioBlock, "audio"), (VideoBlock, "video")):
        name = cls.__name__
        yield cls(), f"{name} has no data, path or url"
        yield cls(**{field: b""}), f"{name} is empty"
        yield cls(**{field: BytesIO()}), f"{name} is empty"
        yield cls(**{field: closed()}), f"{name} cannot be read: .*closed"
        yield cls(**{field: Unreadable()}), f"{name} cannot be read: the disk is gone"
        yield cls(**{field: StringIO("é!")}), f"{name} has data of type str, not bytes"
        yield cls(url="ftp://example.com/a"), f"{name} url='ftp:.*read the file"
        yield cls(url="data:x/y;base64,"), f"{name} url=.*without data"
        yield cls(path=gone), f"{name} cannot be read"
    yield ImageBlock(image=b"hi", image_mimetype="png"), "ImageBlock mime_type='png' is not a MIME type"
    yield DocumentBlock(), "DocumentBlock is not supported"
    yield DocumentBlock(path="missing.pdf"), "DocumentBlock is not supported"


@pytest.mark.report(31)
@both_protocols
async def test_a_malformed_block_of_llama_index(tmp_path: Path) -> None:
    """The error has the message, the block and the fault. Nothing is sent."""
    gone = tmp_path / "gone.png"
    gone.write_bytes(b"hi")
    cases = list(llama_index_blocks(gone))
    gone.unlink()
    with Loopback(HELLO) as server:
        for block, words in cases:
            message = ChatMessage(role="user", blocks=[TextBlock(text="a"), block])
            for way in llama_index.WAYS:
                with pytest.raises(llama_index_errors.ConfigurationError, match=rf"messages\[0\] \(user\): {words}"):
                    await llama_index.call(llama_index.chat(server), way, message)
            with contextlib.suppress(llama_index_errors.ModelStudioError):
                from_llama_index([ChatMessage(role="assistant", blocks=[block])])
        assert server.requests == []


# ---------------------------------------------------------------- arguments


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def plain(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def unknown_annotation(city: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    """Tell the weather in a city."""
    return str(city)


@pytest.mark.report(31)
@pytest.mark.parametrize(
    "schema",
    [unknown_annotation, Loopback, {"name": 5, "parameters": {}}, {"name": "plan", "parameters": 5}],
    ids=["annotation", "class", "name", "parameters"],
)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_tools_without_a_schema(schema: Any, method: Any) -> None:
    """What langchain-core and pydantic cannot convert raises an error of this package."""
    with Loopback(HELLO) as server, pytest.raises(ConfigurationError, match="cannot be converted to a schema"):
        chat(server).with_structured_output(schema, method=method)


@pytest.mark.report(31)
@pytest.mark.parametrize("lone", [weather, plain, ChatModelStudio, {"type": "function"}, "weather", 5], ids=range(6))
async def test_a_tool_that_is_not_in_a_list(lone: Any) -> None:
    """It raises an error wherever tools are passed."""
    with Loopback(HELLO) as server:
        llm, other = chat(server), llama_index.chat(server)
        uses: list[Any] = [
            lambda: llm.bind_tools(lone),
            lambda: llm.invoke("hi", tools=lone),
            lambda: llm.bind(tools=lone).invoke("hi"),
            lambda: llm.with_structured_output(method="json_mode", tools=lone),
            lambda: other.chat([ChatMessage("hi")], tools=lone),
            lambda: other.chat_with_tools(lone, user_msg="hi"),
            lambda: other.predict_and_call(lone, user_msg="hi"),
        ]
        for use in uses:
            with pytest.raises(llama_index_errors.ConfigurationError, match="must be a list of tools"):
                use()
        with pytest.raises(llama_index_errors.ConfigurationError, match="must be a list of tools"):
            await other.achat_with_tools(lone, user_msg="hi")
        assert server.requests == []


PER_CALL: list[tuple[str, Any]] = [
    ("stop", 5), ("stop", [None]), ("temperature", "hot"), ("max_tokens", "many"), ("n", "two"), ("seed", [1]),
    ("enable_thinking", "sometimes"), ("thinking_budget", "much"), ("reasoning_effort", 3), ("extra_body", 5),
    ("extra_body", [1]), ("search_options", "fast"), ("response_format", "json"), ("modalities", "text"),
    ("logprobs", "yes please"), ("reasoning_replay", "sometimes"), ("native_endpoint", "video-generation"),
    ("streaming", "maybe"), ("extra_body", {"n": "two"}), ("model", ""), ("model", "  "), ("model", 5), ("skill", 5),
]  # fmt: skip


@pytest.mark.report(31)
@both_protocols
@pytest.mark.parametrize(("name", "wrong"), PER_CALL, ids=range(len(PER_CALL)))
async def test_an_invalid_parameter_of_a_call(name: str, wrong: Any) -> None:
    """The error has its name. Nothing is sent."""
    named = f"{next(iter(wrong)) if isinstance(wrong, dict) else name}="
    with Loopback(HELLO) as server:
        for way in WAYS:
            for llm, options in ((chat(server), {name: wrong}), (chat(server).bind(**{name: wrong}), {})):
                with pytest.raises(ConfigurationError, match=named):
                    await call(llm, way, **options)
        for way in llama_index.WAYS:
            with pytest.raises(llama_index_errors.ConfigurationError, match=named):
                await llama_index.call(llama_index.chat(server), way, **{name: wrong})
        assert server.requests == []


@pytest.mark.report(31)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_model_id(blank: str) -> None:
    """The error has the argument, in each class."""
    embeddings = (ModelStudioEmbedding, ModelStudioMultiModalEmbedding, ModelStudioEmbeddings)
    for cls in (ChatModelStudio, ModelStudio, *embeddings, ModelStudioRerank):
        for name in ("model", "model_name"):
            with pytest.raises(
                llama_index_errors.ConfigurationError, match=r"model='\s*' is not a model id.*qwen-plus"
            ):
                cls(**{name: blank, "api_key": "sk-1"})


@pytest.mark.report(31)
@both_protocols
@pytest.mark.parametrize("choice", ["my tool", {"type": "function", "function": {"name": "my tool"}}], ids=short)
async def test_a_choice_with_the_original_tool_name(choice: Any) -> None:
    """A tool "my tool" is sent as `my_tool`. The choice may use either name."""
    tools = [FunctionTool.from_defaults(plain, name="my tool"), FunctionTool.from_defaults(plain, name="other")]
    with Loopback(HELLO) as server:
        for way in llama_index.WAYS:
            for name in (choice, "my_tool"):
                llm = llama_index.chat(server)
                await llama_index.call(llm, f"{way}_with_tools", tools=tools, tool_choice=name)
                assert sent(server)["tool_choice"] == {"type": "function", "function": {"name": "my_tool"}}
        with pytest.raises(llama_index_errors.ConfigurationError, match=r"'your tool'.*my_tool, other"):
            llama_index.chat(server).chat_with_tools(tools, user_msg="hi", tool_choice="your tool")


REFUSAL = {"error": {"message": "Unexpected item type in content.", "code": "invalid_parameter_error"}}
NATIVE_REFUSAL = {"code": "InvalidParameter", "message": "Unexpected item type in content.", "request_id": "1"}
MEDIA = {
    "images": {"type": "image", "url": URL},
    "video": {"type": "video", "url": URL},
    "audio": {"type": "audio", "url": URL},
}
MEDIA_BLOCKS = {"images": ImageBlock(url=URL), "video": VideoBlock(url=URL), "audio": AudioBlock(url=URL)}


@pytest.mark.report(31)
@both_protocols
@pytest.mark.parametrize("kind", MEDIA)
@pytest.mark.parametrize(("model", "listed"), [("qwen-plus", True), ("made-up", False)])
async def test_media_for_a_text_model(kind: str, model: str, listed: bool, each_protocol: str) -> None:
    """The service's 400 also says that the model is not listed as accepting this kind."""
    said = f"{model} is listed as not accepting {kind}: use a model that does."
    with Loopback(reply_json(400, REFUSAL if each_protocol == "openai" else NATIVE_REFUSAL)) as server:
        llm = chat(server, model=model, native_endpoint="multimodal-generation")
        for way in WAYS:
            with pytest.raises(ModelStudioError) as raised:
                await call(llm, way, [HumanMessage(["What is it?", MEDIA[kind]])])
            assert raised.value.status_code == 400
            assert str(raised.value).startswith("Unexpected item type in content.")
            assert (said in str(raised.value)) == listed
        with pytest.raises(ModelStudioError) as raised:
            llm.invoke("What is it?")
        assert "listed" not in str(raised.value)
        other = llama_index.chat(server, model=model, native_endpoint="multimodal-generation")
        for way in llama_index.WAYS:
            with pytest.raises(llama_index_errors.BadRequestError) as refused:
                await llama_index.call(other, way, ChatMessage(role="user", blocks=[MEDIA_BLOCKS[kind]]))
            assert (said in str(refused.value)) == listed


@pytest.mark.report(31)
@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
@pytest.mark.parametrize("blank", ["", " \n"])
async def test_a_blank_text_in_a_batch(protocol: str, blank: str) -> None:
    """The error has its position."""
    with Loopback(HELLO) as server:
        embedding: Any = ModelStudioEmbedding(model="text-embedding-v4", base_url=server.url, protocol=protocol)
        with pytest.raises(llama_index_errors.ConfigurationError, match="text 2 is empty"):
            embedding.get_text_embedding_batch(["a", "b", blank, "c"])
        with pytest.raises(llama_index_errors.ConfigurationError, match="text 2 is empty"):
            await embedding.aget_text_embedding_batch(["a", "b", blank, "c"])
        for name in ("get_text_embedding", "get_query_embedding"):
            with pytest.raises(llama_index_errors.ConfigurationError, match="text 0 is empty"):
                getattr(embedding, name)(blank)
        assert server.requests == []


# ---------------------------------------------------------------- fields


class Renamed(ChatModelStudio):
    """A subclass with field aliases."""

    team: str = Field(default="", alias="teamName")
    owner: str = Field(default="", validation_alias="ownerName")
    place: str = Field(default="", validation_alias=AliasChoices("city", AliasPath("address", "city"), "town"))


class RenamedLLM(ModelStudio):
    """The same for LlamaIndex."""

    team: str = Field(default="", alias="teamName")


class RenamedEmbedding(ModelStudioEmbedding):
    """The same for embeddings."""

    team: str = Field(default="", alias="teamName")


@pytest.mark.report(30)
def test_a_subclass_with_field_aliases() -> None:
    """Aliases are accepted as arguments. Unknown names raise an error."""
    for cls in (Renamed, RenamedLLM, RenamedEmbedding):
        made: Any = cls(**{"model": "m", "api_key": "sk-1", "teamName": "a"})
        assert made.team == "a"
        with pytest.raises(llama_index_errors.ConfigurationError, match="unknown argument teamNam"):
            cls(**{"model": "m", "api_key": "sk-1", "teamNam": "a"})
    made = Renamed(**{"model": "m", "api_key": "sk-1", "ownerName": "b", "address": {"city": "c"}})  # type: ignore[arg-type]
    assert (made.owner, made.place) == ("b", "c")
    assert Renamed(**{"model": "m", "api_key": "sk-1", "town": "d"}).place == "d"


@pytest.mark.parametrize("adapter", [ChatModelStudio, ModelStudio])
def test_a_subclass_that_renames_the_model(adapter: Any) -> None:
    """By an alias."""

    class Deployed(adapter):  # type: ignore[misc]
        model: str = Field(validation_alias=AliasChoices("deployment", AliasPath("engine", "id")))

    for alias in ({"deployment": "m"}, {"engine": {"id": "m"}}):
        assert Deployed(api_key="sk-1", **alias).model == "m"
    with pytest.raises(llama_index_errors.ConfigurationError, match="model is missing"):
        Deployed(api_key="sk-1")


@pytest.mark.parametrize("adapter", [ChatModelStudio, ModelStudio])
def test_a_misspelt_model(adapter: Any) -> None:
    """The error names the argument that was passed, not only the one that is missing."""
    for name, says in (("modle", "modle: did you mean model?"), ("model_id", "model_id: ")):
        with pytest.raises(llama_index_errors.ConfigurationError, match=re.escape(f"unknown argument {says}")):
            adapter(api_key="sk-1", **{name: "m"})


@pytest.mark.report(30)
def test_fields_have_types() -> None:
    """Every field of the settings, under both names of the model."""
    from modelstudio_core.settings import ChatSettings

    assert [name for name, field in ChatSettings.model_fields.items() if field.annotation is Any] == []
    for name in ("http_client", "http_async_client", "timeout", "stop", "skill"):
        assert "Any," not in str(ChatSettings.model_fields[name].annotation).replace("str, typing.Any", "")
    for cls in (ChatModelStudio, ModelStudio, ModelStudioEmbedding):
        made: Any = cls(model="m", api_key="sk-1")
        assert made.model == made.model_name == "m"
    for cls in (ModelStudio, ModelStudioEmbedding):
        assert "timeout" in cls.model_json_schema()["properties"]


# ---------------------------------------------------------------- the log


@pytest.mark.report(32)
@both_protocols
async def test_disabled_thinking_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO, once per process and model, because the user requested nothing."""
    form: Any = {"type": "json_object"}
    answer = Answer(text=["{}"])
    with Loopback(answer) as server, caplog.at_level(logging.DEBUG):
        for model in ("qwen3.7-max", "qwen3-32b"):
            for _ in range(2):
                for way in WAYS:
                    await call(chat(server, model=model), way, response_format=form)
                    await call(chat(server, model=model).bind_tools([plain], tool_choice="any"), way)
                for way in llama_index.WAYS:
                    await llama_index.call(llama_index.chat(server, model=model), way, response_format=form)
    logged = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "modelstudio_core"]
    told = [(level, text.partition("request to ")[2].partition(":")[0]) for level, text in logged if "think" in text]
    assert told == [("INFO", "qwen3.7-max"), ("INFO", "qwen3-32b")]


@pytest.mark.report(32)
@both_protocols
@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({"model": "qwen3.7-max"}, None),
        ({"model": "qwen-plus"}, None),
        ({"model": "qwen3.7-max", "enable_thinking": False}, None),
        ({"model": "qwen3.7-max", "enable_thinking": True}, "WARNING"),
        ({"model": "qwq-32b"}, "WARNING"),
    ],
    ids=short,
)
async def test_only_ignored_settings_cause_warnings(
    settings: dict[str, Any], level: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """A forced choice sent as "auto" does; one that is kept by disabling thinking does not."""
    with Loopback(HELLO) as server, caplog.at_level(logging.WARNING):
        await call(chat(server, **settings).bind_tools([plain], tool_choice="any"), "ainvoke")
    assert [record.levelname for record in caplog.records if "Model Studio" in record.msg] == ([level] if level else [])
