"""The Files API of both adapters, sync and async."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.exceptions import ModelError
from langchain_core.messages import HumanMessage, SystemMessage
from llama_index.core.llms import ChatMessage, MessageRole

from langchain_modelstudio import ChatModelStudio
from llama_index_modelstudio import ModelStudio
from modelstudio_core.config import API_KEY_VARIABLE
from modelstudio_core.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    FileError,
    NotFoundError,
)
from modelstudio_core.files import FileObject, Files
from modelstudio_core.http.disk import poll_delays
from modelstudio_core.protocols.files import get_call
from tests.file_service import CREATED, ROOT, FileService, error_body, form_of
from tests.loopback import Exchange, Loopback, Script, reply, reply_json

KEY = "sk-files-are-mine"
MAKERS: dict[str, Any] = {"langchain": ChatModelStudio, "llama_index": ModelStudio}
TWINS = {"wait": "await_parsed"}
DATA = b"%PDF-1.7 sky\r\n--\r\n" + bytes(range(256)) * 300


class Ask:
    """Call a method of `llm.files` or its async version, and return the result; of a list, all items."""

    def __init__(self, adapter: str, style: str) -> None:
        self.adapter = adapter
        self.style = style

    def files(self, server: Loopback, **settings: Any) -> Files:
        root = "/api/v1" if settings.get("protocol") == "dashscope" else "/compatible-mode/v1"
        settings = {"model": "qwen-long", "base_url": server.url + root, "api_key": KEY, "timeout": 5} | settings
        files: Files = MAKERS[self.adapter](**settings).files
        return files

    def __call__(self, files: Files, name: str, *args: Any, **kwargs: Any) -> Any:
        if self.style == "sync":
            found = getattr(files, name)(*args, **kwargs)
            return [*found] if name == "list" else found

        async def ask() -> Any:
            found = getattr(files, TWINS.get(name, f"a{name}"))(*args, **kwargs)
            return [file async for file in found] if name == "list" else await found

        return asyncio.run(ask())


# pairwise: the adapters share everything but their errors and messages
@pytest.fixture(params=[("langchain", "sync"), ("llama_index", "async")], ids="-".join)
def ask(request: pytest.FixtureRequest) -> Ask:
    return Ask(*request.param)


@pytest.fixture
def service() -> FileService:
    return FileService()


@pytest.fixture
def server(service: FileService) -> Iterator[Loopback]:
    with Loopback(service) as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "Bericht über α.pdf"
    path.write_bytes(DATA)
    return path


# ---------------------------------------------------------------- upload

GIVEN: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "bytes": lambda path: path.read_bytes(),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file": lambda path: path.open("rb"),
    "file read to its end": lambda path: _at_end(path.open("rb")),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "pipe": lambda path: _pipe(path.read_bytes()),
    "path of a pipe": lambda path: _named_pipe(path.with_name("pipe"), path.read_bytes()),
    "gzip": lambda path: _unpacking(path.with_name("a.gz"), path.read_bytes()),
    "not written out": lambda path: _not_written_out(path.with_name("b"), path.read_bytes()),
}


def _unpacking(path: Path, data: bytes) -> Any:
    path.write_bytes(gzip.compress(data))
    return gzip.open(path)


def _not_written_out(path: Path, data: bytes) -> Any:
    file = path.open("w+b", buffering=2 * len(data))
    file.write(data)
    return file


def _named_pipe(path: Path, data: bytes) -> Path:
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


def _at_end(file: Any) -> Any:
    file.seek(0, os.SEEK_END)
    return file


def _pipe(data: bytes) -> Any:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(data)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize("how", GIVEN)
def test_upload(how: str, ask: Ask, server: Loopback, service: FileService, path: Path) -> None:
    """By path, bytes or file object, with name, type and length. A file object keeps its position."""
    given = GIVEN[how](path)
    place = given.tell() if how in ("file read to its end", "BytesIO") else None
    stored = ask(ask.files(server), "upload", given, filename=path.name)
    assert (stored.id, stored.filename, stored.bytes) == ("file-fe-1", path.name, len(DATA))
    assert (stored.created_at, stored.purpose, stored.status) == (CREATED, "file-extract", "processed")
    assert service.contents["file-fe-1"] == DATA
    [request] = server.requests
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-length"] == str(len(request.body))
    assert b"Content-Type: application/pdf\r\n" in request.body
    if place is not None:
        assert given.tell() == place
    if hasattr(given, "close"):
        assert not given.closed
        given.close()


def test_async_calls_use_the_disk_in_a_thread(server: Loopback) -> None:
    """So that a slow disk does not block other tasks."""
    users: set[threading.Thread] = set()

    class Watched(io.BytesIO):
        def read(self, *arguments: Any) -> bytes:
            users.add(threading.current_thread())
            return super().read(*arguments)

        def write(self, data: Any) -> int:
            users.add(threading.current_thread())
            return super().write(data)

    async def use() -> bytes:
        files, copy = Ask("langchain", "async").files(server), Watched()
        stored = await files.aupload(Watched(DATA), filename="a.pdf")
        await files._client.adownload(f"{server.url}{ROOT}/{stored.id}/content", get_call(), copy)
        return copy.getvalue()

    assert asyncio.run(use()) == DATA
    assert users
    assert threading.main_thread() not in users


@pytest.mark.parametrize("where", ["default_headers", "client"])
def test_default_content_type_headers(where: str, ask: Ask, server: Loopback, path: Path) -> None:
    """They do not replace that of the form."""
    headers = {"Content-Type": "application/json"}
    kind: Any = {"sync": httpx.Client, "async": httpx.AsyncClient}[ask.style]
    client = kind(headers=headers, limits=httpx.Limits(max_keepalive_connections=0))
    name = {"sync": "http_client", "async": "http_async_client"}[ask.style]
    settings = {"default_headers": headers} if where == "default_headers" else {name: client}
    assert ask(ask.files(server, **settings), "upload", path).bytes == len(DATA)


@pytest.mark.parametrize("more", [b"more", b""], ids=["grows", "shrinks"])
def test_a_file_that_changes_during_upload(
    more: bytes, ask: Ask, server: Loopback, service: FileService, path: Path
) -> None:
    """The original length is sent. If the file has become shorter, an error is raised."""

    def changes(exchange: Exchange) -> None:
        path.write_bytes(DATA + more if more else b"")
        _hangs_up(exchange)

    service.instead = [changes]
    if more:
        assert service.contents[ask(ask.files(server), "upload", path).id] == DATA
        return
    with pytest.raises(ConfigurationError, match=f"was truncated.*{path.name}"):
        ask(ask.files(server), "upload", path)


def test_the_default_file_name(ask: Ask, server: Loopback, path: Path) -> None:
    """That of the path or the open file."""
    files = ask.files(server)
    assert ask(files, "upload", path).filename == path.name
    with path.open("rb") as file:
        assert ask(files, "upload", file, purpose="batch").filename == path.name


REFUSED_HERE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such path": (lambda path: path / "x", "cannot be read"),
    "directory": (lambda path: path.parent, "cannot be read"),
    "nameless bytes": (lambda path: b"data", "filename="),
    "text file": (lambda path: io.StringIO("text"), '"rb"'),
    "number": (lambda path: 7, "not int"),
    "closed file": (lambda path: _closed(path.open("rb")), "closed"),
    "file of a web framework": (lambda path: AsyncFile(), "not AsyncFile"),
}


class AsyncFile:
    """Like Starlette's UploadFile."""

    filename = "a.pdf"

    async def read(self, size: int = -1) -> bytes:
        return DATA


