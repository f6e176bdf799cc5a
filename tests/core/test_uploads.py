"""Local media in chats: small files are sent inside the request, large ones as temporary uploads.

With both adapters and protocols, whole and streamed, sync and async, against a service that checks the form.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.llms import AudioBlock, ChatMessage, ImageBlock, TextBlock, VideoBlock

from modelstudio_core import media
from modelstudio_core.errors import (
    APIConnectionError,
    AuthenticationError,
    ConfigurationError,
    FileError,
    ModelStudioError,
    ProtocolError,
)
from modelstudio_core.http import temporary
from modelstudio_core.http.local_files import local_file
from modelstudio_core.protocols.openai import OpenAICodec
from modelstudio_core.types import ChatRequest, ImagePart, Message, TextPart, VideoPart
from tests.core.test_files import MAKERS
from tests.faults.test_secrets import written_errors
from tests.file_service import ACCESS_KEY, FOLDER, POLICY, SIGNATURE, UploadService, oss_error
from tests.loopback import Exchange, Loopback, Received, Script, reply, reply_json
from tests.service import Answer

KEY = "sk-uploads-are-mine"
LIMIT = 1000
SMALL, LARGE = b"\x89PNG\r\n\x1a\n" + b"s" * 500, b"\x89PNG\r\n\x1a\n" + b"L" * 5000
HELLO = Answer(text=("Hel", "lo"), model="qwen3-vl-plus")
ROOTS = {"openai": "/compatible-mode/v1", "dashscope": "/api/v1"}
WAYS = [
    ("langchain", "openai", "invoke"),
    ("langchain", "dashscope", "astream"),
    ("langchain", "openai", "ainvoke"),
    ("llama_index", "dashscope", "chat"),
    ("llama_index", "openai", "astream_chat"),
]
every_way = pytest.mark.parametrize(("adapter", "protocol", "way"), WAYS, ids=["-".join(way) for way in WAYS])
one_each = pytest.mark.parametrize(("adapter", "protocol", "way"), [WAYS[0], WAYS[4]], ids=["sync", "async"])


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduce the limit, so that files of 1000 bytes are large."""
    monkeypatch.setattr(temporary, "INLINE_BYTES", LIMIT)
    monkeypatch.setattr(media, "_INLINE_CHARACTERS", LIMIT * 4 // 3)


@pytest.fixture
def service() -> UploadService:
    return UploadService(HELLO)


@pytest.fixture
def server(service: UploadService) -> Iterator[Loopback]:
    with Loopback(service) as server:
        yield server


def model(adapter: str, server: Loopback, protocol: str = "openai", **settings: Any) -> Any:
    base_url = server.url + ROOTS[protocol]
    settings = {"model": "qwen3-vl-plus", "api_key": KEY, "timeout": 5, "max_retries": 1} | settings
    return MAKERS[adapter](base_url=base_url, protocol=protocol, **settings)


def message(adapter: str, *paths: Path, kind: str = "image") -> Any:
    """A question about files."""
    if adapter == "langchain":
        return HumanMessage([{"type": "text", "text": "?"}, *({"type": kind, "path": str(path)} for path in paths)])
    block: Any = {"image": ImageBlock, "video": VideoBlock, "audio": AudioBlock}[kind]
    return ChatMessage(role="user", blocks=[TextBlock(text="?"), *(block(path=path) for path in paths)])


def ask(llm: Any, way: str, *messages: Any, **options: Any) -> str:
    """Ask through this method of the adapter, and return the text of the answer."""
    if way == "invoke":
        return str(llm.invoke([*messages], **options).text)
    if way == "chat":
        return str(llm.chat([*messages], **options).message.content)

    async def asked() -> str:
        if way == "ainvoke":
            return str((await llm.ainvoke([*messages], **options)).text)
        if way == "astream":
            return "".join([chunk.text async for chunk in llm.astream([*messages], **options)])
        stream = await llm.astream_chat([*messages], **options)
        return "".join([piece.delta or "" async for piece in stream])

    return asyncio.run(asked())


def addresses(request: Received) -> list[str]:
    """The media URLs in a chat request of either protocol."""
    body = request.json()
    messages = body["messages"] if "messages" in body else body["input"]["messages"]
    text = json.dumps([said["content"] for said in messages])
    found = []
    for start in ('"oss://', '"data:', '"https://'):
        found += [start[1:] + piece.partition('"')[0] for piece in text.split(start)[1:]]
    return found


def chats(server: Loopback) -> list[Received]:
    return [request for request in server.requests if "/uploads" not in request.path and request.path != "/oss"]


def inline(data: bytes, mime_type: str = "image/png") -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode()}"


