"""Files and temporary uploads of the local model, used by both adapters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from local_model import files as module
from local_model.files import FileStore
from local_model.retrieval import InvalidRequest
from modelstudio_core.errors import FileError, ModelStudioError, NotFoundError
from tests.core.test_uploads import LARGE

NO_KEY: dict[str, str] = {}
OSS = {"x-dashscope-ossresourceresolve": "enable"}


# ---------------------------------------------------------------- the store


def chat(part: Any, model: str = "qwen3-vl-plus") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": [part]}]}


def image(address: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address}}


def test_documents_are_inserted() -> None:
    """Only a system message with IDs is replaced by the texts, in order. The request is not changed."""
    store = FileStore()
    first, second = store.add("a.txt", "α".encode(), "file-extract"), store.add("b.txt", b"b", "file-extract")
    messages = [
        {"role": "system", "content": "You are brief."},
        {"role": "system", "content": f"fileid://{second.id},fileid://{first.id}"},
        {"role": "user", "content": f"fileid://{first.id}"},
    ]
    asked = {"model": "qwen-long", "messages": messages}
    made = store.resolve(asked, NO_KEY)["messages"]
    assert made == [messages[0], {"role": "system", "content": "b.txt:\nb\n\na.txt:\nα"}, messages[2]]
    assert messages[1]["content"].startswith("fileid://")


REFUSED: dict[str, tuple[Callable[[FileStore], dict[str, Any]], dict[str, str], str]] = {
    "no such file": (lambda _: {"messages": [{"role": "system", "content": "fileid://x"}]}, NO_KEY, r"\[id:x\] cannot"),
    "no text": (
        lambda store: {"messages": [{"role": "system", "content": f"fileid://{store.add('a', b'%', 'batch').id},fileid://"
                                     f"{store.add('a.bin', bytes([255, 0]), 'file-extract').id}"}]},
        NO_KEY, "format is not supported",
    ),
    "no such upload": (lambda _: chat(image("oss://x")), OSS, "does not appear to be valid"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_unreadable_files(case: str) -> None:
    """They raise the vendor's message, so that the typed error can be tested."""
    make, headers, said = REFUSED[case]
    store = FileStore()
    with pytest.raises(InvalidRequest, match=said):
        store.resolve(make(store), headers)


def test_other_paths_and_requests_are_not_handled() -> None:
    """The rest of the server handles them."""
    store = FileStore()
    assert store.reply("POST", "/v1/chat/completions", NO_KEY, b"{}") is None
    assert store.reply("GET", "/v1/filesystem", NO_KEY, b"") is None
    for asked in ({}, {"messages": 7}, {"messages": [7, {"role": "user", "content": [7, image("https://x")]}]}):
        assert store.resolve(asked, NO_KEY) == asked


# ---------------------------------------------------------------- the server


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_files_with_the_adapters(protocol: str, local_model_url: str, tmp_path: Path) -> None:
    """Upload, list, retrieve, chat and delete; sync and async."""
    base_url = local_model_url if protocol == "openai" else local_model_url.replace("/compatible-mode/v1", "/api/v1")
    llm = ModelStudio(model="qwen-long", base_url=base_url, protocol=protocol)
    path = tmp_path / "ants.txt"
    path.write_text("Ants carry leaves.")
    first = llm.files.upload(path)
    second = asyncio.run(llm.files.aupload(b"{}", filename="in.jsonl", purpose="batch"))
    assert (first.status, second.purpose) == ("processed", "batch")
    assert {first.id, second.id} <= {file.id for file in llm.files.list(page_size=1)}
    with pytest.raises(FileError, match=r"'a\.bin'.*UTF-8"):
        llm.files.upload(b"\xff\x00", filename="a.bin")
    with pytest.raises(FileError, match="'purpose' must be"):
        llm.files.upload(path, purpose="nonsense")
    with pytest.raises(ModelStudioError, match="cannot be downloaded"):
        llm.files.content(second.id)
    if protocol == "openai":
        question = [llm.files.system_message(first), ChatMessage("What do ants carry?")]
        assert llm.chat(question).message.content
    assert llm.files.delete(first.id)
    with pytest.raises(NotFoundError):
        llm.files.retrieve(first.id)
    if protocol == "openai":
        with pytest.raises(FileError, match="cannot be found") as raised:
            llm.chat(question)
        assert raised.value.file == first.id


@pytest.mark.slow
async def test_a_large_image_with_the_adapters(local_model_url: str, tmp_path: Path) -> None:
    """It is uploaded for the model, which gets its size."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    settings: dict[str, Any] = {"model": "qwen3-vl-plus", "base_url": local_model_url, "upload": "always"}
    block: Any = {"type": "image", "path": str(path)}
    assert ChatModelStudio(**settings).invoke([HumanMessage([{"type": "text", "text": "?"}, block])]).text
    said = ChatMessage(blocks=[TextBlock(text="?"), ImageBlock(path=path)])
    assert (await ModelStudio(**settings).achat([said])).message.content


def test_an_expired_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name cannot be reused either."""
    clock = [1000.0]
    monkeypatch.setattr(module.time, "time", lambda: clock[0])
    store = FileStore()
    reply = store.reply("GET", "/api/v1/uploads?action=getPolicy&model=qwen3-vl-plus", {"host": "127.0.0.1:1"}, b"")
    assert reply is not None
    assert isinstance(reply.content, dict)
    data = reply.content["data"]

    def post() -> bytes | dict[str, Any]:
        fields = {"policy": data["policy"], "key": f"{data['upload_dir']}/a.png"}
        parts = [
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
        ]
        parts.append('--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\npixels\r\n--x--\r\n')
        reply = store.reply(
            "POST", "/oss", {"content-type": "multipart/form-data; boundary=x"}, "".join(parts).encode()
        )
        assert reply is not None
        return reply.content

    assert post() == b""
    address = f"oss://{data['upload_dir']}/a.png"
    said = store.resolve(chat(image(address)), OSS)["messages"][0]["content"]
    assert said == [{"type": "text", "text": "[image of 6 bytes]"}]
    for asked, headers in ((chat(image(address)), NO_KEY), (chat(image(address), "qwen3-vl-flash"), OSS)):
        with pytest.raises(InvalidRequest):
            store.resolve(asked, headers)
    assert b"can not be overwritten" in post()  # type: ignore[operator]
    clock[0] += 301
    assert b"Policy expired" in post()  # type: ignore[operator]