def _closed(file: Any) -> Any:
    file.close()
    return file


@pytest.mark.parametrize("how", REFUSED_HERE)
def test_invalid_files(how: str, ask: Ask, server: Loopback, path: Path) -> None:
    """A ConfigurationError with the reason is raised before anything is sent."""
    make, said = REFUSED_HERE[how]
    with pytest.raises(ConfigurationError, match=said) as raised:
        ask(ask.files(server), "upload", make(path))
    assert isinstance(raised.value, ModelError) == (ask.adapter == "langchain")
    assert not server.requests


def test_an_upload_waits_until_the_file_is_parsed(ask: Ask, path: Path) -> None:
    """By default only for file-extract."""
    with Loopback(FileService(parsing=2)) as server:
        files = ask.files(server)
        assert ask(files, "upload", path, wait=False).status == "uploaded"
        assert ask(files, "upload", path, purpose="batch").status == "uploaded"
        assert len(server.requests) == 2
        assert ask(files, "upload", path).status == "processed"
        assert [request.method for request in server.requests[2:]] == ["POST", "GET", "GET"]


def test_poll_delays() -> None:
    """The service allows 10 requests per second. The last poll is at the timeout."""
    assert [round(pause, 2) for pause in islice(poll_delays(1000), 8)] == [0.5, 0.75, 1.12, 1.69, 2.53, 3.8, 5, 5]
    assert 0 < next(poll_delays(0.2)) <= 0.2
    assert not [*poll_delays(0)]