# ---------------------------------------------------------------- what is uploaded


@every_way
def test_a_large_file_is_uploaded(
    adapter: str, protocol: str, way: str, server: Loopback, service: UploadService, tmp_path: Path
) -> None:
    """With the policy for its model, the file as the last field, and without the key."""
    path = tmp_path / "a sky.PNG"
    path.write_bytes(LARGE)
    assert ask(model(adapter, server, protocol), way, message(adapter, path)) == "Hello"
    policy, store, chat = server.requests
    assert policy.path == "/api/v1/uploads?action=getPolicy&model=qwen3-vl-plus"
    assert policy.headers["authorization"] == f"Bearer {KEY}"
    assert "authorization" not in store.headers
    [form] = service.forms
    key = form.pop("key")
    assert form == {
        "OSSAccessKeyId": ACCESS_KEY, "Signature": SIGNATURE, "policy": POLICY, "x-oss-object-acl": "private",
        "x-oss-forbid-overwrite": "true", "success_action_status": "200", "x-oss-content-type": "image/png",
    }  # fmt: skip
    assert key.startswith(f"{FOLDER}/")
    assert key.endswith(".png")
    assert "sky" not in key
    assert service.stored == {f"oss://{key}": LARGE}
    assert addresses(chat) == [f"oss://{key}"]
    assert chat.headers["x-dashscope-ossresourceresolve"] == "enable"


MODES = {
    ("auto", "small"): "inline", ("auto", "large"): "upload", ("always", "small"): "upload",
    ("always", "large"): "upload", ("never", "small"): "inline", ("never", "large"): "inline",
}  # fmt: skip


@one_each
@pytest.mark.parametrize(("mode", "size"), MODES)
@pytest.mark.parametrize("per_call", [False, True], ids=["setting", "call"])
def test_the_upload_setting(
    per_call: bool, mode: str, size: str, adapter: str, protocol: str, way: str, server: Loopback, tmp_path: Path
) -> None:
    """On the object, or per call."""
    path = tmp_path / "a.png"
    path.write_bytes(SMALL if size == "small" else LARGE)
    settings, call = ({}, {"upload": mode}) if per_call else ({"upload": mode}, {})
    ask(model(adapter, server, protocol, **settings), way, message(adapter, path), **call)
    [address] = addresses(chats(server)[0])
    if MODES[mode, size] == "inline":
        assert address == inline(path.read_bytes())
        assert len(server.requests) == 1
    else:
        assert address.startswith("oss://")


FORMS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "path": ("image", lambda path: {"type": "image", "path": str(path)}),
    "Path": ("image", lambda path: {"type": "image", "path": path}),
    "file URL": ("image", lambda path: {"type": "image", "url": path.as_uri()}),
    "OpenAI's form": ("image", lambda path: {"type": "image_url", "image_url": {"url": path.as_uri()}}),
    "OpenAI's short form": ("image", lambda path: {"type": "image_url", "image_url": path.as_uri()}),
    "the native form": ("image", lambda path: {"image": path.as_uri()}),
    "base64": ("image", lambda path: {"type": "image", "base64": b64(path), "mime_type": "image/png"}),
    "data URI": ("image", lambda path: {"type": "image_url", "image_url": {"url": inline(path.read_bytes())}}),
    "bytes": ("image", lambda path: {"type": "image", "bytes": path.read_bytes(), "mime_type": "image/png"}),
    "video": ("video", lambda path: {"type": "video", "path": str(path), "fps": 2}),
    "video URL": ("video", lambda path: {"type": "video_url", "video_url": {"url": path.as_uri()}}),
    "frames": ("image", lambda path: {"type": "video", "video": [path.as_uri(), path.as_uri()]}),
    "audio": ("audio", lambda path: {"type": "audio", "path": str(path)}),
    "audio as base64": ("audio", lambda path: {"type": "audio", "base64": b64(path), "mime_type": "audio/wav"}),
}
NAMES = {"image": "a b.png", "video": "a b.mp4", "audio": "a b.wav"}
CONTENTS = {"image": LARGE, "video": b"\0\0\0\x18ftypmp42" + b"v" * 5000, "audio": b"RIFF\0\0\0\0WAVE" + b"w" * 5000}


def b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_of_langchain(form: str, server: Loopback, service: UploadService, tmp_path: Path) -> None:
    """Path, `file://`, base64, data URI and bytes; image, video, frames and audio."""
    kind, block = FORMS[form]
    path = tmp_path / NAMES[kind]
    path.write_bytes(CONTENTS[kind])
    ask(model("langchain", server), "invoke", HumanMessage([{"type": "text", "text": "?"}, block(path)]))
    assert [*service.stored.values()] == [CONTENTS[kind]]
    assert {*addresses(chats(server)[0])} == {*service.stored}
    if kind == "audio":
        assert '"format":"wav"' in chats(server)[0].body.decode()


BLOCKS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "image": ("image", lambda path: ImageBlock(path=path)),
    "image bytes": ("image", lambda path: ImageBlock(image=path.read_bytes())),
    "open image": ("image", lambda path: ImageBlock(image=path.open("rb"), image_mimetype="image/png")),
    "video": ("video", lambda path: VideoBlock(path=path)),
    "audio": ("audio", lambda path: AudioBlock(path=path)),
}


@pytest.mark.parametrize("form", BLOCKS)
def test_the_blocks_of_llama_index(form: str, server: Loopback, service: UploadService, tmp_path: Path) -> None:
    """By path, bytes and open file."""
    kind, block = BLOCKS[form]
    path = tmp_path / NAMES[kind]
    path.write_bytes(CONTENTS[kind])
    made = block(path)
    ask(model("llama_index", server), "chat", ChatMessage(role="user", blocks=[made]))
    assert [*service.stored.values()] == [CONTENTS[kind]]
    assert addresses(chats(server)[0]) == [*service.stored]
    if form == "open image":
        made.image.close()


def test_only_user_messages_may_have_paths(server: Loopback, tmp_path: Path) -> None:
    """Paths in tool results or system messages are not read, because they may be untrusted."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    block: Any = {"type": "image", "url": path.as_uri()}
    llm = model("langchain", server, upload="always")
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    ask(llm, "invoke", HumanMessage("?"), call, ToolMessage([block], tool_call_id="1"))
    assert addresses(chats(server)[0]) == []
    with pytest.raises(ConfigurationError, match="not an http"):
        ask(llm, "invoke", SystemMessage([block]), HumanMessage("?"))
    assert len(server.requests) == 1


NOT_SENT: dict[str, tuple[dict[str, Any], str]] = {
    "no such file": ({"type": "image", "path": "gone.png"}, "cannot be read.*gone.png"),
    "directory": ({"type": "image", "path": "."}, "not a regular file"),
    "another kind": ({"type": "image", "path": __file__}, "has no known image format"),
    "a number": ({"type": "image", "path": 7}, "path=7 is not a path"),
    "null": ({"type": "video", "path": "a\0b"}, "cannot be read"),
}


@pytest.mark.parametrize("case", NOT_SENT)
def test_invalid_media_files(case: str, server: Loopback) -> None:
    """The error is raised before anything is sent, and names the file."""
    block, said = NOT_SENT[case]
    with pytest.raises(ConfigurationError, match=rf"messages\[0\] \(human\): content block of type .*{said}"):
        ask(model("langchain", server), "invoke", HumanMessage([block]))
    assert not server.requests


@one_each
def test_a_file_that_is_deleted_before_sending(
    adapter: str, protocol: str, way: str, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names it."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    resolve = temporary.TemporaryUploads.resolve

    def vanishing(*args: Any) -> Any:
        path.unlink()
        return resolve(*args)

    monkeypatch.setattr(temporary.TemporaryUploads, "resolve", vanishing)
    with pytest.raises(ConfigurationError, match=r"cannot be read.*a\.png"):
        ask(model(adapter, server, protocol), way, message(adapter, path))
    assert not server.requests


@pytest.mark.parametrize("style", ["sync", "async"])
def test_injected_clients_send_nothing_to_the_store(
    style: str, server: Loopback, service: UploadService, tmp_path: Path
) -> None:
    """Their headers, cookies and auth are meant for the service."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    own: dict[str, Any] = {"headers": {"x-gateway": "open-sesame"}, "cookies": {"a": "b"}, "auth": ("me", "pass")}
    said, headers = [message("langchain", path)], {"x-team": "birds"}

    async def asked() -> str:
        async with httpx.AsyncClient(**own) as client:
            llm = model("langchain", server, http_async_client=client, default_headers=headers)
            return str((await llm.ainvoke(said)).text)

    if style == "async":
        assert asyncio.run(asked()) == "Hello"
    else:
        with httpx.Client(**own) as client:
            llm = model("langchain", server, http_client=client, default_headers=headers)
            assert llm.invoke(said).text == "Hello"
    policy, store, chat = server.requests
    for request in (policy, chat):
        assert {"x-gateway", "cookie", "authorization", "x-team"} <= request.headers.keys()
    assert not {"x-gateway", "cookie", "authorization", "x-team"} & store.headers.keys()
    assert [*service.stored.values()] == [LARGE]