def test_a_chat_about_an_unparsed_file_is_retried() -> None:
    """The error names the method to wait."""
    refused = reply_json(400, error_body("File parsing in progress, please try again later."))
    with Loopback(refused) as server:
        llm = ChatModelStudio(model="qwen-long", base_url=server.url, max_retries=1)
        with pytest.raises(FileError, match=r"in progress.*llm\.files\.wait"):
            llm.invoke([llm.files.system_message("file-fe-a"), HumanMessage("?")])
        assert len(server.requests) == 2


def test_a_file_that_is_never_parsed_times_out(ask: Ask, path: Path) -> None:
    """The error has the file, its status and the setting."""
    with Loopback(FileService(parsing=1000)) as server:
        files = ask.files(server)
        with pytest.raises(
            APITimeoutError, match=r"'Bericht über α.pdf' \(file-fe-1\).* processing.*timeout="
        ) as raised:
            ask(files, "upload", path, timeout=0.6)
        assert not raised.value.is_resent
        assert len(server.requests) == 3


def test_a_file_that_cannot_be_parsed(ask: Ask) -> None:
    """The status `error` is final. The error names the file."""
    file = {"id": "file-fe-9", "filename": "a.xyz", "status": "error", "status_details": "format is not supported"}
    with Loopback(reply_json(200, file)) as server:
        with pytest.raises(FileError, match=r"'a.xyz' \(file-fe-9\): format is not supported") as raised:
            ask(ask.files(server), "wait", "file-fe-9")
        assert raised.value.file == "a.xyz"
        assert isinstance(raised.value, ModelError) == (ask.adapter == "langchain")