def test_inlined_files(tmp_path: Path) -> None:
    """For requests that cannot use uploads, such as lines of a batch job."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    parts = (TextPart("?"), ImagePart(local_file(path, "image")), VideoPart(("https://x", local_file(path, "image"))))
    request = ChatRequest("m", (Message("user", parts), Message("assistant", "!")))
    with pytest.raises(ConfigurationError, match=r"'a\.png' was not read"):
        OpenAICodec().encode(request, stream=False)
    _, image, video = temporary.inlined(request).messages[0].content
    assert image == ImagePart(inline(LARGE))
    assert video == VideoPart(("https://x", inline(LARGE)))
    path.unlink()
    with pytest.raises(ConfigurationError, match=r"a\.png"):
        temporary.inlined(request)


# ---------------------------------------------------------------- uploads are used again


@one_each
def test_a_file_is_uploaded_once_for_each_model(
    adapter: str, protocol: str, way: str, server: Loopback, service: UploadService, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The cache ignores the name, and expires before the service deletes the file."""
    clock = [1_000_000.0]
    monkeypatch.setattr(temporary.time, "time", lambda: clock[0])
    first, copy, other = tmp_path / "a.png", tmp_path / "copy.png", tmp_path / "b.png"
    first.write_bytes(LARGE)
    copy.write_bytes(LARGE)
    other.write_bytes(LARGE + b"!")
    llm = model(adapter, server, protocol)
    for paths in ((first,), (copy, first), (first, other)):
        ask(llm, way, message(adapter, *paths))
    assert [*service.stored.values()] == [LARGE, LARGE + b"!"]
    ask(llm, way, message(adapter, first), model="qwen3-vl-flash")
    assert service.policies == ["qwen3-vl-plus", "qwen3-vl-plus", "qwen3-vl-flash"]
    clock[0] += 45.9 * 3600
    ask(llm, way, message(adapter, first))
    assert len(service.stored) == 3
    clock[0] += 0.2 * 3600
    ask(llm, way, message(adapter, first))
    assert len(service.stored) == 4
    assert addresses(chats(server)[-1]) == [[*service.stored][-1]]
    assert len(llm._core_client()._flows._uploads._stored) == 1  # what has expired is forgotten


@one_each
def test_a_key_function_may_have_keys_of_several_accounts(
    adapter: str, protocol: str, way: str, server: Loopback, service: UploadService, tmp_path: Path
) -> None:
    """An upload of one account cannot be used by another."""
    path, keys = tmp_path / "a.png", ["sk-of-one"]
    path.write_bytes(LARGE)
    llm = model(adapter, server, protocol, api_key=lambda: keys[0])
    for keys[0] in ("sk-of-one", "sk-of-two", "sk-of-one"):
        ask(llm, way, message(adapter, path))
    one, two = service.stored
    assert [addresses(chat) for chat in chats(server)] == [[one], [two], [one]]


@pytest.mark.parametrize("style", ["threads", "tasks"])
def test_concurrent_calls_share_an_upload(
    style: str, server: Loopback, service: UploadService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten prompts about one video upload it once, also if each thread finds no uploads yet."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    llm = model("langchain", server)
    prompts: Any = [[message("langchain", path)]] * 10
    if style == "threads":
        new = temporary.TemporaryUploads
        slow = threading.Event()  # so that each thread finds none
        monkeypatch.setattr(temporary, "TemporaryUploads", lambda *given: slow.wait(0.05) or new(*given))
        llm.batch(prompts)
    else:
        asyncio.run(llm.abatch(prompts))
    assert len(service.stored) == 1
    assert [addresses(chat) for chat in chats(server)] == [[*service.stored]] * 10


# ---------------------------------------------------------------- faults

EXPIRED = oss_error(403, "AccessDenied", "Invalid according to Policy: Policy expired.")
DENIED = oss_error(403, "AccessDenied", "Invalid according to Policy: Content-Length of the file is too large.")
LIMITED = reply_json(429, {"code": "Throttling.RateQuota", "message": "Slow down."}, {"retry-after": "0"})


def hangs_up(exchange: Exchange) -> None:
    exchange.close()


PASSING: dict[str, tuple[Script | None, Script | None]] = {
    "policy 429": (LIMITED, None),
    "policy lost": (hangs_up, None),
    "store 503": (None, oss_error(503, "ServiceUnavailable", "Try again.")),
    "store lost": (None, hangs_up),
    "policy expired": (None, EXPIRED),
}


@one_each
@pytest.mark.parametrize("fault", PASSING)
def test_upload_retries(
    fault: str, adapter: str, protocol: str, way: str, server: Loopback, service: UploadService, tmp_path: Path
) -> None:
    """With a new policy and a new name, because the file may have been stored."""
    service.instead_of_policy, service.instead_of_store = [PASSING[fault][0]], [PASSING[fault][1]]
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    assert ask(model(adapter, server, protocol), way, message(adapter, path)) == "Hello"
    assert len(service.policies) == 2
    assert [*service.stored.values()] == [LARGE]


class Case:
    """A permanent fault, its error class, and text of the message."""

    def __init__(self, kind: type[Exception], said: str, policy: Script | None = None, store: Script | None = None):
        self.kind, self.said, self.policy, self.store = kind, said, policy, store


STAYING: dict[str, Case] = {
    "wrong key": Case(
        AuthenticationError,
        "Invalid API-key",
        reply_json(401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."}),
    ),
    "refused by the store": Case(FileError, "Content-Length of the file is too large", None, DENIED),
    "signature refused": Case(FileError, "SignatureDoesNotMatch", None, oss_error(403, "SignatureDoesNotMatch", "No.")),
    "no policy": Case(ProtocolError, "no upload policy", reply_json(200, {"data": None, "x": SIGNATURE})),
    "half a policy": Case(
        ProtocolError,
        "has no policy, upload_dir",
        reply_json(
            200, {"data": {"signature": SIGNATURE, "upload_host": "https://x", "oss_access_key_id": ACCESS_KEY}}
        ),
    ),
    "a cut policy": Case(
        ProtocolError, "not JSON", reply(200, f'{{"data": {{"signature": "{SIGNATURE}", "pol'.encode())
    ),
    "a store without https": Case(
        ProtocolError,
        "without https",
        reply_json(
            200,
            {
                "data": {
                    "signature": SIGNATURE,
                    "upload_host": "http://oss.example.com",
                    "oss_access_key_id": ACCESS_KEY,
                    "policy": POLICY,
                    "upload_dir": "a",
                }
            },
        ),
    ),
    "an error with status 200": Case(
        ModelStudioError,
        "Model not exist",
        reply_json(200, {"code": "InvalidParameter", "message": "Model not exist."}),
    ),
    "lost twice": Case(APIConnectionError, "closed the connection", None, hangs_up),
}


def failure(llm: Any, way: str, *messages: Any) -> ModelStudioError:
    """Ask, and return the error. No stack frame of its traceback has a secret."""
    try:
        ask(llm, way, *messages)
    except ModelStudioError as error:
        return error
    raise AssertionError("there was an answer")


def failed_upload(fault: Case, adapter: str, protocol: str, way: str, folder: Path) -> ModelStudioError:
    """Return the error of a chat with a large file. No chat is sent."""
    service = UploadService(HELLO)
    service.instead_of_policy, service.instead_of_store = [fault.policy] * 2, [fault.store] * 2
    path = folder / "my sky.png"
    path.write_bytes(LARGE)
    with Loopback(service) as server:
        error = failure(model(adapter, server, protocol), way, message(adapter, path))
        assert not chats(server)
    return error


@one_each
@pytest.mark.parametrize("case", STAYING)
def test_failed_uploads(
    case: str, adapter: str, protocol: str, way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the file. Errors and logs contain neither policy nor key."""
    caplog.set_level(logging.DEBUG)
    fault = STAYING[case]
    error = failed_upload(fault, adapter, protocol, way, tmp_path)
    assert isinstance(error, fault.kind)
    assert fault.said in str(error)
    assert "'my sky.png'" in str(error)
    if isinstance(error, FileError):
        assert (error.file, error.request_id) == ("my sky.png", "5C3D9175B6FC201293AD")
    ours = [record for record in caplog.records if record.name.startswith("modelstudio")]
    assert ours
    told = "".join(f"{record.getMessage()} {record.args}" for record in ours)
    shows_no_secret(f"{told} {error} {vars(error)} {pickle.dumps(error)!r}")


@pytest.mark.slow
@one_each
@pytest.mark.parametrize("case", STAYING)
def test_errors_of_uploads_contain_no_secrets(case: str, adapter: str, protocol: str, way: str, tmp_path: Path) -> None:
    """Neither in their causes nor in local variables of the traceback."""
    shows_no_secret("".join(written_errors(failed_upload(STAYING[case], adapter, protocol, way, tmp_path))))


def shows_no_secret(text: str) -> None:
    for secret in (KEY, POLICY, SIGNATURE, ACCESS_KEY):
        assert secret not in text


def test_a_file_over_the_upload_limit(tmp_path: Path) -> None:
    """The policy has the limit. The file is not sent."""
    path = tmp_path / "long.mp4"
    with path.open("wb") as file:
        file.truncate(2 * 1024 * 1024 + 1)
    with path.open("r+b") as file:
        file.write(b"\0\0\0\x18ftypmp42")
    service = UploadService(HELLO, most=2)
    with Loopback(service) as server:
        with pytest.raises(FileError, match=r"2,097,153 bytes.* 2,097,152.*'long.mp4'") as raised:
            ask(model("langchain", server), "invoke", message("langchain", path, kind="video"))
        assert raised.value.file == "long.mp4"
        assert len(server.requests) == 1
        os.truncate(path, 2 * 1024 * 1024)
        assert ask(model("langchain", server), "invoke", message("langchain", path, kind="video")) == "Hello"
        assert len(service.stored) == 1


def test_cancelling_an_upload(tmp_path: Path) -> None:
    """The connection is closed, and the next call uploads the file itself."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    gone: list[bool] = []
    held = threading.Event()

    def holds(exchange: Exchange) -> None:
        held.set()
        gone.append(exchange.client_gone(3))

    service = UploadService(HELLO)
    service.instead_of_store = [holds]

    async def leave() -> None:
        task = asyncio.create_task(llm.ainvoke([message("langchain", path)]))
        await asyncio.to_thread(held.wait, 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await llm.ainvoke([message("langchain", path)])).text == "Hello"

    with Loopback(service) as server:
        llm = model("langchain", server)
        asyncio.run(leave())
        assert server.wait_until(lambda _: gone == [True], 3)
    assert [*service.stored.values()] == [LARGE]


def test_a_pickle_has_no_uploads(server: Loopback, tmp_path: Path) -> None:
    """No key, policy or URL."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    for adapter in MAKERS:
        llm = model(adapter, server)
        ask(llm, {"langchain": "invoke", "llama_index": "chat"}[adapter], message(adapter, path))
        data = pickle.dumps(llm)
        assert not [secret for secret in (KEY, POLICY, SIGNATURE, "oss://") if secret.encode() in data]