REFUSALS: dict[str, tuple[int, dict[str, Any], type[Exception]]] = {
    "too large": (400, error_body("Payload Too Large.", "BadRequest.TooLarge"), FileError),
    "413": (413, error_body("Payload Too Large."), FileError),
    "wrong purpose": (400, error_body("'purpose' must be 'file-extract'"), FileError),
    "wrong key": (401, error_body("Incorrect API key provided.", "invalid_api_key"), AuthenticationError),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_rejected_upload(case: str, ask: Ask, path: Path) -> None:
    """The error has the file name and the service's message. It is not retried."""
    status, body, kind = REFUSALS[case]
    with Loopback(reply_json(status, body)) as server:
        with pytest.raises(kind) as raised:
            ask(ask.files(server), "upload", path)
        assert len(server.requests) == 1
    said = str(raised.value)
    assert body["error"]["message"].rstrip(".") in said
    assert path.name in said
    assert KEY not in said
    assert getattr(raised.value, "file", path.name) == path.name


# ---------------------------------------------------------------- retries


def _hangs_up(exchange: Exchange) -> None:
    exchange.close()


def _breaks_off(exchange: Exchange) -> None:
    exchange.send_head(200, {"Content-Length": "1000000"})
    exchange.send(b"x" * 700_000)
    exchange.close()


def _stalls(exchange: Exchange) -> None:
    exchange.send_head(200, {"Content-Length": "10"})
    exchange.send(b"half ")
    exchange.wait(5)


FAULTS: dict[str, Script] = {
    "hangs up": _hangs_up,
    "429": reply_json(429, error_body("Too many requests."), {"retry-after": "0"}),
    "500": reply_json(500, error_body("Oops."), {"retry-after": "0"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_upload_retries(fault: str, ask: Ask, server: Loopback, service: FileService, path: Path) -> None:
    """The file is sent again from its start."""
    service.instead = [FAULTS[fault]]
    assert ask(ask.files(server), "upload", path).id == "file-fe-1"
    assert [form_of(request)[1][2] for request in server.requests] == [DATA, DATA]
    assert len(service.stored) == 1


@pytest.mark.parametrize("fault", [*FAULTS, "breaks off"])
def test_download_retries(fault: str, ask: Ask, server: Loopback, service: FileService, tmp_path: Path) -> None:
    """From the start, so the file has no duplicate data."""
    id = service.add("out.jsonl", DATA * 5)
    service.instead = [{**FAULTS, "breaks off": _breaks_off}[fault]]
    ask(ask.files(server), "content", id, to=tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == DATA * 5
    assert len(server.requests) == 2
    service.instead = [{**FAULTS, "breaks off": _breaks_off}[fault]]
    assert ask(ask.files(server), "content", id) == DATA * 5


def test_an_upload_timeout(ask: Ask, path: Path) -> None:
    """It is not retried, because the file may have been stored."""
    with Loopback(lambda exchange: exchange.wait(5)) as server:
        with pytest.raises(APITimeoutError, match=r"sent no data for 0\.3 s.*Bericht") as raised:
            ask(ask.files(server, timeout=0.3), "upload", path)
        assert not raised.value.is_resent
        assert len(server.requests) == 1


@pytest.mark.slow
def test_a_process_killed_in_a_download_leaves_the_old_file(tmp_path: Path) -> None:
    """The partial download is beside it under another name."""
    path, begun = tmp_path / "out.jsonl", threading.Event()
    path.write_bytes(b"old")

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Length": "1000000"})
        exchange.send(b"x" * 700_000)
        begun.set()
        exchange.client_gone(10)

    code = "import sys; from langchain_modelstudio import ChatModelStudio as C; C(model='m', base_url=sys.argv[1])"
    with Loopback(script) as server:
        child = subprocess.Popen([sys.executable, "-c", f"{code}.files.content('a', to=sys.argv[2])", server.url, path])
        assert begun.wait(60)
        assert server.wait_until(lambda _: any(file.stat().st_size > 3 for file in tmp_path.iterdir()), 10)
        child.kill()
        child.wait()
    assert path.read_bytes() == b"old"
    [part] = [file for file in tmp_path.iterdir() if file != path]
    assert part.name.endswith(".part")


@pytest.mark.parametrize("broken", [_breaks_off, _stalls], ids=["breaks off", "stalls"])
def test_a_failed_download_leaves_the_old_file(broken: Script, ask: Ask, tmp_path: Path) -> None:
    """And no partial file."""
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"old")
    with Loopback(broken) as server, pytest.raises(APIConnectionError):
        ask(ask.files(server, max_retries=0, timeout=0.3), "content", "file-batch_output-1", to=path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("out.jsonl", b"old")]


def test_cancelling_a_download(tmp_path: Path) -> None:
    """The connection is closed, and the partial file deleted."""
    gone: list[bool] = []

    def script(exchange: Exchange) -> None:
        exchange.send_head(200, {"Content-Length": "10"})
        exchange.send(b"half ")
        gone.append(exchange.client_gone(3))

    async def leave() -> None:
        files = Ask("langchain", "async").files(server)
        task = asyncio.create_task(files.acontent("file-1", to=tmp_path / "x"))
        await asyncio.to_thread(server.wait_until, lambda _: bool(server.requests))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with Loopback(script) as server:
        asyncio.run(leave())
        assert server.wait_until(lambda _: gone == [True], 3)
    assert not [*tmp_path.iterdir()]


# ---------------------------------------------------------------- the rest


def test_a_list_that_repeats_its_page(ask: Ask) -> None:
    """A service that ignores `after` would send the same page forever."""
    page = {"object": "list", "has_more": True, "data": [{"id": "file-1"}]}
    again = reply_json(200, page)
    with Loopback([again, again, reply_json(400, error_body("asked for ever"))]) as server:
        assert [file.id for file in ask(ask.files(server), "list")] == ["file-1", "file-1"]


def test_a_rejected_deletion(ask: Ask) -> None:
    """It has status 200 and `deleted: false`."""
    answers = [{"object": "file", "deleted": False, "id": "file-1"}, {"id": "file-1"}]
    with Loopback([reply_json(200, answer) for answer in answers]) as server:
        assert [ask(ask.files(server), "delete", "file-1") for _ in answers] == [False, True]


@pytest.mark.parametrize("protocol", ["openai", "dashscope"])
def test_list_content_and_delete(protocol: str, ask: Ask, service: FileService, server: Loopback) -> None:
    """The path is the same for every chat protocol. Lists have several pages."""
    ids = [service.add(f"{number}.jsonl", b"%d" % number, "batch") for number in range(5)]
    service.add("other.pdf", b"", "file-extract")
    files = ask.files(server, protocol=protocol)
    assert [file.id for file in ask(files, "list", purpose="batch", page_size=2)] == ids
    assert [file.id for file in ask(files, "list", after=ids[3])] == [ids[4], "file-fe-6"]
    assert ask(files, "retrieve", ids[1]).filename == "1.jsonl"
    assert ask(files, "content", ids[1]) == b"1"
    assert ask(files, "delete", ids[1]) is True
    with pytest.raises(NotFoundError, match="No such File object") as raised:
        ask(files, "retrieve", ids[1])
    assert isinstance(raised.value, ModelError) == (ask.adapter == "langchain")
    assert [request.path for request in server.requests[:3]] == [
        f"{ROOT}?purpose=batch&limit=2",
        f"{ROOT}?purpose=batch&after={ids[1]}&limit=2",
        f"{ROOT}?purpose=batch&after={ids[3]}&limit=2",
    ]


def test_an_error_shows_no_query(ask: Ask) -> None:
    """The URL of an error has no query string."""
    with Loopback(reply(500, b"")) as server, pytest.raises(Exception, match="500") as raised:
        ask(ask.files(server, max_retries=0), "list", after="file-1")
    assert raised.value.url == server.url + ROOT  # type: ignore[attr-defined]


def sent_texts(llm: Any, messages: list[Any]) -> dict[str, list[str]]:
    """The texts of the messages as sent in each protocol."""
    found = {}
    for protocol in ("openai", "dashscope"):
        with Loopback(reply_json(400, error_body("no"))) as server:
            at = llm.model_copy(update={"base_url": server.url, "protocol": protocol})
            with pytest.raises(BadRequestError):
                (at.invoke if isinstance(llm, ChatModelStudio) else at.chat)(messages)
            body = server.requests[0].json()
            found[protocol] = [message["content"] for message in body.get("messages") or body["input"]["messages"]]
    return found


@pytest.mark.parametrize("adapter", MAKERS)
def test_system_message(adapter: str) -> None:
    """Of the framework's class, with up to 100 IDs in order, sent as a separate message."""
    files: Files = MAKERS[adapter](model="qwen-long", api_key=KEY).files
    message = files.system_message(["file-fe-b", FileObject("file-fe-a"), "fileid://file-fe-c"])
    text = "fileid://file-fe-b,fileid://file-fe-a,fileid://file-fe-c"
    expected = {"langchain": SystemMessage(text), "llama_index": ChatMessage(text, role=MessageRole.SYSTEM)}
    assert message == expected[adapter]
    assert files.system_message("file-fe-b").content == "fileid://file-fe-b"
    assert files.system_message([f"file-{n}" for n in range(100)]).content.count("fileid://") == 100
    later = [message, "?", files.system_message("file-fe-z"), "??"]
    said = {"langchain": HumanMessage, "llama_index": ChatMessage}[adapter]
    llm = MAKERS[adapter](model="qwen-long", api_key=KEY)
    for protocol, texts in sent_texts(llm, [said(item) if isinstance(item, str) else item for item in later]).items():
        assert texts == [text, "?", "fileid://file-fe-z", "??"], protocol
    for bad in ([], [f"file-{n}" for n in range(101)], ["a,b"], [""], [None]):
        with pytest.raises(ConfigurationError):
            files.system_message(bad)


def test_a_method_pickles_without_the_key(
    ask: Ask, server: Loopback, service: FileService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For workers, which read the key from their environment."""
    id = service.add("out.jsonl", b"{}")
    data = pickle.dumps(ask.files(server).content)
    assert KEY.encode() not in data
    monkeypatch.setenv(API_KEY_VARIABLE, "sk-of-the-worker")
    assert pickle.loads(data)(id) == b"{}"
    assert server.requests[0].headers["authorization"] == "Bearer sk-of-the-worker"
